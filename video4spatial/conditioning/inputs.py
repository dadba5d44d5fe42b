"""From latents, times, cameras and instructions to what the transformer takes: the same for training and for sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from video4spatial.cameras import Cameras, plucker_rays, poses_to_latent
from video4spatial.clips.instruction import Ground, Instruction, Navigate
from video4spatial.conditioning.plans import ContextPart, latent_indices
from video4spatial.models.conditions.geometry import GeometryPrompt

Branch = Literal["instruction", "context", "null"]
"""What a pass is told: everything; the context and the anchor without the instruction; nothing."""


@dataclass(frozen=True)
class ContextInputs:
    """A scene as the transformer takes it. S scenes with F latents each.

    Args:
        latents: [S, C, F, h, w] clean, chunk after chunk in ascending order.
        positions: [S, F] float64 on the scene clock.
        scene_rays: [S, F, channels, h, w] relative to the first camera of the scene; None where cameras are unknown.
        parts: the segments that are encoded one after another, oldest first, by chunks that `latents` holds.
    """

    latents: torch.Tensor
    positions: torch.Tensor
    scene_rays: torch.Tensor | None
    parts: tuple[ContextPart, ...]

    def part(self, part: ContextPart) -> ContextInputs:
        """The latents of one segment alone."""
        held = latent_indices(self.parts, part.chunks, self.latents.shape[2])
        rays = None if self.scene_rays is None else self.scene_rays[:, held]
        return ContextInputs(self.latents[:, :, held], self.positions[:, held], rays, (part,))

    def replaced_by(self, noise: torch.Tensor) -> ContextInputs:
        """Noise [S, C, F, h, w] in the place of the scene, whose cameras are then unknown."""
        return replace(self, latents=noise, scene_rays=None)

    def repeated(self, count: int) -> ContextInputs:
        """Each scene `count` times in a row, for as many targets."""
        if count == 1:
            return self
        rays = None if self.scene_rays is None else self.scene_rays.repeat_interleave(count, 0)
        return ContextInputs(
            self.latents.repeat_interleave(count, 0), self.positions.repeat_interleave(count, 0), rays, self.parts
        )


@dataclass(frozen=True)
class TargetInputs:
    """B targets with F latents each, the anchor's first, as the transformer takes them.

    Args:
        anchor: [B, C, 1, h, w] clean latent of the anchor frame; None in the null branch, which does not see it.
        positions: [B, F] float64 on the scene clock, of the latents that are seen.
        rays: [B, F, channels, h, w] relative to the anchor: the camera instruction; None without one.
        scene_rays: [B, F, channels, h, w] relative to the scene's first camera; None where the scene's cameras are unknown.
        text: [B, L, text_dim] states of the instruction's words; None for models that read no text.
        geometry: what the targets would see of the scene as far as its geometry is known; None without.
    """

    anchor: torch.Tensor | None
    positions: torch.Tensor
    rays: torch.Tensor | None = None
    scene_rays: torch.Tensor | None = None
    text: torch.Tensor | None = None
    geometry: GeometryPrompt | None = None

    def branch(self, branch: Branch, no_text: torch.Tensor | None = None) -> TargetInputs:
        """What a branch of guidance is told.

        Args:
            branch: which one.
            no_text: [B or 1, L, text_dim] states of the empty prompt, for models that read text.
        """
        if branch == "instruction":
            return self
        if branch == "context":
            return replace(self, rays=None, scene_rays=None, text=no_text, geometry=None)
        return TargetInputs(None, self.positions[:, 1:], text=no_text)


@dataclass(frozen=True)
class Conditioner:
    """What a model wants to know of times, cameras and instructions, and in which form.

    Args:
        frame_rate: of the model's targets in frames per second.
        temporal_compression: frames per latent after the first of a chunk.
        camera_channels: Plücker channels per latent, 6 for each of its frames; None for models without cameras.
        camera_order: of the Plücker channels.
        reads_text: whether the model has a text branch.
    """

    frame_rate: float
    temporal_compression: int = 1
    camera_channels: int | None = 6
    camera_order: str = "moment_direction"
    reads_text: bool = False

    @classmethod
    def of(cls, config: Any, temporal_compression: int, frame_rate: float) -> Conditioner:
        """The conditioner of a model.

        Args:
            config: of its transformer.
            temporal_compression: of its autoencoder.
            frame_rate: of its targets in frames per second.

        Raises:
            ValueError: where the transformer's camera channels do not fit the autoencoder.
        """
        channels = config.camera_channels
        if channels not in (None, 6 * temporal_compression):
            raise ValueError(
                f"camera_channels {channels}: expected {6 * temporal_compression}, 6 for each of the {temporal_compression} frames of "
                "a latent, or null for a model without cameras."
            )
        return cls(frame_rate, temporal_compression, channels, config.camera_order, config.text_dim is not None)

    def positions(self, seconds: torch.Tensor, chunk_length: int) -> torch.Tensor:
        """Where latents stand on the scene clock: where the last of their frames does.

        Args:
            seconds: [..., chunks * chunk_length] of the frames, since the scene's first.
            chunk_length: frames that the autoencoder encodes together, 1 + compression * k.

        Returns:
            [..., F] float64, one unit per target latent.
        """
        chunks = seconds.double().unflatten(-1, (-1, chunk_length))
        return chunks[..., :: self.temporal_compression].flatten(-2) * self.frame_rate / self.temporal_compression

    def rays(
        self, cameras: Cameras, height: int, width: int, chunk_length: int, device: torch.device | str | None = None
    ) -> torch.Tensor | None:
        """Rays of latents, those of the frames of a latent stacked.

        Args:
            cameras: [..., chunks * chunk_length], relative to whatever the rays are to be relative to.
            height, width: of the latents.
            chunk_length: frames that the autoencoder encodes together.
            device: of the result.

        Returns:
            [..., F, camera_channels, height, width] float32, or None for models without cameras.
        """
        if self.camera_channels is None:
            return None
        rays = plucker_rays(cameras, height, width, order=self.camera_order, device=device)
        chunks = rays.unflatten(-4, (-1, chunk_length))
        return poses_to_latent(chunks, self.temporal_compression).flatten(-5, -4)

    def context(
        self,
        latents: torch.Tensor,
        seconds: torch.Tensor,
        cameras: Cameras | None,
        parts: tuple[ContextPart, ...],
        chunk_length: int = 1,
    ) -> ContextInputs:
        """A scene, or S of them.

        Args:
            latents: [S, C, F, h, w] of the chunks that are shown, in ascending order.
            seconds: [S, chunks * chunk_length] of their frames, since the scene's first.
            cameras: [S, chunks * chunk_length] of their frames relative to the scene's first camera, or None where unknown.
            parts: the segments, by chunks.
            chunk_length: frames per chunk.

        Returns:
            `ContextInputs`, rays on the device and in the dtype of the latents.
        """
        rays = None
        if cameras is not None:
            rays = self.rays(cameras, *latents.shape[-2:], chunk_length, latents.device)
        return ContextInputs(
            latents, self.positions(seconds, chunk_length), None if rays is None else rays.to(latents.dtype), parts
        )

    def targets(
        self,
        anchor: torch.Tensor,
        seconds: torch.Tensor,
        start: torch.Tensor | float,
        instructions: Sequence[Instruction],
        anchor_poses: torch.Tensor | None = None,
        text: torch.Tensor | None = None,
        geometry: GeometryPrompt | None = None,
    ) -> TargetInputs:
        """B targets, from the instructions they carry out; all of one kind.

        Args:
            anchor: [B, C, 1, h, w] clean latents of the anchor frames.
            seconds: [B, T] of the target frames since the anchor's, T = 1 + compression * k.
            start: [B] or one: where the anchor stands on the scene clock.
            instructions: B of them; paths have T cameras, of which only the motion relative to the first matters.
            anchor_poses: [B, 4, 4] camera_to_world of the anchor frames relative to the scene's first camera, or None where the
                scene's cameras are unknown.
            text: [B, L, text_dim] states of the instructions' words, for models that read text.
            geometry: what the targets would see of their scenes (`conditioning.geometry_prompt`), where it is known.

        Returns:
            `TargetInputs`, rays on the device and in the dtype of the anchor.

        Raises:
            ValueError: for instructions of several kinds, or of one that the model cannot read.
        """
        self.check(instructions)
        count = seconds.shape[-1]
        start = torch.as_tensor(start, dtype=torch.float64, device=seconds.device).reshape(-1, 1)
        positions = start + self.positions(seconds, count)
        rays = scene_rays = None
        if isinstance(instructions[0], Navigate):
            relative = Cameras.stacked([instruction.cameras for instruction in instructions]).relative_to(0)
            rays = self._target_rays(relative, anchor)
            if anchor_poses is not None:
                scene_rays = self._target_rays(relative.transformed(anchor_poses.unsqueeze(-3)), anchor)
        prompt = None if geometry is None else geometry.to(anchor.device, anchor.dtype)
        return TargetInputs(anchor, positions, rays, scene_rays, text, prompt)

    def check(self, instructions: Sequence[Instruction]) -> None:
        """Refuse instructions that the model cannot read.

        Raises:
            ValueError: naming what is given and what the model takes.
        """
        kinds = {type(instruction).__name__ for instruction in instructions}
        if len(kinds) > 1 or not kinds <= {"Navigate", "Ground"}:
            raise ValueError(f"instructions of kinds {', '.join(sorted(kinds))}: expected Navigate(cameras) or Ground(text), one kind.")
        words = next((instruction.words for instruction in instructions if instruction.words), None)
        if words is not None and not self.reads_text:
            raise ValueError(f"the words {words!r}: this model reads no text; it follows camera paths alone, Navigate(cameras).")
        for instruction in instructions:
            if isinstance(instruction, Ground) and instruction.region is not None:
                raise ValueError("a region names the target: this model has no encoder for regions; name the target in words.")

    def _target_rays(self, cameras: Cameras, anchor: torch.Tensor) -> torch.Tensor | None:
        rays = self.rays(cameras, *anchor.shape[-2:], len(cameras), anchor.device)
        return None if rays is None else rays.to(anchor.dtype)


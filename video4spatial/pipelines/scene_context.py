"""An encoded scene: built once, sampled many times."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.models.context_cache import CacheStorage, ContextCache
from video4spatial.conditioning.inputs import ContextInputs
from video4spatial.conditioning.plans import ContextPart, latent_indices


@dataclass(frozen=True)
class SceneContext:
    """What the model needs of a scene, independent of anchor, trajectory, seed, step and guidance.

    Made by `Video4SpatialPipeline.encode_context` and lengthened by `Video4SpatialPipeline.append_context`. It is never changed, so
    that one scene may serve many threads.

    Args:
        frames: [N, H, W, 3] uint8 at the model's size.
        times: [N] seconds, ascending.
        cameras: N cameras, or None when unknown.
        chunk_length: frames per chunk that the autoencoder encodes together; chunk i holds the frames from i * chunk_length on.
        parts: which chunks each segment of the cache holds, and how finely, oldest first.
        latents: [1, C, F, h, w] clean latents of the chunks that some part holds, in ascending order.
        positions: [1, F] float64 of these latents on the scene clock.
        scene_rays: [1, F, channels, h, w] their rays relative to `origin`, or None.
        cache: keys and values of every layer; None for models with full attention, which cannot have one.
        start: seconds that are zero on the scene clock.
        origin: the camera that scene rays are relative to, or None when cameras are unknown.
        geometry: what the frames say about space, one entry for each of `frames`; None where the model is to do without.
        coarse_share: share of the denoising steps, the first ones, in which targets see the first part alone.
        context_tokens_computed: tokens that went through the transformer to build this object from the one before it.
        encoder: fingerprint of the model that encoded it; no other can read it.
    """

    frames: np.ndarray
    times: np.ndarray
    cameras: Cameras | None
    chunk_length: int
    parts: tuple[ContextPart, ...]
    latents: torch.Tensor
    positions: torch.Tensor
    scene_rays: torch.Tensor | None
    cache: ContextCache | None
    start: float
    origin: Cameras | None
    coarse_share: float
    context_tokens_computed: int
    geometry: SceneGeometry | None = None
    encoder: str = ""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def shown(self) -> list[int]:
        """Chunks that some part holds, ascending."""
        return sorted({chunk for part in self.parts for chunk in part.chunks})

    @property
    def num_bytes(self) -> int:
        """Memory of latents, keys and values."""
        own = self.latents.numel() * self.latents.element_size()
        return own if self.cache is None else own + self.cache.num_bytes

    @property
    def approximations(self) -> tuple[str, ...]:
        """In words, why this is not exactly what encoding its parts gives; empty if it is."""
        return () if self.cache is None else self.cache.approximations

    def latent_indices(self, chunks: tuple[int, ...]) -> list[int]:
        """Where the latents of chunks stand in `latents`."""
        return latent_indices(self.parts, chunks, self.latents.shape[2])

    @property
    def inputs(self) -> ContextInputs:
        """What the transformer takes of the scene."""
        return ContextInputs(self.latents, self.positions, self.scene_rays, self.parts)

    def cache_at(self, progress: float) -> ContextCache | None:
        """What targets see of the scene.

        Args:
            progress: share of the denoising steps that are done.
        """
        coarse = self.cache is not None and progress < self.coarse_share
        return self.cache.first(1) if coarse else self.cache

    def resolve_anchor(self, anchor: int) -> int:
        """An anchor index counted from either end, as an index from the start.

        Raises:
            ValueError: if it is out of range.
        """
        if not -len(self) <= anchor < len(self):
            raise ValueError(
                f"anchor {anchor} is outside the context of {len(self)} frames: expected {-len(self)} to {len(self) - 1}."
            )
        return anchor % len(self)

    def stored(self, storage: CacheStorage) -> SceneContext:
        """The same scene with its keys and values kept in another way.

        Args:
            storage: how: narrower, or on the CPU.
        """
        return self if self.cache is None else replace(self, cache=self.cache.stored(storage))

    def within(self, max_tokens: int, keep: int = 1) -> SceneContext:
        """The scene without its oldest segments after the first `keep`, as many as it takes to hold at most `max_tokens`.

        The youngest segment stays: it is where the camera is. Frames that no segment holds any more leave the scene, and later ones
        move up. What stays has seen what goes, so the result is approximate and says so.

        Args:
            max_tokens: bound on the tokens of the cache.
            keep: segments at the beginning that never go: the footage that all else was generated from.

        Raises:
            ValueError: if the segments that must stay are more than that; for models without a cache.
        """
        if self.cache is None:
            raise ValueError("a model with full attention has no cache to bound: give it fewer context frames.")
        held, gone = self.cache.num_tokens, []
        for index in range(keep, len(self.parts) - 1):
            if held <= max_tokens:
                break
            held -= self.cache.segments[index]
            gone.append(index)
        if held > max_tokens:
            raise ValueError(
                f"the scene's first {keep} segments and its youngest hold {held} tokens, more than max_tokens={max_tokens}: allow "
                "more, or encode the scene with a plan that shows fewer frames."
            )
        if not gone:
            return self
        parts = [part for index, part in enumerate(self.parts) if index not in gone]
        held_chunks = {chunk for part in parts for chunk in part.chunks}
        lost_chunks = {chunk for index in gone for chunk in self.parts[index].chunks} - held_chunks
        staying = [chunk for chunk in range(len(self) // self.chunk_length) if chunk not in lost_chunks]
        frames = [chunk * self.chunk_length + offset for chunk in staying for offset in range(self.chunk_length)]
        latents = self.latent_indices(tuple(chunk for chunk in self.shown if chunk not in lost_chunks))
        moved = {chunk: index for index, chunk in enumerate(staying)}
        return replace(
            self,
            frames=self.frames[frames],
            times=self.times[frames],
            cameras=None if self.cameras is None else self.cameras[frames],
            geometry=None if self.geometry is None else self.geometry.select(frames),
            parts=tuple(replace(part, chunks=tuple(moved[chunk] for chunk in part.chunks)) for part in parts),
            latents=self.latents[:, :, latents],
            positions=self.positions[:, latents],
            scene_rays=None if self.scene_rays is None else self.scene_rays[:, latents],
            cache=self.cache.without(gone),
        )

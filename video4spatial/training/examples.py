"""Examples: a target and the scene that its context is drawn from, alike for simulated scenes and for curated clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.clips import AugmentationSettings, Clip, Ground, Instruction, Navigate, augment
from video4spatial.clips.dataset import ClipDataset
from video4spatial.clips.manifest import ClipRow
from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.autoencoder import Autoencoder, encode, latent_channels, spatial_compression, temporal_compression
from video4spatial.training.bank import SceneBank
from video4spatial.training.caches import announce
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.shown_geometry import ShownGeometry
from video4spatial.training.variation import happens
from video4spatial.training.latents import LatentFile, LatentStore
from video4spatial.waits import track

ENCODED_AT_ONCE = 256
"""Pictures that are encoded in one pass."""

Rows = Callable[[torch.Tensor], torch.Tensor]
"""[n] indices to the rows they name."""


@dataclass(frozen=True)
class Scene:
    """What a context is drawn from: N frames of one scene, each encoded by itself.

    Args:
        cameras: N cameras.
        seconds: [N] float64, ascending.
        latents: indices to latents [n, C, h, w].
        depth: indices to depth [n, h, w] along the optical axis in the unit of the cameras, 0 where unknown.
    """

    cameras: Cameras
    seconds: torch.Tensor
    latents: Rows
    depth: Rows


@dataclass(frozen=True)
class Example:
    """A target of T frames and its scene.

    Args:
        scene: that it lies in.
        anchor: frame of the scene that is the target's frame 0.
        cameras: T cameras of the target, in the world of the scene's.
        seconds: [T] float64 since the anchor's.
        latents: indices to latents [n, C, h, w] of the F that the frames become, the anchor's first.
        instruction: that the target carries out.
        guarded: [N] bool: frames of the scene that must stay out of its context; None for none.
        geometry: frames of the target (their indices) and a source of randomness to what they would see of the scene's geometry, as
            far as an estimator would know it; None where nothing is known.
    """

    scene: Scene
    anchor: int
    cameras: Cameras
    seconds: torch.Tensor
    latents: Rows
    instruction: Instruction
    guarded: torch.Tensor | None = None
    geometry: Callable[[torch.Tensor, torch.Generator], GeometryRendering] | None = None


class ExampleSource(Protocol):
    """Where examples come from.

    Attributes:
        frame_rate: of the targets in frames per second.
        temporal_compression: frames per latent after the first.
        autoencoder: that encodes what is drawn.
    """

    frame_rate: float
    temporal_compression: int
    autoencoder: Autoencoder

    def draw(self, count: int, curriculum: Curriculum, progress: float, generator: torch.Generator) -> list[list[Example]]:
        """`count` examples in groups of one size; those of a group share a scene, and a context.

        Raises:
            ValueError: if `count` cannot be divided so.
        """
        ...


def readable(instruction: Instruction, cameras: Cameras, reads_text: bool) -> Instruction:
    """The instruction of a target as a model can read it.

    Models that read no text follow the cameras of the target, whatever the instruction; none reads regions yet.

    Args:
        instruction: as the clip has it.
        cameras: of the target.
        reads_text: whether the model does.
    """
    if isinstance(instruction, Ground) and reads_text and instruction.text:
        return replace(instruction, region=None)
    return Navigate(cameras, instruction.words if reads_text and isinstance(instruction, Navigate) else "")


# ---- simulated scenes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BankExamples:
    """Examples of a bank of rendered scenes: its targets, and stretches of its walks.

    Args:
        bank: pictures and cameras.
        frame_rate: at which they were rendered, in frames per second.
        temporal_compression: of the autoencoder.
        store: of its latents.
        autoencoder: for what is not in the store yet.
        key: names the bank's content in the store.
        geometry: how the scenes' geometry is shown; None where it is not.
    """

    bank: SceneBank
    frame_rate: float
    temporal_compression: int
    store: LatentStore
    autoencoder: Autoencoder
    key: str
    geometry: ShownGeometry | None = None
    _walks: LatentFile = field(init=False)
    _cameras: Cameras = field(init=False)  # [S, N]

    def __post_init__(self) -> None:
        # What is encoded picture by picture: everything with a picture autoencoder, the walks with one of video.
        alone = self.bank.frames if self.temporal_compression == 1 else self.bank.frames[:, : self.bank.walk_frames]

        def encoded() -> dict[str, torch.Tensor]:
            pictures = alone.flatten(0, 1)
            factor = spatial_compression(self.autoencoder)
            sides = pictures.shape[1] // factor, pictures.shape[2] // factor
            size = latent_bytes(len(pictures), latent_channels(self.autoencoder.config), *sides)
            announce(self.store.folder, f"latents of {len(pictures)} pictures", size)
            batches = track(pictures.split(ENCODED_AT_ONCE), "encoding pictures, 256 at a time")
            return {"latents": torch.cat([encode_pictures(self.autoencoder, batch) for batch in batches])}

        object.__setattr__(self, "_walks", self.store.get(f"{self.key} frames", encoded))
        object.__setattr__(self, "_cameras", Cameras(self.bank.camera_to_world, self.bank.intrinsics[:, None]))

    def draw(self, count: int, curriculum: Curriculum, progress: float, generator: torch.Generator) -> list[list[Example]]:
        """See `ExampleSource`. Steps of stretches and steps of targets alternate at random."""
        bank, steps = self.bank, self.bank.target_frames - 1

        def integers(low: int, high: int, *shape: int) -> torch.Tensor:
            return torch.randint(low, high, shape, generator=generator)

        from_walk = happens(curriculum.walk_probability * (1 - progress / 2), generator)
        group = 1 if from_walk else curriculum.targets_per_context
        if count % group:
            raise ValueError(f"batch_size {count}: expected a multiple of targets_per_context {group}.")
        scenes = integers(0, len(bank), count // group).tolist()
        if from_walk:
            anchors = integers(0, bank.walk_frames - steps, count).tolist()
            guard = int(integers(0, curriculum.guard_frames + 1))
            return [[self._stretch(scene, anchor, guard)] for scene, anchor in zip(scenes, anchors)]
        which = integers(0, bank.anchors.shape[1], count).unflatten(0, (-1, group)).tolist()
        return [[self._target(scene, target) for target in targets] for scene, targets in zip(scenes, which)]

    def _stretch(self, scene: int, anchor: int, guard: int) -> Example:
        frames = torch.arange(anchor, anchor + self.bank.target_frames)
        index = torch.arange(self.bank.walk_frames)
        return self._example(scene, frames, (index > anchor - guard) & (index <= int(frames[-1]) + guard))

    def _target(self, scene: int, target: int) -> Example:
        bank, steps = self.bank, self.bank.target_frames - 1
        after = bank.walk_frames + target * steps + torch.arange(steps)
        return self._example(scene, torch.cat([bank.anchors[scene, target].view(1), after]), None)

    def _example(self, scene: int, frames: torch.Tensor, guarded: torch.Tensor | None) -> Example:
        """The example of a scene whose target is seen in these frames of its entry."""
        cameras = self._cameras.entry(scene)
        walk, path = self.bank.walk_frames, cameras[frames]

        def encoded() -> dict[str, torch.Tensor]:
            return {"latents": encode_video(self.autoencoder, self.bank.frames[scene, frames])}

        def latents(index: torch.Tensor) -> torch.Tensor:
            if self.temporal_compression == 1:
                return self._rows(scene, frames[index])
            return self.store.get(f"{self.key} {scene} {frames.tolist()}", encoded).rows("latents", index)

        return Example(
            scene=Scene(
                cameras[:walk], torch.arange(walk, dtype=torch.float64) / self.frame_rate,
                lambda index: self._rows(scene, index), lambda index: self._depth(scene, index),
            ),
            anchor=int(frames[0]),
            cameras=path,
            seconds=torch.arange(len(frames), dtype=torch.float64) / self.frame_rate,
            latents=latents,
            instruction=Navigate(path),
            guarded=guarded,
            geometry=None if self.geometry is None else partial(self._rendered, scene, frames, guarded),
        )  # fmt: skip

    def _rendered(
        self, scene: int, frames: torch.Tensor, guarded: torch.Tensor | None, kept: torch.Tensor, generator: torch.Generator
    ) -> GeometryRendering:
        """What some of the frames of a target would see of its scene, read from a part of the walk that holds the anchor."""
        walk = self.bank.walk_frames
        usable = torch.ones(walk, dtype=torch.bool) if guarded is None else ~guarded
        usable[frames[0]] = True
        indices = usable.nonzero().flatten()
        least = min(self.geometry.settings.least_frames, len(indices))
        count = int(torch.randint(least, len(indices) + 1, (), generator=generator))
        drawn = indices[torch.randperm(len(indices), generator=generator)[:count]]
        chosen = torch.cat([frames[:1], drawn[drawn != frames[0]]])
        return self.geometry.rendered(self.bank, scene, chosen, self._cameras.entry(scene), frames[kept], generator)

    def _depth(self, scene: int, frames: torch.Tensor) -> torch.Tensor:
        """Depth of frames of a scene's entry, one value for each latent pixel."""
        return thinned_depth(self.bank.depth[scene, frames], *self._walks.shape("latents")[-2:])

    def _rows(self, scene: int, frames: torch.Tensor) -> torch.Tensor:
        """Latents of frames of a scene's entry, each encoded by itself."""
        per_scene = self.bank.frames.shape[1] if self.temporal_compression == 1 else self.bank.walk_frames
        return self._walks.rows("latents", scene * per_scene + frames)


class MixedExamples:
    """Examples of several sources of one frame rate and autoencoder; a batch is drawn from one of them, each as often.

    Args:
        sources: such as banks of pictures of several shapes.
    """

    def __init__(self, sources: Sequence[ExampleSource]):
        self.sources = tuple(sources)
        self.frame_rate, self.temporal_compression = sources[0].frame_rate, sources[0].temporal_compression
        self.autoencoder = sources[0].autoencoder

    def draw(self, count: int, curriculum: Curriculum, progress: float, generator: torch.Generator) -> list[list[Example]]:
        """See `ExampleSource`."""
        chosen = int(torch.randint(len(self.sources), (), generator=generator))
        return self.sources[chosen].draw(count, curriculum, progress, generator)


# ---- curated clips ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipExamples:
    """Examples of a curated data set, which bring their own contexts.

    Args:
        clips: the data set.
        frame_rate: of the model, in frames per second.
        temporal_compression: of the autoencoder.
        store: of the clips' latents.
        autoencoder: for what is not in the store yet.
        augmentation: how clips are varied, anew in each step; None leaves them as they are.
    """

    clips: ClipDataset
    frame_rate: float
    temporal_compression: int
    store: LatentStore
    autoencoder: Autoencoder
    augmentation: AugmentationSettings | None = None
    _alike: dict[bool, list[int]] = field(init=False, default_factory=dict)  # clips whose instruction is words, and the others

    def __post_init__(self) -> None:
        for index, row in enumerate(self.clips.rows):
            self._alike.setdefault(self._words(row) is not None, []).append(index)

    def draw(self, count: int, curriculum: Curriculum, progress: float, generator: torch.Generator) -> list[list[Example]]:
        """See `ExampleSource`: clips of one kind of instruction, each with its own context."""
        chosen = torch.randint(len(self.clips), (count,), generator=generator)
        seeds = torch.randint(2**31, (count,), generator=generator).tolist()
        # A batch holds one kind of instruction: that of its first clip.
        alike = self._alike[self._words(self.clips.rows[int(chosen[0])]) is not None]
        return [[self.example(alike[index % len(alike)], seed)] for index, seed in zip(chosen.tolist(), seeds)]

    def example(self, index: int, seed: int | None = None) -> Example:
        """The example of a clip.

        Args:
            index: of the clip.
            seed: of its augmentation; None leaves it as it is.
        """
        row = self.clips.rows[index]
        if self.augmentation is None or seed is None:
            key = f"clip {row.key} {row.content} {self.clips.size}"
            file = self.store.get(key, lambda: encode_clip(self.clips[index], self.autoencoder))
            return self._assembled(file.rows, {name: file.shape(name)[0] for name in CLIP_TENSORS}, row.anchor, self._words(row))
        clip = augment(self.clips[index], self.augmentation, seed)
        tensors = encode_clip(clip, self.autoencoder)
        words = None if isinstance(clip.instruction, Navigate) else clip.instruction
        sizes = {name: len(tensors[name]) for name in CLIP_TENSORS}
        return self._assembled(lambda name, rows: tensors[name][rows], sizes, clip.anchor, words)

    def _words(self, row: ClipRow) -> Ground | None:
        """The object to find in words; None for paths, and for objects that a region alone names."""
        return Ground(row.texts[0]) if row.kind == "grounding" and row.texts else None

    def _assembled(self, rows: Callable, sizes: dict[str, int], anchor: int, ground: Ground | None) -> Example:
        """An example from the tensors of `encode_clip`."""

        def whole(name: str) -> torch.Tensor:
            return rows(name, torch.arange(sizes[name]))

        context, path = (
            Cameras(whole(f"{part}_camera_to_world"), whole(f"{part}_intrinsics")) for part in ("context", "target")
        )
        return Example(
            scene=Scene(
                context, whole("context_seconds"), lambda index: rows("context_latents", index),
                lambda index: rows("context_depth", index),
            ),
            anchor=anchor,
            cameras=path,
            seconds=whole("target_seconds"),
            latents=lambda index: rows("target_latents", index),
            instruction=Navigate(path) if ground is None else ground,
        )  # fmt: skip


CLIP_TENSORS = (
    "context_latents", "context_depth", "context_camera_to_world", "context_intrinsics", "context_seconds",
    "target_latents", "target_camera_to_world", "target_intrinsics", "target_seconds",
)  # fmt: skip
"""What is kept of an encoded clip."""


def encode_clip(clip: Clip, autoencoder: Autoencoder) -> dict[str, torch.Tensor]:
    """A clip's latents (float16), cameras (float64), times and depth, by the names of `CLIP_TENSORS`.

    Args:
        clip: with cameras and true target frames.
        autoencoder: that encodes each context frame by itself, and the target as a video.

    Raises:
        ValueError: for a clip without cameras or truth.
    """
    if clip.context_cameras is None or clip.target_cameras is None or clip.target_frames is None:
        raise ValueError(f"clip {clip.name} has no cameras or no target frames: it cannot be trained on.")
    latents = encode_pictures(autoencoder, torch.from_numpy(clip.context_frames))
    depth = np.zeros(clip.context_frames.shape[:3], np.float32) if clip.context_depth is None else clip.context_depth
    tensors = {
        "context_latents": latents,
        "context_depth": thinned_depth(torch.from_numpy(np.ascontiguousarray(depth)), *latents.shape[-2:]),
        "context_seconds": torch.from_numpy(np.ascontiguousarray(clip.context_times)).double(),
        "target_latents": encode_video(autoencoder, torch.from_numpy(clip.target_frames)),
        "target_seconds": clip.target_cameras.times - clip.target_cameras.times[0],
    }
    for part, cameras in (("context", clip.context_cameras), ("target", clip.target_cameras)):
        tensors |= {f"{part}_camera_to_world": cameras.camera_to_world, f"{part}_intrinsics": cameras.intrinsics}
    return tensors


# ---- encoding ---------------------------------------------------------------------------------------------------------------


def latent_bytes(count: int, channels: int, height: int, width: int) -> int:
    """Size of latents in half precision.

    Args:
        count: of pictures.
        channels, height, width: of the latent of each.
    """
    return 2 * count * channels * height * width


@torch.no_grad()
def encode_pictures(autoencoder: Autoencoder, frames: torch.Tensor, batch_size: int = ENCODED_AT_ONCE) -> torch.Tensor:
    """Encode frames, each by itself.

    Args:
        autoencoder: on any device.
        frames: [N, H, W, 3] uint8.
        batch_size: frames encoded at once.

    Returns:
        [N, C, h, w] float16 latents on the CPU.
    """
    latents = []
    for batch in frames.split(batch_size):
        pictures = batch.to(autoencoder.device).permute(0, 3, 1, 2).unsqueeze(2).float() / 127.5 - 1
        latents.append(encode(autoencoder, pictures)[:, :, 0].half().cpu())
    return torch.cat(latents)


@torch.no_grad()
def encode_video(autoencoder: Autoencoder, frames: torch.Tensor) -> torch.Tensor:
    """Encode frames as a video. Frames at its end that fill no whole latent are left out.

    Args:
        autoencoder: on any device; one of pictures encodes every frame by itself.
        frames: [T, H, W, 3] uint8.

    Returns:
        [F, C, h, w] float16 latents on the CPU.
    """
    compression = temporal_compression(autoencoder)
    if compression == 1:
        return encode_pictures(autoencoder, frames)
    frames = frames[: 1 + (len(frames) - 1) // compression * compression]
    video = frames.to(autoencoder.device).permute(3, 0, 1, 2).unsqueeze(0).float() / 127.5 - 1
    return encode(autoencoder, video)[0].transpose(0, 1).half().cpu()


def thinned_depth(depth: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Depth [N, H, W] at the middles of height x width cells: means across edges are depths of nothing."""
    rows, columns = ((torch.arange(small) * 2 + 1) * full // (2 * small) for small, full in zip((height, width), depth.shape[1:]))
    return depth[:, rows][:, :, columns]

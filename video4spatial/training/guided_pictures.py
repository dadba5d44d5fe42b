"""A file of pictures with what a scene shows of them, for the refiner: of simulated rooms, or as any model decodes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from video4spatial.cameras import Cameras
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.files import written_aside
from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.refiner import depth_apart, pack_guidance
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline
from video4spatial.pipelines.generation import encode_scene, plan_scene
from video4spatial.pipelines.scene_geometry import estimate_geometry
from video4spatial.training.bank import render_bank
from video4spatial.training.caches import read_kept
from video4spatial.training.sampler import step_generator
from video4spatial.training.shown_geometry import GeometrySettings, ShownGeometry, estimated_depth
from video4spatial.training.spoiling import spoiled
from video4spatial.training.variation import uniform


@dataclass(frozen=True)
class GuidedPictures:
    """N pictures, and S sources that show the same views: the blend of a rendered scene and the best single views.

    Args:
        truth: [N, H, W, 3] uint8.
        pictures: [N, S, H, W, 3] uint8 of the sources.
        known: [N, S, H, W] bool: where they show something.
        confidence: [N, S, H, W] uint8 from 0 to 255.
        depth: [N, S, H, W] int8, 127 times the logarithm of a source's depth over the blend's.
        decoded: [N, H, W, 3] uint8 as a model makes them; None where they are to be imitated from the truth.
    """

    truth: torch.Tensor
    pictures: torch.Tensor
    known: torch.Tensor
    confidence: torch.Tensor
    depth: torch.Tensor
    decoded: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def views(self) -> int:
        """Single views beside the blend."""
        return self.pictures.shape[1] - 1

    def guidance(self, index: torch.Tensor) -> torch.Tensor:
        """Guidance [B, S, 6, H, W] of some pictures, as a refiner takes it.

        Args:
            index: [B] of them.
        """
        return pack_guidance(
            self.pictures[index], self.known[index], self.confidence[index] / 255, self.depth[index] / 127, self.views
        )

    @classmethod
    def of(cls, truth: np.ndarray, rendering: GeometryRendering, decoded: np.ndarray | None = None) -> GuidedPictures:
        """Frames of a video and what a scene shows of them.

        Args:
            truth: [T, H, W, 3] uint8.
            rendering: of the scene from the cameras of the T frames.
            decoded: [T, H, W, 3] uint8 as a model makes them; None where they are to be imitated.
        """
        view_known = rendering.view_depth > 0
        confidence = np.concatenate([rendering.confidence[:, None], rendering.view_confidence], axis=1)
        tensors = {
            "truth": truth,
            "pictures": np.concatenate([rendering.pictures[:, None], rendering.view_pictures], axis=1),
            "known": np.concatenate([rendering.known[:, None], view_known], axis=1),
            "confidence": (confidence * 255).round().astype(np.uint8),
            "depth": (depth_apart(rendering) * 127).round().astype(np.int8),
        } | ({} if decoded is None else {"decoded": decoded})
        return cls(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()})

    @classmethod
    def concatenate(cls, parts: Sequence[GuidedPictures]) -> GuidedPictures:
        """All pictures of several, which all have decoded pictures or none."""
        present = [field.name for field in fields(cls) if getattr(parts[0], field.name) is not None]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in present})

    def save(self, path: str | Path) -> None:
        """Write them to a safetensors file, whole or not at all.

        Args:
            path: of the file; one that stands there is replaced.

        Raises:
            OSError: if it cannot be written.
        """
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        with written_aside(path) as aside:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}, aside)

    @classmethod
    def load(cls, path: str | Path) -> GuidedPictures:
        """Read what `save` wrote.

        Args:
            path: of the file.

        Raises:
            OSError: if there is none.
        """
        tensors, _ = read_kept(path, [field.name for field in fields(cls) if field.name != "decoded"], ["decoded"])
        return cls(**tensors)


def render_guided(
    seeds: Sequence[int],
    size: int,
    settings: GeometrySettings = GeometrySettings(),
    pictures_per_scene: int = 8,
    context_frames: tuple[int, int] = (6, 32),
    progress: Callable[[list], Iterable] = iter,
) -> GuidedPictures:
    """Pictures of simulated rooms, and what frames of a walk show of them.

    Args:
        seeds: of the scenes.
        size: height and width in pixels.
        settings: how the scenes' geometry is shown, and how wrong it is.
        pictures_per_scene: pictures of each, every one from a path of its own.
        context_frames: least and greatest number of frames of the walk that show the scene.
        progress: wraps the list of seeds, for a progress bar.
    """
    stereo = None if settings.stereo is None else StereoDepth.from_pretrained(settings.stereo)
    parts = []
    for seed in progress(list(seeds)):
        generator = step_generator(0, seed)
        paths = {"targets_per_scene": pictures_per_scene, "target_frames": 4}  # of which one frame each is taken
        bank = render_bank([seed], **paths, height=size, width=size, depth_size=None)
        estimated = {}
        if stereo is not None:
            read = estimated_depth(bank, [0], stereo)
            estimated = {0: (read["depth"][0], read["confidence"][0])}
        cameras = Cameras(bank.camera_to_world[0], bank.intrinsics[0].expand(bank.frames.shape[1], 3, 3), metric=True)
        for path, anchor in enumerate(bank.anchors[0].tolist()):
            count = int(torch.randint(context_frames[0], context_frames[1] + 1, (), generator=generator))
            others = torch.randperm(bank.walk_frames, generator=generator)
            context = torch.cat([torch.tensor([anchor]), others[others != anchor][: count - 1]])
            later = int(torch.randint(bank.target_frames - 1, (), generator=generator))
            target = torch.tensor([bank.walk_frames + path * (bank.target_frames - 1) + later])
            rendering = ShownGeometry(settings, estimated).rendered(bank, 0, context, cameras, target, generator)
            parts.append(GuidedPictures.of(bank.frames[0, target].numpy(), rendering))
    return GuidedPictures.concatenate(parts)


def guided_by_model(
    pipeline: Video4SpatialPipeline,
    seeds: Sequence[int],
    settings: GeometrySettings = GeometrySettings(),
    context_frames: tuple[int, int] = (6, 32),
    fov_degrees: tuple[float, float] = (50.0, 90.0),
    progress: Callable[[list], Iterable] = iter,
) -> GuidedPictures:
    """Pictures of simulated rooms as a model decodes them, and what it was shown of them: geometry read from its context.

    Args:
        pipeline: the model, without a refiner.
        seeds: of the scenes.
        settings: `views`, and how wrong cameras and scale are made; depth is what the built-in stereo network reads.
        context_frames: least and greatest number of frames of the context.
        fov_degrees: narrowest and widest lens.
        progress: wraps the list of seeds, for a progress bar.
    """
    config, parts = pipeline.config, []
    told = GenerationSettings(context_cameras=True)
    for seed in progress(list(seeds)):
        generator = step_generator(0, seed)
        clip = simulated_navigation_clip(
            seed, height=config.height, width=config.width, num_frames=config.target_frames, frame_rate=config.frame_rate,
            context_size=int(torch.randint(context_frames[0], context_frames[1] + 1, (), generator=generator)),
            fov_degrees=float(uniform(*fov_degrees, generator)),
        )  # fmt: skip
        anchor = clip.context_cameras[clip.anchor]
        read = estimate_geometry(clip.context_frames, clip.context_cameras, anchor.intrinsics[0], clip.anchor)
        read = spoiled(read, anchor, settings.spoiling.cameras_alone, generator)
        scene = encode_scene(pipeline, clip, told, plan_scene(clip, told, config.context_frames), read)
        made = pipeline(scene, clip.instruction, anchor=clip.anchor, generator=generator)
        later = GeometryRendering(*(getattr(made.rendering, field.name)[1:] for field in fields(GeometryRendering)))
        parts.append(GuidedPictures.of(clip.target_frames[1:], later, made.frames[1:]))
    return GuidedPictures.concatenate(parts)

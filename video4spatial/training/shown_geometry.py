"""What training shows of a scene's geometry: true geometry spoiled as estimators spoil it, or what the stereo network read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.files import written_aside
from video4spatial.geometry.scene_geometry import GeometryRendering, SceneGeometry
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.training.bank import SceneBank
from video4spatial.training.caches import announce, read_kept
from video4spatial.training.spoiling import Spoiling, spoiled
from video4spatial.training.variation import happens
from video4spatial.waits import track

SOURCES = 12
"""Frames of a walk, those nearest to the target, that its renderings are made from."""


@dataclass(frozen=True)
class GeometrySettings:
    """How the geometry of scenes is shown in training.

    Args:
        views: renderings of single views beside their blend; the transformer's `geometry_views`.
        spoiling: how wrong true geometry is made.
        least_frames: of a walk, whose geometry is known.
        stereo: folder of the stereo network; None shows spoiled truth alone.
        estimated_scenes: of each bank, whose depth the stereo network reads beforehand, from whole walks; kept beside the bank.
        estimated_probability: share of the draws from these scenes that show what it read.
    """

    views: int = 2
    spoiling: Spoiling = Spoiling()
    least_frames: int = 6
    stereo: str | None = None
    estimated_scenes: int = 0
    estimated_probability: float = 0.8


@dataclass(frozen=True)
class ShownGeometry:
    """The geometry of a bank's scenes as training shows it.

    Args:
        settings: how.
        estimated: by scene of the bank, depth and confidence [walk_frames, h, w] float16 that the stereo network read.
    """

    settings: GeometrySettings = GeometrySettings()
    estimated: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: GeometrySettings, bank: SceneBank, path: Path) -> ShownGeometry:
        """Of a bank, whose estimated depth is kept in a file beside it and made where there is none.

        Args:
            settings: how geometry is shown.
            bank: the bank.
            path: of its file.
        """
        count = min(settings.estimated_scenes, len(bank)) if settings.stereo else 0
        if not count:
            return cls(settings)
        file = path.with_stem(f"{path.stem}-depth")
        if not file.exists():
            values = count * bank.walk_frames * bank.frames.shape[2] * bank.frames.shape[3]
            announce(file, f"depth of {count} scenes", 4 * values)
            stereo = StereoDepth.from_pretrained(settings.stereo)
            tensors = estimated_depth(bank, range(count), stereo, lambda scenes: track(scenes, "reading depth"))
            with written_aside(file) as aside:
                save_file(tensors, aside)
        tensors, _ = read_kept(file, ("depth", "confidence"))
        scenes = range(min(count, len(tensors["depth"])))
        return cls(settings, {scene: (tensors["depth"][scene], tensors["confidence"][scene]) for scene in scenes})

    def rendered(
        self, bank: SceneBank, scene: int, frames: torch.Tensor, cameras: Cameras, target: torch.Tensor, generator: torch.Generator
    ) -> GeometryRendering:
        """What cameras of a scene's entry would see.

        Args:
            bank: of the scene.
            scene: entry of the bank.
            frames: [n] of its walk whose geometry is known, the target's anchor first.
            cameras: of the whole entry.
            target: [T] frames of the entry that are rendered.
            generator: of the errors.
        """
        path = cameras[target]
        nearest = viewpoint_distance(cameras[frames], path).amin(1).argsort()[:SOURCES]
        chosen = frames[nearest]
        if scene in self.estimated and happens(self.settings.estimated_probability, generator):
            depth, confidence = (values[chosen].float() for values in self.estimated[scene])
            # What is wrong with cameras is wrong in estimated geometry too.
            spoiling = self.settings.spoiling.cameras_alone
        else:
            depth = bank.depth[scene, chosen].float()
            confidence, spoiling = torch.ones_like(depth), self.settings.spoiling
        geometry = SceneGeometry(
            bank.frames[scene, chosen].numpy(), cameras[chosen], torch.ones(len(chosen), dtype=torch.bool).numpy(), depth.numpy(),
            confidence.numpy(), ("",) * len(chosen),
        )  # fmt: skip
        geometry = spoiled(geometry, cameras[frames[:1]], spoiling, generator)
        return geometry.render(path, *bank.frames.shape[2:4], views=self.settings.views)


def estimated_depth(
    bank: SceneBank, scenes: Iterable[int], stereo: StereoDepth, progress: Callable[[Iterable], Iterable] = iter
) -> dict[str, torch.Tensor]:
    """Depth that the stereo network reads in the walks of some scenes.

    Args:
        bank: of the scenes.
        scenes: entries of the bank.
        stereo: the estimator.
        progress: wraps the scenes, for a progress bar.

    Returns:
        `depth` and `confidence` [scenes, walk_frames, h, w] float16.
    """
    walk, depth, confidence = bank.walk_frames, [], []
    for scene in progress(list(scenes)):
        cameras = Cameras(bank.camera_to_world[scene, :walk], bank.intrinsics[scene][None])
        maps = stereo(bank.frames[scene, :walk].numpy(), cameras, list(range(walk)))
        depth.append(torch.from_numpy(maps.depth).half())
        confidence.append(torch.from_numpy(maps.confidence).half())
    return {"depth": torch.stack(depth), "confidence": torch.stack(confidence)}

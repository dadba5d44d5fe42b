"""What a video says about space, in one object: cameras, depth, confidence and scale of its frames, each with where it came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry import rendering, scene_files
from video4spatial.geometry.estimated_cameras import counted


@dataclass(frozen=True)
class DepthMaps:
    """Depth of some frames of a video, as an estimator gives it.

    Args:
        depth: [R, H, W] float32 along the optical axis in the unit of the cameras; 0 where unknown.
        confidence: [R, H, W] float32 from 0 to 1: the probability that the depth is right to within 10 %; 0 where unknown.
        reasons: for every one of the R frames why it has no depth, or why its depth is less than it could be (for example that it was
            read from one picture); empty where nothing is amiss.
    """

    depth: np.ndarray
    confidence: np.ndarray
    reasons: tuple[str, ...]

    def select(self, frames: list[int]) -> DepthMaps:
        """Those of some of the R frames, by their places."""
        return DepthMaps(self.depth[frames], self.confidence[frames], tuple(self.reasons[index] for index in frames))

    def quarter_turned(self, turns: int) -> DepthMaps:
        """Those of pictures that were turned by so many quarters of a circle, counter-clockwise."""
        depth, confidence = (np.ascontiguousarray(np.rot90(maps, turns, axes=(1, 2))) for maps in (self.depth, self.confidence))
        return DepthMaps(depth, confidence, self.reasons)


class DepthEstimator(Protocol):
    """What gives depth to frames. Estimators never see the commanded path, or any truth.

    Attributes:
        name: in words, for reports (`built-in stereo network`).
        licence: of its weights, in words.
    """

    name: str
    licence: str

    def __call__(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
        """Depth of some frames.

        Args:
            frames: [N, H, W, 3] uint8 of one scene.
            cameras: N cameras.
            references: indices of the R frames that are given depth, matched with all frames.

        Raises:
            GeometryError: where no frame can be given depth.
        """
        ...


@dataclass(frozen=True)
class SceneGeometry:
    """Cameras, depth and confidence of the frames of a video.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: N cameras of one world; those of frames that could not be placed are not to be used (`placed`).
        placed: [N] bool: whether a frame's camera is known.
        depth: [N, h, w] float32 along the optical axis in the unit of the cameras, 0 where unknown; h x w may be smaller than H x W.
        confidence: [N, h, w] float32 from 0 to 1, 0 where depth is unknown.
        reasons: for every frame why it has no camera or no depth; empty where it has both.
        origin: where `cameras`, `depth` and `scale` came from, in words, by these names.
    """

    frames: np.ndarray
    cameras: Cameras
    placed: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    reasons: tuple[str, ...]
    origin: dict[str, str] = field(default_factory=dict)

    _surfaces: dict[int, rendering.Surfaces] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.frames)
        problems = []
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            problems.append(f"`frames` must be uint8 [N, H, W, 3], given {self.frames.dtype} {list(self.frames.shape)}")
        elif count == 0:
            problems.append("`frames` holds none")
        if self.depth.ndim != 3 or self.confidence.shape != self.depth.shape:
            shapes = f"{list(self.depth.shape)} and {list(self.confidence.shape)}"
            problems.append(f"`depth` and `confidence` must be [N, h, w] of one size, given {shapes}")
        for name in ("cameras", "placed", "depth", "reasons"):
            if len(getattr(self, name)) != count:
                problems.append(f"`{name}` has {len(getattr(self, name))} entries for {count} frames")
        if problems:
            raise ValueError("; ".join(problems) + ".")

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def unknown(cls, frames: np.ndarray, cameras: Cameras | None = None, reason: str = "nothing is known of it") -> SceneGeometry:
        """Frames of which no depth is known, and cameras only where they are given.

        Args:
            frames: [N, H, W, 3] uint8.
            cameras: their N cameras; None where they are unknown.
            reason: why, for every frame.
        """
        count, size = len(frames), frames.shape[1:3]
        placed = np.full(count, cameras is not None)
        if cameras is None:
            cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64).expand(count, 4, 4), aspect=size[1] / size[0])
        nothing = np.zeros((count, *size), np.float32)
        return cls(frames, cameras, placed, nothing, nothing, (reason,) * count, {"cameras": "given" if placed.any() else "unknown"})

    @classmethod
    def load(cls, folder: str | Path) -> SceneGeometry:
        """Read a folder of `save`, or one that `v4s geometry` wrote (`scene_files.read_geometry`)."""
        return scene_files.read_geometry(folder)

    def save(self, folder: str | Path) -> None:
        """Write a folder for `load`, whole or not at all; one that stands there is replaced."""
        scene_files.save_geometry(self, folder)

    def in_words(self) -> list[str]:
        """Sentences that say how much is known, where from, and what is not known why."""
        known = (self.depth > 0).any((1, 2))
        share = float((self.depth[known] > 0).mean()) if known.any() else 0.0
        placed = f"cameras of {int(self.placed.sum())} of {len(self)} frames ({self.origin.get('cameras', 'unknown')})"
        depth = f"depth in {int(known.sum())} ({self.origin.get('depth', 'unknown')}), on average {share:.0%} of their pixels"
        amiss = Counter(reason for reason in self.reasons if reason)
        return [f"geometry: {placed}, {depth}."] + [f"of {count} frames: {reason}." for reason, count in amiss.most_common()]

    @property
    def known_share(self) -> float:
        """Share of all frames' pixels whose depth is known."""
        return float((self.depth > 0).mean())

    @property
    def reason(self) -> str:
        """What is amiss with frames, with how many of each: the most frequent first; empty where nothing is."""
        return counted(self.reasons)

    def select(self, frames: list[int]) -> SceneGeometry:
        """Some of the frames.

        Args:
            frames: indices, in the order wanted.

        Raises:
            IndexError: for none, or an index out of range.
        """
        frames = list(frames)
        cameras = self.cameras[frames]
        arrays = {name: getattr(self, name)[frames] for name in ("frames", "placed", "depth", "confidence")}
        return replace(self, cameras=cameras, reasons=tuple(self.reasons[index] for index in frames), **arrays)

    def joined(self, other: SceneGeometry) -> SceneGeometry:
        """These frames followed by others of the same world.

        Args:
            other: of frames of the same size. Its depth is brought to the size of this one's.

        Raises:
            ValueError: for frames of another size.
            CameraError: where one is metric and the other is not.
        """
        if other.frames.shape[1:] != self.frames.shape[1:]:
            sizes = " and ".join(f"{frames.shape[1]} x {frames.shape[2]}" for frames in (self.frames, other.frames))
            raise ValueError(f"frames of {sizes} pixels cannot be joined: bring them to one size.")
        origin = dict(self.origin)
        for name, words in other.origin.items():
            if origin.get(name, words) != words:
                words = f"{origin[name]}; of {len(other)} further frames: {words}"
            origin[name] = words
        maps = [rendering.sampled(values, *self.depth.shape[1:]) for values in (other.depth, other.confidence)]
        return SceneGeometry(
            np.concatenate([self.frames, other.frames]), Cameras.concatenate([self.cameras, other.cameras]),
            np.concatenate([self.placed, other.placed]), np.concatenate([self.depth, maps[0]]),
            np.concatenate([self.confidence, maps[1]]), self.reasons + other.reasons, origin,
        )  # fmt: skip

    def relative_to(self, anchor: Cameras | int) -> SceneGeometry:
        """The same in the coordinates of a camera: see `Cameras.relative_to`."""
        return replace(self, cameras=self.cameras.relative_to(anchor))

    def placed_at(self, anchor: Cameras | int) -> SceneGeometry:
        """The inverse of `relative_to`: see `Cameras.placed_at`."""
        return replace(self, cameras=self.cameras.placed_at(anchor))

    def scaled(self, factor: float, metric: bool | None = None, words: str | None = None) -> SceneGeometry:
        """Multiply all lengths by a factor.

        Args:
            factor: positive.
            metric: whether the new lengths are metres; by default as before.
            words: where the new scale came from; by default the factor is added to what was said before.

        Raises:
            CameraError: for a factor that is not positive and finite.
        """
        cameras = self.cameras.scaled(factor, metric)
        words = words or f"{self.origin.get('scale', 'unknown')}, times {factor:g}"
        return replace(self, cameras=cameras, depth=self.depth * np.float32(factor), origin={**self.origin, "scale": words})

    def along(self, path: Cameras, anchor: int) -> Cameras:
        """Where the cameras of a path stand in the world of the geometry.

        Args:
            path: T cameras, the first of which takes the picture of the anchor. Its lengths are taken in the unit of the geometry.
            anchor: frame that has a camera.

        Returns:
            T cameras with the lenses of the path.
        """
        return replace(path.relative_to(0), metric=self.cameras.metric).placed_at(self.cameras[anchor])

    def render(self, target: Cameras, height: int, width: int, views: int = 3) -> GeometryRendering:
        """What other cameras see of the scene: see `rendering`. May be called from several threads.

        Args:
            target: T cameras of the same world.
            height, width: of their pictures.
            views: K best views to return apart.

        Raises:
            ValueError: for sizes below one pixel, fewer than 0 views, or cameras with batch axes.
        """
        if min(height, width) < 1 or views < 0 or target.batch_shape:
            given = f"{height} x {width} pixels, `views` {views}, cameras with batch axes {list(target.batch_shape)}"
            raise ValueError(f"expected at least 1 x 1 pixels, `views` of at least 0 and `target` without batch axes, given {given}.")
        shrink = rendering.shrinking(self.cameras, self.frames.shape[1], target, height)
        if shrink not in self._surfaces:
            self._surfaces[shrink] = rendering.surfaces(
                self.frames, self.cameras, self.placed, self.depth, self.confidence, shrink
            )
        return GeometryRendering(**rendering.render(self._surfaces[shrink], target, height, width, views))


@dataclass(frozen=True)
class GeometryRendering:
    """What T cameras see of a `SceneGeometry`: the blend of all views, and the K best views apart.

    Args:
        pictures: [T, H, W, 3] uint8 blend; 0 where nothing is known.
        known: [T, H, W] bool.
        depth: [T, H, W] float32 along the optical axis; 0 where nothing is known.
        confidence: [T, H, W] float32 from 0 to 1, the mean of the views that were blended.
        view_pictures: [T, K, H, W, 3] uint8, each from one frame alone, the best first; 0 where it shows nothing.
        view_depth: [T, K, H, W] float32, 0 where it shows nothing (which says what is known of it).
        view_confidence: [T, K, H, W] float32: the source's own, less where the view is from aside or from farther away.
        sources: [T, K] int64 frames that the views are of; -1 where there are fewer than K.
    """

    pictures: np.ndarray
    known: np.ndarray
    depth: np.ndarray
    confidence: np.ndarray
    view_pictures: np.ndarray
    view_depth: np.ndarray
    view_confidence: np.ndarray
    sources: np.ndarray

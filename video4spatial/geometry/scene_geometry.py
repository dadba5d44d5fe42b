"""What a video says about space, in one object: cameras, depth, confidence and scale of its frames, each with where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from video4spatial.cameras import Cameras


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

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class GeometryRendering:
    """What T cameras see of a `SceneGeometry`: the blend of all views, and the K best views apart.

    Args:
        pictures: [T, H, W, 3] uint8 blend; 0 where nothing is known.
        known: [T, H, W] bool.
        depth: [T, H, W] float32 along the optical axis; 0 where nothing is known.
        confidence: [T, H, W] float32 from 0 to 1.
        view_pictures: [T, K, H, W, 3] uint8, each from one frame alone, the best first; 0 where it shows nothing.
        view_depth: [T, K, H, W] float32, 0 where it shows nothing (which says what is known of it).
        view_confidence: [T, K, H, W] float32.
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

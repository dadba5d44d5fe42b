"""Metres for cameras that have none: what an estimator of depth reads from single pictures, over the depth in the cameras' own unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.scene_geometry import DepthEstimator
from video4spatial.spread import thinned

FRAMES = 12
"""Frames that are read, at most."""

FEWEST = 10
"""Points of known depth that a frame must show."""


@dataclass(frozen=True)
class MetricScale:
    """The factor that brings lengths to metres.

    Args:
        factor: metres per unit.
        spread: deviation of its logarithm that is to be expected from how far frames disagree; errors that all frames share, as of an
            unusual room, are not in it.
        frames: how many frames took part.
    """

    factor: float
    spread: float
    frames: int

    def in_words(self) -> str:
        """For reports."""
        return f"lengths in metres from the depth of {self.frames} single pictures, sure to about {100 * self.spread:.0f} %"


def single_depth(frames: np.ndarray, intrinsics: Tensor, depth: DepthEstimator) -> np.ndarray:
    """Depth in metres of frames, each read by itself.

    Args:
        frames: [N, H, W, 3] uint8.
        intrinsics: [N, 3, 3] normalised.
        depth: the estimator, which knows metres.

    Returns:
        [N, h, w] float32.

    Raises:
        GeometryError: where no frame can be given depth.
    """
    standing = torch.eye(4, dtype=torch.float64)[None]
    read = [depth(frame[None], Cameras(standing, lens), [0]).depth[0] for frame, lens in zip(frames, intrinsics, strict=True)]
    return np.stack(read)


def metric_scale(
    structure: Mapping[int, np.ndarray], frames: np.ndarray, intrinsics: Tensor, depth: DepthEstimator
) -> MetricScale:
    """How long the unit of a reconstruction is in metres.

    Args:
        structure: by frame [M, 3] points that it shows: places in shares of its width and height, and their depth in the reconstruction's
            unit.
        frames: [N, H, W, 3] uint8.
        intrinsics: [N, 3, 3] normalised.
        depth: the estimator, which knows metres.

    Returns:
        The median over frames of the median ratio of both depths.

    Raises:
        GeometryError: where no frame shows enough points, or the estimator reads nothing.
    """
    usable = [frame for frame, points in sorted(structure.items()) if (points[:, 2] > 0).sum() >= FEWEST]
    if not usable:
        raise GeometryError("no frame shows enough of the reconstruction for its scale to be found")
    chosen = [usable[place] for place in thinned(len(usable), FRAMES)]
    maps = single_depth(frames[chosen], intrinsics[chosen], depth)
    ratios = []
    for frame, read in zip(chosen, maps, strict=True):
        points = structure[frame][structure[frame][:, 2] > 0]
        places = points[:, :2] * read.shape[::-1] - 0.5
        there = cv2.remap(read, *places.T.astype(np.float32)[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        known = there > 0
        if known.sum() >= FEWEST:
            ratios.append(float(np.median(np.log(there[known] / points[known, 2]))))
    if not ratios:
        raise GeometryError("the estimator of depth reads nothing where the reconstruction has points")
    middle = float(np.median(ratios))
    deviation = 1.4826 * float(np.median(np.abs(np.array(ratios) - middle)))
    # One frame alone says nothing of its own error: single pictures are off by about this much.
    spread = deviation / math.sqrt(len(ratios)) if len(ratios) > 2 else 0.2
    return MetricScale(math.exp(middle), spread, len(ratios))

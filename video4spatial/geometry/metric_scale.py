"""Metres for cameras that have none, from two witnesses that err apart from each other: an estimator of depth, which reads single pictures,
and a network of motions, which reads how far the camera went between two of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.pose_graph import MeasuredMotions
from video4spatial.geometry.scene_geometry import DepthEstimator
from video4spatial.spread import thinned

FRAMES = 12
"""Frames that are read, at most."""

FEWEST = 10
"""Points of known depth that a frame must show, and motions between frames."""

LONGEST_GAP = 4
"""Frames between the two of a pair whose motion is asked."""

SHORT = 0.08
"""By how much the logarithms of lengths of motions are too small: regression shortens what it is unsure of. Measured on 24 rooms that the
shipped network was not trained on (0.07 with true cameras, a little more with found ones)."""

LEAST_MOTION = 0.02
"""Share of the longest motion below which a motion has no length to speak of."""

ROOM_BY_DEPTH, ROOM_BY_MOTIONS = 0.15, 0.08
"""Deviations, from room to room, of the logarithm of lengths: errors that all frames or pairs of a room share."""

SHARED = 0.3
"""Share of the scatter of motions within a room by which their middle is off."""


@dataclass(frozen=True)
class MetricScale:
    """The factor that brings lengths to metres.

    Args:
        factor: metres per unit.
        spread: deviation of its logarithm that is to be expected from how far frames or motions disagree.
        shared: the same of errors that all of them share, as of an unusual room.
        source: what it was read from, in words.
    """

    factor: float
    spread: float
    shared: float
    source: str

    @property
    def error(self) -> float:
        """Deviation of its logarithm, all in all."""
        return math.hypot(self.spread, self.shared)

    def in_words(self) -> str:
        """For reports."""
        return f"lengths in metres from {self.source}, sure to about {100 * self.error:.0f} %"

    @classmethod
    def joined(cls, scales: Sequence[MetricScale]) -> MetricScale:
        """What several say together, each as far as it is sure.

        Args:
            scales: at least one.
        """
        weights = np.array([1 / max(scale.error, 1e-3) ** 2 for scale in scales])
        middle = float(weights @ [math.log(scale.factor) for scale in scales] / weights.sum())
        return cls(math.exp(middle), 0.0, float(weights.sum() ** -0.5), " and ".join(scale.source for scale in scales))


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


def scale_by_depth(
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
    return _by_ratios(ratios)


def scale_by_depth_maps(single: np.ndarray, depth: np.ndarray) -> MetricScale:
    """The same where depth is known everywhere.

    Args:
        single: [N, h, w] metres, as `single_depth` reads them.
        depth: [N, h', w'] in the reconstruction's unit.
    """
    height, width = depth.shape[1:]
    read = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA) for one in single])
    return _by_ratios(np.median(np.log(read / depth).reshape(len(depth), -1), axis=1).tolist())


def _by_ratios(ratios: list[float]) -> MetricScale:
    """From the logarithm of the ratio in each frame."""
    middle = float(np.median(ratios))
    deviation = 1.4826 * float(np.median(np.abs(np.array(ratios) - middle)))
    # One frame alone says nothing of its own error: single pictures are off by about this much.
    spread = deviation / math.sqrt(len(ratios)) if len(ratios) > 2 else 0.2
    return MetricScale(math.exp(middle), spread, ROOM_BY_DEPTH, f"the depth of {len(ratios)} single pictures")


def scale_by_motions(cameras: Cameras, placed: np.ndarray, motions: MeasuredMotions) -> MetricScale:
    """How long the unit of cameras is in metres, from motions that were read between their frames.

    Args:
        cameras: N of them.
        placed: [N] bool: whether a camera is known.
        motions: in metres, of any pairs of frames; those of near frames are taken.

    Returns:
        The weighted median over pairs of the ratio of both lengths, put right by what is usual.

    Raises:
        GeometryError: where too few motions are known.
    """
    first, second = motions.pairs.T
    near = (np.abs(second - first) <= LONGEST_GAP) & placed[first] & placed[second]
    lengths = (cameras.positions[second] - cameras.positions[first]).norm(dim=-1).numpy()
    near &= lengths > LEAST_MOTION * max(float(lengths[near].max(initial=0.0)), 1e-12)
    if near.sum() < FEWEST:
        raise GeometryError(f"{near.sum()} motions between frames are known, {FEWEST} are needed for a scale")
    read = motions.translation.norm(dim=-1).numpy()[near]
    ratios = np.log(np.maximum(read, 1e-4) / lengths[near])
    weights = 1 / motions.translation_error.numpy()[near]
    middle = _weighted_median(ratios, weights)
    scatter = 1.4826 * _weighted_median(np.abs(ratios - middle), weights)
    return MetricScale(math.exp(middle + SHORT), SHARED * scatter, ROOM_BY_MOTIONS, f"{near.sum()} motions between frames")


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    heights = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(heights, heights[-1] / 2)])

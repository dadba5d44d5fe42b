"""Whether cameras are right, told by the pictures alone: the share of matching points that lie where the cameras say they must.

Points are matched without any camera, so cameras of every origin stand the same test.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.features import find_features, match
from video4spatial.geometry.two_views import sampson_distances

GAPS = (1, 2, 4)
"""Frames between the two of a pair that is tested."""

LONGEST = 480
"""Pixels of the longer side at which points are looked for; smaller pictures are enlarged as `find_features` does."""

FEWEST = 15
"""Matches below which a pair says nothing."""

WITHIN = 1 / 320
"""Share of the longer side up to which a point may be from its epipolar line."""

CELLS = 8
"""Parts of a picture's width and height; each counts the same, however many of the points lie in it."""

LEAST_WITHIN = 0.4
"""Pixels, for small pictures. Where a point has to be at one place, twice as much: it may be off both ways."""

LEAST_SHIFT = 1e-3
"""Distance of two cameras, as a share of the path's length, below which a point has to be at one place instead of on a line."""


@dataclass(frozen=True)
class VideoMatches:
    """Points that are alike in pairs of frames of a video.

    Args:
        points: for each pair (first, second) two arrays [M, 2] in shares of the picture's width and height.
        size: height and width that distances are measured at, in pixels.
        count: N frames.
    """

    points: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
    size: tuple[int, int]
    count: int

    @property
    def usual(self) -> float:
        """Median number of matches between neighbours."""
        return float(np.median([len(self.points[pair][0]) for pair in self.points if pair[1] - pair[0] == 1] or [0]))

    @property
    def most(self) -> np.ndarray:
        """[N] matches of each frame with the one that it shares most with."""
        most = np.zeros(self.count)
        for pair, (points, _) in self.points.items():
            most[list(pair)] = np.maximum(most[list(pair)], len(points))
        return most


def video_matches(frames: np.ndarray) -> VideoMatches:
    """Match the frames of a video with those shortly after them.

    Args:
        frames: [N, H, W, 3] uint8.
    """
    height, width = frames.shape[1:3]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    features = [
        find_features(frame if scale == 1 else cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)) for frame in frames
    ]
    shares = np.array(size[::-1], dtype=np.float64)
    points = {}
    for gap in GAPS:
        for first in range(len(frames) - gap):
            one, other = features[first], features[first + gap]
            pairs = match(one, other)
            points[first, first + gap] = one.points[pairs[:, 0]] / shares, other.points[pairs[:, 1]] / shares
    return VideoMatches(points, size, len(frames))


def borne_out(matches: VideoMatches, cameras: Cameras, placed: np.ndarray) -> tuple[float, np.ndarray]:
    """How far matches bear cameras out.

    Args:
        matches: of the frames.
        cameras: N cameras of them.
        placed: [N] bool: whether a frame's camera is known.

    Returns:
        The mean share of matches, from 0 to 1, over all pairs that have enough of them, where pairs without cameras count as 0; and the
        best share of each frame [N], NaN where no pair of a placed frame says anything.
    """
    height, width = matches.size
    shares, frames = [], np.full(matches.count, np.nan)
    length = max(float(cameras[np.flatnonzero(placed).tolist()].path_length()), 1e-9) if placed.any() else 1e-9
    for (first, second), points in matches.points.items():
        if len(points[0]) < FEWEST:
            continue
        known = bool(placed[first] and placed[second])
        share = _share(points, cameras[[first, second]], height, width, length) if known else 0.0
        shares.append(share)
        if known:
            frames[[first, second]] = np.fmax(frames[[first, second]], share)
    return (float(np.mean(shares)) if shares else 0.0), frames


def _share(points: tuple[np.ndarray, np.ndarray], cameras: Cameras, height: int, width: int, length: float) -> float:
    """Share of matches that two cameras allow."""
    limit = max(LEAST_WITHIN, WITHIN * max(height, width))
    intrinsics = cameras.pixel_intrinsics(height, width)
    motion = cameras.world_to_camera[1] @ cameras.camera_to_world[0]
    weights = _spread_weights(points[0])
    first, second = (values * [width, height] for values in points)
    turn = intrinsics[1] @ motion[:3, :3] @ torch.linalg.inv(intrinsics[0])
    if float(torch.linalg.vector_norm(motion[:3, 3])) < LEAST_SHIFT * length:
        seen = np.concatenate([first, np.ones((len(first), 1))], axis=1) @ turn.numpy().T
        away = np.linalg.norm(seen[:, :2] / seen[:, 2:] - second, axis=1)
        return float(weights[(away < 2 * limit) & (seen[:, 2] > 0)].sum())
    x, y, z = (intrinsics[1] @ motion[:3, 3]).tolist()
    matrix = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64) @ turn
    return float(weights[sampson_distances(first, second, matrix.numpy()) < limit].sum())


def _spread_weights(places: np.ndarray) -> np.ndarray:
    """Weights [M] of places [M, 2] that add up to 1, by which each part of the picture that has any counts the same.

    Otherwise one thing that moves, if it has more texture than all the room, would be taken for the room.
    """
    columns, rows = np.clip((places * CELLS).astype(int), 0, CELLS - 1).T
    _, part, counts = np.unique(rows * CELLS + columns, return_inverse=True, return_counts=True)
    weights = 1 / counts[part]
    return weights / weights.sum()

"""From frames with cameras to `SceneGeometry`: depth by any estimator, and how far the frames' depth maps bear each other out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.geometry import GeometryError
from video4spatial.geometry.scene_geometry import DepthEstimator, SceneGeometry
from video4spatial.geometry.visibility import world_points

SAME_SURFACE = 0.2
"""Difference of log depth up to which two views show the same surface."""

WITNESSES = 6
"""Other frames that each depth map is compared with: those nearest to it."""

NO_CAMERA = "its camera is not known"
NOT_READ = "its depth was not read: enough other frames show the scene"


def estimate_scene(
    frames: np.ndarray,
    cameras: Cameras,
    depth: DepthEstimator,
    references: Sequence[int] | None = None,
    placed: np.ndarray | None = None,
    reasons: Sequence[str] | None = None,
    origin: dict[str, str] | None = None,
) -> SceneGeometry:
    """Read the depth of frames, and weigh it by what the other frames' depth says of it.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: N cameras; of those that are not placed only the lens is used.
        depth: the estimator.
        references: frames that are given depth; None for all that are placed.
        placed: [N] bool: whether a frame's camera is known; None for all.
        reasons: N, why a camera is not known.
        origin: where `cameras` and `scale` came from, in words.

    Returns:
        The geometry, with a reason for every frame of which something is not known. Where nothing can be read there is no depth at all.

    Raises:
        ValueError: for numbers of frames, cameras and reasons that do not fit each other.
    """
    count = len(frames)
    placed = np.ones(count, bool) if placed is None else np.asarray(placed, bool)
    told = [""] * count if reasons is None else list(reasons)
    if not len(cameras) == len(placed) == len(told) == count:
        raise ValueError(f"{len(cameras)} cameras, {len(placed)} marks and {len(told)} reasons for {count} frames: expected one each.")
    wanted = range(count) if references is None else sorted(set(references))
    where = np.flatnonzero(placed)
    chosen = [int(index) for index in where if index in wanted]
    told = [reason if known else reason or NO_CAMERA for reason, known in zip(told, placed)]
    maps, failure = None, "no frame has a known camera"
    if chosen:
        try:
            maps = depth(frames[where], cameras[where.tolist()], [int(np.searchsorted(where, index)) for index in chosen])
        except GeometryError as error:
            failure = str(error)
    size = frames.shape[1:3] if maps is None else maps.depth.shape[1:]
    all_depth, confidence = np.zeros((2, count, *size), np.float32)
    for index in where:
        told[index] = told[index] or (NOT_READ if maps is not None and index not in chosen else failure if maps is None else "")
    if maps is not None:
        all_depth[chosen], confidence[chosen] = maps.depth, maps.confidence
        borne_out = agreement(cameras[chosen], maps.depth)
        confidence[chosen] *= borne_out
        all_depth[confidence <= 0] = 0
        for row, index in enumerate(chosen):
            empty = "" if (all_depth[index] > 0).any() else "nothing in it could be matched"
            told[index] = told[index] or maps.reasons[row] or empty
    words = {"cameras": "given", "scale": "given", **(origin or {}), "depth": depth.name}
    return SceneGeometry(frames, cameras, placed, all_depth, confidence, tuple(told), words)


def agreement(cameras: Cameras, depth: np.ndarray) -> np.ndarray:
    """How far the depth of each pixel is borne out by the depth maps of the frames around it.

    A frame that shows the pixel's point at its own depth is a witness for it, one that sees farther at that place is a witness against it,
    and one that sees something nearer is none.

    Args:
        cameras: R cameras.
        depth: [R, h, w] along the optical axis; 0 where unknown.

    Returns:
        [R, h, w] float32: a factor on confidence, (for + 1/2) / (for + against + 1/2); 0 where two or more are against it and none for it.
    """
    count, height, width = depth.shape
    maps = torch.from_numpy(depth)
    support, against = torch.zeros(2, count, height * width)
    points = world_points(cameras, maps)  # [R, h w, 3]
    projections = (cameras.pixel_intrinsics(height, width) @ cameras.world_to_camera[:, :3]).float()
    order = viewpoint_distance(cameras, cameras).argsort(dim=1)[:, 1 : 1 + WITNESSES]
    for frame in range(count):
        for other in order[frame].tolist():
            difference = _difference(points[frame], projections[other], maps[other])
            support[frame] += difference.abs() < SAME_SURFACE
            against[frame] += difference > SAME_SURFACE
    factor = (support + 0.5) / (support + against + 0.5)
    factor[(against >= 2) & (support == 0)] = 0
    return (factor * (maps.flatten(1) > 0)).view(count, height, width).numpy()


def _difference(points: Tensor, projection: Tensor, depth: Tensor) -> Tensor:
    """Log of what a view [h, w] shows over the distance of points [P, 3]; NaN where it does not see their place."""
    height, width = depth.shape
    seen = points @ projection[:, :3].T + projection[:, 3]
    distance = seen[:, 2].clamp(min=1e-3)
    columns, rows = (seen[:, 0] / distance).floor(), (seen[:, 1] / distance).floor()
    inside = (seen[:, 2] > 1e-3) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    flat = (rows * width + columns).where(inside, torch.zeros(())).long()
    shown = depth.flatten()[flat]
    usable = inside & (shown > 0)
    return torch.where(usable, (shown.clamp(min=1e-3) / distance).log(), torch.full((), torch.nan))

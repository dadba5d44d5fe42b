"""Depth maps as points of the world, and those points seen by other cameras."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, median_filter
from torch import Tensor

from video4spatial.cameras import Cameras, project_points

NEAR = 1e-3
"""Points closer to the image plane than this, in the unit of the cameras, count as behind the camera."""

FILLED_ASIDE = 2
"""Pixels at a height of 64 over which holes between splatted points are closed."""


def world_points(cameras: Cameras, depth: Tensor) -> Tensor:
    """The surface points that all pixels of depth maps show.

    Args:
        cameras: T cameras.
        depth: [T, H, W] along the optical axis, in the unit of the cameras.

    Returns:
        [T, H W, 3] in the world, of the type of `depth`.
    """
    height, width = depth.shape[1:]
    columns = (torch.arange(width, dtype=depth.dtype) + 0.5) / width
    rows = (torch.arange(height, dtype=depth.dtype) + 0.5) / height
    grid = (height, width)
    pixels = torch.stack([columns.expand(grid), rows[:, None].expand(grid), torch.ones(grid, dtype=depth.dtype)], dim=-1)
    to_world = (cameras.rotations @ torch.linalg.inv(cameras.intrinsics)).to(depth.dtype)  # [T, 3, 3]
    rays = pixels.reshape(1, -1, 3) @ to_world.mT  # depth along the axis is 1
    return rays * depth.flatten(1)[..., None] + cameras.positions.to(depth.dtype)[:, None]


def nearest_points(points: np.ndarray, cameras: Cameras, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which point each pixel shows if points hide what lies behind them.

    Args:
        points: [P, 3] in the world.
        cameras: T cameras.
        height, width: of the pictures.

    Returns:
        Indices [T, height, width], -1 where no point falls, and their depth [T, height, width], infinite there. Of points
        at the same depth the last is taken.
    """
    pixels, depths = (values.numpy() for values in project_points(cameras, torch.from_numpy(points).double(), height, width))
    index, nearest = np.full((len(cameras), height * width), -1), np.full((len(cameras), height * width), np.inf)
    for view, (pixel, depth) in enumerate(zip(pixels, depths, strict=True)):
        inside = np.flatnonzero((depth > NEAR) & (pixel >= 0).all(1) & (pixel < (width, height)).all(1))
        flat = pixel[inside, 1].astype(int) * width + pixel[inside, 0].astype(int)
        np.minimum.at(nearest[view], flat, depth[inside])
        shown = depth[inside] == nearest[view, flat]
        index[view, flat[shown]] = inside[shown]  # of several the last is kept
    return index.reshape(-1, height, width), nearest.reshape(-1, height, width)


def splatted_depth(cameras: Cameras, depth: np.ndarray, target: Cameras, height: int, width: int) -> np.ndarray:
    """What other cameras see of the surfaces in depth maps: points splatted one pixel wide, the nearest wins.

    Holes between points are closed up to `FILLED_ASIDE`, and single points that stand out take the depth around them.

    Args:
        cameras: N cameras.
        depth: [N, h, w] along the optical axis, in the unit of the cameras; 0 where unknown.
        target: T cameras of the same world.
        height, width: of the target's pictures.

    Returns:
        [T, height, width] float32, 0 where nothing is known.
    """
    depths = torch.from_numpy(depth).double()
    points = world_points(cameras, depths)[depths.flatten(1) > 0].numpy()
    views = []
    for index in range(len(target)):  # one by one: points are many
        nearest = nearest_points(points, target[index], height, width)[1][0]
        views.append(_without_pinholes(np.where(np.isfinite(nearest), nearest, 0), FILLED_ASIDE * height / 64))
    return np.stack(views)


def _without_pinholes(depth: np.ndarray, reach: float) -> np.ndarray:
    """Holes no wider than `reach` pixels get the nearest depth, single points that stand out that of their surroundings."""
    if not (depth > 0).any():
        return depth.astype(np.float32)
    distance, nearest = distance_transform_edt(depth <= 0, return_indices=True)
    filled = np.where(distance <= reach, depth[tuple(nearest)], 0)
    return np.where(filled > 0, median_filter(filled, 3), 0).astype(np.float32)

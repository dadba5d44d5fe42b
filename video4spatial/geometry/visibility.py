"""Depth maps seen by other cameras: the points they show, which pixels other views see, and pictures warped from them."""

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras, project_points, viewpoint_distance

NEAR = 1e-3
"""Points closer to the image plane than this, in the unit of the cameras, count as behind the camera."""


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


def covisible_mask(
    target_cameras: Cameras,
    target_depth: np.ndarray,
    context_cameras: Cameras,
    context_depth: np.ndarray,
    tolerance: float = 0.04,
) -> np.ndarray:
    """Pixels of the target views whose surface point some context view sees.

    Each target pixel is unprojected with its depth and projected into every context view; it is seen there if it falls
    into the picture and its depth agrees with the context's.

    Args:
        target_cameras: T cameras.
        target_depth: [T, H, W] metres along the optical axis; 0 or not finite where unknown.
        context_cameras: N cameras of the same world.
        context_depth: [N, h, w] metres along the optical axis.
        tolerance: accepted relative difference of depth.

    Returns:
        [T, H, W] bool.

    Raises:
        ValueError: where cameras and depth maps differ in number.
    """
    points, known, projections, depths = _prepared(target_cameras, target_depth, context_cameras, context_depth)
    points, mask = points.flatten(0, 1), torch.zeros(known.numel(), dtype=torch.bool)
    unseen = known.flatten().nonzero().flatten()
    # The nearest views first: they see most, and what has been seen is not looked for again.
    for context in viewpoint_distance(target_cameras, context_cameras).mean(0).argsort().tolist():
        seen = _look_up(points[None, unseen], projections[context], depths[context], tolerance)[0][0]
        mask[unseen[seen]] = True
        unseen = unseen[~seen]
    return mask.view(known.shape).numpy()


def seen_from(
    target_cameras: Cameras,
    target_depth: np.ndarray,
    context_cameras: Cameras,
    context_depth: np.ndarray,
    tolerance: float = 0.04,
) -> np.ndarray:
    """As `covisible_mask`, for each context view on its own.

    Args:
        target_cameras, target_depth, context_cameras, context_depth, tolerance: as there.

    Returns:
        [T, N, H, W] bool.

    Raises:
        ValueError: where cameras and depth maps differ in number.
    """
    points, known, projections, depths = _prepared(target_cameras, target_depth, context_cameras, context_depth)
    views = zip(projections, depths, strict=True)
    seen = [_look_up(points, projection, depth, tolerance)[0] for projection, depth in views]
    return (torch.stack(seen, dim=1).unflatten(-1, target_depth.shape[1:]) & known[:, None]).numpy()


def warp_context(
    target_cameras: Cameras,
    target_depth: np.ndarray,
    context_cameras: Cameras,
    context_depth: np.ndarray,
    context_frames: np.ndarray,
    tolerance: float = 0.04,
) -> tuple[np.ndarray, np.ndarray]:
    """What the context knows of the target views: each pixel's colour from the nearest context view that sees it.

    Args:
        target_cameras, target_depth, context_cameras, context_depth, tolerance: as `covisible_mask`.
        context_frames: [N, h, w, 3] uint8.

    Returns:
        frames [T, H, W, 3] uint8 (0 where unseen) and the mask of seen pixels [T, H, W].

    Raises:
        ValueError: where cameras, depth maps and frames differ in number or size.
    """
    points, known, projections, depths = _prepared(target_cameras, target_depth, context_cameras, context_depth)
    if context_frames.shape[:3] != context_depth.shape:
        shapes = f"{list(context_frames.shape)} and depth maps {list(context_depth.shape)}"
        raise ValueError(f"context frames {shapes} do not fit each other.")
    colours = torch.from_numpy(np.ascontiguousarray(context_frames)).float().flatten(1, 2)  # [N, h w, 3]
    order = viewpoint_distance(target_cameras, context_cameras).argsort(dim=1)  # [T, N]
    frames = torch.zeros(*points.shape[:2], 3)
    filled = ~known.flatten(1)
    for target in range(len(points)):
        for context in order[target].tolist():
            if filled[target].all():
                break
            seen, corners, weights = _look_up(points[target, None], projections[context], depths[context], tolerance)
            new = seen[0] & ~filled[target]
            picked = colours[context][corners[0][new]]  # [P, 4, 3]
            frames[target, new] = (picked * weights[0][new][..., None]).sum(1)
            filled[target] |= new
    seen = filled.unflatten(1, target_depth.shape[1:]) & known
    pictures = frames.unflatten(1, target_depth.shape[1:]).round().clamp(0, 255).to(torch.uint8)
    return pictures.numpy(), seen.numpy()


def _prepared(
    target_cameras: Cameras, target_depth: np.ndarray, context_cameras: Cameras, context_depth: np.ndarray
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What views are compared by.

    Returns:
        Surface points [T, H W, 3] of all target pixels, whether their depth is known [T, H, W], matrices [N, 3, 4] from the world
        to pixels of the context times depth, and the context's depth [N, h, w]; float32.
    """
    views = [("target", target_cameras, target_depth), ("context", context_cameras, context_depth)]
    problems = [
        f"{name}: {len(cameras)} cameras and depth {list(depth.shape)}, expected [{len(cameras)}, height, width]"
        for name, cameras, depth in views
        if depth.ndim != 3 or len(depth) != len(cameras)
    ]
    if problems:
        raise ValueError("; ".join(problems) + ".")
    depths, context_depths = (torch.from_numpy(np.ascontiguousarray(depth, dtype=np.float32)) for _, _, depth in views)
    known = depths.isfinite() & (depths > NEAR)
    points = world_points(target_cameras, depths.where(known, torch.ones(())))
    projections = context_cameras.pixel_intrinsics(*context_depth.shape[1:]) @ context_cameras.world_to_camera[..., :3, :]
    return points, known, projections.float(), context_depths


def _look_up(points: Tensor, projection: Tensor, depth: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Project points [T, P, 3] into one view and compare with its depth map [h, w].

    Returns whether each point is seen [T, P], the flat indices of the four pixels around it [T, P, 4] and the bilinear
    weights of those of them that lie on the same surface [T, P, 4].
    """
    height, width = depth.shape
    projected = points @ projection[:, :3].T + projection[:, 3]
    distance = projected[..., 2]
    in_front = distance > NEAR
    safe = distance.where(in_front, torch.ones(()))
    column, row = projected[..., 0] / safe, projected[..., 1] / safe
    inside = in_front & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    # Pixel centres lie at +0.5; outside points are sent to pixel 0 and masked.
    column = column.where(inside, torch.zeros(())) - 0.5
    row = row.where(inside, torch.zeros(())) - 0.5
    left, top = column.floor(), row.floor()
    right_weight, bottom_weight = column - left, row - top
    columns = torch.stack([left, left + 1], dim=-1).long().clamp(0, width - 1)  # [T, P, 2]
    rows = torch.stack([top, top + 1], dim=-1).long().clamp(0, height - 1)
    corners = (rows[..., :, None] * width + columns[..., None, :]).flatten(-2)  # [T, P, 4]
    around = depth.flatten()[corners]
    # Between the nearest and the farthest corner: a slanted surface passes, and so does a point right at an outline.
    nearest, farthest = around.amin(-1), around.amax(-1)
    seen = inside & (distance >= nearest * (1 - tolerance)) & (distance <= farthest * (1 + tolerance))
    weights = torch.stack([1 - bottom_weight, bottom_weight], dim=-1)[..., :, None] * torch.stack(
        [1 - right_weight, right_weight], dim=-1
    )[..., None, :]
    weights = weights.flatten(-2)
    # Colours are blended over the corners on the point's own surface, so that outlines do not bleed.
    same = (around - distance[..., None]).abs() <= 2 * tolerance * distance[..., None]
    chosen = weights * same
    total = chosen.sum(-1, keepdim=True)
    return seen, corners, torch.where(total > 1e-6, chosen / total.clamp(min=1e-6), weights)

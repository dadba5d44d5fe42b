"""Which frames of a capture show what a target will see: greedy coverage of the target's surfaces, outside a guard band around it.

With depth, a target pixel is covered if a context frame sees the same surface point there (reprojection with occlusion). Without, points
at random distances in the target's view stand in for surfaces, walls do not hide anything, and the result is flagged `frustum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.visibility import seen_from
from video4spatial.captures import Capture

SIDE = 24  # pixels along the longer side of the depth maps that are compared
MOST_CANDIDATES = 96
TARGET_VIEWS = 4
FRUSTUM_POINTS = 600
FRUSTUM_DEPTHS = (0.5, 6.0)  # metres; of the median step times ten where there are none


@dataclass(frozen=True)
class ContextSettings:
    """What a context is.

    Args:
        frames: most context frames, the anchor included.
        guard_seconds: frames this near to the target's in time are left out (but the anchor), so that the answer is not in the context.
        least_coverage: share of the target's surfaces that the context must see.
        least_gain: a frame that adds less than this share ends the greedy choice; what is left is filled evenly.
    """

    frames: int = 32
    guard_seconds: float = 2.0
    least_coverage: float = 0.6
    least_gain: float = 0.002


@dataclass(frozen=True)
class Context:
    """A chosen context.

    Args:
        frames: indices, ascending, the anchor among them.
        coverage: share of the target's surfaces that it sees, 0 to 1.
        anchor_coverage: share that the anchor alone sees.
        method: how it was measured.
    """

    frames: tuple[int, ...]
    coverage: float
    anchor_coverage: float
    method: Literal["depth", "frustum"]


def select_context(
    capture: Capture, target: tuple[int, ...], usable: np.ndarray, settings: ContextSettings = ContextSettings()
) -> Context:
    """Choose the context of a target.

    Args:
        capture: with cameras.
        target: its frame indices, the anchor first.
        usable: [N] whether a frame may be context.
        settings: what a context is.

    Returns:
        The context, however little it covers; compare `coverage` with `settings.least_coverage`.
    """
    times, anchor = np.asarray(capture.times), target[0]
    away = (times < times[target[0]] - settings.guard_seconds) | (times > times[target[-1]] + settings.guard_seconds)
    candidates = np.flatnonzero(away & usable)
    if len(candidates) > MOST_CANDIDATES:
        candidates = candidates[np.linspace(0, len(candidates) - 1, MOST_CANDIDATES).round().astype(int)]
    candidates = np.concatenate([[anchor], candidates])
    views = [target[i] for i in np.unique(np.linspace(1, len(target) - 1, TARGET_VIEWS).round().astype(int))]
    seen, method = _seen(capture, views, candidates)
    order, covered = [0], seen[0].copy()
    anchor_coverage = float(covered.mean())
    while len(order) < min(settings.frames, len(candidates)):
        gains = (seen & ~covered).mean(axis=1)
        gains[order] = -1
        best = int(gains.argmax())
        if gains[best] < settings.least_gain:
            break
        order.append(best)
        covered |= seen[best]
    rest = [place for place in range(len(candidates)) if place not in order]
    spare = min(settings.frames - len(order), len(rest))
    if spare > 0:
        order += [rest[i] for i in np.unique(np.linspace(0, len(rest) - 1, spare).round().astype(int))]
        covered = seen[order].any(axis=0)
    return Context(tuple(sorted(candidates[order].tolist())), float(covered.mean()), anchor_coverage, method)


def _seen(capture: Capture, views: list[int], candidates: np.ndarray) -> tuple[np.ndarray, Literal["depth", "frustum"]]:
    """[candidates, points] whether each sees each of the target's points."""
    if capture.read_depth is not None:
        chosen = sorted({*views, *candidates.tolist()})
        maps = dict(zip(chosen, _small(capture.read_depth(chosen))))
        known = {index for index, depth in maps.items() if (depth > 0).mean() > 0.3}
        with_depth = [view for view in views if view in known]
        if with_depth and len(known & set(candidates.tolist())) > len(candidates) / 2:
            target, target_depth = capture.cameras[with_depth], np.stack([maps[view] for view in with_depth])
            context, context_depth = capture.cameras[candidates.tolist()], np.stack([maps[i] for i in candidates.tolist()])
            seen = seen_from(target, target_depth, context, context_depth)
            return seen.transpose(1, 0, 2, 3)[:, target_depth > 0], "depth"
    return _in_frusta(capture, views, candidates), "frustum"


def _small(depth: np.ndarray) -> np.ndarray:
    """Depth maps [n, H, W] thinned to about `SIDE` pixels, without means across edges."""
    step = max(1, max(depth.shape[1:]) // SIDE)
    return depth[:, step // 2 :: step, step // 2 :: step]


def _in_frusta(capture: Capture, views: list[int], candidates: np.ndarray) -> np.ndarray:
    """[candidates, points] whether points at random distances in the target's views lie in each candidate's view."""
    random = np.random.default_rng(0)
    near, far = FRUSTUM_DEPTHS
    if not capture.cameras.metric:
        step = float(torch.linalg.vector_norm(capture.cameras.positions.diff(dim=0), dim=-1).median())
        near, far = near * 10 * step, far * 10 * step
    points = []
    for view in views:
        camera = capture.cameras[view]
        pixels = np.concatenate([random.random((FRUSTUM_POINTS, 2)), np.ones((FRUSTUM_POINTS, 1))], axis=1)
        depth = np.exp(random.uniform(np.log(max(near, 1e-9)), np.log(max(far, 2e-9)), FRUSTUM_POINTS))
        local = pixels @ np.linalg.inv(camera.intrinsics[0].numpy()).T * depth[:, None]
        pose = camera.camera_to_world[0].numpy()
        points.append(local @ pose[:3, :3].T + pose[:3, 3])
    return _inside(capture.cameras[candidates.tolist()], np.concatenate(points))


def _inside(cameras: Cameras, points: np.ndarray) -> np.ndarray:
    """[T, P] whether points lie in front of cameras and in their pictures."""
    matrices = (cameras.intrinsics @ cameras.world_to_camera[:, :3]).numpy()
    projected = points @ matrices[:, :, :3].transpose(0, 2, 1) + matrices[:, None, :, 3]
    depth = np.where(projected[..., 2] > 1e-6, projected[..., 2], np.nan)
    x, y = projected[..., 0] / depth, projected[..., 1] / depth
    return (x >= 0) & (x < 1) & (y >= 0) & (y < 1)

"""Which frames of a capture show what a target will see: greedy coverage of the target's surfaces, outside a guard band around it.

With depth, a target pixel is covered if a context frame sees the same surface point there (reprojection with occlusion). Without
depth, points at random distances in the target's view stand in for surfaces and walls do not hide anything; such a result is
flagged `frustum`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from data_curation.scene import Result, Scene
from data_curation.stages.instructions import navigation_words
from video4spatial.cameras import Cameras
from video4spatial.captures import Capture
from video4spatial.clips.footage import model_scale
from video4spatial.spread import thinned

POINT_STEP = 3  # pixels of the depth maps between two points of a target
TOLERANCE, NEAREST_METRES = 0.02, 0.05  # two depths are one surface within this share of the distance, or this many metres
MOST_CANDIDATES = 96
TARGET_VIEWS = 16
FRUSTUM_POINTS = 300
FRUSTUM_DEPTHS = (0.5, 6.0)  # metres; where lengths are unknown, in units of ten median steps


@dataclass(frozen=True)
class ContextSettings:
    """What a context is.

    Args:
        frames: most context frames, the anchor included.
        guard_seconds: frames this near in time to the target's are left out, except the anchor, so that the context does not hold
            the answer.
        guard_share: largest width of that band, as a share of the capture's length.
        least_coverage: share of the target's surfaces that the context must see. It is a little above the 0.6 that is wanted,
            since small maps measure it roughly.
        least_gain: once no frame adds this share, the greedy choice ends; the rest of the context is spread evenly.
    """

    frames: int = 32
    guard_seconds: float = 2.0
    guard_share: float = 0.1
    least_coverage: float = 0.62
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
    capture: Capture,
    target: tuple[int, ...],
    usable: np.ndarray,
    settings: ContextSettings = ContextSettings(),
    depth: np.ndarray | None = None,
) -> Context:
    """Choose the context of a target.

    Args:
        capture: with cameras.
        target: its frame indices, the anchor first.
        usable: [N] whether a frame may be context.
        settings: what a context is.
        depth: `thin_depth` of the capture, or None to go by frusta.

    Returns:
        The context, however little it covers; compare `coverage` with `settings.least_coverage`.
    """
    times, anchor = np.asarray(capture.times), target[0]
    guard = min(settings.guard_seconds, settings.guard_share * float(times[-1] - times[0]))
    away = (times < times[target[0]] - guard) | (times > times[target[-1]] + guard)
    candidates = np.flatnonzero(away & usable)
    candidates = candidates[thinned(len(candidates), max(MOST_CANDIDATES, settings.frames))]
    candidates = np.concatenate([[anchor], candidates])
    seen, method = _seen(capture, _views(target), candidates, depth)
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
        order += [rest[i] for i in thinned(len(rest), spare)]
        covered = seen[order].any(axis=0)
    return Context(tuple(sorted(candidates[order].tolist())), float(covered.mean()), anchor_coverage, method)


def context_coverage(
    capture: Capture, target: tuple[int, ...], frames: tuple[int, ...], depth: np.ndarray | None = None
) -> Context:
    """How much of a target a given context shows.

    Args:
        capture: with cameras.
        target: its frame indices, the anchor first.
        frames: of the context, the anchor among them.
        depth: `thin_depth` of the capture, or None to go by frusta.
    """
    seen, method = _seen(capture, _views(target), np.array(frames), depth)
    return Context(frames, float(seen.any(axis=0).mean()), float(seen[frames.index(target[0])].mean()), method)


def _views(target: tuple[int, ...]) -> list[int]:
    """Up to `TARGET_VIEWS` frames of a target, the anchor left out."""
    return [target[i] for i in np.unique(np.linspace(1, len(target) - 1, TARGET_VIEWS).round().astype(int))]


def _seen(
    capture: Capture, views: list[int], candidates: np.ndarray, depth: np.ndarray | None
) -> tuple[np.ndarray, Literal["depth", "frustum"]]:
    """[candidates, points] whether each sees each of the target's points."""
    if depth is not None:
        known = (depth > 0).mean((1, 2)) > 0.3
        with_depth = [view for view in views if known[view]]
        if with_depth and known[candidates].mean() > 0.5:
            return _on_surfaces(capture, _surface_points(capture, with_depth, depth), candidates, depth), "depth"
    return _in_frusta(capture, views, candidates), "frustum"


def _surface_points(capture: Capture, views: list[int], depth: np.ndarray) -> np.ndarray:
    """[P, 3] points of the world in the pictures of some frames, one every `POINT_STEP` pixels of their depth maps."""
    height, width = depth.shape[1:]
    rows, columns = np.mgrid[POINT_STEP // 2 : height : POINT_STEP, POINT_STEP // 2 : width : POINT_STEP].reshape(2, -1)
    pixels = np.stack([(columns + 0.5) / width, (rows + 0.5) / height, np.ones(len(rows))], axis=1)
    points = []
    for view in views:
        camera, distances = capture.cameras[view], depth[view, rows, columns]
        local = (pixels @ np.linalg.inv(camera.intrinsics[0].numpy()).T * distances[:, None])[distances > 0]
        pose = camera.camera_to_world[0].numpy()
        points.append(local @ pose[:3, :3].T + pose[:3, 3])
    return np.concatenate(points)


def _on_surfaces(capture: Capture, points: np.ndarray, candidates: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """[candidates, P] whether each frame's depth map has each point: in its picture, and as far away as its nearest pixel says."""
    height, width = depth.shape[1:]
    cameras = capture.cameras[candidates.tolist()]
    matrices = (cameras.pixel_intrinsics(height, width) @ cameras.world_to_camera[:, :3]).numpy()
    least = NEAREST_METRES if cameras.metric else 0.0
    seen = np.zeros((len(candidates), len(points)), dtype=bool)
    for place, (frame, matrix) in enumerate(zip(candidates, matrices)):
        projected = points @ matrix[:, :3].T + matrix[:, 3]
        distance = projected[:, 2]
        front = np.flatnonzero(distance > 1e-6)
        columns, rows = np.floor(projected[front, :2] / distance[front, None]).astype(int).T
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        front = front[inside]
        found = depth[frame, rows[inside], columns[inside]]
        seen[place, front] = np.abs(found - distance[front]) < np.maximum(least, TOLERANCE * distance[front])
    return seen


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


def run_geometry(scene: Scene) -> Result:
    """The stage `geometry`: whether enough depth is known to measure coverage by it.

    Args:
        scene: under way, with cameras.
    """
    depth = scene.depth
    known = 0.0 if depth is None else float(np.mean((depth > 0).mean((1, 2)) > 0.3))
    return Result({"method": "depth" if known > 0.5 else "frustum", "frames_with_depth": known})


def run_navigation(scene: Scene, settings: ContextSettings) -> Result:
    """The stage `navigation`: a context for every window, and its path in words. Windows that it does not cover are left out.

    Args:
        scene: under way, with windows.
        settings: what a context is, and how much it must cover.
    """
    clips, low = [], []
    times = np.asarray(scene.capture.times)
    for window in scene.done["windows"]["windows"]:
        context = select_context(scene.capture, tuple(window), ~scene.poor, settings, scene.depth)
        if context.coverage < settings.least_coverage:
            low.append(context.coverage)
            continue
        clips.append(
            {
                "target": window,
                "texts": [navigation_words(scene.capture.cameras[window], scene.capture.up_axis)],
                "scale": model_scale(scene.capture.cameras[list(context.frames)]),
                "target_times": (times[window] - times[window[0]]).tolist(),
                "context": list(context.frames),
                "coverage": context.coverage,
                "anchor_coverage": context.anchor_coverage,
                "method": context.method,
            }
        )
    return Result({"clips": clips, "rejected_coverage": low}, "clips", len(clips), {"low_coverage": len(low)} if low else {})

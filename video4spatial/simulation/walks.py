"""Capture walks: how a person with a camera explores a scene. The motions with a purpose live in `targets`."""

import numpy as np
import torch
from scipy import ndimage

from video4spatial.cameras import Cameras
from video4spatial.cameras.level_poses import look_poses
from video4spatial.geometry.grid_routes import along, routes_from, traced
from video4spatial.simulation.motion import CLEARANCE, GRID_CLEARANCE, NoPathError, resample, sway
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scene import Scene
from video4spatial.simulation.targets import approach_target, navigation_target

__all__ = ["NoPathError", "approach_target", "capture_walk", "navigation_target"]


def capture_walk(
    scene: Scene,
    num_frames: int,
    frame_rate: float = 4.0,
    seed: int = 0,
    fov_degrees: float = 75.0,
    aspect: float = 1.0,
) -> Cameras:
    """A smooth hand-held walk through the rooms that looks around and sees most of them.

    Args:
        scene: the scene to walk in.
        num_frames: number of cameras, at least 1.
        frame_rate: frames per second; the speed stays that of a slow walk (about 0.45 m/s, 25 degrees/s).
        seed: which walk.
        fov_degrees: horizontal field of view.
        aspect: width / height of the pictures.

    Returns:
        [num_frames] metric cameras with times.

    Raises:
        ValueError: if num_frames < 1 or frame_rate <= 0.
        NoPathError: if the scene has no room to walk.
    """
    if num_frames < 1 or frame_rate <= 0:
        raise ValueError(
            f"num_frames is {num_frames} and frame_rate {frame_rate}; expected at least 1 frame and a positive rate"
        )
    rng = np.random.default_rng([scene.seed, seed, 1])
    times = np.arange(num_frames) / frame_rate
    speed = rng.uniform(0.34, 0.55)
    ground = _tour(scene, rng, speed * times[-1] + 0.2)
    distance = np.minimum(_pace(rng, times, speed), ground[-1, 2])
    x, y = np.interp(distance, ground[:, 2], ground[:, 0]), np.interp(distance, ground[:, 2], ground[:, 1])
    height = rng.uniform(1.25, 1.55) + 0.02 * sway(rng, times, 1.1) + 0.05 * sway(rng, times, 6.0)
    positions = np.stack([x, y, height], -1)
    pitch = np.radians(rng.uniform(-14, -5) + 5.0 * sway(rng, times, 5.0) + 0.8 * sway(rng, times, 0.9))
    roll = np.radians(1.0 * sway(rng, times, 2.5) + 0.5 * sway(rng, times, 0.9))
    # Of a few ways to look around, the one that sees most.
    poses = np.stack([look_poses(positions, _look_around(rng, times), pitch, roll) for _ in range(6)])
    best = int(np.argmax(_seen(scene, poses, fov_degrees, aspect)))
    return Cameras.from_fov(
        torch.from_numpy(poses[best]), fov_degrees=fov_degrees, aspect=aspect, times=torch.from_numpy(times)
    )


def _tour(scene: Scene, rng, length: float) -> np.ndarray:
    """A smooth polyline [N, 3] of x, y and arc length that visits far-apart places, at least `length` metres long."""
    points, graph = scene.free_space.grid(GRID_CLEARANCE)
    if len(points) < 2:
        raise NoPathError(f"scene {scene.seed} leaves no room to walk with {CLEARANCE} m of clearance")
    here = int(rng.integers(len(points)))
    visited, route, total = [points[here]], [points[here]], 0.0
    while total < length + 1.0:
        gap = np.min(np.linalg.norm(points[:, None] - np.array(visited[-6:])[None], axis=-1), axis=1)
        weight = gap**2 + 1e-9
        there = int(rng.choice(len(points), p=weight / weight.sum()))
        leg = points[traced(routes_from(graph, here)[1], there, here)[::-1]]
        total += np.linalg.norm(np.diff(leg, axis=0), axis=1).sum()
        route.extend(leg[1:])
        visited.append(points[there])
        here = there
    route = resample(np.array(route))
    for sigma in (8.0, 5.0, 3.0, 1.5):
        smooth = np.stack([ndimage.gaussian_filter1d(route[:, axis], sigma, mode="nearest") for axis in range(2)], -1)
        inside = scene.free_space.clearance(smooth) >= CLEARANCE + 0.01
        if inside.all():
            break
        # Smooth only where corners can be cut: fade back to the safe route around the others.
        blocked = ndimage.gaussian_filter1d(
            ndimage.maximum_filter1d((~inside).astype(float), int(6 * sigma) + 1), sigma
        )[:, None]
        smooth = smooth + np.clip(1.5 * blocked, 0, 1) * (route - smooth)
        if (scene.free_space.clearance(smooth) >= CLEARANCE).all():
            break
    else:
        smooth = route
    return np.column_stack([smooth, along(smooth)])


def _pace(rng, times: np.ndarray, speed: float) -> np.ndarray:
    """Distance walked [T] at a gently varying speed."""
    steps = np.diff(times, prepend=0.0)
    return np.cumsum(steps * speed * (1 + 0.25 * sway(rng, times, 5.0)))


def _look_around(rng, times: np.ndarray) -> np.ndarray:
    """Yaw [T] that sweeps mostly one way, sometimes back, at 12 to 40 degrees per second."""
    sign = rng.choice([-1.0, 1.0])
    rate = np.radians(26.0 + 10.0 * sway(rng, times, 5.0))
    turns = np.cumsum(rng.uniform(9.0, 16.0, int(times[-1] / 9) + 2))
    direction = np.ones(len(times))
    for turn in turns:  # a slow change of sweep direction
        direction *= -np.tanh((times - turn) / 0.7)
    return rng.uniform(0, 2 * np.pi) + np.cumsum(np.diff(times, prepend=0.0) * rate * direction * sign)


def _seen(scene: Scene, poses: np.ndarray, fov_degrees: float, aspect: float) -> np.ndarray:
    """How much of the scene each walk [N, T, 4, 4] shows in small pictures: seen instances, less frames that stare at
    something close or blank.
    """
    thinned = poses[:, :: max(1, poses.shape[1] // 32)]
    walks, frames = thinned.shape[:2]
    cameras = Cameras.from_fov(torch.from_numpy(thinned.reshape(-1, 4, 4)), fov_degrees=fov_degrees, aspect=aspect)
    rendering = render(scene, cameras, 12, 16, backend="numba")
    seen = [
        np.count_nonzero(np.bincount(instance.ravel())[1:] >= 6) for instance in rendering.instance.reshape(walks, -1)
    ]
    close = np.median(rendering.depth.reshape(walks, frames, -1), axis=2) < 0.9
    blank = rendering.rgb.reshape(walks, frames, -1, 3).std(2).mean(2) < 14.0
    return np.array(seen) - 12.0 * (close.mean(1) + blank.mean(1))

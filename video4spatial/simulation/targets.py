"""Camera motions with a purpose: navigation targets and approaches to an object, clear of walls and furniture."""

import numpy as np
import torch
from scipy import ndimage

from video4spatial.cameras import Cameras
from video4spatial.cameras.level_poses import look_poses
from video4spatial.captures import SceneObject
from video4spatial.geometry.grid_routes import along, resampled, routes_from, traced
from video4spatial.simulation.motion import CLEARANCE, GRID_CLEARANCE, NoPathError, resample, sway
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scene import Scene

_CANDIDATES = 192


def navigation_target(
    scene: Scene,
    start: Cameras,
    num_frames: int,
    frame_rate: float = 4.0,
    seed: int = 0,
    rotation_range: tuple[float, float] = (20.0, 60.0),
    path_range: tuple[float, float] = (0.3, 1.5),
) -> Cameras:
    """A smooth collision-free trajectory that begins exactly at a start: forward, backward, sideways, turning or along an arc.

    Args:
        scene: the scene.
        start: one camera [1] inside the scene.
        num_frames: frames including the first, at least 2.
        frame_rate: frames per second of the returned times, which begin at the time of `start` (0 if it has none).
        seed: which trajectory.
        rotation_range: least and greatest net rotation in degrees.
        path_range: least and greatest path length in metres.

    Returns:
        [num_frames] cameras; frame 0 equals `start`.

    Raises:
        ValueError: on malformed arguments.
        NoPathError: if no candidate keeps clear of walls and furniture.
    """
    _check(start, num_frames, rotation_range, path_range)
    rng = np.random.default_rng([scene.seed, seed, 2])
    pose = start.camera_to_world[0].numpy()
    required = min(CLEARANCE, float(scene.free_space.clearance(pose[:3, 3])) - 1e-6)
    if required <= 0.05:
        raise NoPathError(
            f"the start position {pose[:3, 3].round(2).tolist()} touches furniture or a wall of scene {scene.seed}, "
            "or is outside its rooms; start where a person could stand"
        )
    valid = []
    for _ in range(8):
        positions, turns = _candidate_motions(rng, pose, num_frames, rotation_range, path_range)
        clear = scene.free_space.clearance(positions).min(1) >= required
        valid += [(positions[i], turns[i]) for i in np.flatnonzero(clear)]
        if len(valid) >= 3:
            break
    if not valid:
        raise NoPathError(
            f"no collision-free path of {path_range} m with {rotation_range} degrees from "
            f"{pose[:3, 3].round(2).tolist()} in scene {scene.seed} after {8 * _CANDIDATES} tries; "
            "widen the ranges or choose another start"
        )
    trajectories = [_turned(start, positions, turns, frame_rate) for positions, turns in valid[:3]]
    ends = Cameras.concatenate([t[num_frames - 1] for t in trajectories])
    views = np.median(render(scene, ends, 9, 12, backend="numba").depth.reshape(len(ends), -1), axis=1)
    # Rather not end nose to wall.
    chosen = next((i for i, depth in enumerate(views) if depth > 1.0), int(np.argmax(views)))
    return trajectories[chosen]


def _check(start: Cameras, num_frames: int, rotation_range: tuple[float, float], path_range: tuple[float, float]) -> None:
    problems = []
    if start.camera_to_world.shape != (1, 4, 4):
        problems.append(f"start has camera_to_world of shape {tuple(start.camera_to_world.shape)}, expected (1, 4, 4)")
    if num_frames < 2:
        problems.append(f"num_frames is {num_frames}, expected at least 2")
    for name, (low, high) in (("rotation_range", rotation_range), ("path_range", path_range)):
        if not 0 <= low <= high:
            problems.append(f"{name} is ({low}, {high}), expected 0 <= least <= greatest")
    if problems:
        raise ValueError("cannot plan a navigation target: " + "; ".join(problems))


def _candidate_motions(
    rng, pose: np.ndarray, num_frames: int, rotation_range, path_range
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, T, 3] and yaw offsets [N, T] of random motions from a pose, exact in net rotation and path
    length.
    """
    count = _CANDIDATES
    length, rotation = rng.uniform(*path_range, (count, 1)), np.radians(rng.uniform(*rotation_range, (count, 1)))
    rotation *= rng.choice([-1.0, 1.0], (count, 1))
    heading = np.arctan2(pose[1, 2], pose[0, 2])
    spread = rng.normal(0, 1, (count, 1))
    kind = rng.choice(4, (count, 1), p=[0.5, 0.25, 0.1, 0.15])
    offset = np.choose(
        kind,
        [
            0.35 * spread,
            np.sign(spread) * np.pi / 2 + 0.25 * rng.normal(0, 1, (count, 1)),
            np.pi + 0.4 * spread,
            3.0 * spread,
        ],
    )
    follow = rng.choice([0.0, 0.5, 1.0], (count, 1))  # how much the path bends with the gaze: straight to arc
    phase = np.linspace(0.0, 1.0, num_frames)[None]
    ease = rng.uniform(0.0, 0.5, (count, 1))
    progress = (1 - ease) * phase + ease * phase**2 * (3 - 2 * phase)
    turn_ease = rng.uniform(0.0, 0.5, (count, 1))
    turns = rotation * ((1 - turn_ease) * phase + turn_ease * phase**2 * (3 - 2 * phase))
    direction = heading + offset + follow * (turns[:, 1:] + turns[:, :-1]) / 2
    steps = length * np.diff(progress, axis=1)
    moved = np.stack(
        [np.cumsum(steps * np.cos(direction), 1), np.cumsum(steps * np.sin(direction), 1), np.zeros_like(steps)], -1
    )
    moved = np.concatenate([np.zeros((count, 1, 3)), moved], 1)
    return pose[:3, 3] + moved, turns


def _turned(start: Cameras, positions: np.ndarray, turns: np.ndarray, frame_rate: float) -> Cameras:
    """The start camera moved to positions [T, 3] and turned about the vertical by turns [T]."""
    pose = start.camera_to_world[0].numpy()
    cosine, sine = np.cos(turns), np.sin(turns)
    rotation = np.tile(np.eye(3), (len(turns), 1, 1))
    rotation[:, 0, 0], rotation[:, 0, 1], rotation[:, 1, 0], rotation[:, 1, 1] = cosine, -sine, sine, cosine
    poses = np.tile(np.eye(4), (len(turns), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation @ pose[:3, :3], positions
    poses[0] = pose
    first = 0.0 if start.times is None else float(start.times[0])
    times = first + torch.arange(len(turns), dtype=torch.float64) / frame_rate
    return Cameras(
        torch.from_numpy(poses), start.intrinsics.expand(len(turns), 3, 3).clone(), metric=start.metric, times=times
    )


def approach_target(
    scene: Scene,
    target: SceneObject,
    num_frames: int,
    seed: int = 0,
    frame_rate: float = 4.0,
    fov_degrees: float = 75.0,
    aspect: float = 1.0,
) -> Cameras:
    """A collision-free walk up to an object that ends with the object visible in the middle of the view.

    Args:
        scene: the scene.
        target: one of `scene.objects`.
        num_frames: number of cameras, at least 2.
        seed: which approach.
        frame_rate, fov_degrees, aspect: as in `capture_walk`.

    Raises:
        ValueError: if num_frames < 2.
        NoPathError: if the object can be seen from nowhere near.
    """
    if num_frames < 2:
        raise ValueError(f"num_frames is {num_frames}, expected at least 2")
    rng = np.random.default_rng([scene.seed, seed, 3, target.instance_id])
    points, graph = scene.free_space.grid(GRID_CLEARANCE)
    height = rng.uniform(1.25, 1.5)
    center = np.array(target.center)
    goal, goal_pose = _viewpoint(scene, rng, target, points, height, fov_degrees, aspect)
    wanted = rng.uniform(0.06, 0.12) * num_frames + 0.3
    route = np.concatenate([_way(scene, rng, points, graph, goal, wanted), goal_pose[None, :2, 3]])
    arc = along(route)
    phase = np.linspace(0, 1, num_frames)
    at = arc[-1] * (0.5 * phase + 0.5 * phase**2 * (3 - 2 * phase))
    times = np.arange(num_frames) / frame_rate
    positions = np.column_stack([resampled(route, at), np.full(num_frames, height)])
    toward = center - positions
    glance = (1 - phase) ** 2 * rng.uniform(-0.7, 0.7)  # looks aside at first
    yaw = np.unwrap(np.arctan2(toward[:, 1], toward[:, 0])) + glance
    pitch = np.clip(np.arctan2(toward[:, 2], np.linalg.norm(toward[:, :2], axis=1)), -0.75, 0.5)
    pitch = pitch * phase + np.radians(-8) * (1 - phase)
    poses = look_poses(positions, yaw, pitch, np.radians(0.5) * (1 - phase) * sway(rng, times, 2.0))
    return Cameras.from_fov(
        torch.from_numpy(poses), fov_degrees=fov_degrees, aspect=aspect, times=torch.from_numpy(times)
    )


def _way(scene: Scene, rng, points: np.ndarray, graph, goal: int, wanted: float) -> np.ndarray:
    """A route [M, 2] over the grid to one of its points, about as long as wanted and smooth where that leaves it clear."""
    length, previous = routes_from(graph, goal)
    begin = int(
        np.argmin(np.abs(length - min(wanted, length[np.isfinite(length)].max())) + rng.uniform(0, 0.3, len(points)))
    )
    route = traced(previous, begin, goal)
    route = (
        resample(np.concatenate([points[route], points[route[-1:]] + 1e-6]))
        if len(route) > 1
        else np.repeat(points[[goal]], 2, 0)
    )
    smooth = np.stack([ndimage.gaussian_filter1d(route[:, axis], 4.0, mode="nearest") for axis in range(2)], -1)
    return smooth if scene.free_space.clearance(smooth).min() >= CLEARANCE else route


def _viewpoint(
    scene: Scene, rng, target: SceneObject, points: np.ndarray, height: float, fov_degrees: float, aspect: float
) -> tuple[int, np.ndarray]:
    """A grid point [index] near an object, and the pose there, from which the object is in the middle of the picture
    and visible.
    """
    center = np.array(target.center)
    distance = np.linalg.norm(points - center[:2], axis=1)
    wanted = np.clip(0.9 + 0.7 * max(target.size), 1.0, 2.8)
    order = np.argsort(np.abs(distance - wanted) + rng.uniform(0, 0.5, len(points)))[:48]
    positions = np.concatenate([points[order], np.full((len(order), 1), height)], 1)
    toward = center - positions
    pitch = np.clip(np.arctan2(toward[:, 2], np.linalg.norm(toward[:, :2], axis=1)), -0.75, 0.5)
    poses = look_poses(positions, np.arctan2(toward[:, 1], toward[:, 0]), pitch, np.zeros(len(order)))
    cameras = Cameras.from_fov(torch.from_numpy(poses), fov_degrees=fov_degrees, aspect=aspect)
    shown = render(scene, cameras, 24, 24, backend="numba").instance == target.instance_id
    visible = shown[:, 6:18, 6:18].mean((1, 2))
    if visible.max() == 0.0:
        raise NoPathError(
            f"{target.label!r} (instance {target.instance_id}) of scene {scene.seed} is hidden from everywhere one can "
            "stand near it; choose another object"
        )
    good = int(np.flatnonzero(visible >= 0.5 * visible.max())[0])
    return int(order[good]), poses[good]

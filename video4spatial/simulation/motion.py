"""What all camera motions in a scene share: clearance, poses from angles, smooth random signals."""

import numpy as np

CLEARANCE = 0.35
GRID_CLEARANCE = 0.43  # a step between two grid points that have this keeps CLEARANCE on its whole length


class NoPathError(ValueError):
    """No collision-free camera path of the requested kind exists or was found."""


def look_poses(positions: np.ndarray, yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Poses from positions and angles, in a world whose z points up.

    Args:
        positions: [T, 3] metres.
        yaw: [T] radians, counter-clockwise from +x seen from above.
        pitch: [T] radians, positive upwards.
        roll: [T] radians; positive turns the picture clockwise.

    Returns:
        [T, 4, 4] camera to world with OpenCV axes.
    """
    zero = np.zeros_like(yaw)
    forward = np.stack([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)], -1)
    right = np.stack([np.sin(yaw), -np.cos(yaw), zero], -1)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    poses = np.tile(np.eye(4), (len(yaw), 1, 1))
    poses[:, :3, 0], poses[:, :3, 1], poses[:, :3, 2] = (
        cosine * right + sine * down,
        cosine * down - sine * right,
        forward,
    )
    poses[:, :3, 3] = positions
    return poses


def resample(route: np.ndarray, step: float = 0.05) -> np.ndarray:
    """Points of a route at even distances.

    Args:
        route: [N, 2] metres.
        step: distance between neighbours in metres.

    Returns:
        [M, 2].
    """
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(route, axis=0), axis=1))])
    at = np.arange(0.0, arc[-1], step)
    return np.stack([np.interp(at, arc, route[:, axis]) for axis in range(2)], -1)


def sway(rng, times: np.ndarray, period: float) -> np.ndarray:
    """A smooth random signal in about -1..1.

    Args:
        rng: generator that it is drawn from.
        times: [T] seconds.
        period: its typical period in seconds.

    Returns:
        [T].
    """
    phases, rates = rng.uniform(0, 2 * np.pi, 3), np.array([0.7, 1.0, 1.37]) * rng.uniform(0.9, 1.1, 3)
    return np.sin(2 * np.pi / period * times[:, None] * rates + phases).mean(1) * 1.3

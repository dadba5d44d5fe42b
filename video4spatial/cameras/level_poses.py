"""Poses from angles and back, in a world whose third axis points up."""

import numpy as np


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


def look_angles(pose: np.ndarray) -> tuple[float, float, float]:
    """The inverse of `look_poses` for one pose.

    Args:
        pose: [4, 4] camera to world with OpenCV axes.

    Returns:
        Yaw, pitch and roll in radians.
    """
    forward, right = pose[:3, 2], pose[:3, 0]
    yaw, pitch = float(np.arctan2(forward[1], forward[0])), float(np.arcsin(np.clip(forward[2], -1, 1)))
    level = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    return yaw, pitch, float(np.arctan2(right @ np.cross(forward, level), right @ level))

"""Trajectories of TartanAir (`pose_left.txt`): tx ty tz qx qy qz qw per line, camera-to-world, metres, no times.

World and camera have the axes north, east, down: the camera looks along its x, y points right, z down. Other programs write lines of
seven numbers with OpenCV axes, so only files named `pose_*.txt` are taken for TartanAir's. The cameras of the set see 90 degrees
across (320 pixels of focal length at 640x480, in version 2 at 640x640). Source: data_type.md of castacks/tartanair_tools.
"""

from dataclasses import replace
from pathlib import Path

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.rotations import matrices_from_quaternions

DESCRIPTION = "pose_*.txt with 7 numbers per line: tx ty tz qx qy qz qw, camera-to-world, north-east-down axes (TartanAir)"
SUFFIXES: tuple[str, ...] = ()
COLUMNS = 7
QUATERNION_TOLERANCE = 0.02
FOV_DEGREES = 90.0
ASPECT = 640 / 480
# Columns are OpenCV's right, down, forward in the camera's forward, right, down.
AXES = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)


def sniff(path: Path) -> bool:
    """Whether `path` is called pose_*.txt and its first line that is not a comment holds 7 numbers."""
    rows = [line for line in reading.first_lines(path, 100) if not line.startswith("#")]
    values = reading.numbers_of(rows[0]) if rows else None
    return path.name.lower().startswith("pose_") and values is not None and len(values) == COLUMNS


def read(path: Path, stated: Stated) -> CameraFile:
    """Read TartanAir's poses from `path`. Its field of view is the set's where none is `stated`."""
    table = reading.read_table(path, COLUMNS, "tx ty tz qx qy qz qw")
    quaternions = table.rows[:, [6, 3, 4, 5]]
    reading.raise_problems(path, [
        f"line {line}: the quaternion has length {norm:.3g} instead of 1"
        for line, norm in zip(table.lines, torch.linalg.vector_norm(quaternions, dim=-1).tolist()) if abs(norm - 1) > QUATERNION_TOLERANCE
    ])  # fmt: skip
    stated = replace(stated, fov_degrees=stated.fov_degrees or FOV_DEGREES, aspect=stated.shape or ASPECT)
    intrinsics, source = reading.assumed_intrinsics(path, stated)
    poses = reading.rigid_poses(matrices_from_quaternions(quaternions) @ AXES, table.rows[:, :3])
    convention = f"TartanAir: north-east-down camera-to-world, quaternions xyzw, {source}"
    return CameraFile(Cameras(poses, intrinsics, metric=True, convention=convention))

"""TUM RGB-D trajectories: timestamp, position and quaternion of the camera in the world, no intrinsics.

Columns: time in seconds, tx ty tz, qx qy qz qw (camera-to-world, the real part last), OpenCV axes, metres. We write
the intrinsics, where they are constant, into a comment that other programs skip, and read them back from it.
"""

from pathlib import Path

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.rotations import matrices_from_quaternions, quaternions_from_matrices

DESCRIPTION = "text with 8 numbers per line: time tx ty tz qx qy qz qw, camera-to-world (TUM)"
SUFFIXES = (".tum",)
COLUMNS = 8
QUATERNION_TOLERANCE = 0.02
LATEST_SECONDS = 1e11  # the year 5138


def sniff(path: Path) -> bool:
    """Whether the first line of `path` that is not a comment holds 8 numbers."""
    rows = [line for line in reading.first_lines(path, 100) if not line.startswith("#")]
    values = reading.numbers_of(rows[0]) if rows else None
    return values is not None and len(values) == COLUMNS


def read(path: Path, stated: Stated) -> CameraFile:
    """Read a TUM trajectory from `path`, in order of time; `stated` serves files without the comment that holds intrinsics."""
    table = reading.read_table(path, COLUMNS, "time tx ty tz qx qy qz qw")
    if table.rows[0, 0] > LATEST_SECONDS:
        raise CameraFileError(
            f"{path}: line {table.lines[0]}: time {table.rows[0, 0]:.0f} is not in seconds. Is this EuRoC ground truth "
            "(nanoseconds, quaternions wxyz)? Its poses are those of the inertial sensor: bring them to the camera first"
        )
    quaternions = table.rows[:, [7, 4, 5, 6]]
    norms = torch.linalg.vector_norm(quaternions, dim=-1)
    reading.raise_problems(path, [
        f"line {line}: the quaternion has length {norm:.3g} instead of 1"
        for line, norm in zip(table.lines, norms.tolist()) if abs(norm - 1) > QUATERNION_TOLERANCE
    ])
    intrinsics = reading.commented_intrinsics(table)
    source = "intrinsics from a comment"
    if intrinsics is None:
        intrinsics, source = reading.assumed_intrinsics(path, stated)
    poses = reading.rigid_poses(matrices_from_quaternions(quaternions), table.rows[:, 1:4])
    order = reading.order_in_time(path, table.rows[:, 0], poses, [f"line {line}" for line in table.lines])
    cameras = Cameras(
        poses[order],
        intrinsics,
        metric=True,
        times=reading.in_seconds(path, table.rows[order, 0]),
        convention=f"TUM: OpenCV camera-to-world, quaternions xyzw, {source}",
    )
    return CameraFile(cameras)


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` as a TUM trajectory to `path`; `image_size` is not used.

    Missing times are refused, intrinsics that change are left out with a warning.
    """
    if cameras.times is None:
        raise CameraError("TUM needs a time per frame, which these cameras lack: `frame_rate` gives them")
    lines = ["# time tx ty tz qx qy qz qw (seconds; camera-to-world, OpenCV axes)"]
    lines += reading.intrinsics_comment(cameras, "TUM")
    quaternions = quaternions_from_matrices(cameras.rotations)[:, [1, 2, 3, 0]]
    for row in torch.cat([cameras.times[:, None], cameras.positions, quaternions], dim=-1).tolist():
        lines.append(" ".join(map(repr, row)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

"""TUM RGB-D trajectories: timestamp, position and quaternion of the camera in the world, no intrinsics.

Columns: time in seconds, tx ty tz, qx qy qz qw (camera-to-world, the real part last), OpenCV axes, metres. We write
the intrinsics, where they are constant, into a comment that other programs skip, and read them back from it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats.reading import (
    Table,
    assumed_intrinsics,
    first_lines,
    numbers_of,
    raise_problems,
    read_table,
    rigid_poses,
)
from video4spatial.cameras.rotations import matrices_from_quaternions, quaternions_from_matrices

DESCRIPTION = "text with 8 numbers per line: time tx ty tz qx qy qz qw, camera-to-world (TUM)"
SUFFIXES = (".tum",)
COLUMNS = 8
INTRINSICS_COMMENT = "normalised intrinsics fx fy cx cy:"
QUATERNION_TOLERANCE = 0.02


def sniff(path: Path) -> bool:
    """The first line that is not a comment holds 8 numbers."""
    rows = [line for line in first_lines(path, 100) if not line.startswith("#")]
    values = numbers_of(rows[0]) if rows else None
    return values is not None and len(values) == COLUMNS


def read(path: Path, fov_degrees: float | None, aspect: float | None) -> Cameras:
    """Read a TUM trajectory; the field of view is used where the comment with intrinsics is missing."""
    table = read_table(path, COLUMNS, "time tx ty tz qx qy qz qw")
    quaternions = table.rows[:, [7, 4, 5, 6]]
    norms = torch.linalg.vector_norm(quaternions, dim=-1)
    raise_problems(path, [
        f"line {line}: the quaternion has length {norm:.3g} instead of 1"
        for line, norm in zip(table.lines, norms.tolist()) if abs(norm - 1) > QUATERNION_TOLERANCE
    ])
    intrinsics = _commented_intrinsics(table)
    source = "intrinsics from a comment"
    if intrinsics is None:
        intrinsics, source = assumed_intrinsics(path, fov_degrees, aspect)
    return Cameras(
        rigid_poses(matrices_from_quaternions(quaternions), table.rows[:, 1:4]),
        intrinsics,
        metric=True,
        times=table.rows[:, 0],
        convention=f"TUM: OpenCV camera-to-world, quaternions xyzw, {source}",
    )


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write a TUM trajectory; missing times are refused, intrinsics that change are left out with a warning."""
    if cameras.times is None:
        raise CameraError("TUM needs a time per frame: set them with cameras.with_frame_rate(...)")
    lines = ["# time tx ty tz qx qy qz qw (seconds; camera-to-world, OpenCV axes)"]
    intrinsics = cameras.intrinsics
    if (intrinsics == intrinsics[:1]).all() and (intrinsics[:, 0, 1] == 0).all():
        values = [intrinsics[0, 0, 0], intrinsics[0, 1, 1], intrinsics[0, 0, 2], intrinsics[0, 1, 2]]
        lines.append(f"# {INTRINSICS_COMMENT} " + " ".join(repr(float(value)) for value in values))
    else:
        warnings.warn("TUM holds no intrinsics: those of these cameras are left out", UserWarning, stacklevel=4)
    quaternions = quaternions_from_matrices(cameras.rotations)[:, [1, 2, 3, 0]]
    for row in torch.cat([cameras.times[:, None], cameras.positions, quaternions], dim=-1).tolist():
        lines.append(" ".join(map(repr, row)))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _commented_intrinsics(table: Table) -> Tensor | None:
    for comment in table.comments:
        if not comment.startswith(INTRINSICS_COMMENT):
            continue
        values = numbers_of(comment.removeprefix(INTRINSICS_COMMENT))
        if values is not None and len(values) == 4:
            fx, fy, cx, cy = values
            return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64)
    return None

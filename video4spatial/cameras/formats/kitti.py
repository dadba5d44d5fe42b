"""KITTI poses: 12 numbers per line, the upper three rows of a camera-to-world matrix; no times, no intrinsics.

OpenCV axes, metres. We write the intrinsics, where they are constant, into a comment that other programs skip.
"""

import warnings
from pathlib import Path

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated

DESCRIPTION = "text with 12 numbers per line: 3x4 camera-to-world, row by row (KITTI)"
SUFFIXES = (".kitti",)
COLUMNS = 12


def sniff(path: Path) -> bool:
    """Whether the first line of `path` that is not a comment holds 12 numbers."""
    rows = [line for line in reading.first_lines(path, 100) if not line.startswith("#")]
    values = reading.numbers_of(rows[0]) if rows else None
    return values is not None and len(values) == COLUMNS


def read(path: Path, stated: Stated) -> CameraFile:
    """Read KITTI poses from `path`; `stated` serves files without the comment that holds intrinsics."""
    table = reading.read_table(path, COLUMNS, "3x4 camera-to-world")
    matrices = table.rows.reshape(-1, 3, 4)
    intrinsics = reading.commented_intrinsics(table)
    source = "intrinsics from a comment"
    if intrinsics is None:
        intrinsics, source = reading.assumed_intrinsics(path, stated)
    poses = reading.rigid_poses(matrices[:, :, :3], matrices[:, :, 3])
    return CameraFile(Cameras(poses, intrinsics, metric=True, convention=f"KITTI: OpenCV camera-to-world, {source}"))


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` as KITTI poses to `path`; `image_size` is not used.

    Times are left out with a warning, and so are intrinsics that change.
    """
    if cameras.times is not None:
        warnings.warn("KITTI holds no times: those of these cameras are left out", stacklevel=4)
    lines = reading.intrinsics_comment(cameras, "KITTI")
    lines += [" ".join(map(repr, row)) for row in cameras.camera_to_world[:, :3].flatten(1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

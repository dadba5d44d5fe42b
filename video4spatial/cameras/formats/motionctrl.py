"""Camera poses of MotionCtrl: a JSON list with 12 numbers per frame, the rows of a 3x4 world-to-camera matrix.

OpenCV axes as in RealEstate10K, from which they were taken: the basic move "I" (zoom in) lowers the last number, so that the world
comes nearer along z, and "L" raises the fourth. Lengths are not metres; there are no intrinsics and no times. Source: the files of
dataset/camera_poses in TencentARC/MotionCtrl.
"""

import re
from pathlib import Path

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.rotations import invert_rigid

DESCRIPTION = "JSON list with 12 numbers per frame: 3x4 world-to-camera, row by row (MotionCtrl)"
SUFFIXES: tuple[str, ...] = ()
_NUMBER = r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*"
_FIRST = re.compile(rf"\s*\[\s*\[(?:{_NUMBER},){{11}}{_NUMBER}\]")


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON list that begins with 12 numbers."""
    return _FIRST.match("\n".join(reading.first_lines(path, 64))) is not None


def read(path: Path, stated: Stated) -> CameraFile:
    """Read MotionCtrl's poses from `path`. It has no intrinsics: they follow from what is `stated`."""
    rows = reading.read_json(path)
    if not isinstance(rows, list):
        raise CameraFileError(f"{path}: expected a list with 12 numbers per frame")
    wrong = [f"frame {index}: expected 12 numbers" for index, row in enumerate(rows) if not _is_row(row)]
    reading.raise_problems(path, wrong)
    if not rows:
        raise CameraFileError(f"{path}: holds no cameras")
    matrices = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3, 4)
    intrinsics, source = reading.assumed_intrinsics(path, stated)
    poses = invert_rigid(reading.rigid_poses(matrices[:, :, :3], matrices[:, :, 3]))
    return CameraFile(Cameras(poses, intrinsics, metric=False, convention=f"MotionCtrl: OpenCV world-to-camera, {source}"))


def _is_row(row: object) -> bool:
    return isinstance(row, list) and len(row) == 12 and all(type(value) in (int, float) for value in row)

"""Plain 4x4 matrices, camera-to-world with OpenCV axes, in metres: a table, a file for each frame, or an array.

- a text file of 16 numbers per line, row by row (`poses.txt` of deep-video-mvs), or of four lines of four numbers per matrix;
- a folder of one such file per frame: `frame-000000.pose.txt` (7-Scenes, tsdf-fusion), `0.txt`, `1.txt`, ... (ScanNet's `pose/`);
- a capture's folder with `poses.txt`, which holds a line per picture of `images/` in order of their names (deep-video-mvs);
- an `.npy` array [N, 4, 4] or [N, 3, 4].

Lost frames hold infinities or NaN and are left out. Intrinsics in pixels stand in a 3x3 or 4x4 matrix beside the file or above it, under
one of the names in `INTRINSICS`. Sources: the read-me files of the 7-Scenes, deep-video-mvs, tsdf-fusion and ScanNet repositories, and
the epipolar lines of captures of the first three (docs/curation.md).
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.naming import natural_key, some
from video4spatial.parsing import read_array

DESCRIPTION = "4x4 camera-to-world matrices: 16 numbers per line, a file per frame, or .npy (7-Scenes, deep-video-mvs, ScanNet)"
SUFFIXES: tuple[str, ...] = ()
POSE = ".pose.txt"
TABLE = "poses.txt"
INTRINSICS = (
    "K.txt", "intrinsics.K.txt", "camera-intrinsics.txt", "intrinsics.txt", "intrinsic_color.txt", "intrinsic/intrinsic_color.txt",
)  # fmt: skip
IMAGES = (".png", ".jpg", ".jpeg")
ARRAYS = ((3, 4), (4, 4))


def sniff(path: Path) -> bool:
    """Whether `path` is a text or array of 4x4 matrices, or a folder of them."""
    if path.is_dir():
        table = path / TABLE
        return bool(pose_files(path)) or (table.is_file() and sniff(table))
    if path.suffix.lower() == ".npy":
        try:
            shape = read_array(path).shape
        except (ValueError, OSError):
            return False
        return shape[-2:] in ARRAYS and len(shape) in (2, 3)
    rows = [reading.numbers_of(line) for line in reading.first_lines(path, 100) if not line.startswith("#")]
    counts = [0 if row is None else len(row) for row in rows]
    if counts[:1] == [16]:
        return True
    return len(rows) >= 4 and counts[:4] == [4] * 4 and (rows[3][:3] == [0, 0, 0] or not np.isfinite(rows[3]).all())


def read(path: Path, stated: Stated) -> CameraFile:
    """Read the matrices at `path`; what is `stated` serves intrinsics that do not stand beside them."""
    names, poses = named_matrices(path)
    lost = ~np.isfinite(poses).all((1, 2))
    if lost.all():
        raise CameraFileError(f"{path}: all {len(poses)} poses are lost (infinite or NaN)")
    if lost.any():
        which = some([names[index] if names else str(index) for index in np.flatnonzero(lost)])
        warnings.warn(f"{path}: {lost.sum()} of {len(poses)} frames were lost (infinite or NaN) and are left out: {which}", stacklevel=4)
    kept = np.flatnonzero(~lost).tolist()
    matrices = torch.from_numpy(poses[kept])
    beside = intrinsics_beside(path if path.is_dir() else path.parent)
    lenses = None
    if beside is None:
        intrinsics, source = reading.assumed_intrinsics(path, stated)
    else:
        k = torch.from_numpy(read_intrinsics(beside)).expand(len(kept), 3, 3)
        intrinsics, source, lenses = reading.normalised_intrinsics(beside, k, None, stated)
    camera_to_world = reading.rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3])
    camera_to_world[:, 3] = matrices[:, 3]  # kept as given, for Cameras to refuse where it is not 0 0 0 1
    cameras = Cameras(camera_to_world, intrinsics, metric=True, convention=f"4x4 matrices: OpenCV camera-to-world, {source}")
    return CameraFile(cameras, tuple(names[index] for index in kept) if names else None, lenses)


def named_matrices(path: Path) -> tuple[list[str] | None, np.ndarray]:
    """The matrices of a file or folder, lost ones included.

    Args:
        path: as in `sniff`.

    Returns:
        Names of the frames' pictures (without ending where the files have another), or None; and [N, 4, 4] float64.

    Raises:
        CameraFileError: for anything else.
    """
    if path.is_dir():
        files = pose_files(path)
        if not files:
            return named_matrices(path / TABLE)
        return [frame_name(file) for file in files], np.stack([reading.read_matrix(file, 4, 4) for file in files])
    if path.suffix.lower() == ".npy":
        try:
            array = read_array(path)
        except ValueError as error:
            raise CameraFileError(f"{path}: damaged, or not a plain array ({error})") from error
        if array.dtype.kind not in "fiu" or array.shape[-2:] not in ARRAYS or array.size == 0:
            raise CameraFileError(f"{path}: holds {array.dtype} {list(array.shape)}, expected numbers [N, 4, 4] or [N, 3, 4]")
        array = np.asarray(array, np.float64).reshape(-1, *array.shape[-2:])
        if array.shape[1] == 3:
            array = np.concatenate([array, np.tile([[[0, 0, 0, 1.0]]], (len(array), 1, 1))], axis=1)
        return None, array
    table = reading.read_matrix(path)
    if table.shape[1] == 4 and len(table) % 4 == 0:
        poses = table.reshape(-1, 4, 4)
    elif table.shape[1] == 16:
        poses = table.reshape(-1, 4, 4)
    else:
        raise CameraFileError(f"{path}: expected 16 numbers per line, or four lines of four, found {'x'.join(map(str, table.shape))}")
    return _pictures_beside(path.parent, len(poses)), poses


def pose_files(folder: Path) -> list[Path]:
    """The files of a folder that hold a matrix per frame, in natural order; [] where it is no such folder.

    Args:
        folder: with `*.pose.txt`, or with numbered `.txt` of which the first holds a matrix.
    """
    files = [file for file in folder.glob("*.txt") if not file.name.startswith(".") and file.name not in INTRINSICS]
    posed = [file for file in files if file.name.endswith(POSE)]
    if not posed:
        posed = [file for file in files if re.search(r"\d", file.stem)]
        if len(posed) != len(files) or not posed or not sniff(posed[0]) or len(reading.first_lines(posed[0], 5)) != 4:
            return []
    return sorted(posed, key=lambda file: natural_key(file.name))


def frame_name(file: Path) -> str:
    """What the file of a pose and its picture have in common.

    Args:
        file: such as frame-000000.pose.txt.
    """
    return file.name.removesuffix(POSE) if file.name.endswith(POSE) else file.stem


def intrinsics_beside(folder: Path) -> Path | None:
    """The file of intrinsics in a folder, or in the one above.

    Args:
        folder: with the poses.
    """
    places = (place / name for place in (folder, folder.parent) for name in INTRINSICS)
    return next((path for path in places if path.is_file()), None)


def read_intrinsics(path: Path) -> np.ndarray:
    """Intrinsics [3, 3] in pixels from a matrix of 3x3 or 4x4 numbers.

    Args:
        path: of the file.

    Raises:
        CameraFileError: for anything else.
    """
    matrix = reading.read_matrix(path)
    if matrix.shape not in ((3, 3), (4, 4)):
        raise CameraFileError(f"{path}: expected 3x3 numbers, found {'x'.join(map(str, matrix.shape))}")
    return matrix[:3, :3]


def _pictures_beside(folder: Path, count: int) -> list[str] | None:
    """The names of the pictures that a table of poses belongs to: those of `images/`, where there are as many."""
    images: Sequence[Path] = []
    if (folder / "images").is_dir():
        images = [path for path in (folder / "images").iterdir() if path.suffix.lower() in IMAGES and not path.name.startswith(".")]
    return sorted((path.name for path in images), key=natural_key) if len(images) == count else None

"""What several camera formats share: tables of numbers with line numbers, stated fields of view, rigid poses."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.checks import ROTATION_TOLERANCE, CameraError
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.cameras.rotations import nearest_rotation

DEFAULT_FOV_DEGREES = 60.0
MAXIMUM_PROBLEMS = 5


class CameraFileError(CameraError):
    """A camera file that cannot be read or written; the message names the file and, for tables, the line."""


@dataclass(frozen=True)
class Table:
    """The numbers of a text file: `rows` [N, columns] float64, the line number of each row, and the comment lines."""

    rows: Tensor
    lines: list[int]
    comments: list[str]


def first_lines(path: Path, count: int) -> list[str]:
    """The first `count` lines that are not blank, undecodable bytes replaced; [] for a folder."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        # 64 kB are more than any header, and keep a binary file without line ends from being read whole.
        lines = file.read(65536).splitlines()
    return [line.strip() for line in lines if line.strip()][:count]


def numbers_of(line: str) -> list[float] | None:
    """The numbers of a line, or None where something else stands in it."""
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None


def read_table(path: Path, columns: int, meaning: str, header_lines: int = 0) -> Table:
    """Read lines of numbers separated by blanks; lines that begin with # are comments.

    Args:
        path: a text file.
        columns: numbers per line.
        meaning: what they are, for the error message.
        header_lines: lines at the beginning that are not numbers.

    Raises:
        CameraFileError: naming the lines with other content, NaN or infinity, or for a file without rows.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CameraFileError(f"{path}: not a text file ({error.reason} at byte {error.start})") from error
    rows, numbers, comments, problems = [], [], [], []
    for number, line in enumerate(lines, start=1):
        if number <= header_lines or not line.strip():
            continue
        if line.lstrip().startswith("#"):
            comments.append(line.lstrip()[1:].strip())
            continue
        values = numbers_of(line)
        if values is None:
            problems.append(f"line {number}: not only numbers: {line.strip()[:60]!r}")
        elif len(values) != columns:
            problems.append(f"line {number}: expected {columns} numbers ({meaning}), found {len(values)}")
        elif not all(map(math.isfinite, values)):
            problems.append(f"line {number}: holds NaN or infinity")
        else:
            rows.append(values)
            numbers.append(number)
    raise_problems(path, problems)
    if not rows:
        raise CameraFileError(f"{path}: holds no cameras; expected lines of {columns} numbers ({meaning})")
    return Table(torch.tensor(rows, dtype=torch.float64), numbers, comments)


def raise_problems(path: Path, problems: list[str]) -> None:
    """Raise a CameraFileError that names the file and its first few problems, where there are any."""
    if problems:
        more = len(problems) - MAXIMUM_PROBLEMS
        shown = problems[:MAXIMUM_PROBLEMS] + ([f"and {more} more problems"] if more > 0 else [])
        raise CameraFileError(f"{path}: " + "; ".join(shown))


def rigid_poses(rotations: Tensor, translations: Tensor) -> Tensor:
    """Assemble [N, 4, 4] motions from [N, 3, 3] and [N, 3], rounding errors of the file's digits taken out.

    Matrices that are no rotations at all are left as they are, for `Cameras` to refuse.
    """
    poses = torch.eye(4, dtype=torch.float64).repeat(rotations.shape[0], 1, 1)
    poses[:, :3, 3] = translations
    poses[:, :3, :3] = rotations
    finite = rotations.isfinite().all(-1).all(-1)
    error = (rotations.mT @ rotations - torch.eye(3, dtype=torch.float64)).abs().amax((-1, -2))
    good = finite & (error <= ROTATION_TOLERANCE)
    good &= torch.linalg.det(rotations.where(good[:, None, None], torch.eye(3, dtype=torch.float64))) > 0
    poses[good, :3, :3] = nearest_rotation(rotations[good])
    return poses


def assumed_intrinsics(path: Path, fov_degrees: float | None, aspect: float | None) -> tuple[Tensor, str]:
    """Intrinsics for a file that has none, and the words that say so.

    The default is said aloud with a warning: a wrong field of view looks like a wrong path.
    """
    word = "stated"
    if fov_degrees is None:
        word, fov_degrees = "assumed", DEFAULT_FOV_DEGREES
        warnings.warn(
            f"{path} holds no intrinsics: a horizontal field of view of {fov_degrees:g} degrees is assumed; "
            "give the true one as fov_degrees",
            UserWarning,
            stacklevel=4,
        )
    intrinsics = intrinsics_from_fov(fov_degrees, 1.0 if aspect is None else aspect)
    return intrinsics, f"field of view of {fov_degrees:g}° {word}"


def warn_distortion(path: Path, present: bool) -> None:
    """Say that lens distortion is left out, where a file has it."""
    if present:
        warnings.warn(
            f"{path}: lens distortion is ignored; undistort the pictures for exact rays", UserWarning, stacklevel=4
        )

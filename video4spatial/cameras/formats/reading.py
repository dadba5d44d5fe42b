"""What several camera formats share: tables of numbers with line numbers, stated fields of view, rigid poses."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import ROTATION_TOLERANCE, CameraError
from video4spatial.cameras.intrinsics import DEFAULT_FOV_DEGREES, default_intrinsics, intrinsics_from_fov
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.parsing import parse_json

MAXIMUM_PROBLEMS = 5
DEFAULT_WIDTH = 1024
INTRINSICS_COMMENT = "normalised intrinsics fx fy cx cy:"


class CameraFileError(CameraError):
    """A camera file that cannot be read or written; the message names the file and, for tables, the line."""


@dataclass(frozen=True)
class Table:
    """The numbers of a text file.

    Args:
        rows: [N, columns] float64.
        lines: line number of each row.
        comments: comment lines without their #.
    """

    rows: Tensor
    lines: list[int]
    comments: list[str]


def first_lines(path: Path, count: int) -> list[str]:
    """The first `count` lines of `path` that are not blank, undecodable bytes replaced; [] for a folder."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        # 64 kB are more than any header, and keep a binary file without line ends from being read whole.
        lines = file.read(65536).splitlines()
    return [line.strip() for line in lines if line.strip()][:count]


def numbers_of(line: str) -> list[float] | None:
    """The numbers of `line`, or None where something else stands in it."""
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
    """Raise an error where there are problems.

    Args:
        path: the file, for the message.
        problems: in words; the message holds the first few.

    Raises:
        CameraFileError: for any problem.
    """
    if problems:
        more = len(problems) - MAXIMUM_PROBLEMS
        shown = problems[:MAXIMUM_PROBLEMS] + ([f"and {more} more problems"] if more > 0 else [])
        raise CameraFileError(f"{path}: " + "; ".join(shown))


def rigid_poses(rotations: Tensor, translations: Tensor) -> Tensor:
    """Assemble rigid motions; rounding errors of a file's digits are taken out.

    Matrices that are no rotations at all are left as they are, for `Cameras` to refuse.

    Args:
        rotations: [N, 3, 3].
        translations: [N, 3].

    Returns:
        [N, 4, 4] float64.
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
    """Intrinsics for a file that has none. The default is said with a warning: a wrong field of view looks like a wrong path.

    Args:
        path: the file, for the warning.
        fov_degrees: horizontal field of view, or None for the default.
        aspect: width / height, or None for 1.

    Returns:
        Normalised intrinsics [3, 3], and words that say where they come from.
    """
    aspect = 1.0 if aspect is None else aspect
    if fov_degrees is not None:
        return intrinsics_from_fov(fov_degrees, aspect), f"field of view of {fov_degrees:g}° stated"
    warnings.warn(
        f"{path} holds no intrinsics: a field of view of {DEFAULT_FOV_DEGREES:g} degrees is assumed along the longer side; "
        "give the true, horizontal one as fov_degrees",
        stacklevel=4,
    )
    return default_intrinsics(aspect), f"field of view of {DEFAULT_FOV_DEGREES:g}° assumed"


def commented_intrinsics(table: Table) -> Tensor | None:
    """Intrinsics [3, 3] that `intrinsics_comment` wrote into `table`, or None."""
    for comment in table.comments:
        if not comment.startswith(INTRINSICS_COMMENT):
            continue
        values = numbers_of(comment.removeprefix(INTRINSICS_COMMENT))
        if values is not None and len(values) == 4:
            return intrinsics_of(torch.tensor(values, dtype=torch.float64))
    return None


def intrinsics_of(values: Tensor) -> Tensor:
    """Matrices [..., 3, 3] from fx, fy, cx, cy [..., 4]."""
    matrices = torch.eye(3, dtype=torch.float64).repeat(*values.shape[:-1], 1, 1)
    matrices[..., 0, 0], matrices[..., 1, 1] = values[..., 0], values[..., 1]
    matrices[..., :2, 2] = values[..., 2:]
    return matrices


def intrinsics_comment(cameras: Cameras, format_name: str) -> list[str]:
    """A comment line with intrinsics, for a format that has no place for them.

    Args:
        cameras: [T]; intrinsics that change from frame to frame are left out with a warning.
        format_name: for the warning.

    Returns:
        The line, or nothing.
    """
    intrinsics = cameras.intrinsics
    if (intrinsics != intrinsics[:1]).any() or (intrinsics[:, 0, 1] != 0).any():
        warnings.warn(f"{format_name} holds no intrinsics: those of these cameras are left out", stacklevel=5)
        return []
    values = [intrinsics[0, 0, 0], intrinsics[0, 1, 1], intrinsics[0, 0, 2], intrinsics[0, 1, 2]]
    return [f"# {INTRINSICS_COMMENT} " + " ".join(repr(float(value)) for value in values)]


def pixel_size(cameras: Cameras, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """The picture size that a format with pixels is written for.

    Args:
        cameras: for the aspect.
        image_size: (height, width) in pixels, or None for 1024 wide with square pixels.

    Returns:
        (height, width).
    """
    return image_size or (max(1, round(DEFAULT_WIDTH / float(cameras.aspect[0]))), DEFAULT_WIDTH)


def normalised_intrinsics(path: Path, matrices: Tensor, image_size: tuple[int, int] | None) -> tuple[Tensor, str]:
    """Normalise intrinsics in pixels.

    Args:
        path: for messages.
        matrices: [N, 3, 3] in pixels.
        image_size: (height, width), or None where the file does not say it; then the principal point is taken to be the middle.

    Returns:
        [N, 3, 3], and words that say how.

    Raises:
        CameraFileError: for numbers that are no intrinsics in pixels.
    """
    principal = matrices[:, :2, 2]
    if not matrices.isfinite().all() or (matrices[:, [0, 1], [0, 1]] <= 0).any() or (principal <= 0).any():
        raise CameraFileError(f"{path}: intrinsics must be finite, with positive focal lengths and principal points")
    source = "intrinsics in pixels"
    if image_size is None:
        source += " (principal point taken as the middle of the picture)"
        warnings.warn(
            f"{path} does not say the size of its pictures: the principal point is taken as their middle",
            stacklevel=4,
        )
        size = 2 * principal
    else:
        size = torch.tensor([[float(image_size[1]), float(image_size[0])]], dtype=torch.float64)
    normalised = matrices.double().clone()
    normalised[:, :2] /= size[:, :, None]
    return normalised, source


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Args:
        path: the file.

    Raises:
        CameraFileError: for a file that is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise CameraFileError(f"{path}: not valid JSON ({error})") from error


def json_text(path: Path) -> str:
    """The text of `path` if it begins as a JSON object does, for recognising formats; otherwise an empty one."""
    lines = first_lines(path, 1)
    return path.read_text(encoding="utf-8", errors="replace") if lines and lines[0].startswith("{") else ""


def warn_distortion(path: Path, present: bool) -> None:
    """Say that lens distortion is left out.

    Args:
        path: the file, for the warning.
        present: whether it has distortion; nothing is said otherwise.
    """
    if present:
        warnings.warn(f"{path}: lens distortion is ignored; undistort the pictures for exact rays", stacklevel=4)

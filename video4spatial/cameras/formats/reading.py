"""What several camera formats share: tables of numbers with line numbers, stated fields of view, rigid poses."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import ROTATION_TOLERANCE, CameraError, CameraFileError
from video4spatial.cameras.formats.camera_file import Stated
from video4spatial.cameras.intrinsics import DEFAULT_FOV_DEGREES, default_intrinsics, fov_of_focal_35mm, intrinsics_from_fov
from video4spatial.cameras.lenses import Lens, PictureShapeError
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.parsing import parse_json

MAXIMUM_PROBLEMS = 5
DEFAULT_WIDTH = 1024
INTRINSICS_COMMENT = "normalised intrinsics fx fy cx cy:"
PLAUSIBLE_STEPS = (1e-4, 600.0)
"""Seconds between neighbouring frames, as their median; other numbers are in another unit."""
LEAST_RUN, LEAST_OVERLAP = 5, 3
"""Frames of a recording that stands behind another, and of its frames that lie between the other's times."""
FARTHEST_PRINCIPAL = 0.25
"""Share of the picture by which a principal point may lie off the middle; farther ones belong to pictures of another size."""
ALIKE = 0.1
"""Share by which the shape that a principal point in the middle gives may differ from that of the pictures."""


WRONG_VALUES = (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, RuntimeError)
"""What taking numbers out of values of other types, sizes and names raises."""


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


def read_matrix(path: Path, rows: int | None = None, columns: int | None = None) -> np.ndarray:
    """A matrix in a text file. Infinities and NaN are kept, for the reader to judge.

    Args:
        path: of the file.
        rows, columns: that it must have; None for any.

    Returns:
        [rows, columns] float64.

    Raises:
        CameraFileError: for anything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is told below
            matrix = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise CameraFileError(f"{path}: not a matrix of numbers ({error})") from error
    wanted = (rows or max(len(matrix), 1), columns or max(matrix.shape[1], 1))
    if matrix.shape != wanted:
        raise CameraFileError(f"{path}: expected {'x'.join(map(str, wanted))} numbers, found {'x'.join(map(str, matrix.shape))}")
    return matrix


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


@contextmanager
def expected_values(path: Path, expected: str) -> Iterator[None]:
    """Take values out of what a file holds: anything but what is expected is an error that says so.

    Args:
        path: the file, for the message.
        expected: in words.

    Raises:
        CameraFileError: for values of other types, sizes or names.
    """
    try:
        yield
    except CameraError:
        raise
    except WRONG_VALUES as error:
        raise CameraFileError(f"{path}: expected {expected} ({error!r})") from error


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


def order_in_time(path: Path, times: Tensor, poses: Tensor, places: list[str]) -> list[int]:
    """The order of cameras in time. Exact repetitions are left out, and what was done is said with a warning.

    Args:
        path: the file, for messages.
        times: [N].
        poses: [N, 4, 4].
        places: where each stands in the file, such as "line 7".

    Returns:
        Indices of the cameras to take.

    Raises:
        CameraFileError: for two poses at one time, or recordings one behind the other, naming the place.
    """
    steps = times.diff()
    if bool((steps > 0).all()) or bool((steps == 0).all()):  # no times at all are written as zeros
        return list(range(len(times)))
    starts = [0, *(torch.nonzero(steps < 0).flatten() + 1).tolist(), len(times)]
    runs = [range(first, last) for first, last in zip(starts, starts[1:])]
    for earlier, later in zip(runs, runs[1:]):
        inside = [index for index in later if times[earlier[0]] <= times[index] <= times[earlier[-1]]]
        if min(len(earlier), len(later)) >= LEAST_RUN and len(inside) >= LEAST_OVERLAP:
            raise CameraFileError(
                f"{path}: {places[later[0]]}: time goes back to {float(times[later[0]]):g}, as if a second recording began here; "
                "give one file for each"
            )
    order, kept, repeated = torch.argsort(times, stable=True).tolist(), [], 0
    for index in order:
        if kept and times[index] == times[kept[-1]]:
            if not torch.allclose(poses[index], poses[kept[-1]], rtol=0, atol=1e-9):
                raise CameraFileError(
                    f"{path}: {places[index]}: the time {float(times[index]):.15g} is that of {places[kept[-1]]}, with another pose"
                )
            repeated += 1
        else:
            kept.append(index)
    done = ["cameras are not in order of time: they are sorted"] if order != sorted(order) else []
    done += [f"{repeated} repeated camera{'s' * (repeated > 1)} left out"] if repeated else []
    warnings.warn(f"{path}: {'; '.join(done)}", stacklevel=4)
    return kept


def in_seconds(path: Path, times: Tensor) -> Tensor | None:
    """Times that can be seconds, or None: numbers in another unit are left out with a warning.

    Args:
        path: the file, for the warning.
        times: [N] that increase.
    """
    step = float(times.diff().median()) if len(times) > 1 else 1.0
    if PLAUSIBLE_STEPS[0] <= step <= PLAUSIBLE_STEPS[1]:
        return times
    warnings.warn(f"{path}: its times would lie {step:.3g} s apart, so they are not seconds: they are left out", stacklevel=4)
    return None


def assumed_intrinsics(path: Path, stated: Stated) -> tuple[Tensor, str]:
    """Intrinsics for a file that has none. The default is said with a warning: a wrong field of view looks like a wrong path.

    Args:
        path: the file, for the warning.
        stated: field of view, else focal length, else 60 degrees along the longer side; and shape, square by default.

    Returns:
        Normalised intrinsics [3, 3], and words that say where they come from.
    """
    aspect = stated.shape or 1.0
    if stated.fov_degrees is not None:
        return intrinsics_from_fov(stated.fov_degrees, aspect), f"field of view of {stated.fov_degrees:g}° stated"
    if stated.focal_35mm is not None:
        fov_degrees = fov_of_focal_35mm(stated.focal_35mm, aspect)
        warnings.warn(
            f"{path} holds no intrinsics: the lens is the one that the pictures name, of {stated.focal_35mm:g} mm on 35 mm film: "
            f"{fov_degrees:.1f} degrees across (`fov_degrees` corrects it)",
            stacklevel=4,
        )
        return intrinsics_from_fov(fov_degrees, aspect), f"focal length of {stated.focal_35mm:g} mm on 35 mm film"
    warnings.warn(
        f"{path} holds no intrinsics: a field of view of {DEFAULT_FOV_DEGREES:g} degrees is assumed along the longer side; "
        "`fov_degrees` gives the true, horizontal one",
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


def normalised_intrinsics(
    path: Path, matrices: Tensor, image_size: tuple[int, int] | None, stated: Stated = Stated()
) -> tuple[Tensor, str, tuple[Lens, ...] | None]:
    """Normalise intrinsics in pixels.

    Args:
        path: for messages.
        matrices: [N, 3, 3] in pixels.
        image_size: (height, width) that the file says, or None.
        stated: of which the size of the pictures serves where the file says none; without either, the principal point is taken to be
            the middle.

    Returns:
        [N, 3, 3], words that say how, and N pinholes where the size is known.

    Raises:
        CameraFileError: for numbers that are no intrinsics in pixels, or those of pictures of another size.
    """
    principal = matrices[:, :2, 2]
    if not matrices.isfinite().all() or (matrices[:, [0, 1], [0, 1]] <= 0).any() or (principal <= 0).any():
        raise CameraFileError(f"{path}: intrinsics must be finite, with positive focal lengths and principal points")
    source = "intrinsics in pixels"
    if image_size is None and stated.image_size is not None:
        across, down = principal[0].tolist()
        try:
            check_principal_point(path, [across, down], stated.image_size)
            image_size = stated.image_size
        except PictureShapeError:
            # Models that find cameras work at a size of their own: intrinsics of a smaller picture of the same shape.
            if abs(across / down / stated.shape - 1) > ALIKE:
                raise
    if image_size is None:
        source += " (principal point taken as the middle of the picture)"
        warnings.warn(
            f"{path} does not say the size of its pictures, about {2 * principal[0, 0]:.0f}x{2 * principal[0, 1]:.0f}: the principal point "
            "is taken as their middle",
            stacklevel=4,
        )
        size = 2 * principal
    else:
        size = torch.tensor([[float(image_size[1]), float(image_size[0])]], dtype=torch.float64)
    normalised = matrices.double().clone()
    normalised[:, :2] /= size[:, :, None]
    lenses = None
    if image_size is not None:
        lenses = tuple(Lens.of_pinhole("PINHOLE", k, *image_size, ()) for k in normalised)
    return normalised, source, lenses


def check_principal_point(path: Path | str, principal: list[float], image_size: tuple[float, float]) -> None:
    """Refuse intrinsics in pixels whose principal point lies far off the middle, or nearer to that of the turned picture.

    Args:
        path: for the message.
        principal: (x, y) in pixels.
        image_size: (height, width) of the pictures in pixels.

    Raises:
        PictureShapeError: for a point that is farther off than `FARTHEST_PRINCIPAL`.
    """
    height, width = image_size
    off, off_turned = (max(abs(principal[0] / w - 0.5), abs(principal[1] / h - 0.5)) for w, h in ((width, height), (height, width)))
    if off > FARTHEST_PRINCIPAL or (off > FARTHEST_PRINCIPAL / 3 and off_turned < off / 3):
        raise PictureShapeError(
            f"{path}: the principal point ({principal[0]:g}, {principal[1]:g}) is that of pictures of about "
            f"{2 * principal[0]:.0f}x{2 * principal[1]:.0f}, not of {width:g}x{height:g}: give pictures of the size the intrinsics are for"
        )


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

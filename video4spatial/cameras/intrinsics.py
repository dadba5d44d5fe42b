"""Normalised pinhole intrinsics: from a field of view, and under crops of the picture."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from video4spatial.cameras.checks import CameraError


DEFAULT_FOV_DEGREES = 60.0
"""Field of view along the longer side of pictures about which nothing is known."""
FILM_DIAGONAL = math.hypot(36, 24)
"""Of 35 mm film, in millimetres; equivalent focal lengths are those of the same view along the diagonal (CIPA DCG-001)."""


class CropBox(NamedTuple):
    """A rectangle of whole pixels.

    Args:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int


def intrinsics_from_fov(fov_degrees: float, aspect: float = 1.0) -> Tensor:
    """Normalised intrinsics of square pixels and a central principal point.

    Args:
        fov_degrees: horizontal field of view in degrees, between 0 and 180.
        aspect: width / height.

    Returns:
        [3, 3] float64.

    Raises:
        CameraError: where the field of view or the aspect is impossible.
    """
    problems = []
    if not 0 < fov_degrees < 180:
        problems.append(f"field of view {fov_degrees}: give degrees between 0 and 180")
    if not (math.isfinite(aspect) and aspect > 0):
        problems.append(f"aspect {aspect}: give width / height, a positive number")
    if problems:
        raise CameraError("; ".join(problems))
    focal = 0.5 / math.tan(math.radians(fov_degrees) / 2)
    return torch.tensor([[focal, 0, 0.5], [0, focal * aspect, 0.5], [0, 0, 1]], dtype=torch.float64)


def default_intrinsics(aspect: float = 1.0) -> Tensor:
    """Normalised intrinsics [3, 3] of pictures about which nothing is known: `DEFAULT_FOV_DEGREES` along their longer side.

    Args:
        aspect: width / height; a portrait picture is a landscape one turned.

    Raises:
        CameraError: where the aspect is impossible.
    """
    return intrinsics_from_fov(DEFAULT_FOV_DEGREES if not 0 < aspect < 1 else fov_across(DEFAULT_FOV_DEGREES, aspect), aspect)


def fov_across(fov_degrees: float, ratio: float) -> float:
    """The field of view in degrees along `ratio` times the length that `fov_degrees` spans."""
    return 2 * math.degrees(math.atan(ratio * math.tan(math.radians(fov_degrees) / 2)))


def fov_of_focal_35mm(focal_35mm: float, aspect: float) -> float:
    """Horizontal field of view in degrees of an equivalent focal length.

    Args:
        focal_35mm: in millimetres, positive; see `FILM_DIAGONAL`.
        aspect: width / height of the picture.
    """
    return 2 * math.degrees(math.atan(0.5 * FILM_DIAGONAL / focal_35mm * aspect / math.hypot(aspect, 1)))


def centre_crop_box(source_height: int, source_width: int, height: float, width: float) -> CropBox:
    """The largest central rectangle of a picture that has the aspect of `height` x `width`, to the nearest pixel.

    Args:
        source_height: height of the picture in pixels.
        source_width: width of the picture in pixels.
        height: wanted height; only its ratio to `width` counts.
        width: wanted width.

    Raises:
        CameraError: for an empty picture, or a height or width that is not positive.
    """
    sizes = {"source height": source_height, "source width": source_width, "height": height, "width": width}
    wrong = [f"{name} {value}" for name, value in sizes.items() if not 0 < value < math.inf]
    if wrong:
        raise CameraError(f"sizes of pictures must be positive, got {', '.join(wrong)}")
    kept_height, kept_width = source_height, source_width
    if source_width * height > source_height * width:
        kept_width = max(1, round(source_height * width / height))
    else:
        kept_height = max(1, round(source_width * height / width))
    return CropBox((source_height - kept_height) // 2, (source_width - kept_width) // 2, kept_height, kept_width)


def crop_matrix(box: CropBox, height: int, width: int) -> Tensor:
    """The matrix that turns normalised intrinsics of a whole picture into those of a rectangle of it.

    Args:
        box: the kept rectangle in pixels.
        height: height of the whole picture in pixels.
        width: width of the whole picture in pixels.

    Returns:
        [3, 3] float64.

    Raises:
        CameraError: where the box does not lie in the picture.
    """
    inside = 0 <= box.top and 0 <= box.left and box.top + box.height <= height and box.left + box.width <= width
    if not inside or box.height < 1 or box.width < 1:
        raise CameraError(f"{box} does not lie in a picture of height {height} and width {width}")
    return torch.tensor(
        [[width / box.width, 0, -box.left / box.width], [0, height / box.height, -box.top / box.height], [0, 0, 1]],
        dtype=torch.float64,
    )

"""Lenses by COLMAP's names and parameters: a pinhole, and how the lens bends what the pinhole would show.

Pixels are counted from the corner of the first one, as everywhere. Formulas are COLMAP's `src/colmap/sensor/models.h`, which are those
of OpenCV's calib3d for OPENCV, FULL_OPENCV and OPENCV_FISHEYE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from video4spatial.cameras.checks import CameraError, CameraFileError

# Name, number of parameters and the places of fx, fy, cx, cy in them; the others are distortion. In the order of the numbers that
# binary files use.
MODELS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "SIMPLE_PINHOLE": (3, (0, 0, 1, 2)),
    "PINHOLE": (4, (0, 1, 2, 3)),
    "SIMPLE_RADIAL": (4, (0, 0, 1, 2)),
    "RADIAL": (5, (0, 0, 1, 2)),
    "OPENCV": (8, (0, 1, 2, 3)),
    "OPENCV_FISHEYE": (8, (0, 1, 2, 3)),
    "FULL_OPENCV": (12, (0, 1, 2, 3)),
    "FOV": (5, (0, 1, 2, 3)),
    "SIMPLE_RADIAL_FISHEYE": (4, (0, 0, 1, 2)),
    "RADIAL_FISHEYE": (5, (0, 0, 1, 2)),
    "THIN_PRISM_FISHEYE": (12, (0, 1, 2, 3)),
}
FISHEYES = ("OPENCV_FISHEYE", "FOV", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE")
SHAPE_TOLERANCE = 0.02
"""Share by which the width / height of two sizes of one picture may differ, as sizes are rounded."""


class PictureShapeError(CameraFileError):
    """Cameras of pictures of another shape than those that are there: cropped, or turned."""


@dataclass(frozen=True)
class Lens:
    """The lens of a picture.

    Args:
        model: COLMAP's name of it.
        width, height: of its pictures in pixels.
        parameters: as COLMAP orders them.

    Raises:
        CameraError: for a size or parameters that no lens has.
    """

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not all(map(math.isfinite, self.parameters)):
            raise CameraError(
                f"a lens {self.model} of {self.width}x{self.height} pixels with the parameters {', '.join(map(str, self.parameters))}: "
                "expected a size above zero and finite numbers"
            )

    @classmethod
    def of_pinhole(cls, model: str, intrinsics: Tensor, height: int, width: int, distortion: Sequence[float]) -> Lens:
        """A lens of a model with fx, fy, cx, cy in front.

        Args:
            model: PINHOLE, OPENCV, OPENCV_FISHEYE or FULL_OPENCV.
            intrinsics: normalised [3, 3].
            height, width: of its pictures in pixels.
            distortion: the further parameters; those that are missing are 0.
        """
        k = intrinsics.tolist()
        pinhole = (k[0][0] * width, k[1][1] * height, k[0][2] * width, k[1][2] * height)
        rest = MODELS[model][0] - 4
        return cls(model, width, height, (*pinhole, *map(float, distortion), *[0.0] * (rest - len(distortion))))

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Where fx, fy, cx, cy stand among the parameters; the others are distortion."""
        return MODELS[self.model][1]

    @property
    def intrinsics(self) -> Tensor:
        """Normalised intrinsics [3, 3], without the distortion."""
        fx, fy, cx, cy = (self.parameters[place] for place in self.places)
        width, height = self.width, self.height
        return torch.tensor([[fx / width, 0, cx / width], [0, fy / height, cy / height], [0, 0, 1]], dtype=torch.float64)

    @property
    def distorted(self) -> bool:
        """Whether straight lines bend: a fisheye, or distortion parameters other than zero."""
        rest = [value for place, value in enumerate(self.parameters) if place not in self.places]
        return self.model in FISHEYES or any(rest)

    def resized(self, height: int, width: int) -> Lens:
        """The lens for pictures of another size.

        Args:
            height, width: of the pictures in pixels.

        Raises:
            PictureShapeError: for pictures of another shape, which were cropped or turned.
        """
        check_shape((self.height, self.width), (height, width))
        parameters = list(self.parameters)
        across, down = width / self.width, height / self.height
        for place, factor in zip(self.places, (across, down, across, down)):
            parameters[place] = self.parameters[place] * factor
        return Lens(self.model, width, height, tuple(parameters))


def check_shape(stated: tuple[float, float], found: tuple[float, float]) -> None:
    """Refuse cameras of pictures of another shape.

    Args:
        stated: (height, width) that the cameras are given for.
        found: (height, width) of the pictures.

    Raises:
        PictureShapeError: where the shapes differ by more than `SHAPE_TOLERANCE`.
    """
    if abs(found[1] * stated[0] / (found[0] * stated[1]) - 1) > SHAPE_TOLERANCE:
        raise PictureShapeError(
            f"cameras of pictures of {stated[1]:g}x{stated[0]:g} for pictures of {found[1]:g}x{found[0]:g}, which have another shape: "
            "they were cropped or turned; give the pictures that the cameras are of"
        )

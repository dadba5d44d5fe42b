"""What goes into the reading of a camera file, and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.lenses import Lens


@dataclass(frozen=True)
class Stated:
    """What is known besides a camera file, for what the file does not say.

    Args:
        fov_degrees: horizontal field of view, or None.
        aspect: width / height of the pictures, or None.
        image_size: (height, width) of the pictures in pixels, or None.
        focal_35mm: focal length in millimetres that gives their view on 36 x 24 mm film, by the diagonal, as the pictures name it; it
            counts where no field of view is stated. None where they do not.
    """

    fov_degrees: float | None = None
    aspect: float | None = None
    image_size: tuple[int, int] | None = None
    focal_35mm: float | None = None

    @property
    def shape(self) -> float | None:
        """Width / height of the pictures, from their size where that is known."""
        return self.aspect if self.image_size is None else self.image_size[1] / self.image_size[0]


@dataclass(frozen=True)
class CameraFile:
    """The cameras of a file, with what it says of their pictures.

    Args:
        cameras: [T]. Where lenses bend lines these are the cameras of the undistorted pictures.
        image_names: of the T pictures as the file writes them, or None where it names none.
        lenses: of the T pictures, in pixels of the size that the file is for; None where it does not say a size.
    """

    cameras: Cameras
    image_names: tuple[str, ...] | None = None
    lenses: tuple[Lens, ...] | None = None

    @property
    def distorted(self) -> tuple[str, ...]:
        """COLMAP's names of the lenses that bend lines, in alphabetical order."""
        return tuple(sorted({lens.model for lens in self.lenses or () if lens.distorted}))

    def chosen(self, indices: Sequence[int]) -> CameraFile:
        """Some of the cameras.

        Args:
            indices: of the T cameras, in the order wanted.
        """
        return CameraFile(
            self.cameras[list(indices)],
            None if self.image_names is None else tuple(self.image_names[index] for index in indices),
            None if self.lenses is None else tuple(self.lenses[index] for index in indices),
        )

    def resized(self, height: int, width: int) -> CameraFile:
        """The file for pictures of a size.

        Args:
            height, width: of the pictures in pixels.

        Raises:
            PictureShapeError: where the cameras are for pictures of another shape.
        """
        if self.lenses is None:
            return self
        return replace(self, lenses=tuple(lens.resized(height, width) for lens in self.lenses))

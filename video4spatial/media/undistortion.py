"""Pictures of a lens that bends lines, as a pinhole with the same focal lengths and size would have taken them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.lenses import FISHEYES, Lens

FISHEYES_OF_OPENCV = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")


@dataclass(frozen=True)
class Undistortion:
    """Takes the distortion out of pictures.

    Args:
        lenses: one for all frames, or one for each; their parameters are those of the pictures' own size.
    """

    lenses: tuple[Lens, ...]

    @classmethod
    def of(cls, lenses: Sequence[Lens] | None) -> Undistortion | None:
        """What pictures need, or None where no lens bends lines.

        Args:
            lenses: one per frame, or None where nothing is known of them.

        Raises:
            CameraError: for a lens that cannot be undistorted here.
        """
        if lenses is None or not any(lens.distorted for lens in lenses):
            return None
        other = sorted({lens.model for lens in lenses if lens.model in FISHEYES and lens.model not in FISHEYES_OF_OPENCV})
        if other:
            raise CameraError(f"lens {', '.join(other)}: cannot be undistorted here; run colmap image_undistorter first")
        distinct = dict.fromkeys(lenses)
        return cls(tuple(distinct) if len(distinct) == 1 else tuple(lenses))

    def __call__(self, pictures: np.ndarray, frames: Sequence[int], nearest: bool = False) -> np.ndarray:
        """Undistort some frames.

        Args:
            pictures: [n, H, W, ...] of the lens' size.
            frames: [n] which they are.
            nearest: without means across pixels, for depth.

        Returns:
            The same shape; what lies outside of the pictures becomes 0.
        """
        how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        lenses = self.lenses * len(frames) if len(self.lenses) == 1 else [self.lenses[frame] for frame in frames]
        return np.stack([
            cv2.remap(picture, *_maps(lens), how) if lens.distorted else picture for picture, lens in zip(pictures, lenses)
        ])  # fmt: skip


@lru_cache(maxsize=2)
def _maps(lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """Where every pixel of the pinhole's picture comes from, for `cv2.remap`."""
    fx, fy, cx, cy = (lens.parameters[place] for place in lens.places)
    # COLMAP counts from the corner of the first pixel, OpenCV from its centre.
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    rest = np.array(lens.parameters[max(lens.places) + 1 :], dtype=np.float64)
    size = (lens.width, lens.height)
    if lens.model in FISHEYES_OF_OPENCV:
        distortion = np.concatenate([rest, np.zeros(4 - len(rest))])
        return cv2.fisheye.initUndistortRectifyMap(matrix, distortion, np.eye(3), matrix, size, cv2.CV_32FC1)
    distortion = rest if len(rest) >= 4 else np.array([*rest, *np.zeros(2 - len(rest)), 0, 0])
    return cv2.initUndistortRectifyMap(matrix, distortion, np.eye(3), matrix, size, cv2.CV_32FC1)

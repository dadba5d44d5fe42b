"""Picture size: crop to an aspect, resize without aliasing."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn.functional import interpolate

from video4spatial.cameras.intrinsics import CropBox, centre_crop_box


def size_of_aspect(pixels: int, aspect: float, multiple: int) -> tuple[int, int]:
    """Height and width of pictures of an aspect that have about so many pixels.

    Args:
        pixels: wanted, height times width.
        aspect: width / height.
        multiple: both sides are multiples of it.
    """
    height = math.sqrt(pixels / aspect)
    return tuple(multiple * max(1, round(side / multiple)) for side in (height, height * aspect))


def resize_and_crop(frames: np.ndarray, height: int, width: int) -> tuple[np.ndarray, CropBox]:
    """Crop frames centrally to an aspect, then resize them with antialiasing (bilinear).

    Args:
        frames: uint8 [T, H, W, 3].
        height: of the result in pixels.
        width: of the result in pixels.

    Returns:
        uint8 [T, height, width, 3], and what was kept of the source, which intrinsics have to follow.

    Raises:
        ValueError: for anything but uint8 [T, H, W, 3] or for a size below one pixel.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    box = centre_crop_box(frames.shape[1], frames.shape[2], height, width)
    cropped = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    if (box.height, box.width) == (height, width) or not len(frames):
        return (cropped.copy() if len(frames) else np.empty((0, height, width, 3), np.uint8)), box
    pictures = torch.from_numpy(np.ascontiguousarray(cropped)).permute(0, 3, 1, 2)
    resized = interpolate(pictures, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy()), box

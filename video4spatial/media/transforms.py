"""Picture size: crop to an aspect, resize without aliasing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate


class CropBox(NamedTuple):
    """The part of the source picture that was kept, in source pixels; x to the right, y down."""

    x0: int
    y0: int
    width: int
    height: int


def centre_crop_box(source_height: int, source_width: int, height: int, width: int) -> CropBox:
    """The largest central box of a source picture that has the aspect of `height` x `width`, to the nearest pixel."""
    sizes = {"source height": source_height, "source width": source_width, "height": height, "width": width}
    wrong = [f"{name} {value}" for name, value in sizes.items() if value < 1]
    if wrong:
        raise ValueError(f"picture sizes must be at least 1 pixel, got {', '.join(wrong)}")
    crop_width, crop_height = source_width, source_height
    if source_width * height > source_height * width:
        crop_width = max(1, round(source_height * width / height))
    else:
        crop_height = max(1, round(source_width * height / width))
    return CropBox((source_width - crop_width) // 2, (source_height - crop_height) // 2, crop_width, crop_height)


def resize_and_crop(frames: np.ndarray, height: int, width: int) -> tuple[np.ndarray, CropBox]:
    """Crops frames centrally to the aspect asked for, then resizes them with antialiasing (bilinear).

    Arguments: `frames` uint8 [T, H, W, 3]; `height`, `width` of the result in pixels.
    Returns: uint8 [T, height, width, 3] and the `CropBox` in source pixels, which intrinsics have to follow.
    Raises: `ValueError` for anything but uint8 [T, H, W, 3] or for a size below one pixel.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
    box = centre_crop_box(frames.shape[1], frames.shape[2], height, width)
    cropped = frames[:, box.y0 : box.y0 + box.height, box.x0 : box.x0 + box.width]
    if (box.height, box.width) == (height, width) or not len(frames):
        return (cropped.copy() if len(frames) else np.empty((0, height, width, 3), np.uint8)), box
    pictures = torch.from_numpy(np.ascontiguousarray(cropped)).permute(0, 3, 1, 2)
    resized = interpolate(pictures, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized.permute(0, 2, 3, 1).numpy()), box

"""What a crop of its pictures does to a clip: cameras, depth and boxes follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from video4spatial.cameras import CropBox, centre_crop_box
from video4spatial.clips.clip import Clip
from video4spatial.media import resize_and_crop


def resized(clip: Clip, height: int, width: int) -> Clip:
    """A clip at another picture size: cropped centrally to the new aspect, cameras, depth and boxes following.

    Args:
        clip: with pictures of one size.
        height: of the new pictures in pixels.
        width: of the new pictures in pixels.

    Raises:
        ValueError: if the crop loses the region that alone names the object to find.
    """
    old_height, old_width = clip.context_frames.shape[1:3]
    if (old_height, old_width) == (height, width):
        return clip
    box = centre_crop_box(old_height, old_width, height, width)
    return clip.viewed(
        frames=lambda frames: resize_and_crop(frames, height, width)[0],
        depth=lambda depth: resize_depth(depth, box, height, width),
        **crop_view(box, old_height, old_width),
    )


def resize_depth(depth: np.ndarray, box: CropBox, height: int, width: int) -> np.ndarray:
    """Depth maps cropped and resized by nearest neighbours: a mean across an edge would be the depth of nothing.

    Args:
        depth: [n, H, W].
        box: what is kept, in pixels of the maps.
        height: of the result in pixels.
        width: of the result in pixels.

    Returns:
        [n, height, width].
    """
    rows = box.top + ((np.arange(height) + 0.5) * box.height / height).astype(int)
    columns = box.left + ((np.arange(width) + 0.5) * box.width / width).astype(int)
    return depth[:, rows][:, :, columns]


def crop_boxes(boxes: np.ndarray, crop: CropBox, height: int, width: int) -> np.ndarray:
    """Boxes of objects after a crop of the pictures.

    Args:
        boxes: [n, 4] left, top, right and bottom as shares of the whole picture.
        crop: what is kept of the picture, in pixels.
        height: of the whole picture in pixels.
        width: of the whole picture in pixels.

    Returns:
        [n, 4] float32 shares of what is kept, clipped to it; NaN where nothing of a box is left.
    """
    size = np.array([width, height, width, height])
    offset, scale = np.array([crop.left, crop.top] * 2), np.array([crop.width, crop.height] * 2)
    cropped = np.clip((np.asarray(boxes) * size - offset) / scale, 0, 1).astype(np.float32)
    left = (cropped[:, 2] > cropped[:, 0]) & (cropped[:, 3] > cropped[:, 1])
    return np.where(left[:, None], cropped, np.float32("nan"))


def crop_view(box: CropBox, height: int, width: int) -> dict[str, Callable]:
    """What a crop of the pictures does to cameras and boxes, as arguments of `Clip.viewed`.

    Args:
        box: what is kept of the pictures, in pixels.
        height: of the whole pictures in pixels.
        width: of the whole pictures in pixels.
    """
    return {
        "cameras": lambda cameras: cameras.cropped(box, height, width),
        "boxes": lambda boxes: crop_boxes(boxes, box, height, width),
    }

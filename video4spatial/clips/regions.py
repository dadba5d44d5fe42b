"""Regions: a box or a mask on one frame of a video, which names an object without words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from video4spatial.cameras import CropBox

SYNTAX = "frame=12,box=0.4,0.3,0.6,0.8 (left, top, right, bottom as shares of the picture) or frame=12,mask=mask.png"
"""How a region is written, for messages."""


@dataclass(frozen=True)
class Region:
    """A box or a mask on one frame of the context.

    Args:
        frame: position in the context.
        box: left, top, right and bottom as shares of width and height, 0 to 1; for a mask, that around it.
        mask: [H, W] bool on the frame, or None for a box alone.

    Raises:
        ValueError: for neither, a box that is no area of the picture, or a mask that marks nothing.
    """

    frame: int
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            if self.mask.ndim != 2 or self.mask.dtype != bool:
                raise ValueError(f"a mask is [height, width] of true and false, given {self.mask.dtype} {list(self.mask.shape)}.")
            if not self.mask.any():
                raise ValueError("the mask marks nothing: expected at least one pixel that is not black.")
            object.__setattr__(self, "box", mask_box(self.mask))
            return
        if self.box is None:
            raise ValueError("a region is a box or a mask: give one of them.")
        box = tuple(float(value) for value in self.box)
        if len(box) != 4 or not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            given = ", ".join(f"{value:g}" for value in box)
            hint = " (these look like pixels)" if any(value > 2 for value in box) else ""
            raise ValueError(
                f"the box {given}{hint}: expected left, top, right and bottom as shares of the picture, from 0 to 1, with left before "
                "right and top before bottom."
            )
        object.__setattr__(self, "box", box)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Region) or (self.frame, self.box) != (other.frame, other.box):
            return False
        masks = self.mask is not None, other.mask is not None
        return masks == (False, False) or (masks == (True, True) and np.array_equal(self.mask, other.mask))

    def __hash__(self) -> int:
        return hash((self.frame, self.box))

    def pixels(self, height: int, width: int) -> np.ndarray:
        """The pixels of the frame that are marked, at another size.

        Args:
            height, width: of the result.

        Returns:
            [height, width] bool, at least one of them true.
        """
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        if self.mask is not None:
            size = self.mask.shape
            marked = self.mask[(rows * size[0]).astype(int)[:, None], (columns * size[1]).astype(int)]
        else:
            left, top, right, bottom = self.box
            marked = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
        if not marked.any():  # smaller than a pixel
            middle = (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
            marked[min(int(middle[1] * height), height - 1), min(int(middle[0] * width), width - 1)] = True
        return marked

    def cropped(self, crop: CropBox, height: int, width: int) -> Region:
        """The region after a crop of the picture.

        Args:
            crop: what is kept, in pixels.
            height, width: of the whole picture, which is the size that a mask must have.

        Raises:
            ValueError: for a mask of another size, or a region of which nothing is kept.
        """
        if self.mask is not None:
            if self.mask.shape != (height, width):
                raise ValueError(
                    f"the mask has {self.mask.shape[1]}x{self.mask.shape[0]} pixels and the frame {width}x{height}: draw it on the frame "
                    "as it is."
                )
            mask = self.mask[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
            if not mask.any():
                raise ValueError(lost_in_crop("mask", crop, height, width))
            return Region(self.frame, mask=mask)
        size, offset = np.array([width, height] * 2), np.array([crop.left, crop.top] * 2)
        box = np.clip((np.array(self.box) * size - offset) / ([crop.width, crop.height] * 2), 0, 1)
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(lost_in_crop("box", crop, height, width))
        return Region(self.frame, tuple(box.tolist()))


def lost_in_crop(what: str, crop: CropBox, height: int, width: int) -> str:
    """Why a region cannot be used of which a crop leaves nothing.

    Args:
        what: box or mask.
        crop: what is kept, in pixels.
        height, width: of the whole picture.
    """
    return (
        f"the {what} lies outside the central {crop.width}x{crop.height} pixels of the {width}x{height} that are used: mark the object "
        "on a frame that shows it nearer to the middle, or give another `size`."
    )


def parse_region(text: str) -> Region:
    """Read a region as it is written on the command line; a mask is a picture, whose bright pixels mark the object.

    Args:
        text: such as `frame=12,box=0.4,0.3,0.6,0.8` or `frame=12,mask=mask.png`; frames may be counted from the end, with -1.

    Raises:
        ValueError: saying what is wrong with it.
        FileNotFoundError: for a mask that does not exist.
    """
    parts = dict(part.split("=", 1) for part in re.split(r",(?=[a-z]+=)", text.strip()) if "=" in part)
    wrong = set(parts) - {"frame", "box", "mask"}
    if wrong or "frame" not in parts or ("box" in parts) == ("mask" in parts):
        raise ValueError(f"the region {text!r}: expected {SYNTAX}.")
    if not re.fullmatch(r"-?\d+", parts["frame"].strip()):
        raise ValueError(f"the region {text!r}: the frame {parts['frame']!r} is no whole number.")
    frame = int(parts["frame"])
    if "mask" in parts:
        return Region(frame, mask=read_mask(parts["mask"]))
    try:
        box = tuple(float(value) for value in parts["box"].split(","))
    except ValueError:
        raise ValueError(f"the region {text!r}: the box {parts['box']!r} is not four numbers; expected {SYNTAX}.") from None
    return Region(frame, box)


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask from a picture: what is brighter than half of its brightest pixel, or of a palette not its first colour, is marked.

    Args:
        path: of the picture.

    Returns:
        [H, W] bool.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for a file that is no picture.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such mask")
    try:
        with Image.open(path) as picture:
            values = np.array(picture if picture.mode in ("1", "P", "I", "I;16", "F") else picture.convert("L"), dtype=np.float64)
            palette = picture.mode == "P"
            if "A" in picture.getbands():
                values = values * (np.array(picture.getchannel("A")) > 127)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: not a picture that can be read ({error}).") from error
    return values > (0 if palette else values.max(initial=0) / 2)


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a mask [H, W] as shares; None where it marks nothing."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    height, width = mask.shape
    return tuple(float(value) for value in (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height))


def mask_as_plain(mask: np.ndarray) -> dict:
    """A mask [H, W] as JSON-able values: its size, and the lengths of its runs row by row, unmarked ones first."""
    flat = np.concatenate([[False], mask.ravel(), [not mask.ravel()[-1]]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    return {"size": list(mask.shape), "runs": np.diff(edges, prepend=0).tolist()}


def mask_from_plain(plain: dict) -> np.ndarray:
    """The mask [H, W] that `mask_as_plain` wrote.

    Raises:
        ValueError: for runs that do not fill it.
    """
    height, width = plain["size"]
    runs = np.asarray(plain["runs"], dtype=int)
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"a mask of {height} x {width} pixels with runs of {int(runs.sum())}.")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)

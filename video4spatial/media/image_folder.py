"""A folder of images read as a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from video4spatial.cameras.lenses import PictureShapeError
from video4spatial.files import is_clutter
from video4spatial.media.base import MediaError, VideoReader
from video4spatial.naming import natural_key

AVIF = (".avif",) if features.check("avif") else ()
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", *AVIF)
UNREAD_SUFFIXES = (
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".exr", ".hdr",
)  # fmt: skip
"""Endings of pictures that are not read here (of .avif where Pillow was built without it)."""
Known = TypeVar("Known")
# Each can be brought to 8-bit RGB without a choice: grey is repeated, a palette looked up, alpha dropped.
EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr")

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


class ImageFolderReader(VideoReader):
    """Reads a folder of images (or one image) as a video; see `VideoReader`.

    Images are taken in natural order of their names (`2.png` before `10.png`) and turned upright by their EXIF orientation. Grey is
    repeated to RGB, alpha is dropped, not blended. Other files in the folder are ignored; pictures with an ending that is not read are
    listed in `left_out`.

    Args:
        path: the folder, or one image.
        frame_rate: images per second.
        images: only these, in this order; None takes all of the folder.
        upright: whether they are turned by their EXIF orientation; `turned` says whether any has one.

    Raises:
        MediaError: for an empty folder, or images that are unreadable or of unlike sizes, all named at once.
    """

    def __init__(
        self, path: str | os.PathLike, frame_rate: float, images: Sequence[Path] | None = None, upright: bool = True
    ) -> None:
        path = Path(path)
        self.images = list(images) if images is not None else image_paths(path) if path.is_dir() else [path]
        self.upright = upright
        self.left_out = unread_pictures(path) if images is None and path.is_dir() else []
        if not self.images:
            unread = f"; {unread_in_words(self.left_out)}: convert them to JPEG" if self.left_out else ""
            raise MediaError(f"{path}: the folder has no images ({', '.join(IMAGE_SUFFIXES)}){unread}")
        sizes, problems, orientations = [], [], set()
        for image_path in self.images:
            try:
                size, orientation = _stored_size(image_path)
            except MediaError as error:
                problems.append(str(error))
                continue
            orientations.add(orientation)
            sizes.append(size[::-1] if upright and orientation in SIDEWAYS else size)
        self.turned = orientations - {1} != set()
        if sizes:
            common = max(dict.fromkeys(sizes), key=sizes.count)
            unlike = [] if problems else [p.name for p, size in zip(self.images, sizes) if size != common]
            if unlike:
                named = ", ".join(unlike[:5]) + (", ..." if len(unlike) > 5 else "")
                problems.append(
                    f"images must have one size: {len(unlike)} of {len(sizes)} are not {common[0]}x{common[1]}: {named}"
                )
        if problems:
            shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
            raise MediaError(f"{path}: {shown}")
        width, height = common
        super().__init__(path, height, width, np.arange(len(self.images)) / frame_rate, frame_rate)

    def _open_decoder(self) -> None:
        return None

    def _read_sorted(self, indices: np.ndarray) -> np.ndarray:
        frames = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        for row, index in enumerate(indices.tolist()):
            try:
                with Image.open(self.images[index]) as image:
                    picture = np.asarray((ImageOps.exif_transpose(image) if self.upright else image).convert("RGB"))
            except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
                raise MediaError(
                    f"{self.path}: frame {index} of {len(self)} ({self.images[index].name}) cannot be decoded: {error}"
                ) from error
            if picture.shape != frames.shape[1:]:
                raise MediaError(
                    f"{self.path}: frame {index} of {len(self)} ({self.images[index].name}) is "
                    f"{picture.shape[1]}x{picture.shape[0]} once decoded, expected {self.width}x{self.height}"
                )
            frames[row] = picture
        return frames


def open_as_stored(
    path: str | os.PathLike, frame_rate: float, read: Callable[[tuple[int, int]], Known], images: Sequence[Path] | None = None
) -> tuple[ImageFolderReader, Known]:
    """Images whose cameras are known, as they are stored: COLMAP and its kin do not look at the EXIF orientation.

    Where cameras turn out to be of pictures of another shape, and the upright ones have that shape, the upright ones are taken.

    Args:
        path: the folder, or one image.
        frame_rate: images per second.
        read: given (height, width) in pixels, reads the cameras; it raises `PictureShapeError` where they are of another shape.
        images: as for `ImageFolderReader`.

    Returns:
        The images, and what `read` gave.

    Raises:
        MediaError: as `ImageFolderReader`.
        PictureShapeError: where neither fits.
    """
    stored = ImageFolderReader(path, frame_rate, images, upright=False)
    try:
        return stored, read((stored.height, stored.width))
    except PictureShapeError:
        if not stored.turned:
            raise
        upright = ImageFolderReader(path, frame_rate, images)
        if (upright.height, upright.width) == (stored.height, stored.width):
            raise
        return upright, read((upright.height, upright.width))


def image_paths(folder: str | os.PathLike) -> list[Path]:
    """The images of `folder` in natural order of their names (numbers by value), hidden files left out."""
    found = [p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not is_clutter(p.name)]
    return sorted(found, key=lambda image: (natural_key(image.name), image.name))


def unread_pictures(folder: str | os.PathLike) -> list[Path]:
    """The pictures of `folder` with an ending that is not read, in natural order; those that lie beside a readable twin do not count."""
    readable = {path.stem for path in image_paths(folder)}
    unread = [suffix for suffix in UNREAD_SUFFIXES if suffix not in IMAGE_SUFFIXES]
    found = [p for p in Path(folder).iterdir() if p.suffix.lower() in unread and not is_clutter(p.name) and p.stem not in readable]
    return sorted(found, key=lambda image: (natural_key(image.name), image.name))


def unread_in_words(pictures: Sequence[Path]) -> str:
    """ "4 pictures cannot be read (.HEIC)".

    Args:
        pictures: as of `unread_pictures`.
    """
    endings = ", ".join(dict.fromkeys(picture.suffix for picture in pictures))
    return f"{len(pictures)} picture{'s' * (len(pictures) > 1)} cannot be read ({endings})"


def _stored_size(path: Path) -> tuple[tuple[int, int], int]:
    """(width, height) as stored and the EXIF orientation, from the file's header alone."""
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise MediaError(f"{path.name} has pixels of kind {image.mode}; expected 8-bit colour or grey")
            # Pillow decodes a whole PNG to look for EXIF behind its pixels; writers put it in front.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if has_exif else 1
            return image.size, orientation if orientation in range(1, 9) else 1
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise MediaError(f"{path.name} is not a readable image") from error

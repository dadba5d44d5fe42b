"""A folder of images read as a video."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, features

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
ANIMATED_FORMATS = ("PNG", "WEBP", "TIFF", "AVIF")  # not MPO, whose second picture is a map of depth or of light
Known = TypeVar("Known")
# Each can be brought to 8-bit RGB without a choice: grey is repeated, a palette looked up, alpha dropped.
EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr")

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

QUARTER_TURNS = {1: 0, 8: 1, 3: 2, 6: 3}
"""EXIF orientations that are turns, and the quarters of a circle that bring a stored picture upright, counter-clockwise."""

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


class ImageFolderReader(VideoReader):
    """Reads a folder of images (or one image) as a video; see `VideoReader`.

    Images are taken in natural order of their names (`2.png` before `10.png`) and turned upright by their EXIF orientation. Grey is
    repeated to RGB, colours of another RGB profile are brought to sRGB, alpha is dropped, not blended. Other files in the folder are
    ignored; pictures with an ending that is not read are listed in `left_out`.

    Args:
        path: the folder, or one image.
        frame_rate: images per second.
        images: only these, in this order; None takes all of the folder.
        upright: whether they are turned by their EXIF orientation; `turned` says whether any has one.

    Attributes:
        quarter_turns: that bring all of them upright as they are read, counter-clockwise; None where they differ or are mirrored.

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
        headers, problems = [], []
        for image_path in self.images:
            try:
                headers.append(_header(image_path))
            except MediaError as error:
                problems.append(str(error))
        sizes = [header.upright_size if upright else header.size for header in headers]
        orientations = {header.orientation for header in headers}
        self.turned = orientations != {1}
        self.quarter_turns = 0 if upright else QUARTER_TURNS.get(orientations.pop()) if len(orientations) == 1 else None
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
        profiles, focals = {header.profile for header in headers}, {header.focal_35mm for header in headers}
        notes = [f"the pictures have the colours of {name}: they are brought to sRGB." for name in sorted(profiles - {None})]
        if len(focals) > 1:
            notes.append("the pictures differ in the focal length that their EXIF gives: none of them is used.")
        focal = focals.pop() if len(focals) == 1 else None
        super().__init__(path, height, width, np.arange(len(self.images)) / frame_rate, frame_rate, notes, focal)

    def _open_decoder(self) -> None:
        return None

    def _read_sorted(self, indices: np.ndarray) -> np.ndarray:
        frames = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        for row, index in enumerate(indices.tolist()):
            try:
                with Image.open(self.images[index]) as image:
                    profile = image.info.get("icc_profile")
                    if not self.upright:
                        image.getexif()[ExifTags.Base.Orientation] = 1  # before Pillow turns a TIFF while it decodes it
                    shown = ImageOps.exif_transpose(image)
                    picture = np.asarray(_to_srgb(shown.convert("RGB"), profile))
            except DAMAGE as error:
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
    path: str | os.PathLike, frame_rate: float, read: Callable[[VideoReader], Known], images: Sequence[Path] | None = None
) -> tuple[ImageFolderReader, Known]:
    """Images whose cameras are known, as they are stored: COLMAP and its kin do not look at the EXIF orientation.

    Where cameras turn out to be of pictures of another shape, and the upright ones have that shape, the upright ones are taken.

    Args:
        path: the folder, or one image.
        frame_rate: images per second.
        read: given the images, reads the cameras; it raises `PictureShapeError` where they are of another shape.
        images: as for `ImageFolderReader`.

    Returns:
        The images, and what `read` gave.

    Raises:
        MediaError: as `ImageFolderReader`.
        PictureShapeError: where neither fits.
    """
    stored = ImageFolderReader(path, frame_rate, images, upright=False)
    try:
        return stored, read(stored)
    except PictureShapeError:
        if not stored.turned:
            raise
        upright = ImageFolderReader(path, frame_rate, images)
        if (upright.height, upright.width) == (stored.height, stored.width):
            raise
        return upright, read(upright)


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


class _Header(NamedTuple):
    """What is known of an image before it is decoded."""

    size: tuple[int, int]  # width, height as stored
    orientation: int  # of EXIF, 1 where there is none
    focal_35mm: float | None
    profile: str | None  # name of a colour profile that is not sRGB

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) as shown."""
        return self.size[::-1] if self.orientation in SIDEWAYS else self.size


def _header(path: Path) -> _Header:
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise MediaError(f"{path.name} has pixels of kind {image.mode}; expected 8-bit colour or grey")
            if image.format in ANIMATED_FORMATS and getattr(image, "n_frames", 1) > 1:
                raise MediaError(f"{path.name} holds {image.n_frames} pictures; give them as a video or as an image each")
            # Pillow decodes a whole PNG to look for EXIF behind its pixels; writers put it in front.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else Image.Exif()
            orientation = exif.get(ExifTags.Base.Orientation, 1)
            focal = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
            profile = image.info.get("icc_profile")
            transform = _profile_transform(profile) if profile else None
            # Pillow gives the size of a TIFF as shown.
            size = image.size[::-1] if image.format == "TIFF" and orientation in SIDEWAYS else image.size
            return _Header(
                size, orientation if orientation in range(1, 9) else 1, float(focal) if focal else None, transform and transform[1]
            )
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path.name} has too many pixels: {error}") from error
    except MediaError:
        raise
    except DAMAGE as error:
        raise MediaError(f"{path.name} is not a readable image") from error


@lru_cache(maxsize=8)
def _profile_transform(profile: bytes) -> tuple[ImageCms.ImageCmsTransform, str] | None:
    """The way from a profile of RGB colours to sRGB, and the profile's name; None where there is nothing to do."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = ImageCms.getProfileDescription(source).strip()
        if source.profile.xcolor_space.strip() != "RGB" or "srgb" in name.lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB"), name
    except (ImageCms.PyCMSError, OSError):  # viewers too take a profile that cannot be read for sRGB
        return None


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    transform = _profile_transform(profile) if profile else None
    return image if transform is None else ImageCms.applyTransform(image, transform[0])

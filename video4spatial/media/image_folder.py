"""A folder of images read as a video."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from video4spatial.media.base import MediaError, VideoReader

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
ANIMATED_FORMATS = ("PNG", "WEBP", "TIFF")  # not MPO, whose second picture is a map of depth or of light
# Each can be brought to 8-bit RGB without a choice: grey is repeated, a palette looked up, alpha dropped.
EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "PA", "1", "CMYK", "YCbCr")

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


class ImageFolderReader(VideoReader):
    """Reads a folder of images (or one image) as a video; see `VideoReader`.

    Images are taken in natural order of their names (`2.png` before `10.png`) and turned upright by their EXIF orientation. Grey is
    repeated to RGB, colours of another RGB profile are brought to sRGB, alpha is dropped, not blended. Other files in the folder are
    ignored.

    Args:
        path: the folder, or one image.
        frame_rate: images per second.
        images: only these, in this order; None takes all of the folder.

    Raises:
        MediaError: for an empty folder, or images that are unreadable or of unlike sizes, all named at once.
    """

    def __init__(self, path: str | os.PathLike, frame_rate: float, images: Sequence[Path] | None = None) -> None:
        path = Path(path)
        self.images = list(images) if images is not None else image_paths(path) if path.is_dir() else [path]
        if not self.images:
            raise MediaError(f"{path}: the folder has no images ({', '.join(IMAGE_SUFFIXES)})")
        sizes, focals, profiles, problems = [], set(), set(), []
        for image_path in self.images:
            try:
                header = _header(image_path)
                sizes.append(header.size)
                focals.add(header.focal_35mm)
                profiles.add(header.profile)
            except MediaError as error:
                problems.append(str(error))
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
                    picture = np.asarray(_to_srgb(ImageOps.exif_transpose(image).convert("RGB"), profile))
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


def image_paths(folder: str | os.PathLike) -> list[Path]:
    """The images of `folder` in natural order of their names (numbers by value), hidden files left out."""
    found = [p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    return sorted(found, key=lambda image: (_natural_key(image.name), image.name))


def _natural_key(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in re.split(r"([0-9]+)", name.lower()) if part]


class _Header(NamedTuple):
    """What is known of an image before it is decoded."""

    size: tuple[int, int]  # width, height as shown
    focal_35mm: float | None
    profile: str | None  # name of a colour profile that is not sRGB


def _header(path: Path) -> _Header:
    try:
        with Image.open(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise MediaError(f"{path.name} has pixels of kind {image.mode}; expected 8-bit colour or grey")
            if image.format in ANIMATED_FORMATS and getattr(image, "n_frames", 1) > 1:
                raise MediaError(f"{path.name} holds {image.n_frames} pictures; give them as a video or as an image each")
            # Pillow decodes a whole PNG to look for EXIF behind its pixels; writers put it in front.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else Image.Exif()
            turned = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            focal = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.FocalLengthIn35mmFilm)
            profile = image.info.get("icc_profile")
            transform = _profile_transform(profile) if profile else None
            return _Header(image.size[::-1] if turned else image.size, float(focal) if focal else None, transform and transform[1])
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

"""Which camera belongs to which picture, and files under names that another system wrote."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from video4spatial.media.image_folder import IMAGE_SUFFIXES
from video4spatial.naming import some, spelled_alike

COLOUR = (".color", ".rgb")
"""What 7-Scenes and others write behind a frame's number in the names of pictures, not of poses."""


def cameras_of_pictures(names: Sequence[str], pictures: Sequence[str]) -> list[int | None]:
    """Join cameras and pictures by name: in any spelling (see `spelled_alike`), with or without folders and endings.

    Args:
        names: of the pictures as a camera file writes them.
        pictures: paths of the pictures that are there.

    Returns:
        For each picture the index of its camera, or None.

    Raises:
        ValueError: where several cameras fit a picture equally well.
    """
    cameras = [_parts(name) for name in names]
    by_stem: dict[str, list[int]] = {}
    for index, parts in enumerate(cameras):
        by_stem.setdefault(_stem(parts[-1]), []).append(index)
    best: list[tuple[tuple, int] | None] = []
    unclear = []
    for picture in pictures:
        parts = _parts(picture)
        fits = sorted(((_likeness(names[i], cameras[i], picture, parts), i) for i in by_stem.get(_stem(parts[-1]), [])), reverse=True)
        if len(fits) > 1 and fits[0][0] == fits[1][0]:
            unclear.append(f"{picture} ({' or '.join(names[index] for likeness, index in fits if likeness == fits[0][0])})")
        best.append(fits[0] if fits else None)
    if unclear:
        raise ValueError(f"several cameras fit {len(unclear)} pictures equally well: {some(unclear)}; name pictures apart")
    # Of two pictures that one camera fits (a.jpg beside a.png), the more alike has it.
    owners: dict[int, tuple[tuple, int]] = {}
    for place, fit in enumerate(best):
        if fit is not None and (fit[1] not in owners or fit[0] > owners[fit[1]][0]):
            owners[fit[1]] = (fit[0], place)
    return [None if fit is None or owners[fit[1]][1] != place else fit[1] for place, fit in enumerate(best)]


def find_file(folder: Path, name: str) -> Path | None:
    """The file of a name below a folder, whichever way the name is spelled.

    Args:
        folder: that the name counts from.
        name: as another system wrote it, such as images\\Frame_1.JPG.

    Returns:
        The file; None where there is none, or several are spelled alike.
    """
    direct = folder / name
    if direct.is_file():
        return direct
    place = folder
    for part in name.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part == ".." or (place / part).exists():
            place = place / part
            continue
        alike = _spellings(place, place.stat().st_mtime_ns).get(spelled_alike(part), ()) if place.is_dir() else ()
        if len(alike) != 1:
            return None
        place = place / alike[0]
    return place if place.is_file() else None


@lru_cache(maxsize=64)
def _spellings(folder: Path, changed: int) -> dict[str, tuple[str, ...]]:
    """The names in a folder by their one spelling. `changed` is when the folder was last changed, so that nothing old is kept."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in folder.iterdir():
        found[spelled_alike(entry.name)] = (*found.get(spelled_alike(entry.name), ()), entry.name)
    return found


def _parts(name: str) -> list[str]:
    return spelled_alike(name).split("/")


def _stem(name: str) -> str:
    for suffix in IMAGE_SUFFIXES:
        name = name.removesuffix(suffix)
    for suffix in COLOUR:
        name = name.removesuffix(suffix)
    return name


def _likeness(name: str, parts: list[str], picture: str, picture_parts: list[str]) -> tuple[bool, int, bool]:
    """How alike the name of a camera's picture and a picture are: the file's name, folders above it, and exact spelling."""
    folders = 0
    for first, second in zip(parts[-2::-1], picture_parts[-2::-1]):
        if first != second:
            break
        folders += 1
    exact = Path(name.replace("\\", "/")).name == Path(picture).name
    return parts[-1] == picture_parts[-1], folders, exact

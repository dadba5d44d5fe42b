"""What lies in a source besides its scenes: nothing that a person brought is passed by without a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from data_curation.readers.footage import VIDEO_SUFFIXES
from data_curation.readers.support import seen_below
from video4spatial.cameras import CameraFileError, detect_format
from video4spatial.files import is_clutter
from video4spatial.media.image_folder import IMAGE_SUFFIXES, image_paths, unread_in_words, unread_pictures
from video4spatial.naming import some

OTHER_VIDEOS = (".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".insv", ".360", ".braw", ".mxf")
CAMERA_WORDS = re.compile(r"camera|pose|transform|extrinsic|intrinsic|trajectory|ground_?truth|sfm_data|reconstruction", re.IGNORECASE)
CAMERA_SUFFIXES = (".json", ".txt", ".csv", ".npz", ".npy", ".tum", ".xml", ".log", ".bin")
LARGEST, MOST = 1 << 24, 50
"""Bytes of a file, and number of files, that are looked into for cameras."""


def unread_files(source: str | PathLike, scenes: Sequence[tuple[str, str]]) -> list[str]:
    """What of a source no scene takes, in sentences; [] where nothing is left.

    Args:
        source: folder; for anything else nothing is left.
        scenes: (reader, scene) that were found in it.
    """
    root = Path(source)
    if not root.is_dir():
        return []
    entries = seen_below(root)
    posed = {Path(scene): reader for reader, scene in scenes if reader not in ("footage", "rooms")}
    taken = {Path(scene) for _, scene in scenes}
    inside = {entry: posed[path] for entry in entries for path in entry.parents if path in posed}
    videos = [e for e in entries if e.suffix.lower() in VIDEO_SUFFIXES and inside.get(e, "scannetpp") != "scannetpp"]
    others = [entry for entry in entries if entry.suffix.lower() in OTHER_VIDEOS]
    folders = [folder for folder in (root, *entries) if folder.is_dir() and folder not in taken and folder not in inside]
    pictures = [path for folder in folders if len(image_paths(folder)) < 2 for path in unread_pictures(folder)]
    free = [entry for entry in entries if entry not in inside and entry not in taken and entry.is_file()]
    cameras = [entry for entry in free if _may_hold_cameras(entry, root)]
    hidden = [entry for entry in root.rglob("*") if is_clutter(entry.name) and _is_media(entry)]
    told = [
        (f"{len(videos)} videos inside of scenes with cameras are not read", videos),
        (f"{len(others)} videos have an ending that is not looked for", others),
        (unread_in_words(pictures) if pictures else "", pictures),
        (f"{len(cameras)} files that may hold cameras are not read by any reader", _recognised_first(cameras)),
        (f"{len(hidden)} hidden files are left out", hidden),
    ]
    return [f"{what}: {some(str(path.relative_to(root)) for path in files)}" for what, files in told if files]


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)


def _may_hold_cameras(path: Path, root: Path) -> bool:
    named = "/".join(path.relative_to(root).parts[-2:])
    return path.suffix.lower() in CAMERA_SUFFIXES and CAMERA_WORDS.search(named) is not None


def _recognised_first(files: list[Path]) -> list[Path]:
    """Files that are of a camera format first: they can be given as --context-cameras."""
    known = [path for path in files[:MOST] if path.stat().st_size < LARGEST and _recognised(path)]
    return [*known, *(path for path in files if path not in known)]


def _recognised(path: Path) -> bool:
    try:
        detect_format(path)
    except CameraFileError:
        return False
    return True

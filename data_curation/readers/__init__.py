"""Readers of raw captures. A format is one module of this folder and one line in `READERS`.

A reader module offers

- `DESCRIPTION`: one line for people;
- `find(source) -> list[str]`: the scenes at or below a source, in a fixed order. A source is a folder, a file, or for simulated
  rooms a range of seeds;
- `read(scene, **options) -> Capture`: one of these scenes. Its cameras are converted to OpenCV camera-to-world once, its pixels are
  read when asked for;
- optionally `inputs(scene) -> list[Path]`: the files that a scene is read from, where these are not simply all files in its folder.

Frames without a usable pose are left out and listed under `provenance["left_out"]`; what else there is to say of a scene stands under
`provenance["notes"]`. What makes a whole scene unusable is raised as
`ReaderError`, so that one scene never stops the others; pictures that are not there (links rot) as `SourceMissing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType

from data_curation.readers import (
    arkitscenes,
    colmap_model,
    footage,
    pose_files,
    pose_table,
    realestate10k,
    rooms,
    scannetpp,
    transforms,
    tum_rgbd,
)
from data_curation.readers.support import ReaderError, SourceMissing, seen_below
from data_curation.readers.unread import unread_files
from data_curation.records import content_of, fingerprint
from video4spatial import __version__
from video4spatial.captures import Capture
from video4spatial.media.image_folder import IMAGE_SUFFIXES
from video4spatial.naming import unknown

READERS: dict[str, ModuleType] = {
    "rooms": rooms,
    "scannetpp": scannetpp,
    "arkitscenes": arkitscenes,
    "tum_rgbd": tum_rgbd,
    "seven_scenes": pose_files,
    "pose_table": pose_table,
    "transforms": transforms,
    "colmap": colmap_model,
    "realestate10k": realestate10k,
    "footage": footage,
}
"""Readers by name. What several would read goes to the first of them; `footage` takes what is left."""

POSED = tuple(name for name in READERS if name not in ("rooms", "footage"))
"""Readers of recordings whose cameras are known."""


def find_scenes(source: str | PathLike, reader: str | None = None) -> list[tuple[str, str]]:
    """All scenes of a source, of whatever formats.

    Args:
        source: folder, file or (for `rooms`) range of seeds.
        reader: a name in `READERS`, of which alone the scenes are wanted.

    Returns:
        (reader, scene) in order of the scenes' paths. What two readers would read goes to the first in `READERS`.

    Raises:
        ReaderError: for an unknown reader, or a source in which nothing is found.
    """
    if reader is not None and reader not in READERS:
        raise ReaderError(f"{unknown('reader', reader, READERS)}; known: {', '.join(READERS)}")
    if reader is not None:
        found = [(reader, scene) for scene in READERS[reader].find(str(source))]
    else:
        found = [("rooms", scene) for scene in rooms.find(str(source))] or _posed(source)
        if not found or found[0][0] != "rooms":
            taken = {path for name, scene in found for path in _claimed(name, scene)}
            rest = [scene for scene in footage.find(str(source)) if not taken & {Path(scene), *Path(scene).parents}]
            found = sorted([*found, *(("footage", scene) for scene in rest)], key=lambda entry: Path(entry[1]))
    if found:
        return found
    if reader is None and not Path(source).exists():
        raise ReaderError(f"{source}: no such folder or file, nor a range of simulated rooms such as train:0-9")
    raise ReaderError(f"{source}: no scenes found; {_looked_for(list(READERS) if reader is None else [reader])}")


def find_posed_scenes(source: str | PathLike) -> list[tuple[str, str]]:
    """All recordings with cameras at or below a folder or file, of whatever formats.

    Args:
        source: a capture, or a folder that holds some, which may be of several formats.

    Returns:
        (reader, scene) in order of the scenes' paths. What two readers would read goes to the first in `READERS`.

    Raises:
        ReaderError: for a source that does not exist or holds none, naming the formats that were looked for.
    """
    if not Path(source).exists():
        raise ReaderError(f"{source}: no such folder or file")
    found = _posed(source)
    if found:
        return found
    without = footage.find(str(source))
    more = f"; there are {len(without)} videos or folders of images without cameras, such as {without[0]}" if without else ""
    raise ReaderError(f"{source}: no captures with cameras found{more}; {_looked_for(POSED)}")


def _posed(source: str | PathLike) -> list[tuple[str, str]]:
    found: list[tuple[str, Path]] = []
    for name in POSED:
        scenes = [Path(scene) for scene in READERS[name].find(str(source))]
        taken = [path for _, path in found]
        found += [(name, scene) for scene in scenes if not any(_overlap(scene, path) for path in taken)]
    return [(name, str(path)) for name, path in sorted(found, key=lambda entry: entry[1])]


def _looked_for(names: Sequence[str]) -> str:
    """What readers look for, in full for one, by their names for several."""
    if len(names) == 1:
        return f"{names[0]} looks for: {READERS[names[0]].DESCRIPTION}"
    return f"looked for what {', '.join(names)} read (docs/curation.md)"


def _overlap(first: Path, second: Path) -> bool:
    return first == second or first in second.parents or second in first.parents


def _claimed(reader: str, scene: str) -> list[Path]:
    """What belongs to a scene: its folder or file, and the files and folders of images elsewhere that it is read from."""
    inputs = READERS[reader].inputs(scene) if hasattr(READERS[reader], "inputs") else []
    return [Path(scene), *inputs, *{path.parent for path in inputs if path.suffix.lower() in IMAGE_SUFFIXES}]


def scene_content(reader: str, scene: str) -> str:
    """Hash of what a scene is read from, so that a change is noticed and a copy recognised.

    Args:
        reader: a name in `READERS`.
        scene: one that `find_scenes` found.

    Returns:
        20 hexadecimal digits. Names of files and of the scene's folder count; where that folder lies does not.
    """
    module, path = READERS[reader], Path(scene)
    if not path.exists():
        return fingerprint(reader, scene, __version__)
    if hasattr(module, "inputs"):
        files = module.inputs(scene)
    else:
        files = [file for file in seen_below(path) if file.is_file()] if path.is_dir() else [path]
    return content_of(files, path.parent)


def read_scene(reader: str, scene: str, **options) -> Capture:
    """Read one scene.

    Args:
        reader: a name in `READERS`.
        scene: one that `find_scenes` found.
        **options: of the reader's `read`.

    Raises:
        ReaderError: where the scene cannot be read.
    """
    return READERS[reader].read(scene, **options)


__all__ = [
    "POSED", "READERS", "ReaderError", "SourceMissing", "find_posed_scenes", "find_scenes", "read_scene", "scene_content", "unread_files",
]  # fmt: skip

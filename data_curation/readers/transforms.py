"""Scenes with a transforms.json: nerfstudio, instant-ngp, DL3DV, and Blender's transforms_train.json and so on (NeRF-synthetic, D-NeRF).

Intrinsics are those of the size that the file states, while pictures may be smaller (DL3DV's images_4); where it states none, the size is
that of the pictures. Listed frames that do not exist are left out and named. Lens distortion is taken out of the pictures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import Pictures, ReaderError, camera_files, invalid_poses, posed_images, scenes_below, told
from video4spatial.cameras import CameraFileError
from video4spatial.cameras.formats import CameraFile, Stated, transforms_json
from video4spatial.cameras.formats.reading import read_json
from video4spatial.captures import Capture
from video4spatial.media import image_paths
from video4spatial.media.picture_names import find_file
from video4spatial.media.undistortion import Undistortion
from video4spatial.naming import natural_key, some

DESCRIPTION = "folder with transforms.json (or transforms_train.json ...) and its images (nerfstudio, instant-ngp, DL3DV, Blender)"
FILE = "transforms.json"
OTHERS = "transforms_*.json"
SPLITS = ("transforms_train", "transforms_val", "transforms_test")
SUFFIXES = ("", ".png", ".jpg", ".jpeg")
PLACES = ("images", "images_2", "images_4", "images_8")
"""Where pictures may lie that are not where they are listed: as they were, or smaller."""
OF_THE_FILE = ("camera_convention", "metric")
"""Keys of a header that hold for all frames together."""


def find(source: str) -> list[str]:
    """Scenes at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), lambda folder: bool(_files(folder)))]


def read(scene: str, frame_rate: float = 4.0, licence: str = "unknown") -> Capture:
    """A scene, its frames ordered by time or file name. Several files (train, val, test) are one capture.

    Args:
        scene: folder.
        frame_rate: the file knows no times (unless ours wrote it); images are taken to follow each other at this rate.
        licence: of the data, which the file does not state (DL3DV: CC-BY-NC-4.0).
    """
    folder = Path(scene)
    files = _files(folder)
    if not files:
        raise ReaderError(f"{folder}: neither {FILE} nor {OTHERS}")
    content = _content(files)
    frames = content["frames"]
    left_out: dict[str, list[str]] = {}
    kept: dict[str, tuple[dict, Path]] = {}
    listed: set[Path | None] = set()
    lost = invalid_poses(_matrices(files[0], frames))
    for number, (frame, invalid) in enumerate(zip(frames, lost)):
        name = str(frame.get("file_path") or "")
        picture = _picture(folder, name)
        name = name or f"frame {number} without a file_path"
        listed.add(picture)
        if picture is None or invalid:
            left_out.setdefault("image_missing" if picture is None else "pose_invalid", []).append(name)
        elif name in kept:
            raise ReaderError(f"{files[0]}: {name} is listed twice")
        else:
            kept[name] = frame, picture
    if not kept:
        raise ReaderError(f"{files[0]}: none of its {len(frames)} frames has an image and a pose: {told(left_out)}")
    chosen = {**content, "frames": [frame for frame, _ in kept.values()]}
    paths = [picture for _, picture in kept.values()]

    def cameras_of(size: tuple[int, int]) -> CameraFile:
        unsized = [name for name, (frame, _) in kept.items() if "fl_x" in frame and "w" not in frame]
        if any(_listed(folder, name) is None and kept[name][1].parent.name != PLACES[0] for name in unsized):
            raise CameraFileError(
                f"{files[0]}: gives focal lengths in pixels but not w and h, and of the pictures only smaller copies are there "
                f"({paths[0].parent.name}): give the pictures themselves, or w and h"
            )
        return transforms_json.cameras_of(files[0], chosen, Stated(image_size=size)).resized(*size)

    video, file, notes = posed_images(paths, frame_rate, cameras_of)
    if len(files) > 1 and file.cameras.times is None:
        file = file.chosen(_order(file.image_names, [str(entry["file_path"]) for entry in chosen["frames"]]))
    with camera_files():
        undistortion = Undistortion.of(file.lenses)
    places = {name: place for place, name in enumerate(kept)}
    times = file.cameras.times
    if times is None:
        times = torch.from_numpy(np.array(video.times[: len(file.cameras)]))
    lacking = [path.name for place in dict.fromkeys(path.parent for path in paths) for path in image_paths(place) if path not in listed]
    if lacking:
        left_out["no_camera"] = lacking
    unread = [path.name for path in _others(folder) if path not in files]
    if unread:
        notes.append(f"{some(path.name for path in files)} is read, and beside it {some(unread)} not")
    return Capture(
        name=folder.name,
        frame_count=len(file.cameras),
        height=video.height,
        width=video.width,
        times=times.numpy(),
        read_frames=Pictures(video, tuple(places[name] for name in file.image_names), undistortion),
        cameras=replace(file.cameras, times=times),
        licence=licence,
        provenance={
            "reader": "transforms", "source": str(folder), "convention": file.cameras.convention, "left_out": left_out, "notes": notes,
        },
    )  # fmt: skip


def _files(folder: Path) -> list[Path]:
    """transforms.json, else those of the splits, training first, else the first of another name."""
    if (folder / FILE).is_file():
        return [folder / FILE]
    found = _others(folder)
    return [path for path in found if path.stem in SPLITS] or found[:1]


def _others(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(OTHERS) if transforms_json.sniff(path)] if folder.is_dir() else []
    places = {name: place for place, name in enumerate(SPLITS)}
    return sorted(found, key=lambda path: (places.get(path.stem, len(places)), path.name))


def _content(files: list[Path]) -> dict:
    """The frames of all files, each with the header of its own file."""
    joined: dict = {"frames": []}
    for number, path in enumerate(files):
        try:
            content = read_json(path)
            frames = content["frames"]
            if not frames:
                raise ValueError("its list is empty")
            header = {key: value for key, value in content.items() if key != "frames"}
            joined["frames"] += [{**header, **frame} for frame in frames]
        except (CameraFileError, OSError, KeyError, TypeError, ValueError) as error:
            raise ReaderError(f"{path}: no frames with a transform_matrix each ({error})") from error
        of_the_file = {key: header[key] for key in OF_THE_FILE if key in header}
        if number and of_the_file != {key: joined[key] for key in OF_THE_FILE if key in joined}:
            raise ReaderError(f"{path}: {' or '.join(OF_THE_FILE)} is not that of {files[0].name}")
        joined |= of_the_file
    return joined


def _matrices(path: Path, frames: list[dict]) -> np.ndarray:
    try:
        return np.array([np.vstack([frame["transform_matrix"], [0, 0, 0, 1]])[:4] for frame in frames], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ReaderError(f"{path}: no frames with a transform_matrix each ({error})") from error


def _picture(folder: Path, name: str) -> Path | None:
    """The file of a frame: as listed, or in a folder of smaller copies."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    places = (name, *(f"{place}/{last}" for place in PLACES)) if last else ()
    return next((path for place in places if (path := _listed(folder, place)) is not None), None)


def _listed(folder: Path, name: str) -> Path | None:
    """The file of a name in whatever spelling, with an ending added where it has none."""
    candidates = (find_file(folder, f"{name}{suffix}") for suffix in SUFFIXES)
    return next((candidate for candidate in candidates if candidate is not None), None)


def _order(names: tuple[str, ...], listed: list[str]) -> list[int]:
    """The order of frames of several files: one recording shared out among them where its numbers go on, else file after file."""
    last = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in names]
    if len({*last}) == len(last):
        return sorted(range(len(names)), key=lambda index: natural_key(last[index]))
    return sorted(range(len(names)), key=lambda index: listed.index(names[index]))

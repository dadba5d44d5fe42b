"""Scenes with a transforms.json: nerfstudio, instant-ngp, DL3DV.

Intrinsics are those of the size that the file states, while pictures may be smaller (DL3DV's images_4): the size is read from the
pictures. Listed frames that do not exist are left out and named. Lens distortion (OPENCV) is taken out of the pictures.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import Pictures, ReaderError, Undistortion, camera_files, images, invalid_poses, scenes_below
from video4spatial.cameras import CameraFileError, Cameras
from video4spatial.cameras.formats import transforms_json
from video4spatial.cameras.formats.colmap import Lens
from video4spatial.cameras.formats.reading import read_json
from video4spatial.captures import Capture

DESCRIPTION = "folder with transforms.json and its images (nerfstudio, instant-ngp, DL3DV)"
FILE = "transforms.json"
DISTORTION = ("k1", "k2", "p1", "p2")
SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".JPG", ".PNG")
SMALLER = ("images_2", "images_4", "images_8", "images")


def find(source: str) -> list[str]:
    """Scenes at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), lambda folder: (folder / FILE).is_file())]


def read(scene: str, frame_rate: float = 4.0, licence: str = "unknown") -> Capture:
    """A scene, its frames ordered by file name.

    Args:
        scene: folder.
        frame_rate: the file knows no times (unless ours wrote it); images are taken to follow each other at this rate.
        licence: of the data, which the file does not state (DL3DV: CC-BY-NC-4.0).
    """
    folder = Path(scene)
    path = folder / FILE
    try:
        content = read_json(path)
        frames = content["frames"]
        if not frames:
            raise ValueError("its list is empty")
        matrices = np.array([np.vstack([frame["transform_matrix"], [0, 0, 0, 1]])[:4] for frame in frames], np.float64)
    except (CameraFileError, OSError, KeyError, TypeError, ValueError) as error:
        raise ReaderError(f"{path}: no frames with a transform_matrix each ({error})") from error
    left_out: dict[str, list[str]] = {}
    kept: list[tuple[str, int, Path]] = []
    lost = invalid_poses(matrices)
    for index, frame in enumerate(frames):
        name = str(frame.get("file_path", ""))
        picture = _picture(folder, name)
        reason = "image_missing" if picture is None else "pose_invalid" if lost[index] else None
        if reason is None:
            kept.append((name, index, picture))
        else:
            left_out.setdefault(reason, []).append(name)
    if not kept:
        raise ReaderError(f"{path}: none of its {len(frames)} frames has an image and a pose ({left_out})")
    kept.sort(key=lambda entry: [int(p) if p.isdigit() else p for p in _parts(entry[0])])
    order = [index for _, index, _ in kept]
    chosen = [frames[index] for index in order]
    with camera_files():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*lens distortion is ignored.*")  # it is taken out below
            cameras = transforms_json.cameras_of(path, {**content, "frames": chosen})
    video = images([picture for *_, picture in kept], frame_rate)
    undistortion = _undistortion(path, content, chosen, cameras, video.height, video.width)
    times = video.times if cameras.times is None else cameras.times.numpy()
    return Capture(
        name=folder.name,
        frame_count=len(kept),
        height=video.height,
        width=video.width,
        times=np.asarray(times),
        read_frames=Pictures(video, tuple(range(len(kept))), undistortion),
        cameras=replace(cameras, times=torch.from_numpy(np.array(times))),
        licence=licence,
        provenance={
            "reader": "transforms", "source": str(folder), "convention": cameras.convention, "left_out": left_out,
        },
    )  # fmt: skip


def _picture(folder: Path, name: str) -> Path | None:
    """The file of a frame: as listed, with an ending added, or in a folder of smaller copies."""
    if not name:
        return None
    listed = Path(name)
    places = [listed, *(Path(smaller) / listed.name for smaller in SMALLER)]
    candidates = (folder / f"{place}{suffix}" for place in places for suffix in SUFFIXES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def _undistortion(
    path: Path, content: dict, frames: list[dict], cameras: Cameras, height: int, width: int
) -> Undistortion | None:
    """What takes the lens distortion out of pictures of a size, or None for a lens without."""
    lenses = {tuple(float({**content, **frame}.get(key) or 0) for key in DISTORTION) for frame in frames}
    if lenses == {(0.0,) * len(DISTORTION)}:
        return None
    same = bool((cameras.intrinsics == cameras.intrinsics[:1]).all())
    if len(lenses) > 1 or not same:
        raise ReaderError(f"{path}: frames of several distorted lenses; expected one per capture")
    k = cameras.intrinsics[0]
    pinhole = (float(k[0, 0]) * width, float(k[1, 1]) * height, float(k[0, 2]) * width, float(k[1, 2]) * height)
    return Undistortion(Lens("OPENCV", width, height, (*pinhole, *lenses.pop())))

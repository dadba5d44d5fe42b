"""Folders of `images/`, `poses.txt` and `K.txt`, as deep-video-mvs lays captures out (HoloLens and others).

Each line of `poses.txt` is a row-major 4x4 camera-to-world matrix with OpenCV axes in metres, one per image in order of names; lost
frames hold infinities or NaN and are left out (see `cameras/formats/matrices.py`). `K.txt` is 3x3 in pixels of the images; `depth/` has
millimetres under the images' names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import DepthImages, Pictures, ReaderError, camera_files, invalid_poses, posed_images, scenes_below
from video4spatial.cameras import Cameras
from video4spatial.cameras.formats import Stated, matrices
from video4spatial.cameras.formats.reading import normalised_intrinsics, rigid_poses
from video4spatial.captures import Capture
from video4spatial.media import image_paths

DESCRIPTION = "folder with images/, poses.txt (a 4x4 matrix per line) and K.txt (deep-video-mvs)"


def find(source: str) -> list[str]:
    """Captures at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), _is_scene)]


def read(scene: str, frame_rate: float = 4.0, licence: str = "unknown") -> Capture:
    """A capture.

    Args:
        scene: folder.
        frame_rate: the layout knows no times; images are taken to follow each other at this rate.
        licence: of the data.
    """
    folder = Path(scene)
    if not _is_scene(folder):
        raise ReaderError(f"{folder}: expected images/, poses.txt and K.txt")
    paths = image_paths(folder / "images")
    with camera_files():
        _, poses = matrices.named_matrices(folder / matrices.TABLE)
        k = torch.from_numpy(matrices.read_intrinsics(folder / "K.txt"))[None]
    if len(poses) != len(paths):
        raise ReaderError(f"{folder / matrices.TABLE}: {len(poses)} poses for {len(paths)} pictures in images/, expected one for each")
    lost = invalid_poses(poses)
    kept = [index for index in range(len(paths)) if not lost[index]]
    if not kept:
        raise ReaderError(f"{folder / 'poses.txt'}: none of the {len(paths)} poses is usable")
    video, intrinsics, notes = posed_images(
        [paths[index] for index in kept],
        frame_rate,
        lambda size: normalised_intrinsics(folder / "K.txt", k, None, Stated(image_size=size))[0][0],
    )
    times = np.array(kept) / frame_rate
    usable = torch.from_numpy(poses[kept])
    depth = [folder / "depth" / f"{paths[index].stem}.png" for index in kept]
    depth = [path if path.is_file() else None for path in depth]
    return Capture(
        name=folder.name,
        frame_count=len(kept),
        height=video.height,
        width=video.width,
        times=times - times[0],
        read_frames=Pictures(video, tuple(range(len(kept)))),
        cameras=Cameras(
            rigid_poses(usable[:, :3, :3], usable[:, :3, 3]), intrinsics, metric=True, times=torch.from_numpy(times - times[0])
        ),
        read_depth=DepthImages(tuple(depth), (video.height, video.width)) if any(depth) else None,
        licence=licence,
        provenance={
            "reader": "pose_table", "source": str(folder), "convention": "poses.txt: OpenCV camera-to-world",
            "left_out": {"pose_invalid": [paths[i].name for i in range(len(paths)) if lost[i]]} if lost.any() else {},
            "notes": notes,
        },
    )  # fmt: skip


def _is_scene(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "poses.txt").is_file() and (folder / "K.txt").is_file()

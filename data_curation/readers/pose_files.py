"""Folders of `frame-000000.color.png`, `.depth.png` and `.pose.txt`, as 7-Scenes and the Princeton captures have them.

Each pose file holds a 4x4 camera-to-world matrix with OpenCV axes in metres; lost tracking is written as infinities or NaN, and
such frames are left out. A `intrinsics.K.txt` or `camera-intrinsics.txt` in the folder or above it gives the 3x3 intrinsics in
pixels of the pictures; without one, those that 7-Scenes states are used. Depth is in millimetres, 65535 unknown.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import (
    DepthImages,
    Pictures,
    ReaderError,
    camera_files,
    invalid_poses,
    posed_images,
    scene_name,
    scenes_below,
    told,
)
from video4spatial.cameras import CameraFileError, Cameras
from video4spatial.cameras.formats import Stated, matrices
from video4spatial.cameras.formats.reading import normalised_intrinsics, rigid_poses
from video4spatial.captures import Capture
from video4spatial.media.image_folder import IMAGE_SUFFIXES

DESCRIPTION = "folder of frame-*.pose.txt with colour and mostly depth pictures (7-Scenes and alike)"
SEVEN_SCENES = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])  # of 640 x 480, as its page states


def find(source: str) -> list[str]:
    """Sequences at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), lambda folder: any(folder.glob(f"frame-*{matrices.POSE}")))]


def read(scene: str, frame_rate: float = 30.0, licence: str = "unknown") -> Capture:
    """A sequence.

    Args:
        scene: folder.
        frame_rate: of the recording; frame numbers give the times, so that gaps stay gaps.
        licence: of the data (7-Scenes: non-commercial).
    """
    folder = Path(scene)
    left_out: dict[str, list[str]] = {}
    kept = []
    with camera_files():
        stems, poses = matrices.named_matrices(folder)
    for stem, pose in zip(stems, poses):
        picture = next(
            (p for suffix in IMAGE_SUFFIXES for p in (folder / f"{stem}.color{suffix}", folder / f"{stem}.rgb{suffix}")
             if p.is_file()), None,
        )  # fmt: skip
        if picture is None:
            left_out.setdefault("image_missing", []).append(stem)
        elif invalid_poses(pose[None])[0]:
            left_out.setdefault("pose_invalid", []).append(stem)
        else:
            kept.append((int(re.findall(r"\d+", stem)[-1]), stem, picture, pose))
    if not kept:
        raise ReaderError(f"{folder}: none of its {len(stems)} poses has a picture and is usable: {told(left_out)}")
    video, (intrinsics, source), notes = posed_images(
        [picture for *_, picture, _ in kept], frame_rate, lambda size: _intrinsics(folder, size)
    )
    times = np.array([number for number, *_ in kept]) / frame_rate
    depth = [folder / f"{stem}.depth.png" for _, stem, *_ in kept]
    depth = [path if path.is_file() else None for path in depth]
    usable = torch.from_numpy(np.stack([pose for *_, pose in kept]))
    return Capture(
        name=scene_name(folder),
        frame_count=len(kept),
        height=video.height,
        width=video.width,
        times=times - times[0],
        read_frames=Pictures(video, tuple(range(len(kept)))),
        cameras=Cameras(
            rigid_poses(usable[:, :3, :3], usable[:, :3, 3]), intrinsics, metric=True, times=torch.from_numpy(times - times[0])
        ),
        read_depth=DepthImages(tuple(depth), (video.height, video.width)) if any(depth) else None,
        space=folder.parent.name if folder.name.startswith("seq-") else scene_name(folder),
        licence=licence,
        provenance={
            "reader": "seven_scenes", "source": str(folder), "left_out": left_out, "notes": notes,
            "convention": f"pose files: OpenCV camera-to-world, intrinsics {source}",
        },
    )  # fmt: skip


def _intrinsics(folder: Path, size: tuple[int, int]) -> tuple[torch.Tensor, str]:
    """Normalised intrinsics [3, 3] for pictures of a (height, width), and where they came from."""
    path = matrices.intrinsics_beside(folder)
    if path is not None:
        matrix, source = matrices.read_intrinsics(path), f"from {path.name}"
    elif size == (480, 640):
        matrix, source = SEVEN_SCENES, "of 7-Scenes"
    else:
        names = " or ".join(matrices.INTRINSICS[:3])
        raise CameraFileError(f"{folder}: no {names}, and pictures of {size[1]}x{size[0]} are not those of 7-Scenes")
    return normalised_intrinsics(path or folder, torch.from_numpy(matrix)[None], None, Stated(image_size=size))[0][0], source

"""camera_path.json of nerfstudio's viewer: what a person drew to be rendered.

Each entry of `camera_path` has a `camera_to_world` of 16 numbers, row by row, with OpenGL axes, a vertical `fov` in degrees and an
`aspect`; `fps` gives the times. Lengths are those of the scene it was drawn in.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import (
    WRONG_VALUES,
    CameraFileError,
    json_text,
    pixel_size,
    raise_problems,
    read_json,
    rigid_poses,
)
from video4spatial.cameras.formats.transforms_json import OPENGL_TO_OPENCV

DESCRIPTION = 'JSON with "camera_path", each with 16 numbers of "camera_to_world", a vertical "fov" and "aspect" (nerfstudio)'
SUFFIXES: tuple[str, ...] = ()
DEFAULT_FRAME_RATE = 24.0


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object whose text names camera_path and camera_to_world."""
    text = json_text(path)
    return '"camera_path"' in text and '"camera_to_world"' in text


def read(path: Path, stated: Stated) -> CameraFile:
    """Read camera_path.json from `path`. It holds its own field of view: what is `stated` is not used."""
    content = read_json(path)
    entries = content.get("camera_path") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise CameraFileError(f'{path}: expected an object with a list "camera_path" of at least one camera')
    kind = content.get("camera_type", "perspective")
    if kind != "perspective":
        raise CameraFileError(f"{path}: camera_type {kind!r} is not a pinhole: expected perspective")
    poses, intrinsics, problems = [], [], []
    for index, entry in enumerate(entries):
        try:
            poses.append(torch.tensor(entry["camera_to_world"], dtype=torch.float64).reshape(4, 4))
            intrinsics.append(_intrinsics(entry, content))
        except WRONG_VALUES as error:
            problems.append(f"camera {index}: expected 16 numbers of camera_to_world, fov and aspect ({error})")
    raise_problems(path, problems)
    matrices = torch.stack(poses)
    rate = content.get("fps")
    times = None
    if isinstance(rate, (int, float)) and rate > 0:
        times = torch.arange(len(poses), dtype=torch.float64) / rate
    cameras = Cameras(
        rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3]) @ OPENGL_TO_OPENCV,
        torch.stack(intrinsics),
        metric=False,
        times=times,
        convention="camera_path.json: OpenGL camera-to-world, vertical field of view",
    )
    return CameraFile(cameras)


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` to `path`, rendered at `image_size`. The frame rate follows from the times (24 where there are none)."""
    intrinsics = cameras.intrinsics
    if (intrinsics[:, :2, 2] - 0.5).abs().max() > 1e-9 or (intrinsics[:, 0, 1] != 0).any():
        raise CameraError("camera_path.json holds a field of view alone: the principal point must be the middle")
    height, width = pixel_size(cameras, image_size)
    rate = DEFAULT_FRAME_RATE
    if cameras.times is not None and len(cameras.times) > 1:
        steps = cameras.times.diff()
        rate = 1 / float(steps.mean())
        if (steps - steps.mean()).abs().max() > 1e-6 or abs(float(cameras.times[0])) > 1e-9:
            warnings.warn("camera_path.json holds a frame rate alone: the times are made even", stacklevel=4)
    entries = [
        {
            "camera_to_world": pose.flatten().tolist(),
            "fov": math.degrees(2 * math.atan(0.5 / float(k[1, 1]))),
            "aspect": float(k[1, 1] / k[0, 0]),
        }
        for pose, k in zip(cameras.camera_to_world @ OPENGL_TO_OPENCV, intrinsics)
    ]
    content = {
        "camera_type": "perspective", "render_height": height, "render_width": width, "fps": rate,
        "seconds": len(entries) / rate, "camera_path": entries,
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _intrinsics(entry: dict[str, Any], content: dict[str, Any]) -> torch.Tensor:
    """Normalised intrinsics [3, 3] of a vertical field of view; where the entry has no aspect, the file's render size gives it."""
    fov = float(entry["fov"])
    aspect = entry.get("aspect") or content["render_width"] / content["render_height"]
    if not (0 < fov < 180 and math.isfinite(aspect) and aspect > 0):
        raise ValueError(f"fov {fov} and aspect {aspect}")
    focal = 0.5 / math.tan(math.radians(fov) / 2)
    return torch.tensor([[focal / aspect, 0, 0.5], [0, focal, 0.5], [0, 0, 1]], dtype=torch.float64)

"""transforms.json of nerfstudio and instant-ngp, which is also our own format.

Each frame has a 4x4 camera-to-world `transform_matrix` with OpenGL axes (x right, y up, z backward) unless the file
says `"camera_convention": "opencv"`. Intrinsics are in pixels (`fl_x fl_y cx cy w h`, for all frames or per frame) or a
`camera_angle_x` in radians. We add `time` in seconds per frame and `metric` for the file, which others ignore.
An `applied_transform` only says how the world was turned before writing; the world is kept as the matrices have it.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.intrinsics import intrinsics_from_fov

DESCRIPTION = 'JSON with "frames", each with a 4x4 camera-to-world "transform_matrix" (nerfstudio, instant-ngp, ours)'
SUFFIXES = (".json",)
NAMES_IMAGES = True
# Multiplying by this from the right turns OpenGL camera axes into OpenCV ones, and back.
OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
DISTORTION_KEYS = ("k1", "k2", "k3", "k4", "p1", "p2")


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object whose text names transform_matrix.

    The whole text is searched, since the frames may stand behind a long header.
    """
    return '"transform_matrix"' in reading.json_text(path)


def read(path: Path, fov_degrees: float | None, aspect: float | None) -> Cameras:
    """Read transforms.json from `path`; `fov_degrees` and `aspect` count only for what the file does not say."""
    return cameras_of(path, reading.read_json(path), fov_degrees, aspect)


def cameras_of(path: Path, content: Any, fov_degrees: float | None = None, aspect: float | None = None) -> Cameras:
    """Cameras of the content of a transforms.json, for readers that leave some of its frames out.

    Args:
        path: for messages.
        content: the object that the file holds.
        fov_degrees, aspect: as in `read`.

    Raises:
        CameraFileError: for content that is not cameras.
    """
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise CameraFileError(f'{path}: expected an object with a list "frames" of at least one frame')
    model = content.get("camera_model", "OPENCV")
    if model not in PINHOLE_MODELS:
        raise CameraFileError(f"{path}: camera_model {model!r} is not a pinhole: undistort the pictures first")
    convention = str(content.get("camera_convention", "opengl")).lower()
    if convention not in ("opengl", "opencv"):
        raise CameraFileError(f'{path}: "camera_convention" is {convention!r}, expected "opengl" or "opencv"')
    matrices = _matrices(path, frames)
    camera_to_world = reading.rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3])
    # Kept as given, for Cameras to refuse where it is not 0 0 0 1.
    camera_to_world[:, 3] = matrices[:, 3]
    if convention == "opengl":
        camera_to_world = camera_to_world @ OPENGL_TO_OPENCV
    merged = [{**content, **frame} for frame in frames]
    reading.warn_distortion(path, any(frame.get(key) for frame in merged for key in DISTORTION_KEYS))
    intrinsics, source = _intrinsics(path, merged, fov_degrees, aspect)
    timed = all(isinstance(frame.get("time"), (int, float)) for frame in frames)
    name = {"opengl": "OpenGL", "opencv": "OpenCV"}[convention]
    return Cameras(
        camera_to_world,
        intrinsics,
        metric=content.get("metric") is True,
        times=torch.tensor([float(frame["time"]) for frame in frames], dtype=torch.float64) if timed else None,
        convention=f"transforms.json: {name} camera-to-world, {source}",
    )


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None, image_names: list[str] | None = None) -> None:
    """Write `cameras` to `path` with OpenGL axes, as nerfstudio expects, in pixels of `image_size`, with the files of their pictures."""
    height, width = reading.pixel_size(cameras, image_size)
    pixels = cameras.pixel_intrinsics(height, width)
    if (pixels[:, 0, 1] != 0).any():
        raise CameraFileError("transforms.json cannot hold skewed intrinsics")
    described = [
        {"fl_x": k[0][0], "fl_y": k[1][1], "cx": k[0][2], "cy": k[1][2]} for k in pixels.tolist()
    ]
    shared = described[0] if all(entry == described[0] for entry in described) else {}
    frames: list[dict[str, Any]] = []
    for index, matrix in enumerate((cameras.camera_to_world @ OPENGL_TO_OPENCV).tolist()):
        frame: dict[str, Any] = {} if image_names is None else {"file_path": image_names[index]}
        frame |= {} if shared else described[index]
        if cameras.times is not None:
            frame["time"] = float(cameras.times[index])
        frames.append({**frame, "transform_matrix": matrix})
    header = {
        "camera_convention": "opengl", "metric": cameras.metric, "camera_model": "OPENCV", "w": width, "h": height,
        **shared,
    }
    # One frame per line: long enough to read, short enough to compare.
    lines = ",\n".join("  " + json.dumps(frame) for frame in frames)
    text = json.dumps(header, indent=1)[:-2] + f',\n "frames": [\n{lines}\n ]\n}}\n'
    path.write_text(text, encoding="utf-8")


def _matrices(path: Path, frames: list[dict[str, Any]]) -> Tensor:
    matrices, problems = [], []
    for index, frame in enumerate(frames):
        try:
            matrix = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
        except KeyError:
            problems.append(f'frame {index} has no "transform_matrix"')
            continue
        except (TypeError, ValueError):
            problems.append(f"frame {index}: transform_matrix holds something other than numbers")
            continue
        if matrix.shape == (3, 4):
            matrix = torch.cat([matrix, torch.tensor([[0, 0, 0, 1.0]], dtype=torch.float64)])
        if matrix.shape == (4, 4):
            matrices.append(matrix)
        else:
            problems.append(f"frame {index}: transform_matrix must be 4x4, given {list(matrix.shape)}")
    reading.raise_problems(path, problems)
    return torch.stack(matrices)


def _intrinsics(
    path: Path, frames: list[dict[str, Any]], fov_degrees: float | None, aspect: float | None
) -> tuple[Tensor, str]:
    """Intrinsics [N, 3, 3] of frames already merged with the header, and where they came from."""
    first = frames[0]
    if "fl_x" in first or "fl_y" in first:
        matrices = [_pixel_intrinsics(path, index, frame) for index, frame in enumerate(frames)]
        return torch.stack(matrices), "intrinsics in pixels"
    if "camera_angle_x" in first:
        matrices = [_angle_intrinsics(path, index, frame, aspect) for index, frame in enumerate(frames)]
        return torch.stack(matrices), "field of view as an angle"
    if "w" in first and "h" in first and aspect is None:
        aspect = float(first["w"]) / float(first["h"])
    return reading.assumed_intrinsics(path, fov_degrees, aspect)


def _pixel_intrinsics(path: Path, index: int, frame: dict[str, Any]) -> Tensor:
    values = _numbers(path, index, frame, ("fl_x", "fl_y", "cx", "cy", "w", "h"))
    missing = [key for key in ("w", "h") if key not in values]
    if missing:
        raise CameraFileError(f"{path}: frame {index} gives its focal length in pixels but not {' and '.join(missing)}")
    width, height = values["w"], values["h"]
    # One focal length means square pixels, as in instant-ngp.
    fl_x = values.get("fl_x", values.get("fl_y"))
    fl_y = values.get("fl_y", values.get("fl_x"))
    center = values.get("cx", width / 2) / width, values.get("cy", height / 2) / height
    return torch.tensor(
        [[fl_x / width, 0, center[0]], [0, fl_y / height, center[1]], [0, 0, 1]], dtype=torch.float64
    )


def _angle_intrinsics(path: Path, index: int, frame: dict[str, Any], aspect: float | None) -> Tensor:
    values = _numbers(path, index, frame, ("camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h"))
    if "w" in values and "h" in values:
        aspect = values["w"] / values["h"]
    if aspect is None and "camera_angle_y" not in values and index == 0:
        warnings.warn(
            f"{path} does not say the size of its pictures: they are taken to be square; give aspect otherwise",
            stacklevel=5,
        )
    intrinsics = intrinsics_from_fov(math.degrees(values["camera_angle_x"]), 1.0 if aspect is None else aspect)
    if "camera_angle_y" in values:
        intrinsics[1, 1] = 0.5 / math.tan(values["camera_angle_y"] / 2)
    if "w" in values and "cx" in values:
        intrinsics[0, 2] = values["cx"] / values["w"]
    if "h" in values and "cy" in values:
        intrinsics[1, 2] = values["cy"] / values["h"]
    return intrinsics


def _numbers(path: Path, index: int, frame: dict[str, Any], keys: tuple[str, ...]) -> dict[str, float]:
    values = {key: frame[key] for key in keys if key in frame}
    for key, value in values.items():
        positive = key not in ("cx", "cy")
        if not isinstance(value, (int, float)) or not math.isfinite(value) or (positive and value <= 0):
            wanted = "a positive number" if positive else "a number"
            raise CameraFileError(f'{path}: frame {index}: "{key}" is {value!r}, expected {wanted}')
    return values

"""transforms.json of nerfstudio and instant-ngp, which is also our own format.

Each frame has a 4x4 camera-to-world `transform_matrix` with OpenGL axes (x right, y up, z backward) unless the file says
`"camera_convention": "opencv"`. Intrinsics are in pixels (`fl_x fl_y cx cy w h`, for all frames or per frame) or a `camera_angle_x` in
radians; without w and h the size is that of the pictures. Lenses are nerfstudio's `camera_model` with `k1 k2 k3 p1 p2` (OpenCV's order),
`k1` to `k4` of OpenCV's fisheye (also instant-ngp's `is_fisheye`), and `k1` to `k6` of FULL_OPENCV, per frame where a frame has them.
We add `time` in seconds per frame and `metric` for the file, which others ignore; a `time` from 0 to 1 in a file without `metric` is a
share of the whole, as D-NeRF writes it. Frames are in order of time where they have one, else of their `file_path`. An
`applied_transform` only says how the world was turned before writing; the world is kept as the matrices have it.
"""

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.cameras.lenses import Lens
from video4spatial.naming import natural_key

DESCRIPTION = 'JSON with "frames", each with a 4x4 camera-to-world "transform_matrix" (nerfstudio, instant-ngp, ours)'
SUFFIXES = (".json",)
NAMES_IMAGES = True
# Multiplying by this from the right turns OpenGL camera axes into OpenCV ones, and back.
OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))
PERSPECTIVE_MODELS = ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE")
OTHER_LENSES = ("latlong", "equirectangular", "orthographic", "ftheta_p0")
"""Keys by which instant-ngp marks lenses that are no pinhole."""
ORDERS = {
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
}
"""Distortion as `Lens` orders it."""
COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s1", "s2", "s3", "s4", "b1", "b2")


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object whose text names transform_matrix.

    The whole text is searched, since the frames may stand behind a long header.
    """
    return '"transform_matrix"' in reading.json_text(path)


def read(path: Path, stated: Stated) -> CameraFile:
    """Read transforms.json from `path`; what is `stated` counts only for what the file does not say."""
    return cameras_of(path, reading.read_json(path), stated)


def cameras_of(path: Path, content: Any, stated: Stated = Stated()) -> CameraFile:
    """Cameras of the content of a transforms.json, for readers that leave some of its frames out.

    Args:
        path: for messages.
        content: the object that the file holds.
        stated: as in `read`.

    Raises:
        CameraFileError: for content that is not cameras.
    """
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise CameraFileError(f'{path}: expected an object with a list "frames" of at least one frame')
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
    models = [_model(path, index, frame) for index, frame in enumerate(merged)]
    if any(np.any(frame.get("rolling_shutter") or 0) for frame in merged):
        warnings.warn(f"{path}: the rolling shutter is not modelled: each picture is taken to be of one moment", stacklevel=4)
    intrinsics, source = _intrinsics(path, merged, stated)
    name = {"opengl": "OpenGL", "opencv": "OpenCV"}[convention]
    times, order = _times(path, content, frames, camera_to_world)
    cameras = Cameras(
        camera_to_world,
        intrinsics,
        metric=content.get("metric") is True,
        times=times,
        convention=f"transforms.json: {name} camera-to-world, {source}",
    )
    names = tuple(str(frame.get("file_path") or "") for frame in frames)
    file = CameraFile(cameras, names if all(names) else None, _lenses(path, merged, models, cameras, stated)).chosen(order)
    return file if times is None else replace(file, cameras=replace(file.cameras, times=reading.in_seconds(path, file.cameras.times)))


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


def _times(
    path: Path, content: dict[str, Any], frames: list[dict[str, Any]], poses: Tensor
) -> tuple[Tensor | None, list[int]]:
    """Seconds [N] of the frames, or None, and the order in which they follow each other."""
    given = [frame.get("time") for frame in frames]
    names = [str(frame.get("file_path") or "") for frame in frames]
    by_name = sorted(range(len(frames)), key=lambda index: natural_key(names[index])) if all(names) else list(range(len(frames)))
    if not all(isinstance(time, (int, float)) and math.isfinite(time) for time in given):
        return None, by_name
    times = torch.tensor([float(time) for time in given], dtype=torch.float64)
    if "metric" in content or not ((times >= 0) & (times <= 1)).all():
        return times, reading.order_in_time(path, times, poses, [f"frame {index}" for index in range(len(frames))])
    warnings.warn(
        f'{path}: "time" from 0 to 1 is taken for a share of the whole, not seconds (a file in which it is seconds says "metric")',
        stacklevel=4,
    )
    alike = len(times.unique()) < len(times)
    return None, by_name if alike else torch.argsort(times).tolist()


def _model(path: Path, index: int, frame: dict[str, Any]) -> str:
    """The lens of a frame merged with the header: a name in `ORDERS`."""
    other = next((key for key in OTHER_LENSES if frame.get(key) not in (None, False)), None)
    model = str(frame.get("camera_model") or "OPENCV").upper()
    if other is not None or model not in PERSPECTIVE_MODELS + FISHEYE_MODELS:
        what = f'"{other}"' if other is not None else f"camera_model {model!r}"
        raise CameraFileError(f"{path}: frame {index}: {what} is not a pinhole or fisheye that is known: undistort the pictures first")
    fisheye = frame.get("is_fisheye") is True or model in FISHEYE_MODELS
    kind = "OPENCV_FISHEYE" if fisheye else "FULL_OPENCV" if model == "FULL_OPENCV" else "OPENCV"
    given = {key for key, value in _numbers(path, index, frame, COEFFICIENTS).items() if value}
    # In nerfstudio k4 of a perspective lens multiplies r^8, in OpenCV it divides: without FULL_OPENCV nobody can tell which is meant.
    unknown = given - {*ORDERS[kind]} - ({"k3"} if kind == "OPENCV" else set())
    if unknown:
        raise CameraFileError(
            f"{path}: frame {index}: distortion {', '.join(sorted(unknown))} is not part of the lens {kind}: undistort the pictures first"
        )
    return "FULL_OPENCV" if kind == "OPENCV" and "k3" in given else kind


def _lenses(
    path: Path, frames: list[dict[str, Any]], models: list[str], cameras: Cameras, stated: Stated
) -> tuple[Lens, ...] | None:
    """The lens of each frame, in pixels of the size that it states, else of the pictures; None for pinholes of unknown size."""
    sized = stated.image_size is not None or all("w" in frame and "h" in frame for frame in frames)
    if not sized and set(models) == {"OPENCV"} and not any(frame.get(key) for frame in frames for key in ORDERS["OPENCV"]):
        return None
    lenses = []
    for index, (frame, model, k) in enumerate(zip(frames, models, cameras.intrinsics)):
        values = _numbers(path, index, frame, ("w", "h", *ORDERS[model]))
        height, width = reading.pixel_size(cameras, stated.image_size)
        height, width = round(values.get("h", height)), round(values.get("w", width))
        lenses.append(Lens.of_pinhole(model, k, height, width, [values.get(key, 0.0) for key in ORDERS[model]]))
    return tuple(lenses)


def _intrinsics(path: Path, frames: list[dict[str, Any]], stated: Stated) -> tuple[Tensor, str]:
    """Intrinsics [N, 3, 3] of frames already merged with the header, and where they came from."""
    first = frames[0]
    if "fl_x" in first or "fl_y" in first:
        matrices = [_pixel_intrinsics(path, index, frame, stated) for index, frame in enumerate(frames)]
        return torch.stack(matrices), "intrinsics in pixels"
    if "camera_angle_x" in first:
        matrices = [_angle_intrinsics(path, index, frame, stated) for index, frame in enumerate(frames)]
        return torch.stack(matrices), "field of view as an angle"
    if stated.shape is None and "w" in first and "h" in first:
        values = _numbers(path, 0, first, ("w", "h"))
        stated = replace(stated, aspect=values["w"] / values["h"])
    return reading.assumed_intrinsics(path, stated)


def _pixel_intrinsics(path: Path, index: int, frame: dict[str, Any], stated: Stated) -> Tensor:
    values = _numbers(path, index, frame, ("fl_x", "fl_y", "cx", "cy", "w", "h"))
    missing = [key for key in ("w", "h") if key not in values]
    if missing and stated.image_size is None:
        raise CameraFileError(
            f"{path}: frame {index} gives its focal length in pixels but not {' and '.join(missing)}, and no pictures tell their size"
        )
    if missing:
        values = {"h": float(stated.image_size[0]), "w": float(stated.image_size[1])} | values
        if "cx" in values and "cy" in values:
            reading.check_principal_point(path, [values["cx"], values["cy"]], (values["h"], values["w"]))
    width, height = values["w"], values["h"]
    # One focal length means square pixels, as in instant-ngp.
    fl_x = values.get("fl_x", values.get("fl_y"))
    fl_y = values.get("fl_y", values.get("fl_x"))
    center = values.get("cx", width / 2) / width, values.get("cy", height / 2) / height
    return torch.tensor(
        [[fl_x / width, 0, center[0]], [0, fl_y / height, center[1]], [0, 0, 1]], dtype=torch.float64
    )


def _angle_intrinsics(path: Path, index: int, frame: dict[str, Any], stated: Stated) -> Tensor:
    values = _numbers(path, index, frame, ("camera_angle_x", "camera_angle_y", "cx", "cy", "w", "h"))
    aspect = values["w"] / values["h"] if "w" in values and "h" in values else stated.shape
    if aspect is None and "camera_angle_y" not in values and index == 0:
        warnings.warn(
            f"{path} does not say the size of its pictures: they are taken to be square (`aspect` says otherwise)",
            stacklevel=5,
        )
    if stated.image_size is not None:
        values = {"h": float(stated.image_size[0]), "w": float(stated.image_size[1])} | values
    intrinsics = intrinsics_from_fov(math.degrees(values["camera_angle_x"]), 1.0 if aspect is None else aspect)
    if "camera_angle_y" in values:
        intrinsics[1, 1] = 0.5 / math.tan(values["camera_angle_y"] / 2)
    if "w" in values and "cx" in values:
        intrinsics[0, 2] = values["cx"] / values["w"]
    if "h" in values and "cy" in values:
        intrinsics[1, 2] = values["cy"] / values["h"]
    return intrinsics


def _numbers(path: Path, index: int, frame: dict[str, Any], keys: tuple[str, ...]) -> dict[str, float]:
    values = {key: frame[key] for key in keys if key in frame and not (key in COEFFICIENTS and frame[key] is None)}
    for key, value in values.items():
        positive = key not in ("cx", "cy", *COEFFICIENTS)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or (positive and value <= 0):
            wanted = "a positive number" if positive else "a number"
            raise CameraFileError(f'{path}: frame {index}: "{key}" is {value!r}, expected {wanted}')
    return values

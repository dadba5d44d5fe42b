"""Camera paths through keyframes, given in Python or as a small YAML or JSON file.

    keyframes:
      - {time: 0}
      - {time: 2, position: [0, 0, 1.0], look_at: [1, 0, 3]}
      - {time: 4, position: [0.5, 0, 1.5], look_at: [1, 0, 3]}

Coordinates are the anchor's (metres; x right, y down, z forward). A keyframe holds `time` in seconds and either a 4x4
`camera_to_world`, or a `position` (default 0 0 0) with a `look_at` point (default: straight ahead along z).
"""

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import FORMATS
from video4spatial.cameras.formats.reading import CameraFileError, first_lines, json_text, raise_problems
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.parsing import parse_yaml

KEYS = ("time", "position", "look_at", "camera_to_world")


def from_keyframes(
    keyframes: Sequence[tuple[float, Cameras]], num_frames: int, frame_rate: float = 4.0
) -> Cameras:
    """Interpolate a path through cameras at given times: slerp of rotations, linear in position and intrinsics.

    Args:
        keyframes: at least two pairs of a time in seconds, increasing, and one camera (T = 1).
        num_frames: frames of the result, at least 2; they spread evenly from the first to the last keyframe.
        frame_rate: frames per second of the result. Where the keyframes' times span another duration than
            (num_frames - 1) / frame_rate, the path is stretched to it: only their ratios matter.

    Returns:
        Cameras [num_frames] in the world of the keyframes, with times from 0.

    Raises:
        CameraError: for fewer than two keyframes or frames, times that do not increase, or several cameras in one.
    """
    if len(keyframes) < 2 or num_frames < 2:
        raise CameraError(f"give at least 2 keyframes and 2 frames, given {len(keyframes)} and {num_frames}")
    for time, camera in keyframes:
        if len(camera) != 1 or camera.batch_shape != ():
            raise CameraError(f"the keyframe at {time:g} s must be one camera (T = 1), given {camera!r}")
    times = torch.tensor([float(time) for time, _ in keyframes], dtype=torch.float64)
    if not times.isfinite().all() or not (times.diff() > 0).all():
        raise CameraError(f"the times of keyframes must increase, given {times.tolist()}")
    joined = Cameras.concatenate([camera for _, camera in keyframes])
    timed = Cameras(joined.camera_to_world, joined.intrinsics, joined.metric, times, "keyframes")
    return spread_evenly(timed, num_frames).with_frame_rate(frame_rate)


def spread_evenly(cameras: Cameras, num_frames: int) -> Cameras:
    """Resample the path `cameras` to `num_frames`, evenly over its times where they increase, else over its frames."""
    times = cameras.times
    if times is None or len(cameras) < 2 or not (times.diff() > 0).all():
        return cameras.interpolated(num_frames)
    wanted = torch.lerp(times[0], times[-1], torch.linspace(0, 1, num_frames, dtype=torch.float64))
    return cameras.at_times(wanted.clamp(times[0], times[-1]))


def is_keyframe_file(path: Path) -> bool:
    """Whether `path` is YAML, or JSON with "keyframes" that is no camera file (nerfstudio's paths hold keyframes too)."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return True
    named = re.search(r"""^[\s{,]*["']?keyframes["']?\s*:""", "\n".join(first_lines(path, 100)), re.MULTILINE)
    return (bool(named) or '"keyframes"' in json_text(path)) and not any(module.sniff(path) for module in FORMATS.values())


def read_keyframes(path: str | PathLike, fov_degrees: float = 60.0, aspect: float = 1.0) -> Cameras:
    """Read a keyframe file (see the top of this module).

    Args:
        path: a YAML or JSON file.
        fov_degrees: horizontal field of view of the cameras.
        aspect: width / height of their pictures.

    Returns:
        Cameras [number of keyframes] with their times, metric.

    Raises:
        FileNotFoundError: where there is no such file.
        CameraFileError: for content that is not keyframes, naming every keyframe that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such keyframe file")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CameraFileError(f"{path}: not valid YAML or JSON ({error})") from error
    entries = content.get("keyframes") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(entries) < 2 or not all(isinstance(entry, dict) for entry in entries):
        raise CameraFileError(f"{path}: expected 'keyframes:' with a list of at least two, each with a time")
    poses, times, problems = [], [], []
    for index, entry in enumerate(entries):
        try:
            times.append(_time(entry))
            poses.append(_pose(entry))
        except CameraError as error:
            problems.append(f"keyframe {index}: {error}")
    if not problems and not all(second > first for first, second in zip(times, times[1:])):
        problems.append(f"times must increase, given {times}")
    raise_problems(path, problems)
    try:
        return Cameras(
            torch.stack(poses), intrinsics_from_fov(fov_degrees, aspect),
            times=torch.tensor(times, dtype=torch.float64), convention="keyframes: OpenCV camera-to-world",
        )
    except CameraError as error:
        raise CameraFileError(f"{path}: {error}") from error


def looking_at(position: Tensor, target: Tensor, up: Tensor) -> Tensor:
    """The level rotations [..., 3, 3] of cameras that look from positions to a target.

    Args:
        position: [..., 3].
        target: [3].
        up: [3] unit vertical.

    Raises:
        CameraError: where the target is at a position, or exactly above or below it.
    """
    forward = target - position
    distance = forward.norm(dim=-1, keepdim=True)
    if (distance < 1e-6).any():
        raise CameraError(f"the point {target.tolist()} is where the camera stands")
    forward = forward / distance
    right = torch.linalg.cross(forward, up.expand_as(forward))
    length = right.norm(dim=-1, keepdim=True)
    if (length < 1e-6).any():
        raise CameraError(f"the point {target.tolist()} is straight above or below the camera: move it a little")
    right = right / length
    return torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-1)


def _time(entry: dict[str, Any]) -> float:
    unknown = [str(key) for key in entry if key not in KEYS]
    if unknown:
        raise CameraError(f"unknown key {', '.join(unknown)}; known: {', '.join(KEYS)}")
    time = entry.get("time")
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        raise CameraError(f"time is {time!r}, expected seconds")
    return float(time)


def _pose(entry: dict[str, Any]) -> Tensor:
    if "camera_to_world" in entry:
        if "position" in entry or "look_at" in entry:
            raise CameraError("give either camera_to_world, or position and look_at")
        return _numbers(entry, "camera_to_world", (4, 4))
    pose = torch.eye(4, dtype=torch.float64)
    if "position" in entry:
        pose[:3, 3] = _numbers(entry, "position", (3,))
    if "look_at" in entry:
        vertical = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
        pose[:3, :3] = looking_at(pose[:3, 3], _numbers(entry, "look_at", (3,)), vertical)
    return pose


def _numbers(entry: dict[str, Any], key: str, shape: tuple[int, ...]) -> Tensor:
    try:
        values = torch.tensor(entry[key], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise CameraError(f"{key} holds something other than numbers") from error
    if values.shape != shape:
        raise CameraError(f"{key} must have the shape {list(shape)}, given {list(values.shape)}")
    if not values.isfinite().all():
        raise CameraError(f"{key} holds NaN or infinity")
    return values

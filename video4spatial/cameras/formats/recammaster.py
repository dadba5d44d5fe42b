"""Camera JSON of ReCamMaster and its MultiCamVideo data: `{"frame0": {"cam01": "[..] [..] [..] [..] ", ...}, ...}`.

Each string holds the rows of a 4x4 camera-to-world matrix for row vectors (transposed), with Unreal's axes: x forward, y right, z
up, left-handed, in centimetres. The world is made right-handed by turning y round; lengths become metres. There are no intrinsics.
"""

import json
import re
import warnings
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError

DESCRIPTION = 'JSON of "frame0", "frame1", ... with a matrix as text for each "cam01", ... (ReCamMaster, Unreal axes, cm)'
SUFFIXES: tuple[str, ...] = ()
# Unreal's forward, right, up as columns become OpenCV's right, down, forward; the left-handed world loses its handedness with y.
AXES = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]], dtype=torch.float64)
WORLD = torch.diag(torch.tensor([1.0, -1, 1], dtype=torch.float64))
CENTIMETRES = 100.0


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object that begins with a frame of named cameras."""
    return re.match(r'\{\s*"frame\d+"\s*:\s*\{\s*"cam\d+"\s*:\s*"', reading.json_text(path)) is not None


def read(path: Path, stated: Stated) -> CameraFile:
    """Read the first camera of `path`, with a warning that names the others; `read_all` reads them all.

    The file has no intrinsics: they follow from what is `stated`.
    """
    paths = _matrices(path)
    first, *others = paths
    if others:
        warnings.warn(f"{path} holds {len(paths)} cameras: {first} is read (the others: {', '.join(others)})", stacklevel=3)
    return CameraFile(_cameras(path, paths[first], stated))


def read_all(path: str | PathLike, fov_degrees: float | None = None, aspect: float | None = None) -> dict[str, Cameras]:
    """The path of every camera in a file.

    Args:
        path: the file.
        fov_degrees: horizontal field of view; 60 along the longer side with a warning if not given.
        aspect: width / height of the pictures; 1 if not given.

    Returns:
        {name: cameras [T]}.

    Raises:
        CameraFileError: for a file that cannot be read.
    """
    path = Path(path)
    stated = Stated(fov_degrees, aspect)
    return {name: _cameras(path, matrices, stated) for name, matrices in _matrices(path).items()}


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` to `path` as `cam01`; `image_size` is not used.

    Intrinsics and times are left out with a warning.
    """
    warnings.warn("ReCamMaster's JSON holds no intrinsics and no times: they are left out", stacklevel=4)
    content = {}
    for index, pose in enumerate(cameras.camera_to_world):
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] = WORLD @ pose[:3, :3] @ AXES.T
        matrix[:3, 3] = WORLD @ pose[:3, 3] * CENTIMETRES
        rows = matrix.T.tolist()
        content[f"frame{index}"] = {"cam01": " ".join("[" + " ".join(map(repr, row)) + "]" for row in rows) + " "}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _cameras(path: Path, matrices: Tensor, stated: Stated) -> Cameras:
    columns = matrices.mT
    rotations = WORLD @ columns[:, :3, :3] @ AXES
    intrinsics, source = reading.assumed_intrinsics(path, stated)
    return Cameras(
        reading.rigid_poses(rotations, columns[:, :3, 3] / CENTIMETRES @ WORLD),
        intrinsics,
        metric=True,
        convention=f"ReCamMaster: Unreal camera-to-world for row vectors, centimetres, {source}",
    )


def _matrices(path: Path) -> dict[str, Tensor]:
    """Matrices [N, 4, 4] as they stand in the file, by camera."""
    content = reading.read_json(path)
    if not isinstance(content, dict) or not content or not all(isinstance(frame, dict) for frame in content.values()):
        raise CameraFileError(f'{path}: expected {{"frame0": {{"cam01": "[..] [..] [..] [..]"}}, ...}}')
    problems: list[str] = []
    paths: dict[str, list[list[list[float]]]] = {}
    missing = [index for index in range(len(content)) if f"frame{index}" not in content]
    if missing:
        raise CameraFileError(f"{path}: frame{missing[0]} is missing: expected frame0 to frame{len(content) - 1}")
    names = sorted(content["frame0"])
    for index in range(len(content)):
        frame = content[f"frame{index}"]
        if sorted(frame) != names:
            problems.append(f"frame{index} has the cameras {', '.join(sorted(frame))}, frame0 has {', '.join(names)}")
            continue
        for name in names:
            rows = [reading.numbers_of(row) for row in re.findall(r"\[([^\]]*)\]", str(frame[name]))]
            if len(rows) != 4 or any(row is None or len(row) != 4 for row in rows):
                problems.append(f"frame{index}, {name}: expected four rows of four numbers in brackets")
            else:
                paths.setdefault(name, []).append(rows)
    reading.raise_problems(path, problems)
    return {name: torch.tensor(matrices, dtype=torch.float64) for name, matrices in paths.items()}

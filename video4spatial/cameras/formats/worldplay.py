"""Camera JSON of HY-WorldPlay: `{"0": {"extrinsic": 4x4, "K": 3x3}, "1": ...}`, one pose per latent (every fourth frame).

Its "extrinsic" is camera-to-world with OpenCV axes, against the usual meaning of the word. K is in pixels of a picture whose size
the file does not say; the published ones are 1920 x 1080.
"""

import json
import re
import warnings
from pathlib import Path

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError

DESCRIPTION = 'JSON of "0", "1", ... with "extrinsic" (camera-to-world) and "K" in pixels (HY-WorldPlay)'
SUFFIXES: tuple[str, ...] = ()
PUBLISHED_SIZE = (1080, 1920)


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object whose first entry is numbered and has an extrinsic or a K."""
    return re.match(r'\{\s*"\d+"\s*:\s*\{\s*"(extrinsic|K)"', reading.json_text(path)) is not None


def read(path: Path, stated: Stated) -> CameraFile:
    """Read WorldPlay's JSON from `path`. It holds its own intrinsics: of `stated`, only a size is used."""
    content = reading.read_json(path)
    if not isinstance(content, dict) or not content:
        raise CameraFileError(f'{path}: expected {{"0": {{"extrinsic": 4x4, "K": 3x3}}, ...}}')
    missing = [index for index in range(len(content)) if str(index) not in content]
    if missing:
        raise CameraFileError(f'{path}: "{missing[0]}" is missing: expected "0" to "{len(content) - 1}"')
    problems, poses, intrinsics = [], [], []
    for index in range(len(content)):
        entry = content[str(index)]
        for key, shape, found in (("extrinsic", (4, 4), poses), ("K", (3, 3), intrinsics)):
            try:
                matrix = torch.tensor(entry[key], dtype=torch.float64)
            except reading.WRONG_VALUES:
                problems.append(f'"{index}": "{key}" is missing or holds something other than numbers')
                continue
            if matrix.shape == shape:
                found.append(matrix)
            else:
                problems.append(f'"{index}": "{key}" must be {shape[0]}x{shape[1]}, given {list(matrix.shape)}')
    reading.raise_problems(path, problems)
    matrices, pixels = torch.stack(poses), torch.stack(intrinsics)
    # The middle of the picture tells its size wherever the principal point is in the middle; the published size is the exception
    # that needs no warning.
    middle = torch.tensor([PUBLISHED_SIZE[1] / 2, PUBLISHED_SIZE[0] / 2], dtype=torch.float64)
    published = bool(((pixels[:, :2, 2] - middle).abs() < 0.05 * middle).all())
    normalised, source, lenses = reading.normalised_intrinsics(path, pixels, PUBLISHED_SIZE if published else None, stated)
    cameras = Cameras(
        reading.rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3]),
        normalised,
        metric=False,
        convention=f"WorldPlay: OpenCV camera-to-world (named extrinsic), {source}",
    )
    return CameraFile(cameras, lenses=lenses)


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` to `path` for pictures of `image_size`, by default 1920 x 1080.

    Times are left out with a warning.
    """
    if cameras.times is not None:
        warnings.warn("WorldPlay's JSON holds no times: they are left out", stacklevel=4)
    height, width = reading.pixel_size(cameras, image_size or PUBLISHED_SIZE)
    poses, pixels = cameras.camera_to_world.tolist(), cameras.pixel_intrinsics(height, width).tolist()
    content = {str(index): {"extrinsic": pose, "K": k} for index, (pose, k) in enumerate(zip(poses, pixels))}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

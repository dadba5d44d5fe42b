"""`reconstruction.json` of OpenSfM and OpenDroneMap: a list of reconstructions with `cameras` and `shots` by the names of pictures.

A shot has an axis-angle `rotation` and a `translation`, world-to-camera with OpenCV axes. Focal lengths and principal points are divided
by the longer side of the picture, the latter counted from its middle. Lengths follow GPS where there is any; they are not taken for
metres. Of several reconstructions, each in a world of its own, the largest is read, which is said. Source: opensfm/io.py and
doc/source/geometry.rst of mapillary/OpenSfM.
"""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.lenses import Lens
from video4spatial.cameras.rotations import invert_rigid, matrices_from_vectors
from video4spatial.naming import natural_key

DESCRIPTION = 'JSON list of reconstructions with "cameras" and "shots" (OpenSfM, OpenDroneMap)'
SUFFIXES: tuple[str, ...] = ()
LENSES = {
    "perspective": ("OPENCV", ("k1", "k2")),
    "simple_radial": ("OPENCV", ("k1",)),
    "radial": ("OPENCV", ("k1", "k2")),
    "brown": ("FULL_OPENCV", ("k1", "k2", "p1", "p2", "k3")),
    "fisheye": ("OPENCV_FISHEYE", ("k1", "k2")),
    "fisheye_opencv": ("OPENCV_FISHEYE", ("k1", "k2", "k3", "k4")),
}
"""`projection_type`: our lens, and its distortion in our order."""


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON list of objects with cameras and shots."""
    if re.match(r"\s*\[\s*\{", "\n".join(reading.first_lines(path, 4))) is None:
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return '"shots"' in text and '"cameras"' in text


def read(path: Path, stated: Stated) -> CameraFile:
    """Read `path`. It holds its intrinsics: what is `stated` is not used."""
    content = reading.read_json(path)
    parts = [part for part in content if isinstance(part, dict) and part.get("shots")] if isinstance(content, list) else []
    if not all(isinstance(part["shots"], dict) for part in parts):
        raise CameraFileError(f'{path}: expected "shots" by the names of their pictures')
    if not parts:
        raise CameraFileError(f'{path}: no reconstruction in it has "shots"')
    parts.sort(key=lambda part: -len(part["shots"]))
    part, *others = parts
    if others:
        counts = ", ".join(str(len(other["shots"])) for other in others)
        warnings.warn(
            f"{path}: {len(parts)} reconstructions, each in a world of its own: the one of {len(part['shots'])} pictures is read, not "
            f"those of {counts}", stacklevel=4,
        )  # fmt: skip
    names = sorted(part["shots"], key=natural_key)
    with reading.expected_values(path, "shots with rotation, translation and a camera that is there"):
        shots = [part["shots"][name] for name in names]
        vectors, translations = (
            torch.tensor([shot[key] for shot in shots], dtype=torch.float64).reshape(-1, 3) for key in ("rotation", "translation")
        )
        lenses = {key: _lens(path, key, camera) for key, camera in part["cameras"].items()}
        used = tuple(lenses[shot["camera"]] for shot in shots)
    cameras = Cameras(
        invert_rigid(reading.rigid_poses(matrices_from_vectors(vectors), translations)),
        torch.stack([lens.intrinsics for lens in used]),
        metric=False,
        convention="OpenSfM: OpenCV world-to-camera, axis-angle, intrinsics divided by the longer side, ordered by name",
    )
    return CameraFile(cameras, tuple(names), used)


def _lens(path: Path, key: str, camera: dict[str, Any]) -> Lens:
    kind = camera.get("projection_type", "perspective")
    if kind not in LENSES:
        raise CameraFileError(f"{path}: camera {key!r}: projection_type {kind!r} is not a pinhole or fisheye that is known")
    model, order = LENSES[kind]
    width, height = int(camera["width"]), int(camera["height"])
    if min(width, height) < 1:
        raise CameraFileError(f"{path}: camera {key!r}: a picture of {width}x{height} pixels")
    longest = max(width, height)
    focal_x, focal_y = camera.get("focal_x", camera.get("focal")), camera.get("focal_y", camera.get("focal"))
    return Lens.of_pinhole(model, _normalised(focal_x, focal_y, camera, longest / width, longest / height), height, width,
                           [camera.get(name, 0.0) for name in order])  # fmt: skip


def _normalised(focal_x: float, focal_y: float, camera: dict[str, Any], across: float, down: float) -> Tensor:
    """Intrinsics [3, 3] divided by width and height, from numbers divided by the longer side."""
    values = [focal_x * across, focal_y * down, 0.5 + camera.get("c_x", 0.0) * across, 0.5 + camera.get("c_y", 0.0) * down]
    return reading.intrinsics_of(torch.tensor(values, dtype=torch.float64))

"""`sfm_data.json` of openMVG: views, intrinsics and extrinsics, joined by their numbers.

An extrinsic is a world-to-camera `rotation` (rows of a matrix) and the camera's `center` in the world, with OpenCV axes; lengths are not
metres. Views without a pose were not placed and are not cameras. Source: docs/sphinx/rst/openMVG/cameras/cameras.rst and
src/openMVG/cameras/ of openMVG/openMVG, whose distortion is OpenCV's.
"""

from pathlib import Path
from typing import Any

import torch

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.lenses import Lens
from video4spatial.naming import natural_key

DESCRIPTION = 'JSON with "views", "intrinsics" and "extrinsics" (openMVG)'
SUFFIXES: tuple[str, ...] = ()
LENSES = {
    "disto_k1": ("OPENCV", (0,)),
    "disto_k3": ("FULL_OPENCV", (0, 1, None, None, 2)),
    "disto_t2": ("FULL_OPENCV", (0, 1, 3, 4, 2)),
    "fisheye": ("OPENCV_FISHEYE", (0, 1, 2, 3)),
}
"""Key of the distortion: our lens, and where its numbers stand in openMVG's order (None for 0)."""


def sniff(path: Path) -> bool:
    """Whether `path` is a JSON object with sfm_data_version and extrinsics."""
    text = reading.json_text(path)
    return '"sfm_data_version"' in text and '"extrinsics"' in text


def read(path: Path, stated: Stated) -> CameraFile:
    """Read `path`. It holds its intrinsics: what is `stated` is not used."""
    content = reading.read_json(path)
    with reading.expected_values(path, "views, intrinsics and extrinsics as openMVG writes them"):
        extrinsics = {entry["key"]: entry["value"] for entry in content["extrinsics"]}
        lenses = {entry["key"]: _lens(path, entry) for entry in content["intrinsics"]}
        views = [_flat(entry["value"]["ptr_wrapper"]["data"]) for entry in content["views"]]
        placed = [view for view in views if view["id_pose"] in extrinsics and view["id_intrinsic"] in lenses]
        names = ["/".join(part for part in (str(view.get("local_path") or "").strip("/"), view["filename"]) if part) for view in placed]
        poses = [extrinsics[view["id_pose"]] for view in placed]
        rotations = torch.tensor([pose["rotation"] for pose in poses], dtype=torch.float64).reshape(-1, 3, 3)
        centers = torch.tensor([pose["center"] for pose in poses], dtype=torch.float64).reshape(-1, 3)
    if not placed:
        raise CameraFileError(f"{path}: none of the {len(views)} views has a pose")
    used = tuple(lenses[view["id_intrinsic"]] for view in placed)
    cameras = Cameras(
        reading.rigid_poses(rotations.mT, centers),
        torch.stack([lens.intrinsics for lens in used]),
        metric=False,
        convention="openMVG: OpenCV world-to-camera rotation and centre, intrinsics in pixels, ordered by name",
    )
    order = sorted(range(len(names)), key=lambda index: natural_key(names[index]))
    return CameraFile(cameras, tuple(names), used).chosen(order)


def _lens(path: Path, entry: dict[str, Any]) -> Lens:
    data = _flat(entry["value"]["ptr_wrapper"]["data"])
    if "focal_length" not in data:
        raise CameraFileError(f"{path}: intrinsic {entry['key']} is not a pinhole or fisheye: undistort the pictures first")
    key = next((name for name in LENSES if name in data), None)
    model, order = ("PINHOLE", ()) if key is None else LENSES[key]
    values = [0.0 if place is None else data[key][place] for place in order]
    width, height, focal = int(data["width"]), int(data["height"]), float(data["focal_length"])
    x, y = data["principal_point"]
    k = reading.intrinsics_of(torch.tensor([focal / width, focal / height, x / width, y / height], dtype=torch.float64))
    return Lens.of_pinhole(model, k, height, width, values)


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """The data without the levels ("value0") that newer versions nest them in."""
    nested = [value for key, value in data.items() if key.startswith("value") and isinstance(value, dict)]
    return {name: value for part in nested for name, value in _flat(part).items()} | data

"""Arrays in an npz file, as reconstruction models write them; the name of the array says which way the matrices go.

- ours: `camera_to_world` [N, 4, 4], normalised `intrinsics` [N, 3, 3], and where known `times` [N] and `metric`;
- VGGT, Depth Anything 3: `extrinsic` or `extrinsics` [N, 3 or 4, 4] world-to-camera with `intrinsic` or `intrinsics` in pixels of
  the size of `images` or `depth`;
- Lyra: `w2c` (its inference) or `c2w` (its training) with `intrinsics` in pixels of `image_height` and `image_width`;
- MegaSaM: `cam_c2w` with `intrinsic`;
- MapAnything: `camera_poses` camera-to-world with `intrinsics` in pixels of the size of `depth_z`;
- Pi3: `camera_poses` camera-to-world; its lens is that under which its `local_points` [N, H, W, 3] lie on the rays of their pixels;
- ViPE: `data` [N, 4, 4] camera-to-world and `inds`; its intrinsics [N, 4] stand in a file of the same name in the folder
  `intrinsics` beside the folder `pose`.

All have OpenCV axes. Leading axes of length 1 are dropped.
"""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import reading
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.cameras.lenses import Lens
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.parsing import is_archive, read_arrays

DESCRIPTION = "npz with camera_to_world, c2w, w2c, extrinsic(s), camera_poses or ViPE's data, and intrinsic(s) or local_points"
SUFFIXES = (".npz",)
OURS = "camera_to_world"
CAMERA_TO_WORLD = (OURS, "c2w", "cam2world", "cam_c2w", "camera_poses")
WORLD_TO_CAMERA = ("world_to_camera", "w2c", "extrinsic", "extrinsics", "viewmats")
INTRINSICS = ("intrinsics", "intrinsic", "K", "Ks")
OTHERS = ("data", "inds", "times", "metric", "image_height", "image_width")
POINTS = "local_points"
PICTURES = ("images", "depth", "depths", "depth_map", "depth_z", POINTS)


def sniff(path: Path) -> bool:
    """Whether `path` is a zip archive with an array of one of the known names."""
    if not path.is_file() or not is_archive(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CameraFileError(f"{path}: a damaged zip archive ({error})") from error
    return bool(names & {*CAMERA_TO_WORLD, *WORLD_TO_CAMERA}) or {"data", "inds"} <= names


def read(path: Path, stated: Stated) -> CameraFile:
    """Read the npz file `path`; what is `stated` counts only for what the file does not say."""
    arrays = _load(path)
    found = [name for name in (*CAMERA_TO_WORLD, *WORLD_TO_CAMERA) if name in arrays]
    if not found and {"data", "inds"} <= set(arrays):
        found = ["data"]
    if len(found) != 1:
        known = ", ".join((*CAMERA_TO_WORLD, *WORLD_TO_CAMERA))
        raise CameraFileError(f"{path}: expected one array of poses ({known}), found {', '.join(found) or 'none'}")
    name = found[0]
    matrices = _shaped(path, name, arrays[name], [(3, 4), (4, 4)])
    poses = reading.rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3])
    direction = "world-to-camera" if name in WORLD_TO_CAMERA else "camera-to-world"
    intrinsics, source, lenses = _intrinsics(path, arrays, len(poses), stated)
    cameras = Cameras(
        invert_rigid(poses) if name in WORLD_TO_CAMERA else poses,
        intrinsics,
        metric="metric" in arrays and bool(arrays["metric"]),
        times=torch.as_tensor(np.asarray(arrays["times"], dtype=np.float64)) if "times" in arrays else None,
        convention=f"npz {name}: OpenCV {direction}, {source}",
    )
    file = CameraFile(cameras, lenses=lenses)
    if cameras.times is None:
        return file
    file = file.chosen(reading.order_in_time(path, cameras.times, poses, [f"camera {index}" for index in range(len(poses))]))
    return replace(file, cameras=replace(file.cameras, times=reading.in_seconds(path, file.cameras.times)))


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None) -> None:
    """Write `cameras` to `path` in our own layout, in which nothing is lost; `image_size` is not used."""
    arrays = {OURS: cameras.camera_to_world.numpy(), "intrinsics": cameras.intrinsics.numpy()}
    if cameras.times is not None:
        arrays["times"] = cameras.times.numpy()
    with path.open("wb") as file:
        np.savez(file, metric=np.array(cameras.metric), **arrays)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path, {*CAMERA_TO_WORLD, *WORLD_TO_CAMERA, *INTRINSICS, *PICTURES, *OTHERS})
    except (ValueError, OSError) as error:
        raise CameraFileError(f"{path}: damaged, or not plain arrays ({error})") from error


def _shaped(path: Path, name: str, array: np.ndarray, shapes: list[tuple[int, ...]]) -> Tensor:
    """The array as [N, *shape] float64, leading axes of length 1 dropped."""
    if array.dtype.kind not in "fiu":
        raise CameraFileError(f"{path}: {name} holds {array.dtype}, expected numbers")
    given = array.shape
    for shape in shapes:
        if array.shape[-len(shape) :] == shape:
            while array.ndim > len(shape) + 1 and array.shape[0] == 1:
                array = array[0]
            if array.ndim == len(shape) + 1 and len(array):
                return torch.as_tensor(np.asarray(array, dtype=np.float64))
    wanted = " or ".join(f"[N, {', '.join(map(str, shape))}]" for shape in shapes)
    raise CameraFileError(f"{path}: {name} has shape {list(given)}, expected {wanted}")


def _intrinsics(
    path: Path, arrays: dict[str, np.ndarray], count: int, stated: Stated
) -> tuple[Tensor, str, tuple[Lens, ...] | None]:
    name = next((name for name in INTRINSICS if name in arrays), None)
    array = arrays.get(name) if name is not None else _of_vipe(path)
    if array is None and POINTS in arrays:
        intrinsics = _of_points(path, arrays[POINTS], count)
        height, width = arrays[POINTS].shape[-3:-1]
        return intrinsics, f"intrinsics that fit {POINTS}", tuple(Lens.of_pinhole("PINHOLE", k, height, width, ()) for k in intrinsics)
    if array is None:
        return *reading.assumed_intrinsics(path, stated), None
    if array.shape == (3, 3) or array.shape == (4,):
        array = array[None]
    given = _shaped(path, name or "ViPE's intrinsics", array, [(3, 3), (4,)])
    if given.ndim == 2:
        given = reading.intrinsics_of(given)
    if len(given) not in (1, count):
        raise CameraFileError(f"{path}: {len(given)} intrinsics for {count} poses, expected as many, or one for all")
    given = given.expand(count, -1, -1)
    if OURS in arrays:
        return given.clone(), "normalised intrinsics", None
    return reading.normalised_intrinsics(path, given, _picture_size(arrays), stated)


def _of_points(path: Path, points: np.ndarray, count: int) -> Tensor:
    """Normalised intrinsics [count, 3, 3], one lens for all frames with its principal point in the middle, by the median over points."""
    while points.ndim > 4 and points.shape[0] == 1:
        points = points[0]
    if points.dtype.kind != "f" or points.ndim != 4 or points.shape[-1] != 3 or len(points) != count:
        raise CameraFileError(f"{path}: {POINTS} has shape {list(points.shape)}, expected [{count}, H, W, 3] with {count} poses")
    height, width = points.shape[1:3]
    places = np.meshgrid((np.arange(width) + 0.5) / width - 0.5, (np.arange(height) + 0.5) / height - 0.5)
    known = np.isfinite(points).all(-1) & (points[..., 2] > 0)
    focal = []
    for axis, place in enumerate(places):
        slope = points[..., axis] / np.where(known, points[..., 2], 1)
        usable = known & (np.abs(slope) > 0.05)
        ratios = (np.broadcast_to(place, slope.shape)[usable] / slope[usable]) if usable.any() else np.array([np.nan])
        focal.append(float(np.median(ratios)))
    if not all(np.isfinite(value) and value > 0 for value in focal):
        raise CameraFileError(f"{path}: {POINTS} do not lie on the rays of any lens, and there are no intrinsics")
    return reading.intrinsics_of(torch.tensor([*focal, 0.5, 0.5], dtype=torch.float64)).repeat(count, 1, 1)


def _of_vipe(path: Path) -> np.ndarray | None:
    beside = path.parent.parent / "intrinsics" / path.name
    return _load(beside).get("data") if path.parent.name == "pose" and beside.is_file() else None


def _picture_size(arrays: dict[str, np.ndarray]) -> tuple[int, int] | None:
    """(height, width) as the file says it, or of its pictures [..., 3, H, W] or [..., H, W, 3], or depth [..., H, W(, 1)]."""
    if {"image_height", "image_width"} <= set(arrays):
        return int(arrays["image_height"]), int(arrays["image_width"])
    for name in PICTURES:
        shape = arrays[name].shape if name in arrays else ()
        if len(shape) >= 3:
            if shape[-1] in (1, 3):
                return shape[-3], shape[-2]
            return shape[-2], shape[-1]
    return None

"""TUM RGB-D: `rgb.txt`, `depth.txt` and `groundtruth.txt`, joined by time.

Poses come at another rate than pictures: each picture takes the pose between the two nearest in time (at most 0.1 s apart), each
depth image the nearest within 0.02 s. Ground truth is that of the colour camera's optical frame. The set was recorded with three
cameras. A name with freiburg1, 2 or 3 in it tells which one; for other recordings `fov_degrees` is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import DepthImages, Pictures, ReaderError, camera_files, posed_images, scenes_below, told
from video4spatial.cameras import CameraFileError, Cameras, read_cameras
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.cameras.lenses import Lens
from video4spatial.captures import Capture
from video4spatial.media.undistortion import Undistortion

DESCRIPTION = "folder with rgb.txt, groundtruth.txt and mostly depth.txt (TUM RGB-D)"
LARGEST_GAP = 0.1
DEPTH_TOLERANCE = 0.02
DEPTH_UNITS = 5000.0
GIVE = "give fov_degrees as an option of the source in a build ({path: FOLDER, options: {fov_degrees: 60}})"
# fx fy cx cy k1 k2 p1 p2 k3 of the colour cameras, from the set's page; pixels counted from the first one's centre.
LENSES = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3, 0.2624, -0.9531, -0.0054, 0.0026, 1.1633),
    "freiburg2": (520.9, 521.0, 325.1, 249.7, 0.2312, -0.7849, -0.0033, -0.0001, 0.9172),
    "freiburg3": (535.4, 539.2, 320.1, 247.6, 0.0, 0.0, 0.0, 0.0, 0.0),
}


def find(source: str) -> list[str]:
    """Sequences at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), _is_scene)]


def read(scene: str, fov_degrees: float | None = None) -> Capture:
    """A sequence.

    Args:
        scene: folder.
        fov_degrees: horizontal field of view, for recordings that are not of the set's own three cameras.
    """
    folder = Path(scene)
    pictures = _listed(folder / "rgb.txt")
    with camera_files() as notes:
        truth = read_cameras(folder / "groundtruth.txt", "tum", fov_degrees=fov_degrees or 60.0)
    left_out: dict[str, list[str]] = {}
    kept = []
    if truth.times is None:
        raise ReaderError(f"{folder / 'groundtruth.txt'}: {'; '.join(notes)}")
    known = np.asarray(truth.times)
    for time, path in pictures:
        after = int(np.searchsorted(known, time))
        exact = after < len(known) and known[after] == time
        if not path.is_file():
            left_out.setdefault("image_missing", []).append(path.name)
        elif not exact and (after in (0, len(known)) or known[after] - known[after - 1] > LARGEST_GAP):
            left_out.setdefault("pose_missing", []).append(path.name)
        else:
            kept.append((time, path))
    if not kept:
        raise ReaderError(f"{folder}: none of the {len(pictures)} pictures has a pose within {LARGEST_GAP} s: {told(left_out)}")
    times = np.array([time for time, _ in kept])
    cameras = truth.at(torch.from_numpy(np.interp(times, known, np.arange(len(known)))))
    video, (intrinsics, undistortion), more = posed_images(
        [path for _, path in kept], 30.0, lambda size: _lens(folder, *size, fov_degrees)
    )
    depth = _depth(folder, times, (video.height, video.width), undistortion)
    return Capture(
        name=folder.name,
        frame_count=len(kept),
        height=video.height,
        width=video.width,
        times=times - times[0],
        read_frames=Pictures(video, tuple(range(len(kept))), undistortion),
        cameras=Cameras(cameras.camera_to_world, intrinsics, metric=True, times=torch.from_numpy(times - times[0])),
        read_depth=depth,
        licence="CC-BY-4.0",
        redistributable=True,
        provenance={
            "reader": "tum_rgbd", "source": str(folder), "left_out": left_out, "notes": [*notes, *more],
            "convention": "TUM: OpenCV camera-to-world, quaternions xyzw, joined by time",
        },
    )  # fmt: skip


def _is_scene(folder: Path) -> bool:
    return (folder / "rgb.txt").is_file() and (folder / "groundtruth.txt").is_file()


def _listed(path: Path) -> list[tuple[float, Path]]:
    """(seconds, file) of a list such as rgb.txt, in order of time."""
    if not path.is_file():
        raise ReaderError(f"{path}: no such list")
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            time, name = line.split(maxsplit=1)
            entries.append((float(time), path.parent / name.strip()))
        except ValueError as error:
            raise ReaderError(f"{path}: line {number}: expected a time and a file") from error
    if not entries:
        raise ReaderError(f"{path}: lists no files")
    return sorted(entries)


def _lens(folder: Path, height: int, width: int, fov_degrees: float | None) -> tuple[torch.Tensor, Undistortion | None]:
    if fov_degrees is not None:
        return intrinsics_from_fov(fov_degrees, width / height), None
    name = next((name for name in LENSES if name in folder.name), None)
    if name is None:
        raise CameraFileError(f"{folder}: its name has none of {', '.join(LENSES)}, so the camera is unknown: {GIVE}")
    if (height, width) != (480, 640):
        raise CameraFileError(f"{folder}: pictures of {width}x{height}, expected 640x480; for others {GIVE}")
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = LENSES[name]
    # Ours and COLMAP's count from the corner of the first pixel.
    parameters = (fx, fy, cx + 0.5, cy + 0.5, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    lens = Lens("FULL_OPENCV", width, height, parameters)
    return lens.intrinsics, Undistortion.of((lens,))


def _depth(
    folder: Path, times: np.ndarray, size: tuple[int, int], undistortion: Undistortion | None
) -> DepthImages | None:
    path = folder / "depth.txt"
    if not path.is_file():
        return None
    stored = _listed(path)
    at = np.array([time for time, _ in stored])
    nearest = np.abs(at[None] - times[:, None]).argmin(axis=1)
    chosen = [
        stored[index][1] if abs(at[index] - time) <= DEPTH_TOLERANCE and stored[index][1].is_file() else None
        for index, time in zip(nearest, times)
    ]
    return DepthImages(tuple(chosen), size, DEPTH_UNITS, undistortion=undistortion)

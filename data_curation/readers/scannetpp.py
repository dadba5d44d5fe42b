"""ScanNet++ v2: `data/<scene>/{iphone,dslr,scans}`; each recording is a capture (`<scene>/iphone`, `<scene>/dslr`).

Poses are taken from the COLMAP model, joined to pictures by name (the video has frames that the model lacks, issues 104 and 154 of
its toolkit). Without a model, the iPhone's `aligned_pose` (camera-to-world, OpenCV, mesh frame) is used, never its raw `pose`. The
nerfstudio files swap the first two rows of the world and negate the third; `from_nerfstudio` undoes that. DSLR pictures are of a
fisheye and are undistorted; frames marked `is_bad` are left out. Objects come from `segments_anno.json`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from data_curation.readers.colmap_model import capture_of_images
from data_curation.readers.support import (
    Pictures,
    ReaderError,
    camera_files,
    first_existing,
    invalid_poses,
    scenes_below,
)
from video4spatial.cameras import CameraFileError, Cameras
from video4spatial.cameras.formats import colmap
from video4spatial.cameras.formats.reading import read_json, rigid_poses
from video4spatial.cameras.lenses import Lens
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.captures import Capture, SceneObject
from video4spatial.media import open_video
from video4spatial.media.undistortion import Undistortion
from video4spatial.parsing import parse_json

DESCRIPTION = "ScanNet++ scenes: folders with iphone/ or dslr/ (each becomes a capture)"
VIDEOS = ("rgb.mkv", "rgb.mp4")
PICTURES = ("resized_images", "images", "original_images")
DEPTH_SIZE = (192, 256)
LICENCE = "ScanNet++ terms of use (non-commercial research)"


def find(source: str) -> list[str]:
    """`SCENE/iphone` and `SCENE/dslr` for every scene at or below the folder `source`."""
    scenes = scenes_below(Path(source), lambda folder: any(_is_recording(folder / kind) for kind in ("iphone", "dslr")))
    return [str(scene / kind) for scene in scenes for kind in ("iphone", "dslr") if _is_recording(scene / kind)]


def read(scene: str, frame_rate: float = 4.0) -> Capture:
    """One recording.

    Args:
        scene: folder `SCENE/iphone` or `SCENE/dslr`.
        frame_rate: at which DSLR photographs, which have no times, are taken to follow each other.
    """
    folder = Path(scene)
    if not _is_recording(folder):
        raise ReaderError(f"{folder}: expected a folder iphone or dslr with a video or pictures and their poses")
    return _dslr(folder, frame_rate) if folder.name == "dslr" else _iphone(folder)


def from_nerfstudio(camera_to_world: torch.Tensor) -> torch.Tensor:
    """Undo what ScanNet++'s toolkit did to the poses of its nerfstudio files.

    It negates the camera's y and z axes, swaps the world's first two rows and negates the third; each undoes itself.

    Args:
        camera_to_world: [N, 4, 4] as in the files.

    Returns:
        [N, 4, 4] OpenCV camera-to-world in the frame of the mesh.
    """
    undone = camera_to_world.clone()
    undone[:, 2] *= -1
    undone = undone[:, [1, 0, 2, 3]]
    undone[:, :3, 1:3] *= -1
    return undone


def _is_recording(folder: Path) -> bool:
    if folder.name == "iphone":
        return first_existing(folder, VIDEOS) is not None
    return folder.name == "dslr" and first_existing(folder, PICTURES) is not None


def _dslr(folder: Path, frame_rate: float) -> Capture:
    with camera_files() as notes:
        registered = colmap.read_images(folder / "colmap")
        bad = _bad_frames(folder)
    good = [image for image in registered if image.name not in bad]
    if not good:
        raise ReaderError(f"{folder}: all {len(registered)} registered pictures are marked bad")
    pictures = first_existing(folder, PICTURES)
    capture = capture_of_images(folder, good, pictures, frame_rate, "scannetpp", notes, **_common(folder))
    cameras = replace(capture.cameras, metric=True)  # aligned to the laser scan
    if bad:
        capture.provenance["left_out"]["marked_bad"] = sorted(bad)
    return replace(capture, cameras=cameras)


def _iphone(folder: Path) -> Capture:
    path = first_existing(folder, VIDEOS)
    video = open_video(path)
    lens, poses, source = _iphone_poses(folder)
    left_out: dict[str, list[str]] = {}
    lost = [number for number in range(len(video)) if number not in poses]
    beyond = [number for number in poses if number >= len(video)]
    if lost:
        left_out["pose_missing"] = [f"frame_{number:06d}" for number in lost]
    if beyond:
        left_out["image_missing"] = [f"frame_{number:06d}" for number in beyond]
    kept = sorted(number for number in poses if number < len(video))
    if kept:
        invalid = invalid_poses(np.stack([poses[number] for number in kept]))
        if invalid.any():
            left_out["pose_invalid"] = [f"frame_{number:06d}" for number, bad in zip(kept, invalid) if bad]
        kept = [number for number, bad in zip(kept, invalid) if not bad]
    if not kept:
        raise ReaderError(f"{folder}: none of the {len(video)} frames of {path.name} has a usable pose")
    with camera_files():
        lens = lens.resized(video.height, video.width)
        undistortion = Undistortion.of((lens,))
    matrices = torch.from_numpy(np.stack([poses[number] for number in kept]))
    times = video.times[kept] - video.times[kept[0]]
    depth = folder / "depth.bin"
    return Capture(
        frame_count=len(kept),
        height=video.height,
        width=video.width,
        times=times,
        read_frames=Pictures(video, tuple(kept), undistortion),
        cameras=Cameras(
            rigid_poses(matrices[:, :3, :3], matrices[:, :3, 3]), lens.intrinsics, metric=True, times=torch.from_numpy(times)
        ),
        read_depth=DepthBinary(depth, tuple(kept), (video.height, video.width), undistortion) if depth.is_file() else None,
        provenance={
            "reader": "scannetpp", "source": str(folder), "convention": source, "lens": lens.model, "left_out": left_out,
            "notes": list(video.notes),
        },
        **_common(folder),
    )  # fmt: skip


def _iphone_poses(folder: Path) -> tuple[Lens, dict[int, np.ndarray], str]:
    """The lens, the camera-to-world pose of each frame number, and what they were read from."""
    if colmap.sniff(folder / "colmap"):
        with camera_files():
            registered = colmap.read_images(folder / "colmap")
        if len({image.lens for image in registered}) > 1:
            raise ReaderError(f"{folder / 'colmap'}: frames of several lenses in one video; expected one")
        poses = invert_rigid(torch.stack([image.world_to_camera for image in registered])).numpy()
        numbers = [int(re.findall(r"\d+", image.name)[-1]) for image in registered]
        return registered[0].lens, dict(zip(numbers, poses)), "COLMAP: OpenCV world-to-camera, joined by name"
    path = folder / "pose_intrinsic_imu.json"
    if not path.is_file():
        raise ReaderError(f"{folder}: neither a COLMAP model nor pose_intrinsic_imu.json")
    try:
        content = read_json(path)
        poses = {int(re.findall(r"\d+", name)[-1]): np.array(entry["aligned_pose"], np.float64) for name, entry in content.items()}
        k = np.array(next(iter(content.values()))["intrinsic"], np.float64)
    except (CameraFileError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise ReaderError(f"{path}: expected frame_000000 and so on with aligned_pose and intrinsic ({error})") from error
    # Its pixels are counted from the centre of the first one. The principal point is the picture's middle, which gives the size.
    width, height = round(2 * k[0, 2] / 16) * 16, round(2 * k[1, 2] / 16) * 16
    lens = Lens("PINHOLE", width, height, (k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5))
    return lens, poses, "pose_intrinsic_imu.json: aligned_pose, OpenCV camera-to-world"


@dataclass(frozen=True)
class DepthBinary:
    """ScanNet++'s depth.bin, read on demand.

    It holds all frames in one zlib stream of float32 metres, or each frame with its length in front: zlib float32 metres, or lz4
    uint16 millimetres, which needs the package lz4.

    Args:
        path: the file.
        indices: frames of the video that are the capture's.
        size: (height, width) of the pictures.
        undistortion: of the pictures, or None.
    """

    path: Path
    indices: tuple[int, ...]
    size: tuple[int, int]
    undistortion: Undistortion | None

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        """[n, H, W] float32 metres, 0 unknown."""
        wanted = [self.indices[index] for index in indices]
        stored = self._frames(wanted)
        maps = np.stack([cv2.resize(stored[n], self.size[::-1], interpolation=cv2.INTER_NEAREST) for n in wanted])
        return maps if self.undistortion is None else self.undistortion(maps, indices, nearest=True)

    def _frames(self, wanted: list[int]) -> dict[int, np.ndarray]:
        height, width = DEPTH_SIZE
        with self.path.open("rb") as file:
            try:
                # The whole file at once is the layout of the first release.
                whole = np.frombuffer(zlib.decompress(file.read()), np.float32).reshape(-1, height, width)
                return {number: whole[number] for number in wanted}
            except (zlib.error, ValueError):
                file.seek(0)
            frames, number, last = {}, 0, max(wanted)
            while number <= last:
                head = file.read(4)
                if len(head) < 4:
                    raise ReaderError(f"{self.path}: ends before frame {last}, after {number} frames")
                (length,) = struct.unpack("<I", head)
                data = file.read(length)
                if number in wanted:
                    frames[number] = self._decompressed(data)
                number += 1
            return frames

    def _decompressed(self, data: bytes) -> np.ndarray:
        try:
            return np.frombuffer(zlib.decompress(data), np.float32).reshape(DEPTH_SIZE)
        except zlib.error:
            try:
                import lz4.block
            except ImportError as error:
                raise ReaderError(f"{self.path}: its frames are lz4: pip install lz4") from error
            raw = lz4.block.decompress(data, uncompressed_size=DEPTH_SIZE[0] * DEPTH_SIZE[1] * 2)
            return np.frombuffer(raw, np.uint16).reshape(DEPTH_SIZE).astype(np.float32) / 1000


def inputs(scene: str) -> list[Path]:
    """The files of the recording `scene`, and the annotated objects of its space."""
    folder = Path(scene)
    recording = [file for file in folder.rglob("*") if file.is_file()]
    annotations = folder.parent / "scans" / "segments_anno.json"
    return [*recording, *([annotations] if annotations.is_file() else [])]


def _common(folder: Path) -> dict:
    scene = folder.parent
    return {
        "name": f"{scene.name}-{folder.name}",
        "objects": _objects(scene / "scans" / "segments_anno.json"),
        "up_axis": (0.0, 0.0, 1.0),
        "licence": LICENCE,
        "space": scene.name,
        "split": _official_split(scene),
    }


def _official_split(scene: Path) -> str | None:
    """By the lists in `splits/` beside `data/`; test scenes come without the poses of their targets."""
    for name, split in [("nvs_sem_train", "train"), ("nvs_sem_val", "validation"), ("nvs_test", "test"), ("sem_test", "test")]:
        path = scene.parent.parent / "splits" / f"{name}.txt"
        if path.is_file() and scene.name in path.read_text(encoding="utf-8").split():
            return split
    return None


def _objects(path: Path) -> tuple[SceneObject, ...]:
    """Objects with their oriented boxes; axes are reduced to the turn about the vertical."""
    if not path.is_file():
        return ()
    try:
        groups = parse_json(path.read_text(encoding="utf-8"))["segGroups"]
        objects = []
        for group in groups:
            box = group["obb"]
            axes = np.array(box["normalizedAxes"], np.float64).reshape(3, 3)
            objects.append(box_object(group["label"], group["objectId"], box["centroid"], box["axesLengths"], axes))
    except (KeyError, TypeError, ValueError) as error:
        raise ReaderError(f"{path}: expected segGroups with label, objectId and obb ({error!r})") from error
    return tuple(objects)


def box_object(label: str, instance_id: int, center, lengths, axes: np.ndarray) -> SceneObject:
    """An object from an oriented box; the axis nearest to the vertical becomes its height, the tilt of the others is dropped.

    Args:
        label: as annotated.
        instance_id: of the object.
        center: [3] metres.
        lengths: [3] along the axes in metres.
        axes: [3, 3] whose rows are the directions of the box.
    """
    vertical = int(np.abs(axes[:, 2]).argmax())
    first, second = (index for index in range(3) if index != vertical)
    size = (float(lengths[first]), float(lengths[second]), float(lengths[vertical]))
    yaw = float(np.arctan2(axes[first, 1], axes[first, 0]))
    return SceneObject(str(label).lower(), int(instance_id), tuple(map(float, center)), size, yaw)


def _bad_frames(folder: Path) -> set[str]:
    path = folder / "nerfstudio" / "transforms.json"
    if not path.is_file():
        return set()
    content = read_json(path)
    frames = [*content.get("frames", []), *content.get("test_frames", [])]
    return {Path(frame["file_path"]).name for frame in frames if frame.get("is_bad")}

"""ARKitScenes, raw and 3dod: `<video>/lowres_wide/`, `lowres_wide.traj` and `*_3dod_annotation.json`.

3dod nests the first two in `<video>_frames`. Each line of a `.traj` is a time, an axis-angle rotation and a translation,
world-to-camera with OpenCV axes; the world's z points up. Frames are named by video and time. Poses are matched to the millisecond;
between two poses at most 0.1 s apart they are interpolated. Devices were held sideways: pictures, depth, cameras and intrinsics are
turned so that the world's up is at the top, by the turn that most frames of the clip ask for. A clip in which that changes is
refused. Depth is in millimetres.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import torch

from data_curation.readers.scannetpp import box_object
from data_curation.readers.support import (
    DepthImages,
    Pictures,
    ReaderError,
    camera_files,
    posed_images,
    quarter_turns_upright,
    scenes_below,
    told,
    turned,
)
from video4spatial.cameras import Cameras
from video4spatial.cameras.formats.reading import read_table, rigid_poses
from video4spatial.cameras.rotations import invert_rigid, matrices_from_vectors
from video4spatial.captures import Capture, SceneObject
from video4spatial.media import image_paths
from video4spatial.parsing import parse_json

DESCRIPTION = "ARKitScenes videos, raw or 3dod: folders with lowres_wide/ and lowres_wide.traj"
STREAM = "lowres_wide"
TOLERANCE = 1.5e-3
LARGEST_GAP = 0.1
MOST = 0.9  # share of frames that must agree on the turn
LICENCE = "ARKitScenes licence (Apple)"
UP = (0.0, 0.0, 1.0)


def find(source: str) -> list[str]:
    """Videos at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), lambda folder: _frames(folder) is not None)]


def read(scene: str) -> Capture:
    """A video of the low-resolution wide camera.

    Args:
        scene: folder named as the video.
    """
    folder = Path(scene)
    frames = _frames(folder)
    if frames is None:
        raise ReaderError(f"{folder}: expected {STREAM}/ and {STREAM}.traj in it or in {folder.name}_frames/")
    known, poses = _trajectory(frames / f"{STREAM}.traj")
    left_out: dict[str, list[str]] = {}
    kept: list[tuple[float, Path, np.ndarray]] = []
    for path in image_paths(frames / STREAM):
        time = _time(path)
        intrinsics = _intrinsics(frames, path, time)
        after = int(np.searchsorted(known, time))
        near = min((abs(known[index] - time) for index in (after - 1, after) if 0 <= index < len(known)))
        between = 0 < after < len(known) and known[after] - known[after - 1] <= LARGEST_GAP
        if intrinsics is None:
            left_out.setdefault("intrinsics_missing", []).append(path.name)
        elif near > TOLERANCE and not between:
            left_out.setdefault("pose_missing", []).append(path.name)
        else:
            kept.append((time, path, intrinsics))
    if not kept:
        raise ReaderError(f"{folder}: no frame has both a pose and intrinsics: {told(left_out)}")
    times = np.array([time for time, *_ in kept])
    track = Cameras(poses, torch.eye(3, dtype=torch.float64))
    places = np.interp(times, known, np.arange(len(known)))
    cameras = Cameras(
        track.at(torch.from_numpy(places)).camera_to_world,
        torch.from_numpy(np.stack([intrinsics for *_, intrinsics in kept])),
        metric=True,
        times=torch.from_numpy(times - times[0]),
    )
    turns, counts = np.unique(quarter_turns_upright(cameras, UP), return_counts=True)
    turn = int(turns[counts.argmax()])
    if counts.max() < MOST * len(kept):
        found = dict(zip(turns.tolist(), counts.tolist()))
        raise ReaderError(f"{folder}: the device was turned on the way ({found} quarter turns)")
    video, _, _ = posed_images([path for _, path, _ in kept], 10.0, lambda size: None)
    pictures = Pictures(video, tuple(range(len(kept))), quarter_turns=turn)
    height, width = pictures.size
    depth = [_beside(frames, "lowres_depth", path, time) for time, path, _ in kept]
    return Capture(
        name=folder.name,
        frame_count=len(kept),
        height=height,
        width=width,
        times=times - times[0],
        read_frames=pictures,
        cameras=turned(cameras, turn),
        read_depth=DepthImages(tuple(depth), (video.height, video.width), quarter_turns=turn) if any(depth) else None,
        objects=_objects(folder),
        up_axis=UP,
        space=_visit(folder),
        split={"Training": "train", "Validation": "validation"}.get(folder.parent.name),
        licence=LICENCE,
        provenance={
            "reader": "arkitscenes", "source": str(folder), "quarter_turns": turn, "left_out": left_out,
            "convention": "ARKitScenes .traj: OpenCV world-to-camera, axis-angle",
        },
    )  # fmt: skip


def _visit(folder: Path) -> str:
    """The visit to a house that a video belongs to, where the set's `metadata.csv` is there; else the video's own name."""
    for parent in list(folder.parents)[:3]:
        if (parent / "metadata.csv").is_file():
            with (parent / "metadata.csv").open(encoding="utf-8", newline="") as file:
                for line in csv.DictReader(file):
                    if line.get("video_id") == folder.name and line.get("visit_id"):
                        return f"visit-{line['visit_id'].removesuffix('.0')}"
    return folder.name


def _frames(folder: Path) -> Path | None:
    candidates = (folder, folder / f"{folder.name}_frames")
    return next((c for c in candidates if (c / STREAM).is_dir() and (c / f"{STREAM}.traj").is_file()), None)


def _trajectory(path: Path) -> tuple[np.ndarray, torch.Tensor]:
    """Times [N] in order and camera-to-world poses [N, 4, 4]."""
    with camera_files():
        table = read_table(path, 7, "time, axis-angle, translation")
    rows = table.rows[table.rows[:, 0].argsort()]
    return rows[:, 0].numpy(), invert_rigid(rigid_poses(matrices_from_vectors(rows[:, 1:4]), rows[:, 4:7]))


def _time(path: Path) -> float:
    match = re.fullmatch(r".*_(\d+\.\d+)", path.stem)
    if match is None:
        raise ReaderError(f"{path}: expected a name VIDEO_SECONDS, such as 40753679_6791.113.png")
    return float(match[1])


def _beside(frames: Path, stream: str, path: Path, time: float, suffix: str = ".png") -> Path | None:
    """The file of another stream at the same time, to the millisecond either way as the names are rounded."""
    video = path.stem.rsplit("_", 1)[0]
    for delta in (0, -0.001, 0.001):
        candidate = frames / stream / f"{video}_{time + delta:.3f}{suffix}"
        if candidate.is_file():
            return candidate
    return None


def _intrinsics(frames: Path, path: Path, time: float) -> np.ndarray | None:
    """Normalised intrinsics [3, 3] of a `.pincam` file (width height fx fy cx cy)."""
    file = _beside(frames, f"{STREAM}_intrinsics", path, time, ".pincam")
    if file is None:
        return None
    try:
        width, height, fx, fy, cx, cy = map(float, file.read_text().split())
    except ValueError as error:
        raise ReaderError(f"{file}: expected width height fx fy cx cy") from error
    return np.array([[fx / width, 0, cx / width], [0, fy / height, cy / height], [0, 0, 1]])


def _objects(folder: Path) -> tuple[SceneObject, ...]:
    path = folder / f"{folder.name}_3dod_annotation.json"
    if not path.is_file():
        return ()
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if content.get("skipped"):
            return ()
        objects = []
        for index, entry in enumerate(content["data"], start=1):
            box = entry["segments"].get("obbAligned") or entry["segments"]["obb"]
            axes = np.array(box["normalizedAxes"], np.float64).reshape(3, 3)
            objects.append(box_object(entry["label"], index, box["centroid"], box["axesLengths"], axes))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReaderError(f"{path}: expected data with label and segments.obbAligned ({error!r})") from error
    return tuple(objects)

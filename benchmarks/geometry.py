"""How well the depth of a video's frames is read where its cameras are given, and how well its cameras are found where they are not.

    python benchmarks/geometry.py [--scenes 64] [--references 8] [--captures FOLDER ...] [--camera-scenes 16] [--methods auto ...]
        [--output benchmarks/results/geometry.json]

Rooms: the test set `rooms_nav_v1`, whose context frames have exact depth; the rows end in the picture's size. Captures: posed
recordings with depth files, none of which was trained on, at the size of their pictures; the rows end in the capture's name.

- `stereo`: the built-in network, everywhere; `stereo_sure`: where it is more confident than `SURE`.
- `alone`: the same network, each picture read by itself.
- `sweep`: plane sweep, where it finds something; `stereo_as_sweep`: the network where it is most confident, over as many pixels.
- `cameras_auto`, `cameras_network`, `cameras_structure_from_motion`: the cameras of 32 frames from the frames alone, by that method,
  relative to the last frame. Captures: windows of 32 consecutive frames.

`log_error` is the mean |log depth - log truth|, `abs_rel` the mean |depth - truth| / truth, `share` the share of pixels that count.
`rotation_degrees` and `position_metres` are medians over the placed frames of a scene beside the last, `placed` is the share of
frames with a camera, `seconds` the time that it takes.
Figures are means over scenes with 95 % intervals by scene, those whose names begin with `median_` medians; below 8 scenes there are no
intervals.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from data_curation.readers import find_scenes, read_scene
from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.evaluation.results import metric, write_results
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.geometry import GeometryError
from video4spatial.geometry.camera_estimation import METHODS, estimate_cameras
from video4spatial.geometry.plane_sweep import PlaneSweepDepth
from video4spatial.geometry.pose_graph import MotionEstimator
from video4spatial.geometry.structure_from_motion import pycolmap_missing
from video4spatial.models.pair_motion import PairMotionNetwork
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pretrained import FOLDER
from video4spatial.spread import evenly_spread

SIZES = (64, 128)
SURE = 0.5
FARTHEST = 10.0
"""Metres: sensors know nothing of what is farther away."""
WINDOW = 24
"""Frames of a capture around each reference that it is matched with."""
CAMERA_FRAMES, CAMERA_WINDOWS = 32, 4
"""Frames of a capture whose cameras are found together, and how many such windows of it."""


def measured(depth: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> dict[str, float]:
    """Errors over the counted pixels of which the truth is known.

    Args:
        depth, truth: [R, H, W]; truth is 0 where it is not known.
        counted: [R, H, W] bool.
    """
    known = (truth > 0) & (truth < FARTHEST)
    chosen = known & counted & (depth > 0)
    if not chosen.any():
        return {"share": 0.0}
    ratio = depth[chosen] / truth[chosen]
    errors = {"log_error": np.abs(np.log(ratio)).mean(), "abs_rel": np.abs(ratio - 1).mean()}
    return {name: float(value) for name, value in errors.items()} | {"share": float(chosen.sum() / known.sum())}


def scene_rows(
    stereo: StereoDepth, frames: np.ndarray, cameras: Cameras, references: list[int], truth: np.ndarray
) -> dict[str, dict[str, float]]:
    """The figures of one scene by row.

    Args:
        stereo: the built-in network.
        frames: [N, H, W, 3] uint8.
        cameras: their N cameras.
        references: the R frames whose depth is compared.
        truth: [R, H, W] metres.
    """
    size = truth.shape[1:]
    started = time.perf_counter()
    maps = stereo(frames, cameras, references)
    seconds = {"stereo": time.perf_counter() - started}
    depth, sure = (_resized(values, size) for values in (maps.depth, maps.confidence))
    alone = _resized(stereo.alone(frames[references]).depth, size)
    everywhere = np.ones(truth.shape, bool)
    rows = {
        "stereo": measured(depth, truth, everywhere),
        "stereo_sure": measured(depth, truth, sure > SURE),
        "alone": measured(alone, truth, everywhere),
    }
    try:
        started = time.perf_counter()
        swept = PlaneSweepDepth()(frames, cameras, references).depth
        seconds["sweep"] = time.perf_counter() - started
        swept = _resized(swept, size)
        rows["sweep"] = measured(swept, truth, swept > 0)
        least = np.quantile(sure, 1 - (swept > 0).mean())
        rows["stereo_as_sweep"] = measured(depth, truth, sure >= least)
        rows["stereo"]["time_over_sweep"] = seconds["stereo"] / seconds["sweep"]
    except GeometryError:
        pass  # the camera only turns: stereo by plane sweep sees nothing, and has no row here
    return rows


def _resized(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return np.stack([cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR) for values in maps])


def room_scenes(count: int, references: int, size: int):
    """Frames, cameras, references and their true depth of test rooms."""
    for entry in load_test_set(limit=count):
        clip = entry.load(size)
        chosen = evenly_spread(len(clip.context_frames), references, clip.anchor)
        yield clip.context_frames, clip.context_cameras, chosen, np.asarray(clip.context_depth)[chosen]


def capture_scenes(folder: Path, references: int):
    """The same of a capture with depth: the frames around each reference, one reference at a time."""
    for reader, scene in find_scenes(folder):
        capture = read_scene(reader, scene)
        if capture.read_depth is None or capture.cameras is None:
            continue
        candidates = evenly_spread(capture.frame_count, min(capture.frame_count, 10 * references), 0)
        used = 0
        for index in candidates:
            truth = np.asarray(capture.read_depth([index]))
            if used == references or not (truth > 0).any():
                continue
            used += 1
            around = [frame for frame in range(index - WINDOW // 2, index + WINDOW // 2 + 1) if 0 <= frame < capture.frame_count]
            yield capture.read_frames(around), capture.cameras[around], [around.index(index)], truth


def capture_windows(folder: Path):
    """Frames and cameras of windows of a posed capture, evenly spread over it."""
    for reader, scene in find_scenes(folder):
        capture = read_scene(reader, scene)
        if capture.cameras is None:
            continue
        last = max(0, capture.frame_count - CAMERA_FRAMES)
        for start in sorted({round(last * number / (CAMERA_WINDOWS - 1)) for number in range(CAMERA_WINDOWS)}):
            chosen = list(range(start, min(start + CAMERA_FRAMES, capture.frame_count)))
            yield capture.read_frames(chosen), capture.cameras[chosen]


def room_videos(count: int, size: int):
    """Frames and cameras of the contexts of test rooms."""
    for entry in load_test_set(limit=count):
        clip = entry.load(size)
        yield clip.context_frames, clip.context_cameras


def camera_figures(
    frames: np.ndarray, cameras: Cameras, method: str, stereo: StereoDepth, motions: MotionEstimator | None
) -> dict[str, float]:
    """How well the cameras of frames are found.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: the true ones.
        method: of `estimate_cameras`.
        stereo: reads depth in metres.
        motions: reads motions of pairs; None leaves them out.
    """
    started = time.perf_counter()
    found = estimate_cameras(frames, cameras.intrinsics, method, motions=motions, depth=stereo, anchor=-1)
    figures = {"seconds": time.perf_counter() - started, "placed": float(found.position_known.mean())}
    anchor = found.anchor
    others = [index for index in np.flatnonzero(found.position_known).tolist() if index != anchor]
    if others:
        here, true = found.cameras.relative_to(anchor)[others], cameras.relative_to(anchor)[others]
        figures["rotation_degrees"] = float(rotation_angle_degrees(here.rotations, true.rotations).median())
        if found.cameras.metric:
            figures["position_metres"] = float((here.positions - true.positions).norm(dim=-1).median())
    return figures


def camera_rows(videos, name: str, total: int, methods: list[str], stereo: StereoDepth, motions: MotionEstimator | None) -> list[dict]:
    """Rows of the methods over videos."""
    found = defaultdict(list)
    for frames, cameras in track(videos, total=total, description=f"cameras {name}"):
        for method in methods:
            found[f"cameras_{method}_{name}"].append(camera_figures(frames, cameras, method, stereo, motions))
    independent = name.isdecimal()
    return [{"name": row, "metrics": summary(figures, independent) | medians(figures, independent)} for row, figures in found.items()]


def medians(figures: list[dict[str, float]], independent: bool) -> dict:
    """Medians over scenes of the errors of cameras: a mean tells of the scenes that fail, a median of those that do not."""
    cells = {}
    for name in ("rotation_degrees", "position_metres"):
        values = [entry[name] for entry in figures if name in entry]
        if values:
            cells[f"median_{name}"] = metric(float(np.median(values)), n=len(values) if independent else 1)
    return cells


def collected(stereo: StereoDepth, scenes, name: str, total: int) -> dict[str, list[dict[str, float]]]:
    """Figures of many scenes by row, the name of the set behind it."""
    found = defaultdict(list)
    for scene in track(scenes, total=total, description=name):
        for row, figures in scene_rows(stereo, *scene).items():
            found[f"{row}_{name}"].append(figures)
    return found


def summary(figures: list[dict[str, float]], independent: bool) -> dict:
    """Means over scenes by metric; intervals where there are at least 8 independent ones."""
    cells = {}
    for name in sorted({name for entry in figures for name in entry}):
        values = np.array([entry[name] for entry in figures if name in entry])
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if independent and len(values) >= 8 else None
        mean = float(values.mean())
        cells[name] = metric(mean, *((None, None) if half is None else (mean - half, mean + half)), len(values) if independent else 1)
    return cells


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=64, help="test rooms")
    parser.add_argument("--references", type=int, default=8, help="frames of each scene whose depth is compared")
    parser.add_argument("--captures", type=Path, nargs="*", default=[], help="folders of posed captures with depth")
    parser.add_argument("--camera-scenes", type=int, default=16, help="test rooms whose cameras are found; 0 for none, captures included")
    parser.add_argument("--camera-size", type=int, default=128, help="pixels of their pictures")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="ways to find cameras")
    parser.add_argument("--motions", type=Path, default=FOLDER / "pair_pose", help="folder of the network of motions")
    parser.add_argument("--network", type=Path, default=FOLDER / "stereo", help="folder of the stereo network")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/geometry.json"))
    arguments = parser.parse_args()
    stereo, rows = StereoDepth.from_pretrained(arguments.network), []
    for size in SIZES if arguments.scenes else ():
        found = collected(stereo, room_scenes(arguments.scenes, arguments.references, size), f"{size}", arguments.scenes)
        rows += [{"name": name, "metrics": summary(figures, True)} for name, figures in found.items()]
    for folder in arguments.captures:
        found = collected(stereo, capture_scenes(folder, arguments.references), folder.name, arguments.references)
        rows += [{"name": name, "metrics": summary(figures, False)} for name, figures in found.items()]
    motions = PairMotionNetwork.from_pretrained(arguments.motions) if arguments.motions.is_dir() else None
    lacking = {"network"} if motions is None else set()
    lacking |= set() if pycolmap_missing() is None else {"structure_from_motion"}
    methods = [method for method in arguments.methods if method not in lacking]
    if arguments.camera_scenes:
        size, count = arguments.camera_size, arguments.camera_scenes
        rows += camera_rows(room_videos(count, size), f"{size}", count, methods, stereo, motions)
        for folder in arguments.captures:
            rows += camera_rows(capture_windows(folder), folder.name, CAMERA_WINDOWS, methods, stereo, motions)
    for row in rows:
        cells = {name: cell["value"] for name, cell in row["metrics"].items()}
        print(f"{row['name']:40s}", "  ".join(f"{name} {value:.3f}" for name, value in cells.items()))
    settings = {"scenes": arguments.scenes, "references": arguments.references, "captures": [path.name for path in arguments.captures]}
    settings |= {"camera_scenes": arguments.camera_scenes, "camera_size": arguments.camera_size, "methods": methods}
    write_results(arguments.output, "geometry", settings | {"sure": SURE, "farthest": FARTHEST}, rows)


if __name__ == "__main__":
    main()

"""How well the estimators of cameras find cameras that are known: on posed captures of one's own, and on simulated rooms by size.

    python benchmarks/estimators.py CAPTURE...          captures that data_curation can read, and rooms
    python benchmarks/estimators.py --clips 8           rooms only

A capture is cut into windows. The frames of a window stand for a generated video whose cameras are known; frames around it that
do not belong to it are the context. Each row is an estimator on a capture, or on rooms of one size. Rotation errors are relative
to the window's first frame, and `relative_rotation_deg` those from each frame to the next. Rows that are not measured again stay
as they are.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")

from data_curation.readers import find_scenes, read_scene
from data_curation.running import single_threaded
from video4spatial.captures import Capture
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.evaluation.metrics.camera import (
    direction_errors_degrees,
    metric_translation_errors,
    relative_pose_errors,
    rotation_errors_degrees,
)
from video4spatial.evaluation.estimators import ESTIMATORS, Evidence
from video4spatial.evaluation.results import metric, write_results

FIRST_ROOM = 2_050_000  # of the rooms kept for tests
FIGURES = {"relative_rotation_deg": 1, "rotation_deg": 1, "direction_deg": 1, "position_m": 1, "coverage": 0, "positions_coverage": 0}


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", help="folders of posed captures")
    parser.add_argument("--estimators", nargs="+", choices=list(ESTIMATORS), default=list(ESTIMATORS), help="default: all")
    parser.add_argument("--windows", type=int, default=6, help="windows per capture, evenly spread (default %(default)s)")
    parser.add_argument("--frames", type=int, default=9, help="frames of a window (default %(default)s)")
    parser.add_argument("--context", type=int, default=16, help="context frames around a window (default %(default)s)")
    parser.add_argument("--clips", type=int, default=4, help="rooms per size; 0 leaves rooms out (default %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256], help="of the rooms' pictures (default %(default)s)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder of the JSON")
    options = parser.parse_args()
    path = options.results / "estimators.json"
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    with single_threaded():
        for source in options.captures:
            windows = [window for reader, scene in find_scenes(source) for window in _windows(read_scene(reader, scene), options)]
            rows |= _rows(Path(source).name, windows, options.estimators)
        for size in options.sizes if options.clips else []:
            rows |= _rows(f"rooms {size} px", list(_rooms(size, options)), options.estimators)
    settings = {name: getattr(options, name) for name in ("windows", "frames", "context", "clips")}
    write_results(path, "estimators", settings, list(rows.values()))


def _rooms(size: int, options: argparse.Namespace):
    """(evidence, true cameras) of navigation clips in rooms."""
    for seed in range(FIRST_ROOM, FIRST_ROOM + options.clips):
        clip = simulated_navigation_clip(seed, height=size, width=size, num_frames=options.frames)
        yield Evidence.of_clip(clip, clip.target_frames), clip.target_cameras


def _windows(capture: Capture, options: argparse.Namespace):
    """(evidence, true cameras) of windows of a capture; frames with depth are context, since they alone serve all estimators."""
    count = min(options.frames, len(capture))
    depth_frames = _frames_with_depth(capture)
    for start in np.unique(np.linspace(0, len(capture) - count, options.windows).round().astype(int)):
        window = [int(index) for index in range(start, start + count)]
        others = [index for index in (depth_frames or range(len(capture))) if index not in window]
        middle = start + count // 2
        context = sorted(sorted(others, key=lambda index: abs(index - middle))[: options.context])
        cameras = capture.cameras[window]
        evidence = Evidence(
            capture.read_frames(window), cameras.intrinsics, cameras[0],
            context_frames=capture.read_frames(context) if context else None,
            context_cameras=capture.cameras[context] if context else None,
            context_depth=capture.read_depth(context) if depth_frames and context else None,
        )  # fmt: skip
        yield evidence, cameras


def _frames_with_depth(capture: Capture) -> list[int]:
    if capture.read_depth is None:
        return []
    return [index for index in range(len(capture)) if (capture.read_depth([index]) > 0).any()]


def _rows(name: str, windows: list, estimators: list[str]) -> dict[str, dict]:
    """Rows by name."""
    rows = {}
    for estimator in estimators:
        values = {figure: [] for figure in FIGURES}
        absent = ESTIMATORS[estimator].missing()
        applicable = [(evidence, truth) for evidence, truth in windows if not evidence.lacks(ESTIMATORS[estimator].needs)]
        for evidence, truth in [] if absent else applicable:
            for figure, found in _errors(ESTIMATORS[estimator](evidence), truth).items():
                values[figure].append(found)
        cells = {figure: _cell(figure, values[figure], bool(applicable)) for figure in FIGURES}
        row = f"{name}: {estimator}"
        rows[row] = {"name": row, "metrics": cells}
        shown = {figure: cell["value"] and round(cell["value"], 3) for figure, cell in cells.items()}
        print(row, len(windows), shown, flush=True)
    return rows


def _errors(found, truth) -> dict[str, np.ndarray]:
    """Errors of the frames that were found, by figure."""
    turned, placed = found.rotation_known, found.position_known
    steps, _ = relative_pose_errors(found.cameras, truth)
    directions = direction_errors_degrees(found.cameras, truth)
    positions = metric_translation_errors(found.cameras, truth)[placed[1:]]
    return {
        "relative_rotation_deg": steps[turned[1:] & turned[:-1]],
        "rotation_deg": rotation_errors_degrees(found.cameras, truth)[turned[1:]],
        "direction_deg": directions[placed[1:] & np.isfinite(directions)],
        "position_m": positions if found.cameras.metric and truth.metric else positions[:0],
        "coverage": turned[1:].astype(float),
        "positions_coverage": placed[1:].astype(float),
    }


def _cell(figure: str, per_window: list[np.ndarray], applicable: bool) -> dict:
    """The median of errors over all frames with their 90th percentile as `high`, the mean of a coverage."""
    if not applicable:
        return metric(None, status="not_applicable")
    values = np.concatenate(per_window) if per_window else np.zeros(0)
    if not len(values):
        return metric(None, status="missing")
    if not FIGURES[figure]:
        return metric(float(values.mean()), n=len(values))
    return metric(float(np.median(values)), high=float(np.percentile(values, 90)), n=len(values))


if __name__ == "__main__":
    main()

"""How long scoring takes: 64 clips at 128 pixels, with all metrics, with the headline figures, and `v4s score` on files.

    python benchmarks/scoring.py [--clips 64] [--size 128] [--processes 2]

The videos are true ones, blurred. The baseline of a ratio is one process on an eighth of the same clips, in the same run. Rendering
the clips is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

from video4spatial import Video4SpatialPipeline
from video4spatial.cameras import write_cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.benchmark import benchmark_navigation
from video4spatial.evaluation.rows.references import ground_truth_blurred
from video4spatial.evaluation.metrics import METRICS, NAVIGATION_METRICS
from video4spatial.evaluation.results import metric, write_results
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.media import write_images
from video4spatial.pretrained import resolve_model

ROW = "ground_truth_blurred"
BASELINE_SHARE = 8


def scored(pipeline: Video4SpatialPipeline, clips: list[Clip], metrics: list[str], processes: int) -> float:
    """Seconds that one row takes.

    Args:
        pipeline: which the benchmark wants, though this row does not run it.
        clips: rendered.
        metrics: names from the registry.
        processes: how many score at the same time.
    """
    start = time.perf_counter()
    benchmark_navigation(pipeline, clips, (ROW,), metrics=metrics, processes=processes)
    return time.perf_counter() - start


def scored_from_files(clips: list[Clip]) -> float:
    """Seconds of `v4s score` on folders of pictures, cameras given, default metrics."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for clip in clips:
            write_images(root / "generated" / clip.name, ground_truth_blurred(clip))
            write_images(root / "reference" / clip.name, clip.target_frames)
            (root / "cameras").mkdir(exist_ok=True)
            write_cameras(root / "cameras" / f"{clip.name}.json", clip.target_cameras, image_size=clip.target_frames.shape[1:3])
        command = [sys.executable, "-m", "video4spatial.cli.main", "score"]
        for name in ("generated", "reference", "cameras"):
            command += [f"--{name}", str(root / name)]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=64, help="of the test set (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "scoring.json")
    options = parser.parse_args()
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model("rooms"))
    clips = [entry.load(options.size) for entry in track(load_test_set(limit=options.clips), description="rendering")]
    few = clips[: max(1, len(clips) // BASELINE_SHARE)]
    rows = []
    for name, metrics in (("all_metrics", list(METRICS)), ("headline", list(NAVIGATION_METRICS))):
        taken, alone = scored(pipeline, clips, metrics, options.processes), scored(pipeline, few, metrics, 1)
        cells = {"seconds": metric(taken, n=len(clips)), "seconds_per_clip": metric(taken / len(clips))}
        cells["speedup_over_one_process"] = metric(alone / len(few) / (taken / len(clips)))
        rows.append({"name": name, "metrics": cells})
    taken = scored_from_files(clips)
    cells = {"seconds": metric(taken, n=len(clips)), "seconds_per_clip": metric(taken / len(clips))}
    rows.append({"name": "v4s_score_on_files", "metrics": cells})
    settings = {"clips": len(clips), "size": options.size, "frames": len(clips[0].target_frames), "processes": options.processes}
    write_results(options.output, "scoring", settings, rows)
    for row in rows:
        print(f"{row['name']:24s}", *(f"{name} {cell['value']:.3g}" for name, cell in row["metrics"].items()))


if __name__ == "__main__":
    main()

"""How fast and how sturdy curation is: quality beside decoding alone, processes beside a spin loop, Ray beside processes, kills.

    python benchmarks/curation.py                       all rows, about 25 minutes on two cores
    python benchmarks/curation.py --only decode kills   some of them, the others stay as they are

Needs an otherwise idle machine; `ray_local` needs pip install 'video4spatial[ray]'. Videos and rooms are made on the spot.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from data_curation.build import Source, Work, build, scene_tasks
from data_curation.executors import EXECUTORS
from data_curation.pipeline import StageSettings
from data_curation.readers import read_scene
from data_curation.running import SceneTask, curate_scene, single_threaded
from data_curation.scene import pictures_of
from data_curation.shards import ShardSettings
from data_curation.stages.frame_quality import score_frames
from video4spatial.evaluation.results import metric, write_results
from video4spatial.files import LEFTOVER
from video4spatial.media import write_video
from video4spatial.simulation import simulated_capture

ROOT = Path(__file__).parents[1]
STAGES = StageSettings()
KILLED = Source("train:0-5", options={"num_frames": 40, "size": 48})
SPINS = 130_000_000  # turns of the empty loop that stand for a scene


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(ROWS), help="measure these rows only (default: all)")
    parser.add_argument("--scenes", type=int, default=40, help="rooms curated by one and by two processes (default %(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="builds killed (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="times that decoding is measured (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default %(default)s)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder of the JSON")
    options = parser.parse_args()
    path = options.results / "curation.json"
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() and options.only else {}
    for name in options.only or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            rows |= ROWS[name](Path(folder), options)
        print(name, json.dumps(rows[ROW_NAMES[name]]["metrics"], indent=1), flush=True)
    settings = {name: value for name, value in vars(options).items() if name not in ("only", "results")}
    write_results(path, "curation", settings, [rows[name] for name in ROW_NAMES.values() if name in rows])


def decode(folder: Path, options: argparse.Namespace) -> dict:
    """Decode every frame of some videos, and decode and judge it; alternating, on one thread of our own.

    Args:
        folder: for the videos.
        options: of the command line.

    Returns:
        {row's key: row}.
    """
    videos = []
    for number, (width, height) in enumerate([(640, 480), (1280, 720), (1920, 1080)]):
        capture = simulated_capture(number, 120, height, width, frame_rate=30.0, supersample=1)
        videos.append(folder / f"walk-{width}x{height}.mp4")
        write_video(videos[-1], capture.read_frames(range(len(capture))), 30.0)
    metrics = {}
    shares = []
    with single_threaded():
        for video in videos:
            alone, both = [], []
            for _ in range(options.repeats + 1):
                alone.append(_seconds(_decode_all, video))
                both.append(_seconds(_judge_all, video))
            alone, both = statistics.median(alone[1:]), statistics.median(both[1:])  # the first run warms the file cache
            size = video.stem.split("-")[1]
            shares.append(alone / both)
            metrics[f"share_of_decode_{size}"] = metric(alone / both, n=options.repeats)
            metrics[f"frames_per_second_{size}"] = metric(120 / both, n=options.repeats)
    share = metric(statistics.mean(shares), min(shares), max(shares), len(shares))
    return _row("decode_and_quality", share_of_decode=share, **metrics)


def processes(folder: Path, options: argparse.Namespace) -> dict:
    """Curate the same rooms with one and two processes, beside a loop that touches no memory.

    Args:
        folder: for the records.
        options: of the command line.
    """
    seconds = {}
    for workers in (1, 2):
        tasks = _tasks(folder / str(workers), options.scenes)
        seconds["curation", workers] = _seconds(_all_of, EXECUTORS["processes"](workers), curate_scene, tasks)
        seconds["spin", workers] = _seconds(_all_of, EXECUTORS["processes"](workers), spin, [SPINS] * options.scenes)
    speedup, spin_speedup = (seconds[kind, 1] / seconds[kind, 2] for kind in ("curation", "spin"))
    return _row(
        "processes_2",
        speedup=metric(speedup), spin_loop_speedup=metric(spin_speedup), share_of_spin_loop=metric(speedup / spin_speedup),
        seconds_1=metric(seconds["curation", 1]), seconds_2=metric(seconds["curation", 2]),
        spin_seconds_1=metric(seconds["spin", 1]), spin_seconds_2=metric(seconds["spin", 2]),
    )  # fmt: skip


def ray_local(folder: Path, options: argparse.Namespace) -> dict:
    """Curate the same rooms by Ray and by processes, timed from the first that is done to the last: start-up is left out of both.

    Args:
        folder: for the records.
        options: of the command line.
    """
    if importlib.util.find_spec("ray") is None:
        return _row("ray_local", share_of_processes=metric(None, status="missing"))
    seconds = {}
    for name in ("processes", "ray"):
        tasks = _tasks(folder / name, options.scenes)
        ends = []
        for _ in EXECUTORS[name](2).map(curate_scene, tasks):
            ends.append(time.perf_counter())
        seconds[name] = ends[-1] - ends[1]  # two start together
    return _row(
        "ray_local", share_of_processes=metric(seconds["processes"] / seconds["ray"]),
        seconds_processes=metric(seconds["processes"]), seconds_ray=metric(seconds["ray"]),
    )  # fmt: skip


def kills(folder: Path, options: argparse.Namespace) -> dict:
    """Kill builds at random moments and start them again until one ends; what it made is compared with an undisturbed build's.

    Args:
        folder: for the builds.
        options: of the command line.
    """
    build_killed(folder / "undisturbed", "serial")
    wanted = _digest(folder / "undisturbed")
    moments, tried, survived, rounds = random.Random(options.seed), 0, 0, 0
    while tried < options.kills:
        output, killed, rounds = folder / f"round-{rounds}", 0, rounds + 1
        executor = "processes" if rounds % 2 else "serial"
        while True:
            left = options.kills - tried - killed
            process = subprocess.Popen(
                [sys.executable, __file__, "--build", str(output), executor], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
            process.stdout.readline()  # imports are done
            try:
                process.wait(moments.uniform(0, 12.0 if executor == "processes" else 6.0) if left else None)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
        same = process.returncode == 0 and _digest(output) == wanted and not list(output.rglob(f"{LEFTOVER}*"))
        tried, survived = tried + killed, survived + killed * same
        print(f"round {rounds} ({executor}): {killed} kills, {'the same' if same else 'NOT the same'}", flush=True)
    return _row("kills", tried=metric(tried), survived=metric(survived), builds=metric(rounds))


ROWS = {"decode": decode, "processes": processes, "ray": ray_local, "kills": kills}
ROW_NAMES = {"decode": "decode_and_quality", "processes": "processes_2", "ray": "ray_local", "kills": "kills"}


def build_killed(output: Path, executor: str) -> None:
    """The build that is killed: rooms into the folder `output` by `executor`."""
    stages = replace(STAGES, epipolar=replace(STAGES.epipolar, pairs=0))
    build([KILLED], output, stages, shards=ShardSettings(height=32, width=32, clips=8), work=Work(executor=executor, workers=2))


def spin(turns: int) -> int:
    """Count to `turns`, and nothing else."""
    count = 0
    while count < turns:
        count += 1
    return count


def _tasks(folder: Path, scenes: int) -> list[SceneTask]:
    (folder / "scenes").mkdir(parents=True)
    return scene_tasks([Source(f"train:0-{scenes - 1}", options={"num_frames": 96, "size": 128})], STAGES, folder)


def _all_of(executor, function, items) -> None:
    done = list(executor.map(function, items))
    problems = [one for one in done if one.problem or (isinstance(one.value, dict) and one.value["status"] == "failed")]
    if problems:
        raise RuntimeError(f"{len(problems)} items failed, such as {problems[0]}")


def _decode_all(video: Path) -> None:
    capture = read_scene("footage", str(video))
    for _ in pictures_of(capture):
        pass


def _judge_all(video: Path) -> None:
    capture = read_scene("footage", str(video))
    score_frames(capture)


def _seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def _digest(folder: Path) -> str:
    files = [folder / "manifest.parquet", *sorted((folder / "shards").glob("*.tar"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _row(name: str, **metrics: dict) -> dict:
    return {name: {"name": name, "metrics": metrics}}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        print("ready", flush=True)
        build_killed(Path(sys.argv[2]), sys.argv[3])
    else:
        main()

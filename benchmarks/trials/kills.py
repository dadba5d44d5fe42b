"""Commands that are killed (SIGKILL) at random moments, and what they leave."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from video4spatial.evaluation.results import metric
from video4spatial.files import LEFTOVER
from video4spatial.media import write_video
from video4spatial.waits import track

from . import ROOT

KILLED = ("kills_sample", "kills_geometry")
"""Rows of commands that are killed."""


def killed_runs(command: Sequence[str], output: Path, times: Iterable[float]) -> Counter:
    """Start a command again and again and kill it after so many seconds.

    Args:
        command: that writes a folder.
        output: the folder.
        times: seconds of each run.

    Returns:
        How often nothing, a whole folder, or a half one was left.
    """
    outcomes = Counter()
    for seconds in times:
        shutil.rmtree(output, ignore_errors=True)
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        left = sorted(path.name for path in output.parent.iterdir() if not path.name.startswith(LEFTOVER))
        if not left:
            outcomes["nothing_left"] += 1
        else:
            outcomes["whole" if left == [output.name] and _is_whole(output) else "partial_output"] += 1
    return outcomes


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds what the command writes last, and no file in it is empty or an unfinished archive."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    finished = (folder / "scores.json").is_file() or (folder / "geometry.json").is_file()
    return finished and all(path.stat().st_size > 0 for path in files) and (folder / "report.html").is_file()


def kills(count: int, first_seed: int, names: Sequence[str]) -> Iterator[dict]:
    """Rows of commands that are killed while they work.

    Args:
        count: of the killed runs of each.
        first_seed: of the moments.
        names: of the rows.
    """
    if count == 0:
        return
    from video4spatial.simulation.capture import simulated_capture

    drawn = random.Random(first_seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        walk = simulated_capture(2_050_000, 8, 96, 128, frame_rate=4.0)
        write_video(root / "room.mp4", walk.read_frames(range(8)), 4.0)
        given = [sys.executable, "-c", "import sys; from video4spatial.cli.main import main; sys.exit(main())"]
        commands = {
            "kills_sample": [
                sys.executable, "sample.py", "navigate", "--context", str(root / "room.mp4"), "--trajectory", "forward 0.3", "--steps", "1",
                "--geometry", "none", "--output",
            ],
            "kills_geometry": [*given, "geometry", str(root / "room.mp4"), "--output"],
        }
        for name, command in commands.items():
            if name not in names:
                continue
            output = root / name / "out"
            output.parent.mkdir()
            begun = time.monotonic()
            subprocess.run([*command, str(output)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            whole = time.monotonic() - begun
            if not _is_whole(output):
                raise RuntimeError(f"{name}: not even the run that was not killed is whole")
            # More of the moments lie where files are written: near the end.
            times = [whole * (1 - drawn.random() ** 2 * 0.9) for _ in range(count)]
            outcomes = killed_runs([*command, str(output)], output, track(times, name))
            cells = {outcome: metric(outcomes[outcome], n=count) for outcome in ("nothing_left", "whole", "partial_output")}
            yield {"name": name, "metrics": cells}

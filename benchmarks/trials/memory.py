"""Large inputs, and the most memory and the time that the commands take for them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil
from PIL import Image

from video4spatial.evaluation.results import metric
from video4spatial.waits import track

from . import COMMANDS, ROOT

SECONDS_BETWEEN_LOOKS = 0.05
MOST_GIGABYTES = 4.0
"""What is bounded stays below this."""


def video_of_ten_minutes(folder: Path, scale: float) -> list[str]:
    """A 4K video of 10 minutes as context."""
    path = folder / "long.mp4"
    source = f"testsrc2=size=3840x2160:rate=3:duration={600 * scale:g}"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "35", "-g", "30", "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", source, *coding, str(path)], check=True)
    return _sampled(path, folder)


def folder_of_photographs(folder: Path, scale: float) -> list[str]:
    """5 000 photographs of 12 megapixels as context: twenty pictures under many names."""
    photographs = folder / "photographs"
    photographs.mkdir()
    y, x = np.mgrid[:3000, :4000]
    for index in range(round(5000 * scale)):
        path = photographs / f"{index:04d}.jpg"
        if index < 20:
            Image.fromarray(np.stack([x // 8 + 5 * index, y // 8, (x + y) // 16], -1).astype(np.uint8)).save(path, quality=80)
        else:
            os.link(photographs / f"{index % 20:04d}.jpg", path)
    return _sampled(photographs, folder)


def curation_of_many_scenes(folder: Path, scale: float) -> list[str]:
    """A data set of 1 000 rooms."""
    sources = f"[{{path: 'train:0-{round(1000 * scale) - 1}', reader: rooms, options: {{num_frames: 16, size: 32}}}}]"
    small = ["--shards.height", "32", "--shards.width", "32"]
    build = [*COMMANDS, "curate", "build", "--config", "configs/curation/rooms.yaml", "--sources", sources]
    return [*build, "--output", str(folder / "out"), *small]


MEASURED: dict[str, Callable[[Path, float], list[str]]] = {
    "memory_long_video": video_of_ten_minutes, "memory_photographs": folder_of_photographs, "memory_curation": curation_of_many_scenes,
}  # fmt: skip
"""Rows of large inputs: what makes the input, a share of its size, and gives the command."""


def _sampled(context: Path, folder: Path) -> list[str]:
    options = ["--trajectory", "forward 0.3", "--steps", "1", "--output", str(folder / "out")]
    return [sys.executable, "sample.py", "navigate", "--context", str(context), *options]


def measured_memory(names: Sequence[str], scale: float) -> Iterator[dict]:
    """Rows of commands that are given much.

    Args:
        names: of the rows.
        scale: share of the full inputs that is made.
    """
    for name in track([name for name in names if name in MEASURED], "large inputs"):
        with tempfile.TemporaryDirectory() as folder:
            command = MEASURED[name](Path(folder), scale)
            peak, seconds = peak_of(command)
        cells = {"peak_gigabytes": peak / 1e9, "seconds": seconds, "bounded": int(peak < MOST_GIGABYTES * 1e9), "scale": scale}
        yield {"name": name, "metrics": {cell: metric(round(value, 3), n=1) for cell, value in cells.items()}}


def peak_of(command: Sequence[str]) -> tuple[int, float]:
    """Run a command, quietly.

    Args:
        command: to run.

    Returns:
        The most bytes that it and its children had in memory together, pages that they share counted for each, and its seconds.

    Raises:
        RuntimeError: where it fails.
    """
    peak, begun = 0, time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, sum(map(_resident, [watched, *_children(watched)])))
            time.sleep(SECONDS_BETWEEN_LOOKS)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return peak, time.monotonic() - begun


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:  # it has just ended
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0

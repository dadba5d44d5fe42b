"""Journeys start where users do: at the command line, in a folder of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from video4spatial.media import write_images, write_video

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def command():
    """Function: script and arguments to the finished process, run in a folder."""

    def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, ROOT / script, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def footage(tmp_path_factory) -> Path:
    """A folder with the same twelve frames of 96 x 64 as `video.mp4` and as `images/`."""
    folder = tmp_path_factory.mktemp("footage")
    y, x = np.mgrid[:64, :96]
    frames = np.stack([np.stack([2 * x + 5 * t, 3 * y + 0 * x, x + y], axis=-1) % 256 for t in range(12)])
    write_video(folder / "video.mp4", frames.astype(np.uint8), 4.0)
    write_images(folder / "images", frames.astype(np.uint8))
    return folder

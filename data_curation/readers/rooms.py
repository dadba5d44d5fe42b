"""Simulated rooms: a range of scene seeds, such as `train:0-199`."""

from __future__ import annotations

import re

from data_curation.readers.support import ReaderError
from video4spatial.captures import Capture
from video4spatial.simulation import SEED_RANGES, simulated_capture

DESCRIPTION = "simulated rooms: SPLIT:FIRST-LAST, counted within the split, such as train:0-199"


def find(source: str) -> list[str]:
    """One scene per seed of a `source` such as train:0-199; nothing for a source of another form."""
    match = re.fullmatch(r"([a-z]+):(\d+)(?:-(\d+))?", source)
    if match is None:
        return []
    split, first, last = match[1], int(match[2]), int(match[3] or match[2])
    if split not in SEED_RANGES:
        raise ReaderError(f"{source}: unknown split {split!r}, expected {', '.join(SEED_RANGES)}")
    seeds = SEED_RANGES[split]
    if not first <= last < len(seeds):
        raise ReaderError(f"{source}: expected FIRST <= LAST <= {len(seeds) - 1}")
    return [f"{split}:{index}" for index in range(first, last + 1)]


def read(scene: str, num_frames: int = 96, size: int = 128, frame_rate: float = 4.0, walk_seed: int = 0) -> Capture:
    """A walk through a room, rendered when read.

    Args:
        scene: such as train:7.
        num_frames, frame_rate: length of the walk in frames, and frames per second.
        size: height and width in pixels.
        walk_seed: which walk.
    """
    split, index = scene.split(":")
    return simulated_capture(SEED_RANGES[split][int(index)], num_frames, size, size, frame_rate, walk_seed=walk_seed)

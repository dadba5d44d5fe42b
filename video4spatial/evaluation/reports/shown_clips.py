"""Which clips a page about many shows, with their videos, scores and cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.evaluation.scorecard import ScoredClip, measured_cameras
from video4spatial.geometry.estimated_cameras import EstimatedCameras


@dataclass(frozen=True)
class ShownClip:
    """A clip that is shown with its videos.

    Args:
        why: it was chosen, such as "worst".
        clip: with truth and context as far as they are known.
        videos: {row: [T, H, W, 3] uint8}; the first is the one under test.
        measurements: {row: {metric: measurement}} of these and of other rows.
        estimated_cameras: {row: T cameras measured from the frames}, of rows whose cameras can be measured.
    """

    why: str
    clip: Clip
    videos: Mapping[str, np.ndarray]
    measurements: Mapping[str, Mapping[str, Measurement]]
    estimated_cameras: Mapping[str, EstimatedCameras] = field(default_factory=dict)


def chosen_clips(
    entries: Sequence[ScoredClip], metric: Metric, worst: int = 3, best: int = 2, random: int = 2
) -> list[tuple[str, ScoredClip]]:
    """Clips worth looking at: the worst, those without a value first, the best, and some drawn from the rest.

    Args:
        entries: all clips of a row.
        metric: by which they are ranked.
        worst, best, random: how many of each.

    Returns:
        (why, clip), each clip once, in this order.
    """
    sign = 1 if metric.direction == "higher" else -1

    def goodness(entry: ScoredClip) -> float:
        value = entry.measurements[metric.name].value
        return -math.inf if value is None else sign * value

    ranked = sorted(entries, key=goodness)
    low = ranked[:worst]
    high = ranked[len(low) :][::-1][:best]
    rest = ranked[len(low) : len(ranked) - len(high)]
    drawn = np.random.default_rng(0).permutation(len(rest))[:random]
    return [
        *(("worst", entry) for entry in low), *(("best", entry) for entry in high),
        *(("random", rest[index]) for index in sorted(drawn)),
    ]  # fmt: skip


def shown_clips(
    load: Callable[[str], Clip],
    clips: Mapping[str, Sequence[ScoredClip]],
    frames: Mapping[str, Mapping[str, np.ndarray]],
    metric: Metric,
) -> list[ShownClip]:
    """The clips worth looking at, with all that is known of them.

    Args:
        load: clip name -> clip.
        clips: figures of single clips by row.
        frames: {row: {clip name: [T, H, W, 3] uint8}}; by the first row the clips are chosen.
        metric: by which they are ranked.

    Returns:
        The clips in the order of `chosen_clips`.
    """
    by_name = {row: {entry.clip: entry.measurements for entry in entries} for row, entries in clips.items()}
    subject = next(iter(frames))
    chosen = chosen_clips([entry for entry in clips[subject] if entry.clip in frames[subject]], metric)
    shown = []
    for why, entry in chosen:
        clip = load(entry.clip)
        videos = {row: videos[entry.clip] for row, videos in frames.items() if entry.clip in videos}
        estimated = {row: cameras for row, video in videos.items() if (cameras := measured_cameras(clip, video)) is not None}
        measurements = {row: of_clips[entry.clip] for row, of_clips in by_name.items() if entry.clip in of_clips}
        shown.append(ShownClip(why, clip, videos, measurements, estimated))
    return shown

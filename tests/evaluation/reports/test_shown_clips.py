"""The clips to look at: the worst, the best and some others, with their cameras."""

import numpy as np

from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.reports.shown_clips import chosen_clips, shown_clips
from video4spatial.evaluation.scorecard import ScoredClip, measured_cameras


def test_chosen_clips_are_the_worst_and_best_and_each_once():
    entries = [ScoredClip(f"clip-{i}", "s", "", {"psnr": Measurement(float(i))}) for i in range(8)]
    entries.append(ScoredClip("lost", "s", "", {"psnr": Measurement.missing("blank")}))
    chosen = [(why, entry.clip) for why, entry in chosen_clips(entries, METRICS["psnr"], 2, 2, 2)]
    assert chosen[:4] == [("worst", "lost"), ("worst", "clip-0"), ("best", "clip-7"), ("best", "clip-6")]
    assert len(set(chosen)) == 6 and [why for why, _ in chosen[4:]] == ["random"] * 2
    assert len(chosen_clips(entries[:1], METRICS["psnr"])) == 1


def test_shown_clips_have_the_cameras_that_scores_take(clip):
    frames = clip.target_frames.copy()
    frames[2:] = np.random.default_rng(0).integers(0, 255, frames[2:].shape, dtype=np.uint8)
    entry = ScoredClip.of(clip, {"psnr": Measurement(20.0)})
    (shown,) = shown_clips(lambda name: clip, {"model": [entry]}, {"model": {clip.name: frames}}, METRICS["psnr"])
    (cameras,) = shown.estimated_cameras.values()
    expected = measured_cameras(clip, frames)
    assert cameras.cameras.allclose(expected.cameras)
    assert cameras.position_known.tolist() == expected.position_known.tolist() == [True, True, False, False, False]

"""Scoring one video: the truth ranks first, what cannot be measured says so, cameras come from one place."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips import Ground
from video4spatial.evaluation.estimators.render_and_compare import UNLIKE
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.metrics import METRICS, NAVIGATION_METRICS, SET_METRICS, metrics_named
from video4spatial.evaluation.rows import references
from video4spatial.evaluation.scoring import measured_cameras, score_clip


def test_the_truth_beats_every_reference_on_the_headline(clip):
    names = [name for name in NAVIGATION_METRICS if name != "ssim"]
    truth = score_clip(clip, references.ground_truth(clip), names)
    assert all(m.status == "ok" for m in truth.values())
    worse = (references.copy_nearest, references.mean_colour, references.static, references.reversed_truth, references.shuffled)
    for reference in worse:
        scores = score_clip(clip, reference(clip), names)
        assert scores["psnr"].value < truth["psnr"].value and scores["gradient_correlation"].value < 0.95
        turned = scores["rotation_error_deg"]
        if reference is references.mean_colour:  # frames that show nothing have no camera, and count as worst
            assert turned.status == "missing" and "resembles no view" in turned.reason
        else:
            assert turned.value > truth["rotation_error_deg"].value


def test_unknown_metrics_and_frames_that_do_not_fit(clip):
    with pytest.raises(ValueError, match="unknown metric 'psnrr' .did you mean 'psnr'"):
        metrics_named(["psnrr"])
    with pytest.raises(ValueError, match="4 generated frames for 5"):
        Sample(clip, clip.target_frames[:4])


def test_without_truth_only_what_needs_none_is_scored(clip):
    real = replace(clip, target_frames=None, target_depth=None, context_depth=None, context_cameras=None, provenance={})
    scores = score_clip(real, clip.target_frames)
    assert scores["psnr"].status == scores["rotation_error_deg"].status == "not_applicable"
    assert scores["motion"].status == scores["flicker"].status == "ok"


def test_registry_is_complete():
    for metric in (*METRICS.values(), *SET_METRICS.values()):
        assert metric.explanation.endswith(".") and metric.source
        assert metric.direction != "none" or not metric.sees
    with pytest.raises(ValueError, match="degradation 'blurr'"):
        replace(METRICS["psnr"], sees=("blurr",))


def test_cameras_are_measured_the_same_way_whoever_asks(clip):
    frames = clip.target_frames.copy()
    frames[3:] = np.random.default_rng(0).integers(0, 255, frames[3:].shape, dtype=np.uint8)  # these show nothing of the scene
    cameras = measured_cameras(clip, frames)
    assert cameras.position_known.tolist() == [True] * 3 + [False] * (len(frames) - 3)
    assert len(cameras.placed) == 3 and (cameras.confidence[1:3] > 1 - UNLIKE).all()
    by_default, given = score_clip(clip, frames), score_clip(clip, frames, estimated_cameras=cameras)
    assert by_default == given and by_default["rotation_error_deg"].share == pytest.approx(2 / (len(frames) - 1))
    assert measured_cameras(replace(clip, provenance={}), frames) is None
    found = measured_cameras(replace(clip, instruction=Ground("go to the lamp")), frames)  # whatever was asked for
    assert found.cameras.allclose(cameras.cameras)

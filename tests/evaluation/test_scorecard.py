"""From clips to figures: failures count, nothing is NaN, headline scores rank the truth first."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from video4spatial.evaluation.rows import references
from video4spatial.evaluation.measurement import Measurement, Sample
from video4spatial.evaluation.metrics.registry import METRICS, NAVIGATION_METRICS, SET_METRICS, metrics_named
from video4spatial.evaluation.scorecard import aggregate, bootstrap_interval, paired_difference, score_clip


def ok(*values):
    return [(f"scene-{i}", Measurement(v)) for i, v in enumerate(values)]


def test_failures_lower_the_penalised_mean_and_the_coverage():
    metric, half = METRICS["psnr"], ok(20.0, 22.0, 24.0, 26.0)
    whole = aggregate(metric, half)
    half[1] = half[3] = ("scene-9", Measurement.missing("blank"))
    broken = aggregate(metric, half)
    assert (whole.value, whole.penalised, whole.coverage) == (23, 23, 1)
    assert broken.value == 22 and broken.coverage == 0.5 and broken.penalised == pytest.approx((20 + 0 + 24) / 3)
    error = METRICS["rotation_error_deg"]
    assert aggregate(error, [*ok(2.0), ("x", Measurement.missing("blank"))]).penalised == 91


def test_scenes_weigh_the_same_however_many_clips_they_have():
    values = [("a", Measurement(1.0))] * 9 + [("b", Measurement(3.0))]
    assert aggregate(METRICS["psnr"], values).value == 2


def test_nothing_measured_is_never_nan():
    for status in ("missing", "failed", "not_applicable"):
        result = aggregate(METRICS["psnr"], [("a", Measurement(None, status, "why"))])
        assert result.status == status and result.value is None
        json.dumps(result.cell(), allow_nan=False)
    with pytest.raises(ValueError, match="finite"):
        Measurement(math.nan)
    with pytest.raises(ValueError, match="reason"):
        Measurement(None, "missing")


def test_interval_holds_the_mean_and_is_reproducible():
    values = np.random.default_rng(0).normal(5, 1, 64)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high and (low, high) == bootstrap_interval(values)
    standard_error = values.std(ddof=1) / 8
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)
    assert bootstrap_interval(values[:1]) == (None, None)


def test_paired_difference_decides_where_intervals_overlap():
    rng = np.random.default_rng(0)
    base = rng.normal(20, 5, 64)
    better = base + rng.normal(0.5, 0.2, 64)
    assert paired_difference(METRICS["psnr"], ok(*better), ok(*base))["better"] == "first"
    assert paired_difference(METRICS["rotation_error_deg"], ok(*better), ok(*base))["better"] == "second"
    assert paired_difference(METRICS["psnr"], ok(*base), ok(*base))["better"] == "undecided"
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(METRICS["psnr"], ok(1.0), ok(1.0, 2.0))


def test_the_truth_beats_every_reference_on_the_headline(clip):
    names = [name for name in NAVIGATION_METRICS if name != "ssim"]
    truth = score_clip(clip, references.ground_truth(clip), names)
    assert all(m.status == "ok" for m in truth.values())
    for row in ("copy_nearest", "mean_colour", "static", "reversed", "shuffled"):
        scores = score_clip(clip, references.FRAME_REFERENCES[row](clip), names)
        assert scores["psnr"].value < truth["psnr"].value and scores["gradient_correlation"].value < 0.95
        turned = scores["rotation_error_deg"]
        if row == "mean_colour":  # frames that show nothing have no camera, and count as worst
            assert turned.status == "missing" and "resembles no view" in turned.reason
        else:
            assert turned.value > truth["rotation_error_deg"].value


def test_unknown_metrics_and_frames_that_do_not_fit(clip):
    with pytest.raises(ValueError, match="psnrr"):
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

"""From measurements of clips to figures: failures count, nothing is NaN, rows compare clip by clip."""

import json
import math

import numpy as np
import pytest

from video4spatial.evaluation.aggregation import (
    aggregate,
    bootstrap_interval,
    paired_difference,
    paired_differences,
    rows_of_one_clip,
    rows_over_clips,
)
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.scoring import ScoredClip


def ok(*values):
    return [(f"scene-{i}", Measurement(v)) for i, v in enumerate(values)]


def test_failures_lower_the_penalised_mean_and_the_coverage():
    metric, half = METRICS["psnr"], ok(20.0, 22.0, 24.0, 26.0)
    whole = aggregate(metric, half)
    half[1] = half[3] = ("scene-9", Measurement.missing("blank"))
    broken = aggregate(metric, half)
    assert (whole["value"], whole["penalised"], whole["coverage"]) == (23, 23, 1)
    assert broken["value"] == 22 and broken["coverage"] == 0.5 and broken["penalised"] == pytest.approx((20 + 0 + 24) / 3)
    error = METRICS["rotation_error_deg"]
    assert aggregate(error, [*ok(2.0), ("x", Measurement.missing("blank"))])["penalised"] == 91


def test_scenes_weigh_the_same_however_many_clips_they_have():
    values = [("a", Measurement(1.0))] * 9 + [("b", Measurement(3.0))]
    assert aggregate(METRICS["psnr"], values)["value"] == 2


def test_nothing_measured_is_never_nan():
    for status in ("missing", "failed", "not_applicable"):
        result = aggregate(METRICS["psnr"], [("a", Measurement(None, status, "why"))])
        assert result["status"] == status and result["value"] is None and result["reason"] == "why"
        json.dumps(result, allow_nan=False)
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
    assert bootstrap_interval(values[:7]) == (None, None) and None not in bootstrap_interval(values[:8])


def test_paired_difference_decides_where_intervals_overlap():
    rng = np.random.default_rng(0)
    base = rng.normal(20, 5, 64)
    better = base + rng.normal(0.5, 0.2, 64)
    assert paired_difference(METRICS["psnr"], ok(*better), ok(*base))["better"] == "first"
    assert paired_difference(METRICS["rotation_error_deg"], ok(*better), ok(*base))["better"] == "second"
    assert paired_difference(METRICS["psnr"], ok(*base), ok(*base))["better"] == "undecided"
    few = paired_difference(METRICS["psnr"], ok(*better[:7]), ok(*base[:7]))
    assert few["value"] > 0 and few["better"] == "undecided" and few["low"] is None
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(METRICS["psnr"], ok(1.0), ok(1.0, 2.0))


def scored(*values) -> list[ScoredClip]:
    return [ScoredClip(f"clip-{i}", f"scene-{i}", "", {"psnr": Measurement(v)}) for i, v in enumerate(values)]


def test_rows_over_clips_are_aggregates_and_rows_without_clips_do_not_apply():
    model, absent = rows_over_clips({"model": scored(20.0, 24.0), "image_to_video": []}, ["psnr"])
    assert model == {"name": "model", "metrics": {"psnr": aggregate(METRICS["psnr"], ok(20.0, 24.0))}}
    assert absent["metrics"]["psnr"] == {"value": None, "low": None, "high": None, "n": None, "status": "not_applicable"}
    (told,) = rows_over_clips({"image_to_video": []}, ["psnr"], {"image_to_video": "no pipeline"})
    assert told["metrics"]["psnr"]["reason"] == "no pipeline"


def test_rows_of_one_clip_keep_the_reasons():
    (row,) = rows_of_one_clip({"model": {"psnr": Measurement(20.0), "rigidity": Measurement.missing("no match")}})
    assert row["metrics"]["psnr"] == {"value": 20.0, "low": None, "high": None, "n": 1, "status": "ok"}
    assert row["metrics"]["rigidity"]["status"] == "missing" and row["metrics"]["rigidity"]["reason"] == "no match"


def test_paired_differences_leave_out_rows_without_clips():
    differences = paired_differences(scored(20.0, 24.0), {"static": scored(19.0, 21.0), "image_to_video": []}, ["psnr"])
    assert list(differences) == ["static"] and differences["static"]["psnr"]["value"] == 2.0
    assert paired_differences([], {"static": scored(19.0)}, ["psnr"]) == {}

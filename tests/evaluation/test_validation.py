"""The metric of metrics tells good metrics from bad ones."""

import numpy as np
import pytest

from video4spatial.evaluation.faults import GRADED
from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.evaluation.validation import (
    accepts, combined_ranks, headline, ladder, rank_differences, spearman, threshold, validation_row, video_name,
)  # fmt: skip


def metric(name: str, direction: str = "higher", worst: float | None = 0.0, sees: tuple[str, ...] = ("blur",)) -> Metric:
    return Metric(name, lambda sample: Measurement(0.0), direction, "", worst, (), "For a test.", source="own", sees=sees)


def scored(name: str, values) -> list:
    """One video of a clip of each of several scenes."""
    measured = [value if isinstance(value, Measurement) else Measurement(float(value)) for value in values]
    return [(f"scene-{index}", {name: value}) for index, value in enumerate(measured)]


def videos(name: str, by_level, scenes: int = 6, noise: float = 0.05) -> dict:
    """Videos of the degradation blur: the value of each level, truth first, with noise between scenes and clips."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 3, scenes)
    levels = zip(ladder(GRADED["blur"]), by_level, strict=True)
    return {video: scored(name, base + value + rng.normal(0, noise, scenes)) for video, value in levels}


def test_a_metric_that_follows_the_level_is_told_from_one_that_does_not():
    blur_ = GRADED["blur"]
    good, late, wrong = videos("m", [9, 8, 7, 6, 5, 4]), videos("m", [9, 9, 9, 6, 5, 4]), videos("m", [4, 5, 6, 7, 8, 9])
    assert [value for _, value in spearman([metric("m")], good, blur_)] == pytest.approx([1.0] * 6)
    assert threshold([metric("m")], good, blur_) == blur_.levels[0] and threshold([metric("m")], late, blur_) == blur_.levels[2]
    assert spearman([metric("m")], wrong, blur_)[0][1] == pytest.approx(-1)
    assert threshold([metric("m")], wrong, blur_) is None
    assert spearman([metric("m", "lower", 180.0)], wrong, blur_)[0][1] == pytest.approx(1)
    dead = videos("m", [5] * 6, noise=0.0)
    assert [value for _, value in spearman([metric("m")], dead, blur_)] == [0.0] * 6
    assert threshold([metric("m")], dead, blur_) is None


def test_a_fault_that_breaks_the_measurement_counts_as_seen():
    measured = videos("m", [9, 8, 7, 6, 5, 4])
    measured[video_name(GRADED["blur"], 4)] = scored("m", [Measurement.missing("nothing to match")] * 6)
    assert spearman([metric("m", worst=-50.0)], measured, GRADED["blur"])[0][1] == pytest.approx(1)
    assert len(spearman([metric("m", worst=None)], measured, GRADED["blur"])) == 6  # the other levels still count


def test_clips_that_do_not_allow_a_degradation_are_left_out():
    measured = videos("m", [9, 8, 7, 6, 5, 4])
    measured[video_name(GRADED["blur"], 4)][2] = ("scene-2", {})
    assert len(spearman([metric("m")], measured, GRADED["blur"])) == 5
    assert threshold([metric("m")], measured, GRADED["blur"]) == GRADED["blur"].levels[0]


def test_ranks_of_several_metrics_together():
    first, second = metric("first"), metric("second", "lower", 180.0)

    def video(one: float, other: float) -> dict:
        return {"first": Measurement(one), "second": Measurement(other)}

    ranks = combined_ranks([first, second], [video(3, 1), video(2, 2), video(1, 2)])
    assert ranks.tolist() == [1.0, 2.25, 2.75]
    absent = {"first": Measurement.missing("blank"), "second": Measurement.missing("blank")}
    assert combined_ranks([first, second], [video(1, 90), absent]).tolist() == [1, 2]
    untried = {"first": Measurement(1.0)}
    assert combined_ranks([first, second], [video(2, 2), untried]).tolist() == [1, 2]
    nothing = {"first": Measurement(None, "not_applicable", "why")}
    assert np.isnan(combined_ranks([first], [nothing, nothing])).all()


def test_cheats_pass_unless_they_surely_lose():
    measure = metric("m")
    honest = scored("m", [20, 22, 24, 26, 21, 23])
    worse = scored("m", [19, 21, 22, 25, 20, 21])
    doubtful = scored("m", [19, 23, 23, 27, 20, 23])
    assert not accepts([measure], honest, worse)
    assert accepts([measure], honest, doubtful) and accepts([measure], honest, honest)
    # Several metrics: what one of them rejects passes all the same if it wins by the others.
    more = [metric(name) for name in ("m", "a", "b")]

    def with_others(scores: list, others: float) -> list:
        return [(scene, values | {"a": Measurement(others), "b": Measurement(others)}) for scene, values in scores]

    assert accepts(more, with_others(honest, 1.0), with_others(worse, 2.0))
    assert not accepts(more, with_others(honest, 1.0), with_others(worse, 1.0))
    assert not accepts(more, with_others(honest, 2.0), with_others(worse, 1.0))


def test_failing_half_the_clips_loses():
    measures = [metric("m"), metric("angle", "lower", 180.0)]
    honest = [(f"scene-{i}", {"m": Measurement(20.0 + i), "angle": Measurement(2.0)}) for i in range(8)]
    broken = Measurement.missing("blank")
    halved = [(scene, values if i % 2 else {name: broken for name in values}) for i, (scene, values) in enumerate(honest)]
    differences = [value for _, value in rank_differences(measures, honest, halved)]
    assert differences == [1, 0] * 4 and not accepts(measures, honest, halved)
    # A single figure loses too: it cannot be raised by leaving the hard clips out.
    assert all(not accepts([measure], honest, halved) for measure in measures)


def test_headline_is_chosen_by_rule():
    partly = {"truth": scored("rare", [Measurement.missing("why")] * 3 + [9] * 3)}
    candidates = {
        "twin": (metric("twin"), videos("twin", [9, 8, 7, 6, 5, 4])),
        "good": (metric("good"), videos("good", [9, 8, 7, 6, 5, 4])),
        "blind": (metric("blind"), videos("blind", [5] * 6, noise=1.0)),
        "silent": (metric("silent", sees=()), videos("silent", [9, 8, 7, 6, 5, 4])),
        "endless": (metric("endless", worst=None), videos("endless", [9, 8, 7, 6, 5, 4])),
        "rare": (metric("rare"), videos("rare", [9, 8, 7, 6, 5, 4]) | partly),
        "motion": (metric("motion", "none"), videos("motion", [9, 8, 7, 6, 5, 4])),
    }
    measured = {
        name: [(f"scene-{i}", {c: measures[name][i][1][c] for c, (_, measures) in candidates.items()}) for i in range(6)]
        for name in ladder(GRADED["blur"])
    }
    accepted = dict.fromkeys(candidates, 1) | {"good": 0}
    chosen, reasons = headline([candidate for candidate, _ in candidates.values()], measured, accepted)
    assert chosen == ["good"] and set(reasons) == set(candidates) - {"good"}
    assert reasons["twin"] == "seen by good too"
    assert "blur" in reasons["blind"] and "50%" in reasons["rare"]


def test_a_row_has_the_least_of_what_is_declared():
    measured = videos("m", [9, 9, 9, 6, 5, 4])
    row = validation_row("m", [metric("m")], measured, ["blur"], accepted=3)
    cells = row["metrics"]
    assert cells["spearman"] == cells["spearman_blur"] and cells["threshold_blur"]["value"] == 2
    assert cells["threshold"]["value"] == 2 / 4 and cells["cheats_accepted"]["value"] == 3
    assert validation_row("m", [metric("m")], measured, [], 0)["metrics"]["spearman"]["status"] == "not_applicable"

"""Two runs against each other: clip by clip, by their means, or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.evaluation.aggregation import aggregate
from video4spatial.evaluation.comparison import Run, compare_runs, read_run
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.results import write_results
from video4spatial.evaluation.scoring import ScoredClip

SETTINGS = {"test_set": "rooms", "height": 64, "width": 64}


def run_of(name: str, values, metric: str = "psnr", details: bool = True, row: str = "model", start: int = 0) -> Run:
    measured = [Measurement.missing("blank") if value is None else Measurement(float(value)) for value in values]
    clips = [ScoredClip(f"clip-{i}", f"scene-{i}", f"made-{i}", {metric: m}) for i, m in enumerate(measured, start)]
    cell = aggregate(METRICS[metric], [(clip.scene, clip.measurements[metric]) for clip in clips])
    settings = SETTINGS | {"clips": len(clips)}
    return Run(name, "navigation_rooms", settings, {row: {metric: cell}}, {row: clips} if details else None)


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(20, 4, 32)


def test_pairs_decide_what_means_cannot(values):
    better = values + np.random.default_rng(1).normal(0.5, 0.2, 32)
    (paired,) = compare_runs(run_of("a", values), run_of("b", better)).differences
    assert paired.verdict == "better" and paired.difference["low"] > 0
    assert paired.difference["value"] == pytest.approx(np.mean(better - values))
    without = compare_runs(run_of("a", values, details=False), run_of("b", better))
    assert not without.paired and "means only" in without.notes[0]
    (unpaired,) = without.differences
    assert unpaired.verdict == "undecided" and unpaired.difference["value"] == pytest.approx(paired.difference["value"])
    (far,) = compare_runs(run_of("a", values), run_of("b", values - 10, details=False)).differences
    assert far.verdict == "worse"


def test_few_scenes_give_values_and_no_verdict(values):
    better = values + 1
    for details in (True, False):
        comparison = compare_runs(run_of("a", values[:7], details=details), run_of("b", better[:7]))
        (difference,) = comparison.differences
        assert difference.verdict == "too few to say" and difference.difference["low"] is None
        assert difference.difference["value"] == pytest.approx(1)
    told = compare_runs(run_of("a", values[:7]), run_of("b", better[:7])).notes
    assert told == ("too few to say more: intervals and verdicts take 8 scenes, and these are 7",)


def test_the_verdict_knows_which_side_is_better(values):
    names = {"rotation_error_deg": "worse", "psnr": "better", "motion": "neither"}
    for name, verdict in names.items():
        (difference,) = compare_runs(run_of("a", values, name), run_of("b", values + 1, name)).differences
        assert difference.verdict == verdict


def test_failing_does_not_win(values):
    failing = [value + 1 if i % 2 else None for i, value in enumerate(values)]
    (difference,) = compare_runs(run_of("a", values), run_of("b", failing)).differences
    assert difference.verdict == "worse" and difference.second["coverage"] == 0.5


def test_only_shared_clips_count(values):
    comparison = compare_runs(run_of("a", values[:20]), run_of("b", values[10:], start=10))
    assert comparison.clips == 10 and len(comparison.notes) == 2 and "10 of 20 clips" in comparison.notes[0]
    assert comparison.differences[0].difference["value"] == 0 and comparison.differences[0].verdict == "undecided"


def test_other_test_sets_are_refused(values):
    one = run_of("a", values)
    other = run_of("b", values)
    halls = {**other.settings, "test_set": "halls", "height": 128}
    strangers = {"model": [replace(clip, fingerprint="x") for clip in other.clips["model"]]}
    for changed, message in (
        (replace(other, settings=halls), "test set is rooms in a and halls in b; height"),
        (replace(other, benchmark="score"), "is of navigation_rooms and b of score"),
        (replace(other, clips=strangers), "32 clips of one name"),
        (run_of("b", values, start=100), "no clip in common"),
        (run_of("b", values[:4], details=False), "32 clips in a and 4 in b"),
    ):
        with pytest.raises(ValueError, match=message):
            compare_runs(one, changed)
    with pytest.raises(ValueError, match="b has no row 'modle'"):
        compare_runs(one, other, row="modle", against="model")
    with pytest.raises(ValueError, match="share no row"):
        compare_runs(one, run_of("b", values, row="generated"))
    assert compare_runs(one, run_of("b", values, row="generated"), "generated", "model").clips == 32


def test_files_hold_single_clips(values, tmp_path):
    run = run_of("a", [*values, None])
    rows = [{"name": "model", "metrics": run.rows["model"]}]
    write_results(tmp_path / "a.json", run.benchmark, run.settings, rows, clips=run.clips)
    read = read_run(tmp_path / "a.json")
    assert read.clips == run.clips and read.rows == run.rows
    write_results(tmp_path / "b.json", run.benchmark, run.settings, rows)
    assert read_run(tmp_path / "b.json").clips is None
    for text in ("{}", "nothing", "[1]", '{"rows": [{"name": 3}]}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="bad.json: not a results file"):
            read_run(tmp_path / "bad.json")

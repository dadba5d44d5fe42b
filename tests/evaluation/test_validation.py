"""Known faults do what their level says, and the metric of metrics tells good metrics from bad ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.evaluation.metrics import camera
from video4spatial.evaluation.degradations import (
    CHEATS, GRADED, METRES_PER_DEGREE, Stage, backwards, blur, camera_noise, cheats, film, frozen, object_inserted,
    object_moved, replaced, scale_drift, swimming, texture_faded, wrong_turn,
)  # fmt: skip
from video4spatial.evaluation.measurement import DEGRADATIONS, Measurement, Metric, Sample
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.evaluation.validation import (
    accepts, combined_ranks, headline, ladder, rank_differences, spearman, threshold, validation_row, video_name,
)  # fmt: skip
from video4spatial.simulation.renderer import render


@pytest.fixture(scope="module")
def stage(other_clip):
    """A clip that shows a movable object and free space."""
    return Stage(load_test_set(limit=1)[0].load(64), other_clip)


# ---- degradations ------------------------------------------------------------------------------------------------


def test_every_declarable_degradation_can_be_made():
    assert set(GRADED) == set(DEGRADATIONS)
    for degradation in GRADED.values():
        assert list(degradation.levels) == sorted(degradation.levels) and degradation.levels[0] > 0


def test_camera_degradations_are_as_large_as_their_level(clip):
    truth = clip.target_cameras
    noisy = camera_noise(truth, 5.0)
    assert torch.allclose(rotation_angle_degrees(noisy.rotations, truth.rotations)[1:], torch.tensor(5.0).double())
    assert torch.allclose(noisy.distance_to(truth)[1:], torch.tensor(5.0 * METRES_PER_DEGREE).double())
    mirrored = camera.rotation_errors_degrees(wrong_turn(truth, 1.0), truth)
    turn = float(truth[0].rotation_to(truth[-1]))
    assert mirrored[-1] == pytest.approx(2 * turn, abs=1e-6)
    unturned = camera.rotation_errors_degrees(wrong_turn(truth, 0.5), truth)
    assert np.allclose(unturned, rotation_angle_degrees(truth.rotations[:1], truth.rotations)[1:])
    assert np.allclose(camera.direction_errors_degrees(backwards(truth, 1.0), truth), 180)
    assert float(backwards(truth, 0.5).path_length()) == pytest.approx(0, abs=1e-9)
    steps, drifted = (torch.diff(x.positions, dim=0).norm(dim=1) for x in (truth, scale_drift(truth, 1.0)))
    assert torch.allclose(drifted / steps, torch.linspace(1, 0, len(steps)).double())
    for change in (camera_noise, wrong_turn, backwards, scale_drift):
        assert change(truth, 0.0).allclose(truth) and change(truth, 0.7)[0].allclose(truth[0])


def test_frame_degradations_are_as_large_as_their_level(clip):
    truth = clip.target_frames
    assert METRICS["frozen_share"](Sample(clip, frozen(truth, 0.5))).value == 0.5
    swapped = replaced(truth, truth[::-1], 0.5)
    assert np.array_equal(swapped[:3], truth[:3]) and np.array_equal(swapped[3:], truth[::-1][3:])
    ramp = np.zeros((2, 64, 64, 3), dtype=np.uint8) + np.arange(0, 192, 3, dtype=np.uint8)[None, None, :, None]
    moved = (swimming(ramp, 1.0).astype(float) - ramp)[:, 8:-8, 8:-8] / 3  # columns that each pixel comes from
    assert np.sqrt((moved**2).mean()) == pytest.approx(np.sqrt(0.5), rel=0.35)  # the other half is along the rows
    assert np.array_equal(swimming(truth, 0.0), truth) and np.array_equal(blur(truth, 0.0), truth)


def test_scene_degradations_change_what_they_name(stage):
    instance, way = stage.object_to_move
    assert abs(way[2]) < 1e-9 and np.linalg.norm(way) == pytest.approx(1)
    rows = stage.scene.instance == instance
    moved = object_moved(stage.scene, instance, 0.3 * way)
    assert np.allclose(moved.center[rows] - stage.scene.center[rows], 0.3 * way, atol=1e-5)
    assert np.array_equal(moved.center[~rows], stage.scene.center[~rows])
    new = len(stage.scene.labels) + 1
    added = object_inserted(stage.scene, stage.free_place, 0.3, 0)
    shown, before = (render(scene, stage.cameras, 32, 32).instance == new for scene in (added, stage.scene))
    assert shown.any((1, 2)).mean() > 0.5 and not before.any()
    true, faded = (film(stage.clip, scene=scene).astype(float) for scene in (stage.scene, texture_faded(stage.scene, 1.0)))
    assert np.abs(np.diff(faded, axis=2)).mean() < np.abs(np.diff(true, axis=2)).mean()


def test_every_degraded_video_keeps_the_anchor_and_differs_from_the_truth(stage):
    truth = stage.clip.target_frames
    for degradation in GRADED.values():
        changes = []
        for level in (degradation.levels[0], degradation.levels[-1]):
            frames = degradation.apply(stage, level)
            assert frames.shape == truth.shape and frames.dtype == np.uint8, degradation.name
            assert np.array_equal(frames[0], truth[0]), degradation.name
            changes.append(np.abs(frames.astype(float) - truth).mean())
        assert 0 < changes[0] < changes[1], degradation.name


def test_swapped_scene_is_walked_along_the_same_path(stage):
    swapped = stage.swapped
    assert swapped.scene != stage.clip.scene
    assert swapped.target_cameras.relative_to(0).allclose(stage.cameras.relative_to(0), tolerance=1e-9)
    assert swapped.target_cameras[0].allclose(swapped.context_cameras[swapped.anchor])


# ---- what metrics see of them --------------------------------------------------------------------------------------


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


# ---- on a real clip --------------------------------------------------------------------------------------------------


def test_pixel_metrics_reject_what_they_should(stage):
    """The truth as honest row: every cheat scores lower by gradient correlation; all videos begin with the anchor."""
    made = cheats(stage, film)
    assert set(made) == {"honest", *CHEATS}
    measure = METRICS["gradient_correlation"]
    scores = {name: measure(Sample(stage.clip, frames)).value for name, frames in made.items()}
    assert scores["honest"] == pytest.approx(1) and all(scores[name] < 0.97 for name in CHEATS)
    assert all(np.array_equal(frames[0], stage.clip.target_frames[0]) for frames in made.values())


def test_stage_without_an_object_makes_no_video(stage):
    empty = replace(stage.scene, objects=())
    bare = Stage(stage.clip, stage.other)
    bare.__dict__["scene"] = empty
    assert GRADED["object_moved"].apply(bare, 0.5) is None

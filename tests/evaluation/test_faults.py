"""Clips with known faults: all of them can be made, and they are wrong in what they name and in nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.evaluation.faults import CHEATS, GRADED, Stage, cheats, film
from video4spatial.evaluation.measurement import DEGRADATIONS, Sample
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.test_set import load_test_set


@pytest.fixture(scope="module")
def stage(other_clip):
    """A clip that shows a movable object and free space."""
    return Stage(load_test_set(limit=1)[0].load(64), other_clip)


def test_every_declarable_degradation_can_be_made():
    assert set(GRADED) == set(DEGRADATIONS)
    for degradation in GRADED.values():
        assert list(degradation.levels) == sorted(degradation.levels) and degradation.levels[0] > 0


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

"""Known faults do what their level says, in what they name and in nothing else, and all of them can be made."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.evaluation.faults import (
    CHEATS,
    GRADED,
    METRES_PER_DEGREE,
    Stage,
    backwards,
    blur,
    camera_noise,
    cheats,
    film,
    frozen,
    object_inserted,
    object_moved,
    replaced,
    scale_drift,
    swimming,
    texture_faded,
    wrong_turn,
)
from video4spatial.evaluation.measurement import DEGRADATIONS, Sample
from video4spatial.evaluation.metrics import METRICS, camera
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.simulation.renderer import render


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


def test_scene_degradations_change_what_they_name(other_clip):
    stage = Stage(load_test_set(limit=1)[0].load(64), other_clip)  # a clip that shows a movable object and free space
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

"""Known faults do what their level says."""

import numpy as np
import pytest
import torch

from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.evaluation.degradations import (
    METRES_PER_DEGREE, backwards, blur, camera_noise, frozen, object_inserted, object_moved, replaced, scale_drift, swimming,
    texture_faded, wrong_turn,
)  # fmt: skip
from video4spatial.evaluation.faults import Stage, film
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.metrics import camera
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.simulation.renderer import render


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

"""Camera errors: exactness, and that no wrong trajectory hides behind an alignment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import Cameras
from video4spatial.clips import Navigate
from video4spatial.evaluation.metrics import METRICS, camera
from video4spatial.evaluation.metrics.camera import (
    area_under_recall,
    direction_errors_degrees,
    metric_translation_errors,
    pairwise_errors_degrees,
    relative_pose_errors,
    rotation_errors_degrees,
    similarity_error,
    summed_errors,
    translation_errors,
)
from video4spatial.evaluation.measurement import Sample
from video4spatial.geometry.estimated_cameras import EstimatedCameras


def walk(scale: float = 1.0, sign: float = 1.0, mirrored: bool = False, count: int = 49) -> Cameras:
    """Steps of 3 cm forward while yawing from 0 to 40 degrees, in a plane."""
    yaw = np.linspace(0, np.radians(40), count) * (-1 if mirrored else 1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(yaw[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()
    steps = 0.03 * poses[:-1, :3, 2]
    poses[1:, :3, 3] = sign * scale * np.cumsum(steps, axis=0)
    return Cameras.from_fov(torch.from_numpy(poses), 70.0)


def moved(cameras: Cameras) -> Cameras:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix())
    pose[:3, 3] = torch.tensor([3.0, -2.0, 5.0])
    return cameras.transformed(pose)


def test_the_world_does_not_matter():
    assert rotation_errors_degrees(moved(walk()), walk()).max() < 1e-5
    assert translation_errors(moved(walk()), walk()).errors.max() < 1e-12
    assert metric_translation_errors(moved(walk()), walk()).max() < 1e-12


def test_rotation_error_equals_scipy_at_any_angle():
    for degrees in (1e-6, 0.5, 10, 90, 179.9999, 180):
        turned = walk(count=3)
        pose = turned.camera_to_world.clone()
        turn = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
        pose[1:, :3, :3] = pose[1:, :3, :3] @ torch.from_numpy(turn)
        errors = rotation_errors_degrees(Cameras(pose, turned.intrinsics), turned)
        assert errors == pytest.approx([degrees, degrees], abs=1e-7)


def test_scale_is_forgiven_once_but_not_in_metres():
    result = translation_errors(walk(scale=0.5), walk())
    assert result.scale == pytest.approx(2) and result.errors.max() < 1e-12 and not result.static_generation
    expected = 0.5 * walk().distance_to(walk()[0]).numpy()[1:]
    assert metric_translation_errors(walk(scale=0.5), walk()) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [walk(sign=-1), walk(mirrored=True), walk()[[0] * 49]])
def test_wrong_trajectories_are_seen(wrong):
    # A position-only similarity alignment gives the first two an error of exactly zero.
    assert translation_errors(wrong, walk()).errors.mean() > 0.2
    assert direction_errors_degrees(wrong, walk())[np.arange(48) > 5].mean() > 20


def test_a_static_camera_counts_as_standing_still():
    noise = walk().camera_to_world.clone()
    noise[:, :3, 3] = torch.from_numpy(np.random.default_rng(0).normal(0, 1e-5, (49, 3)))
    result = translation_errors(Cameras(noise, walk().intrinsics), walk(), median_depth=2.5)
    assert result.static_generation
    assert result.errors == pytest.approx(walk().distance_to(walk()[0]).numpy()[1:] / result.path_length)


def test_rotation_error_grows_with_noise():
    rng = np.random.default_rng(1)
    means = []
    for degrees in (0.5, 1, 2, 5, 10, 20):
        pose = walk().camera_to_world.clone()
        vectors = rng.normal(0, np.radians(degrees), (49, 3))
        vectors[0] = 0
        pose[:, :3, :3] = pose[:, :3, :3] @ torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix())
        means.append(rotation_errors_degrees(Cameras(pose, walk().intrinsics), walk()).mean())
    assert means == sorted(means)


def test_different_numbers_and_standing_paths_are_refused():
    with pytest.raises(ValueError, match="48 estimated cameras and 49 commanded"):
        rotation_errors_degrees(walk()[:48], walk())
    with pytest.raises(ValueError, match="no length"):
        translation_errors(walk(), walk()[[0] * 49])


def test_pairs_know_neither_world_nor_scale_but_direction():
    rotations, directions = pairwise_errors_degrees(moved(walk(scale=0.2)), walk())
    assert len(rotations) == len(directions) == 49 * 48 // 2
    assert rotations.max() < 1e-5 and np.nanmax(directions) < 1e-5
    backwards = pairwise_errors_degrees(walk(sign=-1), walk())[1]
    assert np.nanmin(backwards) > 179
    assert np.nanmin(pairwise_errors_degrees(walk()[[0] * 49], walk())[1]) == np.float64(90)
    assert np.isnan(pairwise_errors_degrees(walk(), walk()[[0] * 49])[1]).all()


def test_area_under_recall_is_that_of_the_curve():
    errors = np.random.default_rng(0).uniform(0, 40, 500)
    bounds = np.linspace(0, 30, 30001)
    recall = (errors[:, None] <= bounds).mean(0)
    assert area_under_recall(errors, 30.0) == pytest.approx(np.trapezoid(recall, bounds) / 30, abs=1e-4)
    assert area_under_recall(np.zeros(3), 5.0) == 1 and area_under_recall(np.full(3, 5.0), 5.0) == 0


def test_steps_see_jitter_and_forgive_what_came_before():
    turned = walk().camera_to_world.clone()
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("y", 10, degrees=True).as_matrix()
    turned[20:] = turned[20] @ torch.from_numpy(turn) @ torch.linalg.inv(turned[20]) @ turned[20:]
    rotations, _ = relative_pose_errors(Cameras(turned, walk().intrinsics), walk())
    assert rotations[19] == pytest.approx(10) and np.delete(rotations, 19).max() < 1e-5


def test_sums_of_other_papers():
    half = summed_errors(walk(scale=0.5), walk(), self_normalised=True)
    assert half["translation"] == pytest.approx(0, abs=1e-6) and half["camera_motion"] == pytest.approx(0, abs=1e-6)
    metres = summed_errors(walk(scale=0.5), walk(), self_normalised=False)
    assert metres["translation"] == pytest.approx(metric_translation_errors(walk(scale=0.5), walk()).sum())
    mirrored = summed_errors(walk(mirrored=True), walk(), self_normalised=True)
    assert mirrored["rotation"] == pytest.approx(np.radians(rotation_errors_degrees(walk(mirrored=True), walk())).sum())
    still = summed_errors(walk()[[0] * 49], walk(), self_normalised=True)
    assert np.isfinite([still["rotation"], still["translation"], still["camera_motion"]]).all()


def test_similarity_error_is_defined_for_lines_and_standing_cameras():
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, 2, 3] = [0, 1, 2, 3, 4]
    line = Cameras.from_fov(torch.from_numpy(poses), 70.0)
    assert similarity_error(line, line) == pytest.approx((0, 1))
    error, scale = similarity_error(line[[0] * 5], line)
    assert scale == 0 and error == pytest.approx(np.sqrt(2))


CAMERA_METRICS = [
    metric for metric in METRICS.values() if getattr(metric.function, "func", metric.function).__module__ == camera.__name__
]


@pytest.fixture
def asked(clip):
    """A clip that asks for the walk; its pictures do not matter here."""
    cameras = replace(walk(count=5), metric=True)
    return replace(clip, instruction=Navigate(cameras), target_cameras=cameras, target_depth=None)


def test_every_camera_metric_is_best_for_the_truth(asked):
    truth, cheats = asked.target_cameras, [walk(sign=-1, count=5), walk(mirrored=True, count=5), walk()[[0] * 5]]
    for metric in CAMERA_METRICS:
        best = metric(Sample(asked, asked.target_frames, truth)).value
        assert best == pytest.approx(1 if metric.direction == "higher" else 0, abs=1e-5), metric.name
        for cheat in cheats:
            value = metric(Sample(asked, asked.target_frames, replace(cheat, metric=True))).value
            assert value >= best if metric.direction == "lower" else value <= best, metric.name
    scores = [METRICS["pose_auc_30"](Sample(asked, asked.target_frames, cheat)).value for cheat in cheats]
    # Of the mirrored path the first, small turns are still nearly right.
    assert scores[0] == 0 and max(scores) < 0.6


def test_frames_without_a_camera_lower_the_share_and_nothing_is_nan(asked):
    known = np.array([True, True, False, True, False])
    reasons = ("", "", "blank", "", "blank")
    found = EstimatedCameras(asked.target_cameras, rotation_known=known, reasons=reasons)
    nothing = EstimatedCameras(asked.target_cameras, rotation_known=np.arange(5) < 1, reasons=("", *["blank"] * 4))
    for metric in CAMERA_METRICS:
        partly, never = (metric(Sample(asked, asked.target_frames, cameras)) for cameras in (found, nothing))
        assert never.status == "missing" and "blank" in never.reason, metric.name
        assert partly.status == "missing" or partly.share < 1, metric.name
    assert METRICS["rotation_error_deg"](Sample(asked, asked.target_frames, found)).share == 0.5
    assert METRICS["pose_auc_5"](Sample(asked, asked.target_frames, found)).share == pytest.approx(3 / 10)


def test_a_camera_that_only_turns_has_rotations_only(asked):
    poses = walk(count=5).camera_to_world.clone()
    poses[:, :3, 3] = 0
    standing = replace(walk(count=5), camera_to_world=poses, metric=True)
    turning = replace(asked, instruction=Navigate(standing), target_cameras=standing)
    sample = Sample(turning, asked.target_frames, standing)
    for name in ("translation_error", "relative_translation_error", "similarity_error", "direction_error_deg"):
        assert METRICS[name](sample).status == "not_applicable", name
    assert METRICS["pose_auc_5"](sample).value == pytest.approx(1)

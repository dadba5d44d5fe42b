"""Camera errors: exactness, and that no wrong trajectory hides behind an alignment."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import Cameras
from video4spatial.evaluation.camera import (
    direction_errors_degrees,
    metric_translation_errors,
    rotation_errors_degrees,
    translation_errors,
)


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

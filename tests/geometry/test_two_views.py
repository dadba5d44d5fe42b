"""Motions and distances of two views, on points whose place is known."""

import cv2
import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, project_points
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.geometry.features import Features, find_features
from video4spatial.geometry.two_views import (
    epipolar_distances,
    fitted_fundamental,
    fundamental_matrix,
    pair_motion,
    sampson_distances,
)

SIZE = 200


def views(step: tuple[float, float, float], turn: float = 0.1, count: int = 80) -> tuple[Cameras, np.ndarray, np.ndarray]:
    """Two cameras a step and a turn apart, and the pixels [M, 2] of points before both."""
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[1, :3, :3] = matrices_from_vectors(torch.tensor([0.0, turn, 0.02], dtype=torch.float64))
    poses[1, :3, 3] = torch.tensor(step)
    cameras = Cameras.from_fov(poses, 70.0)
    points = torch.from_numpy(np.random.default_rng(0).uniform([-1.5, -1.5, 3], [1.5, 1.5, 7], (count, 3)))
    pixels, _ = project_points(cameras, points, SIZE, SIZE)
    return cameras, *pixels.numpy()


def as_features(*pixels: np.ndarray) -> list[Features]:
    """Points whose descriptors match one to one."""
    descriptors = np.eye(len(pixels[0]), 128, dtype=np.float32)
    return [Features(points, descriptors) for points in pixels]


def test_true_matches_lie_on_their_lines_and_moved_ones_beside_them():
    cameras, first, second = views((0.4, 0.1, 0.05))
    matrix = fundamental_matrix(cameras, SIZE, SIZE)
    assert max(distances(first, second, matrix).max() for distances in (epipolar_distances, sampson_distances)) < 1e-8
    normal = np.c_[first, np.ones(len(first))] @ matrix.T
    beside = second + 3 * normal[:, :2] / np.linalg.norm(normal[:, :2], axis=1, keepdims=True)
    assert np.allclose(epipolar_distances(first, beside, matrix), 3, atol=1.0)
    # Sampson's distance is shared out between both pictures: about 3 / sqrt(2).
    assert np.allclose(sampson_distances(first, beside, matrix), 3 / np.sqrt(2), atol=0.7)
    with pytest.raises(ValueError, match="different places"):
        fundamental_matrix(cameras[[0, 0]], SIZE, SIZE)


def test_a_matrix_is_fitted_to_matches_some_of_which_are_wrong():
    _, first, second = views((0.4, 0.1, 0.05))
    wrong = np.random.default_rng(1).uniform(0, SIZE, (20, 2))
    matrix = fitted_fundamental(first, np.concatenate([wrong, second[20:]]), 0.5)
    distances = epipolar_distances(first[20:], second[20:], matrix)
    assert distances.max() < 1 and np.median(distances) < 0.2
    assert fitted_fundamental(first[:3], second[:3], 0.5) is None


@pytest.mark.parametrize("step", [(0.4, 0.1, 0.05), (0.0, 0.0, 0.5)])
def test_the_motion_of_a_pair(step):
    cv2.setRNGSeed(0)
    cameras, *pixels = views(step)
    intrinsics = cameras.pixel_intrinsics(SIZE, SIZE)[0].numpy()
    motion = pair_motion(*as_features(*pixels), intrinsics, intrinsics, 0.5)
    length = np.linalg.norm(step)
    assert np.allclose(motion.rotation, cameras.rotations[1].numpy(), atol=1e-4)
    assert np.allclose(motion.direction, np.array(step) / length, atol=1e-3)
    assert len(motion.inliers) > 70
    # Depths come in units of the motion.
    deep = motion.depths[np.isfinite(motion.depths).all(1)] * length
    assert len(deep) > 40 and (deep[:, 0] > 2.5).all() and (deep[:, 0] < 7.5).all()


def test_a_turn_alone_has_no_direction():
    cameras, *pixels = views((0.0, 0.0, 0.0))
    intrinsics = cameras.pixel_intrinsics(SIZE, SIZE)[0].numpy()
    motion = pair_motion(*as_features(*pixels), intrinsics, intrinsics, 0.5)
    assert motion.direction is None and motion.depths is None
    assert np.allclose(motion.rotation, cameras.rotations[1].numpy(), atol=1e-6)


def test_a_picture_and_itself_do_not_move(clip):
    features = find_features(clip.target_frames[0])
    intrinsics = clip.target_cameras.pixel_intrinsics(*clip.target_frames.shape[1:3])[0].numpy()
    motion = pair_motion(features, features, intrinsics, intrinsics, 0.5)
    assert motion.direction is None and np.allclose(motion.rotation, np.eye(3), atol=1e-6)


def test_too_few_matches_say_nothing():
    cameras, *pixels = views((0.4, 0.1, 0.05), count=10)
    intrinsics = cameras.pixel_intrinsics(SIZE, SIZE)[0].numpy()
    assert pair_motion(*as_features(*pixels), intrinsics, intrinsics, 0.5) is None

"""Poses from points of known place."""

import numpy as np
import pytest
import torch

from video4spatial.geometry import GeometryError, pnp


def test_a_pose_is_found_among_wrong_points_with_and_without_pycolmap():
    generator = np.random.default_rng(0)
    points = generator.uniform(-1, 1, (40, 3)) + [0, 0, 4]
    intrinsics = np.array([[100.0, 0, 64], [0, 100, 64], [0, 0, 1]])
    seen = points @ intrinsics.T
    pixels = seen[:, :2] / seen[:, 2:]
    pixels[:8] += 30
    motion, inliers = pnp._pose_by_opencv(pixels, points, intrinsics, 1.0)
    assert np.abs(motion - np.eye(4)[:3]).max() < 1e-4 and not inliers[:8].any() and inliers[8:].all()
    pose, agreed = pnp.absolute_pose(pixels, points, intrinsics, (128, 128), 1.0)
    assert torch.allclose(pose, torch.eye(4, dtype=torch.float64), atol=1e-4) and np.array_equal(agreed, inliers)


def test_points_that_coincide_have_no_pose():
    points = np.tile([0.1, 0.2, 3.0], (20, 1)) + np.random.default_rng(0).normal(0, 1e-9, (20, 3))
    pixels = np.random.default_rng(1).uniform(0, 128, (20, 2))
    intrinsics = np.array([[100.0, 0, 64], [0, 100, 64], [0, 0, 1]])
    assert pnp._pose_by_opencv(pixels, points, intrinsics, 1.0) == (None, None)
    assert not pnp.absolute_pose(pixels, points, intrinsics, (128, 128), 1.0)[1].any()


def test_depth_of_another_size_than_the_pictures_gives_the_same_cameras(clip):
    cameras = clip.target_cameras
    given = clip.target_frames, cameras.intrinsics, cameras[0], clip.context_frames, clip.context_cameras
    found = pnp.cameras_by_points(*given, clip.context_depth)
    finer = pnp.cameras_by_points(*given, clip.context_depth.repeat(2, axis=1).repeat(2, axis=2))
    both = found.position_known & finer.position_known
    assert both[1:].any()
    assert float(found.cameras[np.flatnonzero(both)].distance_to(finer.cameras[np.flatnonzero(both)]).max()) < 0.2


def test_what_is_lacking_is_named(clip):
    cameras = clip.target_cameras
    context = clip.context_frames, clip.context_cameras
    with pytest.raises(GeometryError, match="no point of the context has known depth"):
        pnp.cameras_by_points(clip.target_frames, cameras.intrinsics, cameras[0], *context, np.zeros_like(clip.context_depth))
    with pytest.raises(GeometryError, match="no frame has 12 features"):
        blank = np.full_like(clip.target_frames, 90)
        pnp.cameras_by_points(blank, cameras.intrinsics, cameras[0], *context, clip.context_depth)

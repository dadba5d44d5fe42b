"""Plane-sweep stereo on a simulated context, whose depth is known."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.plane_sweep import PlaneSweepSettings, neighbours, plane_sweep
from video4spatial.geometry.reconstruct import camera_spread


def test_depth_is_found_and_confidence_tells_right_from_wrong(clip):
    chosen = list(range(0, len(clip.context_frames), 3))
    swept = plane_sweep(clip.context_frames, clip.context_cameras, camera_spread(clip.context_cameras), chosen)
    truth = clip.context_depth[chosen]
    assert swept.depth.shape == swept.confidence.shape == truth.shape and swept.depth.dtype == np.float32
    matched = swept.depth > 0
    error = np.abs(np.log(swept.depth[matched] / truth[matched]))
    assert matched.mean() > 0.3 and np.median(error) < 0.1
    sure = swept.confidence[matched] > np.median(swept.confidence[matched])
    assert np.median(error[sure]) < np.median(error[~sure])
    assert 0 <= swept.confidence.min() and swept.confidence.max() <= 1 and not swept.confidence[~matched].any()


def test_frames_without_texture_or_parallax_have_no_depth(clip):
    blank = np.full_like(clip.context_frames, 128)
    assert not plane_sweep(blank, clip.context_cameras, 1.0, [0]).depth.any()
    still = clip.context_cameras.camera_to_world.clone()
    still[:, :3, 3] = still[0, :3, 3]
    standing = Cameras(still, clip.context_cameras.intrinsics)
    assert not plane_sweep(clip.context_frames, standing, 1.0, [0]).depth.any()


def test_neighbours_stand_at_the_wanted_distance_and_look_the_same_way():
    poses = torch.eye(4, dtype=torch.float64).repeat(6, 1, 1)
    poses[:, 0, 3] = torch.tensor([0.0, 0.01, 0.2, 0.25, 1.0, 0.2])
    poses[5, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # looks back
    cameras = Cameras.from_fov(poses)
    assert neighbours(cameras, 0, 1.0, PlaneSweepSettings(views=2)) == [2, 3]
    assert neighbours(cameras, 0, 1.0, PlaneSweepSettings(views=9)) == [2, 3, 4]  # 1 is too near
    assert neighbours(cameras[[0, 5]], 0, 1.0, PlaneSweepSettings()) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_a_wall_of_noise_is_as_far_as_it_is(seed):
    """A textured plane at depth 2, seen by three cameras beside each other."""
    noise = np.random.default_rng(seed).integers(0, 256, (64, 192, 3)).astype(np.uint8)
    # A quarter metre at depth 2 and a focal length of 64 pixels are 8 pixels.
    frames = np.stack([noise[:, 64 + shift : 128 + shift] for shift in (-8, 0, 8)])
    poses = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    poses[:, 0, 3] = torch.tensor([-0.25, 0.0, 0.25])
    cameras = Cameras(poses, torch.tensor([[1.0, 0, 0.5], [0, 1.0, 0.5], [0, 0, 1]], dtype=torch.float64))
    depth = plane_sweep(frames, cameras, 1.0, [1]).depth[0, 8:-8, 16:-16]
    assert (depth > 0).mean() > 0.9 and abs(np.median(depth[depth > 0]) - 2) < 0.1

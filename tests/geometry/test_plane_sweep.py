"""Plane-sweep stereo on a simulated context, whose depth is known."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.geometry import GeometryError
from video4spatial.geometry.plane_sweep import PlaneSweepDepth, PlaneSweepSettings, camera_spread, neighbours, plane_sweep


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


def test_confidence_is_the_share_that_is_right(clip):
    chosen = list(range(0, len(clip.context_frames), 2))
    found = PlaneSweepDepth()(clip.context_frames, clip.context_cameras, chosen)
    matched = found.depth > 0
    right = np.abs(found.depth / clip.context_depth[chosen] - 1) < 0.1
    assert found.reasons == ("",) * len(chosen) and matched.mean() > 0.7
    assert abs(right[matched].mean() - found.confidence[matched].mean()) < 0.15


def test_larger_pictures_are_swept_smaller_and_get_depth_of_their_size():
    clip = simulated_navigation_clip(2_050_000, height=216, width=288, num_frames=2, walk_frames=24, context_size=6, supersample=1)
    found = PlaneSweepDepth()(clip.context_frames, clip.context_cameras, [1, 4])
    truth = clip.context_depth[[1, 4]]
    matched = found.depth > 0
    assert found.depth.shape == truth.shape and matched.mean() > 0.5
    assert np.median(np.abs(found.depth / truth - 1)[matched]) < 0.1
    # Outlines follow the picture: not blocks of the working size.
    edges = (np.abs(np.diff(np.log(np.where(matched, found.depth, 1)), axis=2)) > 0.2) & matched[:, :, 1:] & matched[:, :, :-1]
    assert 0 < edges.mean() < 0.1


def test_the_same_depth_whatever_the_number_of_threads(clip):
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(plane_sweep(clip.context_frames, clip.context_cameras, 1.0, [0, 3, 5]).depth)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*found)


def test_what_stereo_cannot_do_says_why(clip):
    frames, cameras = clip.context_frames, clip.context_cameras
    still = cameras.camera_to_world.clone()
    still[:, :3, 3] = still[0, :3, 3]
    for given, message in (
        ((frames[:1], cameras[:1]), "a single frame"),
        ((frames, Cameras(still, cameras.intrinsics)), "only turns"),
        ((np.full_like(frames, 128), cameras), "matched nothing: too little texture"),
    ):
        with pytest.raises(GeometryError, match=message):
            PlaneSweepDepth()(*given, [0])

"""The test of cameras that needs no truth."""

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.geometry.reprojection import borne_out, video_matches
from video4spatial.simulation import capture_walk, generate_scene, render


def test_true_cameras_are_borne_out_and_wrong_ones_are_not():
    scene = generate_scene(3)
    cameras = capture_walk(scene, 6, seed=1)
    matches = video_matches(render(scene, cameras, 128, 160).rgb)
    every = np.ones(6, bool)
    share, frames = borne_out(matches, cameras, every)
    assert matches.usual > 30 and share > 0.5 and (frames > 0.5).all()
    generator = torch.Generator().manual_seed(0)
    poses = cameras.camera_to_world.clone()
    poses[:, :3, :3] = poses[:, :3, :3] @ matrices_from_vectors(torch.deg2rad(2 * torch.randn(6, 3, generator=generator).double()))
    assert borne_out(matches, Cameras(poses, cameras.intrinsics), every)[0] < 0.6 * share
    partly = np.arange(6) < 4
    assert borne_out(matches, cameras, partly)[0] < share and np.isnan(borne_out(matches, cameras, partly)[1][4:]).all()


def test_a_camera_that_turns_is_borne_out_and_one_that_stands_still_is_not():
    scene = generate_scene(3)
    start = capture_walk(scene, 2, seed=1)
    poses = start.camera_to_world[:1].repeat(4, 1, 1)
    turns = torch.zeros(4, 3).double()
    turns[:, 1] = torch.deg2rad(5.0 * torch.arange(4))
    poses[:, :3, :3] = poses[:, :3, :3] @ matrices_from_vectors(turns)
    turned = Cameras(poses, start.intrinsics[:1].expand(4, 3, 3))
    matches = video_matches(render(scene, turned, 128, 128).rgb)
    still = Cameras(turned.camera_to_world[:1].repeat(4, 1, 1), turned.intrinsics)
    every = np.ones(4, bool)
    assert borne_out(matches, turned, every)[0] > 0.4 > 0.2 > borne_out(matches, still, every)[0]
    assert borne_out(video_matches(np.full((4, 64, 64, 3), 90, np.uint8)), turned, every)[0] == 0

"""Optical flow refines rough motions between neighbours, and says where it cannot."""

import numpy as np
import pytest
import torch

from tests.geometry.test_pose_graph import measured
from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.geometry.dense_motions import motions_by_flow, with_flow
from video4spatial.simulation import capture_walk, generate_scene, render

COUNT = 8


@pytest.fixture(scope="module")
def room() -> tuple[np.ndarray, Cameras]:
    cameras = capture_walk(generate_scene(3), COUNT, seed=1)
    return render(generate_scene(3), cameras, 48, 64, 2).rgb, cameras


def turn_errors(motions, cameras: Cameras) -> torch.Tensor:
    rotations = cameras.rotations
    first, second = motions.pairs.T
    return rotation_angle_degrees(motions.rotation, rotations[first].mT @ rotations[second])


def test_rough_turns_become_fine_ones(room):
    frames, cameras = room
    pairs = np.array([(first, first + gap) for gap in (1, 2) for first in range(COUNT - gap)])
    rough = measured(cameras.camera_to_world, pairs, 4.0, 0.05)
    fine = motions_by_flow(frames, cameras.intrinsics, rough)
    assert fine.pairs.tolist() == [[first, first + 1] for first in range(COUNT - 1)]
    assert turn_errors(fine, cameras).median() < 0.5 < 2 < turn_errors(rough[np.arange(COUNT - 1)], cameras).median()
    assert (fine.rotation_error < rough.rotation_error[: COUNT - 1]).all() and (fine.translation_error > 0).all()


def test_pictures_that_cannot_be_followed_are_left_out(room):
    frames, cameras = room
    frames = frames.copy()
    frames[3] = 128
    rough = measured(cameras.camera_to_world, np.array([(first, first + 1) for first in range(COUNT - 1)]), 2.0, 0.05)
    fine = motions_by_flow(frames, cameras.intrinsics, rough)
    assert not (fine.pairs == 3).any() and len(fine.pairs) == COUNT - 3
    nothing = motions_by_flow(np.full_like(frames, 99), cameras.intrinsics, rough)
    assert len(nothing.pairs) == 0 and nothing.rotation.shape == (0, 3, 3)
    assert with_flow(rough, nothing, COUNT).pairs.tolist() == rough.pairs.tolist()


def test_chains_of_flow_take_the_place_of_what_was_measured_along_them(room):
    frames, cameras = room
    pairs = np.array([(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 2), (2, 4), (1, 5)])
    rough = measured(cameras.camera_to_world, pairs, 2.0, 0.05)
    both = with_flow(rough, rough[[0, 1, 3, 4]], 6)  # nothing is followed from 2 to 3
    assert both.pairs.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5], [2, 3], [2, 4], [1, 5]]

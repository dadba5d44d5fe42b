"""The epipolar check on a simulated walk: right cameras pass, wrong ones do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_curation.stages.cameras import epipolar_check
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.simulation import simulated_capture


@pytest.fixture(scope="module")
def capture():
    walk = simulated_capture(7, 16, 192, 256, frame_rate=4.0)
    frames = walk.read_frames(range(16))
    return replace(walk, read_frames=lambda indices: frames[list(indices)])


def test_right_cameras_leave_less_than_a_pixel(capture):
    check = epipolar_check(capture, gap=2, pairs=6)
    assert check.pairs >= 3 and check.median_pixels < 0.7 and check.good_share > 0.8
    assert check.inverted_pixels > 4 * check.median_pixels and check.motion_pixels > 3


@pytest.mark.parametrize("degrees", [2.0, 8.0])
def test_turned_cameras_are_found(capture, degrees):
    """Each camera tilted by a random angle: the error grows with it."""
    right = epipolar_check(capture, gap=2, pairs=6).median_pixels
    vectors = np.deg2rad(degrees) * np.random.default_rng(0).normal(size=(16, 3))
    turns = torch.eye(4, dtype=torch.float64).repeat(16, 1, 1)
    turns[:, :3, :3] = matrices_from_vectors(torch.from_numpy(vectors))
    cameras = replace(capture.cameras, camera_to_world=capture.cameras.camera_to_world @ turns)
    assert epipolar_check(replace(capture, cameras=cameras), gap=2, pairs=6).median_pixels > right + 0.5 * degrees


def test_what_cannot_be_checked_has_no_value(capture):
    black = replace(capture, read_frames=lambda indices: np.zeros((len(indices), 192, 256, 3), np.uint8))
    check = epipolar_check(black, pairs=4)
    assert check.median_pixels is None and check.pairs == 0 and check.tried == 4
    assert epipolar_check(capture, gap=20).tried == 0
    with pytest.raises(ValueError, match="has no cameras"):
        epipolar_check(replace(capture, cameras=None))

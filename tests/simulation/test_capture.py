"""A simulated walk as a capture."""

import numpy as np
import pytest

from video4spatial.captures import Capture
from video4spatial.simulation import simulated_capture


def test_simulated_capture_reads_any_frames():
    capture = simulated_capture(4, num_frames=6, height=24, width=32)
    assert isinstance(capture, Capture) and len(capture) == capture.frame_count == len(capture.cameras) == 6
    frames = capture.read_frames([5, 0, 5])
    assert frames.shape == (3, 24, 32, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[0], frames[2])
    np.testing.assert_array_equal(capture.read_frames(range(6))[[5, 0, 5]], frames)
    assert capture.read_depth([2]).shape == capture.read_instances([2]).shape == (1, 24, 32)
    assert set(np.unique(capture.read_instances([0, 3])).tolist()) - {0}
    assert capture.objects and capture.up_axis == (0.0, 0.0, 1.0) and capture.redistributable
    assert capture.provenance["seed"] == 4 and capture.provenance["split"] == "train"
    np.testing.assert_allclose(capture.times, np.arange(6) / 4.0)


def test_capture_needs_one_time_and_camera_per_frame():
    capture = simulated_capture(4, num_frames=3, height=8, width=8)
    with pytest.raises(ValueError, match="4 frames but 2 times and 3 cameras"):
        Capture("wrong", 4, 8, 8, np.zeros(2), capture.read_frames, cameras=capture.cameras)

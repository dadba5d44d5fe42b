"""Where captures are cut: like motion, a guard, the same every time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.captures import Capture
from video4spatial.evaluation.capture_windows import CutSettings, capture_scale, capture_windows
from video4spatial.simulation.capture import simulated_capture

SETTINGS = CutSettings(windows=3, context_frames=12)


@pytest.fixture(scope="module")
def walk() -> Capture:
    """32 seconds through a room at 8 frames per second."""
    return simulated_capture(2_050_000, 256, 32, 48, frame_rate=8.0)


def recorded(cameras: Cameras, frame_rate: float) -> Capture:
    """A capture of cameras; its pictures are never read."""
    times = np.arange(len(cameras)) / frame_rate
    return Capture("walk", len(cameras), 32, 32, times, lambda indices: pytest.fail("pictures were read"), cameras)


def test_targets_move_as_those_in_rooms(walk):
    windows = capture_windows(walk, SETTINGS)
    assert len(windows) == 3 and windows == capture_windows(walk, SETTINGS)
    for window in windows:
        target = walk.cameras[list(window.target)]
        assert len(set(np.diff(window.target))) == 1 and len(target) == SETTINGS.frames
        assert window.path_metres == pytest.approx(float(target.path_length()), abs=1e-3)
        assert window.net_rotation_degrees == pytest.approx(float(target[-1].rotation_to(target[0])), abs=1e-2)
        assert window.net_rotation_degrees <= window.turned_degrees <= 60 and window.path_metres <= 1.5
        assert window.path_metres >= 0.3 or window.turned_degrees >= 20
    frames = [set(window.target) for window in windows]
    assert not frames[0] & frames[1] and not frames[1] & frames[2]


def test_the_context_lies_outside_the_guard(walk):
    for window in capture_windows(walk, SETTINGS):
        first, last = window.target[0], window.target[-1]
        guard = int(SETTINGS.guard * (last - first))
        assert guard >= 2 and first in window.context and list(window.context) == sorted(set(window.context))
        others = np.array([frame for frame in window.context if frame != first])
        assert ((others < first - guard) | (others > last + guard)).all()
        assert len(window.context) == 12 and (others < first).any() and (others > last).any()
        # Spread along the path, about as far apart as was aimed at.
        apart = viewpoint_distance(walk.cameras[others.tolist()], walk.cameras[others.tolist()]).numpy()
        assert np.median(np.diagonal(apart, 1)) == pytest.approx(SETTINGS.spacing, rel=0.5)


def test_of_a_fast_recording_every_nth_frame_is_taken(walk):
    fast = recorded(walk.cameras.at(np.arange(0, 255.01, 0.25).tolist()), 32.0)
    slow, same = capture_windows(walk, SETTINGS), capture_windows(fast, SETTINGS)
    strides = [np.mean([window.target[1] - window.target[0] for window in windows]) for windows in (slow, same)]
    assert strides[1] == pytest.approx(4 * strides[0], rel=0.4)
    assert np.mean([window.path_metres for window in same]) == pytest.approx(np.mean([w.path_metres for w in slow]), rel=0.3)


def test_lengths_of_unknown_scale_count_by_the_camera_step(walk):
    other = replace(walk, cameras=walk.cameras.scaled(7.0, metric=False))
    assert capture_scale(walk, 4.0) == 1
    scale = capture_scale(other, 4.0)
    assert other.cameras[::2].median_step() * scale == pytest.approx(0.1)  # at the model's frame rate
    assert all(window.path_metres <= 1.5 for window in capture_windows(other, SETTINGS))


def test_a_short_clip_gives_one_window_with_context_on_both_sides():
    poses = torch.eye(4, dtype=torch.float64).repeat(16, 1, 1)
    poses[:, 2, 3] = 0.1 * torch.arange(16)
    (window,) = capture_windows(recorded(Cameras.from_fov(poses, metric=True), 4.0))
    assert len(window.target) == 9 and window.path_metres == pytest.approx(0.8)
    assert min(window.context) == 0 and max(window.context) == 15 and len(window.context) == 16 - 9 - 2 + 1


def test_what_gives_no_window():
    still = Cameras.from_fov(torch.eye(4, dtype=torch.float64).repeat(40, 1, 1), metric=True)
    assert capture_windows(recorded(still, 4.0)) == []
    moving = still.camera_to_world.clone()
    moving[:, 0, 3] = 0.1 * torch.arange(40)
    moving[20:, 0, 3] += 5  # tracking jumps
    windows = capture_windows(recorded(replace(still, camera_to_world=moving), 4.0))
    assert windows and all(window.target[-1] < 20 or window.target[0] >= 20 for window in windows)
    assert capture_windows(recorded(replace(still, camera_to_world=moving)[:9], 4.0)) == []
    with pytest.raises(ValueError, match="has no cameras"):
        capture_windows(replace(recorded(still, 4.0), cameras=None))
    with pytest.raises(ValueError, match="`windows` 0: expected at least 1; `context_frames` 2"):
        CutSettings(windows=0, context_frames=2)

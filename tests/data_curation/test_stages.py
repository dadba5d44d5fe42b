"""Frame quality, cuts and pose quality on captures whose faults are known, because the test made them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from data_curation.stages.cuts import cut_scores, shots
from data_curation.stages.frame_quality import FrameThresholds, rejected_frames, score_frames
from data_curation.stages.pose_quality import broken_steps, path_problem, score_poses, stretches
from video4spatial.cameras import Cameras
from video4spatial.simulation import simulated_capture

COUNT = 16


@pytest.fixture(scope="module")
def walk():
    capture = simulated_capture(3, COUNT, 128, 128)
    frames = capture.read_frames(range(COUNT))
    return capture, frames


def with_frames(capture, frames):
    return replace(
        capture, frame_count=len(frames), times=np.arange(len(frames)) / 4.0, cameras=None,
        read_frames=lambda indices: frames[list(indices)],
    )  # fmt: skip


def test_faults_of_frames_are_found_and_nothing_else(walk):
    capture, frames = walk
    faulty = frames.copy()
    faulty[3] = cv2.GaussianBlur(faulty[3], (0, 0), 4)
    faulty[6] = faulty[6] // 12
    faulty[9] = 255 - (255 - faulty[9].astype(int)) // 20
    faulty[12] = faulty[11]
    rejected = rejected_frames(score_frames(with_frames(capture, faulty)))
    found = {reason: np.flatnonzero(mask).tolist() for reason, mask in rejected.items()}
    assert found["repeated"] == [12] and found["dark"] == [6] and 9 in found["bright"]
    assert 3 in found["blurred"] and set(found["blurred"]) <= {3, 6, 9}
    assert not any(mask.any() for mask in rejected_frames(score_frames(capture)).values())


def test_thresholds_need_no_pixels(walk):
    scores = score_frames(walk[0])
    assert rejected_frames(scores, FrameThresholds(relative_sharpness=10.0))["blurred"].all()
    assert rejected_frames(scores, FrameThresholds(brightness=(0.0, 1.0)))["bright"].all()


def test_a_cut_is_found_and_motion_is_not(walk):
    capture, frames = walk
    other = simulated_capture(40, 8, 128, 128).read_frames(range(8))
    scores = cut_scores(with_frames(capture, np.concatenate([frames, other])))
    assert scores[COUNT] < -2 and np.isinf(scores[0])
    assert shots(scores) == [range(0, COUNT), range(COUNT, COUNT + 8)]
    assert shots(cut_scores(capture)) == [range(0, COUNT)]
    assert shots(np.array([np.inf, 1.0, -4.0, 1.0, -4.0]), least_frames=2) == [range(0, 2), range(2, 4)]


def path(metric=True, count=20):
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, 0, 3] = 0.1 * torch.arange(count)
    return poses, np.arange(count) / 4.0


@pytest.mark.parametrize("metric", [True, False])
def test_jumps_turns_and_gaps_break_a_path(metric):
    poses, times = path()
    unit = 1.0 if metric else 37.0
    poses[8:, 1, 3] += 1.0
    poses[12:, :3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=torch.float64)
    times[16:] += 5.0
    poses[:, :3, 3] *= unit
    scores = score_poses(Cameras.from_fov(poses, metric=metric), times)
    broken = broken_steps(scores, metric)
    # The jump shows in its own step and, coming out of it, in the next one.
    assert np.flatnonzero(broken["jump"]).tolist() == [7, 8]
    assert np.flatnonzero(broken["turn"]).tolist() == [11] and np.flatnonzero(broken["gap"]).tolist() == [15]
    assert stretches(broken, 20) == [range(0, 8), range(9, 12), range(12, 16), range(16, 20)]


def test_an_even_walk_is_not_broken_and_left_out_frames_are_no_jumps(walk):
    cameras, times = walk[0].cameras, walk[0].times
    assert not any(mask.any() for mask in broken_steps(score_poses(cameras, times), True).values())
    poses, times = path()
    kept = [index for index in range(20) if index not in (7, 8, 9)]
    scores = score_poses(Cameras.from_fov(poses[kept]), times[kept])
    assert not any(mask.any() for mask in broken_steps(scores, True).values())
    assert stretches(broken_steps(scores, True), len(kept)) == [range(0, 17)]


def test_paths_that_go_nowhere_or_too_far():
    poses, _ = path()
    assert path_problem(Cameras.from_fov(poses)) is None
    assert path_problem(Cameras.from_fov(poses[:1].repeat(5, 1, 1))) == "path_too_short"
    poses[:, :3, 3] *= 1000
    assert path_problem(Cameras.from_fov(poses)) == "path_too_long"
    assert path_problem(Cameras.from_fov(poses, metric=False)) is None

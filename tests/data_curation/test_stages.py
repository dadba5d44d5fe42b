"""Frame quality, cuts and pose quality on captures whose faults are known, because the test made them."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from data_curation.pipeline import STAGES, StageSettings
from data_curation.scene import thin_depth
from data_curation.stages.context import ContextSettings, select_context
from data_curation.stages.frame_quality import FrameThresholds, rejected_frames, score_frames
from data_curation.stages.stretches import broken_steps, cut_scores, path_problem, score_poses, shots, stretches
from data_curation.stages.windows import WindowSettings, navigation_windows
from video4spatial.cameras import Cameras
from video4spatial.clips.manifest import KINDS
from video4spatial.geometry.visibility import covisible_mask
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


def test_windows_of_a_walk_and_why_others_are_left_out(walk):
    capture, _ = walk
    long = simulated_capture(3, 48, 64, 64)
    windows = navigation_windows(long, [range(48)], np.zeros(48, bool))
    assert not windows.rejected.get("too_few_frames") and len(windows.kept) >= 8
    assert all(np.diff(target).tolist() == [1] * 8 for target in windows.kept) and windows.kept[1][0] - windows.kept[0][0] == 4
    poor = np.zeros(48, bool)
    poor[10] = True
    without = navigation_windows(long, [range(48)], poor)
    assert all(10 not in target for target in without.kept) and without.rejected["poor_frame"] == 2
    assert navigation_windows(long, [range(0, 6), range(6, 48)], poor).rejected["stretch_too_short"] == 1
    still = replace(long, cameras=long.cameras[[0] * 48])
    assert set(navigation_windows(still, [range(48)], np.zeros(48, bool)).rejected) == {"static"}
    hasty = replace(long, times=long.times / 20)
    settings = WindowSettings(frame_rate=80.0)
    assert set(navigation_windows(hasty, [range(48)], np.zeros(48, bool), settings).rejected) == {"too_fast"}
    # At twice the rate every second frame is taken.
    dense = replace(long, times=long.times / 2)
    assert np.diff(navigation_windows(dense, [range(48)], np.zeros(48, bool)).kept[0]).tolist() == [2] * 8


@pytest.mark.parametrize("method", ["depth", "frustum"])
def test_contexts_cover_the_target_and_keep_the_guard_band(method):
    capture = simulated_capture(11, 64, 64, 64)
    if method == "frustum":
        capture = replace(capture, read_depth=None)
    target = tuple(range(30, 39))
    settings = ContextSettings(frames=12, guard_seconds=1.0)
    usable = np.ones(64, bool)
    usable[5] = False
    small = thin_depth(capture)
    context = select_context(capture, target, usable, settings, small)
    assert context.method == method and target[0] in context.frames and len(context.frames) == 12
    others = np.array([frame for frame in context.frames if frame != target[0]])
    assert ((others < 30 - 4) | (others > 38 + 4)).all() and 5 not in others
    assert context.coverage > context.anchor_coverage
    # An independent count: every fourth pixel of the last target frame against all chosen frames, by the renderer's own depth.
    if method == "depth":
        depth = capture.read_depth([*context.frames, *target[1:]])
        count = len(context.frames)
        mask = covisible_mask(
            capture.cameras[list(target[1:])], depth[count:], capture.cameras[list(context.frames)], depth[:count]
        )
        assert abs(mask.mean() - context.coverage) < 0.1
    # Greedy choice is no worse than an even one of the same size.
    even = [30, *others[np.linspace(0, len(others) - 1, 3).astype(int)]]
    few = select_context(capture, target, usable, replace(settings, frames=4), small)
    only = np.zeros(64, bool)
    only[even] = True
    assert few.coverage >= select_context(capture, target, only, replace(settings, frames=4), small).coverage - 1e-9


def test_paths_that_go_nowhere_or_too_far():
    poses, _ = path()
    assert path_problem(Cameras.from_fov(poses)) is None
    assert path_problem(Cameras.from_fov(poses[:1].repeat(5, 1, 1))) == "path_too_short"
    poses[:, :3, 3] *= 1000
    assert path_problem(Cameras.from_fov(poses)) == "path_too_long"
    assert path_problem(Cameras.from_fov(poses, metric=False)) is None


def test_stages_need_earlier_ones_and_known_settings():
    before: list[str] = []
    for name, stage in STAGES.items():
        assert set(stage.needs) <= set(before), name
        before.append(name)
    known = {field.name for field in fields(StageSettings)}
    assert {part for stage in STAGES.values() for part in stage.settings} == known and {*KINDS} <= STAGES.keys()

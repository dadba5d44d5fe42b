"""Consistency scores: true video passes, cheats are seen, nothing to match is missing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.clips import Navigate
from video4spatial.evaluation.metrics.consistency import agreement, flicker, frame_changes
from video4spatial.geometry.features import matched_points
from video4spatial.geometry.two_views import epipolar_distances, fundamental_matrix
from video4spatial.evaluation.faults import swimming
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.metrics import METRICS
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene


def test_depth_reprojection_prefers_the_truth(clip, other_clip):
    metric = METRICS["depth_reprojection_psnr"]
    true = metric(Sample(clip, clip.target_frames))
    assert true.diagnostics["covered_share"] > 0.3
    wrong = [clip.target_frames[::-1], np.repeat(clip.target_frames[:1], 5, 0), other_clip.target_frames]
    assert all(true.value > metric(Sample(clip, np.ascontiguousarray(frames))).value + 2 for frames in wrong)


def test_epipolar_distances_of_a_true_sideways_step(clip):
    scene = generate_scene(clip.provenance["scene_seed"])
    anchor = clip.instruction.cameras[0]
    step = torch.eye(4, dtype=torch.float64)
    step[0, 3] = 0.15
    start = anchor.camera_to_world[0]
    pair = Cameras(torch.stack([start, start @ step]), anchor.intrinsics[0])
    frames = render(scene, pair, 192, 192, supersample=2).rgb
    points = matched_points(*frames)
    distances = epipolar_distances(*points, fundamental_matrix(pair, 192, 192))
    assert len(distances) >= 10 and np.median(distances) < 1
    downwards = torch.eye(4, dtype=torch.float64)
    downwards[1, 3] = 0.15
    wrong = Cameras(torch.stack([start, start @ downwards]), anchor.intrinsics[0])
    assert np.median(epipolar_distances(*points, fundamental_matrix(wrong, 192, 192))) > 3
    inliers, error = agreement(*points, 192)
    assert inliers > 0.8 and error < 0.5
    swum = agreement(*matched_points(*swimming(frames, 2.0)), 192)
    assert swum[0] < inliers - 0.2 and swum[1] > 2 * error
    with pytest.raises(ValueError, match="different places"):
        fundamental_matrix(pair[[0, 0]], 192, 192)


def test_nothing_to_match_is_missing_with_a_reason(clip):
    blank = np.full_like(clip.target_frames, 200)
    sample = Sample(clip, blank)
    for name in ("epipolar_error_px", "sampson_error_px", "epipolar_consistency", "rigidity", "rigidity_error_px"):
        measurement = METRICS[name](sample)
        assert measurement.status == "missing" and "matches" in measurement.reason


def test_a_camera_that_only_turns_has_no_epipolar_lines(clip):
    standing = replace(clip, instruction=Navigate(clip.target_cameras[[0] * 5]), target_cameras=clip.target_cameras[[0] * 5])
    for name in ("epipolar_error_px", "sampson_error_px", "epipolar_consistency"):
        assert METRICS[name](Sample(standing, clip.target_frames)).status == "not_applicable"
    blind = Sample(replace(clip, context_depth=None), clip.target_frames)
    assert METRICS["depth_reprojection_psnr"](blind).status == "not_applicable"


def test_temporal_measures():
    frames = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    frames[1], frames[2], frames[3] = 10, 20, 30
    assert frame_changes(frames).tolist() == [10, 10, 10] and flicker(frames).tolist() == [0, 0]
    frames[2] = 0
    assert flicker(frames).tolist() == [10, 20]


def test_frozen_share(clip):
    frames = clip.target_frames.copy()
    frames[3:] = frames[2]
    assert METRICS["frozen_share"](Sample(clip, frames)).value == 0.5


def test_a_video_that_stands_still_is_no_proof_of_rigidity(clip):
    still = np.repeat(clip.target_frames[:1], 5, 0)
    assert METRICS["rigidity"](Sample(clip, still)).status == "missing"


def test_registered_share(clip):
    pytest.importorskip("pycolmap")
    scene = generate_scene(clip.provenance["scene_seed"])
    large = render(scene, clip.target_cameras, 128, 128, supersample=2).rgb
    clip = replace(clip, target_frames=None, target_depth=None)
    metric = METRICS["registered_share"]
    assert metric(Sample(clip, large)).value == 1
    blank = metric(Sample(clip, np.full_like(large, 128)))
    assert blank.value == 0 and blank.diagnostics["reason"]
    assert metric(Sample(clip, large[:, :64, :64].copy())).status == "not_applicable"

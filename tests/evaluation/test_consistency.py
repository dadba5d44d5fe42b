"""Consistency scores: true video passes, cheats are seen, nothing to match is missing."""

import numpy as np
import torch
from dataclasses import replace

from video4spatial.cameras import Cameras
from video4spatial.clips import Navigate
from video4spatial.evaluation.consistency import epipolar_distances, flicker, frame_changes
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.registry import METRICS
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
    distances = epipolar_distances(*frames, pair)
    assert len(distances) >= 10 and float(distances.median()) < 1
    downwards = torch.eye(4, dtype=torch.float64)
    downwards[1, 3] = 0.15
    wrong = Cameras(torch.stack([start, start @ downwards]), anchor.intrinsics[0])
    assert float(epipolar_distances(*frames, wrong).median()) > 3


def test_nothing_to_match_is_missing_with_a_reason(clip):
    blank = np.full_like(clip.target_frames, 200)
    for name in ("epipolar_error_px", "epipolar_consistency"):
        measurement = METRICS[name](Sample(clip, blank))
        assert measurement.status == "missing" and "matches" in measurement.reason


def test_a_camera_that_only_turns_has_no_epipolar_lines(clip):
    standing = replace(clip, instruction=Navigate(clip.instruction.cameras[[0] * 5]), target_frames=None)
    assert METRICS["epipolar_error_px"](Sample(standing, clip.target_frames)).status == "not_applicable"
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

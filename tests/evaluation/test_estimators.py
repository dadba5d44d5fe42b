"""Estimators of cameras on frames whose cameras are known, and on frames that show nothing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.evaluation.metrics.camera import (
    direction_errors_degrees,
    measure_rotation_error,
    measure_translation_error,
    metric_translation_errors,
    rotation_errors_degrees,
)
from video4spatial.evaluation.estimators import ESTIMATORS, Evidence, estimate_cameras, estimator_named
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.aggregation import aggregate
from video4spatial.evaluation.scoring import score_clip
from video4spatial.geometry.pnp import FEWEST_INLIERS
from video4spatial.simulation.renderer import render


@pytest.fixture(scope="module")
def walk():
    """A clip large enough for correspondences, with few context frames so that tests stay quick."""
    return simulated_navigation_clip(
        2_050_003, height=256, width=256, num_frames=5, walk_frames=16, context_size=10, rotation_range=(10, 20),
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1), cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0]), cv2.setNumThreads(before[1])


def errors(estimate, cameras):
    return rotation_errors_degrees(estimate.cameras, cameras), metric_translation_errors(estimate.cameras, cameras)


def test_points_of_the_context_place_the_true_frames(walk):
    estimate = estimate_cameras("pnp", walk, walk.target_frames)
    assert estimate.coverage == 1 and estimate.cameras.metric and estimate.confidence[1:].min() >= FEWEST_INLIERS
    rotation, position = errors(estimate, walk.target_cameras)
    assert np.median(rotation) < 1 and np.median(position) < 0.05
    again = estimate_cameras("pnp", walk, walk.target_frames)
    assert again.cameras.allclose(estimate.cameras, 0)


def test_essential_matrices_give_the_turn_and_the_shape_of_the_path(walk):
    estimate = estimate_cameras("essential", walk, walk.target_frames)
    assert estimate.coverage == 1 and estimate.position_known.all() and not estimate.cameras.metric
    assert np.median(rotation_errors_degrees(estimate.cameras, walk.target_cameras)) < 2.5
    assert np.nanmedian(direction_errors_degrees(estimate.cameras, walk.target_cameras)) < 10
    assert measure_translation_error(Sample(walk, walk.target_frames, estimate)).value < 0.15


def test_a_turn_on_the_spot_has_a_rotation_but_no_position(walk):
    still = walk.target_cameras.camera_to_world.clone()
    still[:, :3, 3] = still[0, :3, 3]
    cameras = replace(walk.target_cameras, camera_to_world=still)
    evidence = Evidence.of_clip(walk, walk.target_frames)
    evidence = replace(evidence, frames=render(evidence.scene, cameras, 256, 256, supersample=2).rgb)
    estimate = ESTIMATORS["essential"](evidence)
    assert estimate.coverage == 1 and not estimate.position_known[1:].any()
    assert rotation_errors_degrees(estimate.cameras, cameras).max() < 0.5
    assert "length" in estimate.reason


def test_structure_from_motion_in_the_unit_of_the_context(walk):
    pytest.importorskip("pycolmap")
    estimate = estimate_cameras("sfm", walk, walk.target_frames)
    rotation, position = errors(estimate, walk.target_cameras)
    assert estimate.coverage == 1 and estimate.cameras.metric
    assert np.median(rotation) < 1 and np.median(position) < 0.1


def test_a_zooming_camera_is_found_with_its_own_lens(walk):
    intrinsics = walk.target_cameras.intrinsics.clone()
    intrinsics[:, 0, 0] *= torch.linspace(1, 1.5, 5)
    intrinsics[:, 1, 1] *= torch.linspace(1, 1.5, 5)
    cameras = replace(walk.target_cameras, intrinsics=intrinsics)
    evidence = Evidence.of_clip(walk, walk.target_frames)
    frames = render(evidence.scene, cameras, 256, 256, supersample=2).rgb
    evidence = replace(evidence, frames=frames, intrinsics=intrinsics)
    for name, limit in (("render_and_compare", 1.0), ("pnp", 1.0), ("essential", 2.0)):
        estimate = ESTIMATORS[name](evidence)
        assert np.median(rotation_errors_degrees(estimate.cameras, cameras)) < limit, name
        assert torch.equal(estimate.cameras.intrinsics, intrinsics)


@pytest.mark.parametrize("name", ["pnp", "essential", "sfm", "vggt", "render_and_compare"])
def test_frames_that_show_nothing_give_a_reason(clip, name):
    frames = np.full_like(clip.target_frames, 127)
    estimate = estimate_cameras(name, clip, frames)
    assert estimate.coverage == 0 and estimate.reason and estimate.rotation_known[0]
    measured = measure_rotation_error(Sample(clip, frames, estimate))
    assert measured.status == "missing" and measured.reason and set(measured.per_frame) == {None}


def test_tiny_and_single_frames_give_a_reason(clip):
    evidence = Evidence.of_clip(clip, clip.target_frames)
    tiny = replace(
        evidence, frames=clip.target_frames[:, ::8, ::8], context_frames=clip.context_frames[:, ::8, ::8],
        context_depth=clip.context_depth[:, ::8, ::8],
    )  # fmt: skip
    alone = replace(
        evidence, frames=evidence.frames[:1], intrinsics=evidence.intrinsics[:1], context_frames=None, context_cameras=None,
        context_depth=None,
    )  # fmt: skip
    for name in ("pnp", "essential", "sfm"):
        assert ESTIMATORS[name](tiny).coverage == 0 and ESTIMATORS[name](tiny).reason
        assert len(ESTIMATORS[name](alone)) == 1


def test_another_room_is_not_found_in_this_one(walk, other_clip):
    other = np.stack([cv2.resize(frame, (256, 256), interpolation=cv2.INTER_CUBIC) for frame in other_clip.target_frames])
    assert estimate_cameras("pnp", walk, other).coverage == 0


def test_missing_frames_lower_coverage_and_count_as_worst(walk):
    frames = walk.target_frames.copy()
    frames[2:4] = 127
    estimate = estimate_cameras("pnp", walk, frames)
    assert estimate.rotation_known.tolist() == [True, True, False, False, True]
    assert estimate.reasons[2] and not estimate.reasons[1]
    # The commanded camera does not stand in for what is missing.
    assert float(estimate.cameras[2].distance_to(walk.target_cameras[0])[0]) == 0
    sample = Sample(walk, frames, estimate)
    for measure in (measure_rotation_error, measure_translation_error):
        measured = measure(sample)
        assert [value is None for value in measured.per_frame] == [False, True, True, False] and measured.share == 0.5
    scores = score_clip(walk, frames, ["rotation_error_deg"], estimate)
    cell = aggregate(METRICS["rotation_error_deg"], [("room", scores["rotation_error_deg"])])
    assert cell["coverage"] == 0.5 and cell["value"] < 1 and cell["penalised"] == pytest.approx(90 + cell["value"] / 2)


@pytest.mark.parametrize("name", ["essential", "sfm"])
def test_a_path_that_does_not_start_at_the_anchor_is_not_joined_to_it(name, walk):
    if name == "sfm":
        pytest.importorskip("pycolmap")
    frames = walk.target_frames.copy()
    frames[0] = 127
    estimate = estimate_cameras(name, replace(walk, context_frames=frames[:1], context_cameras=None, context_depth=None), frames)
    assert estimate.coverage == 0 and "anchor" in estimate.reason


def test_what_an_estimator_needs_is_named(walk):
    blind = replace(walk, context_depth=None, provenance={})
    assert "pnp needs context_depth" in estimate_cameras("pnp", blind, walk.target_frames).reason
    assert "needs scene" in estimate_cameras("render_and_compare", blind, walk.target_frames).reason
    assert "facebook/VGGT-1B" in estimate_cameras("vggt", blind, walk.target_frames).reason
    with pytest.raises(ValueError, match="unknown estimator 'sfn' .did you mean 'sfm'.*essential"):
        estimator_named("sfn")
    with pytest.raises(ValueError, match="intrinsics must be"):
        estimate_cameras("pnp", walk, walk.target_frames[:3])

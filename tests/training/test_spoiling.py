"""Geometry made wrong, and shown."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.training.bank import render_bank
from video4spatial.training.shown_geometry import GeometrySettings, ShownGeometry
from video4spatial.training.spoiling import Spoiling, spoiled

EXACT = Spoiling(exact_probability=1.0)


@pytest.fixture(scope="module")
def bank():
    return render_bank([3], walk_frames=10, targets_per_scene=2, target_frames=4, height=32, width=40, depth_size=None)


@pytest.fixture(scope="module")
def geometry(bank) -> SceneGeometry:
    cameras = Cameras(bank.camera_to_world[0, :10], bank.intrinsics[0][None])
    depth = bank.depth[0, :10].float().numpy()
    return SceneGeometry(bank.frames[0, :10].numpy(), cameras, np.ones(10, bool), depth, np.ones_like(depth), ("",) * 10)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_exact_geometry_stays(geometry):
    assert spoiled(geometry, geometry.cameras[2], EXACT, generator()) is geometry


def test_errors_are_as_large_as_they_may_be_and_the_anchor_stays(geometry):
    settings = Spoiling(exact_probability=0.0, hole_share=0.3)
    wrong = [spoiled(geometry, geometry.cameras[2], settings, generator(seed)) for seed in range(12)]
    for one in wrong:
        torch.testing.assert_close(one.cameras.camera_to_world[2], geometry.cameras.camera_to_world[2])
        assert (one.confidence[one.depth > 0] > 0).all() and not one.confidence[one.depth == 0].any()
        assert one.depth.shape == geometry.depth.shape and one.depth.dtype == np.float32
    errors = [np.abs(np.log(one.depth / geometry.depth))[one.depth > 0].mean() for one in wrong]
    assert 0.01 < np.mean(errors) < 0.25 and max(errors) > 2 * min(errors)
    assert 0.02 < np.mean([(one.depth == 0).mean() for one in wrong]) < 0.3
    moved = [torch.linalg.vector_norm(one.cameras.positions - geometry.cameras.positions, dim=-1).max() for one in wrong]
    assert 0.01 < float(torch.stack(moved).mean()) < 0.4
    again = spoiled(geometry, geometry.cameras[2], settings, generator(3))
    assert np.array_equal(again.depth, wrong[3].depth)


def test_confidence_follows_the_errors(geometry):
    settings = Spoiling(exact_probability=0.0, depth_error=0.3, hole_share=0.0)
    one = spoiled(geometry, geometry.cameras[0], settings, generator(1))
    error = np.abs(np.log(one.depth / geometry.depth))
    assert one.confidence[error < np.quantile(error, 0.3)].mean() > one.confidence[error > np.quantile(error, 0.7)].mean()


def test_impossible_strengths_are_refused():
    with pytest.raises(ValueError, match="depth_error -1: expected at least 0; hole_share 2: expected at most 1"):
        Spoiling(depth_error=-1, hole_share=2)


def test_the_shown_target_is_that_of_the_bank(bank):
    """Unspoiled geometry of the walk shows the frames of a target nearly as they are."""
    shown = ShownGeometry(GeometrySettings(spoiling=EXACT))
    cameras = Cameras(bank.camera_to_world[0], bank.intrinsics[0][None])
    target = torch.arange(10, 13)
    anchor = int(bank.anchors[0, 0])
    frames = torch.tensor([anchor, *(index for index in range(10) if index != anchor)])
    rendering = shown.rendered(bank, 0, frames, cameras, target, generator())
    truth = bank.frames[0, target].numpy().astype(float)
    known = rendering.known
    assert known.mean() > 0.3 and np.abs(rendering.pictures[known] - truth[known]).mean() < 8
    assert rendering.view_pictures.shape == (3, 2, 32, 40, 3)


def test_estimated_depth_is_shown_where_there_is_some(bank):
    depth = torch.full((10, 32, 40), 2.0, dtype=torch.float16)
    shown = ShownGeometry(
        GeometrySettings(spoiling=EXACT, estimated_probability=1.0), {0: (depth, torch.full_like(depth, 0.5))}
    )
    cameras = Cameras(bank.camera_to_world[0], bank.intrinsics[0][None])
    rendering = shown.rendered(bank, 0, torch.arange(10), cameras, torch.tensor([4]), generator())
    true = ShownGeometry(GeometrySettings(spoiling=EXACT)).rendered(bank, 0, torch.arange(10), cameras, torch.tensor([4]), generator())
    assert rendering.view_confidence.max() <= 0.5 < true.view_confidence.max()
    assert np.abs(rendering.view_depth[0, 0] - true.view_depth[0, 0]).mean() > 0.1

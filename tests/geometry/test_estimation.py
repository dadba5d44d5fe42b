"""`SceneGeometry` of a simulated context: depth held against each other, and reasons for what could not be found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.geometry import GeometryError
from video4spatial.geometry.consistency import doubted
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.estimation import estimate_scene
from video4spatial.geometry.plane_sweep import PlaneSweepDepth
from video4spatial.geometry.rendering import painted_over
from video4spatial.geometry.scene_geometry import DepthMaps, SceneGeometry


@pytest.fixture(scope="module")
def scene(clip) -> SceneGeometry:
    return estimate_scene(clip.context_frames, clip.context_cameras, PlaneSweepDepth())


def true_maps(clip) -> DepthMaps:
    return DepthMaps(clip.context_depth, np.ones_like(clip.context_depth), ("",) * len(clip.context_depth))


def test_every_frame_has_depth_or_a_reason(clip, scene):
    known = scene.depth > 0
    assert scene.placed.all() and [not reason for reason in scene.reasons] == known.any((1, 2)).tolist()
    error = np.abs(scene.depth / clip.context_depth - 1)
    assert np.median(error[known]) < 0.1 and known.mean() > 0.6 and scene.known_share == known.mean()
    assert not scene.confidence[~known].any()
    sure = scene.confidence > np.median(scene.confidence[known])
    assert (error[known & sure] < 0.1).mean() > (error[known & ~sure] < 0.1).mean() + 0.1
    assert scene.origin == {
        "cameras": clip.context_cameras.convention, "depth": "plane sweep (no weights)",
        "scale": "metres, by the cameras",
    }  # fmt: skip


def test_the_rendering_shows_the_target(clip, scene):
    shown = scene.render(clip.target_cameras, *clip.target_frames.shape[1:3])
    error = np.abs(shown.pictures.astype(float) - clip.target_frames).mean(-1)
    wrong = np.abs(shown.pictures.astype(float) - clip.target_frames[::-1]).mean(-1)
    assert shown.known.mean() > 0.5 and np.median(error[shown.known]) < 0.6 * np.median(wrong[shown.known])


def test_views_that_agree_keep_their_confidence_and_those_seen_through_lose_it(clip):
    true = clip.context_depth
    sure = np.ones_like(true)
    kept = doubted(true, sure, clip.context_cameras)
    assert (kept == 1).mean() > 0.9 and (sure == 1).all()
    spoiled = true.copy()
    spoiled[4, 20:40, 20:40] *= 0.4
    found = doubted(spoiled, sure, clip.context_cameras)
    assert found[4, 20:40, 20:40].mean() < 0.3 and (found[4] > 0).all()
    assert found[4, :16].mean() > 0.8
    alone = doubted(true[:1], sure[:1], clip.context_cameras[:1])
    assert (alone == 1).all()  # nothing to hold it against


def test_only_frames_that_were_asked_for_get_depth(clip):
    scene = estimate_scene(clip.context_frames, clip.context_cameras, PlaneSweepDepth(), [2, 5])
    assert scene.depth.any((1, 2)).nonzero()[0].tolist() == [2, 5]
    assert scene.reasons[0] == "no depth was asked for" and scene.reasons[2] == ""


def test_depth_that_is_known(clip):
    maps = true_maps(clip)
    depth = maps.depth.copy()
    depth[3], depth[4, :8] = 0, np.nan
    small = replace(maps, depth=depth[:, 1::2, 1::2], confidence=maps.confidence[:, 1::2, 1::2])
    scene = estimate_scene(clip.context_frames, clip.context_cameras, small, origin={"depth": "a depth camera"})
    assert scene.origin["depth"] == "a depth camera" and scene.depth.shape == small.depth.shape
    assert scene.reasons[3] == "its depth is nowhere known" and scene.reasons[4] == "" and not scene.depth[4, :4].any()
    shown = scene.render(clip.target_cameras, 64, 64)
    assert np.median(np.abs(shown.depth / clip.target_depth - 1)[shown.known]) < 0.02


def test_frames_without_a_camera_keep_their_reason(clip):
    count = len(clip.context_frames)
    known = np.arange(count) != 3
    found = EstimatedCameras(clip.context_cameras, known, reasons=tuple("" if fine else "blurred" for fine in known))
    for depth in (PlaneSweepDepth(), true_maps(clip)):
        scene = estimate_scene(clip.context_frames, found, depth)
        assert scene.reasons[3] == "blurred" and not scene.depth[3].any() and not scene.placed[3]
        assert scene.depth[4].any() and scene.reason == f"blurred (1 of {count} frames)"


def test_what_stereo_cannot_see_has_a_reason_and_cameras_stay(clip):
    cameras, frames = clip.context_cameras, clip.context_frames
    still = cameras.camera_to_world.clone()
    still[:, :3, 3] = still[0, :3, 3]
    blank = frames.copy()
    blank[3] = 128
    for given, index, message in (
        ((frames[:1], cameras[:1]), 0, "a single frame"),
        ((frames, replace(cameras, camera_to_world=still)), 5, "only turns"),
        ((np.full_like(frames, 128), cameras), 2, "too little texture"),
        ((blank, cameras), 3, "too little texture"),
    ):
        scene = estimate_scene(*given, PlaneSweepDepth())
        assert message in scene.reasons[index] and not scene.depth[index].any() and scene.placed.all()
        assert scene.render(clip.target_cameras, 16, 16).pictures.shape == (len(clip.target_cameras), 16, 16, 3)
    assert scene.depth[4].any() and scene.reasons[4] == ""


def test_cameras_of_other_frames_are_doubted(clip, scene):
    order = torch.randperm(len(clip.context_frames), generator=torch.Generator().manual_seed(1)).tolist()
    other = estimate_scene(clip.context_frames, clip.context_cameras[order], PlaneSweepDepth())
    assert other.confidence.sum() < 0.5 * scene.confidence.sum()
    assert sum("perhaps its camera does not fit" in reason for reason in other.reasons) > len(order) / 2
    wide = replace(clip.context_cameras, intrinsics=clip.context_cameras.intrinsics * torch.tensor([[1.0], [1.5], [1.0]]))
    assert all("times as wide as high" in reason for reason in estimate_scene(clip.context_frames, wide, true_maps(clip)).reasons)


def test_input_that_does_not_fit_is_named(clip):
    frames, cameras, maps = clip.context_frames, clip.context_cameras, true_maps(clip)
    for given, message in (
        ((frames[1:], cameras, maps), "12 cameras do not fit 11 frames"),
        ((frames, cameras, maps, [0, 12]), r"different frames from 0 to 11, given \[0, 12\]"),
        ((frames, cameras, replace(maps, depth=maps.depth[:, :20], confidence=maps.confidence[:, :20])), "depth maps of 20 x 64 pixels"),
        ((frames, cameras, replace(maps, depth=maps.depth[1:])), "do not fit: expected"),
        ((frames, cameras, maps, [1]), "do not fit: expected"),
    ):
        with pytest.raises(GeometryError, match=message):
            estimate_scene(*given)


def test_geometries_are_joined_selected_moved_and_scaled(clip):
    scene = estimate_scene(clip.context_frames, clip.context_cameras, true_maps(clip))
    first, rest = scene.select([0, 2, 4]), scene.select([1, 3])
    small = replace(rest, depth=rest.depth[:, ::2, ::2], confidence=rest.confidence[:, ::2, ::2], origin={"depth": "a guess"})
    joined = first.joined(small)
    assert len(joined) == 5 and joined.depth.shape == (5, 64, 64) and np.array_equal(joined.frames[3], scene.frames[1])
    assert joined.cameras.allclose(scene.cameras[[0, 2, 4, 1, 3]]) and "given; of 2 further frames: a guess" == joined.origin["depth"]
    target = clip.target_cameras
    shown = scene.render(target, 32, 32)
    moved = scene.relative_to(3).render(target.relative_to(scene.cameras[3]), 32, 32)
    large = scene.scaled(2.0, metric=False).render(target.scaled(2.0), 32, 32)
    assert np.abs(moved.pictures.astype(int) - shown.pictures).mean() < 0.5
    assert np.allclose(large.depth, 2 * shown.depth, rtol=1e-3) and "times 2" in scene.scaled(2.0).origin["scale"]
    assert scene.relative_to(3).placed_at(scene.cameras[3]).cameras.allclose(scene.cameras, 1e-6)
    with pytest.raises(ValueError, match="frames of 64 x 64 and 32 x 32 pixels cannot be joined"):
        scene.joined(replace(scene, frames=scene.frames[:, ::2, ::2]))


def test_holes_are_painted_over():
    pictures = np.full((2, 16, 16, 3), 200, np.uint8)
    known = np.ones((2, 16, 16), bool)
    known[0, 4:8, 4:8] = False
    known[1] = False
    pictures[~known] = 0
    painted = painted_over(pictures, known, np.array([10, 20, 30], np.uint8))
    assert (painted[0] >= 195).all() and (painted[0][known[0]] == 200).all()
    assert (painted[1] == [10, 20, 30]).all() and not pictures[~known].any()

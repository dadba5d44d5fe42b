"""A simulated scene reconstructed from its context, and rendered."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.geometry import GeometryError
from video4spatial.geometry.filling import painted_over
from video4spatial.geometry.reconstruct import located_frames, reconstruct


@pytest.fixture(scope="module")
def scene(clip):
    return reconstruct(clip.context_frames, clip.context_cameras, clip.target_cameras, views=6)


def test_the_nearest_views_get_depth_and_the_others_a_reason(clip, scene):
    assert len(scene.frames) == len(scene.cameras) == len(scene.depth) == 6
    assert len(scene.reasons) == len(clip.context_frames)
    left_out = [reason for reason in scene.reasons if "not among the 6" in reason]
    assert len(left_out) == len(clip.context_frames) - 6
    assert scene.reasons.count("") == (scene.depth > 0).any((1, 2)).sum() > 0
    kept = [index for index, reason in enumerate(scene.reasons) if reason not in left_out]
    assert np.array_equal(scene.frames, clip.context_frames[kept]) and scene.cameras.allclose(clip.context_cameras[kept])
    known = scene.depth > 0
    assert np.median(np.abs(scene.depth / clip.context_depth[kept] - 1)[known]) < 0.1


def test_a_frame_that_shows_nothing_has_no_depth(clip):
    frames = clip.context_frames.copy()
    frames[3] = 128
    scene = reconstruct(frames, clip.context_cameras)
    assert len(scene.frames) == len(frames) and scene.reasons[3] == "stereo matched nothing" and not scene.depth[3].any()


def test_the_rendering_shows_the_target(clip, scene):
    pictures, known, depth = scene.render(clip.target_cameras, 48, 48)
    assert pictures.shape == (len(clip.target_cameras), 48, 48, 3) and known.shape == depth.shape == pictures.shape[:3]
    assert known.mean() > 0.2 and not pictures[~known].any() and (depth[known] > 0).all()
    full, seen, _ = scene.render(clip.target_cameras, *clip.target_frames.shape[1:3])
    error = np.abs(full.astype(float) - clip.target_frames).mean(-1)
    wrong = np.abs(full.astype(float) - clip.target_frames[::-1]).mean(-1)
    assert np.median(error[seen]) < 0.6 * np.median(wrong[seen])


def test_what_cannot_be_reconstructed_says_why(clip):
    cameras, frames = clip.context_cameras, clip.context_frames
    still = cameras.camera_to_world.clone()
    still[:, :3, 3] = still[0, :3, 3]
    for given, message in (
        ((frames[:2], cameras[:2]), "2 context frames with cameras are too few"),
        ((frames, replace(cameras, camera_to_world=still)), "only turns"),
        ((np.full_like(frames, 128), cameras), "matched nothing in the context"),
    ):
        with pytest.raises(GeometryError, match=message):
            reconstruct(*given)


def test_frames_that_cannot_be_located_say_why(clip):
    blank = np.full_like(clip.context_frames, 128)
    with pytest.raises(GeometryError, match="the context's cameras are unknown: no frame has a feature"):
        located_frames(blank, clip.context_cameras.intrinsics, clip.context_cameras[0])


def test_frames_are_located_in_the_world_of_the_anchor():
    pytest.importorskip("pycolmap")
    from video4spatial.clips.simulated import simulated_navigation_clip

    clip = simulated_navigation_clip(2_050_003, height=192, width=192, num_frames=5, walk_frames=16, context_size=8)
    found = located_frames(clip.context_frames, clip.context_cameras.intrinsics, clip.context_cameras[0])
    assert found.coverage > 0.8 and found.cameras.metric and found.cameras[0].allclose(clip.context_cameras[0], 1e-6)


def test_holes_are_painted_over():
    pictures = np.full((2, 16, 16, 3), 200, np.uint8)
    known = np.ones((2, 16, 16), bool)
    known[0, 4:8, 4:8] = False
    known[1] = False
    pictures[~known] = 0
    painted = painted_over(pictures, known, np.array([10, 20, 30], np.uint8))
    assert (painted[0] >= 195).all() and (painted[0][known[0]] == 200).all()
    assert (painted[1] == [10, 20, 30]).all() and not pictures[~known].any()

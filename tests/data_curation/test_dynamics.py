"""Moving subjects: static rooms are not flagged, the same pictures with something that walks through them are."""

from dataclasses import replace

import numpy as np
import pytest

from data_curation.stages.dynamics import DynamicsSettings, DynamicsThresholds, moving_subject, score_dynamics
from video4spatial.simulation import simulated_capture

COUNT, HEIGHT, WIDTH = 20, 192, 256
SUBJECT_HEIGHT, SUBJECT_WIDTH = 80, 56


def with_frames(capture, frames, **fields):
    return replace(capture, read_frames=lambda indices: frames[list(indices)], **fields)


@pytest.fixture(scope="module")
def static():
    capture = simulated_capture(5, COUNT, HEIGHT, WIDTH)
    return with_frames(capture, capture.read_frames(range(COUNT)))


@pytest.fixture(scope="module")
def moving(static):
    """The room, with a piece of another room's picture that walks to and fro in front of it."""
    frames = static.read_frames(range(COUNT)).copy()
    subject = simulated_capture(12, 1, HEIGHT, WIDTH).read_frames([0])[0][40 : 40 + SUBJECT_HEIGHT, 20 : 20 + SUBJECT_WIDTH]
    for index, frame in enumerate(frames):
        top = round(56 + 40 * np.sin(1.1 * index))
        left = round(100 + 80 * np.sin(0.25 * index))
        frame[top : top + SUBJECT_HEIGHT, left : left + SUBJECT_WIDTH] = subject
    return with_frames(static, frames)


@pytest.mark.parametrize("known", [True, False])
def test_what_moves_is_found_and_the_camera_is_not(static, moving, known):
    cameras = static.cameras if known else None
    still, walking = (score_dynamics(replace(capture, cameras=cameras)) for capture in (static, moving))
    assert len(still.moving_share) > COUNT / 2 and not moving_subject(still)
    assert moving_subject(walking)
    assert np.quantile(walking.moving_share, 0.75) > np.quantile(still.moving_share, 0.75) + 0.03


def test_thresholds_need_no_pixels(moving):
    scores = score_dynamics(moving)
    assert not moving_subject(scores, DynamicsThresholds(moving_share=1.0))
    assert not moving_subject(scores, DynamicsThresholds(fewest_pairs=COUNT))
    assert scores.frames.shape == (len(scores.moving_share), 2) and (scores.moving_share <= 1).all()


def test_wrong_cameras_are_not_taken_for_motion(static):
    """Cameras that do not explain the pictures are replaced by fitted ones."""
    backwards = replace(static.cameras, camera_to_world=static.cameras.camera_to_world.flip(0))
    assert not moving_subject(score_dynamics(replace(static, cameras=backwards)))


def test_a_camera_that_stands_still_is_no_error(static):
    frames = np.repeat(static.read_frames([0]), COUNT, axis=0)
    standing = with_frames(static, frames, cameras=static.cameras[[0] * COUNT])
    for capture in (standing, replace(standing, cameras=None)):
        scores = score_dynamics(capture)
        assert len(scores.moving_share) and (scores.moving_share == 0).all()


@pytest.mark.parametrize("count", [0, 1, 2, COUNT])
def test_nothing_to_track_is_no_evidence(static, count):
    blank = with_frames(static, np.full((COUNT, HEIGHT, WIDTH, 3), 90, np.uint8), cameras=None)
    scores = score_dynamics(replace(blank, frame_count=count, times=static.times[:count]))
    assert scores.moving_share.shape == (0,) and scores.frames.shape == (0, 2) and scores.tried <= max(count - 1, 0)
    assert not moving_subject(scores)


def test_tiny_pictures_and_pairs_further_apart(static):
    tiny = replace(static, height=12, width=6, cameras=None, read_frames=lambda indices: np.zeros((len(indices), 12, 6, 3), np.uint8))
    assert len(score_dynamics(tiny).moving_share) == 0
    frames = score_dynamics(static, DynamicsSettings(pairs=3, seconds=0.5)).frames
    assert (np.diff(static.times[frames], axis=1) == 0.5).all() and len(frames) <= 3

"""Pictures for reports."""

import re

import numpy as np
import pytest

from video4spatial.evaluation.reports.pictures import HOTTEST, epipolar_lines, reprojection_heat, side_by_side


def test_side_by_side(clip):
    videos = [("context", clip.context_frames), ("a very long name that cannot fit", clip.target_frames)]
    frames = side_by_side(videos, height=100)
    assert frames.dtype == np.uint8 and len(frames) == len(clip.context_frames)
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    with pytest.raises(ValueError, match="none"):
        side_by_side([])


def test_heat_is_dark_for_the_truth_and_bright_for_a_wrong_video(clip):
    heat, truth = reprojection_heat(clip, clip.target_frames)
    assert heat.shape == clip.target_frames.shape and np.nanmean(truth) < HOTTEST / 8
    assert np.nanmean(reprojection_heat(clip, 255 - clip.target_frames)[1]) > 4 * np.nanmean(truth)


def test_epipolar_lines_of_the_truth_meet_their_points(clip):
    cameras, frames = clip.target_cameras, clip.target_frames
    picture, caption = epipolar_lines(frames[0], frames[2], cameras[[0, 2]])
    assert picture.dtype == np.uint8 and picture.shape[0] == 300
    found = re.search(r"median ([0-9.]+) px", caption)
    assert found is None or float(found[1]) < 2.0
    assert epipolar_lines(frames[0], frames[0], cameras[[0, 0]]) is None
    assert epipolar_lines(np.zeros_like(frames[0]), frames[0], cameras[[0, 2]]) is None

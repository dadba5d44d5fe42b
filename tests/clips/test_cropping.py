import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, CropBox, project_points
from video4spatial.clips import Clip, Ground, Region
from video4spatial.clips.cropping import crop_boxes, resize_depth, resized


def test_boxes_are_cut_at_the_crop_and_lost_outside_it():
    crop = CropBox(top=10, left=20, height=30, width=40)  # of a picture of 60 x 80
    boxes = np.array([[0.25, 1 / 6, 0.75, 4 / 6], [0.5, 0.5, 1, 1], [0, 0, 0.2, 1], [np.nan] * 4])
    cropped = crop_boxes(boxes, crop, 60, 80)
    assert cropped.dtype == np.float32
    assert np.allclose(cropped[0], [0, 0, 1, 1]) and np.allclose(cropped[1], [0.5, 2 / 3, 1, 1])
    assert np.isnan(cropped[2:]).all()


def test_depth_is_picked_not_mixed():
    depth = np.random.default_rng(0).random((2, 60, 80), dtype=np.float32)
    crop = CropBox(top=10, left=20, height=30, width=40)
    assert np.array_equal(resize_depth(depth, crop, 30, 40), depth[:, 10:40, 20:60])
    half = resize_depth(depth, crop, 15, 20)
    assert np.array_equal(half, depth[:, 11:40:2, 21:60:2])
    assert np.isin(resize_depth(depth, crop, 7, 9), depth).all()


def test_a_resized_clip_still_fits_itself():
    """Where a point is in the picture, its cameras and its box say the same, before and after."""
    generator = np.random.default_rng(0)
    camera = Cameras.from_fov(torch.eye(4)[None], 70.0, 80 / 60)
    point = torch.tensor([[0.1, -0.2, 2.0]])
    (place,), _ = project_points(camera, point, 60, 80)
    x, y = (place[0] / torch.tensor([80, 60])).tolist()
    frames = generator.integers(0, 256, (1, 60, 80, 3), dtype=np.uint8)
    clip = Clip(
        "a", "room", frames, np.zeros(1), Ground("go to the lamp", Region(0, (x - 0.1, y - 0.1, x + 0.1, y + 0.1))), 0, camera,
        np.ones((1, 60, 80), np.float32), target_boxes=np.array([[x - 0.1, y - 0.1, x + 0.1, y + 0.1]], np.float32),
    )  # fmt: skip
    small = resized(clip, 30, 30)
    assert small.context_frames.shape == (1, 30, 30, 3) and small.context_depth.shape == (1, 30, 30)
    (there,), _ = project_points(small.context_cameras, point, 30, 30)
    for left, top, right, bottom in (small.instruction.region.box, small.target_boxes[0]):
        assert there[0].tolist() == pytest.approx([15 * (left + right), 15 * (top + bottom)], abs=1e-4)
    assert resized(clip, 60, 80) is clip

import numpy as np
import pytest
from PIL import Image

from video4spatial.media import resize_and_crop


def test_agrees_with_pillow():
    frames = np.random.default_rng(0).integers(0, 256, (2, 60, 90, 3), dtype=np.uint8)
    resized, box = resize_and_crop(frames, 20, 20)
    assert box == (0, 15, 60, 60)
    region = (box.left, box.top, box.left + box.width, box.top + box.height)
    for frame, result in zip(frames, resized, strict=True):
        expected = Image.fromarray(frame).crop(region).resize((20, 20), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(expected).astype(int) - result).max() <= 1


def test_crop_box_carries_the_intrinsics():
    """A bright point keeps its place in pixels: (x + 0.5 - left) * width / crop width."""
    frames = np.zeros((1, 100, 200, 3), np.uint8)
    frames[0, 40:44, 120:124] = 255
    resized, box = resize_and_crop(frames, 50, 50)
    weights = resized[0, ..., 0].astype(float)
    rows, columns = np.mgrid[:50, :50] + 0.5
    expected = (122 - box.left) * 50 / box.width, (42 - box.top) * 50 / box.height
    found = (weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()
    assert found == pytest.approx(expected, abs=0.05)


def test_fine_stripes_turn_grey_not_striped():
    frames = np.zeros((1, 96, 96, 3), np.uint8)
    frames[:, :, ::2] = 255
    resized, _ = resize_and_crop(frames, 16, 16)
    assert np.abs(resized.astype(int) - 127).max() < 12


def test_same_size_is_a_copy_and_empty_is_empty():
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    result, box = resize_and_crop(frames, 8, 8)
    assert np.array_equal(result, frames) and not np.shares_memory(result, frames) and box == (0, 0, 8, 8)
    assert resize_and_crop(frames[:0], 4, 4)[0].shape == (0, 4, 4, 3)


def test_bad_input():
    with pytest.raises(ValueError, match=r"uint8 \[T, H, W, 3\], got float64 \[2, 8, 8, 3\]"):
        resize_and_crop(np.zeros((2, 8, 8, 3)), 4, 4)
    with pytest.raises(ValueError, match="must be positive, got height 0"):
        resize_and_crop(np.zeros((2, 8, 8, 3), np.uint8), 0, 4)

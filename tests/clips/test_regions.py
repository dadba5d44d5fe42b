"""Regions: how they are written, what they mark, and what becomes of them in a clip."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from video4spatial.cameras import CropBox
from video4spatial.clips import Ground, Region, mirrored, parse_region
from video4spatial.clips.cropping import resized
from video4spatial.clips.footage import read_footage
from video4spatial.clips.regions import mask_as_plain, mask_from_plain, read_mask
from video4spatial.media import write_video


@pytest.fixture
def mask(tmp_path):
    marked = np.zeros((24, 48), bool)
    marked[6:12, 12:36] = True
    path = tmp_path / "mask.png"
    Image.fromarray((marked * 255).astype(np.uint8)).save(path)
    return marked, path


def test_boxes_and_masks_are_read_as_they_are_written(mask):
    marked, path = mask
    assert parse_region("frame=12,box=0.4,0.3,0.6,0.8") == Region(12, (0.4, 0.3, 0.6, 0.8))
    assert parse_region(f"mask={path},frame=-1") == Region(-1, mask=marked)
    assert Region(0, mask=marked).box == (0.25, 0.25, 0.75, 0.5)
    assert Region(0, mask=marked) != Region(0, (0.25, 0.25, 0.75, 0.5))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("box=0,0,1,1", "expected frame=12,box="), ("frame=1", "expected frame=12,box="), ("frame=1,bix=2", "expected frame=12,box="),
        ("frame=x,box=0,0,1,1", "no whole number"), ("frame=1,box=0,0,1", "from 0 to 1"), ("frame=1,box=a,0,1,1", "not four numbers"),
        ("frame=1,box=0.4,0.3,0.4,0.8", "left before right"), ("frame=1,box=0.4,0.3,1.2,0.8", "from 0 to 1"),
        ("frame=1,box=nan,0,1,1", "from 0 to 1"), ("frame=1,box=120,80,200,160", "look like pixels"),
        ("frame=1,mask=no.png", "no such mask"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_region_is_refused_in_one_sentence(text, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        parse_region(text)
    assert "\n" not in str(caught.value)


def test_masks_that_mark_nothing_or_are_no_pictures_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(ValueError, match="marks nothing"):
        parse_region(f"frame=0,mask={tmp_path / 'black.png'}")
    with pytest.raises(ValueError, match="not a picture"):
        read_mask(tmp_path / "words.png")


def test_labels_and_transparency_count_as_masks(tmp_path):
    labels = np.zeros((4, 4), np.uint8)
    labels[1:3, 1:3] = 1
    Image.fromarray(labels).save(tmp_path / "labels.png")
    clear = np.full((4, 4, 4), 255, np.uint8)
    clear[..., 3] = labels * 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    for name in ("labels.png", "clear.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), labels > 0)


def test_pixels_at_any_size_are_those_that_are_marked(mask):
    marked, _ = mask
    np.testing.assert_array_equal(Region(0, mask=marked).pixels(24, 48), marked)
    np.testing.assert_array_equal(Region(0, (0.25, 0.25, 0.75, 0.5)).pixels(24, 48), marked)
    assert Region(0, (0.501, 0.501, 0.502, 0.502)).pixels(4, 4).sum() == 1


def test_crops_move_regions_and_refuse_those_they_lose(mask):
    marked, _ = mask
    crop = CropBox(0, 12, 24, 24)
    assert Region(0, (0.25, 0.25, 0.75, 0.5)).cropped(crop, 24, 48).box == pytest.approx((0, 0.25, 1, 0.5))
    assert Region(0, mask=marked).cropped(crop, 24, 48).box == (0, 0.25, 1, 0.5)
    with pytest.raises(ValueError, match="outside the central 24x24"):
        Region(0, (0.0, 0.0, 0.2, 1.0)).cropped(crop, 24, 48)
    with pytest.raises(ValueError, match="the mask has 48x24 pixels and the frame 64x24"):
        Region(0, mask=marked).cropped(crop, 24, 64)


def test_masks_survive_being_written_down(mask):
    marked, _ = mask
    for written in (marked, ~marked, np.eye(3, dtype=bool)):
        np.testing.assert_array_equal(mask_from_plain(mask_as_plain(written)), written)


def test_views_of_a_clip_take_its_mask_along(clip):
    mask = np.zeros(clip.context_frames.shape[1:3], bool)
    mask[10:30, 4:20] = True
    marked = replace(clip, instruction=Ground(region=Region(2, mask=mask)))
    np.testing.assert_array_equal(mirrored(marked).instruction.region.mask, mask[:, ::-1])
    assert resized(marked, 32, 32).instruction.region.box == pytest.approx(marked.instruction.region.box, abs=0.05)
    with pytest.raises(ValueError, match="frame 12 of 12: expected 0 to 11"):
        replace(clip, instruction=Ground(region=Region(12, (0, 0, 1, 1))))
    with pytest.raises(ValueError, match="8x8 and 64x64 pixels"):
        replace(clip, instruction=Ground(region=Region(2, mask=np.ones((8, 8), bool))))


def test_regions_of_a_video_are_found_again_in_its_context(tmp_path, random_frames):
    write_video(tmp_path / "video.mp4", np.concatenate([random_frames(0, 20)] * 2, axis=2), 4.0)
    footage = read_footage(tmp_path / "video.mp4", height=16, width=16, marked=(7,), context_frames=4)
    found = footage.region(Region(7, (0.25, 0.0, 0.5, 1.0)))
    assert footage.chosen[found.frame] == 7 and found.box == pytest.approx((0, 0, 0.5, 1))
    mask = np.zeros((32, 64), bool)
    mask[:, 16:32] = True
    assert footage.region(Region(-13, mask=mask)).box == (0, 0, 0.5, 1)
    with pytest.raises(ValueError, match="the region's frame 20 is outside the 20 frames"):
        read_footage(tmp_path / "video.mp4", marked=(20,))


def test_words_and_regions_name_an_object_alone_or_together():
    region = Region(0, (0, 0, 1, 1))
    assert Ground(text="the lamp", region=region).words == "the lamp" and Ground(region=region).words == ""
    for text in (None, "", "  "):
        with pytest.raises(ValueError, match="needs words or a region"):
            Ground(text=text)

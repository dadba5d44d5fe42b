import logging

import numpy as np
import pytest

from video4spatial.media import open_video, write_images, write_video


@pytest.fixture
def clip(barcode):
    return np.stack([barcode(number) for number in range(9)])


def test_video_round_trip(tmp_path, clip, numbers_of):
    path = write_video(tmp_path / "made" / "clip.mp4", clip, frame_rate=12.5)
    with open_video(path) as video:
        assert (len(video), video.height, video.width, video.frame_rate) == (9, 66, 98, 12.5)
        assert numbers_of(video.read(range(9))) == list(range(9))
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_frames_may_come_one_by_one(tmp_path, clip, numbers_of):
    path = write_video(tmp_path / "clip.mp4", (frame for frame in clip), frame_rate=4)
    assert numbers_of(open_video(path).read([8, 1])) == [8, 1]


@pytest.mark.parametrize("colour", [(200, 30, 30), (30, 200, 60), (40, 50, 220), (255, 255, 255), (0, 0, 0)])
def test_colours_come_back(tmp_path, colour):
    frames = np.broadcast_to(np.array(colour, np.uint8), (2, 64, 96, 3))
    path = write_video(tmp_path / "colour.mp4", frames, frame_rate=4)
    back = open_video(path).read([0, 1]).astype(int)
    assert np.abs(back - frames).max() <= 6  # 8-bit limited-range YUV


def test_odd_sizes_are_padded_by_the_edge_and_said(tmp_path, barcode, caplog):
    frames = np.stack([barcode(number, 67, 99) for number in range(3)])
    with caplog.at_level(logging.WARNING):
        path = write_video(tmp_path / "odd.mp4", frames, frame_rate=4, crf=1)
    assert "99x67 is padded by a repeated edge to 100x68" in caplog.text
    video = open_video(path)
    assert (video.height, video.width) == (68, 100)
    back = video.read([2])[0].astype(int)
    # Not resized: every edge of the drawing lies where it was.
    assert np.abs(back[:67, :99] - frames[2]).mean() < 4
    assert np.abs(back[67] - back[66]).mean() < 4 and np.abs(back[:, 99] - back[:, 98]).mean() < 4


def test_bad_input_is_named_and_leaves_nothing_behind(tmp_path, clip):
    path = tmp_path / "clip.mp4"
    for frames, message in [
        (clip[:0], "there are no frames to write"),
        (clip / 255, r"uint8 \[H, W, 3\] each, got float64"),
        (clip[..., :2], r"got uint8 \[66, 98, 2\]"),
        ([clip[0], clip[1][:60]], r"one size, got \[60, 98, 3\] after \[66, 98, 3\]"),
    ]:
        for write in (lambda: write_video(path, frames, 4), lambda: write_images(tmp_path / "images", frames)):
            with pytest.raises(ValueError, match=message):
                write()
    with pytest.raises(ValueError, match=r"must end in .mp4.*frame rate must be a positive number, got nan"):
        write_video(tmp_path / "clip.gif", clip, float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_failed_video_keeps_the_old_one(tmp_path, clip):
    path = write_video(tmp_path / "clip.mp4", clip[:2], 4)
    before = path.read_bytes()

    def breaks_off():
        yield clip[0]
        raise RuntimeError("the model stopped")

    with pytest.raises(RuntimeError, match="the model stopped"):
        write_video(path, breaks_off(), 4)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_images_are_lossless_at_any_size(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    paths = write_images(tmp_path / "images", frames)
    assert [path.name for path in paths] == ["frame_000000.png", "frame_000001.png", "frame_000002.png"]
    assert np.array_equal(open_video(tmp_path / "images", frame_rate=4).read(range(3)), frames)
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_images(tmp_path / "images", frames)

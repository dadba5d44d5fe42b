"""What pictures of a video mean: their tones, primaries, pixel shapes and streams."""

from fractions import Fraction

import av
import numpy as np
import pytest

from video4spatial.media import BackendError, open_video
from video4spatial.media.colour import REFERENCE_WHITE, ColourMeaning

BT709, BT2020, P3 = 1, 9, 12
SRGB, BT2020_10, PQ, HLG = 13, 14, 16, 18
COLOURS = np.array([[200, 60, 30], [20, 20, 220], [90, 90, 90], [250, 250, 250]])
FROM_BT709 = {  # ITU-R BT.2087 and SMPTE EG 432-1, as they are printed
    BT709: np.eye(3),
    BT2020: np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]),
    P3: np.array([[0.8225, 0.1774, 0.0000], [0.0332, 0.9669, 0.0000], [0.0171, 0.0724, 0.9108]]),
}


def stored_codes(colours, transfer, primaries):
    """[N, 3] codes from 0 to 1 that store sRGB colours, by the forward formulas of BT.2100."""
    code = colours / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4) @ FROM_BT709[primaries].T
    if transfer == PQ:
        power = (linear * REFERENCE_WHITE / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    if transfer == HLG:
        scene = (linear * REFERENCE_WHITE / 1000) ** (1 / 1.2)
        return np.where(scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("transfer, primaries", [(PQ, BT2020), (HLG, BT2020), (BT2020_10, BT2020), (SRGB, P3), (PQ, P3)])
def test_colours_come_out_as_they_went_in(transfer, primaries):
    codes = np.rint(stored_codes(COLOURS, transfer, primaries) * 65280).astype(np.uint16)
    result = ColourMeaning(transfer, primaries).to_standard(codes[None])[0]
    assert np.abs(result.astype(int) - COLOURS).max() <= 1


def test_light_above_the_reference_white_is_cut_off():
    grey = np.linspace(0, 65280, 500).astype(np.uint16)[None, :, None].repeat(3, 2)
    for transfer in (PQ, HLG):
        result = ColourMeaning(transfer, BT2020).to_standard(grey)[0]
        assert np.ptp(result, 1).max() == 0 and (np.diff(result[:, 0].astype(int)) >= 0).all() and tuple(result[-1]) == (255, 255, 255)


def encoded(path, codes, transfer, primaries, pixel_format="yuv444p16le"):
    """A lossless video of four upright stripes, with the matrix of BT.2020, studio range, and the given tags."""
    y = codes @ [0.2627, 0.6780, 0.0593]
    planes = [219 * y + 16, 224 * (codes[:, 2] - y) / 1.8814 + 128, 224 * (codes[:, 0] - y) / 1.4746 + 128]
    picture = np.stack([np.tile(np.repeat(np.rint(256 * plane), 16), (64, 1)) for plane in planes], -1).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, pixel_format
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, primaries, 9, 1
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(picture, format=pixel_format)
            frame.pts, frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = number, 9, 1, transfer, primaries
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer, name", [(HLG, "HLG"), (PQ, "PQ")])
def test_a_video_of_high_dynamic_range_is_brought_to_bt709_and_said(tmp_path, transfer, name):
    path = encoded(tmp_path / "high.mkv", stored_codes(COLOURS, transfer, BT2020), transfer, BT2020)
    with open_video(path) as video:
        assert np.abs(video.read([1])[0, 32, 8::16].astype(int) - COLOURS).max() <= 2
        assert len(video.notes) == 1 and f"high dynamic range ({name}, BT.2020 colours)" in video.notes[0]
    with pytest.raises(BackendError, match="colours are not those of BT.709|decord is not installed"):
        open_video(path, "decord")


def test_wide_colours_of_standard_range(tmp_path):
    path = encoded(tmp_path / "wide.mkv", stored_codes(COLOURS, BT2020_10, BT2020), BT2020_10, BT2020)
    with open_video(path) as video:
        assert np.abs(video.read([0])[0, 32, 8::16].astype(int) - COLOURS).max() <= 2
        assert video.notes == ("the video has BT.2020 colours: they are brought to BT.709.",)


def test_an_ordinary_video_has_nothing_to_say(videos):
    assert open_video(videos / "gop_12.mp4").notes == ()


def test_tones_that_cannot_be_converted_are_said():
    assert "linear light, which is not converted" in ColourMeaning(8, BT709).note


@pytest.mark.parametrize("shape, size", [("4/3", (131, 66)), ("3/4", (98, 88))])
def test_pixels_are_made_square(videos, ffmpeg, numbers_of, tmp_path, shape, size):
    ffmpeg("-i", videos / "gop_12.mp4", "-vf", f"setsar={shape}", "-c:v", "libx264", tmp_path / "oblong.mp4")
    with open_video(tmp_path / "oblong.mp4") as video:
        assert (video.width, video.height) == size and video.index.pixel_aspect == Fraction(shape)
        assert numbers_of(video.read([7, 50])) == [7, 50]
        assert f"98x66 are stretched to {size[0]}x{size[1]}" in video.notes[0]
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "oblong.mp4", "-c", "copy", tmp_path / "turned.mp4")
    turned = open_video(tmp_path / "turned.mp4")
    assert (turned.height, turned.width) == size and turned.read([0]).shape[1:3] == (size[0], size[1])


def test_the_best_of_several_streams_is_read(videos, ffmpeg, numbers_of, tmp_path):
    ffmpeg("-i", videos / "gop_12.mp4", "-vf", "negate", "-frames:v", 1, "-c:v", "mjpeg", tmp_path / "cover.mkv")
    ffmpeg("-i", tmp_path / "cover.mkv", "-i", videos / "gop_12.mp4", "-map", 0, "-map", 1, "-c", "copy", tmp_path / "two.mkv")
    with open_video(tmp_path / "two.mkv") as video:
        assert len(video) == 60 and numbers_of(video.read([3, 59])) == [3, 59]
        assert video.notes == ("of the file's 2 video streams the one that FFmpeg calls best is read: number 1, 98x66.",)


@pytest.mark.parametrize("name, codec", [("bare.h264", "libx264"), ("bare.hevc", "libx265")])
def test_bare_streams_are_read_from_their_beginning(videos, ffmpeg, numbers_of, tmp_path, name, codec):
    quiet = ["-x265-params", "log-level=0"] if codec == "libx265" else []
    ffmpeg("-i", videos / "gop_12.mp4", "-c:v", codec, *quiet, tmp_path / name)
    with open_video(tmp_path / name) as video:
        assert len(video) == 60 and video.frame_rate == pytest.approx(24)
        for order in (range(60), range(59, -1, -1), [31, 5, 59, 5]):
            assert numbers_of(video.read(order)) == list(order)
        assert video.notes == ("the file has no times: 24 frames per second are assumed.",)


def test_fields_are_said(videos, ffmpeg, tmp_path):
    flags = ["-vf", "scale=96:64,setfield=tff", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264opts", "tff=1"]
    ffmpeg("-i", videos / "gop_12.mp4", *flags, tmp_path / "fields.mp4")
    assert "the video is interlaced" in open_video(tmp_path / "fields.mp4").notes[0]


@pytest.mark.parametrize("value, focal", [("26", 26.0), ("0", None), ("wide", None)])
def test_the_lens_that_a_phone_notes(videos, ffmpeg, tmp_path, value, focal):
    key = f"com.apple.quicktime.camera.focal_length.35mm_equivalent={value}"
    ffmpeg("-i", videos / "gop_12.mp4", "-c", "copy", "-movflags", "use_metadata_tags", "-metadata", key, tmp_path / "phone.mov")
    assert open_video(tmp_path / "phone.mov").focal_35mm == focal

"""Tiny videos whose frames carry their own number as a barcode, so that a reader cannot return the wrong one unseen."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

BITS = 8
COUNT = 60  # frames of the standard clips


def draw_barcode(number: int, height: int = 66, width: int = 98) -> np.ndarray:
    """Eight vertical bars (bright is 1, lowest bit on the left) between a bright top and a dark bottom strip."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[: height // 4] = 200
    bar = width // BITS
    for bit in range(BITS):
        frame[height // 4 : 3 * height // 4, bit * bar : (bit + 1) * bar] = 255 * (number >> bit & 1)
    return frame


def read_barcode(frame: np.ndarray) -> int:
    height, width = frame.shape[:2]
    bar = width // BITS
    assert frame[height // 8].mean() > 150 and frame[-height // 8].mean() < 60, "the picture is not upright"
    middles = [frame[height // 2, bit * bar + bar // 2].mean() > 128 for bit in range(BITS)]
    return sum(int(bright) << bit for bit, bright in enumerate(middles))


def encode(
    path: Path,
    numbers,
    height: int = 66,
    width: int = 98,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    milliseconds=None,
    **options: str,
) -> Path:
    """Encodes barcode frames with PyAV, at 24 frames/s or at the given times."""
    time_base = Fraction(1, 24) if milliseconds is None else Fraction(1, 1000)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt, stream.options = height, width, pixel_format, options
        stream.codec_context.time_base = time_base
        for position, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(draw_barcode(number, height, width))
            frame.pts = position if milliseconds is None else milliseconds[position]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def run_ffmpeg(*arguments) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> Path:
    """A folder of clips, one per property under test."""
    folder = tmp_path_factory.mktemp("videos")
    numbers = range(COUNT)
    encode(folder / "gop_12.mp4", numbers, g="12", bf="3")
    encode(folder / "gop_250.mp4", numbers, g="250", bf="3", sc_threshold="0")
    encode(folder / "gop_2.mp4", numbers, g="2", bf="1")  # keyframes closer than frames are reordered
    encode(folder / "gop_12.mkv", numbers, g="12", bf="3")
    encode(folder / "open_groups.mp4", numbers, g="12", bf="3", **{"x264-params": "open-gop=1"})
    encode(folder / "odd.mp4", numbers, 67, 99, pixel_format="yuv444p", g="12")
    encode(folder / "av1.mp4", range(12), codec="libsvtav1", preset="12", svtav1_params="lp=1")
    times = np.cumsum(np.random.default_rng(0).integers(10, 90, COUNT)).tolist()
    encode(folder / "variable.mp4", numbers, milliseconds=times, g="12", bf="2")
    for degrees in (90, 180, 270):
        # The barcode is stored turned the other way, so that honouring the metadata puts it upright.
        turned = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]
        run_ffmpeg("-i", folder / "gop_12.mp4", "-vf", turned, "-c:v", "libx264", "-g", 12, folder / "stored.mp4")
        target = folder / f"turned_{degrees}.mp4"
        run_ffmpeg("-display_rotation", degrees, "-i", folder / "stored.mp4", "-c", "copy", target)
    run_ffmpeg("-i", folder / "gop_12.mp4", "-vf", "hflip", "-c:v", "libx264", folder / "stored.mp4")
    run_ffmpeg("-display_hflip", "-i", folder / "stored.mp4", "-c", "copy", folder / "mirrored.mp4")
    run_ffmpeg("-ss", 1.1, "-i", folder / "gop_12.mp4", "-c", "copy", folder / "trimmed.mp4")
    run_ffmpeg("-i", folder / "gop_12.mp4", "-c", "copy", folder / "stream.ts")
    run_ffmpeg("-i", folder / "gop_12.mp4", "-c:v", "mpeg4", "-bf", 2, folder / "old.avi")
    return folder


@pytest.fixture(scope="session")
def times_of_variable() -> np.ndarray:
    """Seconds from the first frame of `variable.mp4`."""
    milliseconds = np.cumsum(np.random.default_rng(0).integers(10, 90, COUNT))
    return (milliseconds - milliseconds[0]) / 1000


@pytest.fixture
def ffmpeg():
    """Runs the program that imageio brings."""
    return run_ffmpeg


@pytest.fixture
def barcode():
    return draw_barcode


@pytest.fixture
def numbers_of():
    """The frame numbers that pictures show."""
    return lambda frames: [read_barcode(frame) for frame in frames]

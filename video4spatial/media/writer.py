"""Writing of videos and folders of images; they appear under their names only when they are complete."""

from __future__ import annotations

import itertools
import logging
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image

from video4spatial.files import written_aside
from video4spatial.media.base import MediaError

logger = logging.getLogger(__name__)

# Converted to BT.709 and tagged so: untagged, players (and readers) guess the matrix from the picture's size.
_COLOUR = "scale=out_range=tv:out_color_matrix=bt709,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709"


def write_video(
    path: str | os.PathLike, frames: np.ndarray | Iterable[np.ndarray], frame_rate: float, crf: int = 18
) -> Path:
    """Write an h264 mp4 (yuv420p, plays everywhere).

    Frames are never resized. h264 in yuv420p stores even sizes only: an odd width or height is padded by one pixel at the right or
    bottom that repeats the edge, and this is logged. `write_images` keeps any size, losslessly.

    Args:
        path: ending in .mp4. Its folder is made; an existing file is replaced, only once the new one is complete.
        frames: uint8 [T, H, W, 3] or an iterable of [H, W, 3], T at least 1.
        frame_rate: frames per second.
        crf: x264 quality, 0 (best) to 51 (worst).

    Returns:
        The path.

    Raises:
        ValueError: for other frames, frame rates or names.
        MediaError: if encoding fails.
    """
    path = Path(path)
    problems = []
    if path.suffix.lower() != ".mp4":
        problems.append(f"the name must end in .mp4, got {path.name!r}")
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        problems.append(f"the frame rate must be a positive number, got {frame_rate}")
    if not 0 <= crf <= 51:
        problems.append(f"crf must be between 0 and 51, got {crf}")
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems))
    frames = _checked(frames, path)
    first = next(frames)
    padding = [(0, first.shape[0] % 2), (0, first.shape[1] % 2), (0, 0)]
    if any(after for _, after in padding):
        logger.warning(
            "%s: h264 stores even sizes only; %dx%d is padded by a repeated edge to %dx%d",
            path, first.shape[1], first.shape[0], first.shape[1] + padding[1][1], first.shape[0] + padding[0][1],
        )  # fmt: skip
    with written_aside(path) as aside:
        try:
            _encode(aside, (np.pad(frame, padding, mode="edge") for frame in itertools.chain([first], frames)), frame_rate, crf)
        except OSError as error:
            raise MediaError(f"{path}: the video could not be encoded: {error}") from error
    return path


def _encode(path: Path, frames: Iterable[np.ndarray], frame_rate: float, crf: int) -> None:
    writer = imageio.get_writer(
        path,
        format="FFMPEG",
        mode="I",
        fps=frame_rate,
        codec="libx264",
        pixelformat="yuv420p",
        macro_block_size=1,  # any other value lets imageio resize
        quality=None,
        ffmpeg_log_level="error",
        output_params=["-crf", str(crf), "-vf", _COLOUR, "-movflags", "+faststart"],
    )
    try:  # not `with`: after an exception imageio leaves ffmpeg running
        for frame in frames:
            writer.append_data(frame)
    finally:
        writer.close()


def write_images(folder: str | os.PathLike, frames: np.ndarray | Iterable[np.ndarray]) -> list[Path]:
    """Write frames as a folder of PNG images, lossless and of any size, which `open_video` reads back.

    Args:
        folder: new or empty; it appears only once it is complete.
        frames: uint8 [T, H, W, 3] or an iterable of [H, W, 3], T at least 1.

    Returns:
        The paths, `frame_000000.png` and so on.

    Raises:
        ValueError: for other frames.
        FileExistsError: if the folder already holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: already exists and is not an empty folder; choose another one")
    frames = _checked(frames, folder)
    names = []
    with written_aside(folder) as aside:
        aside.mkdir()
        for index, frame in enumerate(frames):
            names.append(f"frame_{index:06d}.png")
            Image.fromarray(frame).save(aside / names[-1])
    return [folder / name for name in names]


def _checked(frames: np.ndarray | Iterable[np.ndarray], path: Path) -> Iterator[np.ndarray]:
    """Yield frames after checking each: one size, uint8, three channels; the first is checked at once."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: there are no frames to write")
    shape = np.shape(first)

    def check(frame: np.ndarray) -> np.ndarray:
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise ValueError(f"{path}: frames must be uint8 [H, W, 3] each, got {frame.dtype} {list(frame.shape)}")
        if frame.shape != shape:
            raise ValueError(f"{path}: frames must have one size, got {list(frame.shape)} after {list(shape)}")
        return np.ascontiguousarray(frame)

    return map(check, itertools.chain([check(first)], frames))

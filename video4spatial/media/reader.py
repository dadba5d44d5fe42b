"""Opens videos, whatever they are stored as."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from video4spatial.media.base import BackendError, VideoReader
from video4spatial.media.decord_backend import DecordReader
from video4spatial.media.image_folder import IMAGE_SUFFIXES, ImageFolderReader
from video4spatial.media.pyav_backend import PyAVReader

logger = logging.getLogger(__name__)

BACKENDS = {"pyav": PyAVReader, "decord": DecordReader}
# What `benchmarks/video_reading.py` measured to be the faster one on h264; a test compares the two.
DEFAULT_BACKEND = "pyav"
IMAGE_FOLDER_FRAME_RATE = 4.0  # images carry no times; the frame rate of the built-in models


def open_video(path: str | os.PathLike, backend: str = "auto", frame_rate: float | None = None) -> VideoReader:
    """Open a video file, or a folder of images as a video.

    Args:
        path: a video file, a folder of images or one image.
        backend: "pyav", "decord" or "auto": the faster one as measured, else the other where the first cannot read the file, which
            is logged. It has no effect on images.
        frame_rate: images per second, for images only; 4 if not given, which is logged.

    Returns:
        A reader; use it as a context manager or call its `close`.

    Raises:
        FileNotFoundError: for a missing path.
        MediaError: for what is not a video, is empty, cut short or cannot be read by the backend asked for.
        ValueError: for an unknown backend or a frame rate that makes no sense.
    """
    path = Path(path)
    if backend != "auto" and backend not in BACKENDS:
        raise ValueError(f"unknown video backend {backend!r}; expected 'auto', {', '.join(map(repr, BACKENDS))}")
    if frame_rate is not None and not 0 < frame_rate < float("inf"):
        raise ValueError(f"the frame rate must be a positive number of frames per second, got {frame_rate}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such video file or folder of images")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        reader = ImageFolderReader(path, frame_rate or IMAGE_FOLDER_FRAME_RATE)
        if frame_rate is None and len(reader) > 1:
            logger.warning("%s: images have no times; assuming %g images per second", path, IMAGE_FOLDER_FRAME_RATE)
        return reader
    if frame_rate is not None:
        raise ValueError(f"{path}: a frame rate can be given for images only; the video file carries its own times")
    if backend != "auto":
        return BACKENDS[backend](path)
    return open_with_first_able(path, [DEFAULT_BACKEND, *(name for name in BACKENDS if name != DEFAULT_BACKEND)])


def open_with_first_able(path: Path, backends: Sequence[str]) -> VideoReader:
    """Open with the first backend that can read a file, and log each that cannot.

    Args:
        path: of the file.
        backends: names in `BACKENDS`, in order.

    Raises:
        MediaError: for a broken file, or one that no backend can read.
    """
    failed: dict[str, str] = {}
    for name in backends:
        try:
            reader = BACKENDS[name](path)
        except BackendError as error:
            failed[name] = str(error)
            continue
        for other, reason in failed.items():
            logger.warning("falling back from %s: %s", other, reason)
        return reader
    raise BackendError("; ".join(failed.values()))

"""Video reading with decord, where it is installed and exact."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from video4spatial.media.base import BackendError, MediaError, VideoReader
from video4spatial.media.index import ONE_FRAME_PER_PACKET_CONTAINERS, build_index, describe_break
from video4spatial.media.pyav_backend import DECODING_THREADS, last_good_before

CODECS = ("h264", "hevc", "vp9", "mjpeg", "ffv1")
NARROWEST = 64  # below it, the padding of a row can make decord count a fourth channel


class DecordReader(VideoReader):
    """Reads what decord decodes frame-exactly; see `VideoReader`.

    The index comes from PyAV. decord 0.6 silently returns wrong frames from trimmed video (edit lists), open groups of pictures
    (the rule for HEVC) and transport streams, and ignores mirroring, the shape of pixels and what colours mean, so these are refused.

    Args:
        path: of the video file.

    Raises:
        BackendError: for a file that it cannot read exactly, or without decord.
        MediaError: for what is not a video.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        try:
            import decord  # noqa: F401  (lazily: it is an optional dependency, with wheels for Linux x86-64 only)
        except ImportError as error:
            raise BackendError("decord is not installed; use backend='pyav' or `pip install decord`") from error
        self.index = build_index(Path(path))
        reasons = []
        (xx, xy), (yx, yy) = self.index.orientation
        if self.index.codec not in CODECS:
            reasons.append(f"its codec is {self.index.codec}")
        if self.index.container not in ONE_FRAME_PER_PACKET_CONTAINERS or not self.index.seekable:
            reasons.append(f"its container is {self.index.container}")
        if self.index.has_hidden_frames:
            reasons.append("it is trimmed by an edit list")
        if self.index.has_open_groups:
            reasons.append("it has open groups of pictures")
        if self.index.width < NARROWEST:
            reasons.append(f"it is narrower than {NARROWEST} pixels")
        if self.index.pixel_aspect != 1:
            reasons.append("its pixels are not square")
        if not self.index.colours.is_standard:
            reasons.append("its colours are not those of BT.709")
        if xx * yy - xy * yx < 0:
            reasons.append("it is mirrored by its display matrix")
        if reasons:
            raise BackendError(f"{path}: decord cannot read it exactly: {', '.join(reasons)}; use backend='pyav'")
        super().__init__(
            path, self.index.height, self.index.width, self.index.times, self.index.frame_rate, self.index.notes, self.index.focal_35mm
        )

    def _open_decoder(self):
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        try:
            decoder = decord.VideoReader(str(self.path), num_threads=DECODING_THREADS)
        except (RuntimeError, decord.DECORDError) as error:
            raise BackendError(f"{self.path}: decord cannot open it; use backend='pyav'") from error
        if len(decoder) != len(self):
            raise BackendError(
                f"{self.path}: decord counts {len(decoder)} frames where there are {len(self)}; use backend='pyav'"
            )
        return decoder

    def _read_sorted(self, indices: np.ndarray) -> np.ndarray:
        import decord

        decoder = self._current_decoder()
        try:
            # Sorted on purpose: in any other order decord decodes again from a keyframe for each frame.
            frames = decoder.get_batch(indices).asnumpy()
        except (RuntimeError, decord.DECORDError) as error:
            self.close()
            for frame in indices.tolist():
                last = last_good_before(self.path, self.index, frame)
                if last < frame:
                    raise MediaError(describe_break(self.path, last, len(self))) from error
            raise BackendError(f"{self.path}: decord cannot decode it; use backend='pyav'") from error
        return frames

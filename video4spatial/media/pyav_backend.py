"""Video reading with PyAV: seeks to a keyframe only when it lies past the current position."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from video4spatial.media.base import MediaError, VideoReader
from video4spatial.media.index import VideoIndex, build_index, describe_break, last_good_frame, open_container, square_pixels

DECODING_THREADS = 2  # most of the gain of threads, while leaving cores to other workers


@dataclass
class _Decoder:
    container: av.container.InputContainer
    stream: av.VideoStream
    frames: Iterator[av.VideoFrame]
    position: int = 0  # index of the next frame that `frames` yields
    # One for all frames: `VideoFrame.to_ndarray(format=...)` sets up a new conversion each time, at 0.4 ms a frame.
    converter: VideoReformatter = field(default_factory=VideoReformatter)

    def to_rgb(self, frame: av.VideoFrame, index: VideoIndex) -> np.ndarray:
        """[H, W, 3] uint8 with square pixels and the colours of BT.709, not yet upright."""
        width, height = square_pixels(frame.width, frame.height, index.pixel_aspect)
        deep = not index.colours.is_standard
        picture = self.converter.reformat(frame, width, height, "rgb48le" if deep else "rgb24", threads=1).to_ndarray()
        return index.colours.to_standard(picture) if deep else picture


class PyAVReader(VideoReader):
    """Reads any video that FFmpeg can decode; see `VideoReader`.

    Args:
        path: of the video file.

    Raises:
        MediaError: for what is not a video.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.index = build_index(Path(path))
        super().__init__(
            path, self.index.height, self.index.width, self.index.times, self.index.frame_rate, self.index.notes, self.index.focal_35mm
        )

    def _open_decoder(self) -> _Decoder:
        container, stream = open_container(self.path, DECODING_THREADS)
        return _Decoder(container, stream, container.decode(stream))

    def _close_decoder(self, decoder: _Decoder) -> None:
        decoder.container.close()

    def _read_sorted(self, indices: np.ndarray) -> np.ndarray:
        frames = np.empty((len(indices), self.height, self.width, 3), np.uint8)
        for row, index in enumerate(indices.tolist()):
            try:
                frame = self._decode(index)
                if frame is None or frame.is_corrupt:
                    raise MediaError(self._describe_break(index))
            except av.FFmpegError as error:
                message = self._describe_break(index)
                self.close()
                raise MediaError(message) from error
            picture = _upright(self._current_decoder().to_rgb(frame, self.index), self.index.orientation)
            if picture.shape != frames.shape[1:]:
                raise MediaError(
                    f"{self.path}: the picture changes size at frame {index}, from {self.width}x{self.height} to "
                    f"{picture.shape[1]}x{picture.shape[0]}; split the video there"
                )
            frames[row] = picture
        return frames

    def _decode(self, index: int) -> av.VideoFrame | None:
        """The frame, or None if the decoder passes it by, even when started earlier and at last at the beginning."""
        decoder = self._current_decoder()
        timestamps, keyframes = self.index.timestamps, self.index.keyframes
        keyframe = int(np.searchsorted(keyframes, timestamps[index], side="right")) - 1
        if index < decoder.position:
            self._seek(decoder, keyframe)
        elif keyframe >= 0 and keyframes[keyframe] > timestamps[decoder.position]:
            self._seek(decoder, keyframe)
        step_back = 1
        while True:
            for frame in decoder.frames:
                if self.index.seekable:
                    # A frame that is not in the index (decoded from before the first shown one) matches no timestamp.
                    shown = int(np.searchsorted(timestamps, frame.pts, side="right"))
                    decoder.position = shown
                    if frame.pts >= timestamps[index]:
                        break
                else:
                    decoder.position += 1
                    if decoder.position > index:
                        return frame
            else:
                decoder.position = len(timestamps)
                frame = None
            if frame is not None and frame.pts == timestamps[index]:
                return frame
            if keyframe < 0:
                return None
            # The container took us past the frame (keyframes closer together than frames are reordered): start earlier.
            keyframe = max(keyframe - step_back, -1)
            step_back *= 2
            self._seek(decoder, keyframe)

    def _seek(self, decoder: _Decoder, keyframe: int) -> None:
        """Move to the keyframe of that number; a negative number means the beginning of the file."""
        if keyframe < 0:
            decoder.container.close()
            fresh = self._open_decoder()
            decoder.container, decoder.stream, decoder.frames = fresh.container, fresh.stream, fresh.frames
            decoder.position = 0
            return
        timestamp = int(self.index.keyframes[keyframe])
        decoder.container.seek(timestamp, stream=decoder.stream)
        decoder.frames = decoder.container.decode(decoder.stream)
        decoder.position = int(np.searchsorted(self.index.timestamps, timestamp))

    def _describe_break(self, index: int) -> str:
        if not self.index.seekable:
            return describe_break(self.path, self._current_decoder().position - 1, len(self))
        return describe_break(self.path, last_good_before(self.path, self.index, index), len(self))


def last_good_before(path: Path, index: VideoIndex, frame: int) -> int:
    """The last frame before the break that keeps a frame from being decoded.

    Args:
        path: of the file.
        index: of the file.
        frame: index of the frame that cannot be decoded.
    """
    earlier = index.keyframes[index.keyframes <= index.timestamps[frame]]
    return last_good_frame(path, index.timestamps, int(earlier[-1]) if len(earlier) else None)


def _upright(picture: np.ndarray, orientation: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Apply the display matrix to [H, W, 3]: exchange of axes, then a flip along each axis that is negative."""
    (xx, xy), (yx, yy) = orientation
    if xx == 0:
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if yx + yy < 0 else 1, :: -1 if xx + xy < 0 else 1]

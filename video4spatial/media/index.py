"""The index of a video file: which frames it has, when they are shown, where decoding may start.

Both backends share it, so that length, times, rotation and error messages cannot differ between them.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from video4spatial.media.base import BackendError, MediaError
from video4spatial.media.colour import ColourMeaning

# In these, each packet is one shown frame with a true presentation time, so the index needs no decoding. Elsewhere
# (AVI, transport streams, VP8's hidden frames, packed B-frames) packets and frames differ: all frames are decoded once.
ONE_FRAME_PER_PACKET_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
ONE_FRAME_PER_PACKET_CODECS = ("h264", "hevc", "av1", "vp9", "mjpeg", "png", "ffv1", "prores")
FOCAL_35MM = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")  # FFmpeg would draw a text file as a terminal screen


@dataclass(frozen=True)
class VideoIndex:
    """Frames of a file in the order in which they are shown.

    Args:
        timestamps: [N] int64 presentation times in units of `time_base`.
        time_base: seconds of one unit.
        keyframes: [K] presentation times at which decoding may start; empty where it may start at the beginning only.
        height: of the frames as shown, in pixels.
        width: of the frames as shown, in pixels.
        pixel_aspect: width / height of a stored pixel; pictures are stretched along their shorter-sampled side until it is 1.
        orientation: the upper 2x2 of the display matrix, rows (xx, xy), (yx, yy) of -1, 0, 1, which maps stored to shown axes (x
            right, y down).
        colours: what the stored numbers mean.
        focal_35mm: focal length in millimetres that gives the same view on 36 x 24 mm film, by the diagonal; None where the file does
            not say.
        notes: sentences on what of the file is not as usual, and what is done about it.
        frame_rate: frames per second.
        has_hidden_frames: whether an edit list hides some.
        has_open_groups: whether frames stored after a keyframe are shown before it.
        codec: FFmpeg's name of it.
        container: FFmpeg's name of it.
    """

    timestamps: np.ndarray
    time_base: Fraction
    keyframes: np.ndarray
    height: int
    width: int
    pixel_aspect: Fraction
    orientation: tuple[tuple[int, int], tuple[int, int]]
    colours: ColourMeaning
    focal_35mm: float | None
    notes: tuple[str, ...]
    frame_rate: float
    has_hidden_frames: bool
    has_open_groups: bool
    codec: str
    container: str

    @property
    def times(self) -> np.ndarray:
        """Seconds [N] since the first frame, float64."""
        return (self.timestamps - self.timestamps[0]) * float(self.time_base)

    @property
    def seekable(self) -> bool:
        """Whether decoding may start elsewhere than at the beginning."""
        return len(self.keyframes) > 0


class _Packet(NamedTuple):
    """What the index needs of a packet; the packets themselves would hold the whole file in memory."""

    pts: int | None
    duration: int
    is_keyframe: bool
    is_discard: bool
    is_corrupt: bool

    @classmethod
    def of(cls, packet: av.Packet) -> _Packet:
        return cls(packet.pts, packet.duration or 0, packet.is_keyframe, packet.is_discard, packet.is_corrupt)


def open_container(path: Path, threads: int) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a file with PyAV.

    Args:
        path: of the file.
        threads: that decode.

    Returns:
        The container and its video stream.

    Raises:
        MediaError: for a file without a video stream.
        BackendError: where PyAV lacks the decoder.
    """
    try:
        container = av.open(str(path), metadata_errors="replace")
    except av.FFmpegError as error:
        raise MediaError(_why_unreadable(path, error.strerror)) from error
    streams = _moving_streams(container)
    best = container.streams.best("video")  # by FFmpeg: the one that is marked as default, has the most frames, the most bits
    stream = best if best in streams else streams[0] if streams else None
    if stream is None or (stream.codec_context and stream.codec_context.name in TEXT_CODECS):
        container.close()
        raise MediaError(_why_unreadable(path, "it has no video stream"))
    if stream.codec_context is None:
        container.close()
        raise BackendError(f"{path}: the decoder of its video is not in this build of PyAV; re-encode it as h264")
    stream.codec_context.thread_count = threads
    if threads > 1:
        stream.thread_type = "AUTO"
    return container, stream


def build_index(path: Path) -> VideoIndex:
    """Read the index of a video file.

    Args:
        path: of the file.

    Raises:
        MediaError: for a file that is not a video, has no frames, or ends before its last frame.
    """
    container, stream = open_container(path, threads=1)
    with container:
        codec = stream.codec_context.codec.canonical_name
        by_packet = (
            container.format.name in ONE_FRAME_PER_PACKET_CONTAINERS and codec in ONE_FRAME_PER_PACKET_CODECS
        )
        # MP4 lists all its samples up front (Matroska only its keyframes): fewer packets mean a file cut short.
        listed = len(stream.index_entries) if by_packet else 0
        packets, failure = _collect(_Packet.of(packet) for packet in container.demux(stream) if packet.size)
        declared = max(listed, len(packets), _count_by_duration(stream, packets))
        shown = [packet for packet in packets if not packet.is_discard]
        timestamps = np.array(sorted(packet.pts for packet in shown if packet.pts is not None), np.int64)
        if by_packet and (failure or len(packets) < declared or any(packet.is_corrupt for packet in packets)):
            last = last_good_frame(path, timestamps, None)
            raise MediaError(describe_break(path, last, declared - len(packets) + len(shown)))
        keyframes = np.array(sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None), np.int64)
        if not by_packet or len(np.unique(timestamps)) < len(shown):
            timestamps, keyframes = _decode_timestamps(path), np.empty(0, np.int64)
        if not len(timestamps):
            raise MediaError(f"{path}: the video has no frames")
        frame = _first_frame(container, stream) or _very_first_frame(path)
        if frame is None:
            raise MediaError(describe_break(path, -1, len(timestamps)))
        orientation = _orientation(frame, path)
        pixel_aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = square_pixels(frame.width, frame.height, pixel_aspect)
        sides_swapped = orientation[0][0] == 0
        colours = ColourMeaning.of(frame, stream.codec_context)
        seconds = float((timestamps[-1] - timestamps[0]) * stream.time_base)
        declared_rate = float(stream.average_rate or 0)
        return VideoIndex(
            timestamps=timestamps,
            time_base=stream.time_base,
            keyframes=keyframes,
            height=width if sides_swapped else height,
            width=height if sides_swapped else width,
            pixel_aspect=pixel_aspect,
            orientation=orientation,
            colours=colours,
            focal_35mm=_focal_35mm(container, stream),
            notes=_notes(container, stream, frame, (width, height), colours),
            frame_rate=_frame_rate(len(timestamps), seconds, declared_rate),
            has_hidden_frames=len(shown) < len(packets),
            has_open_groups=_has_open_groups(packets),
            codec=codec,
            container=container.format.name,
        )


def square_pixels(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Width and height of a stored picture once its pixels are square; no side becomes shorter.

    Args:
        width, height: as stored.
        pixel_aspect: width / height of a stored pixel.
    """
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def last_good_frame(path: Path, timestamps: np.ndarray, start: int | None) -> int:
    """The last frame that decodes in an unbroken run.

    One thread, packet by packet: with several threads FFmpeg reports an error frames away from where it lies.

    Args:
        path: of the file.
        timestamps: [N] presentation times of its frames.
        start: presentation time where the run begins; None is the beginning of the file.

    Returns:
        Its index; the one before the start (-1 at the beginning) where nothing decodes.
    """
    container, stream = open_container(path, threads=1)
    first = 0 if start is None else int(np.searchsorted(timestamps, start))
    decoded: set[int] = set()
    with container:
        if start is not None:
            container.seek(int(start), stream=stream)
        try:
            for packet in container.demux(stream):
                decoded.update(frame.pts for frame in packet.decode() if not frame.is_corrupt)
        except av.FFmpegError:
            try:
                decoded.update(frame.pts for frame in stream.codec_context.decode(None))
            except av.FFmpegError:
                pass  # the decoder keeps nothing more: what was decoded before stands
    last = first - 1
    while last + 1 < len(timestamps) and int(timestamps[last + 1]) in decoded:
        last += 1
    return last


def describe_break(path: Path, last_good: int, count: int) -> str:
    """The one line that names a broken file and the last frame before the break.

    Args:
        path: of the file.
        last_good: index of that frame; negative where there is none.
        count: frames that the file should have.
    """
    remedy = "the file is damaged or cut short; copy it again"
    if last_good < 0:
        return f"{path}: no frame of {count} can be decoded: {remedy}"
    return f"{path}: cannot be decoded past frame {last_good} of {count}: {remedy} or cut it before that frame"


def _count_by_duration(stream: av.VideoStream, packets: list[_Packet]) -> int:
    """How many frames a Matroska file should have, if it ends before the duration that writers note; else 0."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    ends = [(packet.pts + packet.duration) * stream.time_base for packet in packets if packet.pts is not None]
    if match is None or not ends or not stream.average_rate:
        return 0
    hours, minutes, seconds = map(float, match.groups())
    duration = hours * 3600 + minutes * 60 + seconds
    # Writers round, and some count the pause before the first frame: less than half a second proves nothing.
    return round(duration * stream.average_rate) if duration - float(max(ends)) > 0.5 else 0


def _has_open_groups(packets: list[_Packet]) -> bool:
    keyframe = None
    for packet in packets:
        if packet.is_keyframe:
            keyframe = packet.pts
        elif None not in (keyframe, packet.pts) and packet.pts < keyframe:
            return True
    return False


def _collect(iterator) -> tuple[list, av.FFmpegError | None]:
    """All items up to the first FFmpeg error, and that error."""
    items = []
    try:
        for item in iterator:
            items.append(item)
    except av.FFmpegError as error:
        return items, error
    return items, None


def _decode_timestamps(path: Path) -> np.ndarray:
    """Presentation times of all frames, by decoding them all; frames without a time are placed by the frame rate."""
    container, stream = open_container(path, threads=1)
    with container:
        timestamps, failure = _collect(frame.pts for frame in container.decode(stream))
        if failure:
            count = max(stream.frames, len(timestamps) + 1)
            raise MediaError(describe_break(path, len(timestamps) - 1, count)) from failure
        if None in timestamps or np.any(np.diff(timestamps) <= 0):
            step = 1 / (Fraction(stream.guessed_rate or stream.average_rate or 25) * stream.time_base)
            timestamps = [round(index * step) for index in range(len(timestamps))]
        return np.array(timestamps, np.int64)


def _moving_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that are not a cover picture."""
    return [stream for stream in container.streams.video if not stream.disposition & stream.disposition.attached_pic]


def _focal_35mm(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    for metadata in (stream.metadata, container.metadata):
        try:
            focal = float(metadata.get(FOCAL_35MM, "nan"))
        except ValueError:
            continue
        if 0 < focal < math.inf:
            return focal
    return None


def _notes(
    container: av.container.InputContainer, stream: av.VideoStream, frame: av.VideoFrame, size: tuple[int, int], colours: ColourMeaning
) -> tuple[str, ...]:
    notes = []
    count = len(_moving_streams(container))
    if frame.pts is None:
        notes.append(f"the file has no times: {float(stream.guessed_rate or stream.average_rate or 25):g} frames per second are assumed.")
    if count > 1:
        which = f"number {stream.index}, {size[0]}x{size[1]}"
        notes.append(f"of the file's {count} video streams the one that FFmpeg calls best is read: {which}.")
    if size != (frame.width, frame.height):
        notes.append(f"the video's pixels are not square: {frame.width}x{frame.height} are stretched to {size[0]}x{size[1]}.")
    if frame.interlaced_frame:
        notes.append("the video is interlaced, and its fields are left together: whatever moves has combs; deinterlace it first.")
    return (*notes, colours.note) if colours.note else tuple(notes)


def _very_first_frame(path: Path) -> av.VideoFrame | None:
    """The first frame of a file in which FFmpeg cannot go back, as bare h264 and HEVC streams."""
    container, stream = open_container(path, threads=1)
    with container:
        return _next_frame(container, stream)


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame | None:
    """The first frame that decodes, for its size and display matrix; None if there is none."""
    try:
        container.seek(stream.start_time or 0, stream=stream)
    except av.FFmpegError:
        return None
    return _next_frame(container, stream)


def _next_frame(container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame | None:
    try:
        return next(container.decode(stream), None)
    except av.FFmpegError:
        return None


def _orientation(frame: av.VideoFrame, path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Signs of the display matrix (ISO 14496-12, 6.2.2): shown (x, y) = stored (x, y) times the matrix."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return (1, 0), (0, 1)
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5] / 65536.0
    matrix = np.rint(np.array([[a, c], [b, d]])).astype(int)
    if not np.array_equal(np.abs(matrix @ matrix.T), np.eye(2, dtype=int)):
        raise MediaError(
            f"{path}: its display matrix is not a multiple of 90 degrees (or a mirror image); "
            "re-encode it upright, for example with ffmpeg"
        )
    return tuple(map(tuple, matrix.tolist()))


def _frame_rate(count: int, seconds: float, declared: float) -> float:
    """Mean frames per second; the declared rate where it agrees with the times (it is free of their rounding)."""
    if count < 2 or seconds <= 0:
        return declared or 1.0
    measured = (count - 1) / seconds
    return declared if abs(declared - measured) <= 0.01 * measured else measured


def _why_unreadable(path: Path, reason: str) -> str:
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        return f"{path}: the file is empty"
    if head[4:8] == b"ftyp" and _is_cut_short(path):
        return f"{path}: no frame can be decoded: an MP4 file without its index, so it was cut short; copy it again"
    return f"{path}: not a video ({reason}); give a video file or a folder of images"


def _is_cut_short(path: Path) -> bool:
    """Whether an MP4 file lacks its index or ends inside one of its top-level boxes (ISO 14496-12, 4.2)."""
    names, position, size = set(), 0, path.stat().st_size
    with open(path, "rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            names.add(name)
            if length == 1:
                length = int.from_bytes(file.read(8), "big")
            elif length == 0:  # up to the end of the file
                length = size - position
            position += max(length, 8)
    return b"moov" not in names or position > size

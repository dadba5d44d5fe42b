"""What every video reader offers, whichever library decodes."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np


# Decoders that a forked process got from its parent. Freeing one would wait for threads that only the parent has.
_INHERITED: list[object] = []


class MediaError(ValueError):
    """A video or an image that cannot be read or written; the message names the file, the frame and the remedy."""


class BackendError(MediaError):
    """A sound file that one backend cannot read exactly (or a backend that is not installed); another one may."""


class VideoReader(ABC):
    """Frame-exact random access to a video. Frames are counted from 0 in the order in which they are shown.

    Opening checks the file and reads its index. The decoder itself starts at the first `read`, once per process, so a reader can be
    pickled and used after a fork (for example in the workers of a `DataLoader`). One reader must not be used by two threads at
    once.

    Args:
        path: the file or folder.
        height: of the frames as shown, in pixels.
        width: of the frames as shown, in pixels.
        times: [N] float64 seconds since the first frame.
        frame_rate: frames per second.
        notes: sentences for the user on what of the file is not as usual, and what is done about it.
        focal_35mm: focal length in millimetres that gives the same view on 36 x 24 mm film, by the diagonal (CIPA DCG-001), as the file
            has it; None where it does not say.
    """

    def __init__(
        self, path: str | os.PathLike, height: int, width: int, times: np.ndarray, frame_rate: float,
        notes: Iterable[str] = (), focal_35mm: float | None = None,
    ) -> None:  # fmt: skip
        self.path = Path(path)
        self.height = height
        self.width = width
        self.times = times  # [N] float64 seconds
        self.times.setflags(write=False)
        self.frame_rate = frame_rate
        self.notes = tuple(notes)
        self.focal_35mm = focal_35mm
        self._decoder = None
        self._decoder_process: int | None = None

    def read(self, indices: Iterable[int]) -> np.ndarray:
        """Decode some frames.

        Args:
            indices: [n] integers in [0, len), in any order and with repetitions.

        Returns:
            uint8 RGB [n, height, width, 3], upright (rotation metadata applied), in the order asked for.

        Raises:
            ValueError: for an index outside the video.
            MediaError: where the file cannot be decoded.
        """
        indices = np.asarray(indices if hasattr(indices, "__len__") else list(indices))
        if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
            raise ValueError(
                f"{self.path.name}: frame indices must be a one-dimensional list of integers, "
                f"got shape {indices.shape} and type {indices.dtype}"
            )
        outside = indices[(indices < 0) | (indices >= len(self))] if indices.size else indices
        if outside.size:
            named = ", ".join(map(str, outside[:5])) + (", ..." if outside.size > 5 else "")
            raise ValueError(f"{self.path.name}: no frame {named}: the video has frames 0 to {len(self) - 1}")
        if not indices.size:
            return np.empty((0, self.height, self.width, 3), np.uint8)
        unique, positions = np.unique(indices, return_inverse=True)
        frames = self._read_sorted(unique)
        return frames if np.array_equal(unique, indices) else frames[positions]

    def close(self) -> None:
        """Release the decoder; a later `read` starts it again."""
        decoder, self._decoder = self._decoder, None
        if decoder is None:
            return
        if self._decoder_process == os.getpid():
            self._close_decoder(decoder)
        else:
            _INHERITED.append(decoder)

    @abstractmethod
    def _read_sorted(self, indices: np.ndarray) -> np.ndarray:
        """Frames [n, height, width, 3] of strictly increasing, valid `indices`."""

    @abstractmethod
    def _open_decoder(self) -> object:
        """Start the library's own reader."""

    def _close_decoder(self, decoder: object) -> None:
        """Close what `_open_decoder` returned, where dropping the reference is not enough."""

    def _current_decoder(self) -> object:
        # Decoder threads and file positions do not survive a fork: each process opens its own.
        if self._decoder is None or self._decoder_process != os.getpid():
            if self._decoder is not None:
                _INHERITED.append(self._decoder)
            self._decoder = self._open_decoder()
            self._decoder_process = os.getpid()
        return self._decoder

    def __len__(self) -> int:
        return len(self.times)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_decoder": None, "_decoder_process": None}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({str(self.path)!r}: {len(self)} frames, {self.width}x{self.height}, "
            f"{self.frame_rate:.4g} frames/s)"
        )

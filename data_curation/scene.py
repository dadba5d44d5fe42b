"""What a stage is given and what it returns: a scene under way, and a result of plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
import torch

from data_curation.readers import read_scene
from data_curation.stages.visibility import Visibility
from video4spatial.cameras import Cameras
from video4spatial.captures import Capture

DEPTH_SIDE = 64  # pixels along the longer side of thinned depth maps
BATCH, BATCH_BYTES = 32, 1 << 24  # frames read at once: at most this many, of about this size together


@dataclass(frozen=True)
class Result:
    """What a stage found.

    Args:
        data: plain values (numbers, texts, lists, mappings) for later stages.
        unit: what is counted: frames, windows, clips, objects or captures.
        kept: how many of them.
        filtered: {reason: how many were left out}.
        stop: the reason why the whole scene ends here, or None.
    """

    data: dict = field(default_factory=dict)
    unit: str = "captures"
    kept: int = 1
    filtered: dict[str, int] = field(default_factory=dict)
    stop: str | None = None


class Scene:
    """A scene under way. Its capture is opened when a stage first asks for it; `done` holds the data of earlier stages by name.

    Args:
        reader: name of the reader.
        name: of the scene, as the reader found it.
        options: of the reader.
    """

    def __init__(self, reader: str, name: str, options: dict):
        self.reader, self.name, self.options = reader, name, options
        self.done: dict[str, dict] = {}

    @cached_property
    def recording(self) -> Capture:
        """The capture as the reader yields it."""
        return read_scene(self.reader, self.name, **self.options)

    @cached_property
    def capture(self) -> Capture:
        """The capture with cameras. Where cameras had to be found, frames without one are left out."""
        found = self.done["cameras"]
        if "tried" not in found:
            return self.recording
        arrays = {name: torch.tensor(found[name], dtype=torch.float64) for name in ("camera_to_world", "intrinsics", "times")}
        return with_cameras(self.recording, Cameras(**arrays, metric=False, convention=found["convention"]), found)

    @cached_property
    def depth(self) -> np.ndarray | None:
        """Thinned depth maps [N, h, w] of all frames of `capture`, or None without depth."""
        return thin_depth(self.capture)

    @property
    def poor(self) -> np.ndarray:
        """[N] bool: which frames of `capture` are of poor quality."""
        return np.array(self.done["frame_quality"]["poor"], dtype=bool)[self.done["cameras"]["frames"]]

    @property
    def stretches(self) -> list[range]:
        """Frames of `capture` between which the path does not break."""
        return [range(*ends) for ends in self.done["pose_quality"]["stretches"]]

    @property
    def visibility(self) -> Visibility:
        """How well the frames of `capture` show its objects, as the stage of that name found it."""
        plain = self.done["visibility"]
        arrays = {name: np.array(plain[name], dtype=np.float64) for name in ("area", "visible", "boxes", "distance", "angle")}
        if not plain["objects"]:
            shapes = {"boxes": (0, len(plain["frames"]), 4)}
            arrays = {name: np.zeros(shapes.get(name, (0, len(plain["frames"])))) for name in arrays}
        return Visibility(tuple(plain["objects"]), tuple(plain["frames"]), **arrays, method=plain["method"])


def with_cameras(capture: Capture, cameras: Cameras, found: dict) -> Capture:
    """The frames of a capture whose cameras were found, with these.

    Args:
        capture: that was reconstructed.
        cameras: of the frames that were registered.
        found: data of the stage `cameras`: `frames` that were registered, `tried`, `points` and `error_pixels`.

    Returns:
        A capture of those frames under new numbers. Depth, objects and the direction of up are not passed on: they belong to the
        world and the unit of other cameras.
    """
    frames = tuple(found["frames"])
    left_out = {**capture.provenance.get("left_out", {}), "not_registered": sorted({*found["tried"]} - {*frames})}
    told = {"frames_tried": len(found["tried"]), "points": found["points"], "error_pixels": found["error_pixels"]}
    provenance = {"convention": cameras.convention, "reconstruction": told, "left_out": left_out}
    return replace(
        capture,
        frame_count=len(frames),
        times=np.asarray(capture.times)[list(frames)],
        read_frames=_Chosen(capture.read_frames, frames),
        cameras=cameras,
        read_depth=None,
        read_instances=capture.read_instances and _Chosen(capture.read_instances, frames),
        objects=(),
        up_axis=None,
        provenance={**capture.provenance, **provenance},
    )


@dataclass(frozen=True)
class _Chosen:
    """Some frames of a reading function."""

    read: Callable[[Sequence[int]], np.ndarray]
    frames: tuple[int, ...]

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        return self.read([self.frames[index] for index in indices])


def pictures_of(capture: Capture, frames: Sequence[int] | None = None) -> Iterator[np.ndarray]:
    """Pictures of a capture, read in parts that stay small in memory.

    Args:
        capture: to read from.
        frames: indices; all by default.

    Yields:
        The pictures [H, W, 3] uint8 one by one.
    """
    frames = range(len(capture)) if frames is None else frames
    count = min(max(BATCH_BYTES // (3 * capture.height * capture.width), 1), BATCH)
    for start in range(0, len(frames), count):
        yield from capture.read_frames(frames[start : start + count])


def reduced_size(capture: Capture, side: int) -> tuple[int, int]:
    """Width and height of a capture's pictures, reduced where their longer side is more than `side` pixels.

    Args:
        capture: with the pictures' own size.
        side: longest side in pixels.
    """
    factor = min(1.0, side / max(capture.height, capture.width))
    return max(1, round(capture.width * factor)), max(1, round(capture.height * factor))


def grey_pictures(capture: Capture, frames: Sequence[int], size: tuple[int, int]) -> list[np.ndarray]:
    """Some frames of a capture as grey pictures [height, width] uint8.

    Args:
        capture: to read from.
        frames: indices.
        size: width and height in pixels.
    """
    greys = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures_of(capture, frames))
    return [cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in greys]


def thin_depth(capture: Capture) -> np.ndarray | None:
    """Depth maps of all frames of a capture, thinned to about `DEPTH_SIDE` pixels without means across edges.

    Args:
        capture: N frames.

    Returns:
        [N, h, w] in the unit of the cameras, 0 where unknown; None without depth.
    """
    if capture.read_depth is None:
        return None
    step = max(1, max(capture.height, capture.width) // DEPTH_SIDE)
    batches = [range(start, min(start + BATCH, len(capture))) for start in range(0, len(capture), BATCH)]
    return np.concatenate([capture.read_depth(batch)[:, step // 2 :: step, step // 2 :: step] for batch in batches])

"""Cameras of plain footage by structure from motion (COLMAP, the extra `sfm`). Lengths are those of the reconstruction, not metres.

A short or almost straight path leaves the focal length open. A wrong one is made up for by turns and points that fit it, and the
epipolar check does not notice it either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import atan, degrees

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.captures import Capture
from video4spatial.geometry import GeometryError
from video4spatial.geometry.structure_from_motion import MappingSettings, SparseModel, map_pictures
from video4spatial.spread import thinned

BATCH = 32
FIELDS_OF_VIEW = (25.0, 130.0)  # degrees; with little parallax the focal length runs away


class ReconstructionError(ValueError):
    """Footage whose cameras cannot be found; the message says why."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """How cameras are looked for.

    Args:
        frames: most frames, evenly thinned.
        side: longer side in pixels of the pictures in which features are found; larger ones are reduced.
        features: most features of a picture.
        fov_degrees: horizontal field of view to start from; it is refined.
        least_frames: shorter captures are refused: their focal length is a guess, and cameras come out wrong without a sign of it.
        overlap: each frame is matched with so many after it, and with some at growing distances.
        exhaustive: up to so many frames are all matched with each other.
        threads: of the processor, -1 for all.
    """

    frames: int = 120
    side: int = 960
    features: int = 4096
    fov_degrees: float = 60.0
    least_frames: int = 24
    overlap: int = 10
    exhaustive: int = 32
    threads: int = 1


@dataclass(frozen=True)
class Reconstruction:
    """What was found.

    Args:
        frames: [N] the capture's frames that have a camera, ascending.
        tried: frames that were looked at.
        cameras: the N cameras.
        points: how many points of the scene were found.
        error_pixels: mean distance of features from their points, in pixels of pictures of at most `side`.
    """

    frames: tuple[int, ...]
    tried: tuple[int, ...]
    cameras: Cameras
    points: int
    error_pixels: float


def reconstruct(capture: Capture, settings: ReconstructionSettings = ReconstructionSettings()) -> Reconstruction:
    """Find the cameras of a capture from its pictures alone.

    Args:
        capture: whose own cameras, if it has any, are not looked at.
        settings: how cameras are looked for.

    Raises:
        ReconstructionError: for a short capture, frames of which fewer than half can be related to each other, and a field of view
            that cannot be.
        ImportError: without pycolmap.
    """
    if len(capture) < settings.least_frames:
        count = f"capture {capture.name!r} has {len(capture)} frames"
        raise ReconstructionError(f"{count}; cameras need at least {settings.least_frames}")
    tried = tuple(thinned(len(capture), settings.frames))
    mapping = MappingSettings(
        features=settings.features, overlap=settings.overlap, exhaustive=settings.exhaustive, threads=settings.threads,
        largest=settings.side, fov_degrees=settings.fov_degrees,
    )  # fmt: skip
    try:
        model = map_pictures(_pictures(capture, tried), mapping)
        _check(model, len(tried))
    except GeometryError as error:
        raise ReconstructionError(f"capture {capture.name!r}: {error}") from None
    numbers = sorted(model.poses)
    frames = tuple(tried[number] for number in numbers)
    times = torch.from_numpy(np.asarray(capture.times, dtype=np.float64)[list(frames)])
    cameras = Cameras(
        torch.stack([model.poses[number] for number in numbers]), model.intrinsics, metric=False, times=times,
        convention="structure from motion (COLMAP)",
    )  # fmt: skip
    return Reconstruction(frames, tried, cameras, model.points, model.error_pixels)


def _check(model: SparseModel, tried: int) -> None:
    """Refuse a model that holds too few of the frames that were tried, or a lens that nobody has."""
    if 2 * len(model.poses) < tried:
        raise GeometryError(
            f"only {len(model.poses)} of {tried} frames could be registered: the footage breaks into parts that do not overlap"
        )
    fov_degrees = 2 * degrees(atan(0.5 / float(model.intrinsics[0, 0])))
    if not FIELDS_OF_VIEW[0] < fov_degrees < FIELDS_OF_VIEW[1]:
        raise GeometryError(f"a field of view of {fov_degrees:.1f} degrees was found: too little parallax to find it")


def with_cameras(capture: Capture, reconstruction: Reconstruction) -> Capture:
    """The frames of a capture that were registered, with their cameras.

    Args:
        capture: that was reconstructed.
        reconstruction: of it.

    Returns:
        A capture of those frames under new numbers. Depth, objects and the direction of up are not passed on: they belong to the
        world and the unit of other cameras.
    """
    frames = reconstruction.frames
    tried, not_registered = len(reconstruction.tried), sorted(set(reconstruction.tried) - set(frames))
    left_out = {**capture.provenance.get("left_out", {}), "not_registered": not_registered}
    found = {"frames_tried": tried, "points": reconstruction.points, "error_pixels": reconstruction.error_pixels}
    return replace(
        capture,
        frame_count=len(frames),
        times=np.asarray(capture.times)[list(frames)],
        read_frames=_Chosen(capture.read_frames, frames),
        cameras=reconstruction.cameras,
        read_depth=None,
        read_instances=capture.read_instances and _Chosen(capture.read_instances, frames),
        objects=(),
        up_axis=None,
        provenance={
            **capture.provenance,
            "convention": reconstruction.cameras.convention,
            "reconstruction": found,
            "left_out": left_out,
        },
    )


@dataclass(frozen=True)
class _Chosen:
    """Some frames of a reading function."""

    read: Callable[[Sequence[int]], np.ndarray]
    frames: tuple[int, ...]

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        return self.read([self.frames[index] for index in indices])


def _pictures(capture: Capture, frames: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The frames one by one, read in batches."""
    for start in range(0, len(frames), BATCH):
        yield from capture.read_frames(frames[start : start + BATCH])

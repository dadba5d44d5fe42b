"""Cameras of a capture: its own, or found by structure from motion (COLMAP); and whether they fit its pictures.

Lengths of cameras that were found are those of the reconstruction, not metres. A short or almost straight path leaves the focal
length open. A wrong one is made up for by turns and points that fit it, and the epipolar check does not notice it either.

That check matches frames with each other: matches must lie on each other's epipolar lines. It needs no weights and no depth, and
finds wrong conventions. On a hand-held walk right cameras leave about a pixel, inverted or flipped ones tens (measured on posed
captures, see docs/curation.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import atan, degrees

import numpy as np
import torch

from data_curation.scene import Result, Scene, grey_pictures, pictures_of, reduced_size
from video4spatial.cameras import Cameras
from video4spatial.cameras.intrinsics import DEFAULT_FOV_DEGREES, fov_of_focal_35mm
from video4spatial.captures import Capture
from video4spatial.geometry import GeometryError
from video4spatial.geometry.features import plain_matches
from video4spatial.geometry.structure_from_motion import MappingSettings, SparseModel, map_pictures
from video4spatial.spread import thinned
from video4spatial.geometry.two_views import epipolar_distances, fundamental_matrix

FIELDS_OF_VIEW = (25.0, 130.0)  # degrees; with little parallax the focal length runs away
FEWEST_MATCHES = 12
SMALLEST_BASELINE = 0.1  # of the median baseline: a turn on the spot has no epipolar lines
LARGEST_SIDE = 640  # pictures are reduced to this, so that errors of captures compare


class ReconstructionError(ValueError):
    """Footage whose cameras cannot be found; the message says why."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """How cameras are looked for.

    Args:
        frames: most frames, evenly thinned.
        side: longer side in pixels of the pictures in which features are found; larger ones are reduced.
        features: most features of a picture.
        fov_degrees: field of view along the longer side to start from, which is refined; None for that of the lens that the file names,
            else 60.
        least_frames: shorter captures are refused: their focal length is a guess, and cameras come out wrong without a sign of it.
        overlap: each frame is matched with so many after it, and with some at growing distances.
        exhaustive: up to so many frames are all matched with each other.
        threads: of the processor, -1 for all.
    """

    frames: int = 120
    side: int = 960
    features: int = 4096
    fov_degrees: float | None = None
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
        largest=settings.side, fov_degrees=starting_fov(capture, settings),
    )  # fmt: skip
    try:
        model = map_pictures(pictures_of(capture, tried), mapping)
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


def starting_fov(capture: Capture, settings: ReconstructionSettings) -> float:
    """The field of view along the longer side, in degrees, from which the search for cameras starts.

    Args:
        capture: which may name its lens.
        settings: which go before that.
    """
    if settings.fov_degrees is not None:
        return settings.fov_degrees
    if capture.focal_35mm is None:
        return DEFAULT_FOV_DEGREES
    return fov_of_focal_35mm(capture.focal_35mm, max(capture.height, capture.width) / min(capture.height, capture.width))


def _check(model: SparseModel, tried: int) -> None:
    """Refuse a model that holds too few of the frames that were tried, or a lens that nobody has."""
    if 2 * len(model.poses) < tried:
        raise GeometryError(
            f"only {len(model.poses)} of {tried} frames could be registered: the footage breaks into parts that do not overlap"
        )
    fov_degrees = 2 * degrees(atan(0.5 / float(model.intrinsics[0, 0])))
    if not FIELDS_OF_VIEW[0] < fov_degrees < FIELDS_OF_VIEW[1]:
        raise GeometryError(f"a field of view of {fov_degrees:.1f} degrees was found: too little parallax to find it")


@dataclass(frozen=True)
class EpipolarSettings:
    """How cameras are checked against pictures.

    Args:
        pairs: pairs of frames that are matched, evenly spread; 0 leaves the check out.
        gap: frames between the two of a pair.
        most_pixels: cameras with a larger median distance do not fit the pictures.
    """

    pairs: int = 12
    gap: int = 3
    most_pixels: float = 4.0


@dataclass(frozen=True)
class EpipolarCheck:
    """What the check found.

    Args:
        median_pixels: median distance of matches from their epipolar lines, over all pairs, in pixels of pictures whose longer side
            is at most `LARGEST_SIDE`; None where no pair had enough matches.
        good_share: share of pairs whose own median is at most 2 pixels, or None.
        pairs: pairs that had enough matches.
        tried: pairs that were looked at.
        motion_pixels: median displacement of the matches; an error means little where nothing moves.
        inverted_pixels: the same median with the cameras read the other way round (camera-to-world taken for world-to-camera).
    """

    median_pixels: float | None
    good_share: float | None
    pairs: int
    tried: int
    motion_pixels: float | None
    inverted_pixels: float | None


def epipolar_check(capture: Capture, gap: int = 3, pairs: int = 24) -> EpipolarCheck:
    """Match frames a few apart and measure how far matches lie from the epipolar lines of the capture's cameras.

    Args:
        capture: with cameras.
        gap: frames between the two of a pair.
        pairs: how many, evenly spread over the capture.

    Raises:
        ValueError: for a capture without cameras.
    """
    if capture.cameras is None:
        raise ValueError(f"capture {capture.name!r} has no cameras to check")
    starts = np.unique(np.linspace(0, len(capture) - 1 - gap, pairs).round().astype(int)).tolist() if len(capture) > gap else []
    size = reduced_size(capture, LARGEST_SIDE)
    both = [capture.cameras[[start, start + gap]] for start in starts]
    baselines = np.array([float(cameras.path_length()) for cameras in both])
    errors, inverted, motions = [], [], []
    for start, cameras, baseline in zip(starts, both, baselines):
        if baseline <= SMALLEST_BASELINE * np.median(baselines):
            continue
        matches = plain_matches(*grey_pictures(capture, [start, start + gap], size))
        if len(matches[0]) < FEWEST_MATCHES:
            continue
        errors.append(_distances(*matches, cameras, size))
        inverted.append(_distances(*matches, replace(cameras, camera_to_world=cameras.world_to_camera), size))
        motions.append(np.linalg.norm(matches[0] - matches[1], axis=1))
    if not errors:
        return EpipolarCheck(None, None, 0, len(starts), None, None)
    return EpipolarCheck(
        median_pixels=float(np.median(np.concatenate(errors))),
        good_share=float(np.mean([np.median(error) <= 2 for error in errors])),
        pairs=len(errors),
        tried=len(starts),
        motion_pixels=float(np.median(np.concatenate(motions))),
        inverted_pixels=float(np.median(np.concatenate(inverted))),
    )


def _distances(left: np.ndarray, right: np.ndarray, cameras: Cameras, size: tuple[int, int]) -> np.ndarray:
    """Distance [M] of each match from its epipolar lines in pixels; 0 where the two cameras stand in one place."""
    if float(cameras.path_length()) <= 0:
        return np.zeros(len(left))
    return epipolar_distances(left, right, fundamental_matrix(cameras, size[1], size[0]))


def run(scene: Scene, settings: ReconstructionSettings | None) -> Result:
    """The stage `cameras`.

    Args:
        scene: under way.
        settings: how cameras are found for captures that have none; None leaves such captures out.
    """
    cameras, frames = scene.recording.cameras, list(range(len(scene.recording)))
    data: dict = {}
    if cameras is None and settings is None:
        return Result({}, "captures", 0, {"no_cameras": 1}, "no_cameras")
    if cameras is None:
        try:
            found = reconstruct(scene.recording, settings)
        except ReconstructionError as error:
            return Result({"problem": str(error)}, "captures", 0, {"cameras_not_found": 1}, "cameras_not_found")
        cameras, frames = found.cameras, list(found.frames)
        data = {"tried": list(found.tried), "points": found.points, "error_pixels": found.error_pixels}
    return Result(
        {
            "camera_to_world": cameras.camera_to_world.tolist(),
            "intrinsics": cameras.intrinsics.tolist(),
            "metric": cameras.metric,
            "path": float(cameras.path_length()),
            "frames": frames,
            "times": np.asarray(scene.recording.times)[frames].tolist(),
            "convention": cameras.convention if data else scene.recording.provenance.get("convention", cameras.convention),
            **data,
        }
    )


def run_epipolar(scene: Scene, settings: EpipolarSettings) -> Result:
    """The stage `epipolar`: cameras that do not fit the pictures end the scene.

    Args:
        scene: under way, with cameras.
        settings: how many pairs of frames are matched, and what fits.
    """
    if settings.pairs == 0:
        return Result({"median_pixels": None})
    check = epipolar_check(scene.capture, settings.gap, settings.pairs)
    wrong = check.median_pixels is not None and check.median_pixels > settings.most_pixels
    reason = "cameras_do_not_fit_pictures"
    return Result(asdict(check), "captures", int(not wrong), {reason: 1} if wrong else {}, reason if wrong else None)

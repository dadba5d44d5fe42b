"""Which frames are worth having: sharp, well exposed, not a repetition of the one before.

Scores are kept for every frame; thresholds are applied to scores, so that changing one needs no pixels. Sharpness is judged within
its own scene, because a plain white room is never as sharp as a book shelf.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np

from data_curation.scene import Result, Scene, pictures_of, reduced_size
from video4spatial.captures import Capture

SIDE = 256  # longer side of the pictures that are judged
GREYS = np.arange(256)


@dataclass(frozen=True)
class FrameScores:
    """What each of N frames scores.

    Args:
        sharpness: [N] variance of the Laplacian of the grey picture (0 to 255) at `SIDE` pixels.
        brightness: [N] mean of the grey picture, 0 to 255.
        clipped: [N] share of pixels at 0 or 255.
        change: [N] mean absolute difference to the frame before, 0 to 255; infinite for the first.
        hash_distance: [N] bits in which the difference hash differs from the frame before; 64 for the first.
        hashes: [N] difference hash (64 bits), by which copies of a video are recognised.
    """

    sharpness: np.ndarray
    brightness: np.ndarray
    clipped: np.ndarray
    change: np.ndarray
    hash_distance: np.ndarray
    hashes: np.ndarray


@dataclass(frozen=True)
class FrameThresholds:
    """When a frame is left out. Defaults follow cosmos-curate and SpatialVID.

    Args:
        relative_sharpness: share of the scene's median sharpness below which a frame is blurred.
        absolute_sharpness: sharpness below which a frame is blurred in any scene.
        brightness: smallest and largest mean.
        clipped: largest share of pixels at the ends of the range.
        repeated_bits, repeated_change: a frame that differs from the one before by no more than both is a repetition.
    """

    relative_sharpness: float = 0.25
    absolute_sharpness: float = 4.0
    brightness: tuple[float, float] = (20.0, 235.0)
    clipped: float = 0.25
    repeated_bits: int = 0
    repeated_change: float = 0.2


def score_frames(capture: Capture) -> FrameScores:
    """Judge every frame of `capture`; pixels are read in batches."""
    rows: list[tuple[float, ...]] = []
    hashes: list[int] = []
    before: tuple[np.ndarray, np.ndarray] | None = None
    size = reduced_size(capture, SIDE)
    for picture in pictures_of(capture):
        grey = _reduced(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size)
        bits = np.diff(cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16), axis=1) > 0
        change, distance = np.inf, bits.size
        if before is not None:
            change, distance = cv2.norm(grey, before[0], cv2.NORM_L1) / grey.size, int((bits != before[1]).sum())
        deviation = float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))[1][0, 0])
        counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()
        rows.append((deviation**2, counts @ GREYS / grey.size, (counts[0] + counts[-1]) / grey.size, change, distance))
        hashes.append(int.from_bytes(np.packbits(bits).tobytes(), "big"))
        before = grey, bits
    return FrameScores(*np.array(rows, dtype=np.float64).reshape(-1, 5).T, np.array(hashes, dtype=np.uint64))


def _reduced(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture reduced to (width, height): halved by area as often as possible, the rest linearly, which is fast."""
    while grey.shape[1] >= 2 * size[0] and grey.shape[0] >= 2 * size[1]:
        height, width = grey.shape[0] // 2, grey.shape[1] // 2
        grey = cv2.resize(grey[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR)


def rejected_frames(scores: FrameScores, thresholds: FrameThresholds = FrameThresholds()) -> dict[str, np.ndarray]:
    """Why frames are left out.

    Args:
        scores: of N frames.
        thresholds: when a frame is left out.

    Returns:
        {reason: [N] bool}; a frame may have several reasons.
    """
    least = max(thresholds.relative_sharpness * float(np.median(scores.sharpness)), thresholds.absolute_sharpness)
    darkest, brightest = thresholds.brightness
    return {
        "blurred": scores.sharpness < least,
        "dark": scores.brightness < darkest,
        "bright": scores.brightness > brightest,
        "clipped": scores.clipped > thresholds.clipped,
        "repeated": (scores.hash_distance <= thresholds.repeated_bits) & (scores.change <= thresholds.repeated_change),
    }


def run_scores(scene: Scene) -> Result:
    """The stage `frame_scores`.

    Args:
        scene: under way.
    """
    scores = score_frames(scene.recording)
    return Result({name: values.tolist() for name, values in asdict(scores).items()}, "frames", len(scene.recording))


def run(scene: Scene, thresholds: FrameThresholds) -> Result:
    """The stage `frame_quality`: marks poor frames; a scene with fewer than two good ones ends here.

    Args:
        scene: under way, with `frame_scores`.
        thresholds: when a frame is left out.
    """
    scores = FrameScores(**{name: np.array(values) for name, values in scene.done["frame_scores"].items()})
    reasons = rejected_frames(scores, thresholds)
    poor = np.logical_or.reduce(list(reasons.values()))
    filtered, counted = {}, np.zeros(len(poor), bool)
    for reason, mask in reasons.items():  # a frame counts under its first reason
        filtered[reason] = int((mask & ~counted).sum())
        counted |= mask
    stop = None if len(poor) - poor.sum() >= 2 else "no_good_frames"
    return Result({"poor": poor.tolist()}, "frames", int((~poor).sum()), filtered, stop)

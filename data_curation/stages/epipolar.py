"""Do a capture's cameras agree with its pictures? Matches between frames must lie on each other's epipolar lines.

The check needs no weights and no depth, and finds wrong conventions: on a hand-held walk right cameras leave about a pixel,
inverted or flipped ones tens (measured on posed captures, see docs/curation.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.captures import Capture
from video4spatial.geometry.features import plain_matches
from video4spatial.geometry.two_views import epipolar_distances, fundamental_matrix

FEWEST_MATCHES = 12
SMALLEST_BASELINE = 0.1  # of the median baseline: a turn on the spot has no epipolar lines
LARGEST_SIDE = 640  # pictures are reduced to this, so that errors of captures compare


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
    factor = min(1.0, LARGEST_SIDE / max(capture.height, capture.width))
    size = round(capture.width * factor), round(capture.height * factor)
    both = [capture.cameras[[start, start + gap]] for start in starts]
    baselines = np.array([float(cameras.path_length()) for cameras in both])
    errors, inverted, motions = [], [], []
    for start, cameras, baseline in zip(starts, both, baselines):
        if baseline <= SMALLEST_BASELINE * np.median(baselines):
            continue
        matches = plain_matches(*_grey(capture, [start, start + gap], size))
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


def _grey(capture: Capture, frames: list[int], size: tuple[int, int]) -> list[np.ndarray]:
    """Frames as grey pictures of a width and height."""
    pictures = capture.read_frames(frames)
    return [cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA) for picture in pictures]


def _distances(left: np.ndarray, right: np.ndarray, cameras: Cameras, size: tuple[int, int]) -> np.ndarray:
    """Distance [M] of each match from its epipolar lines in pixels; 0 where the two cameras stand in one place."""
    if float(cameras.path_length()) <= 0:
        return np.zeros(len(left))
    return epipolar_distances(left, right, fundamental_matrix(cameras, size[1], size[0]))

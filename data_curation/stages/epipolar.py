"""Do a capture's cameras agree with its pictures? Matches between frames must lie on each other's epipolar lines.

The check needs no weights and no depth, and finds wrong conventions: on a hand-held walk, right cameras leave about a pixel, inverted or
flipped ones tens (measured on posed captures, see docs/curation.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.geometry.epipolar import left_to_right_epipolar_distance, right_to_left_epipolar_distance

from video4spatial.cameras import Cameras
from video4spatial.captures import Capture

RATIO = 0.75  # Lowe's test: the best match must be this much nearer than the second
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
        median_pixels: median distance of matches from their epipolar lines, over all pairs, in pixels of pictures whose longer side is
            at most `LARGEST_SIDE`; None where no pair had enough matches.
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
    starts = np.unique(np.linspace(0, len(capture) - 1 - gap, pairs).round().astype(int)) if len(capture) > gap else []
    factor = min(1.0, LARGEST_SIDE / max(capture.height, capture.width))
    size = round(capture.width * factor), round(capture.height * factor)
    relative = [_relative(capture.cameras, start, start + gap) for start in starts]
    baselines = np.array([np.linalg.norm(motion[:3, 3]) for motion in relative])
    moving = baselines > SMALLEST_BASELINE * np.median(baselines) if len(baselines) else baselines
    intrinsics = capture.cameras.pixel_intrinsics(size[1], size[0]).numpy()
    errors, inverted, motions = [], [], []
    for start, motion, moves in zip(starts, relative, moving):
        matches = _matches(capture, start, start + gap, size) if moves else None
        if matches is None:
            continue
        k = intrinsics[start], intrinsics[start + gap]
        errors.append(_distances(*matches, motion, *k))
        inverted.append(_distances(*matches, _inverted(capture.cameras, start, start + gap), *k))
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


def _relative(cameras: Cameras, first: int, second: int) -> np.ndarray:
    """The motion [4, 4] of points from the first camera's frame into the second's."""
    poses = cameras.camera_to_world.numpy()
    return np.linalg.inv(poses[second]) @ poses[first]


def _inverted(cameras: Cameras, first: int, second: int) -> np.ndarray:
    poses = cameras.camera_to_world.numpy()
    return poses[second] @ np.linalg.inv(poses[first])


def _matches(capture: Capture, first: int, second: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """Matching pixels [N, 2] of two frames, counted from the corner of the first pixel; None where there are too few."""
    grey = [
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for picture in capture.read_frames([first, second])
    ]
    sift = cv2.SIFT_create(2000)
    (points, descriptors), (others, other_descriptors) = (sift.detectAndCompute(picture, None) for picture in grey)
    if descriptors is None or other_descriptors is None or len(others) < 2:
        return None
    candidates = cv2.BFMatcher().knnMatch(descriptors, other_descriptors, k=2)
    good = [best for best, second_best in candidates if best.distance < RATIO * second_best.distance]
    if len(good) < FEWEST_MATCHES:
        return None
    # OpenCV counts from the centre of the first pixel.
    left = np.array([points[match.queryIdx].pt for match in good]) + 0.5
    right = np.array([others[match.trainIdx].pt for match in good]) + 0.5
    return left, right


def _distances(left: np.ndarray, right: np.ndarray, motion: np.ndarray, k_left: np.ndarray, k_right: np.ndarray) -> np.ndarray:
    """Mean of the two distances [N] of each match from its epipolar lines, in pixels."""
    x, y, z = motion[:3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    fundamental = np.linalg.inv(k_right).T @ cross @ motion[:3, :3] @ np.linalg.inv(k_left)
    arguments = [torch.from_numpy(array)[None] for array in (left, right, fundamental)]
    one, other = left_to_right_epipolar_distance(*arguments), right_to_left_epipolar_distance(*arguments)
    return (0.5 * (one.abs() + other.abs()))[0].numpy()

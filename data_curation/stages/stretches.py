"""Stretches of a capture that hang together: where its video is cut, and where the path of its cameras breaks.

Captures have no cuts; films, tours and compilations do. The score is that of Koala-36M (arXiv 2410.08260, its published weights):
correlation of colour histograms and similarity of edge pictures of neighbouring frames, weighed by a linear classifier made for
video rate. Captures at a few frames per second score below its threshold all along, so a cut must also stand out from the frames
around it.

Where cameras are known they tell more: whether they are a possible hand-held path, by jumps, speeds, gaps in time, and a scale a
person would have.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.metrics import ssim

from data_curation.scene import Result, Scene, pictures_of, reduced_size
from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.captures import Capture

HISTOGRAM_WEIGHT, EDGE_WEIGHT, BIAS = 4.615, 3.752, -5.486
SIDE = 128
NEIGHBOURS = 5  # frames on either side that a cut must stand out from
MARGIN = 2.0  # by how much


def cut_scores(capture: Capture) -> np.ndarray:
    """How alike each frame is to the one before.

    Args:
        capture: N frames.

    Returns:
        [N] from about -5.5 (nothing in common) to 2.9; infinity for the first frame.
    """
    scores = [np.inf]
    before = None
    size = reduced_size(capture, SIDE)
    for picture in pictures_of(capture):
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        histograms = [cv2.calcHist([small], [channel], None, [64], [0, 256]) for channel in range(3)]
        edges = torch.from_numpy(cv2.Canny(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), 100, 200))[None, None].float() / 255
        if before is not None:
            pairs = zip(before[0], histograms)
            histogram = np.mean([cv2.compareHist(a, b, cv2.HISTCMP_CORREL) for a, b in pairs])
            edge = float(ssim(before[1], edges, 11).mean())
            scores.append(HISTOGRAM_WEIGHT * histogram + EDGE_WEIGHT * edge + BIAS)
        before = histograms, edges
    return np.array(scores[: len(capture)])


def shots(scores: np.ndarray, least_frames: int = 2) -> list[range]:
    """Stretches between cuts.

    Args:
        scores: [N] of `cut_scores`.
        least_frames: shorter stretches are left out.
    """
    cuts = []
    for index in np.flatnonzero(scores < 0):
        around = np.r_[scores[max(index - NEIGHBOURS, 0) : index], scores[index + 1 : index + 1 + NEIGHBOURS]]
        around = around[np.isfinite(around)]
        if not len(around) or scores[index] < np.median(around) - MARGIN:
            cuts.append(int(index))
    starts = [0, *cuts, len(scores)]
    return [range(a, b) for a, b in zip(starts, starts[1:]) if b - a >= least_frames]


def run_cuts(scene: Scene) -> Result:
    """The stage `cuts`: the shots of captures without cameras. The others are one shot: cameras tell jumps better (`pose_quality`).

    Args:
        scene: under way.
    """
    capture = scene.recording
    found = shots(cut_scores(capture), 1) if capture.cameras is None else [range(len(capture))]
    return Result({"shots": [[shot.start, shot.stop] for shot in found]}, "shots", len(found))


@dataclass(frozen=True)
class PoseThresholds:
    """When a step between two frames breaks the path.

    Lengths hold for metric captures; others are measured by their own median step.

    Args:
        jump_metres: largest difference of a step from the step before it.
        jump_medians: the same in median steps, for captures of unknown scale; metric ones break either way only beyond both.
        turn_degrees: largest turn between two frames.
        gap_seconds: largest time between two frames.
        path_metres: shortest and longest path of a metric capture.
    """

    jump_metres: float = 0.15
    jump_medians: float = 6.0
    turn_degrees: float = 45.0
    gap_seconds: float = 2.0
    path_metres: tuple[float, float] = (0.3, 500.0)


@dataclass(frozen=True)
class PoseScores:
    """What each of N - 1 steps scores.

    Args:
        step: [N - 1] lengths in the unit of the cameras.
        jump: [N - 1] length of the difference from the step before (0 for the first).
        turn: [N - 1] degrees.
        gap: [N - 1] seconds.
    """

    step: np.ndarray
    jump: np.ndarray
    turn: np.ndarray
    gap: np.ndarray


def score_poses(cameras: Cameras, times: np.ndarray) -> PoseScores:
    """Judge every step of a path.

    Args:
        cameras: N cameras.
        times: [N] seconds.
    """
    steps = cameras.positions.diff(dim=0).numpy()
    gap = np.diff(times)
    # Steps are compared as speeds, so that frames left out between two do not look like jumps.
    speed = steps / np.maximum(gap, 1e-6)[:, None]
    jump = np.zeros(len(steps))
    jump[1:] = np.linalg.norm(np.diff(speed, axis=0), axis=1) * np.minimum(gap[1:], gap[:-1])
    turn = rotation_angle_degrees(cameras.rotations[:-1], cameras.rotations[1:]).numpy()
    return PoseScores(np.linalg.norm(steps, axis=1), jump, np.asarray(turn), gap)


def broken_steps(scores: PoseScores, metric: bool, thresholds: PoseThresholds = PoseThresholds()) -> dict[str, np.ndarray]:
    """Why steps break the path.

    Args:
        scores: of N - 1 steps.
        metric: whether lengths are metres.
        thresholds: when a step breaks the path.

    Returns:
        {reason: [N - 1] bool}.
    """
    limit = thresholds.jump_medians * float(np.median(scores.step)) if len(scores.step) else 0.0
    if metric:
        limit = max(limit, thresholds.jump_metres)
    return {
        "jump": scores.jump > limit,
        "turn": scores.turn > thresholds.turn_degrees,
        "time_backwards": scores.gap <= 0,
        "gap": scores.gap > thresholds.gap_seconds,
    }


def path_problem(cameras: Cameras, thresholds: PoseThresholds = PoseThresholds()) -> str | None:
    """Why a whole path is unusable: `path_too_short`, `path_too_long`, or None.

    Args:
        cameras: of the path.
        thresholds: its shortest and longest length.
    """
    length = float(cameras.path_length())
    if cameras.metric and length < thresholds.path_metres[0]:
        return "path_too_short"
    if cameras.metric and length > thresholds.path_metres[1]:
        return "path_too_long"
    return "path_too_short" if length == 0 else None


def stretches(broken: dict[str, np.ndarray], count: int, least_frames: int = 2) -> list[range]:
    """Stretches of a path without a broken step.

    Args:
        broken: {reason: [N - 1] bool} of its steps.
        count: N frames.
        least_frames: shorter stretches are left out.
    """
    bad = np.zeros(max(count - 1, 0), dtype=bool)
    for steps in broken.values():
        bad |= steps
    starts = [0, *(np.flatnonzero(bad) + 1).tolist(), count]
    return [range(a, b) for a, b in zip(starts, starts[1:]) if b - a >= least_frames]


def run_poses(scene: Scene, thresholds: PoseThresholds) -> Result:
    """The stage `pose_quality`: stretches of the path that do not break; a scene without one ends here.

    Args:
        scene: under way, with cameras and cuts.
        thresholds: when a step breaks the path.
    """
    capture = scene.capture
    broken = broken_steps(score_poses(capture.cameras, capture.times), capture.cameras.metric, thresholds)
    starts = [start for start, _ in scene.done["cuts"]["shots"]]
    broken["cut"] = np.diff(np.searchsorted(starts, scene.done["cameras"]["frames"], side="right")) != 0
    whole = stretches(broken, len(capture))
    filtered = {reason: int(mask.sum()) for reason, mask in broken.items()}
    steps = len(capture) - 1 - int(np.logical_or.reduce(list(broken.values())).sum()) if len(capture) > 1 else 0
    stop = path_problem(capture.cameras, thresholds) or (None if whole else "path_broken")
    return Result({"stretches": [[part.start, part.stop] for part in whole]}, "steps", steps, filtered, stop)

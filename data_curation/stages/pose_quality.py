"""Are a capture's cameras a possible hand-held path? Jumps, speeds, gaps in time, and a scale a person would have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_curation.scene import Result, Scene
from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import rotation_angle_degrees


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


def run(scene: Scene, thresholds: PoseThresholds) -> Result:
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

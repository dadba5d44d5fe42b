"""Which stretches of a capture make navigation targets: the right length, moving, not too fast, of good frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_curation.scene import Result, Scene
from video4spatial.captures import Capture


SLOWEST = 2.0  # a capture may have this many times fewer frames per second than wanted


@dataclass(frozen=True)
class WindowSettings:
    """What a navigation target is.

    Args:
        frames: per target, the anchor's included.
        frame_rate: of the targets, frames per second; frames nearest to those times are taken.
        stride: distance of the starts of two windows, as a share of the window's length.
        still_metres, still_degrees: a window that moves and turns less than both is static (metres only for metric captures).
        fastest_metres, fastest_degrees: per second, in any step (metres only for metric captures).
        farthest_metres: longest path (metric captures).
    """

    frames: int = 9
    frame_rate: float = 4.0
    stride: float = 0.5
    still_metres: float = 0.05
    still_degrees: float = 5.0
    fastest_metres: float = 2.0
    fastest_degrees: float = 90.0
    farthest_metres: float = 8.0


@dataclass(frozen=True)
class Windows:
    """Targets that a capture offers.

    Args:
        kept: frame indices of each target, the anchor first.
        rejected: how many windows were left out, by reason.
    """

    kept: tuple[tuple[int, ...], ...]
    rejected: dict[str, int]


def navigation_windows(
    capture: Capture, stretches: Iterable[range], poor: np.ndarray, settings: WindowSettings = WindowSettings()
) -> Windows:
    """Windows of a capture with cameras.

    Args:
        capture: with cameras.
        stretches: frames between which the path does not break (`pose_quality.stretches`).
        poor: [N] whether a frame is of poor quality; a window holds none.
        settings: what a target is.
    """
    kept, rejected = [], Counter()
    step = 1 / settings.frame_rate
    if len(capture) > 1:
        # A slower capture gives targets at its own rate, which their times show.
        own = float(np.median(np.diff(capture.times)))
        step = own if step < own <= SLOWEST * step else step
    for stretch in stretches:
        times = np.asarray(capture.times[stretch.start : stretch.stop])
        start, length = float(times[0]), step * (settings.frames - 1)
        if times[-1] - start < length - 1e-6:
            rejected["stretch_too_short"] += 1
            continue
        while start + length <= times[-1] + 1e-6:
            wanted = start + step * np.arange(settings.frames)
            nearest = np.abs(times[None] - wanted[:, None]).argmin(axis=1)
            reason = None
            if (np.diff(nearest) <= 0).any() or np.abs(times[nearest] - wanted).max() > step / 2:
                reason = "too_few_frames"
            frames = nearest + stretch.start
            if reason is None:
                reason = "poor_frame" if poor[frames].any() else _motion_problem(capture, frames, settings)
            if reason is None:
                kept.append(tuple(frames.tolist()))
            else:
                rejected[reason] += 1
            start += max(settings.stride * length, step)
    return Windows(tuple(kept), dict(rejected))


def _motion_problem(capture: Capture, frames: np.ndarray, settings: WindowSettings) -> str | None:
    cameras = capture.cameras[frames.tolist()]
    seconds = np.diff(np.asarray(capture.times)[frames])
    metres = np.linalg.norm(cameras.positions.diff(dim=0).numpy(), axis=1)
    degrees = np.array([float(cameras[i + 1].rotation_to(cameras[i])) for i in range(len(cameras) - 1)])
    turned = float(cameras.rotation_to(cameras[0]).max())
    metric = capture.cameras.metric
    still = metres.sum() < (settings.still_metres if metric else 1e-9)
    if still and turned < settings.still_degrees:
        return "static"
    if (degrees / seconds > settings.fastest_degrees).any() or (metric and (metres / seconds > settings.fastest_metres).any()):
        return "too_fast"
    return "too_far" if metric and metres.sum() > settings.farthest_metres else None


def run(scene: Scene, settings: WindowSettings) -> Result:
    """The stage `windows`: navigation targets of a scene.

    Args:
        scene: under way, with frame and pose quality.
        settings: what a target is.
    """
    windows = navigation_windows(scene.capture, scene.stretches, scene.poor, settings)
    return Result({"windows": [list(window) for window in windows.kept]}, "windows", len(windows.kept), windows.rejected)

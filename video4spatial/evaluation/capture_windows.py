"""Where a recorded walk is cut into navigation clips: a stretch of it that moves about as far as the targets in rooms, and frames
outside a guard band around it as the context.

Cameras and times decide, never pictures, so that the same capture always gives the same windows.
"""

from dataclasses import dataclass

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.motions import DEGREES_PER_METRE
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.captures import Capture
from video4spatial.clips.footage import model_scale

STRIDES = 24
"""Frame rates that are tried for the target."""

STARTS = 200
"""Starts that are tried for each of them in a part of a capture."""

UNEVEN = 3.0
"""A window is left out if one of its steps is longer than this many mean ones: tracking jumped, or the camera waited."""

FEWEST_CONTEXT = 2
"""Frames, beside the anchor, without which a window is no clip."""


@dataclass(frozen=True)
class CutSettings:
    """How captures are cut.

    Args:
        frames: T of the target, the anchor's included.
        frame_rate: of the model, frames per second; cameras of unknown scale are scaled by their steps at this rate.
        windows: most per capture; their targets share no frame.
        context_frames: most, the anchor included.
        rotation_range, path_range: a target turns by the least degrees or moves by the least metres, and by no more than the
            greatest of both; turns add up step by step, so that looking aside and back counts.
        motion: metres + degrees / 45 of a target that are aimed at.
        spacing: the same between neighbouring context frames.
        guard: frames on either side of the target that are no context, as a share of the target's span in the capture.
        guard_of_capture: the band is never wider than this share of the capture.
        target_of_capture: a target spans at most this share of the capture, unless that is less than T frames.
    """

    frames: int = 9
    frame_rate: float = 4.0
    windows: int = 6
    context_frames: int = 32
    rotation_range: tuple[float, float] = (20.0, 60.0)
    path_range: tuple[float, float] = (0.3, 1.5)
    motion: float = 1.5
    spacing: float = 0.35
    guard: float = 0.25
    guard_of_capture: float = 0.1
    target_of_capture: float = 1 / 3

    def __post_init__(self) -> None:
        least = {"frames": 2, "windows": 1, "context_frames": FEWEST_CONTEXT + 1}
        given = {name: getattr(self, name) for name in least}
        wrong = [f"`{name}` {value}: expected at least {least[name]}" for name, value in given.items() if value < least[name]]
        if wrong:
            raise ValueError("; ".join(wrong) + ".")


@dataclass(frozen=True)
class Window:
    """A clip's frames in a capture.

    Args:
        target: T frames, the anchor first.
        context: frames in ascending order, the anchor among them and none other of the target.
        path_metres: length of the target's path, in metres or what stands for them.
        turned_degrees: its turns, step by step.
        net_rotation_degrees: the turn from its first frame to its last.
    """

    target: tuple[int, ...]
    context: tuple[int, ...]
    path_metres: float
    turned_degrees: float
    net_rotation_degrees: float


def capture_scale(capture: Capture, frame_rate: float) -> float:
    """The factor that brings a capture's lengths to metres, or to what stands for them where the scale is unknown.

    Args:
        capture: with cameras.
        frame_rate: at which the step of a walking camera is `footage.MEDIAN_STEP`.
    """
    steps = np.diff(np.asarray(capture.times))
    interval = float(np.median(steps)) if len(steps) else 0.0
    stride = max(1, round(1 / (frame_rate * interval))) if interval > 0 else 1
    return model_scale(capture.cameras[::stride])


def capture_windows(capture: Capture, settings: CutSettings = CutSettings()) -> list[Window]:
    """Cut a capture.

    The capture is divided into as many equal parts as windows are wanted, or fewer where that gives more of them. In every part
    the target is the stretch whose motion is nearest to what is aimed at, with room for context before and after it. Its context
    is spread evenly along the path on both sides.

    Args:
        capture: with cameras.
        settings: how.

    Returns:
        The windows in order; none where the camera does not move as a target does.

    Raises:
        ValueError: for a capture without cameras.
    """
    if capture.cameras is None:
        raise ValueError(f"capture {capture.name} has no cameras: it cannot be cut into windows.")
    path = _Path(capture.cameras.scaled(capture_scale(capture, settings.frame_rate)))
    best: list[Window] = []
    for parts in range(settings.windows, 0, -1):
        ends = np.linspace(0, len(capture), parts + 1).round().astype(int)
        found = [_window(path, range(first, last), settings) for first, last in zip(ends, ends[1:], strict=False)]
        found = [window for window in found if window is not None]
        if len(found) > len(best):
            best = found
        if len(best) >= parts - 1:  # fewer parts cannot give more
            break
    return best


class _Path:
    """A camera path as arrays.

    Args:
        cameras: N cameras, in metres or what stands for them.
    """

    def __init__(self, cameras: Cameras):
        self.positions = cameras.positions.numpy()
        self.rotations = cameras.rotations
        metres = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        degrees = self.turns(np.arange(len(cameras) - 1), np.arange(1, len(cameras)))
        self.along = np.concatenate([[0.0], np.cumsum(metres + degrees / DEGREES_PER_METRE)])
        """[N] metres + degrees / 45 since the first frame, step by step."""

    def __len__(self) -> int:
        return len(self.along)

    def turns(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Degrees [n] between frames."""
        one, other = (self.rotations[torch.from_numpy(frames)] for frames in (first, second))
        return rotation_angle_degrees(one, other).numpy()


def _window(path: _Path, part: range, settings: CutSettings) -> Window | None:
    """The best window whose target lies in a part of the capture, or None."""
    candidates = _targets(path, part, settings)
    if not candidates:
        return None
    _, target, metres, turned = min(candidates)
    context = _context(path, target, settings)
    net = float(path.turns(np.array(target[:1]), np.array(target[-1:]))[0])
    return None if context is None else Window(target, context, round(metres, 3), round(turned, 2), round(net, 2))


def _targets(path: _Path, part: range, settings: CutSettings) -> list[tuple[float, tuple[int, ...], float, float]]:
    """(cost, frames, metres, degrees turned) of targets in a part that move as far as they should."""
    steps = settings.frames - 1
    longest = max(steps, int(settings.target_of_capture * len(path)))
    longest = min(longest, len(part) - 1)
    found = []
    for stride in np.unique(np.geomspace(1, max(1, longest // steps), STRIDES).round().astype(int)) if longest >= steps else ():
        starts = np.unique(np.linspace(part.start, part.stop - 1 - stride * steps, STARTS).round().astype(int))
        frames = starts[:, None] + stride * np.arange(settings.frames)  # [S, T]
        metres = np.linalg.norm(np.diff(path.positions[frames], axis=1), axis=2)  # [S, T - 1]
        turns = path.turns(frames[:, :-1].ravel(), frames[:, 1:].ravel()).reshape(metres.shape)
        length, turn = metres.sum(1), turns.sum(1)
        each = metres + turns / DEGREES_PER_METRE
        moves = (length >= settings.path_range[0]) | (turn >= settings.rotation_range[0])
        good = moves & (length <= settings.path_range[1]) & (turn <= settings.rotation_range[1])
        good &= each.max(1) <= UNEVEN * each.mean(1)
        motion = length + turn / DEGREES_PER_METRE
        cost = np.abs(np.log2(np.maximum(motion, 1e-9) / settings.motion)) + _one_sided(path, frames, settings)
        found += [
            (float(cost[index]), tuple(frames[index].tolist()), float(length[index]), float(turn[index]))
            for index in np.flatnonzero(good)
        ]
    return found


def _one_sided(path: _Path, frames: np.ndarray, settings: CutSettings) -> np.ndarray:
    """[S] from 0, where there is as much context before targets [S, T] as after them, to 1, where one side has none."""
    before, after = path.along[frames[:, 0]], path.along[-1] - path.along[frames[:, -1]]
    enough = np.minimum((before + after) / 2, settings.spacing * settings.context_frames / 2)
    return 1 - np.minimum(np.minimum(before, after) / np.maximum(enough, 1e-9), 1)


def _context(path: _Path, target: tuple[int, ...], settings: CutSettings) -> tuple[int, ...] | None:
    """Frames spread along the path before and after a target, outside its guard, and the anchor; None where they are too few."""
    anchor, last = target[0], target[-1]
    guard = max(1, int(min(settings.guard * (last - anchor), settings.guard_of_capture * len(path))))
    before, after = np.arange(0, max(0, anchor - guard)), np.arange(last + guard + 1, len(path))
    apart = path.along[anchor] - path.along[before], path.along[after] - path.along[last]
    reach = settings.spacing * (settings.context_frames - 1)
    lengths = [float(distances.max(initial=0)) for distances in apart]
    # Half of the reach on either side; what one side lacks the other has.
    spans = [min(own, max(reach / 2, reach - other)) for own, other in (lengths, lengths[::-1])]
    kept = [distances <= span for distances, span in zip(apart, spans, strict=True)]
    frames = np.concatenate([before[kept[0]], after[kept[1]]])
    if len(frames) < FEWEST_CONTEXT:
        return None
    # The gap around the target is left out of what is divided evenly.
    places = path.along[frames] - np.where(frames > last, path.along[min(last + guard + 1, len(path) - 1)], path.along[anchor])
    chosen = _spread(places, min(settings.context_frames - 1, len(frames)))
    return tuple(sorted([anchor, *frames[chosen].tolist()]))


def _spread(places: np.ndarray, count: int) -> list[int]:
    """Positions of `count` of `places` (ascending numbers), evenly spread over their values."""
    chosen: list[int] = []
    for order, wanted in enumerate(np.linspace(places[0], places[-1], count)):
        first, last = (chosen[-1] + 1 if chosen else 0), len(places) - count + order
        chosen.append(int(np.clip(np.abs(places - wanted).argmin(), first, last)))
    return chosen

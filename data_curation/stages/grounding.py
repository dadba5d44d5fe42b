"""Clips of grounding: each approach with its context, a box on a context frame that shows the object, and instructions in words.

The context of an approach is made of frames that show the object, away from the target in time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from data_curation.records import fingerprint
from data_curation.scene import Result, Scene
from data_curation.stages.context import ContextSettings, context_coverage
from data_curation.stages.instructions import WordSettings, grounding_instructions
from data_curation.stages.visibility import Visibility
from video4spatial.captures import Capture
from video4spatial.clips.footage import model_scale
from video4spatial.spread import thinned

if TYPE_CHECKING:  # that module asks this one whether an approach has a context
    from data_curation.stages.approaches import ApproachSettings


@dataclass(frozen=True)
class GroundingContextSettings:
    """What the context of an approach is.

    Args:
        frames: most context frames, the anchor included.
        guard_seconds: frames this near in time to any target frame are left out, except the anchor, so that the context does not
            hold the answer.
        views: least number of context frames that show the object.
        area: share of the picture that the object must cover for a frame to show it.
        visible: share of the object that must be in sight.
    """

    frames: int = 32
    guard_seconds: float = 2.0
    views: int = 2
    area: float = 0.005
    visible: float = 0.5


@dataclass(frozen=True)
class GroundingContext:
    """The context of an approach.

    Args:
        frames: indices, ascending, the anchor (the first target frame) among them.
        views: those of them that show the object.
        region_frame, region_box: the one that shows it best, and where: left, top, right, bottom as shares.
    """

    frames: tuple[int, ...]
    views: tuple[int, ...]
    region_frame: int
    region_box: tuple[float, float, float, float]


def grounding_context(
    capture: Capture,
    visibility: Visibility,
    item: int,
    target: Sequence[int],
    usable: np.ndarray,
    settings: GroundingContextSettings = GroundingContextSettings(),
) -> GroundingContext | Literal["not_in_context"]:
    """Choose the context of an approach: the anchor, frames that show the object, and the rest evenly in time.

    Args:
        capture: with times.
        visibility: of all its frames.
        item: the object, an index in `capture.objects`.
        target: frames of the approach, the anchor first.
        usable: [N] whether a frame may be context.
        settings: what a context is.

    Returns:
        The context, or the reason why there is none.
    """
    row, anchor = visibility.objects.index(item), target[0]
    away = usable & far_in_time(np.asarray(capture.times), target, settings.guard_seconds)
    shown = shows(visibility, row, settings) & away
    views = np.flatnonzero(shown)
    if len(views) < settings.views:
        return "not_in_context"
    # Half a sofa at arm's length says less than the whole one: beyond a tenth of the picture, size counts no more.
    worth = np.where(shown, visibility.visible[row] * np.minimum(visibility.area[row], 0.1), -1)
    best = int(worth.argmax())
    spread = views[thinned(len(views), settings.views)].tolist()
    # The best view stands in for the one nearest to it, so that the smallest context still has room for all.
    spread[int(np.abs(np.array(spread) - best).argmin())] = best
    chosen = {anchor, *spread}
    rest = [frame for frame in np.flatnonzero(away).tolist() if frame not in chosen]
    spare = min(settings.frames - len(chosen), len(rest))
    if spare > 0:
        chosen |= {rest[place] for place in thinned(len(rest), spare)}
    frames = tuple(sorted(chosen))
    box = tuple(visibility.boxes[row, best].tolist())
    return GroundingContext(frames, tuple(frame for frame in frames if shown[frame]), best, box)


def far_in_time(times: np.ndarray, frames: Sequence[int], seconds: float) -> np.ndarray:
    """Which frames are farther in time than this from each of some others.

    Args:
        times: [N] seconds of all frames.
        frames: indices of the others.
        seconds: that must lie between.

    Returns:
        [N] bool.
    """
    return (np.abs(times[:, None] - times[list(frames)]) > seconds).all(axis=1)


def shows(visibility: Visibility, row: int, settings: GroundingContextSettings) -> np.ndarray:
    """Which frames show an object.

    Args:
        visibility: of N frames.
        row: of the object in it.
        settings: from what area and share in sight on.

    Returns:
        [N] bool.
    """
    return (visibility.area[row] >= settings.area) & (visibility.visible[row] >= settings.visible)


def run(
    scene: Scene, approach: ApproachSettings, settings: GroundingContextSettings, cover: ContextSettings, words: WordSettings
) -> Result:
    """The stage `grounding`.

    Args:
        scene: under way, with approaches.
        approach: for the frame rate of targets.
        settings: what the context of an approach is.
        cover: how much of the target it must show.
        words: how many instructions each clip has.
    """
    capture, visibility = scene.capture, scene.visibility
    labels = dict(zip(scene.done["objects"]["kept"], scene.done["objects"]["labels"]))
    clips, filtered = [], Counter()
    for number, found in enumerate(scene.done["approaches"]["approaches"]):
        item, target = found["object"], tuple(found["frames"])
        context = grounding_context(capture, visibility, item, target, ~scene.poor, settings)
        if isinstance(context, str):
            filtered[context] += 1
            continue
        shown = context_coverage(capture, target, context.frames, scene.depth)
        if shown.coverage < cover.least_coverage:
            filtered["low_coverage"] += 1
            continue
        label = labels[item]
        seed = int(fingerprint(capture.name, item, number)[:8], 16)
        clips.append(
            {
                "target": list(target),
                "target_times": [index / approach.frame_rate for index in range(len(target))],
                "context": list(context.frames),
                "coverage": shown.coverage,
                "anchor_coverage": shown.anchor_coverage,
                "method": shown.method,
                "scale": model_scale(capture.cameras[list(context.frames)]),
                "origin": found["origin"],
                "texts": list(grounding_instructions(label, seed, words.paraphrases)),
                "label": label,
                "instance_id": capture.objects[item].instance_id,
                "region_frame": context.frames.index(context.region_frame),
                "region_box": list(context.region_box),
                "boxes": [None if np.isnan(box).any() else box for box in found["boxes"]],
                "scores": found["parts"],
            }
        )
    return Result({"clips": clips}, "clips", len(clips), dict(filtered))

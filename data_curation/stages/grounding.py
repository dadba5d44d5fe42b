"""Clips of grounding: each approach with its context, a box on a context frame that shows the object, and instructions in words."""

from __future__ import annotations

from collections import Counter

import numpy as np

from data_curation.records import fingerprint
from data_curation.scene import Result, Scene
from data_curation.stages.approaches import ApproachSettings
from data_curation.stages.context import ContextSettings, context_coverage
from data_curation.stages.grounding_context import GroundingContextSettings, grounding_context
from data_curation.stages.instructions import WordSettings, grounding_instructions
from video4spatial.clips.footage import model_scale


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

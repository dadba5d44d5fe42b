"""Which objects of a capture can be searched for by name, and which frames show them.

They are things, of a size one walks up to, and the only ones of their kind.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from data_curation.scene import Result, Scene
from data_curation.stages.visibility import object_visibility
from video4spatial.captures import Capture

STRUCTURE = frozenset(
    "wall floor ceiling window roof beam column pillar pipe stairs staircase railing baseboard skirting".split()
    + ["window frame", "window sill", "windowsill", "door frame", "doorframe", "doorway", "curtain rail", "half wall"]
    + ["ceiling beam", "suspended ceiling", "light switch", "electrical duct", "power socket", "socket", "cable"]
)
"""Parts of the building: everywhere at once, or nothing to stand in front of."""
JUNK = frozenset(
    "object objects item items thing things stuff remove removed split unknown unlabeled unlabelled unannotated misc other none"
    " void reflection mirrored person people".split()
    + ["other furniture", "otherfurniture", "other structure", "otherstructure", "other prop", "otherprop", "other floor"]
)
"""Notes of annotators that name no object, and people, who do not stay where they are."""
SYNONYMS = {
    "arm chair": "armchair",
    "bath tub": "bathtub",
    "book case": "bookshelf",
    "book shelf": "bookshelf",
    "bookcase": "bookshelf",
    "bookshelves": "bookshelf",
    "coffeetable": "coffee table",
    "couch": "sofa",
    "dining chair": "chair",
    "dish washer": "dishwasher",
    "fire place": "fireplace",
    "garbage bin": "trash can",
    "garbage can": "trash can",
    "house plant": "plant",
    "houseplant": "plant",
    "kitchen stove": "stove",
    "lap top": "laptop",
    "microwave oven": "microwave",
    "night stand": "nightstand",
    "night table": "nightstand",
    "bedside table": "nightstand",
    "painting": "picture",
    "potted plant": "plant",
    "recycle bin": "recycling bin",
    "refridgerator": "fridge",
    "refrigerator": "fridge",
    "rubbish bin": "trash can",
    "standing lamp": "floor lamp",
    "television": "tv",
    "tv monitor": "tv",
    "tv screen": "tv",
    "trash bin": "trash can",
    "trashbin": "trash can",
    "trashcan": "trash can",
    "wash basin": "sink",
    "washbasin": "sink",
    "washer": "washing machine",
    "waste basket": "trash can",
    "wastebasket": "trash can",
    "white board": "whiteboard",
}
"""Spellings of ScanNet, ScanNet++, ARKitScenes and others: the phrase that an instruction uses."""


@dataclass(frozen=True)
class ObjectSettings:
    """What can be searched for.

    Args:
        diagonal: shortest and longest diagonal of the box in metres (metric captures).
    """

    diagonal: tuple[float, float] = (0.15, 3.0)


@dataclass(frozen=True)
class GroundableObjects:
    """Objects that can be searched for.

    Args:
        kept: their indices in `capture.objects`.
        labels: what to call each of them.
        rejected: how many objects were left out, by reason.
    """

    kept: tuple[int, ...]
    labels: tuple[str, ...]
    rejected: dict[str, int]


def normalised_label(label: str) -> str:
    """The one spelling of `label`: lower case, words apart, synonyms replaced; empty for a label without letters."""
    words = re.sub(r"[^a-z0-9]+", " ", label.lower()).strip()
    words = re.sub(r"(?<=[a-z])\s*\d+$", "", words)  # numbered instances: "chair 2", "table01"
    words = SYNONYMS.get(words, words)
    return words if re.search("[a-z]", words) else ""


def groundable_objects(capture: Capture, settings: ObjectSettings = ObjectSettings()) -> GroundableObjects:
    """Choose the objects of a capture that can be searched for.

    A label is `ambiguous` if the scene has another object of the label or of a narrower one (a lamp beside a table lamp).

    Args:
        capture: with objects.
        settings: what can be searched for.

    Returns:
        The choice; reasons are `unnamed`, `structure`, `ambiguous`, `too_small`, `too_large`.
    """
    labels = [normalised_label(item.label) for item in capture.objects]
    kept, rejected = [], Counter()
    smallest, largest = settings.diagonal if capture.cameras is None or capture.cameras.metric else (0.0, np.inf)
    for index, (item, label) in enumerate(zip(capture.objects, labels)):
        diagonal = float(np.linalg.norm(item.size))
        if not label or label in JUNK:
            rejected["unnamed"] += 1
        elif label in STRUCTURE:
            rejected["structure"] += 1
        elif sum(other == label or other.endswith(" " + label) for other in labels) > 1:
            rejected["ambiguous"] += 1
        elif diagonal < smallest:
            rejected["too_small"] += 1
        elif diagonal > largest:
            rejected["too_large"] += 1
        else:
            kept.append(index)
    return GroundableObjects(tuple(kept), tuple(labels[index] for index in kept), dict(rejected))


def run(scene: Scene, settings: ObjectSettings) -> Result:
    """The stage `objects`: which can be searched for.

    Args:
        scene: under way, with cameras.
        settings: what can be searched for.
    """
    choice = groundable_objects(scene.capture, settings)
    data = {"kept": list(choice.kept), "labels": list(choice.labels)}
    return Result(data, "objects", len(choice.kept), choice.rejected)


def run_visibility(scene: Scene) -> Result:
    """The stage `visibility`: how well every frame shows each of them.

    Args:
        scene: under way, with objects.
    """
    found = object_visibility(scene.capture, scene.done["objects"]["kept"])
    arrays = {name: getattr(found, name).tolist() for name in ("area", "visible", "boxes", "distance", "angle")}
    seen = int((found.area > 0).any(axis=1).sum()) if len(found.objects) else 0
    hidden = {"never_seen": len(found.objects) - seen} if seen < len(found.objects) else {}
    data = {"objects": list(found.objects), "frames": list(found.frames), "method": found.method, **arrays}
    return Result(data, "objects", seen, hidden)

"""From words to an object in space: a detector finds the class in every frame, geometry tells instances apart and judges relations.

    "red chair"    "the chair next to the window"    "go to the lamp on the desk"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from video4spatial.cameras import project_points
from video4spatial.clips.instruction import Ground
from video4spatial.clips.regions import Region
from video4spatial.grounding import NotFound
from video4spatial.grounding.detectors import Detector
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import Located, locate_region, same_place

LEAST_CONFIDENCE = 0.15
"""Confidence below which a thing that words name counts as absent."""

MOST_TRIED = 24
"""Detections that are lifted into space, the surest first."""

_ORDERS = re.compile(
    r"^(please )?((i want to see|i am looking for|look for|look around until you see|search for|search the room for|where (is|are)|show me|"
    r"take me to|bring me to|lead me to|navigate to|approach|locate|find|get a clear view of|turn to|stop (when you stand )?(in front of|"
    r"before)|(go|walk|move|head|come)( back)?( up| over)?( to)?) )+"
)
_AFTER = re.compile(r"((,| and|;) (go|stop|walk|then|lead|look)\b.*|\?.*|[.!])$")
_ARTICLE = re.compile(r"^(the|a|an|some|my|that|this)( |$)")


@dataclass(frozen=True)
class Phrase:
    """What words ask for.

    Args:
        label: of the object, such as "red chair".
        relation: one of `RELATIONS`, or "".
        other: label of the object that it is related to, or "".
    """

    label: str
    relation: str = ""
    other: str = ""


def parse_phrase(text: str) -> Phrase:
    """Read what an instruction asks for.

    Args:
        text: such as "go to the chair next to the window"; orders and articles do not matter.

    Raises:
        ValueError: where no object is named.
    """
    words = " ".join(text.lower().split())
    words = _AFTER.sub("", _ORDERS.sub("", words)).strip()
    for spelling, relation in sorted(_SPELLINGS.items(), key=lambda entry: -len(entry[0])):
        parts = re.split(rf"\b{spelling}\b", words, maxsplit=1)
        if len(parts) == 2 and _plain(parts[0]) and _plain(parts[1]):
            return Phrase(_plain(parts[0]), relation, _plain(parts[1]))
    if not _plain(words):
        raise ValueError(f"the target {text!r} names no object: write for example 'red chair', or 'the chair next to the window'.")
    return Phrase(_plain(words))


def _plain(words: str) -> str:
    words = re.sub(r"(,? (that|which) (is|are|stands|lies|hangs))$", "", words.strip(" ,.;"))
    return _ARTICLE.sub("", words).strip()


def locate(scene: LevelScene, instruction: Ground, detector: Detector | None = None, samples: int = 1, seed: int = 0) -> Located:
    """The object that an instruction names, by a region, words, or both.

    Args:
        scene: its geometry and vertical.
        instruction: its region's frame is one of the scene's.
        detector: what finds words in frames; not needed for a region.
        samples: as in `locate_region`.
        seed: as in `locate_region`.

    Raises:
        ValueError: for words without a detector and a region, naming what to do.
        NotFound: where the scene does not show it.
    """
    phrase = parse_phrase(instruction.text) if instruction.text else None
    if instruction.region is not None:
        marked = locate_region(scene, instruction.region, phrase.label if phrase else "object", samples, seed)
        if phrase is None or detector is None:
            return marked
        named = [found for found in instances(scene, detector, phrase.label) if same_place(found.item, marked.item)]
        doubt = 1.0 if named else 0.5
        words = f"{marked.words}; the words {'agree' if named else 'were found nowhere near the region'}"
        return replace(marked, confidence=marked.confidence * doubt, words=words)
    if detector is None:
        raise ValueError(
            f"the target {instruction.text!r} in words needs something that reads them: mark the object on a frame (`region`), or name a "
            "folder with an OWLv2, Grounding DINO or CLIPSeg model (`detector`)."
        )
    return locate_phrase(scene, phrase, detector)


def locate_phrase(scene: LevelScene, phrase: Phrase, detector: Detector) -> Located:
    """The instance of a class that a phrase means.

    Args:
        scene: its geometry and vertical.
        phrase: what is asked for.
        detector: finds classes in frames.

    Raises:
        NotFound: where the scene shows no such thing.
    """
    found = instances(scene, detector, phrase.label)
    if not found:
        raise NotFound(f"no frame of the scene shows {phrase.label!r}, as far as the detector sees.")
    if not phrase.relation:
        best = found[0]
        others = f"the surest of {len(found)}" if len(found) > 1 else "the only one"
        return replace(best, words=f"{others}; {best.words}")
    around = instances(scene, detector, phrase.other)
    if not around:
        raise NotFound(f"there is {phrase.label!r}, but no frame shows {phrase.other!r} for it to be {phrase.relation}.")
    pairs = [(one, other) for one in found for other in around if not same_place(one.item, other.item)]
    scored = [(RELATIONS[phrase.relation](scene, one, other), one) for one, other in pairs]
    share, best = max(scored, key=lambda entry: entry[0] * entry[1].confidence, default=(0.0, None))
    if best is None or share < 0.1:
        raise NotFound(f"no {phrase.label!r} of the {len(found)} found is {phrase.relation} {phrase.other!r}.")
    words = f"of {len(found)} the one {phrase.relation} the {phrase.other}; {best.words}"
    return replace(best, confidence=best.confidence * min(1.0, 2 * share), words=words)


def instances(scene: LevelScene, detector: Detector, label: str) -> list[Located]:
    """All things of a class that the frames of a scene show.

    Args:
        scene: its geometry and vertical.
        detector: finds them in frames.
        label: of the class.

    Returns:
        Each once, the surest first; their confidence counts how sure the detector is, how many of the frames that show the place it finds
        them in, and how far these agree on it.
    """
    geometry = scene.geometry
    usable = np.flatnonzero(geometry.placed & (geometry.depth > 0).any((1, 2)))
    detections = [replace(seen, frame=int(usable[seen.frame])) for seen in detector.detections(geometry.frames[usable], label)]
    groups: list[tuple[Located, list[float], set[int]]] = []
    for seen in sorted(detections, key=lambda seen: -seen.score)[:MOST_TRIED]:
        try:
            found = locate_region(scene, Region(seen.frame, None if seen.mask is not None else seen.box, seen.mask), label)
        except NotFound:
            continue
        for known, scores, frames in groups:
            if same_place(known.item, found.item):
                scores.append(seen.score)
                frames.add(seen.frame)
                break
        else:
            groups.append((found, [seen.score], {seen.frame}))
    result = []
    for found, scores, frames in groups:
        backing = len(frames) / max(len(frames | set(found.frames)), 1)
        confidence = float(np.sqrt(max(scores) * found.confidence * np.sqrt(backing)))
        if confidence >= LEAST_CONFIDENCE:
            words = f"found by {detector.name} in {len(frames)} of {len(frames | set(found.frames))} frames that show the place"
            result.append(replace(found, confidence=confidence, words=words))
    return sorted(result, key=lambda found: -found.confidence)


# ---- relations: from 0 to 1, how far the first is so to the second ---------------------------------------------


def _extents(located: Located) -> tuple[np.ndarray, np.ndarray]:
    corners = located.item.corners()
    return corners.min(0), corners.max(0)


def _gap(one: Located, other: Located) -> float:
    """Distance in plan between two boxes that are upright, over the mean of their sizes in plan; 0 where they overlap."""
    low, high = zip(_extents(one), _extents(other))
    apart = np.maximum(np.maximum(low[0][:2] - high[1][:2], low[1][:2] - high[0][:2]), 0)
    size = np.mean([np.linalg.norm(end[:2] - begin[:2]) for begin, end in ((low[0], high[0]), (low[1], high[1]))])
    return float(np.linalg.norm(apart) / max(size, 1e-6))


def _beside(scene: LevelScene, one: Located, other: Located) -> float:
    return 1 / (1 + _gap(one, other) ** 2)


def _overlap(one: Located, other: Located) -> float:
    """How far the first lies within the second in plan: 1 where its middle does."""
    (low, high), middle = _extents(other), np.array(one.item.center)
    away = np.maximum(np.maximum(low[:2] - middle[:2], middle[:2] - high[:2]), 0)
    return float(1 / (1 + (4 * np.linalg.norm(away) / max(np.linalg.norm(high[:2] - low[:2]), 1e-6)) ** 2))


def _on(scene: LevelScene, one: Located, other: Located) -> float:
    bottom, top, height = _extents(one)[0][2], _extents(other)[1][2], other.item.size[2] + one.item.size[2]
    return _overlap(one, other) / (1 + (3 * (bottom - top) / max(height, 1e-6)) ** 2)


def _above(scene: LevelScene, one: Located, other: Located) -> float:
    return _overlap(one, other) * float(one.item.center[2] > other.item.center[2] + 0.25 * (one.item.size[2] + other.item.size[2]))


def _below(scene: LevelScene, one: Located, other: Located) -> float:
    return _overlap(one, other) * float(one.item.center[2] < other.item.center[2])


def _in_view(axis: int, sign: float) -> Callable[[LevelScene, Located, Located], float]:
    """Left, right, before and behind, as seen from the frames that show both: the share of them in which it is so, if they are near."""

    def judge(scene: LevelScene, one: Located, other: Located) -> float:
        both = sorted(set(one.frames) & set(other.frames)) or sorted(set(one.frames) | set(other.frames))
        middles = torch.tensor([one.item.center, other.item.center], dtype=torch.float64)
        pixels, depth = project_points(scene.geometry.cameras[both], middles, 1, 1)
        places = torch.cat([pixels, depth[..., None]], dim=-1).numpy()  # [F, 2, 3]
        so = np.sign(places[:, 0, axis] - places[:, 1, axis]) == sign
        return float(so.mean()) * _beside(scene, one, other)

    return judge


RELATIONS: dict[str, Callable[[LevelScene, Located, Located], float]] = {
    "next to": _beside, "on": _on, "above": _above, "under": _below, "left of": _in_view(0, -1.0), "right of": _in_view(0, 1.0),
    "in front of": _in_view(2, -1.0), "behind": _in_view(2, 1.0),
}  # fmt: skip
"""Relations by name; a new one is a function and a line here."""

_SPELLINGS: dict[str, str] = {
    **dict.fromkeys(("next to", "beside", "near to", "near", "close to", "by", "at"), "next to"),
    **dict.fromkeys(("on top of", "on", "upon"), "on"),
    **dict.fromkeys(("above", "over"), "above"),
    **dict.fromkeys(("under", "below", "beneath", "underneath"), "under"),
    **dict.fromkeys(("to the left of", "left of"), "left of"),
    **dict.fromkeys(("to the right of", "right of"), "right of"),
    **dict.fromkeys(("in front of", "before"), "in front of"),
    "behind": "behind",
}

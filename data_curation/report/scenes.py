"""What the page tells of scenes, in plain words, and the captures that its pictures come from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from data_curation.readers import read_scene
from data_curation.records import summary_of
from data_curation.running import EXPECTED_ERRORS
from video4spatial.captures import Capture
from video4spatial.clips.manifest import ClipRow
from video4spatial.spread import thinned

UNREADABLE = (*EXPECTED_ERRORS, ImportError)
WORDS = {
    "image_missing": "picture missing",
    "pose_missing": "camera missing",
    "pose_invalid": "camera unusable",
    "intrinsics_missing": "lens unknown",
    "marked_bad": "marked bad by the data set",
    "not_registered": "not placed by the reconstruction",
    "repeated": "repeats the frame before",
    "clipped": "too many black or white pixels",
    "no_good_frames": "no two good frames",
    "no_cameras": "cameras unknown",
    "jump": "the camera jumps",
    "turn": "the camera turns too far in one step",
    "time_backwards": "time runs backwards",
    "gap": "a gap in time",
    "path_broken": "no stretch of the path is whole",
    "path_too_short": "the camera hardly moves",
    "path_too_long": "the path is too long: a wrong scale?",
    "cameras_do_not_fit_pictures": "cameras do not fit the pictures",
    "stretch_too_short": "stretch too short for a target",
    "poor_frame": "a frame of poor quality in it",
    "static": "the camera stays still",
    "low_coverage": "the context shows too little of the target",
    "structure": "part of the building",
    "unnamed": "not named",
    "ambiguous": "not the only one of its kind",
    "never_seen": "never in sight",
    "no_good_view": "no good view of it",
    "occlusion_unknown": "no telling what hides it",
    "seen_at_start": "in sight from the start",
    "seen_too_shortly": "not clearly in sight at the end",
    "no_approach": "the camera does not come nearer",
    "not_in_context": "too few context frames show it",
    "no_path": "no path leads there",
    "similar_to_better": "much like a better one",
    "copy_of_another": "copy of another capture",
    "repeats_another_target": "repeats another target",
    "space_in_another_split": "its space is in another split",
    "pixels_not_asked_for": "pixels not asked for",
    "no_clips": "no clip came out",
}
"""Reasons in plain words; the others are plain already."""


@dataclass(frozen=True)
class ReportedScene:
    """What the page tells of a scene; small, since there may be very many.

    Args:
        key, reader, scene, options, status, stage, reason: as in its record.
        ingest: data of that stage; empty where it failed.
        convention: of its cameras, or None without cameras.
        epipolar: median error in pixels, or None.
        scores: [3, N] sharpness, brightness and change of its frames.
        poor: [N] which of them were left out; empty where nobody judged.
        rejected_coverage: of windows whose context shows too little.
        summary: `summary_of` its record.
    """

    key: str
    reader: str
    scene: str
    options: dict
    status: str
    stage: str
    reason: str
    ingest: dict
    convention: str | None
    epipolar: float | None
    scores: np.ndarray
    poor: np.ndarray
    rejected_coverage: list[float]
    summary: dict

    @property
    def source(self) -> tuple:
        """Names the capture, as `source_of` does for clips."""
        return self.reader, self.scene, json.dumps(self.options, sort_keys=True)

    @property
    def name(self) -> str:
        """For people."""
        return self.ingest.get("name", self.scene)

    @property
    def details(self) -> list[tuple[str, str, int]]:
        """Stage, reason and number of what was left out where a stage left nothing."""
        counts = self.summary["counts"].items()
        return [(name, reason, n) for name, step in counts if not step["kept"] for reason, n in step["filtered"].items() if n]


def in_words(reason: str) -> str:
    """The `reason` in words for people."""
    return WORDS.get(reason, reason.replace("_", " "))


def source_of(row: ClipRow) -> tuple:
    """Names the capture that the clip `row` is from: reader, scene and options."""
    return row.reader, row.scene, json.dumps(row.options, sort_keys=True)


def reported_scene(record: dict) -> ReportedScene:
    """What the page tells of the scene with this `record`."""
    data: dict[str, dict] = defaultdict(dict, {name: stage["data"] for name, stage in record["stages"].items()})
    scores = [data["frame_scores"].get(name, []) for name in ("sharpness", "brightness", "change")]
    return ReportedScene(
        key=record["key"],
        reader=record["reader"],
        scene=record["scene"],
        options=record["options"],
        status=record["status"],
        stage=record.get("stage") or "",
        reason=record.get("reason") or "",
        ingest=data["ingest"] if "frames" in data["ingest"] else {},
        convention=data["cameras"].get("convention"),
        epipolar=data["epipolar"].get("median_pixels"),
        scores=np.array(scores, np.float32),
        poor=np.array(data["frame_quality"].get("poor", []), bool),
        rejected_coverage=data["navigation"].get("rejected_coverage", []),
        summary=summary_of(record),
    )


def details_of(scene: ReportedScene) -> str:
    """Why nothing was left of `scene`, in words."""
    parts = [f"{in_words(stage)}: {count} × {in_words(reason)}" for stage, reason, count in scene.details]
    return "; ".join(parts) or f"at {in_words(scene.stage)}"


class Captures:
    """Captures by source. A few are kept open; one that cannot be read is remembered with the reason, and not tried again."""

    def __init__(self):
        self.problems: dict[Any, tuple[str, str]] = {}
        self._open = lru_cache(maxsize=8)(lambda reader, scene, options: read_scene(reader, scene, **json.loads(options)))

    def use(self, source: tuple, name: str, work: Callable[[Capture], Any]) -> Any:
        """What a function makes of a capture, or None where the capture cannot be read.

        Args:
            source: of the capture (`source_of`).
            name: of the capture, for the list of problems.
            work: the function.
        """
        return None if source in self.problems else self.attempt(source, name, lambda: work(self._open(*source)))

    def attempt(self, source: Any, name: str, work: Callable[[], Any]) -> Any:
        """What a function that reads pixels returns, or None where they cannot be read.

        Args:
            source: what is read; problems are listed under it.
            name: of it, for people.
            work: the function.
        """
        try:
            return work()
        except UNREADABLE as error:
            self.problems[source] = name, " ".join(str(error).split()) or type(error).__name__
            return None


def spread(things: Iterable, group: Callable[[Any], Any], most: int) -> list:
    """Choose things from as many groups as can be.

    Args:
        things: to choose from.
        group: tells the group of a thing.
        most: how many to choose at most.
    """
    groups: dict[Any, list] = defaultdict(list)
    for thing in things:
        groups[group(thing)].append(thing)
    chosen = [list(groups.values())[place] for place in thinned(len(groups), most)]
    shares = [most // len(chosen) + (number < most % len(chosen)) for number in range(len(chosen))]
    return [members[place] for members, share in zip(chosen, shares) for place in thinned(len(members), share)]

"""A self-contained HTML page about a curated data set: what was kept, what was not and why, how it scores, what it looks like."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from data_curation.build import SCENES, SUMMARY, add_counts
from data_curation.pipeline import EXPECTED_ERRORS, StageSettings, summary_of
from data_curation.readers import read_scene
from data_curation.records import read_record, write_whole
from data_curation.stages.frame_quality import FrameScores, FrameThresholds, rejected_frames
from data_curation.stages.objects import STRUCTURE, normalised_label
from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import PATH_COLORS, level_basis
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.captures import Capture, SceneObject
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips.clip import Clip, Ground
from video4spatial.clips.dataset import SHARDS
from video4spatial.clips.manifest import MANIFEST, SPLITS, ClipRow, read_manifest
from video4spatial.clips.shards import clip_from_members, read_index, read_members
from video4spatial.media.transforms import resize_and_crop

REPORT = "report.html"
SIDE = 128  # pixels along the longer side of a picture
CONTEXT_SHOWN, TARGETS_SHOWN = 6, 9  # pictures of a clip
CLIPS_SHOWN = 8  # of each kind
CAPTURES_SHOWN = 4  # with rejected frames
FRAMES_SHOWN = 4  # rejected ones of each
SCENES_SHOWN = 8  # filtered ones
PATHS_SHOWN = 6  # from above
TARGETS_DRAWN = 12  # in each of them
LABELS_DRAWN = 14
PATH_POINTS = 2000
LISTED = 200  # scenes in a list
KINDS = ("navigation", "grounding")
KEPT_COLOR, REJECTED_COLOR, INK = PATH_COLORS[0], PATH_COLORS[1], "#20242c"
TARGET_COLORS = {"navigation": ("#0072B2", "#009E73", "#56B4E9"), "grounding": ("#D55E00", "#CC79A7", "#E69F00")}
END_MARKERS = {"navigation": ("s", 5), "grounding": ("*", 10)}
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
"""Reasons in plain words; those that are not here are plain already."""
ORIGIN_WORDS = {"reversed": "reversed: played backwards", "graph": "graph: a path over frames of several moments"}


def write_report(folder: str | PathLike) -> Path:
    """Write `report.html` about a data set into its folder, whole or not at all. The page loads nothing from elsewhere.

    Pictures come from the shards, else from the captures; where a capture cannot be read any more, the page says so.

    Args:
        folder: what `v4s curate build` wrote.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError, ValueError: for a folder without a manifest, or one that cannot be read.
    """
    folder = Path(folder)
    rows = read_manifest(folder / MANIFEST)
    scenes = [_scene(record) for path in sorted((folder / SCENES).glob("*.json")) if (record := read_record(path))]
    summary = _summary(folder, scenes, rows)
    settings = _settings(summary)
    captures = _Captures()
    page = _environment().get_template("report.html.jinja").render(
        title=folder.resolve().name,
        scenes=summary["scenes"],
        complete=summary["complete"],
        others=len(scenes) - sum(summary["scenes"].values()),
        clips=_clip_counts(rows),
        totals=_totals(scenes, rows),
        sources=_sources(scenes),
        funnel=_funnel(summary["stages"]),
        failures=summary["failures"][:LISTED],
        failure_count=len(summary["failures"]),
        filtered=_filtered(scenes),
        plots=[(title, note, _svg(figure)) for title, note, figure in _plots(scenes, rows, settings)],
        examples={kind: list(_examples(folder, rows, kind, captures)) for kind in KINDS},
        poor_frames=list(_poor_frames(folder, scenes, captures, settings.frame_quality)),
        rejected_scenes=list(_rejected_scenes(scenes, captures)),
        paths=list(_paths(folder, scenes, rows, captures)),
        licences=_licences(scenes, rows),
        conventions=sorted(Counter((s.reader, s.convention) for s in scenes if s.convention).items()),
        unreadable=sorted(set(captures.problems.values())),
        listed=LISTED,
        origins=ORIGIN_WORDS,
    )
    path = folder / REPORT
    # Names of files may hold bytes that are no text.
    write_whole(path, page.encode("utf-8", "replace"))
    return path


@dataclass(frozen=True)
class _Scene:
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
        """Names the capture, as `_source` does for clips."""
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


def _source(row: ClipRow) -> tuple:
    return row.reader, row.scene, json.dumps(row.options, sort_keys=True)


def _scene(record: dict) -> _Scene:
    data: dict[str, dict] = defaultdict(dict, {name: stage["data"] for name, stage in record["stages"].items()})
    scores = [data["frame_scores"].get(name, []) for name in ("sharpness", "brightness", "change")]
    return _Scene(
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


def _summary(folder: Path, scenes: list[_Scene], rows: list[ClipRow]) -> dict:
    """What the build told, or the same of the records where it was stopped before it could."""
    try:
        return json.loads((folder / SUMMARY).read_bytes())
    except FileNotFoundError:
        stages: dict[str, dict] = {}
        for scene in scenes:
            add_counts(stages, scene.summary)
        counts = dict(Counter(scene.status for scene in scenes))
        failures = [{"key": s.key, "stage": s.stage, "reason": s.reason} for s in scenes if s.status == "failed"]
        return {"scenes": counts, "stages": stages, "failures": failures, "complete": False}


def _settings(summary: dict) -> StageSettings:
    """Those that the page shows limits of, as the build had them; the default ones where it was stopped before it said."""
    default, stored = StageSettings(), summary.get("settings", {}).get("stages", {})
    shown = [name for name in ("frame_quality", "windows", "context", "epipolar") if name in stored]
    return replace(default, **{name: type(getattr(default, name))(**stored[name]) for name in shown})


class _Captures:
    """Captures by source, a few kept open; what cannot be read is remembered with the reason, and not tried again."""

    def __init__(self):
        self.problems: dict[Any, tuple[str, str]] = {}
        self._open = lru_cache(maxsize=8)(lambda reader, scene, options: read_scene(reader, scene, **json.loads(options)))

    def use(self, source: tuple, name: str, work: Callable[[Capture], Any]) -> Any:
        """What `work` makes of a capture, or None where it cannot be read."""
        return None if source in self.problems else self.attempt(source, name, lambda: work(self._open(*source)))

    def attempt(self, source: Any, name: str, work: Callable[[], Any]) -> Any:
        """The result of work on pixels, or None where they cannot be read."""
        try:
            return work()
        except UNREADABLE as error:
            self.problems[source] = name, " ".join(str(error).split()) or type(error).__name__
            return None


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("data_curation"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(words=_words, number=lambda value: f"{value:,}", duration=_duration)
    return environment


def _words(reason: str) -> str:
    """A reason for people."""
    return WORDS.get(reason, reason.replace("_", " "))


def _duration(seconds: float) -> str:
    """ "48 s", "12.5 min" or "310 h"."""
    for unit, length in [("h", 3600), ("min", 60)]:
        if seconds >= 2 * length:
            return f"{seconds / length:,.{0 if seconds >= 100 * length else 1}f} {unit}"
    return f"{seconds:.0f} s"


# Tables


def _clip_counts(rows: list[ClipRow]) -> dict[str, dict[str, dict]]:
    """{split: {kind: {"clips", "seconds"}}} of those that there are."""
    counts: dict[str, dict[str, dict]] = {}
    for split in SPLITS:
        for kind in KINDS:
            chosen = [row for row in rows if (row.split, row.kind) == (split, kind)]
            if chosen:
                seconds = sum(row.target_times[-1] for row in chosen)
                counts.setdefault(split, {})[kind] = {"clips": len(chosen), "seconds": seconds}
    return counts


def _totals(scenes: list[_Scene], rows: list[ClipRow]) -> dict[str, float]:
    return {
        "clips": len(rows),
        "seconds": sum(row.target_times[-1] for row in rows),
        "spaces": len({row.space for row in rows}),
        "captures": len({_source(row) for row in rows}),
        "read_seconds": sum(scene.ingest.get("seconds", 0) for scene in scenes),
        "read_frames": sum(scene.ingest.get("frames", 0) for scene in scenes),
    }


def _sources(scenes: list[_Scene]) -> list[dict]:
    """What the data set was made from, by reader."""
    by_reader: dict[str, list[_Scene]] = defaultdict(list)
    for scene in scenes:
        by_reader[scene.reader].append(scene)
    return [
        {
            "reader": reader,
            "scenes": len(group),
            **{status: sum(scene.status == status for scene in group) for status in ("kept", "filtered", "failed")},
            "frames": sum(scene.ingest.get("frames", 0) for scene in group),
            "seconds": sum(scene.ingest.get("seconds", 0) for scene in group),
            "example": group[0].scene,
        }
        for reader, group in sorted(by_reader.items())
    ]


def _funnel(stages: dict[str, dict]) -> list[dict]:
    """Stages with their reasons, the most frequent first, and shares in percent of what went in."""
    steps = []
    for name, step in stages.items():
        reasons = sorted(((reason, count) for reason, count in step["filtered"].items() if count), key=lambda entry: -entry[1])
        # Shares are of what is told, since reasons may overlap (a step may both jump and turn).
        parts = {"kept": step["kept"], "filtered": sum(count for _, count in reasons), "failed": step["failed"]}
        total = max(sum(parts.values()), 1)
        steps.append({**step, "name": name, "reasons": reasons, "shares": {part: 100 * n / total for part, n in parts.items()}})
    return steps


def _filtered(scenes: list[_Scene]) -> dict:
    """Scenes left out: how many by stage and reason, and the first of them."""
    chosen = [scene for scene in scenes if scene.status == "filtered"]
    counts = Counter((scene.stage, scene.reason) for scene in chosen)
    return {"counts": counts.most_common(), "total": len(chosen), "scenes": chosen[:LISTED]}


def _licences(scenes: list[_Scene], rows: list[ClipRow]) -> list[dict]:
    captures = Counter((s.ingest["licence"], s.ingest["redistributable"]) for s in scenes if s.ingest)
    clips = Counter((row.licence, row.redistributable) for row in rows)
    terms = sorted(captures | clips, key=lambda term: (-clips[term], term))
    return [{"licence": term[0], "redistributable": term[1], "captures": captures[term], "clips": clips[term]} for term in terms]


# Plots


def _plots(scenes: list[_Scene], rows: list[ClipRow], settings: StageSettings) -> Iterator[tuple[str, str, Figure]]:
    """Title, note and figure of every histogram that has something to show."""
    quality, windows = settings.frame_quality, settings.windows
    scored = [scene for scene in scenes if scene.scores.shape[1] == len(scene.poor) > 0]
    scores = np.concatenate([scene.scores for scene in scored], axis=1) if scored else np.zeros((3, 0), np.float32)
    poor = np.concatenate([scene.poor for scene in scored]) if scored else np.zeros(0, bool)
    for values, title, note, limits, log in [
        (scores[0], "Sharpness", "variance of the Laplacian, of frames", (quality.absolute_sharpness,), True),
        (scores[1], "Brightness", "mean grey value, of frames", quality.brightness, False),
        (scores[2], "Change", "mean grey difference to the frame before, of frames", (quality.repeated_change,), True),
    ]:
        if len(values):
            yield title, note, _histogram({"kept": values[~poor], "rejected for any reason": values[poor]}, limits, log)
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    coverage = {f"{kind} clips": [row.coverage for row in group] for kind, group in by_kind.items()}
    coverage["rejected windows"] = [value for scene in scenes for value in scene.rejected_coverage]
    limits = (settings.context.least_coverage,)
    yield from _if_any("Coverage", "share of a target's surfaces that its context shows", coverage, limits)
    paths = {kind: [(row, *_length_and_turn(row)) for row in group] for kind, group in by_kind.items()}
    for title, note, value, limits in [
        ("Path length", "of targets in metres (metric captures)", lambda row, length, _: length, (windows.farthest_metres,)),
        ("Speed", "of targets in metres per second (metric captures)", lambda row, length, _: length / row.target_times[-1], ()),
    ]:
        values = {kind: [value(*path) for path in group if path[0].metric] for kind, group in paths.items()}
        yield from _if_any(title, note, values, limits)
    turns = {kind: [turn for _, _, turn in group] for kind, group in paths.items()}
    yield from _if_any("Rotation", "summed over a target's steps, in degrees", turns)
    errors: dict[str, list[float]] = {"kept": [], "not kept": []}
    for scene in scenes:
        if scene.epipolar is not None:
            errors["kept" if scene.status == "kept" else "not kept"].append(scene.epipolar)
    note = "median distance of matches from their lines, in pixels, of captures"
    yield from _if_any("Epipolar error", note, errors, (settings.epipolar.most_pixels,))


def _if_any(
    title: str, note: str, groups: dict[str, Sequence[float]], limits: Sequence[float] = ()
) -> Iterator[tuple[str, str, Figure]]:
    """The histogram, where there is a figure to count."""
    if any(np.isfinite(values).any() for values in groups.values() if len(values)):
        yield title, note, _histogram(groups, limits)


def _length_and_turn(row: ClipRow) -> tuple[float, float]:
    """Length of a target's path, and degrees turned over all its steps."""
    poses = row.camera_to_world[len(row.context_frames) :]
    rotations = torch.from_numpy(poses[:, :3, :3])
    length = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    return float(length), float(rotation_angle_degrees(rotations[:-1], rotations[1:]).sum())


def _histogram(groups: dict[str, Sequence[float]], limits: Sequence[float] = (), log: bool = False) -> Figure:
    """Stacked bars of some groups, with limits as dashed lines where they are near."""
    colors = dict(zip(groups, (KEPT_COLOR, REJECTED_COLOR, "#999999")))
    finite = {name: np.asarray(values)[np.isfinite(values)] for name, values in groups.items()}
    finite = {name: np.maximum(values, 1e-2) if log else values for name, values in finite.items() if len(values)}
    everything = np.concatenate(list(finite.values()))
    low, high = float(everything.min()), float(everything.max())
    near = [limit for limit in limits if low - 0.6 * (high - low) <= limit <= high + 0.6 * (high - low)]
    low, high = min([low, *near]), max([high, *near])
    if high - low < 1e-9 * max(abs(high), 1):
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    bins = np.geomspace(low, high, 33) if log else np.linspace(low, high, 33)
    figure = Figure(figsize=(3.5, 2.1), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(list(finite.values()), bins=bins, stacked=True, color=[colors[name] for name in finite],
              label=[f"{name} ({len(values):,})" for name, values in finite.items()])  # fmt: skip
    for limit in near:
        axes.axvline(limit, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="limit" if limit == near[0] else None)
    if log:
        axes.set_xscale("log")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=7.5, color="#bbbbbb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    figure.legend(loc="outside upper left", ncols=3, fontsize=7, frameon=False, handlelength=1.2, columnspacing=1.2, borderpad=0)
    return figure


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Text stays text, in the reader's own fonts: smaller, and any script shows.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": REPORT}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


# Pictures


def _picture(frame: np.ndarray) -> str:
    """A frame [H, W, 3] as a data URI, at most `SIDE` pixels large."""
    factor = min(1.0, SIDE / max(frame.shape[:2]))
    size = (max(1, round(side * factor)) for side in frame.shape[:2])
    buffer = io.BytesIO()
    Image.fromarray(resize_and_crop(frame[None], *size)[0][0]).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _even(count: int, most: int) -> list[int]:
    """Up to `most` of `count` places, evenly spread from the first to the last."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, most)).round()})


def _spread(things: Iterable, group: Callable[[Any], Any], most: int) -> list:
    """Up to `most` things, of as many groups as can be."""
    groups: dict[Any, list] = defaultdict(list)
    for thing in things:
        groups[group(thing)].append(thing)
    chosen = [list(groups.values())[place] for place in _even(len(groups), most)]
    shares = [most // len(chosen) + (number < most % len(chosen)) for number in range(len(chosen))]
    return [members[place] for members, share in zip(chosen, shares) for place in _even(len(members), share)]


def _examples(folder: Path, rows: list[ClipRow], kind: str, captures: _Captures) -> Iterator[dict]:
    """Clips of a kind with their pictures."""
    index = captures.attempt(SHARDS, "the index of the shards", lambda: read_index(folder / SHARDS)) or {}
    chosen = _spread((row for row in rows if row.kind == kind), lambda row: (row.origin, _source(row)), CLIPS_SHOWN)
    for row in chosen:
        clip, places = None, index.get(row.key)
        if places:
            shard = places[0][0]
            clip = captures.attempt((shard, row.key), shard, lambda: clip_from_members(read_members(folder / SHARDS, places)))
        if clip is None:
            factor = SIDE / max(row.height, row.width)
            size = max(1, round(row.height * factor)), max(1, round(row.width * factor))
            clip = captures.use(_source(row), row.capture, lambda capture: clip_from_capture(row, capture, *size))
        if clip is not None:
            yield {"row": row, "coverage": _share(row.coverage), "context": _context_strip(clip), "target": _target_strip(clip)}


def _share(value: float) -> str | None:
    return f"{value:.0%}" if np.isfinite(value) else None


def _context_strip(clip: Clip) -> list[dict]:
    """A few context frames, the anchor and the one that names the object always among them."""
    region = clip.instruction.region if isinstance(clip.instruction, Ground) else None
    shown = _even(len(clip.context_frames), CONTEXT_SHOWN)
    for wanted in [clip.anchor] if region is None else [clip.anchor, region.frame]:
        if wanted not in shown:
            replaced = min(set(shown) - {clip.anchor}, key=lambda place: abs(place - wanted))
            shown[shown.index(replaced)] = wanted
    return [
        {
            "picture": _picture(clip.context_frames[place]),
            "text": f"{clip.context_times[place]:.1f} s",
            "anchor": place == clip.anchor,
            "box": _placed(region.box) if region is not None and place == region.frame else None,
        }
        for place in sorted(shown)
    ]


def _target_strip(clip: Clip) -> list[dict]:
    boxes = clip.target_boxes
    return [
        {
            "picture": _picture(clip.target_frames[place]),
            "text": str(place),
            "anchor": place == 0,
            "box": None if boxes is None or np.isnan(boxes[place]).any() else _placed(boxes[place]),
        }
        for place in _even(len(clip.target_frames), TARGETS_SHOWN)
    ]


def _placed(box: Sequence[float]) -> str:
    """A box as a style of an element above a picture."""
    left, top, right, bottom = (100 * float(value) for value in box)
    return f"left:{left:.1f}%;top:{top:.1f}%;width:{right - left:.1f}%;height:{bottom - top:.1f}%"


def _poor_frames(folder: Path, scenes: list[_Scene], captures: _Captures, thresholds: FrameThresholds) -> Iterator[dict]:
    """Frames that were left out, of a few captures, with what speaks against them."""
    chosen = _spread((scene for scene in scenes if scene.poor.any()), lambda scene: scene.reader, CAPTURES_SHOWN)
    for scene in chosen:
        record = read_record(folder / SCENES / f"{scene.key}.json")
        scores = FrameScores(**{name: np.array(values) for name, values in record["stages"]["frame_scores"]["data"].items()})
        masks = rejected_frames(scores, thresholds)
        poor = np.flatnonzero(scene.poor).tolist()
        reasons = {frame: next((reason for reason, mask in masks.items() if mask[frame]), "left out") for frame in poor}
        frames = sorted(_spread(reasons, reasons.get, FRAMES_SHOWN))
        pictures = captures.use(scene.source, scene.name, lambda capture: capture.read_frames(frames))
        if pictures is not None:
            median = np.median(scores.sharpness)
            for frame, picture in zip(frames, pictures, strict=True):
                sharpness, brightness = scores.sharpness[frame], scores.brightness[frame]
                yield {
                    "picture": _picture(picture),
                    "reason": reasons[frame],
                    "note": f"frame {frame} of {scene.name}",
                    "figures": f"sharpness {sharpness:,.1f} (median {median:,.1f}), brightness {brightness:.0f}",
                }


def _rejected_scenes(scenes: list[_Scene], captures: _Captures) -> Iterator[dict]:
    """The middle frames of scenes that were left out as a whole."""
    chosen = [scene for scene in scenes if scene.status == "filtered" and scene.ingest]
    for scene in _spread(chosen, lambda scene: scene.reason, SCENES_SHOWN):
        middle = scene.ingest["frames"] // 2
        pictures = captures.use(scene.source, scene.name, lambda capture: capture.read_frames([middle]))
        if pictures is not None:
            yield {"picture": _picture(pictures[0]), "reason": scene.reason, "note": scene.name, "figures": _details(scene)}


def _details(scene: _Scene) -> str:
    """Where nothing was left of a scene."""
    parts = [f"{_words(stage)}: {count} × {_words(reason)}" for stage, reason, count in scene.details]
    return "; ".join(parts) or f"at {_words(scene.stage)}"


# Paths from above


def _paths(folder: Path, scenes: list[_Scene], rows: list[ClipRow], captures: _Captures) -> Iterator[dict]:
    """Drawings of captures from above, those with clips first."""
    of_capture: dict[tuple, list[ClipRow]] = defaultdict(list)
    for row in rows:
        of_capture[_source(row)].append(row)
    with_cameras = [scene for scene in scenes if scene.convention]
    chosen: list[_Scene] = []
    for has_clips in (True, False):
        group = [scene for scene in with_cameras if (scene.source in of_capture) == has_clips]
        chosen += _spread(group, lambda scene: scene.reader, PATHS_SHOWN - len(chosen))
    for scene in chosen:
        record = read_record(folder / SCENES / f"{scene.key}.json")
        data = record["stages"]["cameras"]["data"]
        poses = torch.tensor(data["camera_to_world"], dtype=torch.float64)
        thinned = _even(len(poses), PATH_POINTS)
        intrinsics = torch.tensor(data["intrinsics"], dtype=torch.float64).expand(len(poses), 3, 3)
        cameras = Cameras(poses[thinned], intrinsics[thinned], metric=data["metric"])
        up, objects = captures.use(scene.source, scene.name, lambda capture: (capture.up_axis, capture.objects)) or (None, ())
        clips = of_capture.get(scene.source, [])
        drawn = [clips[place] for place in _even(len(clips), TARGETS_DRAWN)]
        yield {
            "name": scene.name,
            "note": _path_note(scene, cameras, len(clips), len(drawn), up),
            "drawing": _svg(_from_above(cameras, drawn, up, objects)),
        }


def _path_note(scene: _Scene, cameras: Cameras, clips: int, drawn: int, up: Sequence[float] | None) -> str:
    unit = "m" if cameras.metric else "units of unknown length"
    parts = [f"{float(cameras.path_length()):.1f} {unit}", f"{clips} clips" if clips else f"no clips: {_details(scene)}"]
    parts += [f"{drawn} of them drawn"] if drawn < clips else []
    parts += ["up taken from the cameras"] if up is None else []
    return "; ".join(parts)


def _axes_from_above(cameras: Cameras, up: Sequence[float] | None) -> Tensor:
    """Rows [2, 3] that point right and up on the page: along the world's own axes where it says what is up."""
    if up is None:
        return level_basis(cameras)[1][:2]
    vertical = torch.tensor(up, dtype=torch.float64)
    right = torch.eye(3, dtype=torch.float64)[int(vertical.abs().argmin())]
    right = torch.nn.functional.normalize(right - (right @ vertical) * vertical, dim=0)
    return torch.stack([right, torch.linalg.cross(vertical, right)])


def _from_above(cameras: Cameras, rows: list[ClipRow], up: Sequence[float] | None, objects: Sequence[SceneObject]) -> Figure:
    axes_rows = _axes_from_above(cameras, up).numpy()

    def flat(points: np.ndarray) -> np.ndarray:
        return points @ axes_rows.T

    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    sought = {row.instance_id for row in rows if row.kind == "grounding"}
    # Boxes of objects stand upright on a third axis that points up.
    if up is not None and np.allclose(up, (0, 0, 1)):
        _draw_objects(axes, objects, sought, flat)
    axes.plot(*flat(cameras.positions.numpy()).T, color="#b4b8bf", linewidth=1.4, zorder=2, label="camera")
    context = [row.camera_to_world[: len(row.context_frames), :3, 3] for row in rows]
    if context:
        places = flat(np.unique(np.concatenate(context), axis=0))
        axes.scatter(*places.T, s=9, facecolor="white", edgecolor="#687080", linewidth=0.7, zorder=3, label="context")
    numbers: Counter[str] = Counter()
    for row in rows:
        color = TARGET_COLORS[row.kind][numbers[row.kind] % 3]
        path = flat(row.camera_to_world[len(row.context_frames) :, :3, 3])
        marker, size = END_MARKERS[row.kind]
        label = None if numbers[row.kind] else f"{row.kind} targets"
        axes.plot(*path.T, color=color, linewidth=2.2, zorder=4, label=label, marker=marker, markersize=size, markevery=[-1],
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
        numbers[row.kind] += 1
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    axes.grid(color="#e8e9e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7.5, color="#bbbbbb")
    axes.spines[:].set_color("#cccccc")
    axes.set_xlabel("metres" if cameras.metric else "unknown unit", fontsize=7.5)
    figure.legend(loc="outside upper left", ncols=4, fontsize=7, frameon=False, handlelength=1.4, columnspacing=1.0, borderpad=0)
    return figure


def _draw_objects(axes, objects: Sequence[SceneObject], sought: set[int], flat: Callable[[np.ndarray], np.ndarray]) -> None:
    """Boxes of things; those that clips search for stand out. Names that would lie on those of larger things are left out."""
    things = [thing for thing in objects if normalised_label(thing.label) not in STRUCTURE]
    by_size = sorted(things, key=lambda thing: (thing.instance_id not in sought, -float(np.prod(thing.size))))
    centers = np.array([flat(np.array(thing.center)) for thing in by_size]).reshape(-1, 2)
    room = np.array([0.2, 0.05]) * np.ptp(centers, axis=0).max(initial=0)
    named: list[np.ndarray] = []
    for center, thing in zip(centers, by_size, strict=True):
        color = TARGET_COLORS["grounding"][0] if thing.instance_id in sought else "#9aa0a8"
        outline = flat(thing.corners()[[0, 2, 6, 4, 0]])
        axes.fill(*outline.T, facecolor=color, alpha=0.12, zorder=1)
        axes.plot(*outline.T, color=color, linewidth=0.8, zorder=1)
        if len(named) < LABELS_DRAWN and all((np.abs(center - other) > room).any() for other in named):
            ink = color if thing.instance_id in sought else "#687080"
            axes.text(*center, thing.label, fontsize=7, color=ink, ha="center", va="center", zorder=6, clip_on=True, parse_math=False)
            named.append(center)

"""A self-contained HTML page about a curated data set: what was kept, what was not and why, how it scores, what it looks like."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from os import PathLike
from pathlib import Path

import jinja2

from data_curation.build import REPORT, SUMMARY
from data_curation.pipeline import StageSettings
from data_curation.records import add_counts, read_record, record_files
from data_curation.report.paths import paths_from_above
from data_curation.report.pictures import examples, poor_frames, rejected_scenes
from data_curation.report.plots import as_svg, histograms
from data_curation.report.scenes import Captures, ReportedScene, in_words, reported_scene, source_of
from video4spatial.clips.manifest import KINDS, MANIFEST, SPLITS, ClipRow, read_manifest
from video4spatial.files import write_whole

LISTED = 200  # scenes in a list
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
    scenes = [reported_scene(record) for path in record_files(folder) if (record := read_record(path))]
    summary = _summary(folder, scenes, rows)
    settings = _settings(summary)
    captures = Captures()
    page = _environment().get_template("report.html.jinja").render(
        title=folder.resolve().name,
        scenes=summary["scenes"],
        complete=summary["complete"],
        others=len(scenes) - sum(summary["scenes"].values()),
        clips=clip_counts(rows),
        totals=totals(scenes, rows),
        sources=sources(scenes),
        funnel=funnel(summary["stages"]),
        failures=summary["failures"][:LISTED],
        failure_count=len(summary["failures"]),
        filtered=filtered(scenes),
        plots=[(title, note, as_svg(figure)) for title, note, figure in histograms(scenes, rows, settings)],
        examples={kind: list(examples(folder, rows, kind, captures)) for kind in KINDS},
        poor_frames=list(poor_frames(folder, scenes, captures, settings.frame_quality)),
        rejected_scenes=list(rejected_scenes(scenes, captures)),
        paths=list(paths_from_above(folder, scenes, rows, captures)),
        licences=licences(scenes, rows),
        conventions=sorted(Counter((s.reader, s.convention) for s in scenes if s.convention).items()),
        unreadable=sorted(set(captures.problems.values())),
        listed=LISTED,
        origins=ORIGIN_WORDS,
    )
    path = folder / REPORT
    # Names of files may hold bytes that are no text.
    write_whole(path, page.encode("utf-8", "replace"))
    return path


def _summary(folder: Path, scenes: list[ReportedScene], rows: list[ClipRow]) -> dict:
    """The summary that the build wrote; where it was stopped before, the same counts from the records."""
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
    """Settings whose limits the page shows: those of the build, or the defaults where it was stopped before it wrote them."""
    default, stored = StageSettings(), summary.get("settings", {}).get("stages", {})
    shown = [name for name in ("frame_quality", "windows", "context", "epipolar") if name in stored]
    return replace(default, **{name: type(getattr(default, name))(**stored[name]) for name in shown})


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("data_curation"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(words=in_words, number=lambda value: f"{value:,}", duration=_duration)
    return environment


def _duration(seconds: float) -> str:
    """ "48 s", "12.5 min" or "310 h"."""
    for unit, length in [("h", 3600), ("min", 60)]:
        if seconds >= 2 * length:
            return f"{seconds / length:,.{0 if seconds >= 100 * length else 1}f} {unit}"
    return f"{seconds:.0f} s"


def clip_counts(rows: list[ClipRow]) -> dict[str, dict[str, dict]]:
    """Number and length of clips.

    Args:
        rows: of the manifest.

    Returns:
        {split: {kind: {"clips", "seconds"}}}, without those that are empty.
    """
    counts: dict[str, dict[str, dict]] = {}
    for split in SPLITS:
        for kind in KINDS:
            chosen = [row for row in rows if (row.split, row.kind) == (split, kind)]
            if chosen:
                seconds = sum(row.target_times[-1] for row in chosen)
                counts.setdefault(split, {})[kind] = {"clips": len(chosen), "seconds": seconds}
    return counts


def totals(scenes: list[ReportedScene], rows: list[ClipRow]) -> dict[str, float]:
    """How much there is of clips, and how much was read for them.

    Args:
        scenes: all that the page tells of.
        rows: of the manifest.
    """
    return {
        "clips": len(rows),
        "seconds": sum(row.target_times[-1] for row in rows),
        "spaces": len({row.space for row in rows}),
        "captures": len({source_of(row) for row in rows}),
        "read_seconds": sum(scene.ingest.get("seconds", 0) for scene in scenes),
        "read_frames": sum(scene.ingest.get("frames", 0) for scene in scenes),
    }


def sources(scenes: list[ReportedScene]) -> list[dict]:
    """What the data set was made from: a row per reader of `scenes`, with counts by status, frames and seconds."""
    by_reader: dict[str, list[ReportedScene]] = defaultdict(list)
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


def funnel(stages: dict[str, dict]) -> list[dict]:
    """Rows about stages: reasons, the most frequent first, and shares in percent of what went in.

    Args:
        stages: {stage: {"unit", "kept", "filtered", "failed"}} in order.
    """
    steps = []
    for name, step in stages.items():
        reasons = sorted(((reason, count) for reason, count in step["filtered"].items() if count), key=lambda entry: -entry[1])
        # Shares are of the counts shown, since reasons may overlap (a step may both jump and turn).
        parts = {"kept": step["kept"], "filtered": sum(count for _, count in reasons), "failed": step["failed"]}
        total = max(sum(parts.values()), 1)
        steps.append({**step, "name": name, "reasons": reasons, "shares": {part: 100 * n / total for part, n in parts.items()}})
    return steps


def filtered(scenes: list[ReportedScene]) -> dict:
    """Which of `scenes` were left out: how many by stage and reason, and the first of them."""
    chosen = [scene for scene in scenes if scene.status == "filtered"]
    counts = Counter((scene.stage, scene.reason) for scene in chosen)
    return {"counts": counts.most_common(), "total": len(chosen), "scenes": chosen[:LISTED]}


def licences(scenes: list[ReportedScene], rows: list[ClipRow]) -> list[dict]:
    """Captures and clips by terms, those of most clips first.

    Args:
        scenes: all that the page tells of.
        rows: of the manifest.
    """
    captures = Counter((s.ingest["licence"], s.ingest["redistributable"]) for s in scenes if s.ingest)
    clips = Counter((row.licence, row.redistributable) for row in rows)
    terms = sorted(captures | clips, key=lambda term: (-clips[term], term))
    return [{"licence": term[0], "redistributable": term[1], "captures": captures[term], "clips": clips[term]} for term in terms]

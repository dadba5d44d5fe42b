"""Counts of scenes, clips, stages and licences."""

from __future__ import annotations

from collections import Counter, defaultdict

from data_curation.report.scenes import ReportedScene, source_of
from video4spatial.clips.manifest import KINDS, SPLITS, ClipRow

LISTED = 200  # scenes in a list


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

"""Summaries of scenes and builds: counts by stage and reason."""

from __future__ import annotations

from dataclasses import dataclass

from data_curation.pipeline import CLIP_STAGES


@dataclass(frozen=True)
class Summary:
    """What a build did.

    Args:
        scenes: {status: number of scenes}.
        stages: {stage: {"unit", "kept", "filtered": {reason: n}, "failed"}}, in order.
        clips: {split: {kind: number}}.
        failures: [{"key", "stage", "reason"}] of scenes and shards.
        complete: whether the data set was made (not for one of many jobs).
        ran: {stage: scenes in which it was run now}.
    """

    scenes: dict[str, int]
    stages: dict[str, dict]
    clips: dict[str, dict[str, int]]
    failures: list[dict]
    complete: bool
    ran: dict[str, int]

    @property
    def failed_share(self) -> float:
        """Share of all scenes that failed, 0 to 1."""
        return self.scenes.get("failed", 0) / max(sum(self.scenes.values()), 1)


def summary_of(record: dict) -> dict:
    """The summary of a scene.

    Args:
        record: of the scene.

    Returns:
        {"key", "reader", "scene", "status", "stage", "reason", "counts": {stage: {"unit", "kept", "filtered"}},
        "clips": {kind: number}}.
    """
    stages = record["stages"]
    return {
        **{name: record.get(name) for name in ("key", "reader", "scene", "status", "stage", "reason")},
        "counts": {
            name: {part: result[part] for part in ("unit", "kept", "filtered")} for name, result in stages.items()
        },
        "clips": {kind: len(stages[name]["data"]["clips"]) for name, kind in CLIP_STAGES.items() if name in stages},
    }


def add_counts(funnel: dict[str, dict], summary: dict) -> None:
    """Add a scene's counts to those of others.

    Args:
        funnel: {stage: {"unit", "kept", "filtered": {reason: n}, "failed"}} of the others; it is changed.
        summary: of the scene (`summary_of`).
    """
    for name, counts in summary.get("counts", {}).items():
        step = funnel.setdefault(name, {"unit": counts["unit"], "kept": 0, "filtered": {}, "failed": 0})
        step["kept"] += counts["kept"]
        for reason, number in counts["filtered"].items():
            step["filtered"][reason] = step["filtered"].get(reason, 0) + number
    if summary.get("status") == "failed":
        step = funnel.setdefault(summary["stage"], {"unit": "captures", "kept": 0, "filtered": {}, "failed": 0})
        step["failed"] += 1

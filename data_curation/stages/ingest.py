"""Opens a capture and notes what it holds."""

from __future__ import annotations

from data_curation.readers import SourceMissing
from data_curation.scene import Result, Scene


def run(scene: Scene) -> Result:
    """The stage `ingest`: size, length, parts, licence and space of the capture.

    Args:
        scene: under way.
    """
    try:
        capture = scene.recording
    except SourceMissing as error:
        return Result({"problem": str(error)}, "captures", 0, {"source_missing": 1}, "source_missing")
    left_out = {reason: len(names) for reason, names in capture.provenance.get("left_out", {}).items()}
    seconds = float(capture.times[-1] - capture.times[0])
    return Result(
        {
            "name": capture.name, "frames": len(capture), "height": capture.height, "width": capture.width, "seconds": seconds,
            "has": [part for part in ("cameras", "read_depth", "read_instances", "objects") if getattr(capture, part)],
            "remarks": capture.remarks,
            "licence": capture.licence, "redistributable": capture.redistributable, "space": capture.space, "split": capture.split,
        },
        "frames", len(capture), left_out,
    )  # fmt: skip

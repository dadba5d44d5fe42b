"""Records: what is known of a scene, in one file that appears whole or not at all.

Fingerprints say whether it still holds, summaries count what it says.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from video4spatial.clips.manifest import KINDS
from video4spatial.files import write_whole
from video4spatial.parsing import parse_json

SCENES = "scenes"  # the folder of records in a data set
SAMPLED_BYTES = 1 << 16
WHOLE_BYTES = 1 << 20


def fingerprint(*parts: Any) -> str:
    """Hash of plain values that does not depend on the order of keys.

    Args:
        *parts: numbers, texts, lists and mappings.

    Returns:
        20 hexadecimal digits.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def content_of(paths: Iterable[Path], root: Path) -> str:
    """Hash of files by their names and bytes.

    Of a file above a mebibyte, its size and pieces of 64 KiB from the start, the middle and the end stand for all bytes.

    Args:
        paths: of the files, in any order.
        root: folder that names are relative to.

    Returns:
        20 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        total.update(f"{os.path.relpath(path, root)}\0{size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            if size <= WHOLE_BYTES:
                total.update(file.read())
                continue
            for start in (0, size // 2, size - SAMPLED_BYTES):
                file.seek(start)
                total.update(file.read(SAMPLED_BYTES))
    return total.hexdigest()[:20]


def safe_name(text: str) -> str:
    """A name for files and shard members: letters, digits, `_` and `-` only, since webdataset ends a key at the first dot.

    Args:
        text: of any form; at most 80 characters of it are kept.
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:80] or "scene"


def write_record(path: Path, record: dict) -> None:
    """Write a record as JSON, whole or not at all.

    Args:
        path: of the file.
        record: plain values.

    Raises:
        OSError: where it cannot be written.
    """
    write_whole(path, json.dumps(record, separators=(",", ":")))


def record_files(folder: Path) -> list[Path]:
    """The records of a data set, by name; what a killed writer left beside them is none.

    Args:
        folder: of the data set.
    """
    return [path for path in sorted((folder / SCENES).glob("*.json")) if not path.name.startswith(".")]


def read_record(path: Path) -> dict | None:
    """A record, or None where there is none or it is damaged; it is then made again.

    Args:
        path: of the file.
    """
    try:
        record = parse_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("stages"), dict) else None


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
        "clips": {kind: len(stages[kind]["data"]["clips"]) for kind in KINDS if kind in stages},
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

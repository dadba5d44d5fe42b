"""The one shape of every benchmark's result file."""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from video4spatial.files import write_whole

STATUSES = ("ok", "missing", "failed", "not_applicable")


def metric(
    value: float | None, low: float | None = None, high: float | None = None, n: int | None = None, status: str = "ok"
) -> dict:
    """One cell of a result row.

    Args:
        value: the figure, or None when `status` is not `ok`.
        low, high: 95 % confidence interval.
        n: number of scenes (or repetitions) behind it.
        status: `ok`, `missing`, `failed` or `not_applicable`.

    Raises:
        ValueError: for an unknown status, or a value that is not a finite number although the status is `ok`.
    """
    if status not in STATUSES:
        raise ValueError(f"status {status!r}: expected one of {', '.join(STATUSES)}.")
    if status == "ok" and (value is None or not math.isfinite(value)):
        raise ValueError(f"a metric with status 'ok' needs a finite value, got {value!r}; use status 'missing' or 'failed'.")
    return {"value": value, "low": low, "high": high, "n": n, "status": status}


def machine() -> dict:
    """What the figures were measured on: processor, cores, memory, device and library versions."""
    processor = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """Commit of the working tree, with `-dirty` when anything but results has changed; `unknown` outside a checkout."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "--short=12", "HEAD")
    if not revision:
        return "unknown"
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)benchmarks/results")
    return revision + ("-dirty" if changes else "")


def write_results(
    path: str | Path, benchmark: str, settings: dict, rows: list[dict], command: str | None = None, clips: dict | None = None
) -> dict:
    """Write a benchmark's rows with their settings, machine and commit; the file appears whole or not at all.

    Args:
        path: JSON file to write; its folder is made.
        benchmark: name of the benchmark.
        settings: everything needed to run it again.
        rows: `[{"name": str, "metrics": {name: metric(...)}}]`.
        command: how it was started; default this process's command line.
        clips: figures of single clips by row, `scoring.ScoredClip` each, where they are to be kept.

    Returns:
        What was written.
    """
    # An absolute path in a command line says nothing to another reader: its last part is kept.
    arguments = [Path(argument).name if os.path.isabs(argument) else argument for argument in sys.argv]
    content = {
        "benchmark": benchmark,
        "command": command or " ".join(["python", *arguments]),
        "commit": commit(),
        "machine": machine(),
        "settings": settings,
        "rows": rows,
    }
    if clips is not None:
        content["clips"] = {row: [entry.as_dict() for entry in entries] for row, entries in clips.items()}
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return content


def merge_rows(path: str | Path, settings: dict, rows: list[dict], order: Callable[[str], object]) -> tuple[dict, list[dict]]:
    """Put rows that were measured again in the place of a file's old ones; its other rows stay.

    Args:
        path: the results file, which need not exist yet.
        settings, rows: of this measurement; every row is given the commit it was measured at.
        order: place of a row's name among all.

    Returns:
        Settings and rows of the whole.
    """
    revision = commit()
    rows = [row | {"commit": revision} for row in rows]
    path = Path(path)
    if not path.exists():
        return settings, rows
    before = json.loads(path.read_text())
    new = {row["name"] for row in rows}
    kept = [row for row in before["rows"] if row["name"] not in new]
    return before["settings"] | settings, sorted(kept + rows, key=lambda row: order(row["name"]))

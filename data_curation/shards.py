"""Shards of a data set: written by workers, whole or not at all, and only where they are not there yet."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from data_curation.executors import Executor
from data_curation.readers import read_scene
from data_curation.records import fingerprint
from data_curation.running import single_threaded
from video4spatial.clips import Clip
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips.manifest import ClipRow, row_as_plain
from video4spatial.clips.shards import write_index, write_shard
from video4spatial.files import write_whole
from video4spatial.parsing import parse_json

REMEMBERED_BYTES = 1 << 28
Progress = Callable[[str, int, int, dict], None]
"""Called after each scene and shard: "scenes" or "shards", how many are done, of how many, and the summary of this one."""


@dataclass(frozen=True)
class ShardSettings:
    """Pixels of clips, in tar files that any WebDataset loader reads.

    Args:
        pixels: which clips get pixels: all, redistributable (those whose licence lets them be passed on) or none. The others are
            read from the captures.
        height, width: of the pictures in pixels; the capture's are cropped centrally to that aspect.
        clips: per shard.
        quality: of the JPEG pictures, 1 to 95.
        depth: whether depth goes along where it is known; it takes more room than the pictures.
    """

    pixels: Literal["all", "redistributable", "none"] = "all"
    height: int = 64
    width: int = 64
    clips: int = 64
    quality: int = 95
    depth: bool = True

    def __post_init__(self):
        if min(self.height, self.width, self.clips) < 1 or not 1 <= self.quality <= 95:
            raise ValueError(
                f"shards: height {self.height}, width {self.width} and clips {self.clips} must be at least 1, "
                f"quality {self.quality} from 1 to 95."
            )


@dataclass(frozen=True)
class ShardTask:
    """All that a worker needs to write a shard.

    Args:
        path: of the tar file.
        rows: its clips.
        settings: of the shards.
        fingerprint: of all of that.
    """

    path: str
    rows: tuple[ClipRow, ...]
    settings: ShardSettings
    fingerprint: str


def write_shard_task(task: ShardTask) -> dict:
    """Write a shard and the note of what is in it, unless they are there already.

    Args:
        task: the shard.

    Returns:
        {"members", "bytes", "sha256", "fingerprint"}, or {"error"}.
    """
    path = Path(task.path)
    note = path.with_suffix(".json")
    try:
        if note.is_file() and path.is_file():
            known = parse_json(note.read_bytes())
            if known["fingerprint"] == task.fingerprint and path.stat().st_size == known["bytes"]:
                return known
        with single_threaded():
            written = write_shard(path, _clips(task), task.settings.quality)
        written["fingerprint"] = task.fingerprint
        write_whole(note, json.dumps(written, separators=(",", ":")))
        return written
    except (ValueError, OSError) as error:
        return {"error": " ".join(str(error).split())}


def write_shards(
    folder: Path, rows: Sequence[ClipRow], settings: ShardSettings, executor: Executor, progress: Progress
) -> tuple[dict, list[dict]]:
    """Write the shards that are not there yet, remove those that do not belong there any more, and write the index.

    Args:
        folder: of the shards; made where there is something to write.
        rows: of the manifest, in order.
        settings: which pixels are written, and how.
        executor: that writes them.
        progress: called before the first and after each shard.

    Returns:
        {"unit", "kept", "filtered", "failed"} in clips, and [{"key", "stage", "reason"}] of shards that failed.
    """
    chosen = [row for row in rows if settings.pixels == "all" or (settings.pixels == "redistributable" and row.redistributable)]
    tasks = _tasks(folder, chosen, settings)
    shards, failures, written = {}, [], 0
    if tasks:
        progress("shards", 0, len(tasks), {})
    for done, finished in enumerate(executor.map(write_shard_task, tasks), start=1):
        name = Path(tasks[finished.index].path).name
        result = finished.value or {"error": f"its process {'hung' if finished.problem == 'timeout' else 'died'}, twice"}
        if "error" in result:
            failures.append({"key": name, "stage": "shards", "reason": result["error"]})
        else:
            shards[name] = result["members"]
            written += len(tasks[finished.index].rows)
        progress("shards", done, len(tasks), {"key": name})
    wanted = {Path(task.path).stem for task in tasks}
    for path in [*folder.glob("*.tar"), *folder.glob("*.json")]:
        if path.stem not in wanted:
            path.unlink()
    if shards or folder.exists():
        write_index(folder, shards)
    left = {"pixels_not_asked_for": len(rows) - len(chosen)} if len(rows) > len(chosen) else {}
    step = {"unit": "clips", "kept": written, "filtered": left, "failed": len(chosen) - written}
    return step, sorted(failures, key=lambda failure: failure["key"])


def _tasks(folder: Path, rows: Sequence[ClipRow], settings: ShardSettings) -> list[ShardTask]:
    tasks = []
    for split in dict.fromkeys(row.split for row in rows):
        of_split = [row for row in rows if row.split == split]
        for number, start in enumerate(range(0, len(of_split), settings.clips)):
            part = tuple(of_split[start : start + settings.clips])
            mark = fingerprint(asdict(replace(settings, clips=len(part))), [row_as_plain(row) for row in part])
            tasks.append(ShardTask(str(folder / f"{split}-{number:05d}.tar"), part, settings, mark))
    return tasks


class _Remembered:
    """A reading function that keeps about `REMEMBERED_BYTES` of the last frames: clips of one capture share most of theirs."""

    def __init__(self, read: Callable[[Sequence[int]], np.ndarray]):
        self.read = read
        self.frames: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        missing = sorted({*indices} - self.frames.keys())
        if missing:
            self.frames.update(zip(missing, self.read(missing)))
        found = np.stack([self.frames[index] for index in indices])
        while len(self.frames) * found[0].nbytes > REMEMBERED_BYTES:
            self.frames.popitem(last=False)
        return found


def _clips(task: ShardTask) -> Iterator[Clip]:
    capture, opened = None, None
    for row in task.rows:
        source = row.reader, row.scene, row.options
        if source != opened:
            capture, opened = read_scene(row.reader, row.scene, **row.options), source
            depth = _Remembered(capture.read_depth) if capture.read_depth and task.settings.depth else None
            capture = replace(capture, read_frames=_Remembered(capture.read_frames), read_depth=depth)
        yield clip_from_capture(row, capture, task.settings.height, task.settings.width)

"""From sources to a data set: every scene through the stages, then the manifest, the shards and the report.

An output folder holds

    scenes/KEY.json      what is known of each scene; a build that is started again goes on from there
    manifest.parquet     one row per clip: the truth
    shards/*.tar         pixels, where asked for, with index.parquet
    summary.json         counts by stage and reason, and what failed
    report.html          the same for people

Everything appears whole or not at all, so a build can be killed at any moment and started again.
"""

from __future__ import annotations

import json
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from data_curation.dataset import DatasetSettings, assemble
from data_curation.executors import EXECUTORS, Finished
from data_curation.pipeline import SceneTask, StageSettings, curate_scene, single_threaded, summary_of
from data_curation.readers import ReaderError, find_scenes, read_scene
from data_curation.records import fingerprint, read_record, safe_name, write_record
from video4spatial.clips import Clip
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips.dataset import SHARDS
from video4spatial.clips.manifest import MANIFEST, ClipRow, row_as_plain, write_manifest
from video4spatial.clips.shards import write_index, write_shard
from video4spatial.files import remove_leftovers, write_whole

SCENES = "scenes"
SUMMARY = "summary.json"
REMEMBERED_BYTES = 1 << 28


class BuildError(ValueError):
    """A build that cannot start, or that failed as a whole; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """Where captures come from.

    Args:
        path: folder or file of captures, or simulated rooms such as train:0-199.
        reader: name of the reader; null takes the first that finds scenes.
        options: what the reader takes besides (see `v4s curate inspect`), such as {num_frames: 96}.
    """

    path: str
    reader: str | None = None
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class ShardSettings:
    """Pixels of clips, in tar files that any WebDataset loader reads.

    Args:
        pixels: of which clips: all, redistributable (those whose licence lets them be passed on) or none. What is left out stays
            readable from the captures.
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
class Work:
    """How the work is done; nothing here changes what comes out.

    Args:
        executor: serial, processes or ray.
        workers: processes or CPUs; null takes all cores.
        timeout: seconds that a scene (or shard) may take; then it is tried once more and given up.
        num_shards, shard_index: do the scenes shard_index, shard_index + num_shards ... only, as one of many jobs that write to one
            folder; a build without them, once all jobs are done, makes the data set.
        most_failed: share of scenes that may fail before the build counts as failed.
    """

    executor: Literal["serial", "processes", "ray"] = "processes"
    workers: int | None = None
    timeout: float | None = 1800.0
    num_shards: int | None = None
    shard_index: int | None = None
    most_failed: float = 0.05

    def __post_init__(self):
        if (self.num_shards is None) != (self.shard_index is None):
            raise ValueError("work: give num_shards and shard_index together.")
        if self.num_shards is not None and not 0 <= self.shard_index < self.num_shards:
            raise ValueError(f"work: shard_index {self.shard_index}: expected 0 to {self.num_shards - 1} (num_shards - 1).")
        if not 0 <= self.most_failed <= 1:
            raise ValueError(f"work: most_failed {self.most_failed}: expected a share from 0 to 1.")


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
        """Of all scenes."""
        return self.scenes.get("failed", 0) / max(sum(self.scenes.values()), 1)


def build(
    sources: Sequence[Source],
    output: str | os.PathLike,
    stages: StageSettings = StageSettings(),
    dataset: DatasetSettings = DatasetSettings(),
    shards: ShardSettings = ShardSettings(),
    work: Work = Work(),
    progress: Callable[[str, int, int, dict], None] = lambda what, done, total, summary: None,
) -> Summary:
    """Build a data set, or go on with one.

    Args:
        sources: where captures come from.
        output: folder; made where it does not exist.
        stages, dataset, shards: what comes out.
        work: how it is done.
        progress: called after each scene and shard with what it was, how many are done, of how many, and its summary.

    Raises:
        BuildError: for sources without scenes, or an output that cannot be written.
    """
    folder = Path(output)
    tasks = scene_tasks(sources, stages, folder)
    try:
        (folder / SCENES).mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise BuildError(f"cannot write to {folder}: {error.strerror}; choose another --output.") from error
    executor = EXECUTORS[work.executor](work.workers, work.timeout)
    mine = tasks if work.num_shards is None else tasks[work.shard_index :: work.num_shards]
    summaries: dict[str, dict] = {}
    ran: Counter[str] = Counter()
    for finished in executor.map(curate_scene, mine):
        task = mine[finished.index]
        summary = finished.value or _given_up(task, finished, work)
        ran.update(summary.pop("ran", []))
        summaries[task.key] = summary
        progress("scenes", len(summaries), len(mine), summary)
    failures = [
        {"key": s["key"], "stage": s["stage"], "reason": s["reason"]}
        for s in (summaries[task.key] for task in mine)
        if s["status"] == "failed"
    ]
    counts = Counter(summary["status"] for summary in summaries.values())
    funnel: dict[str, dict] = {}
    for task in mine:
        add_counts(funnel, summaries[task.key])
    if work.num_shards is not None:
        return Summary(dict(counts), funnel, {}, failures, False, dict(ran))
    for place in (folder, folder / SCENES, folder / SHARDS):
        _remove_leftovers(place)
    assembly = assemble((record for task in tasks if (record := read_record(Path(task.record)))), dataset)
    funnel.update({name: {**step, "failed": 0} for name, step in assembly.steps.items()})
    write_manifest(folder / MANIFEST, assembly.rows)
    funnel["shards"], shard_failures = _write_shards(folder / SHARDS, assembly.rows, shards, executor, progress)
    clips: dict[str, dict[str, int]] = {}
    for row in assembly.rows:
        kinds = clips.setdefault(row.split, {})
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    summary = Summary(dict(counts), funnel, clips, failures + shard_failures, True, dict(ran))
    told = {name: value for name, value in asdict(summary).items() if name != "ran"}
    told["settings"] = {name: asdict(part) for name, part in [("stages", stages), ("dataset", dataset), ("shards", shards)]}
    told["sources"] = [asdict(source) for source in sources]
    write_whole(folder / SUMMARY, json.dumps(told, indent=1) + "\n")
    return summary


def scene_tasks(sources: Sequence[Source], stages: StageSettings, folder: Path) -> list[SceneTask]:
    """One task per scene of all sources, in order, each with a key of its own.

    Raises:
        BuildError: for a source without scenes, or two scenes that cannot be told apart.
    """
    tasks: dict[str, SceneTask] = {}
    for source in sources:
        try:
            reader, scenes = find_scenes(source.path, source.reader)
        except ReaderError as error:
            raise BuildError(str(error)) from error
        for scene in scenes:
            path = Path(scene)
            # Named by their place below the source, so that the key does not depend on where the data are kept.
            place = os.path.relpath(path, Path(source.path).parent) if path.exists() else scene
            key = f"{safe_name(f'{reader}-{place}')}-{fingerprint(reader, place, source.options)[:6]}"
            if key in tasks:
                raise BuildError(f"{scene} is listed twice: by {source.path} and as {tasks[key].scene}; name each source once.")
            record = folder / SCENES / f"{key}.json"
            tasks[key] = SceneTask(key, reader, scene, dict(source.options), stages, str(record))
    if not tasks:
        raise BuildError("no sources: name at least one, such as {path: train:0-9}.")
    return list(tasks.values())


def _remove_leftovers(folder: Path) -> None:
    remove_leftovers(folder)
    for file in folder.glob(".*.part"):  # as they were named before
        file.unlink()


def _given_up(task: SceneTask, finished: Finished, work: Work) -> dict:
    """The record of a scene whose worker was lost twice: in quarantine until the next build tries it again."""
    if finished.problem == "timeout":
        reason = f"took longer than {work.timeout:g} s, twice (work.timeout)"
    else:
        reason = "its process died, twice (out of memory, or a crash in a library)"
    old = read_record(Path(task.record)) or {}
    stages = old.get("stages", {})
    record = {
        "version": old.get("version", 1), "key": task.key, "reader": task.reader, "scene": task.scene, "options": task.options,
        "stages": stages, "status": "failed", "stage": "worker", "reason": reason,
    }  # fmt: skip
    write_record(Path(task.record), record)
    return summary_of(record)


def add_counts(funnel: dict[str, dict], summary: dict) -> None:
    """Add a scene's counts to those of others: {stage: {"unit", "kept", "filtered": {reason: n}, "failed"}}."""
    for name, counts in summary.get("counts", {}).items():
        step = funnel.setdefault(name, {"unit": counts["unit"], "kept": 0, "filtered": {}, "failed": 0})
        step["kept"] += counts["kept"]
        for reason, number in counts["filtered"].items():
            step["filtered"][reason] = step["filtered"].get(reason, 0) + number
    if summary.get("status") == "failed":
        step = funnel.setdefault(summary["stage"], {"unit": "captures", "kept": 0, "filtered": {}, "failed": 0})
        step["failed"] += 1


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

    Returns:
        {"members", "bytes", "sha256", "fingerprint"}, or {"error"}.
    """
    path = Path(task.path)
    note = path.with_suffix(".json")
    try:
        if note.is_file() and path.is_file():
            known = json.loads(note.read_bytes())
            if known["fingerprint"] == task.fingerprint and path.stat().st_size == known["bytes"]:
                return known
        with single_threaded():
            written = write_shard(path, _clips(task), task.settings.quality)
        written["fingerprint"] = task.fingerprint
        write_whole(note, json.dumps(written, separators=(",", ":")))
        return written
    except (ValueError, OSError) as error:
        return {"error": " ".join(str(error).split())}


class _Remembered:
    """A reading function that keeps the last frames it read, about `REMEMBERED_BYTES`: clips of one capture share most of theirs."""

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


def _write_shards(folder: Path, rows: list[ClipRow], settings: ShardSettings, executor, progress) -> tuple[dict, list[dict]]:
    """Write what is not there yet, remove what does not belong there any more, then the index."""
    chosen = [row for row in rows if settings.pixels == "all" or (settings.pixels == "redistributable" and row.redistributable)]
    tasks = []
    for split in dict.fromkeys(row.split for row in chosen):
        of_split = [row for row in chosen if row.split == split]
        for number, start in enumerate(range(0, len(of_split), settings.clips)):
            part = tuple(of_split[start : start + settings.clips])
            mark = fingerprint(asdict(replace(settings, clips=len(part))), [row_as_plain(row) for row in part])
            tasks.append(ShardTask(str(folder / f"{split}-{number:05d}.tar"), part, settings, mark))
    shards, failures, written = {}, [], 0
    for done, finished in enumerate(executor.map(write_shard_task, tasks), start=1):
        name = Path(tasks[finished.index].path).name
        result = finished.value or {"error": f"its process {'hung' if finished.problem == 'timeout' else 'died'}, twice"}
        if "error" in result:
            failures.append({"key": name, "stage": "shards", "reason": result["error"]})
        else:
            shards[name] = result["members"]
            written += len(tasks[finished.index].rows)
        progress("shards", done, len(tasks), {"key": name})
    if folder.exists():
        wanted = {Path(task.path).stem for task in tasks}
        for path in [*folder.glob("*.tar"), *folder.glob("*.json")]:
            if path.stem not in wanted:
                path.unlink()
    if shards or folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_index(folder, shards)
    left = {"pixels_not_asked_for": len(rows) - len(chosen)} if len(rows) > len(chosen) else {}
    step = {"unit": "clips", "kept": written, "filtered": left, "failed": len(chosen) - written}
    return step, sorted(failures, key=lambda failure: failure["key"])

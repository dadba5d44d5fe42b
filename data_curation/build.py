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
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from data_curation.dataset import DatasetSettings, assemble
from data_curation.executors import EXECUTORS, Executor, Finished
from data_curation.pipeline import StageSettings
from data_curation.readers import ReaderError, find_scenes
from data_curation.records import SCENES, add_counts, fingerprint, read_record, record_files, safe_name, summary_of, write_record
from data_curation.running import RECORD_VERSION, SceneTask, curate_scene, new_record
from data_curation.shards import Progress, ShardSettings, write_shards
from video4spatial.clips.dataset import SHARDS
from video4spatial.clips.manifest import MANIFEST, write_manifest
from video4spatial.files import remove_leftovers, write_whole

SUMMARY = "summary.json"
REPORT = "report.html"


class BuildError(ValueError):
    """A build that cannot start, or that failed as a whole; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """Where captures come from.

    Args:
        path: folder or file of captures, or simulated rooms such as train:0-199.
        reader: name of the reader, of which alone the scenes are taken; null takes the scenes of all.
        options: what the reader takes besides (see `v4s curate inspect`), such as {num_frames: 96}.
    """

    path: str
    reader: str | None = None
    options: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """How the work is done; nothing here changes what comes out.

    Args:
        executor: serial, processes or ray.
        workers: processes or CPUs; null takes all cores.
        timeout: seconds that a scene (or shard) may take; then it is tried once more and given up.
        num_shards: number of jobs that share out the scenes and write to one folder. Once all are done, a build without it makes
            the data set.
        shard_index: which of these jobs this is: it does the scenes shard_index, shard_index + num_shards, ...
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
        """Share of all scenes that failed, 0 to 1."""
        return self.scenes.get("failed", 0) / max(sum(self.scenes.values()), 1)


def build(
    sources: Sequence[Source],
    output: str | os.PathLike,
    stages: StageSettings = StageSettings(),
    dataset: DatasetSettings = DatasetSettings(),
    shards: ShardSettings = ShardSettings(),
    work: Work = Work(),
    progress: Progress = lambda what, done, total, summary: None,
    replace: bool = False,
) -> Summary:
    """Build a data set, or go on with one.

    Args:
        sources: where captures come from.
        output: folder; made where it does not exist.
        stages: settings of the stages of a scene.
        dataset: how scenes become one data set.
        shards: which pixels are written, and how.
        work: how it is done.
        progress: called before the first and after each scene and shard.
        replace: whether scenes that an earlier build had of other sources, or files of other origin, may be lost.

    Raises:
        BuildError: for sources without scenes, or an output that cannot be written or holds what would be lost.
    """
    folder = Path(output)
    tasks = scene_tasks(sources, stages, folder)
    others = _other_records(folder, tasks, replace)
    try:
        (folder / SCENES).mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise BuildError(f"cannot write to {folder}: {error.strerror}; choose another folder.") from error
    executor = EXECUTORS[work.executor](work.workers, work.timeout)
    for record in others:
        record.unlink()
    mine = tasks if work.num_shards is None else tasks[work.shard_index :: work.num_shards]
    summaries, ran = _curate(mine, executor, work, progress)
    counts = dict(Counter(summary["status"] for summary in summaries))
    failures = [{name: s[name] for name in ("key", "stage", "reason")} for s in summaries if s["status"] == "failed"]
    funnel: dict[str, dict] = {}
    for summary in summaries:
        add_counts(funnel, summary)
    if work.num_shards is not None:
        return Summary(counts, funnel, {}, failures, False, ran)
    for place in (folder, folder / SCENES, folder / SHARDS):
        _remove_leftovers(place)
    assembly = assemble((record for task in tasks if (record := read_record(Path(task.record)))), dataset)
    funnel.update({name: {**step, "failed": 0} for name, step in assembly.steps.items()})
    write_manifest(folder / MANIFEST, assembly.rows)
    funnel["shards"], shard_failures = write_shards(folder / SHARDS, assembly.rows, shards, executor, progress)
    clips: dict[str, dict[str, int]] = {}
    for row in assembly.rows:
        kinds = clips.setdefault(row.split, {})
        kinds[row.kind] = kinds.get(row.kind, 0) + 1
    summary = Summary(counts, funnel, clips, failures + shard_failures, True, ran)
    told = {name: value for name, value in asdict(summary).items() if name != "ran"}
    told["settings"] = {name: asdict(part) for name, part in [("stages", stages), ("dataset", dataset), ("shards", shards)]}
    told["sources"] = [asdict(source) for source in sources]
    write_whole(folder / SUMMARY, json.dumps(told, indent=1) + "\n")
    return summary


def _other_records(folder: Path, tasks: list[SceneTask], replace: bool) -> list[Path]:
    """Records of scenes that the sources do not have; a build would leave these scenes out of the data set.

    Raises:
        BuildError: where something would be lost that may not be.
    """
    own = {Path(task.record).name for task in tasks}
    records = record_files(folder)
    others = [path for path in records if path.name not in own]
    if others and not replace:
        named = ", ".join(path.stem for path in others[:3]) + (", ..." if len(others) > 3 else "")
        raise BuildError(
            f"{folder} holds {len(others)} scenes that these sources do not have ({named}): name their sources too, which adds to the "
            "data set, or choose another `output`; `replace` takes them out."
        )
    made = [name for name in (MANIFEST, SHARDS, SUMMARY, REPORT) if (folder / name).exists()]
    if made and not records and not replace:
        raise BuildError(
            f"{folder} holds {', '.join(made)} but no records of scenes: a build would write over them; choose another `output`, or add "
            "`replace`."
        )
    return others


def scene_tasks(sources: Sequence[Source], stages: StageSettings, folder: Path) -> list[SceneTask]:
    """One task per scene of all sources, in order, each with a key of its own.

    Args:
        sources: where captures come from.
        stages: settings of the stages.
        folder: of the data set, in which the records lie.

    Raises:
        BuildError: for a source without scenes, or two scenes that cannot be told apart.
    """
    tasks: dict[str, SceneTask] = {}
    for source in sources:
        try:
            scenes = find_scenes(source.path, source.reader)
        except ReaderError as error:
            raise BuildError(str(error)) from error
        for reader, scene in scenes:
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


def _curate(tasks: list[SceneTask], executor: Executor, work: Work, progress: Progress) -> tuple[list[dict], dict[str, int]]:
    """Run the stages of all scenes: their summaries in the order of the tasks, and {stage: scenes in which it was run now}."""
    summaries: dict[int, dict] = {}
    ran: Counter[str] = Counter()
    progress("scenes", 0, len(tasks), {})
    for finished in executor.map(curate_scene, tasks):
        summary = finished.value or _given_up(tasks[finished.index], finished, work)
        ran.update(summary.pop("ran", []))
        summaries[finished.index] = summary
        progress("scenes", len(summaries), len(tasks), summary)
    return [summaries[index] for index in range(len(tasks))], dict(ran)


def _given_up(task: SceneTask, finished: Finished, work: Work) -> dict:
    """Record a scene whose worker was lost twice as failed; the next build tries it again."""
    if finished.problem == "timeout":
        reason = f"took longer than {work.timeout:g} s, twice (work.timeout)"
    else:
        reason = "its process died, twice (out of memory, or a crash in a library)"
    old = read_record(Path(task.record)) or {}
    stages = old.get("stages", {})
    record = {
        **new_record(task), "version": old.get("version", RECORD_VERSION), "stages": stages, "status": "failed", "stage": "worker",
        "reason": reason,
    }  # fmt: skip
    write_record(Path(task.record), record)
    return summary_of(record)


def _remove_leftovers(folder: Path) -> None:
    remove_leftovers(folder)
    for file in folder.glob(".*.part"):  # as they were named before
        file.unlink()

"""Runs the stages of a scene and keeps its record: what still holds is used again, and the record is written after every stage."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numba
import torch
from threadpoolctl import threadpool_limits

from data_curation.pipeline import STAGES, StageSettings
from data_curation.readers import ReaderError, scene_content
from data_curation.records import fingerprint, read_record, summary_of, write_record
from data_curation.scene import Scene
from video4spatial.clips.manifest import KINDS
from video4spatial.media import MediaError

RECORD_VERSION = 1
EXPECTED_ERRORS = (ReaderError, MediaError, OSError, ValueError)
"""What wrong input raises; anything else is a bug, of which the traceback is kept too."""


@dataclass(frozen=True)
class SceneTask:
    """All that a worker needs to curate a scene; plain values and paths.

    Args:
        key: of the scene; names its record.
        reader, scene, options: how to read it.
        settings: of the stages.
        record: file of its record.
    """

    key: str
    reader: str
    scene: str
    options: dict
    settings: StageSettings
    record: str


def curate_scene(task: SceneTask) -> dict:
    """Bring a scene's record up to date: run the stages whose results no longer hold, and write the record after each.

    Args:
        task: the scene.

    Returns:
        The summary of the record (`summary_of`), with the stages that were run. Wrong input and bugs alike end in a record with
        status `failed`; where not even that can be written, the summary alone says so.
    """
    path, ran = Path(task.record), []
    record = new_record(task)
    try:
        with single_threaded():
            for record in _stages_of(task, read_record(path) or {}, record, ran):
                write_record(path, record)
    except Exception as error:
        record = _failed(record, error)
        try:
            write_record(path, record)
        except OSError as write_error:
            record["reason"] += f"; its record cannot be written: {write_error.strerror or write_error}"
    return {**summary_of(record), "ran": ran}


def run_stages(task: SceneTask) -> dict:
    """The record of a scene, made anew and not written; errors are raised.

    Args:
        task: the scene; its `record` is not looked at.
    """
    record = new_record(task)
    with single_threaded():
        for _ in _stages_of(task, {}, record, []):
            pass
    return record


def new_record(task: SceneTask) -> dict:
    """The record of a scene of which nothing is known yet.

    Args:
        task: the scene.
    """
    return {"version": RECORD_VERSION, "key": task.key, "reader": task.reader, "scene": task.scene, "options": task.options}


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for every library: scenes share out the cores, and sums do not depend on how many there are."""
    before = torch.get_num_threads(), cv2.getNumThreads(), numba.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        numba.set_num_threads(before[2])


def _stages_of(task: SceneTask, old: dict, record: dict, ran: list[str]) -> Iterator[dict]:
    """Run the stages of a scene and yield its record as it grows. Results of the old record are used where they still hold."""
    scene = Scene(task.reader, task.scene, task.options)
    content = scene_content(task.reader, task.scene)
    prints: dict[str, str] = {}
    record.update(content=content, status="running", stages={})
    for name, stage in STAGES.items():
        settings = [getattr(task.settings, part) for part in stage.settings]
        plain = [None if part is None else asdict(part) for part in settings]
        start = fingerprint(RECORD_VERSION, task.reader, task.options, content)
        prints[name] = fingerprint(name, stage.version, plain, start, [prints[need] for need in stage.needs])
        result = old.get("stages", {}).get(name)
        if result is None or result["fingerprint"] != prints[name]:
            result = {**asdict(stage.run(scene, *settings)), "fingerprint": prints[name]}
            ran.append(name)
        record["stages"][name] = result
        scene.done[name] = result["data"]
        if result["stop"]:
            record.update(status="filtered", stage=name, reason=result["stop"])
            break
        if ran:
            yield record
    else:
        clips = sum(len(record["stages"][name]["data"]["clips"]) for name in KINDS)
        record.update(status="kept" if clips else "filtered", stage=name, reason=None if clips else "no_clips")
    if ran or record != old:
        yield record


def _failed(record: dict, error: Exception) -> dict:
    """The record of a scene in which a stage raised an error."""
    stages = record.get("stages", {})
    expected = isinstance(error, EXPECTED_ERRORS)
    told = " ".join(str(error).split()) or type(error).__name__
    return {
        **record,
        "stages": stages,
        "status": "failed",
        "stage": next((name for name in STAGES if name not in stages), "record"),
        "reason": told if expected else f"{type(error).__name__}: {told}",
        "traceback": None if expected else traceback.format_exc(),
    }

"""The stages of one scene, in order, each a pure function of what stands before it.

A stage reads the capture and the results of earlier stages, and returns plain values, so that a result can be kept in the scene's record
and used again. It is run again only if its own settings, its version, the scene's content or something it depends on has changed.
A stage is a function of `data_curation.stages` wired up here, and one line in `STAGES`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numba
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from data_curation.readers import ReaderError, SourceMissing, read_scene, scene_content
from data_curation.records import fingerprint, read_record, write_record
from data_curation.stages.approaches import (
    Approach,
    ApproachSettings,
    GroundingContextSettings,
    find_approaches,
    grounding_context_frames,
)
from data_curation.stages.context import ContextSettings, context_coverage, select_context, thin_depth
from data_curation.stages.cuts import cut_scores, shots
from data_curation.stages.dynamics import DynamicsScores, DynamicsSettings, DynamicsThresholds, moving_subject, score_dynamics
from data_curation.stages.epipolar import EpipolarSettings, epipolar_check
from data_curation.stages.frame_quality import FrameScores, FrameThresholds, rejected_frames, score_frames
from data_curation.stages.instructions import grounding_instructions, navigation_words
from data_curation.stages.objects import ObjectSettings, groundable_objects
from data_curation.stages.pose_quality import PoseThresholds, broken_steps, path_problem, score_poses, stretches
from data_curation.stages.reconstruction import (
    Reconstruction,
    ReconstructionError,
    ReconstructionSettings,
    reconstruct,
    with_cameras,
)
from data_curation.stages.visibility import Visibility, object_visibility
from data_curation.stages.windows import WindowSettings, navigation_windows
from video4spatial.cameras import Cameras
from video4spatial.captures import Capture
from video4spatial.clips.footage import MEDIAN_STEP
from video4spatial.media import MediaError

RECORD_VERSION = 1
EXPECTED_ERRORS = (ReaderError, MediaError, OSError, ValueError)
"""What wrong input raises; anything else is a bug, of which the traceback is kept too."""


@dataclass(frozen=True)
class WordSettings:
    """What is said about objects to find.

    Args:
        paraphrases: instructions per clip.
    """

    paraphrases: int = 4


@dataclass(frozen=True)
class StageSettings:
    """Settings of the stages, each explained where its stage is.

    Args:
        frame_quality: when a frame is left out.
        dynamics: how moving subjects are looked for.
        moving: when a capture shows one.
        reconstruction: how cameras are found (structure from motion) for captures that have none; null leaves these out.
        poses: when a step of the camera breaks the path.
        epipolar: how many pairs of frames are matched, and when cameras do not fit the pictures.
        windows: what a navigation target is.
        context: what a context is, and how much of the target it must show.
        objects: which objects can be searched for.
        approach: what a way to an object is.
        grounding: what the context of such a way is.
        words: what is said about them.
    """

    frame_quality: FrameThresholds = field(default_factory=FrameThresholds)
    dynamics: DynamicsSettings = field(default_factory=DynamicsSettings)
    moving: DynamicsThresholds = field(default_factory=DynamicsThresholds)
    reconstruction: ReconstructionSettings | None = None
    poses: PoseThresholds = field(default_factory=PoseThresholds)
    epipolar: EpipolarSettings = field(default_factory=EpipolarSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    approach: ApproachSettings = field(default_factory=ApproachSettings)
    grounding: GroundingContextSettings = field(default_factory=GroundingContextSettings)
    words: WordSettings = field(default_factory=WordSettings)


@dataclass(frozen=True)
class Result:
    """What a stage found.

    Args:
        data: plain values (numbers, texts, lists, mappings) for later stages.
        unit: what is counted: frames, windows, clips, objects or captures.
        kept: how many of them.
        filtered: {reason: how many were left out}.
        stop: the reason why the whole scene ends here, or None.
    """

    data: dict = field(default_factory=dict)
    unit: str = "captures"
    kept: int = 1
    filtered: dict[str, int] = field(default_factory=dict)
    stop: str | None = None


class Scene:
    """A scene under way. Its capture is opened when a stage first asks for it; earlier results are at hand by name."""

    def __init__(self, reader: str, name: str, options: dict):
        self.reader, self.name, self.options = reader, name, options
        self.done: dict[str, dict] = {}

    @cached_property
    def recording(self) -> Capture:
        """The capture as the reader yields it."""
        return read_scene(self.reader, self.name, **self.options)

    @cached_property
    def capture(self) -> Capture:
        """The capture with cameras: where they had to be found, frames that have none are left out."""
        found = self.done["cameras"]
        if "tried" not in found:
            return self.recording
        arrays = {name: torch.tensor(found[name], dtype=torch.float64) for name in ("camera_to_world", "intrinsics", "times")}
        cameras = Cameras(**arrays, metric=False, convention=found["convention"])
        details = found["points"], found["error_pixels"]
        return with_cameras(self.recording, Reconstruction(tuple(found["frames"]), tuple(found["tried"]), cameras, *details))

    @cached_property
    def depth(self) -> np.ndarray | None:
        """Small depth maps of all frames of `capture`."""
        return thin_depth(self.capture)

    @property
    def poor(self) -> np.ndarray:
        """[N] which frames of `capture` are of poor quality."""
        return np.array(self.done["frame_quality"]["poor"], dtype=bool)[self.done["cameras"]["frames"]]

    @property
    def stretches(self) -> list[range]:
        """Frames of `capture` between which the path does not break."""
        return [range(*ends) for ends in self.done["pose_quality"]["stretches"]]


@dataclass(frozen=True)
class Stage:
    """A step.

    Args:
        run: called with the scene and its settings, one argument each.
        needs: stages whose data it reads; the scene's content always counts.
        settings: fields of `StageSettings`, given in this order.
        version: raised when the code changes what it finds.
    """

    run: Callable[..., Result]
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    version: int = 1


def _ingest(scene: Scene) -> Result:
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
            "licence": capture.licence, "redistributable": capture.redistributable, "space": capture.space, "split": capture.split,
        },
        "frames", len(capture), left_out,
    )  # fmt: skip


def _frame_scores(scene: Scene) -> Result:
    scores = score_frames(scene.recording)
    return Result({name: values.tolist() for name, values in asdict(scores).items()}, "frames", len(scene.recording))


def _frame_quality(scene: Scene, thresholds: FrameThresholds) -> Result:
    scores = FrameScores(**{name: np.array(values) for name, values in scene.done["frame_scores"].items()})
    reasons = rejected_frames(scores, thresholds)
    poor = np.logical_or.reduce(list(reasons.values()))
    filtered, counted = {}, np.zeros(len(poor), bool)
    for reason, mask in reasons.items():  # a frame counts under its first reason
        filtered[reason] = int((mask & ~counted).sum())
        counted |= mask
    stop = None if len(poor) - poor.sum() >= 2 else "no_good_frames"
    return Result({"poor": poor.tolist()}, "frames", int((~poor).sum()), filtered, stop)


def _cuts(scene: Scene) -> Result:
    # Cameras tell jumps better than pictures do (`pose_quality`).
    capture = scene.recording
    found = shots(cut_scores(capture), 1) if capture.cameras is None else [range(len(capture))]
    return Result({"shots": [[shot.start, shot.stop] for shot in found]}, "shots", len(found))


def _dynamics_scores(scene: Scene, settings: DynamicsSettings) -> Result:
    scores = score_dynamics(scene.recording, settings)
    return Result({name: np.asarray(value).tolist() for name, value in asdict(scores).items()}, "pairs", len(scores.moving_share))


def _dynamics(scene: Scene, thresholds: DynamicsThresholds) -> Result:
    stored = scene.done["dynamics_scores"]
    arrays = {name: np.array(stored[name]) for name in ("frames", "tracked", "moving_share")}
    if not moving_subject(DynamicsScores(**arrays, tried=stored["tried"]), thresholds):
        return Result()
    return Result({}, "captures", 0, {"moving_subject": 1}, "moving_subject")


def _cameras(scene: Scene, settings: ReconstructionSettings | None) -> Result:
    cameras, frames = scene.recording.cameras, list(range(len(scene.recording)))
    data: dict = {}
    if cameras is None and settings is None:
        return Result({}, "captures", 0, {"no_cameras": 1}, "no_cameras")
    if cameras is None:
        try:
            found = reconstruct(scene.recording, settings)
        except ReconstructionError as error:
            return Result({"problem": str(error)}, "captures", 0, {"cameras_not_found": 1}, "cameras_not_found")
        cameras, frames = found.cameras, list(found.frames)
        data = {"tried": list(found.tried), "points": found.points, "error_pixels": found.error_pixels}
    return Result(
        {
            "camera_to_world": cameras.camera_to_world.tolist(),
            "intrinsics": cameras.intrinsics.tolist(),
            "metric": cameras.metric,
            "path": float(cameras.path_length()),
            "frames": frames,
            "times": np.asarray(scene.recording.times)[frames].tolist(),
            "convention": cameras.convention if data else scene.recording.provenance.get("convention", cameras.convention),
            **data,
        }
    )


def _pose_quality(scene: Scene, thresholds: PoseThresholds) -> Result:
    capture = scene.capture
    broken = broken_steps(score_poses(capture.cameras, capture.times), capture.cameras.metric, thresholds)
    starts = [start for start, _ in scene.done["cuts"]["shots"]]
    broken["cut"] = np.diff(np.searchsorted(starts, scene.done["cameras"]["frames"], side="right")) != 0
    whole = stretches(broken, len(capture))
    filtered = {reason: int(mask.sum()) for reason, mask in broken.items()}
    steps = len(capture) - 1 - int(np.logical_or.reduce(list(broken.values())).sum()) if len(capture) > 1 else 0
    stop = path_problem(capture.cameras, thresholds) or (None if whole else "path_broken")
    return Result({"stretches": [[part.start, part.stop] for part in whole]}, "steps", steps, filtered, stop)


def _epipolar(scene: Scene, settings: EpipolarSettings) -> Result:
    if settings.pairs == 0:
        return Result({"median_pixels": None})
    check = epipolar_check(scene.capture, settings.gap, settings.pairs)
    wrong = check.median_pixels is not None and check.median_pixels > settings.most_pixels
    reason = "cameras_do_not_fit_pictures"
    return Result(asdict(check), "captures", int(not wrong), {reason: 1} if wrong else {}, reason if wrong else None)


def _geometry(scene: Scene) -> Result:
    depth = scene.depth
    known = 0.0 if depth is None else float(np.mean((depth > 0).mean((1, 2)) > 0.3))
    return Result({"method": "depth" if known > 0.5 else "frustum", "frames_with_depth": known})


def _windows(scene: Scene, settings: WindowSettings) -> Result:
    windows = navigation_windows(scene.capture, scene.stretches, scene.poor, settings)
    return Result({"windows": [list(window) for window in windows.kept]}, "windows", len(windows.kept), windows.rejected)


def _navigation(scene: Scene, settings: ContextSettings) -> Result:
    clips, low = [], []
    times = np.asarray(scene.capture.times)
    for window in scene.done["windows"]["windows"]:
        context = select_context(scene.capture, tuple(window), ~scene.poor, settings, scene.depth)
        if context.coverage < settings.least_coverage:
            low.append(context.coverage)
            continue
        clips.append(
            {
                "target": window,
                "texts": [navigation_words(scene.capture.cameras[window], scene.capture.up_axis)],
                "scale": _scale(scene.capture.cameras[list(context.frames)]),
                "target_times": (times[window] - times[window[0]]).tolist(),
                "context": list(context.frames),
                "coverage": context.coverage,
                "anchor_coverage": context.anchor_coverage,
                "method": context.method,
            }
        )
    return Result({"clips": clips, "rejected_coverage": low}, "clips", len(clips), {"low_coverage": len(low)} if low else {})


def _objects(scene: Scene, settings: ObjectSettings) -> Result:
    choice = groundable_objects(scene.capture, settings)
    data = {"kept": list(choice.kept), "labels": list(choice.labels)}
    return Result(data, "objects", len(choice.kept), choice.rejected)


def _visibility(scene: Scene) -> Result:
    found = object_visibility(scene.capture, scene.done["objects"]["kept"])
    arrays = {name: getattr(found, name).tolist() for name in ("area", "visible", "boxes", "distance", "angle")}
    seen = int((found.area > 0).any(axis=1).sum()) if len(found.objects) else 0
    hidden = {"never_seen": len(found.objects) - seen} if seen < len(found.objects) else {}
    return Result({"objects": list(found.objects), "frames": list(found.frames), "method": found.method, **arrays}, "objects", seen, hidden)


def _approaches(scene: Scene, settings: ApproachSettings, context: GroundingContextSettings) -> Result:
    visibility = _stored_visibility(scene)
    if visibility.method == "box" and visibility.objects:
        # Without depth nobody knows whether a wall stands in between.
        return Result({"approaches": []}, "windows", 0, {"occlusion_unknown": len(visibility.objects)})
    found = find_approaches(scene.capture, visibility, ~scene.poor, scene.stretches, settings, context)
    plain = [{**asdict(approach), "boxes": approach.boxes.tolist(), "frames": list(approach.frames)} for approach in found.kept]
    return Result({"approaches": plain}, "windows", len(plain), found.rejected)


def _grounding(scene: Scene, approach_settings: ApproachSettings, settings: GroundingContextSettings, cover: ContextSettings, words: WordSettings) -> Result:
    visibility, capture = _stored_visibility(scene), scene.capture
    labels = dict(zip(scene.done["objects"]["kept"], scene.done["objects"]["labels"]))
    clips, filtered = [], {}
    for number, plain in enumerate(scene.done["approaches"]["approaches"]):
        approach = Approach(**{**plain, "frames": tuple(plain["frames"]), "boxes": np.array(plain["boxes"])})
        context = grounding_context_frames(capture, visibility, approach, ~scene.poor, settings)
        reason, shown = context if isinstance(context, str) else None, None
        if reason is None:
            shown = context_coverage(capture, approach.frames, context.frames, scene.depth)
            reason = "low_coverage" if shown.coverage < cover.least_coverage else None
        if reason is not None:
            filtered[reason] = filtered.get(reason, 0) + 1
            continue
        label = labels[approach.object]
        seed = int(fingerprint(capture.name, approach.object, number)[:8], 16)
        clips.append(
            {
                "target": list(approach.frames),
                "target_times": [index / approach_settings.frame_rate for index in range(len(approach.frames))],
                "context": list(context.frames),
                "coverage": shown.coverage,
                "anchor_coverage": shown.anchor_coverage,
                "method": shown.method,
                "scale": _scale(capture.cameras[list(context.frames)]),
                "origin": approach.origin,
                "texts": list(grounding_instructions(label, seed, words.paraphrases)),
                "label": label,
                "instance_id": capture.objects[approach.object].instance_id,
                "region_frame": context.frames.index(context.region_frame),
                "region_box": list(context.region_box),
                "boxes": [None if np.isnan(box).any() else box.tolist() for box in approach.boxes],
                "scores": approach.parts,
            }
        )
    return Result({"clips": clips}, "clips", len(clips), filtered)


def _stored_visibility(scene: Scene) -> Visibility:
    plain = scene.done["visibility"]
    arrays = {name: np.array(plain[name], dtype=np.float64) for name in ("area", "visible", "boxes", "distance", "angle")}
    if not plain["objects"]:
        shapes = {"boxes": (0, len(plain["frames"]), 4)}
        arrays = {name: np.zeros(shapes.get(name, (0, len(plain["frames"])))) for name in arrays}
    return Visibility(tuple(plain["objects"]), tuple(plain["frames"]), **arrays, method=plain["method"])


def _scale(cameras: Cameras) -> float:
    """Factor that brings the lengths of a context's cameras to the model's."""
    step = cameras.median_step()
    return 1.0 if cameras.metric or step < 1e-9 else MEDIAN_STEP / step


STAGES: dict[str, Stage] = {
    "ingest": Stage(_ingest),
    "frame_scores": Stage(_frame_scores),
    "frame_quality": Stage(_frame_quality, ("frame_scores",), ("frame_quality",)),
    "cuts": Stage(_cuts),
    "dynamics_scores": Stage(_dynamics_scores, (), ("dynamics",)),
    "dynamics": Stage(_dynamics, ("dynamics_scores",), ("moving",)),
    "cameras": Stage(_cameras, (), ("reconstruction",)),
    "pose_quality": Stage(_pose_quality, ("cameras", "cuts"), ("poses",)),
    "epipolar": Stage(_epipolar, ("cameras",), ("epipolar",)),
    "geometry": Stage(_geometry, ("cameras",)),
    "windows": Stage(_windows, ("frame_quality", "pose_quality"), ("windows",)),
    "navigation": Stage(_navigation, ("windows", "geometry"), ("context",)),
    "objects": Stage(_objects, ("cameras",), ("objects",)),
    "visibility": Stage(_visibility, ("objects",)),
    "approaches": Stage(_approaches, ("visibility", "frame_quality", "pose_quality"), ("approach", "grounding")),
    "grounding": Stage(_grounding, ("approaches", "geometry"), ("approach", "grounding", "context", "words")),
}
"""Stages by name, in order."""


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

    Returns:
        The summary of the record (`summary_of`), with the stages that were run. Wrong input and bugs alike end in a record with
        status `failed`; where not even that can be written, the summary alone says so.
    """
    path, ran = Path(task.record), []
    record = {"version": RECORD_VERSION, "key": task.key, "reader": task.reader, "scene": task.scene, "options": task.options}
    try:
        with single_threaded():
            for record in stages_of(task, read_record(path) or {}, record, ran):
                write_record(path, record)
    except Exception as error:
        stage = next((name for name in STAGES if name not in record.get("stages", {})), "record")
        expected = isinstance(error, EXPECTED_ERRORS)
        told = " ".join(str(error).split()) or type(error).__name__
        record = {
            **record, "stages": record.get("stages", {}), "status": "failed", "stage": stage,
            "reason": told if expected else f"{type(error).__name__}: {told}",
            "traceback": None if expected else traceback.format_exc(),
        }  # fmt: skip
        try:
            write_record(path, record)
        except OSError as write_error:
            record["reason"] += f"; its record cannot be written: {write_error.strerror or write_error}"
    return {**summary_of(record), "ran": ran}


def run_stages(task: SceneTask) -> dict:
    """The record of a scene, made anew and not written; errors are raised."""
    record: dict = {"version": RECORD_VERSION, "key": task.key, "reader": task.reader, "scene": task.scene, "options": task.options}
    with single_threaded():
        for _ in stages_of(task, {}, record, []):
            pass
    return record


def stages_of(task: SceneTask, old: dict, record: dict, ran: list[str]) -> Iterator[dict]:
    """Run the stages of a scene; yields its record as it grows, with results of the old one where they still hold."""
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
        clips = sum(len(record["stages"][name]["data"]["clips"]) for name in CLIP_STAGES)
        record.update(status="kept" if clips else "filtered", stage=name, reason=None if clips else "no_clips")
    if ran or record != old:
        yield record


CLIP_STAGES = {"navigation": "navigation", "grounding": "grounding"}
"""Stages whose data hold clips, and the kind of these."""


def summary_of(record: dict) -> dict:
    """What is told of a scene while a build runs: status, counts by stage, number of clips by kind."""
    stages = record["stages"]
    return {
        **{name: record.get(name) for name in ("key", "reader", "scene", "status", "stage", "reason")},
        "counts": {
            name: {"unit": result["unit"], "kept": result["kept"], "filtered": result["filtered"]} for name, result in stages.items()
        },
        "clips": {kind: len(stages[name]["data"]["clips"]) for name, kind in CLIP_STAGES.items() if name in stages},
    }


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

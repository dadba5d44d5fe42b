"""Benchmark of finding objects in simulated rooms: ways that are planned, and references that show what a figure is worth."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.aggregation import paired_differences, rows_over_clips
from video4spatial.evaluation.benchmark import Recording, row_inputs
from video4spatial.evaluation.grounding_set import GroundingEntry
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import GROUNDING_METRICS
from video4spatial.evaluation.rows.grounding import GROUNDING_ROWS, GroundingVideo
from video4spatial.evaluation.rows.inputs import NotApplicable
from video4spatial.evaluation.scoring import ScoringPool
from video4spatial.grounding.boxes import box_ious, projected_boxes
from video4spatial.naming import unknown
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline
from video4spatial.waits import counted

BOX = "answer_box_iou"
"""The metric that rows with an answer bring themselves."""

SHORT = {
    "instruction_followed": "if", "if_at_sd": "if_at_sd", "spatial_distance_v1": "sd", "box_iou": "iou", BOX: "box_iou",
}  # fmt: skip
"""What metrics are called in the results file; others keep their names."""


def benchmark_grounding(
    pipeline: Video4SpatialPipeline,
    clips: Sequence[Clip | GroundingEntry],
    rows: Sequence[str] = tuple(GROUNDING_ROWS),
    *,
    generation: GenerationSettings = GenerationSettings(),
    recording: Recording | None = None,
    processes: int = 1,
    progress: bool = True,
) -> tuple[list[dict], dict]:
    """Score ways to objects on the same clips.

    Args:
        pipeline: the model that follows the ways; entries of test sets are loaded at its size.
        clips: with a region each; of at least two scenes if `other_scene_context` is to apply.
        rows: names from `GROUNDING_ROWS`.
        generation: how the model is run.
        recording: where to put the figures and videos of single clips, if they are wanted.
        processes: how many score at the same time, beside the one that samples; the result does not depend on it.
        progress: whether to show a progress bar.

    Returns:
        Rows and settings for `write_results`. The settings' `paired_differences` hold the first row minus every other one on the same
        clips with its interval, `not_found` how often each row found nothing, and `remarks` why.

    Raises:
        ValueError: for unknown rows, or no clips.
    """
    problems = [unknown("row", name, GROUNDING_ROWS) for name in rows if name not in GROUNDING_ROWS]
    if problems or not clips:
        raise ValueError("; ".join(problems or ["there are no clips to score"]) + ".")
    metrics = [*GROUNDING_METRICS, BOX]
    answers: dict[str, list[Measurement]] = {name: [] for name in rows}
    remarks: dict[str, list[str]] = {name: [] for name in rows}
    others = "other_scene_context" in rows and len({clip.scene for clip in clips}) > 1
    absent = {} if others else {"other_scene_context": "there is no clip of another scene"}
    usable = [name for name in rows if name not in absent]
    with counted("scoring videos", len(usable) * len(clips), shown=progress) as wait, ScoringPool(processes, metrics, wait.advance) as pool:
        for inputs in row_inputs(pipeline, clips, generation, others):
            for name in usable:
                wait.describe(name)
                try:
                    video = GROUNDING_ROWS[name](inputs)
                except NotApplicable as error:
                    pool.refuse(name, inputs.clip, str(error), "not_applicable")
                    answers[name].append(Measurement(None, "not_applicable", str(error)))
                    continue
                pool.submit(name, inputs.clip, video.frames)
                answers[name].append(box_of_answer(inputs.clip, video))
                remarks[name] += [f"{inputs.clip.name}: {video.remark}"] * bool(video.remark)
                if recording is not None and name in recording.keep_frames:
                    recording.frames.setdefault(name, {})[inputs.clip.name] = video.frames
        scored = {name: [] for name in rows} | pool.results()
    scored = {
        name: [replace(clip, measurements={**clip.measurements, BOX: box}) for clip, box in zip(entries, answers[name])]
        for name, entries in scored.items()
    }
    if recording is not None:
        recording.clips.update(scored)
    first = next(iter(rows))
    paired = paired_differences(scored[first], {name: entries for name, entries in scored.items() if name != first}, metrics)
    settings = {
        "clips": len(clips),
        "scenes": len({clip.scene for clip in clips}),
        **{name: pipeline.config[name] for name in ("context_frames", "geometry_frames", "height", "width")},
        "num_inference_steps": generation.num_inference_steps or pipeline.config.num_inference_steps,
        "seed": generation.seed,
        "interval": "bootstrap over scenes, 95 %",
        "not_found": {name: len(remarks[name]) for name in usable},
        "remarks": {name: entries for name, entries in remarks.items() if entries},
        "paired_differences": {row: _short(cells) for row, cells in paired.items()},
    }
    results = rows_over_clips(scored, metrics, absent)
    return [{**row, "metrics": _short(row["metrics"])} for row in results], settings


def box_of_answer(clip: Clip, video: GroundingVideo) -> Measurement:
    """How far the box that a row takes the object to have on its last frame overlaps that which it has where the way truly ends.

    Args:
        clip: with the true object and the true camera of the anchor.
        video: of the row.
    """
    if video.box is None:
        return Measurement(None, "not_applicable", "the row does not say where the object is")
    if video.path is None:
        return Measurement(0.0)
    start = clip.context_cameras[clip.anchor]
    end = replace(video.path, metric=start.metric).placed_at(start)[-1]
    true = projected_boxes(clip.target_object, end)
    overlap = box_ious(video.box[None], true)[0]
    return Measurement(0.0 if np.isnan(overlap) else float(overlap))


def _short(cells: dict) -> dict:
    return {SHORT.get(name, name): cell for name, cell in cells.items()}

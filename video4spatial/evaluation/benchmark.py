"""Benchmark of a model on navigation clips, always beside the reference rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.aggregation import paired_differences, rows_over_clips
from video4spatial.evaluation.metrics import METRICS, NAVIGATION_METRICS
from video4spatial.evaluation.rows.inputs import NEEDS, NotApplicable, PeerError, RowInputs
from video4spatial.evaluation.rows.references import fit_blur
from video4spatial.evaluation.rows import ROWS, Row
from video4spatial.evaluation.scoring import ScoredClip, ScoringPool
from video4spatial.evaluation.test_set import TestEntry
from video4spatial.naming import unknown
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline
from video4spatial.waits import counted

NAVIGATION_ROWS = tuple(ROWS)
"""Names of all rows, in the order of results files."""

SEEN_ROWS = tuple(name for name, row in ROWS.items() if row.seen)
"""Rows on new paths through the scenes that a second model was trained on."""


@dataclass
class Recording:
    """What a benchmark keeps of single clips; it fills the two dictionaries while it runs.

    Args:
        keep_frames: rows whose videos are kept.
        clips: {row: clips in the order of the test set}.
        frames: {row: {clip name: [T, H, W, 3] uint8}}.
    """

    keep_frames: Sequence[str] = ()
    clips: dict[str, list[ScoredClip]] = field(default_factory=dict)
    frames: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


def benchmark_navigation(
    pipeline: Video4SpatialPipeline,
    clips: Sequence[Clip | TestEntry],
    rows: Sequence[str] = NAVIGATION_ROWS,
    *,
    metrics: Sequence[str] = NAVIGATION_METRICS,
    generation: GenerationSettings = GenerationSettings(),
    seen_pipeline: Video4SpatialPipeline | None = None,
    seen_clips: Sequence[Clip | TestEntry] = (),
    validation_clips: Sequence[Clip] = (),
    peer: Callable[[Clip, int], np.ndarray] | None = None,
    recording: Recording | None = None,
    processes: int = 1,
    progress: bool = True,
) -> tuple[list[dict], dict]:
    """Score a model and the reference rows on the same clips.

    Args:
        pipeline: the model under test; its size must be that of the clips (entries of test sets are loaded at its size).
        clips: of at least two scenes if `other_scene_context` is to apply, where each borrows the context of another.
        rows: names from `NAVIGATION_ROWS`.
        metrics: names from the registry.
        generation: how the models are run.
        seen_pipeline, seen_clips: a model trained on few scenes, and new paths through those scenes, for `SEEN_ROWS`.
        validation_clips: for fitting the blur of `copy_nearest_blurred`; never clips that are scored.
        peer: (clip, noise) -> [T, H, W, 3] uint8, for the row `image_to_video`.
        recording: where to put the figures and videos of single clips, if they are wanted.
        processes: how many score at the same time, beside the one that samples; the result does not depend on it.
        progress: whether to show a progress bar.

    Returns:
        Rows and settings for `write_results`. A row whose inputs are not given has cells `not_applicable`. The settings'
        `paired_differences` hold, for each metric, `model` minus every other row on the same clips with its interval.

    Raises:
        ValueError: for unknown rows or metrics, or no clips.
    """
    _check(clips, rows, metrics)
    needed = {need for name in rows for need in ROWS[name].needs}
    blur = fit_blur(validation_clips) if validation_clips and "blur_sigma" in needed else None
    given = {"other": len({clip.scene for clip in clips}) > 1, "blur_sigma": blur is not None, "image_to_video": peer is not None}
    absent = {name: NEEDS[need] for name in rows for need in ROWS[name].needs if not given[need]}
    if seen_pipeline is None or not seen_clips:
        absent |= dict.fromkeys(SEEN_ROWS, "there is no second model with clips of the scenes that it was trained on")
    usable = [ROWS[name] for name in rows if name not in absent]
    on_test, on_seen = [row for row in usable if not row.seen], [row for row in usable if row.seen]
    total = len(on_test) * len(clips) + len(on_seen) * len(seen_clips)
    with counted("scoring videos", total, shown=progress) as wait, ScoringPool(processes, metrics, wait.advance) as pool:
        begin = wait.describe
        others = any("other" in row.needs for row in usable)
        _run(on_test, row_inputs(pipeline, clips, generation, others, blur_sigma=blur, image_to_video=peer), pool, recording, begin)
        _run(on_seen, row_inputs(seen_pipeline, seen_clips if on_seen else (), generation, False), pool, recording, begin)
        scored = {name: [] for name in rows} | pool.results()
    if recording is not None:
        recording.clips.update(scored)
    compared = {name: entries for name, entries in scored.items() if name != "model" and name not in SEEN_ROWS}
    settings = {
        "clips": len(clips),
        "scenes": len({clip.scene for clip in clips}),
        "seen_clips": len(seen_clips) if on_seen else 0,
        **{name: pipeline.config[name] for name in ("context_frames", "height", "width")},
        "num_inference_steps": generation.num_inference_steps or pipeline.config.num_inference_steps,
        "guidance_scale": 1.0 if generation.guidance is None else generation.guidance.guidance_scale,
        "seed": generation.seed,
        "blur_sigma_at_64": blur,
        "interval": "bootstrap over scenes, 95 %",
        "paired_differences": paired_differences(scored.get("model", ()), compared, metrics),
    }
    return rows_over_clips(scored, metrics, absent), settings


def _check(clips: Sequence[Clip | TestEntry], rows: Sequence[str], metrics: Sequence[str]) -> None:
    problems = [unknown("row", name, ROWS) for name in rows if name not in ROWS]
    problems += [unknown("metric", name, METRICS) for name in metrics if name not in METRICS]
    if not clips:
        problems.append("there are no clips to score")
    if problems:
        raise ValueError("; ".join(problems) + ".")


def row_inputs(
    pipeline: Video4SpatialPipeline, clips: Sequence[Clip | TestEntry], generation: GenerationSettings, others: bool, **more
) -> Iterator[RowInputs]:
    """What rows are made from, clip by clip.

    Args:
        pipeline: the model; entries of test sets are loaded at its size.
        clips: to score.
        generation: how the model is run.
        others: whether a clip of another scene is wanted beside each.
        **more: further fields of `RowInputs`.
    """

    def loaded(entry: Clip | TestEntry) -> Clip:
        return entry if isinstance(entry, Clip) else entry.load(pipeline.config.height, pipeline.config.width)

    for index, entry in enumerate(clips):
        other = loaded(_of_another_scene(clips, index)) if others else None
        yield RowInputs(loaded(entry), pipeline, generation, index, other, **more)


def _of_another_scene(clips: Sequence[Clip | TestEntry], index: int) -> Clip | TestEntry:
    """The next clip of another scene; after the last comes the first."""
    following = (clips[(index + step) % len(clips)] for step in range(1, len(clips)))
    return next(clip for clip in following if clip.scene != clips[index].scene)


def _run(
    rows: Sequence[Row], inputs: Iterable[RowInputs], pool: ScoringPool, recording: Recording | None, begin: Callable[[str], None]
) -> None:
    """Make every row's video of every clip and have it scored; `begin` is told the row."""
    for of_clip in inputs:
        for row in rows:
            begin(row.name)
            try:
                frames = row.frames(of_clip)
            except (PeerError, NotApplicable) as error:
                status = "missing" if isinstance(error, PeerError) else "not_applicable"
                pool.refuse(row.name, of_clip.clip, str(error), status)
                continue
            # Always scored against the whole clip, so that co-visible pixels are the same in every row.
            pool.submit(row.name, of_clip.clip, frames)
            if recording is not None and row.name in recording.keep_frames:
                recording.frames.setdefault(row.name, {})[of_clip.clip.name] = frames

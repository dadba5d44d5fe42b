"""Benchmark of a model on navigation clips, always beside the reference rows."""

import logging
import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from video4spatial.clips import Clip
from video4spatial.clips.simulated import evenly_spread
from video4spatial.evaluation.rows import peers, references
from video4spatial.evaluation.comparison import ScoredClip
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics.registry import METRICS, NAVIGATION_METRICS
from video4spatial.evaluation.results import metric as result_cell
from video4spatial.evaluation.scorecard import aggregate, paired_difference, score_clip
from video4spatial.evaluation.test_set import TestClip, nested_contexts
from video4spatial.models.autoencoder import decode, encode, frames_to_tensor, tensor_to_frames
from video4spatial.pipelines import Video4SpatialPipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelRow:
    """A row that runs the model.

    Args:
        context: (clip, the next clip, number of frames the model was trained with) -> the clip whose context it is shown.
        context_cameras: whether the model is told the cameras of the context.
        context_frames: whether it is shown the context at all; otherwise it gets the anchor frame alone, outside any
            scene.
    """

    context: Callable[[Clip, Clip, int], Clip]
    context_cameras: bool = False
    context_frames: bool = True


def _trained_length(clip: Clip, count: int) -> Clip:
    """The clip with `count` evenly spread context frames, or all where it has fewer."""
    total = len(clip.context_frames)
    return clip.with_context(evenly_spread(total, min(count, total), clip.anchor))


MODEL_ROWS: dict[str, ModelRow] = {
    "model": ModelRow(lambda clip, other, count: _trained_length(clip, count)),
    "model_with_context_cameras": ModelRow(
        lambda clip, other, count: _trained_length(clip, count), context_cameras=True
    ),
    "context_2": ModelRow(lambda clip, other, count: nested_contexts(clip)[2]),
    "context_8": ModelRow(lambda clip, other, count: nested_contexts(clip)[8]),
    "context_32": ModelRow(lambda clip, other, count: nested_contexts(clip)[32]),
    "other_scene_context": ModelRow(
        lambda clip, other, count: references.other_scene_context(
            _trained_length(clip, count), _trained_length(other, count)
        )
    ),
    "anchor_only": ModelRow(lambda clip, other, count: references.anchor_only(clip)),
    "no_context": ModelRow(lambda clip, other, count: references.anchor_only(clip), context_frames=False),
}
"""Rows that run the model under test on the test clips."""

SEEN_ROWS = ("seen_scenes", "seen_scenes_with_context_cameras", "seen_scenes_static")
"""Rows on new paths through the scenes that a second model was trained on: that model, and the anchor repeated."""

PEER_ROWS = ("reconstruct_and_render", "image_to_video")
"""Other ways to make the video, see `peers`."""

NAVIGATION_ROWS = (
    "model", "model_with_context_cameras", *SEEN_ROWS, "context_2", "context_8", "context_32",
    "ground_truth", "ground_truth_blurred", "vae_ceiling", "copy_nearest", "copy_nearest_blurred", "mean_colour",
    "static", "reversed", "shuffled", "other_scene_context", "anchor_only", "no_context",
    *PEER_ROWS,
)  # fmt: skip
"""All rows, in the order of results files."""


@dataclass(frozen=True)
class Sampling:
    """How the model is sampled; noise depends on the seed and the clip's place alone, so that rows are paired."""

    num_inference_steps: int = 16
    guidance_scale: float = 1.0
    seed: int = 0


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


def generate(
    pipeline: Video4SpatialPipeline,
    clip: Clip,
    sampling: Sampling,
    noise: int = 0,
    row: ModelRow = MODEL_ROWS["model"],
) -> np.ndarray:
    """Sample one clip.

    Args:
        pipeline: the model.
        clip: whose context, anchor and cameras are given to it.
        sampling: steps, guidance and seed.
        noise: added to the seed.
        row: what else the model is told.

    Returns:
        [T, H, W, 3] uint8.
    """
    context = anchor_frame = None
    if row.context_frames:
        cameras = clip.context_cameras if row.context_cameras else None
        context = pipeline.encode_context(clip.context_frames, clip.context_times, cameras=cameras)
    else:
        anchor_frame = clip.context_frames[clip.anchor]
    output = pipeline(
        context,
        clip.instruction,
        anchor=clip.anchor,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        generator=torch.Generator().manual_seed(sampling.seed + noise),
        anchor_frame=anchor_frame,
    )
    return output.frames


def benchmark_navigation(
    pipeline: Video4SpatialPipeline,
    clips: Sequence[Clip | TestClip],
    rows: Sequence[str] = NAVIGATION_ROWS,
    *,
    metrics: Sequence[str] = NAVIGATION_METRICS,
    sampling: Sampling = Sampling(),
    seen_pipeline: Video4SpatialPipeline | None = None,
    seen_clips: Sequence[Clip | TestClip] = (),
    validation_clips: Sequence[Clip] = (),
    peer: Callable[[Clip, int], np.ndarray] | None = None,
    recording: Recording | None = None,
    processes: int = 1,
    progress: bool = True,
) -> tuple[list[dict], dict]:
    """Score a model and the reference rows on the same clips.

    Args:
        pipeline: the model under test; its size must be that of the clips (test clips are rendered at its size).
        clips: at least two of different scenes, because each lends its context to another in `other_scene_context`.
        rows: names from `NAVIGATION_ROWS`.
        metrics: names from the registry.
        sampling: how the models are sampled.
        seen_pipeline, seen_clips: a model trained on few scenes, and unseen paths in those scenes, for the rows
            `SEEN_ROWS`.
        validation_clips: for fitting the blur of `copy_nearest_blurred`; never clips that are scored.
        peer: (clip, noise) -> [T, H, W, 3] uint8, for the row `image_to_video`.
        recording: where to put the figures and videos of single clips, if they are wanted.
        processes: how many score at the same time, beside the one that samples; the result does not depend on it.
        progress: whether to show a progress bar.

    Returns:
        Rows and settings for `write_results`. A row whose inputs are not given has cells `not_applicable`. Under the
        settings' `paired_differences` stands, for each metric, `model` minus every other row on the same clips with its
        interval.

    Raises:
        ValueError: for unknown rows or metrics, or too few clips.
    """
    problems = []
    unknown = [name for name in rows if name not in NAVIGATION_ROWS]
    if unknown:
        problems.append(f"unknown row {', '.join(unknown)}: choose from {', '.join(NAVIGATION_ROWS)}")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        problems.append(f"unknown metric {', '.join(unknown)}: choose from {', '.join(METRICS)}")
    if not clips:
        problems.append("there are no clips to score")
    elif "other_scene_context" in rows and len({clip.scene for clip in clips}) < 2:
        problems.append("other_scene_context needs clips of at least two scenes")
    if problems:
        raise ValueError("; ".join(problems) + ".")

    blur = references.fit_blur(validation_clips) if validation_clips and "copy_nearest_blurred" in rows else None
    seen_given = seen_pipeline is not None and len(seen_clips) > 0
    given = {
        **{name: seen_given for name in SEEN_ROWS},
        "copy_nearest_blurred": blur is not None,
        "image_to_video": peer is not None,
    }
    on_clips = [name for name in rows if given.get(name, True) and name not in SEEN_ROWS]
    on_seen = [name for name in rows if given.get(name, True) and name in SEEN_ROWS]
    total = len(on_clips) * len(clips) + len(on_seen) * len(seen_clips)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, disable=not progress, transient=True) as bar, _Scorers(processes, metrics) as scorers:
        task = bar.add_task("navigation", total=total)

        def score(name: str, clip: Clip, frames: np.ndarray) -> None:
            # Always scored against the whole clip, so that co-visible pixels are the same in every row.
            scorers.submit(name, clip, frames, done=lambda: bar.advance(task))
            if recording is not None and name in recording.keep_frames:
                recording.frames.setdefault(name, {})[clip.name] = frames

        for index, entry in enumerate(clips):
            clip, other = _loaded(entry, pipeline), _loaded(_of_another_scene(clips, index), pipeline)
            for name in on_clips:
                bar.update(task, description=f"{name:26}")
                if name in MODEL_ROWS:
                    row = MODEL_ROWS[name]
                    shown = row.context(clip, other, pipeline.config.context_frames)
                    score(name, clip, generate(pipeline, shown, sampling, index, row))
                elif name in PEER_ROWS:
                    try:
                        frames = peers.reconstruct_and_render(clip) if name == "reconstruct_and_render" else peer(clip, index)
                    except peers.PeerError as error:
                        scorers.refuse(name, clip, str(error), done=lambda: bar.advance(task))
                    else:
                        score(name, clip, frames)
                else:
                    score(name, clip, _reference_frames(name, clip, blur, pipeline))
        for index, entry in enumerate(seen_clips if on_seen else ()):
            clip = _loaded(entry, seen_pipeline)
            for name in on_seen:
                bar.update(task, description=f"{name:26}")
                if name == "seen_scenes_static":
                    frames = references.FRAME_REFERENCES["static"](clip)
                else:
                    row = MODEL_ROWS["model_with_context_cameras" if name.endswith("cameras") else "model"]
                    shown = row.context(clip, clip, seen_pipeline.config.context_frames)
                    frames = generate(seen_pipeline, shown, sampling, index, row)
                score(name, clip, frames)
        scored = {name: [] for name in rows} | scorers.results()
    if recording is not None:
        recording.clips.update(scored)
    measurements = {
        name: [(entry.scene, entry.measurements) for entry in entries] for name, entries in scored.items()
    }

    settings = {
        "clips": len(clips),
        "scenes": len({clip.scene for clip in clips}),
        "seen_clips": len(seen_clips) if on_seen else 0,
        "context_frames": pipeline.config.context_frames,
        "height": pipeline.config.height,
        "width": pipeline.config.width,
        "num_inference_steps": sampling.num_inference_steps,
        "guidance_scale": sampling.guidance_scale,
        "seed": sampling.seed,
        "blur_sigma_at_64": blur,
        "interval": "bootstrap over scenes, 95 %",
        "paired_differences": _paired(measurements, metrics),
    }
    return [_result_row(name, measurements[name], metrics) for name in rows], settings


def _score_pickled(arguments: bytes) -> dict[str, Measurement]:
    return score_clip(*pickle.loads(arguments))


class _Scorers:
    """Scores clips here, or in processes of their own; results come in the order they were asked for."""

    def __init__(self, processes: int, metrics: Sequence[str]):
        self.metrics = metrics
        self.pool = None
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
        self.asked: list[tuple[str, ScoredClip, Future]] = []  # the clips without measurements as yet

    def __enter__(self) -> "_Scorers":
        return self

    def __exit__(self, *exception) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def submit(self, name: str, clip: Clip, frames: np.ndarray, done: Callable[[], None]) -> None:
        """Have one video of a row scored."""
        if self.pool is None:
            future = Future()
            future.set_result(score_clip(clip, frames, self.metrics))
        else:
            # Plain pickle copies: the pool's own would move the clip's tensors to shared memory, under whoever views them.
            future = self.pool.submit(_score_pickled, pickle.dumps((clip, frames, self.metrics)))
        self._ask(name, clip, future, done)

    def refuse(self, name: str, clip: Clip, reason: str, done: Callable[[], None]) -> None:
        """A row that has no video of a clip: everything is missing."""
        future = Future()
        future.set_result({metric: Measurement.missing(reason) for metric in self.metrics})
        self._ask(name, clip, future, done)

    def _ask(self, name: str, clip: Clip, future: Future, done: Callable[[], None]) -> None:
        future.add_done_callback(lambda _: done())
        self.asked.append((name, ScoredClip.of(clip, {}), future))

    def results(self) -> dict[str, list[ScoredClip]]:
        """Scored clips by row, once all are done."""
        results: dict[str, list[ScoredClip]] = {}
        for name, entry, future in self.asked:
            results.setdefault(name, []).append(replace(entry, measurements=future.result()))
        return results


def _loaded(entry: Clip | TestClip, pipeline: Video4SpatialPipeline) -> Clip:
    return entry.load(size=pipeline.config.height) if isinstance(entry, TestClip) else entry


def _of_another_scene(clips: Sequence[Clip | TestClip], index: int) -> Clip | TestClip:
    """The next clip of another scene, round the corner; the clip itself where there is none."""
    following = (clips[(index + step) % len(clips)] for step in range(1, len(clips)))
    return next((clip for clip in following if clip.scene != clips[index].scene), clips[index])


def _reference_frames(name: str, clip: Clip, blur: float | None, pipeline: Video4SpatialPipeline) -> np.ndarray:
    if name == "vae_ceiling":
        return references.vae_ceiling(clip, lambda frames: _through_autoencoder(pipeline, frames))
    if name == "copy_nearest_blurred":
        return references.copy_nearest_blurred(clip, blur)
    return references.FRAME_REFERENCES[name](clip)


@torch.no_grad()
def _through_autoencoder(pipeline: Video4SpatialPipeline, frames: np.ndarray) -> np.ndarray:
    latents = encode(pipeline.vae, frames_to_tensor(frames, pipeline.vae.device))
    return tensor_to_frames(decode(pipeline.vae, latents))[: len(frames)]


def _result_row(name: str, scored: list[tuple[str, dict[str, Measurement]]], metrics: Sequence[str]) -> dict:
    if not scored:
        return {"name": name, "metrics": {metric: result_cell(None, status="not_applicable") for metric in metrics}}
    cells = {
        metric: aggregate(METRICS[metric], [(scene, values[metric]) for scene, values in scored]).cell()
        for metric in metrics
    }
    return {"name": name, "metrics": cells}


def _paired(measurements: dict, metrics: Sequence[str]) -> dict:
    """{row: {metric: model - row}} for all rows over the same clips as `model`."""
    model = measurements.get("model")
    if not model:
        return {}
    return {
        name: {
            metric: paired_difference(
                METRICS[metric],
                [(scene, values[metric]) for scene, values in model],
                [(scene, values[metric]) for scene, values in scored],
            )
            for metric in metrics
        }
        for name, scored in measurements.items()
        if name != "model" and name not in SEEN_ROWS and scored
    }

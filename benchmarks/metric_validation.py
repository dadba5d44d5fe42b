"""What every metric sees of known faults, from which level on, and which cheats it accepts.

    python benchmarks/metric_validation.py [--clips 6] [--metrics NAMES] [--processes 2]
        [--output benchmarks/results/metric_validation.json]

True videos of simulated test clips are made worse by degrees (`video4spatial.evaluation.faults`) and scored by every metric of
the registry. Each metric has a row: the least Spearman correlation between level and deterioration over the degradations that it
declares to see, the level from which on the change is sure (as a share of the strongest), and the number of cheats that it accepts.
The row `scorecard` has the same for the headline metrics together, which `validation.headline` chooses by rule. Cheats imitate an
honest row: the truth through the autoencoder of the built-in model (at the size of the clips), or the model itself, told the
context's cameras (at its own size). Rows named after an estimator have its error on true videos by resolution, texture and blur.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from video4spatial.clips import Clip
from video4spatial.evaluation.aggregation import aggregate
from video4spatial.evaluation.faults import CHEATS, GRADED, Stage, backwards, blur, cheats, film, texture_faded
from video4spatial.evaluation.estimators import ESTIMATORS, Evidence
from video4spatial.evaluation.measurement import Measurement, Metric, Sample
from video4spatial.evaluation.metrics import METRICS, metrics_named
from video4spatial.evaluation.results import write_results
from video4spatial.evaluation.rows.model import RowInputs, model_with_context_cameras, through_autoencoder
from video4spatial.evaluation.scoring import score_clip
from video4spatial.evaluation.test_set import TestClip, load_test_set
from video4spatial.evaluation.validation import Measured, accepts, headline, validation_row, video_name
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline
from video4spatial.pretrained import resolve_model
from video4spatial.simulation.scenes import generate_scene

MODEL = "rooms"
HONEST_ROWS = ("vae_ceiling", MODEL)
CLEARANCE = 0.2
"""Metres from walls and furniture that a clip's path must keep when it is walked backwards."""

CAMERA_METRICS = ("rotation_error_deg", "translation_error")
ESTIMATORS_TRIED = ("render_and_compare", "pnp", "essential")
"""Structure from motion takes longer than all others together; docs/estimators.md has it on real captures."""

SIZES, FADED, BLURRED = (32, 64, 128), (0.5, 0.9), (1.0, 2.0, 4.0)
"""Conditions of the estimators: height in pixels, share of texture contrast taken away, sigma in pixels at 64."""


@cache
def _pipeline() -> Video4SpatialPipeline:
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model(MODEL))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _through_autoencoder(clip: Clip) -> np.ndarray:
    return through_autoencoder(_pipeline(), film(clip))


def _generated(clip: Clip) -> np.ndarray:
    pipeline = _pipeline()
    return model_with_context_cameras(RowInputs(clip, pipeline, GenerationSettings()))


def measure_clip(entries: tuple[TestClip, TestClip], size: int, metrics: list[str]) -> tuple[str, dict, dict]:
    """All videos of one clip, scored.

    Args:
        entries: the clip, and one of another scene.
        size: height and width of the degraded videos and of the row `vae_ceiling`.
        metrics: names.

    Returns:
        The scene, {video: {metric: Measurement}}, and what `estimator_errors` gives.
    """
    stage = Stage(*(entry.load(size) for entry in entries))
    small = Stage(*(entry.load(_pipeline().config.height) for entry in entries))
    scored = {"truth": score_clip(stage.clip, stage.clip.target_frames, metrics)}
    for degradation in GRADED.values():
        # Scoring is what takes time: a metric is tried on what it declares, or on everything if it declares nothing.
        tried = [name for name in metrics if degradation.name in METRICS[name].sees or not METRICS[name].sees]
        for level in degradation.levels:
            frames = degradation.apply(stage, level)
            scored[video_name(degradation, level)] = {} if frames is None else score_clip(stage.clip, frames, tried)
    for row, made, shown in (("vae_ceiling", _through_autoencoder, stage), (MODEL, _generated, small)):
        for name, frames in cheats(shown, made).items():
            scored[f"{row}: {name}"] = score_clip(shown.clip, frames, metrics)
    return stage.clip.scene, scored, estimator_errors(entries[0], size)


def estimator_errors(entry: TestClip, size: int) -> dict[str, dict[str, Measurement]]:
    """Errors of the cameras that estimators find in true videos.

    Args:
        entry: of the test set.
        size: height and width of the pictures that are blurred or lose their texture.

    Returns:
        {"estimator: condition": {metric: Measurement}}.
    """
    clips = {f"{side} px": entry.load(side) for side in sorted({*SIZES, size})}
    clip = clips[f"{size} px"]
    scene = generate_scene(clip.provenance["scene_seed"])
    conditions = {name: (scene, at_size, at_size.target_frames) for name, at_size in clips.items()}
    for sigma in BLURRED:
        conditions[f"{size} px, blur {sigma:g} px at 64"] = (scene, clip, blur(clip.target_frames, sigma))
    for share in FADED:
        faded = texture_faded(scene, share)
        context = film(clip, clip.context_cameras, faded)
        condition = f"{size} px, {share:.0%} of the texture's contrast lost"
        conditions[condition] = (faded, replace(clip, context_frames=context), film(clip, scene=faded))
    errors = {}
    for condition, (world, shown, frames) in conditions.items():
        evidence = replace(Evidence.of_clip(shown, frames), scene=world)
        for name in ESTIMATORS_TRIED:
            sample = Sample(shown, frames, ESTIMATORS[name](evidence))
            errors[f"{name}: {condition}"] = {metric: METRICS[metric](sample) for metric in CAMERA_METRICS}
    return errors


def _walkable_backwards(entry: TestClip) -> bool:
    clip = entry.load(16)
    path = backwards(clip.target_cameras, 1.0).positions.numpy()
    return generate_scene(clip.provenance["scene_seed"]).free_space.clearance(path).min() >= CLEARANCE


def measure(clips: int, size: int, metrics: list[str], processes: int) -> list[tuple[str, dict, dict]]:
    """Measure the first test clips whose path is free backwards too.

    Args:
        clips: how many.
        size, metrics: as in `measure_clip`.
        processes: how many work at the same time.

    Returns:
        What `measure_clip` gives for each.
    """
    walkable = (entry for entry in load_test_set() if _walkable_backwards(entry))
    entries = [entry for entry, _ in zip(walkable, range(clips))]
    pairs = [(entry, entries[(index + 1) % len(entries)]) for index, entry in enumerate(entries)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        done = pool.map(partial(measure_clip, size=size, metrics=metrics), pairs)
        return list(track(done, description="clips", total=len(pairs)))


def tabulate(results: list[tuple[str, dict, dict]], metrics: list[Metric]) -> tuple[list[dict], dict]:
    """Rows and settings of the results file.

    Args:
        results: from `measure`.
        metrics: that were measured.
    """
    metrics = [metric for metric in metrics if metric.direction != "none"]
    measured: Measured = {name: [(scene, scored[name]) for scene, scored, _ in results] for name in results[0][1]}
    unmeasured = {}
    for metric in metrics:
        of_truth = [(scene, values[metric.name]) for scene, values in measured["truth"]]
        status = aggregate(metric, of_truth)["status"]
        if status != "ok":
            unmeasured[metric.name] = {"status": status, "reason": of_truth[0][1].reason}
    metrics = [metric for metric in metrics if metric.name not in unmeasured]

    def accepted(chosen: list[Metric]) -> dict[str, list[str]]:
        """{honest row: names of the cheats that pass for it}."""
        return {
            row: [cheat for cheat in CHEATS if accepts(chosen, measured[f"{row}: honest"], measured[f"{row}: {cheat}"])]
            for row in HONEST_ROWS
        }

    together = {metric.name: [metric] for metric in metrics}
    lists = {name: accepted(chosen) for name, chosen in together.items()}
    counts = {name: len(set().union(*of_rows.values())) for name, of_rows in lists.items()}
    names, reasons = headline(metrics, measured, counts)
    if names:
        together["scorecard"] = metrics_named(names)
        lists["scorecard"] = accepted(together["scorecard"])
        counts["scorecard"] = len(set().union(*lists["scorecard"].values()))
    sees = {
        name: [fault for fault in GRADED if any(fault in metric.sees for metric in chosen)] for name, chosen in together.items()
    }
    rows = []
    for name, chosen in together.items():
        rows.append(validation_row(name, chosen, measured, sees[name], counts[name]))
    for condition in results[0][2]:
        cells = {
            name: aggregate(METRICS[name], [(scene, errors[condition][name]) for scene, _, errors in results])
            for name in CAMERA_METRICS
        }
        rows.append({"name": condition, "metrics": cells})
    settings = {
        "clips": len(results),
        "levels": {name: {"levels": degradation.levels, "unit": degradation.unit} for name, degradation in GRADED.items()},
        "sees": sees,
        "headline": names,
        "not_headline": reasons,
        "unmeasured": unmeasured,
        "cheats_accepted": lists,
        "interval": "bootstrap over scenes, 95 %",
    }
    return rows, settings


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=6, help="test clips, each of its own scene (at least 2)")
    parser.add_argument("--size", type=int, default=128, help="height and width of the degraded videos")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), help="names from the registry")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/metric_validation.json"))
    arguments = parser.parse_args()
    if arguments.clips < 2:
        parser.error("--clips: two scenes are the least that intervals can be computed from")
    metrics = metrics_named(arguments.metrics)
    results = measure(arguments.clips, arguments.size, [metric.name for metric in metrics], arguments.processes)
    rows, settings = tabulate(results, metrics)
    settings |= {"size": arguments.size, "honest_rows": {"vae_ceiling": arguments.size, MODEL: _pipeline().config.height}}
    write_results(arguments.output, "metric_validation", settings, rows)
    for row in rows:
        cells = {name: cell["value"] for name, cell in row["metrics"].items() if not name.startswith(("spearman_", "threshold_"))}
        print(f"{row['name']:64s}", *(f"{name} {'-' if x is None else format(x, '.3g')}" for name, x in cells.items()))
    print("headline:", ", ".join(settings["headline"]), "\nscorecard accepts:", settings["cheats_accepted"].get("scorecard"))


if __name__ == "__main__":
    main()

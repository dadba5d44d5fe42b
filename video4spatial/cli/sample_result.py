"""The folder that `sample.py` writes about a video: frames, cameras, scores, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.sample_run import Request
from video4spatial.cli.terminal import say, stage

if TYPE_CHECKING:
    from video4spatial.clips import Clip
    from video4spatial.evaluation.measurement import Measurement
    from video4spatial.pipelines import Generated

PIXEL_METRICS = ("psnr", "covisible_psnr", "ssim", "gradient_correlation")
"""What the reference videos are scored by."""
VIDEO_METRICS = ("epipolar_error_px", "epipolar_consistency", "motion", "frozen_share")
"""What is told of any video, besides the headline figures of navigation; the report has the rest."""


def write_result(folder: Path, request: Request, generated: Generated) -> None:
    """Score a video, write everything about it, and say the main figures.

    Args:
        folder: to write into.
        request: what was asked for.
        generated: what came of it.
    """
    with stage("scoring and writing"):
        from video4spatial.cameras import write_cameras
        from video4spatial.cameras.plotting import plot_trajectories
        from video4spatial.evaluation.reports.pictures import side_by_side
        from video4spatial.evaluation.reports.sample_page import write_sample_page
        from video4spatial.evaluation.scoring import measured_cameras, score_clip
        from video4spatial.evaluation.metrics import NAVIGATION_METRICS
        from video4spatial.media import write_images, write_video

        clip, frames, rate = request.clip, generated.frames, request.settings.model.frame_rate
        commanded, settings = clip.instruction.cameras, _settings(request, generated)
        notes = [*request.notes, *(f"the memory of the scene is approximate: {reason}." for reason in generated.approximations)]
        estimated = measured_cameras(clip, frames)
        measurements = score_clip(clip, frames, estimated_cameras=estimated)
        write_video(folder / "video.mp4", frames, rate)
        write_images(folder / "frames", frames)
        if clip.target_frames is not None:
            pair = side_by_side([("generated", frames), ("ground truth", clip.target_frames)])
            write_video(folder / "side_by_side.mp4", pair, rate)
        seen = None if estimated is None else estimated.placed
        paths = {"commanded": commanded, "context": clip.context_cameras, "seen in the video": seen}
        plot_trajectories({k: v for k, v in paths.items() if v is not None}, folder / "trajectory.png", title=request.title)
        write_cameras(folder / "transforms.json", commanded, image_size=frames.shape[1:3])
        _write_scores(folder / "scores.json", clip, measurements, {**settings, "notes": notes, "provenance": clip.provenance})
        applicable = {name: m for name, m in measurements.items() if m.status != "not_applicable"}
        write_sample_page(
            folder,
            title=request.title,
            generated=frames,
            cameras=commanded,
            frame_rate=rate,
            context_frames=clip.context_frames,
            anchor=clip.anchor,
            truth=clip.target_frames,
            estimated_cameras=estimated,
            measurements=applicable,
            settings=settings,
            warnings=notes,
        )
    told = [name for name in (*NAVIGATION_METRICS, *VIDEO_METRICS) if name in applicable]
    for name in told:
        measurement = applicable[name]
        shown = measurement.reason if measurement.value is None else f"{measurement.value:.3f}"
        say(f"  {name:26}{shown}")
    say(f"  and {len(applicable) - len(told)} more in report.html")


def _settings(request: Request, generated: Generated) -> dict:
    """What people and the results file are told of how the video was made."""
    settings = request.settings
    generation, loading = settings.generation, settings.loading
    cache_dtype = generation.cache.dtype
    return {
        "model": settings.model_name,
        **request.told,
        "context_cameras": generated.context_cameras,
        "context_frames": generated.context_frames,
        "frames": len(generated.frames),
        "steps": generated.num_inference_steps,
        "guidance_scale": generation.guidance.guidance_scale,
        "seed": generation.seed,
        "plan": generation.plan,
        "plan_budget": generation.plan_budget,
        "plan_pool": generation.plan_options.get("pool"),
        "max_context_tokens": generation.max_context_tokens,
        "null_context": generation.guidance.null_context,
        "context_scale": generation.guidance.config.context_scale,  # as given
        "prompt": settings.prompt,
        "scene_cache": settings.scene_cache,
        "tile_autoencoder": loading.tile_autoencoder,
        "cache_dtype": None if cache_dtype is None else str(cache_dtype).removeprefix("torch."),
        "attention": loading.attention,
        "compile": loading.compile,
        "chunk_frames": generated.chunk_frames,
        "chunks": generated.chunks,
        "dtype": loading.resolved_dtype(settings.model),
        "approximations": list(generated.approximations),
    }


def _write_scores(path: Path, clip: Clip, measurements: dict[str, Measurement], settings: dict) -> None:
    """The shape of every results file; what simple reference videos would score stands beside the model."""
    from video4spatial.evaluation.aggregation import rows_of_one_clip
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.rows.references import copy_nearest, mean_colour, static
    from video4spatial.evaluation.scoring import score_clip

    scored = {"model": measurements}
    if clip.target_frames is not None:
        for reference in (copy_nearest, mean_colour, static):
            scored[reference.__name__] = score_clip(clip, reference(clip), PIXEL_METRICS)
    write_results(path, "sample", settings, rows_of_one_clip(scored))

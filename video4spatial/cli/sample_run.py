"""Making one video for `sample.py`: the scene is encoded or read, the path followed, and the folder about it written.

The user is told how far it is. The folder holds frames, cameras, scores and a report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.errors import in_flags, user_mistakes
from video4spatial.cli.sample_options import SampleSettings
from video4spatial.cli.terminal import counted, note, say, stage
from video4spatial.files import write_whole

if TYPE_CHECKING:
    import torch

    from video4spatial.cameras import Cameras
    from video4spatial.clips import Clip
    from video4spatial.clips.footage import FootageClip
    from video4spatial.conditioning.plans import ContextPlan
    from video4spatial.evaluation.measurement import Measurement
    from video4spatial.geometry.scene_geometry import SceneGeometry
    from video4spatial.grounding.finding import Answer
    from video4spatial.pipelines import Generated, GenerationSettings, SceneContext, Video4SpatialPipeline

PIXEL_METRICS = ("psnr", "covisible_psnr", "ssim", "gradient_correlation")
"""What the reference videos are scored by."""
VIDEO_METRICS = ("epipolar_error_px", "motion", "frozen_share")
"""What is told of any video, besides the headline figures of navigation; the report has the rest."""


@dataclass(frozen=True)
class Request:
    """A video to make.

    Args:
        clip: its context, anchor and path.
        settings: how.
        told: options of the mode that the results file repeats.
        notes: what was decided on the way, for the user.
        title: of the report.
        answer: what was looked for and found, and led to the path; None where the path was given.
        numbers: what the frames of its scene are called.
        marked: the one of them that names it.
    """

    clip: Clip
    settings: SampleSettings
    told: dict
    notes: tuple[str, ...]
    title: str
    answer: Answer | None = None
    numbers: tuple[int, ...] = ()
    marked: int | None = None


def requested(clip: Clip, settings: SampleSettings, told: dict, notes: tuple[str, ...], title: str) -> Request:
    """A request with the words of the prompt, and a note where a long path is made in chunks that nobody asked for.

    Args:
        clip, settings, told, notes, title: of the request; notes may name arguments in backquotes.
    """
    clip = replace(clip, instruction=replace(clip.instruction, prompt=settings.prompt or ""))
    frames, trained = len(clip.instruction.cameras), settings.model.target_frames
    notes = tuple(in_flags(sentence) for sentence in notes)
    if settings.generation.chunk_frames is None and len(settings.generation.passes(frames, trained)) > 1:
        chunks = (
            f"{frames} frames are more than the {trained} this model was trained with: they are generated chunk by chunk, each "
            "joining the memory (--chunk-frames 0 generates them in one pass)."
        )
        notes = (*notes, chunks)
    return Request(clip, settings, told, notes, title)


def requested_of_footage(read: FootageClip, settings: SampleSettings, told: dict) -> Request:
    """A request on the user's own video, with a warning where it may be of another kind than the model has seen.

    Args:
        read: the clip, with what was assumed of the video.
        settings: of the request.
        told: `context`, `trajectory` and `anchor` as given.
    """
    domain, title = settings.model.domain, f"{read.clip.name}: {told['trajectory']}"
    warnings = [f"this model knows only {domain}: on other footage expect a rough impression at best."] if domain else []
    warnings.append(settings.model.beyond_training(*read.clip.context_frames.shape[1:3]))
    return requested(read.clip, settings, told, (*filter(None, warnings), *read.notes), title)


def along_path(clip: Clip, path: Cameras, name: str) -> Clip:
    """A clip of footage with another path from its anchor.

    Args:
        clip: that follows a path.
        path: T cameras relative to the first.
        name: what the path is called.
    """
    from video4spatial.cameras.trajectories import begin_at

    cameras = begin_at(path, clip.instruction.cameras[0])
    instruction, provenance = replace(clip.instruction, cameras=cameras), {**clip.provenance, "trajectory": name}
    return replace(clip, instruction=instruction, target_cameras=cameras, provenance=provenance)


def check_room_for(request: Request, plan: ContextPlan) -> None:
    """Say how much memory a video will take, before anything is loaded.

    Args:
        request: the video to make.
        plan: what is shown of its context.

    Raises:
        UserError: where the machine does not have so much.
    """
    from video4spatial.memory import check_memory
    from video4spatial.pipelines.run_cost import video_bytes
    from video4spatial.pretrained import read_model_shape

    settings, clip = request.settings, request.clip
    loading, frames = settings.loading, len(clip.instruction.cameras)
    with user_mistakes():
        device, dtype = loading.resolved_device(), loading.resolved_dtype(settings.model)
        needed = video_bytes(read_model_shape(settings.model_name), clip, plan, settings.generation, dtype)
        height, width = clip.context_frames.shape[1:3]
        what = f"a video of {frames} frames of {width}x{height} with a context of {len(plan.chunks)}"
        remedy = "generate fewer `frames`, of a smaller `size`, or from fewer `context_frames`"
        # What is offloaded waits in main memory: the device cannot be too small for the whole.
        told = check_memory(needed, what, remedy, device if loading.offload == "none" else "cpu")
    say(told)


def scene_of(
    pipeline: Video4SpatialPipeline, clip: Clip, plan: ContextPlan, settings: SampleSettings, geometry: SceneGeometry | None = None
) -> SceneContext:
    """The clip's context, encoded or read, and written where that is asked for; what is approximate about it is said.

    Args:
        pipeline: the model.
        clip: whose context it is.
        plan: what of it is shown.
        settings: how, and with which files.
        geometry: of the context, where it is at hand.

    Raises:
        UserError: for a scene file that is not of this model and context, or cannot be written.
    """
    from video4spatial.pipelines.generation import encode_scene, load_scene

    if settings.scene_cache is None:
        if settings.most_shown is None:
            geometry = None
        elif geometry is None:
            geometry = geometry_of(clip, settings.generation, pipeline._execution_device)
        with stage(f"encoding {len(plan.chunks)} context frames"), user_mistakes():
            context = encode_scene(pipeline, clip, settings.generation, plan, geometry)
    else:
        with stage(f"reading the scene of {settings.scene_cache}"), user_mistakes():
            context = load_scene(pipeline, settings.scene_cache, clip, settings.generation, plan)
    if settings.save_scene is not None:
        with stage(f"writing the scene to {settings.save_scene}"), user_mistakes():
            pipeline.save_context(context, settings.save_scene)
    _say_approximations(context.approximations)
    return context


def geometry_of(clip: Clip, settings: GenerationSettings, device: torch.device | str) -> SceneGeometry:
    """The geometry of a clip's context; what is known of it is said.

    Args:
        clip: whose context it is.
        settings: with the choice.
        device: where networks compute.

    Raises:
        UserError: for a folder of the geometry of other frames.
    """
    from video4spatial.pipelines.generation import scene_geometry

    with stage(f"reading the geometry of {len(clip.context_frames)} frames") as tell, user_mistakes():
        geometry = scene_geometry(clip, settings, device, tell)
    for sentence in geometry.in_words():
        note(sentence)
    return geometry


def video_of(pipeline: Video4SpatialPipeline, context: SceneContext, request: Request) -> Generated:
    """Follow the path of a request through its encoded scene.

    Args:
        pipeline: the model.
        context: of the request's clip.
        request: the video to make.

    Raises:
        UserError: where the scene and a chunk are more than --max-context-tokens.
    """
    from video4spatial.pipelines.generation import check_room, generate

    clip, settings = request.clip, request.settings.generation
    with user_mistakes():
        check_room(pipeline, clip, settings, context)
    passes = len(settings.passes(len(clip.instruction.cameras), pipeline.config.target_frames))
    if passes > 1:
        with counted("generating chunks", passes) as advance, user_mistakes():
            generated = generate(pipeline, clip, settings, context, on_chunk=advance)
    else:
        steps = settings.num_inference_steps or pipeline.config.num_inference_steps
        with counted("denoising", steps) as advance, user_mistakes():
            generated = generate(pipeline, clip, settings, context, on_step=advance)
    _say_approximations(tuple(reason for reason in generated.approximations if reason not in context.approximations))
    return generated


def _say_approximations(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        note(f"the memory of the scene is approximate: {reason}.")


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
            write_video(folder / "truth.mp4", clip.target_frames, rate)
            write_video(folder / "context.mp4", clip.context_frames, rate)
        seen = None if estimated is None else estimated.placed
        paths = {"commanded": commanded, "context": clip.context_cameras, "seen in the video": seen}
        plot_trajectories({k: v for k, v in paths.items() if v is not None}, folder / "trajectory.png", title=request.title)
        write_cameras(folder / "transforms.json", commanded, image_size=frames.shape[1:3])
        _write_scores(folder / "scores.json", clip, measurements, {**settings, "notes": notes, "provenance": clip.provenance})
        answer, figures = request.answer, []
        if answer is not None:
            from video4spatial.evaluation.reports.grounding_page import write_answer

            figures = write_answer(folder, answer, frames, request.numbers, request.marked)
            write_whole(folder / "answer.json", json.dumps(answer.as_dict(request.numbers), indent=1) + "\n")
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
            answer="" if answer is None else answer.words,
            figures=figures,
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

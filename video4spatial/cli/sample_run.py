"""Making one video for `sample.py`: the scene is encoded or read, the path followed, and the user told how far it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from video4spatial.cli.errors import in_flags, user_mistakes
from video4spatial.cli.sample_options import SampleSettings
from video4spatial.cli.terminal import counted, note, stage

if TYPE_CHECKING:
    from video4spatial.clips import Clip
    from video4spatial.conditioning.plans import ContextPlan
    from video4spatial.pipelines import Generated, SceneContext, Video4SpatialPipeline


@dataclass(frozen=True)
class Request:
    """A video to make.

    Args:
        clip: its context, anchor and path.
        settings: how.
        told: options of the mode that the results file repeats.
        notes: what was decided on the way, for the user.
        title: of the report.
    """

    clip: Clip
    settings: SampleSettings
    told: dict
    notes: tuple[str, ...]
    title: str


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


def domain_notes(settings: SampleSettings) -> tuple[str, ...]:
    """A warning before footage of another kind than the model has seen.

    Args:
        settings: with the model.
    """
    domain = settings.model.domain
    return (f"this model knows only {domain}: on other footage expect a rough impression at best.",) if domain else ()


def scene_of(pipeline: Video4SpatialPipeline, clip: Clip, plan: ContextPlan, settings: SampleSettings) -> SceneContext:
    """The clip's context, encoded or read, and written where that is asked for; what is approximate about it is said.

    Args:
        pipeline: the model.
        clip: whose context it is.
        plan: what of it is shown.
        settings: how, and with which files.

    Raises:
        UserError: for a scene file that is not of this model and context, or cannot be written.
    """
    from video4spatial.pipelines.generation import encode_scene, load_scene

    if settings.scene_cache is None:
        with stage(f"encoding {len(plan.chunks)} context frames"), user_mistakes():
            context = encode_scene(pipeline, clip, settings.generation, plan)
    else:
        with stage(f"reading the scene of {settings.scene_cache}"), user_mistakes():
            context = load_scene(pipeline, settings.scene_cache, clip, settings.generation, plan)
    if settings.save_scene is not None:
        with stage(f"writing the scene to {settings.save_scene}"), user_mistakes():
            pipeline.save_context(context, settings.save_scene)
    _say_approximations(context.approximations)
    return context


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
        with counted("generating chunks", passes) as advance:
            generated = generate(pipeline, clip, settings, context, on_chunk=advance)
    else:
        steps = settings.num_inference_steps or pipeline.config.num_inference_steps
        with counted("denoising", steps) as advance:
            generated = generate(pipeline, clip, settings, context, on_step=advance)
    _say_approximations(tuple(reason for reason in generated.approximations if reason not in context.approximations))
    return generated


def _say_approximations(reasons: tuple[str, ...]) -> None:
    for reason in reasons:
        note(f"the memory of the scene is approximate: {reason}.")

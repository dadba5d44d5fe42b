"""`v4s sample` and `sample.py`: generate a video, look at it beside what is known, score it, report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.sample_many import many
from video4spatial.cli.sample_options import (
    DEMO_FOLDER,
    SampleSettings,
    demo_parser,
    footage_arguments,
    ground_parser,
    navigate_parser,
    sample_settings,
)
from video4spatial.cli.sample_run import (
    Request,
    along_path,
    check_room_for,
    geometry_of,
    requested,
    requested_of_footage,
    scene_of,
    video_of,
    write_result,
)
from video4spatial.cli.targets import Target, absence, read_target
from video4spatial.cli.terminal import load_pipeline, note, route_messages, say, stage
from video4spatial.naming import unknown
from video4spatial.pretrained import ModelFolder, read_model_folder

if TYPE_CHECKING:
    from video4spatial.clips import Clip, Ground
    from video4spatial.clips.footage import Footage
    from video4spatial.conditioning.plans import ContextPlan
    from video4spatial.geometry.scene_geometry import SceneGeometry
    from video4spatial.pipelines import SceneContext, Video4SpatialPipeline

DESCRIPTION = """Generate the video that a camera would see in the scene of a video.

  demo       a simulated test scene, whose truth is known (also what happens without any argument)
  navigate   follow a camera path through your own video
  ground     find an object in your own video and go there
  many       follow many paths through one video, which is encoded once"""


def main(arguments: list[str]) -> None:
    """Run `demo` (the default), `navigate`, `ground` or `many`.

    Args:
        arguments: the mode and its options.

    Raises:
        UserError: what the user can put right.
    """
    modes = {"demo": demo, "navigate": navigate, "ground": ground, "many": many}
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: sample.py [demo | navigate | ground | many] [options]\n\n{DESCRIPTION}\n\nsample.py MODE --help explains each.")
        return
    if not arguments or arguments[0].startswith("-"):
        arguments = ["demo", *arguments]
    mode, *rest = arguments
    if mode not in modes:
        raise UserError(unknown("mode", mode, modes) + f"; known: {', '.join(modes)}")
    modes[mode](rest)


def demo(arguments: list[str]) -> None:
    """Run the demo scene and compare with the truth: along a path, and to an object that the start does not see.

    Args:
        arguments: options of `demo_parser`.
    """
    options = demo_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
    output = options.output or DEMO_FOLDER
    with output_folder(output, options.overwrite or options.output is None) as folder:
        settings = sample_settings(options, model, "--known-cameras", options.known_cameras)
        route_messages()
        clip = _demo_clip(options.scene, settings)
        told = {"scene": options.scene, "known_cameras": options.known_cameras}
        title = f"Demo: test scene {options.scene}"
        pipeline, context = _make(folder, _noted(requested(clip, settings, told, (), title)))
        grounded = _demo_object(folder / "ground", clip, settings, told, title, pipeline, context)
    _say_where(output, *(["ground"] if grounded else []))


def navigate(arguments: list[str]) -> None:
    """Follow a path through the user's own video.

    Args:
        arguments: options of `navigate_parser`.
    """
    options = navigate_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        footage = footage_arguments(options, model)
    with output_folder(options.output, options.overwrite) as folder:
        settings = sample_settings(options, model, "--context-cameras", options.context_cameras is not None)
        route_messages()
        # Imported here, as everywhere below: --help and mistakes in the options must answer at once.
        from video4spatial.clips.footage import footage_clip

        with stage("reading the context"), user_mistakes():
            length, offered = options.frames or model.target_frames, settings.offered_frames
            path = {"trajectory": options.trajectory, "num_frames": length, "anchor": options.anchor}
            read = footage_clip(**path, context_frames=offered, detailed=settings.most_shown is not None, **footage)
        told = {name: getattr(options, name) for name in ("context", "trajectory", "anchor")}
        _make(folder, _noted(requested_of_footage(read, settings, told)))
    _say_where(options.output)


def ground(arguments: list[str]) -> None:
    """Find an object in the user's own video and go there.

    Args:
        arguments: options of `ground_parser`.
    """
    options = ground_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        footage = footage_arguments(options, model)
    target = read_target(options)
    if options.way == "model":
        raise UserError(f"--way model: {_why_not_by_itself(model, target)}; --way planned works with every model")
    with output_folder(options.output, options.overwrite) as folder:
        settings = sample_settings(options, model, "--context-cameras", options.context_cameras is not None)
        route_messages()
        from video4spatial.clips.footage import read_footage

        with stage("reading the context"), user_mistakes():
            frames = {"anchors": (options.anchor,), "marked": target.marked}
            read = read_footage(**frames, context_frames=settings.offered_frames, detailed=True, **footage)
            instruction = target.within(read)
        told = {name: getattr(options, name) for name in ("context", "target", "region", "way", "detector", "samples", "anchor")}
        _go_there(folder, read, instruction, target, settings, told, options.frames)
    _say_where(options.output)


def _why_not_by_itself(model: ModelFolder, target: Target) -> str:
    """Why a model cannot imagine the way to an object by itself."""
    if target.region is not None:
        return "this model has no encoder for regions"
    return "this model was not trained to find objects" if model.reads_text else "this model reads no text"


def _go_there(
    folder: Path, footage: Footage, instruction: Ground, target: Target, settings: SampleSettings, told: dict, frames: int | None
) -> None:
    """Find the object in the geometry of the footage, plan a way, follow it, write the result."""
    from video4spatial.grounding.finding import find

    start = footage.clip("static", 2, told["anchor"])
    model, clip, told = settings.model, start.clip, {**told, "trajectory": target.given}
    first = _noted(requested_of_footage(start, settings, told))
    pipeline = context = geometry = None
    if settings.scene_cache is not None:
        pipeline, plan = _loaded(clip, settings)
        context = scene_of(pipeline, clip, plan, settings)
        geometry = context.geometry
    if geometry is None:
        chosen = None if settings.generation.geometry == "none" else settings.generation.geometry
        geometry = geometry_of(clip, replace(settings.generation, geometry=chosen), settings.loading.resolved_device())
    with stage("looking for the object and a way to it"), absence():
        answer = find(
            geometry, instruction, clip.anchor, detector=target.detector, num_frames=frames, least_frames=model.target_frames,
            frame_rate=model.frame_rate, samples=target.samples, seed=settings.generation.seed,
        )  # fmt: skip
    say(answer.words)
    clip = along_path(clip, answer.way.path, target.given)
    marked = None if instruction.region is None else instruction.region.frame
    request = requested_of_footage(replace(start, clip=clip), settings, told)
    request = replace(request, answer=answer, numbers=footage.chosen, marked=marked)
    _make(folder, _noted(request, first.notes), geometry, pipeline, context)


def _noted(request: Request, said: tuple[str, ...] = ()) -> Request:
    """The request, once its notes are said, but those that were before."""
    for sentence in request.notes:
        if sentence not in said:
            note(sentence)
    return request


def _demo_clip(scene: int, settings: SampleSettings):
    """A clip of the frozen test set, its context thinned to what the model is offered."""
    with stage("rendering the demo scene (the first time, the renderer is compiled: up to a minute)"), user_mistakes():
        from video4spatial.spread import evenly_spread
        from video4spatial.evaluation.test_set import load_test_set

        clips = load_test_set()
        if scene >= len(clips):
            raise UserError(f"--scene {scene}: expected 0 to {len(clips) - 1}")
        clip = clips[scene].load(size=settings.model.height)
    total = len(clip.context_frames)
    return clip.with_context(evenly_spread(total, min(settings.offered_frames or total, total), clip.anchor))


def _demo_object(
    folder: Path, clip: Clip, settings: SampleSettings, told: dict, title: str, pipeline: Video4SpatialPipeline, context: SceneContext
) -> bool:  # fmt: skip
    """Go to an object of the demo scene that is marked on one of its frames, and compare with the truth along that way."""
    from video4spatial.evaluation.grounding_set import object_out_of_sight
    from video4spatial.grounding import NotFound
    from video4spatial.grounding.finding import find
    from video4spatial.simulation import generate_scene, render

    model, chosen = settings.model, object_out_of_sight(clip)
    if context.geometry is None or chosen is None:
        lacks = "this model is shown no geometry of the scene" if chosen else "no object is hidden from the start of this scene"
        note(f"no object is looked for: {lacks}.")
        return False
    instruction, label = chosen
    region = instruction.region
    say(f"\nNow to an object that the start does not see: the {label}, marked on frame {region.frame}.")
    with stage("looking for the object and a way to it"):
        try:
            answer = find(
                context.geometry, instruction, clip.anchor, num_frames=2 * model.target_frames - 1, frame_rate=model.frame_rate,
                seed=settings.generation.seed,
            )  # fmt: skip
        except NotFound as error:
            note(f"not found: {error}")
            return False
    say(answer.words)
    clip = along_path(clip, answer.way.path, f"to the {label}")
    height, width = clip.context_frames.shape[1:3]
    truth = render(generate_scene(clip.provenance["scene_seed"]), clip.target_cameras, height, width, supersample=2)
    clip = replace(clip, target_frames=truth.rgb, target_depth=truth.depth)
    marked = f"frame={region.frame},box=" + ",".join(f"{value:.3f}" for value in region.box)
    request = requested(clip, settings, {**told, "region": marked}, (), f"{title}, to the {label}")
    folder.mkdir()
    numbers = tuple(range(len(clip.context_frames)))
    _make(folder, _noted(replace(request, answer=answer, numbers=numbers, marked=region.frame)), None, pipeline, context)
    return True


def _make(
    folder: Path, request: Request, geometry: SceneGeometry | None = None, pipeline: Video4SpatialPipeline | None = None,
    context: SceneContext | None = None,
) -> tuple[Video4SpatialPipeline, SceneContext]:  # fmt: skip
    """Load the model, encode the scene, follow the path, write the result; what is at hand of these is not made again."""
    if context is None:
        pipeline, plan = _loaded(request.clip, request.settings, request)
        context = scene_of(pipeline, request.clip, plan, request.settings, geometry)
    write_result(folder, request, video_of(pipeline, context, request))
    return pipeline, context


def _loaded(clip: Clip, settings: SampleSettings, request: Request | None = None) -> tuple[Video4SpatialPipeline, ContextPlan]:
    """The model, once it is known that the machine has room for a request, and what it is shown of the clip's context."""
    from video4spatial.pipelines.generation import plan_scene
    from video4spatial.pipelines.settings import check_pools

    with user_mistakes():
        plan = plan_scene(clip, settings.generation, settings.most_shown)
        check_pools(plan, settings.model.grid, *clip.context_frames.shape[1:3])
        if request is not None:
            check_room_for(request, plan)
        return load_pipeline(settings.model, settings.loading), plan


def _say_where(folder: str | Path, *parts: str) -> None:
    reports = [Path(folder) / part / "report.html" for part in ("", *parts)]
    say(f"\nThe result is in {folder}: open {' and '.join(map(str, reports))}")

"""`v4s sample` and `sample.py`: generate a video, look at it beside what is known, score it, report."""

from pathlib import Path

from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.sample_many import many
from video4spatial.cli.sample_options import (
    DEMO_FOLDER,
    SampleSettings,
    demo_parser,
    footage_arguments,
    navigate_parser,
    sample_settings,
)
from video4spatial.cli.sample_run import Request, check_room_for, requested, requested_of_footage, scene_of, video_of, write_result
from video4spatial.cli.terminal import load_pipeline, note, route_messages, say, stage
from video4spatial.naming import unknown
from video4spatial.pretrained import read_model_folder

DESCRIPTION = """Generate the video that a camera would see in the scene of a video.

  demo       a simulated test scene, whose truth is known (also what happens without any argument)
  navigate   follow a camera path through your own video
  many       follow many paths through one video, which is encoded once"""


def main(arguments: list[str]) -> None:
    """Run `demo` (the default), `navigate` or `many`.

    Args:
        arguments: the mode and its options.

    Raises:
        UserError: what the user can put right.
    """
    modes = {"demo": demo, "navigate": navigate, "many": many}
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: sample.py [demo | navigate | many] [options]\n\n{DESCRIPTION}\n\nsample.py MODE --help explains each.")
        return
    if not arguments or arguments[0].startswith("-"):
        arguments = ["demo", *arguments]
    mode, *rest = arguments
    if mode not in modes:
        raise UserError(unknown("mode", mode, modes) + f"; known: {', '.join(modes)}")
    modes[mode](rest)


def demo(arguments: list[str]) -> None:
    """Run the demo scene and compare with the truth.

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
        _make(folder, requested(clip, settings, told, (), f"Demo: test scene {options.scene}"))
    _say_where(output)


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
        _make(folder, requested_of_footage(read, settings, told))
    _say_where(options.output)


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


def _make(folder: Path, request: Request) -> None:
    """Load the model, encode the scene, follow the path, write the result."""
    from video4spatial.pipelines.generation import plan_scene
    from video4spatial.pipelines.settings import check_pools

    for sentence in request.notes:
        note(sentence)
    settings = request.settings
    with user_mistakes():
        plan = plan_scene(request.clip, settings.generation, settings.most_shown)
        check_pools(plan, settings.model.grid, *request.clip.context_frames.shape[1:3])
        check_room_for(request, plan)
        pipeline = load_pipeline(settings.model, settings.loading)
    context = scene_of(pipeline, request.clip, plan, settings)
    write_result(folder, request, video_of(pipeline, context, request))


def _say_where(folder: str | Path) -> None:
    say(f"\nThe result is in {folder}: open {Path(folder) / 'report.html'}")

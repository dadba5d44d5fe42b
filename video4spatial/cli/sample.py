"""`v4s sample` and `sample.py`: generate a video, look at it beside what is known, score it, report."""

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from video4spatial.cli.arguments import Parser, integer, number, unknown
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.loading import load_pipeline
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.score import result_rows
from video4spatial.cli.terminal import counted, note, route_messages, say, stage
from video4spatial.pretrained import ModelFolder, built_in_models, read_model_folder

DEMO_FOLDER = "outputs/demo"
DEMO_SCENE = 0
PIXEL_METRICS = ("psnr", "covisible_psnr", "ssim", "gradient_correlation")
"""What the reference videos are scored by."""
VIDEO_METRICS = ("epipolar_error_px", "epipolar_consistency", "motion", "frozen_share")
"""What is told of any video, besides the headline figures of navigation; the report has the rest."""

DESCRIPTION = """Generate the video that a camera would see in the scene of a video.

  demo       a simulated test scene, whose truth is known (also what happens without any argument)
  navigate   follow a camera path through your own video"""


def main(arguments: list[str]) -> None:
    """Run `demo` (the default) or `navigate`."""
    modes = {"demo": demo, "navigate": navigate}
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: sample.py [demo | navigate] [options]\n\n{DESCRIPTION}\n\nsample.py MODE --help explains each.")
        return
    if not arguments or arguments[0].startswith("-"):
        arguments = ["demo", *arguments]
    mode, *rest = arguments
    if mode not in modes:
        raise UserError(unknown("mode", mode, modes) + f"; known: {', '.join(modes)}")
    modes[mode](rest)


def demo_parser() -> Parser:
    """Options of `sample.py demo`."""
    parser = Parser("sample.py demo", "Follow a path through a simulated test scene and compare with the truth.")
    add = parser.add_argument
    add("--scene", metavar="N", type=integer(0), default=DEMO_SCENE,
        help="clip of the frozen test set, none of whose scenes was trained on (default %(default)s)")  # fmt: skip
    add("--known-cameras", action="store_true",
        help="also tell the model the cameras of the context (default: the video alone)")  # fmt: skip
    _add_sampling_options(parser)
    add("--output", metavar="DIR", help=f"folder to write (default {DEMO_FOLDER}, replaced each time)")
    return parser


def navigate_parser() -> Parser:
    """Options of `sample.py navigate`."""
    parser = Parser(
        "sample.py navigate",
        "Follow a camera path through the scene of a video.",
        "example:\n"
        "  python sample.py navigate --context room.mp4 --trajectory 'forward 0.5, left 30deg' --output outputs/room",
    )
    add = parser.add_argument
    add("--context", metavar="PATH", required=True, help="video file or folder of images that shows the scene")
    add("--trajectory", metavar="PATH_OR_WORDS", required=True,
        help="camera path from the anchor: words such as 'forward 1.0, left 30deg' (metres, degrees; "
        "docs/conventions.md), or a camera or keyframe file")  # fmt: skip
    add("--context-cameras", metavar="FILE",
        help="cameras of the context, one per frame (default: unknown, the video alone)")  # fmt: skip
    add("--anchor", metavar="N", type=integer(), default=-1,
        help="frame of the context the path starts from, counted from 0, or from the end with -1 "
        "(default %(default)s, the last)")  # fmt: skip
    add("--frames", metavar="N", type=integer(2),
        help="frames to generate, the anchor's included (default: the model's)")  # fmt: skip
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view of the uncropped pictures in degrees, where no file gives it "
        "(default 60)")  # fmt: skip
    add("--fps", metavar="F", type=number(0), help="images per second, for a folder of images (default 4)")
    add("--scale", metavar="S", type=number(0), default=1.0,
        help="factor on the lengths in camera files (default %(default)g)")  # fmt: skip
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder to write")
    return parser


def _add_sampling_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--context-frames", metavar="N", type=integer(1),
        help="most context frames given to the model; longer videos are thinned evenly "
        "(default: as many as the model was trained with)")  # fmt: skip
    names = ", ".join(built_in_models()) or "none in this installation"
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help=f"pipeline folder, or a built-in model: {names} (default %(default)s)")  # fmt: skip
    add("--steps", metavar="N", type=integer(1), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance over context and path, 1 is off (default %(default)g)")  # fmt: skip
    add("--seed", metavar="S", type=integer(0), default=0,
        help="of the noise; the same seed gives the same video (default %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an earlier result in the output folder")
    parser.add_config_option()


@dataclass(frozen=True)
class Sampled:
    """A clip carried out: everything that is written down about it.

    Args:
        clip: the `Clip`.
        frames: [T, H, W, 3] uint8.
        model: what made them.
        settings: for people and for the results file.
        notes: what was decided on the way.
    """

    clip: Any
    frames: Any
    model: ModelFolder
    settings: dict
    notes: tuple[str, ...]


def demo(arguments: list[str]) -> None:
    """Run the demo scene and compare with the truth."""
    options = demo_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
    output = options.output or DEMO_FOLDER
    with output_folder(output, options.overwrite or options.output is None) as folder:
        route_messages()
        from video4spatial.clips.simulated import evenly_spread

        clip = _demo_clip(options.scene, model)
        total = len(clip.context_frames)
        shown = evenly_spread(total, min(options.context_frames or model.context_frames, total), clip.anchor)
        clip = clip.with_context(shown)
        cameras = clip.context_cameras if options.known_cameras else None
        settings = {"scene": options.scene, "known_cameras": options.known_cameras}
        sampled = _generate(clip, cameras, model, options, settings, notes=())
        _write(folder, sampled, f"Demo: test scene {options.scene}")
    _say_where(output)


def navigate(arguments: list[str]) -> None:
    """Follow a path through the user's own video."""
    options = navigate_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        for path in (options.context, options.context_cameras):
            if path is not None and not Path(path).exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
    with output_folder(options.output, options.overwrite) as folder:
        route_messages()
        with stage("reading the context"):
            read = _footage(options, model)
        notes = [*read.notes]
        if model.domain:
            warning = f"this model knows only {model.domain}: on other footage expect a rough impression at best."
            notes.insert(0, warning)
        for sentence in notes:
            note(sentence)
        settings = {"context": options.context, "trajectory": options.trajectory, "anchor": options.anchor}
        sampled = _generate(read.clip, read.clip.context_cameras, model, options, settings, tuple(notes))
        _write(folder, sampled, f"{read.clip.name}: {options.trajectory}")
    _say_where(options.output)


def _footage(options: Namespace, model: ModelFolder):
    # Imported here, as everywhere below: --help and mistakes in the options must answer at once.
    from video4spatial.clips.footage import footage_clip

    with user_mistakes():
        return footage_clip(
            options.context,
            options.trajectory,
            height=model.height,
            width=model.width,
            num_frames=options.frames or model.target_frames,
            frame_rate=model.frame_rate,
            context_cameras=options.context_cameras,
            anchor=options.anchor,
            context_frames=options.context_frames or model.context_frames,
            fov_degrees=options.fov,
            image_rate=options.fps,
            scale=options.scale,
        )


def _demo_clip(scene: int, model: ModelFolder):
    with stage("rendering the demo scene (the first time, the renderer is compiled: up to a minute)"), user_mistakes():
        from video4spatial.evaluation.test_set import load_test_set

        clips = load_test_set()
        if scene >= len(clips):
            raise UserError(f"--scene {scene}: expected 0 to {len(clips) - 1}")
        return clips[scene].load(size=model.height)


def _generate(clip, cameras, model: ModelFolder, options: Namespace, settings: dict, notes: tuple[str, ...]) -> Sampled:
    pipeline = load_pipeline(model)
    import torch

    from video4spatial.diffusion import JointGuidance

    with user_mistakes():
        JointGuidance.absent(options.guidance_scale).check(tuple(pipeline.transformer.config.null_context))
    with stage(f"encoding {len(clip.context_frames)} context frames"):
        context = pipeline.encode_context(clip.context_frames, clip.context_times, cameras)
    steps = options.steps or model.num_inference_steps
    with counted("denoising", steps) as advance:

        def on_step_end(*_) -> None:
            advance()

        output = pipeline(
            context,
            clip.instruction.cameras,
            anchor=clip.anchor,
            num_inference_steps=steps,
            guidance_scale=options.guidance_scale,
            generator=torch.Generator().manual_seed(options.seed),
            callback_on_step_end=on_step_end,
        )
    settings = {
        "model": options.model,
        **settings,
        "context_cameras": cameras is not None,
        "context_frames": len(clip.context_frames),
        "frames": len(output.frames),
        "steps": steps,
        "guidance_scale": options.guidance_scale,
        "seed": options.seed,
    }
    return Sampled(clip, output.frames, model, settings, notes)


def _write(folder: Path, sampled: Sampled, title: str) -> None:
    """Everything about the result, into `folder`."""
    with stage("scoring and writing"):
        from video4spatial.cameras import write_cameras
        from video4spatial.cameras.plotting import plot_trajectories
        from video4spatial.evaluation.plots import side_by_side
        from video4spatial.evaluation.report import write_report
        from video4spatial.evaluation.scorecard import score_clip
        from video4spatial.evaluation.registry import NAVIGATION_METRICS
        from video4spatial.media import write_images, write_video

        clip, frames, rate = sampled.clip, sampled.frames, sampled.model.frame_rate
        commanded = clip.instruction.cameras
        estimated = _estimated_cameras(clip, frames)
        measurements = score_clip(clip, frames, estimated_cameras=estimated)
        write_video(folder / "video.mp4", frames, rate)
        write_images(folder / "frames", frames)
        if clip.target_frames is not None:
            pair = side_by_side([("generated", frames), ("ground truth", clip.target_frames)])
            write_video(folder / "side_by_side.mp4", pair, rate)
        paths = {"commanded": commanded, "context": clip.context_cameras, "seen in the video": estimated}
        plot_trajectories({k: v for k, v in paths.items() if v is not None}, folder / "trajectory.png", title=title)
        write_cameras(folder / "transforms.json", commanded, image_size=frames.shape[1:3])
        _write_scores(folder / "scores.json", sampled, measurements)
        applicable = {name: m for name, m in measurements.items() if m.status != "not_applicable"}
        write_report(
            folder,
            title=title,
            generated=frames,
            cameras=commanded,
            frame_rate=rate,
            context_frames=clip.context_frames,
            anchor=clip.anchor,
            truth=clip.target_frames,
            estimated_cameras=estimated,
            measurements=applicable,
            settings=sampled.settings,
            warnings=sampled.notes,
        )
    told = [name for name in (*NAVIGATION_METRICS, *VIDEO_METRICS) if name in applicable]
    for name in told:
        measurement = applicable[name]
        shown = measurement.reason if measurement.value is None else f"{measurement.value:.3f}"
        say(f"  {name:26}{shown}")
    say(f"  and {len(applicable) - len(told)} more in report.html")


def _estimated_cameras(clip, frames):
    """Cameras of the generated frames, measured by rendering and comparing; only simulated scenes allow it."""
    if clip.provenance.get("source") != "simulation":
        return None
    from video4spatial.evaluation.render_and_compare import estimate_cameras
    from video4spatial.simulation.scenes import generate_scene

    commanded = clip.target_cameras
    scene = generate_scene(clip.provenance["scene_seed"])
    return estimate_cameras(scene, commanded[0], frames, commanded.intrinsics).cameras


def _write_scores(path: Path, sampled: Sampled, measurements: dict) -> None:
    """The shape of every results file; what simple reference videos would score stands beside the model."""
    from video4spatial.evaluation.references import FRAME_REFERENCES
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.scorecard import score_clip

    clip, scored = sampled.clip, {"model": measurements}
    if clip.target_frames is not None:
        for name in ("copy_nearest", "mean_colour", "static"):
            scored[name] = score_clip(clip, FRAME_REFERENCES[name](clip), PIXEL_METRICS)
    settings = {**sampled.settings, "notes": list(sampled.notes), "provenance": clip.provenance}
    write_results(path, "sample", settings, result_rows(scored))


def _say_where(folder: str | Path) -> None:
    say(f"\nThe result is in {folder}: open {Path(folder) / 'report.html'}")

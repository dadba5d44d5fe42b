"""`v4s sample` and `sample.py`: generate a video, look at it beside what is known, score it, report."""

import traceback
from argparse import Namespace
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from video4spatial.cli.arguments import Parser, integer, number, unknown
from video4spatial.cli.errors import UserError, describe, user_mistakes
from video4spatial.cli.inference import (
    add_inference_options,
    check_inference,
    chunk_note,
    encoded_scene,
    generate,
    inference_settings,
    offered_frames,
    placement,
    plan_for,
    reads_text,
)
from video4spatial.cli.jobs import Job, read_jobs
from video4spatial.cli.loading import load_pipeline
from video4spatial.cli.output_folder import MARK, output_folder
from video4spatial.cli.terminal import note, route_messages, say, stage
from video4spatial.pretrained import ModelFolder, built_in_models, read_model_folder

DEMO_FOLDER = "outputs/demo"
DEMO_SCENE = 0
PATIENCE = timedelta(days=30)
"""How long processes that have finished their jobs wait for the others."""
PIXEL_METRICS = ("psnr", "covisible_psnr", "ssim", "gradient_correlation")
"""What the reference videos are scored by."""
VIDEO_METRICS = ("epipolar_error_px", "epipolar_consistency", "motion", "frozen_share")
"""What is told of any video, besides the headline figures of navigation; the report has the rest."""

DESCRIPTION = """Generate the video that a camera would see in the scene of a video.

  demo       a simulated test scene, whose truth is known (also what happens without any argument)
  navigate   follow a camera path through your own video
  many       follow many paths through one video, which is encoded once"""


def main(arguments: list[str]) -> None:
    """Run `demo` (the default), `navigate` or `many`."""
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
    add("--trajectory", metavar="PATH_OR_WORDS", required=True,
        help="camera path from the anchor: words such as 'forward 1.0, left 30deg' (metres, degrees; "
        "docs/conventions.md), or a camera or keyframe file")  # fmt: skip
    _add_footage_options(parser)
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder to write")
    return parser


def many_parser() -> Parser:
    """Options of `sample.py many`."""
    parser = Parser(
        "sample.py many",
        "Follow many camera paths through the scene of a video, which is encoded once. Finished paths of an earlier run are\n"
        "left as they are, so that a run can be taken up again. Under `accelerate launch` the paths are shared out over the\n"
        "processes (--multi_gpu --num_processes N; on a CPU as well, with --device cpu).",
        "the jobs file is a list, in which anchor, frames, seed and prompt may be left to the options:\n"
        "  - {name: in, trajectory: forward 1.0}\n"
        "  - {name: round, trajectory: 'turn left 90', anchor: 0, frames: 17, seed: 1}",
    )
    add = parser.add_argument
    add("--jobs", metavar="FILE", required=True, help="YAML file with the paths, each with the name of its folder")
    _add_footage_options(parser)
    _add_sampling_options(parser)
    add("--output", metavar="DIR", required=True, help="folder that holds the folders of all jobs")
    return parser


def _add_footage_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--context", metavar="PATH", required=True, help="video file or folder of images that shows the scene")
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


def _add_sampling_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--context-frames", metavar="N", type=integer(1),
        help="most context frames given to the model; longer videos are thinned evenly "
        "(default: as many as the model was trained with; with --plan all)")  # fmt: skip
    names = ", ".join(built_in_models()) or "none in this installation"
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help=f"pipeline folder, or a built-in model: {names} (default %(default)s)")  # fmt: skip
    add("--steps", metavar="N", type=integer(1), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance over context and path, 1 is off (default %(default)g)")  # fmt: skip
    add("--seed", metavar="S", type=integer(0), default=0,
        help="of the noise; the same seed gives the same video (default %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an earlier result in the output folder")
    add_inference_options(parser)
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
        check_inference(options, model, "--known-cameras", options.known_cameras)
        route_messages()
        from video4spatial.clips.simulated import evenly_spread

        clip = _demo_clip(options.scene, model)
        total = len(clip.context_frames)
        clip = clip.with_context(evenly_spread(total, min(offered_frames(options, model) or total, total), clip.anchor))
        cameras = clip.context_cameras if options.known_cameras else None
        settings = {"scene": options.scene, "known_cameras": options.known_cameras}
        sampled = _sample(clip, cameras, model, options, settings, notes=[])
        _write(folder, sampled, f"Demo: test scene {options.scene}")
    _say_where(output)


def navigate(arguments: list[str]) -> None:
    """Follow a path through the user's own video."""
    options = navigate_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        _check_exist(options)
    with output_folder(options.output, options.overwrite) as folder:
        check_inference(options, model, "--context-cameras", options.context_cameras is not None)
        route_messages()
        # Imported here, as everywhere below: --help and mistakes in the options must answer at once.
        from video4spatial.clips.footage import footage_clip

        with stage("reading the context"), user_mistakes():
            anchor, frames = options.anchor, options.frames or model.target_frames
            read = footage_clip(
                options.context, options.trajectory, num_frames=frames, anchor=anchor, **_footage_options(options, model)
            )
        notes = [*_domain_notes(model), *read.notes]
        for sentence in notes:
            note(sentence)
        sampled = _sample(read.clip, read.clip.context_cameras, model, options, _footage_settings(options), notes)
        _write(folder, sampled, f"{read.clip.name}: {options.trajectory}")
    _say_where(options.output)


def many(arguments: list[str]) -> None:
    """Follow many paths through the user's own video."""
    options = many_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        _check_exist(options)
    if Path(options.output).is_file():
        raise UserError(f"{options.output} is a file: choose another --output")
    jobs = read_jobs(options.jobs, options)
    wordy = [job.name for job in jobs if job.prompt]
    if wordy and not reads_text(model):
        raise UserError(f"{options.jobs}: job {wordy[0]!r} has a prompt, but this model reads no text; leave prompts out")
    check_inference(options, model, "--context-cameras", options.context_cameras is not None)
    route_messages()
    with stage("reading the context and all paths"):
        tasks = _tasks(jobs, options, model)
    scenes = {task.scene for task in tasks}
    if len(scenes) > 1 and (options.save_scene or options.scene_cache):
        raise UserError(
            f"--save-scene and --scene-cache take one scene, but the anchors of these jobs need {len(scenes)} choices of context "
            "frames: leave them out, or start all jobs from one anchor"
        )
    from accelerate import PartialState
    from accelerate.utils import gather_object

    with user_mistakes():
        on_cpu = placement(options).resolved_device() == "cpu"
    state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    options.device = "cpu" if on_cpu else str(state.device)
    if not state.is_main_process:
        options.save_scene = None
    output = Path(options.output)
    finished = [] if options.overwrite else [task.job.name for task in tasks if (output / task.job.name / MARK).is_file()]
    state.wait_for_everyone()  # nobody writes before everybody knows what is left to do
    if state.is_main_process:
        for sentence in dict.fromkeys(sentence for task in tasks for sentence in task.notes):
            note(sentence)
        if finished:
            names = ", ".join(finished)
            note(f"{len(finished)} of {len(tasks)} jobs are finished already and left alone: {names} (--overwrite).")
    with state.split_between_processes([task for task in tasks if task.job.name not in finished]) as mine:
        # Gathering waits for all processes: the first to end with an error would end the others.
        failures = gather_object(_carry_out(mine, options, model))
    if state.is_main_process:
        say(f"\n{len(tasks) - len(finished) - len(failures)} new results in {output}")
    state.destroy_process_group()
    if failures and state.is_main_process:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures)
        raise UserError(f"{len(failures)} of {len(tasks)} jobs failed (run the same command again for these): {reasons}")


@dataclass(frozen=True)
class Task:
    """A job that is known to be possible.

    Args:
        job: as the user gave it.
        options: of the command, with the job's in place of theirs.
        clip: the `Clip`; jobs of one scene share its context.
        plan: what of the context the model is shown.
        scene: equal for tasks that need the same encoded scene.
        notes: what was decided on the way.
    """

    job: Job
    options: Namespace
    clip: Any
    plan: Any
    scene: Any
    notes: tuple[str, ...]


def _tasks(jobs: list[Job], options: Namespace, model: ModelFolder) -> list[Task]:
    """All jobs, those of one scene in a row; every mistake in any of them is told here."""
    from video4spatial.clips.footage import read_footage, resolve_frame
    from video4spatial.media import open_video
    from video4spatial.media.reader import IMAGE_FOLDER_FRAME_RATE

    rate = options.fps or (IMAGE_FOLDER_FRAME_RATE if Path(options.context).is_dir() else None)
    problems, anchors = [], {}
    with user_mistakes(), open_video(options.context, frame_rate=rate) as video:
        total = len(video)
    for job in jobs:
        try:
            anchors[job] = resolve_frame(job.anchor, total, options.context)
        except ValueError as error:
            problems.append(f"job {job.name!r}: {describe(error)}")
    starts = sorted(set(anchors.values()))
    most = min(offered_frames(options, model) or total, total)
    size = max(len(starts) if len(starts) <= most else most // 2, 1)  # more anchors than frames: several choices of context
    footage = {}
    with user_mistakes():
        for index in range(0, len(starts), size):
            group = starts[index : index + size]
            footage |= dict.fromkeys(group, read_footage(options.context, anchors=group, **_footage_options(options, model)))
    tasks, plans = [], {}
    for job, anchor in anchors.items():
        own = Namespace(**{**vars(options), "seed": job.seed, "prompt": job.prompt, "frames": job.frames, "anchor": job.anchor})
        own.trajectory = job.trajectory
        try:
            read = footage[anchor].clip(job.trajectory, job.frames or model.target_frames, anchor)
            chunks = chunk_note(own, model, len(read.clip.instruction.cameras))
            if anchor not in plans:
                plans[anchor] = plan_for(read.clip, read.clip.context_cameras, options)
        except (ValueError, OSError, UserError) as error:
            problems.append(f"job {job.name!r}: {describe(error)}")
            continue
        notes = (*_domain_notes(model), *read.notes, *([chunks] if chunks else []))
        tasks.append(Task(job, own, read.clip, plans[anchor], (footage[anchor].chosen, plans[anchor]), notes))
    if problems:
        raise UserError(f"{options.jobs}: " + "; ".join(problem.rstrip(".") for problem in problems))
    scenes = list(dict.fromkeys(task.scene for task in tasks))
    return sorted(tasks, key=lambda task: scenes.index(task.scene))


def _carry_out(tasks: list[Task], options: Namespace, model: ModelFolder) -> list[tuple[str, str]]:
    """Do tasks one after another; returns the names of those that failed, and why."""
    if not tasks:
        return []
    pipeline = load_pipeline(model, placement(options))
    scene, context, failures = None, None, []
    for place, task in enumerate(tasks, start=1):
        name, clip = task.job.name, task.clip
        say(f"\n{name} ({place} of {len(tasks)})")
        try:
            with output_folder(Path(options.output) / name, options.overwrite) as folder:
                if task.scene != scene:
                    scene = context = None  # its memory goes before the next one comes
                    context = encoded_scene(pipeline, clip, clip.context_cameras, task.plan, options)
                    scene = task.scene
                settings = _footage_settings(task.options)
                sampled = _generate(pipeline, context, clip, model, task.options, settings, list(task.notes))
                _write(folder, sampled, f"{clip.name}: {task.job.trajectory}")
        except Exception as error:  # whatever became of it, the other jobs are still wanted
            if not isinstance(error, UserError):
                traceback.print_exc()
            note(f"{name} failed: {describe(error)}")
            failures.append((name, describe(error)))
    return failures


def _check_exist(options: Namespace) -> None:
    for path in (options.context, options.context_cameras):
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder")


def _domain_notes(model: ModelFolder) -> list[str]:
    known = f"this model knows only {model.domain}: on other footage expect a rough impression at best."
    return [known] if model.domain else []


def _footage_options(options: Namespace, model: ModelFolder) -> dict:
    return {
        "height": model.height,
        "width": model.width,
        "frame_rate": model.frame_rate,
        "context_cameras": options.context_cameras,
        "context_frames": offered_frames(options, model),
        "fov_degrees": options.fov,
        "image_rate": options.fps,
        "scale": options.scale,
    }


def _footage_settings(options: Namespace) -> dict:
    return {"context": options.context, "trajectory": options.trajectory, "anchor": options.anchor}


def _demo_clip(scene: int, model: ModelFolder):
    with stage("rendering the demo scene (the first time, the renderer is compiled: up to a minute)"), user_mistakes():
        from video4spatial.evaluation.test_set import load_test_set

        clips = load_test_set()
        if scene >= len(clips):
            raise UserError(f"--scene {scene}: expected 0 to {len(clips) - 1}")
        return clips[scene].load(size=model.height)


def _sample(clip, cameras, model: ModelFolder, options: Namespace, settings: dict, notes: list[str]) -> Sampled:
    """Load the model, encode the scene, follow the path."""
    chunks = chunk_note(options, model, len(clip.instruction.cameras))
    if chunks:
        note(chunks)
        notes = [*notes, chunks]
    plan = plan_for(clip, cameras, options)
    with user_mistakes():
        pipeline = load_pipeline(model, placement(options))
    context = encoded_scene(pipeline, clip, cameras, plan, options)
    return _generate(pipeline, context, clip, model, options, settings, notes)


def _generate(pipeline, context, clip, model: ModelFolder, options: Namespace, settings: dict, notes: list[str]) -> Sampled:
    steps = options.steps or model.num_inference_steps
    generated = generate(pipeline, context, clip, model, options, steps)
    settings = {
        "model": options.model,
        **settings,
        "context_cameras": context.cameras is not None,
        "context_frames": len(context.shown),
        "frames": len(generated.frames),
        "steps": steps,
        "guidance_scale": options.guidance_scale,
        "seed": options.seed,
        **inference_settings(options, model, generated),
    }
    approximate = [f"the memory of the scene is approximate: {reason}." for reason in generated.approximations]
    return Sampled(clip, generated.frames, model, settings, (*notes, *approximate))


def _write(folder: Path, sampled: Sampled, title: str) -> None:
    """Everything about the result, into `folder`."""
    with stage("scoring and writing"):
        from video4spatial.cameras import write_cameras
        from video4spatial.cameras.plotting import plot_trajectories
        from video4spatial.evaluation.reports.pictures import side_by_side
        from video4spatial.evaluation.reports.sample_page import write_sample_page
        from video4spatial.evaluation.scorecard import measured_cameras, score_clip
        from video4spatial.evaluation.metrics.registry import NAVIGATION_METRICS
        from video4spatial.media import write_images, write_video

        clip, frames, rate = sampled.clip, sampled.frames, sampled.model.frame_rate
        commanded = clip.instruction.cameras
        estimated = measured_cameras(clip, frames)
        measurements = score_clip(clip, frames, estimated_cameras=estimated)
        write_video(folder / "video.mp4", frames, rate)
        write_images(folder / "frames", frames)
        if clip.target_frames is not None:
            pair = side_by_side([("generated", frames), ("ground truth", clip.target_frames)])
            write_video(folder / "side_by_side.mp4", pair, rate)
        seen = None if estimated is None else estimated.placed
        paths = {"commanded": commanded, "context": clip.context_cameras, "seen in the video": seen}
        plot_trajectories({k: v for k, v in paths.items() if v is not None}, folder / "trajectory.png", title=title)
        write_cameras(folder / "transforms.json", commanded, image_size=frames.shape[1:3])
        _write_scores(folder / "scores.json", sampled, measurements)
        applicable = {name: m for name, m in measurements.items() if m.status != "not_applicable"}
        write_sample_page(
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


def _write_scores(path: Path, sampled: Sampled, measurements: dict) -> None:
    """The shape of every results file; what simple reference videos would score stands beside the model."""
    from video4spatial.evaluation.aggregation import rows_of_one_clip
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.rows.references import copy_nearest, mean_colour, static
    from video4spatial.evaluation.scorecard import score_clip

    clip, scored = sampled.clip, {"model": measurements}
    if clip.target_frames is not None:
        for reference in (copy_nearest, mean_colour, static):
            scored[reference.__name__] = score_clip(clip, reference(clip), PIXEL_METRICS)
    settings = {**sampled.settings, "notes": list(sampled.notes), "provenance": clip.provenance}
    write_results(path, "sample", settings, rows_of_one_clip(scored))


def _say_where(folder: str | Path) -> None:
    say(f"\nThe result is in {folder}: open {Path(folder) / 'report.html'}")

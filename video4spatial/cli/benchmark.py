"""`v4s benchmark`: score a model on frozen clips, always beside the reference rows."""

import os
from dataclasses import replace

from video4spatial.cli.arguments import MOST_STEPS, Parser, integer, number, run_action
from video4spatial.cli.errors import user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.sample_options import asked_size
from video4spatial.cli.terminal import console, load_pipeline, note, route_messages, say, stage
from video4spatial.naming import unknown
from video4spatial.pretrained import ModelFolder, read_model_folder

ROOMS = "rooms_nav_v1"
"""Test set where no other is named."""

SHOWN_ROWS = ("model", "model_with_context_cameras", "reconstruct_and_render", "image_to_video")
"""Rows whose videos the report shows."""

NEW_WALK = 1_000_000
"""Walks through training scenes with seeds from here on were never trained on."""


def main(arguments: list[str]) -> None:
    """Run `v4s benchmark navigation` or `grounding`."""
    from video4spatial.cli.benchmark_grounding import grounding

    actions = {"navigation": navigation, "grounding": grounding}
    run_action("v4s benchmark", actions, dict.fromkeys(actions, "--json FILE [options]"), arguments)


def navigation_parser() -> Parser:
    """Options of `v4s benchmark navigation`."""
    parser = Parser(
        "v4s benchmark navigation", "Score a model on a frozen navigation test set, beside all reference rows."
    )
    add = parser.add_argument
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help="pipeline folder or built-in model (default %(default)s)")  # fmt: skip
    add("--test-set", metavar="NAME",
        help=f"shipped test set, or a .json file (default {ROOMS}; with --captures: cut anew)")  # fmt: skip
    add("--captures", metavar="FOLDER", nargs="+",
        help="score on posed captures: each FOLDER is one, or holds one in each subfolder; formats as of v4s curate")  # fmt: skip
    add("--windows", metavar="N", type=integer(1), help="with --captures: most clips per capture (default 6)")
    add("--context-frames", metavar="N", type=integer(3), help="with --captures: most context frames (default 32)")
    add("--write-test-set", metavar="FILE.json",
        help="with --captures: write down how they were cut, for --test-set of a later run")  # fmt: skip
    add("--scenes", metavar="N", type=integer(1), default=64,
        help="only the first so many scenes (default %(default)s)")  # fmt: skip
    add("--size", metavar="WxH", help="size of the pictures (default: that of the model)")
    add("--rows", metavar="A,B,...", help="only these rows, separated by commas (default: all)")
    add("--steps", metavar="N", type=integer(1, MOST_STEPS), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance, 1 is off (default %(default)g)")  # fmt: skip
    add("--seed", metavar="S", type=integer(0), default=0, help="of the noise (default %(default)s)")
    add("--validation-scenes", metavar="N", type=integer(1), default=16,
        help="validation scenes on which the blur of copy_nearest_blurred is fitted (default %(default)s)")  # fmt: skip
    add("--seen-model", metavar="PATH_OR_NAME",
        help="model trained on few scenes, for the rows seen_scenes (default: none, they stay empty)")  # fmt: skip
    add("--seen-scenes", metavar="N", type=integer(1), default=16,
        help="number of scenes it was trained on, the first of the training scenes (default %(default)s)")  # fmt: skip
    add("--processes", metavar="N", type=integer(1), default=os.cpu_count() or 1,
        help="processes that score while the model samples (default %(default)s, one per core)")  # fmt: skip
    add("--peer", metavar="FOLDER",
        help="any diffusers image-to-video pipeline, for the row image_to_video, which goes on from the anchor frame")  # fmt: skip
    add("--peer-height", metavar="N", type=integer(32),
        help="height of the pictures the peer works on (default: as many pixels as it is used to)")  # fmt: skip
    add("--json", metavar="FILE", required=True, help="results file to write")
    add("--details", metavar="FILE",
        help="second results file that has the figures of single clips as well, for v4s compare")  # fmt: skip
    add("--report", metavar="FILE", help="HTML page with leaderboard, curves and clips to look at")
    return parser


def navigation(arguments: list[str]) -> None:
    """Score a model on the navigation test set, or on captures."""
    options = navigation_parser().parse(arguments)
    with user_mistakes():
        folder = read_model_folder(options.model)
        if options.size is not None:
            height, width = asked_size(options.size, folder)
            folder = replace(folder, height=height, width=width)
        seen = None
        if not options.captures and options.seen_model is not None:
            seen = read_model_folder(options.seen_model)
        for name in ("json", "details", "report", "write_test_set"):
            check_file(getattr(options, name), f"--{name.replace('_', '-')}")
        _check_captures(options)
    route_messages()
    with user_mistakes():
        rows = _rows(options.rows)
    clips, about = _clips(options, folder)
    pipeline = load_pipeline(folder)
    pipeline.register_to_config(height=folder.height, width=folder.width)
    from video4spatial.diffusion import JointGuidance
    from video4spatial.evaluation.aggregation import too_few_scenes
    from video4spatial.evaluation.benchmark import Recording, benchmark_navigation
    from video4spatial.evaluation.results import write_results
    from video4spatial.pipelines import GenerationSettings

    with user_mistakes():
        peer = _peer(options)
    recording = Recording([name for name in SHOWN_ROWS if name in rows] if options.report else ())
    results, settings = benchmark_navigation(
        pipeline,
        clips,
        rows,
        generation=GenerationSettings(
            options.steps or folder.num_inference_steps, JointGuidance.absent(options.guidance_scale), options.seed
        ),
        **_more_clips(options, rows, folder, seen),
        peer=peer,
        recording=recording,
        processes=options.processes,
    )
    told = {"model": options.model, "size": f"{folder.width}x{folder.height}"} | ({"peer": options.peer} if options.peer else {})
    settings = {**told, **about, **settings}
    benchmark = "navigation_real" if options.captures else "navigation_rooms"
    with user_mistakes():
        write_results(options.json, benchmark, settings, results)
        if options.details:
            write_results(options.details, benchmark, settings, results, clips=recording.clips)
    show_table(results)
    few = too_few_scenes(max((cell["n"] or 0 for row in results for cell in row["metrics"].values()), default=0))
    if few:
        say(few)
    if options.report:
        with stage("drawing the report"), user_mistakes():
            _write_report(options, folder, clips, results, settings, recording)
    files = (options.json, options.details, options.report, options.write_test_set)
    say("written to " + ", ".join(name for name in files if name))


def _rows(names: str | None) -> tuple[str, ...]:
    """The rows that are named, separated by commas; all by default."""
    from video4spatial.evaluation.benchmark import NAVIGATION_ROWS

    rows = tuple(names.split(",")) if names else NAVIGATION_ROWS
    wrong = [name for name in rows if name not in NAVIGATION_ROWS]
    if wrong:
        raise ValueError(unknown("row", wrong[0], NAVIGATION_ROWS) + f"; known: {', '.join(NAVIGATION_ROWS)}")
    return rows


def _check_captures(options) -> None:
    """Refuse options that need captures, or that captures leave no use for."""
    if options.captures:
        idle = ["windows", "context_frames", "write_test_set"] if options.test_set else []
        reason = "`test_set` says how the captures are cut"
    else:
        idle, reason = ["windows", "context_frames", "write_test_set"], "they are about `captures`, which are not given"
    idle = [name for name in idle if getattr(options, name) is not None]
    if idle:
        raise ValueError(f"{' and '.join(f'`{name}`' for name in idle)} without use: {reason}.")


def _clips(options, folder: ModelFolder) -> tuple[list, dict]:
    """The clips to score, and what the results file says of them."""
    if options.captures:
        from video4spatial.cli.benchmark_captures import capture_clips

        return capture_clips(options, folder.target_frames, folder.frame_rate)
    from video4spatial.evaluation.test_set import load_test_set

    name = options.test_set or ROOMS
    with user_mistakes():
        clips = load_test_set(name, options.scenes)
    if len(clips) < options.scenes:
        note(f"{name} has {len(clips)} scenes, fewer than the {options.scenes} asked for.")
    return clips, {"test_set": name}


def _more_clips(options, rows: tuple[str, ...], folder: ModelFolder, seen: ModelFolder | None) -> dict:
    """Validation clips, and clips and model of the rows on seen scenes, as far as the rows ask for them."""
    from video4spatial.evaluation.benchmark import SEEN_ROWS
    from video4spatial.evaluation.test_set import similar_clips
    from video4spatial.simulation.scenes import SEED_RANGES

    given = {}
    if "copy_nearest_blurred" in rows:
        say("validation clips, on which the blur is fitted (the first time, the renderer is compiled: up to a minute)")
        first = SEED_RANGES["validation"].start
        given["validation_clips"] = similar_clips(range(first, first + options.validation_scenes), folder.height, walk_seed=0)
    if set(SEEN_ROWS) & set(rows) and seen is not None:
        given["seen_pipeline"] = load_pipeline(seen)
        say("new walks through training scenes")
        first = SEED_RANGES["train"].start
        given["seen_clips"] = similar_clips(range(first, first + options.seen_scenes), seen.height, NEW_WALK)
    return given


def _peer(options):
    """(clip, noise) -> frames of the peer's model, or None without one."""
    if options.peer is None:
        return None
    from video4spatial.evaluation.rows.peers import image_to_video, load_image_to_video

    pipeline = load_image_to_video(options.peer)
    return lambda clip, noise: image_to_video(clip, pipeline, options.seed + noise, height=options.peer_height)


def _write_report(options, folder: ModelFolder, clips, results: list[dict], settings: dict, recording) -> None:
    from video4spatial.evaluation.metrics import METRICS, NAVIGATION_METRICS
    from video4spatial.evaluation.reports.benchmark_page import write_benchmark_page
    from video4spatial.evaluation.reports.benchmark_page import shown_clips

    by_name = {clip.name: clip for clip in clips}
    shown = []
    if recording.frames:
        # The first of these whose videos are known is the row the page is about.
        frames = {name: recording.frames[name] for name in SHOWN_ROWS if name in recording.frames}
        metric = METRICS["gradient_correlation"]
        shown = shown_clips(lambda name: by_name[name].load(folder.height, folder.width), recording.clips, frames, metric)
    write_benchmark_page(
        options.report,
        title=f"{options.model} on {settings['test_set']}",
        rows=results,
        clips={name: entries for name, entries in recording.clips.items() if entries},
        shown=shown,
        frame_rate=folder.frame_rate,
        metrics=NAVIGATION_METRICS,
        settings={name: value for name, value in settings.items() if name != "windows"},
    )


FIGURE_WIDTH = 7
"""Characters of a column of figures: 0.00123."""


def show_table(rows: list[dict]) -> None:
    """The figures as a table.

    Args:
        rows: of a results file.
    """
    from rich.table import Table

    every = list(rows[0]["metrics"])
    longest = max(len(row["name"]) for row in rows)
    metrics = every[: max(1, (console.width - longest - 2) // (FIGURE_WIDTH + 2))]  # the headline ones come first
    table = Table(box=None)
    table.add_column("row", no_wrap=True)
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right", overflow="fold", min_width=FIGURE_WIDTH)
    for row in rows:
        cells = [row["metrics"][name] for name in metrics]
        table.add_row(row["name"], *("–" if cell["value"] is None else f"{cell['value']:.3g}" for cell in cells))
    console.print(table)
    if len(metrics) < len(every):
        say(f"and {', '.join(every[len(metrics) :])}: in the file of --json, or in a wider window")

"""`v4s benchmark`: score a model on frozen clips, always beside the reference rows."""

import os

from video4spatial.cli.arguments import Parser, integer, number, run_action
from video4spatial.cli.errors import user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import console, load_pipeline, note, route_messages, say, stage
from video4spatial.naming import unknown
from video4spatial.pretrained import ModelFolder, built_in_models, read_model_folder

SEEN_MODEL = "rooms-16"
SHOWN_ROWS = ("model", "reconstruct_and_render", "image_to_video")
"""Rows whose videos the report shows."""

NEW_WALK = 1_000_000
"""Walks through training scenes with seeds from here on were never trained on."""


def main(arguments: list[str]) -> None:
    """Run `v4s benchmark navigation`."""
    run_action("v4s benchmark", {"navigation": navigation}, {"navigation": "--json FILE [options]"}, arguments)


def navigation_parser() -> Parser:
    """Options of `v4s benchmark navigation`."""
    parser = Parser(
        "v4s benchmark navigation", "Score a model on a frozen navigation test set, beside all reference rows."
    )
    add = parser.add_argument
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help="pipeline folder or built-in model (default %(default)s)")  # fmt: skip
    add("--test-set", metavar="NAME", default="rooms_nav_v1",
        help="shipped test set, or a .json file (default %(default)s)")  # fmt: skip
    add("--scenes", metavar="N", type=integer(2), default=64,
        help="only the first so many scenes (default %(default)s)")  # fmt: skip
    add("--rows", metavar="A,B,...", help="only these rows, separated by commas (default: all)")
    add("--steps", metavar="N", type=integer(1), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance, 1 is off (default %(default)g)")  # fmt: skip
    add("--seed", metavar="S", type=integer(0), default=0, help="of the noise (default %(default)s)")
    add("--validation-scenes", metavar="N", type=integer(1), default=16,
        help="validation scenes on which the blur of copy_nearest_blurred is fitted (default %(default)s)")  # fmt: skip
    add("--seen-model", metavar="PATH_OR_NAME", default=SEEN_MODEL,
        help="model trained on few scenes, for the row seen_scenes (default %(default)s)")  # fmt: skip
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
    """Score a model on the navigation test set."""
    options = navigation_parser().parse(arguments)
    with user_mistakes():
        folder = read_model_folder(options.model)
        seen = None
        if options.seen_model != SEEN_MODEL or SEEN_MODEL in built_in_models():
            seen = read_model_folder(options.seen_model)
        for name in ("json", "details", "report"):
            check_file(getattr(options, name), f"--{name}")
    route_messages()
    if seen is None:
        note(f"{SEEN_MODEL} is not part of this installation, so the rows seen_scenes stay empty (--seen-model).")
    pipeline = load_pipeline(folder)
    from video4spatial.diffusion import JointGuidance
    from video4spatial.evaluation.benchmark import NAVIGATION_ROWS, Recording, benchmark_navigation
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.test_set import load_test_set
    from video4spatial.pipelines import GenerationSettings

    steps = options.steps or folder.num_inference_steps
    rows = tuple(options.rows.split(",")) if options.rows else NAVIGATION_ROWS
    with user_mistakes():
        clips = load_test_set(options.test_set, options.scenes)
        wrong = [name for name in rows if name not in NAVIGATION_ROWS]
        if wrong:
            raise ValueError(unknown("row", wrong[0], NAVIGATION_ROWS) + f"; known: {', '.join(NAVIGATION_ROWS)}")
        peer = _peer(options)
    if len(clips) < options.scenes:
        note(f"{options.test_set} has {len(clips)} scenes, fewer than the {options.scenes} asked for.")
    recording = Recording([name for name in SHOWN_ROWS if name in rows] if options.report else ())
    results, settings = benchmark_navigation(
        pipeline,
        clips,
        rows,
        generation=GenerationSettings(steps, JointGuidance.absent(options.guidance_scale), options.seed),
        **_more_clips(options, rows, folder, seen),
        peer=peer,
        recording=recording,
        processes=options.processes,
        progress=console.is_terminal,
    )
    settings = {"model": options.model, "test_set": options.test_set, **settings}
    if options.peer:
        settings["peer"] = options.peer
    with user_mistakes():
        write_results(options.json, "navigation_rooms", settings, results)
        if options.details:
            write_results(options.details, "navigation_rooms", settings, results, clips=recording.clips)
    _show(results)
    if options.report:
        with stage("drawing the report"), user_mistakes():
            _write_report(options, folder, clips, results, settings, recording)
    say("written to " + ", ".join(name for name in (options.json, options.details, options.report) if name))


def _more_clips(options, rows: tuple[str, ...], folder: ModelFolder, seen: ModelFolder | None) -> dict:
    """Validation clips, and clips and model of the rows on seen scenes, as far as the rows ask for them."""
    from video4spatial.evaluation.benchmark import SEEN_ROWS
    from video4spatial.evaluation.test_set import similar_clips
    from video4spatial.simulation.scenes import SEED_RANGES

    given = {}
    if "copy_nearest_blurred" in rows:
        with stage("rendering validation clips (the first time, the renderer is compiled: up to a minute)"):
            first = SEED_RANGES["validation"].start
            given["validation_clips"] = similar_clips(range(first, first + options.validation_scenes), folder.height, walk_seed=0)
    if set(SEEN_ROWS) & set(rows) and seen is not None:
        given["seen_pipeline"] = load_pipeline(seen)
        with stage("rendering new walks through training scenes"):
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
        shown = shown_clips(lambda name: by_name[name].load(size=folder.height), recording.clips, frames, metric)
    write_benchmark_page(
        options.report,
        title=f"{options.model} on {options.test_set}",
        rows=results,
        clips={name: entries for name, entries in recording.clips.items() if entries},
        shown=shown,
        frame_rate=folder.frame_rate,
        metrics=NAVIGATION_METRICS,
        settings=settings,
    )


FIGURE_WIDTH = 7
"""Characters of a column of figures: 0.00123."""


def _show(rows: list[dict]) -> None:
    """The figures as a table."""
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

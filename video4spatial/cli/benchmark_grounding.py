"""`v4s benchmark grounding`: score planned ways to objects on frozen clips, beside the reference rows."""

from __future__ import annotations

import os
from dataclasses import replace

from video4spatial.cli.arguments import Parser, integer
from video4spatial.cli.benchmark import show_table
from video4spatial.cli.errors import user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.sample_options import asked_size
from video4spatial.cli.terminal import load_pipeline, note, route_messages, say
from video4spatial.naming import unknown
from video4spatial.pretrained import read_model_folder

ROOMS = "rooms_ground_v1"
"""Test set where no other is named."""


def grounding_parser() -> Parser:
    """Options of `v4s benchmark grounding`."""
    parser = Parser(
        "v4s benchmark grounding", "Score ways to objects that are marked on a frame, on a frozen test set, beside all reference rows."
    )
    add = parser.add_argument
    add("--model", metavar="PATH_OR_NAME", default="rooms",
        help="pipeline folder or built-in model that follows the ways (default %(default)s)")  # fmt: skip
    add("--test-set", metavar="NAME", default=ROOMS, help="shipped test set, or a .json file (default %(default)s)")
    add("--scenes", metavar="N", type=integer(1), default=64, help="only the first so many scenes (default %(default)s)")
    add("--size", metavar="WxH", help="size of the pictures (default: that of the model)")
    add("--rows", metavar="A,B,...", help="only these rows, separated by commas (default: all)")
    add("--steps", metavar="N", type=integer(1), help="denoising steps (default: what suits the model)")
    add("--seed", metavar="S", type=integer(0), default=0, help="of the noise (default %(default)s)")
    add("--processes", metavar="N", type=integer(1), default=os.cpu_count() or 1,
        help="processes that score while the model samples (default %(default)s, one per core)")  # fmt: skip
    add("--json", metavar="FILE", required=True, help="results file to write")
    add("--details", metavar="FILE", help="second results file that has the figures of single clips as well")
    add("--videos", metavar="FOLDER", help="also write the last frame of each row's video of each clip there, to look at")
    return parser


def grounding(arguments: list[str]) -> None:
    """Score ways to objects on the grounding test set.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a model, a test set, rows or files that cannot be used.
    """
    options = grounding_parser().parse(arguments)
    with user_mistakes():
        folder = read_model_folder(options.model)
        if options.size is not None:
            height, width = asked_size(options.size, folder)
            folder = replace(folder, height=height, width=width)
        check_file(options.json, "--json")
        check_file(options.details, "--details")
    route_messages()
    from video4spatial.evaluation.benchmark import Recording
    from video4spatial.evaluation.grounding_benchmark import benchmark_grounding
    from video4spatial.evaluation.grounding_set import load_grounding_set
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.rows.grounding import GROUNDING_ROWS
    from video4spatial.pipelines import GenerationSettings

    rows = tuple(options.rows.split(",")) if options.rows else tuple(GROUNDING_ROWS)
    with user_mistakes():
        wrong = [name for name in rows if name not in GROUNDING_ROWS]
        if wrong:
            raise ValueError(unknown("row", wrong[0], GROUNDING_ROWS) + f"; known: {', '.join(GROUNDING_ROWS)}")
        clips = load_grounding_set(options.test_set, options.scenes)
    if len(clips) < options.scenes:
        note(f"{options.test_set} has {len(clips)} scenes, fewer than the {options.scenes} asked for.")
    pipeline = load_pipeline(folder)
    pipeline.register_to_config(height=folder.height, width=folder.width)
    recording = Recording(rows if options.videos else ())
    generation = GenerationSettings(options.steps or folder.num_inference_steps, seed=options.seed)
    with user_mistakes():
        results, settings = benchmark_grounding(
            pipeline, clips, rows, generation=generation, recording=recording, processes=options.processes
        )
        told = {"model": options.model, "size": f"{folder.width}x{folder.height}", "test_set": options.test_set}
        write_results(options.json, "grounding_rooms", {**told, **settings}, results)
        if options.details:
            write_results(options.details, "grounding_rooms", {**told, **settings}, results, clips=recording.clips)
        if options.videos:
            _write_last_frames(options.videos, recording.frames)
    show_table(results)
    say("written to " + ", ".join(name for name in (options.json, options.details, options.videos) if name))


def _write_last_frames(folder: str, frames: dict) -> None:
    """A folder of pictures per row, one per clip."""
    from pathlib import Path

    from PIL import Image

    for row, clips in frames.items():
        place = Path(folder) / row
        place.mkdir(parents=True, exist_ok=True)
        for clip, video in clips.items():
            Image.fromarray(video[-1]).save(place / f"{clip}.png")

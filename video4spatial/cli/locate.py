"""`v4s locate`: where an object is in the scene of a video, on its frames and from above."""

from __future__ import annotations

import json
from pathlib import Path

from video4spatial.cli.arguments import Parser
from video4spatial.cli.errors import EXIT_NOT_FOUND, UserError, in_flags, user_mistakes
from video4spatial.cli.geometry import add_reading_options, estimated, reading_footage
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.sample_options import add_target_options
from video4spatial.cli.targets import absence, read_target
from video4spatial.cli.terminal import note, route_messages, say, stage
from video4spatial.files import write_whole

MARK = "located.json"


def locate_parser() -> Parser:
    """Options of `v4s locate`."""
    parser = Parser(
        "v4s locate",
        "Find an object in the scene of a video. The folder holds located.json (its box in space, its boxes on the frames, how sure that\n"
        "is), map.png (from above) and a page about it (report.html). Exit code 3 where it is not found.",
        "example:\n  v4s locate room.mp4 --region frame=12,box=0.4,0.3,0.6,0.8 --output outputs/lamp",
    )
    parser.add_argument("video", metavar="VIDEO", help="video file or folder of images")
    parser.add_argument("--output", metavar="DIR", required=True, help="folder to write")
    add_target_options(parser)
    add_reading_options(parser)
    return parser


def main(arguments: list[str]) -> None:
    """Find an object and write where it is.

    Args:
        arguments: those after the verb.

    Raises:
        UserError: for a video, a target or cameras that cannot be used; with another exit code where the object is not found.
    """
    options = locate_parser().parse(arguments)
    with user_mistakes():
        for path in (options.video, options.cameras):
            if path is not None and not Path(path).exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
    target = read_target(options)
    absent = None
    with output_folder(options.output, options.overwrite, MARK) as folder:
        route_messages()
        flags = {"context_cameras": "--cameras", "context_frames": "--frames"}
        with stage("reading the video"), user_mistakes(**flags):
            footage = reading_footage(options, target.marked)
            instruction = target.within(footage)
        notes = [in_flags(sentence, **flags) for sentence in footage.notes]
        for sentence in notes:
            note(sentence)
        with stage(f"reading cameras and depth of {len(footage.frames)} frames") as tell, user_mistakes():
            geometry = estimated(footage, options, tell)
        for sentence in geometry.in_words():
            note(sentence)
        from video4spatial.evaluation.reports.grounding_page import write_locate_page
        from video4spatial.grounding.levelling import LevelScene
        from video4spatial.grounding.phrases import locate

        scene = found = None
        try:
            with stage("looking for the object"), absence():
                scene = LevelScene.of(geometry)
                found = locate(scene, instruction, target.detector, target.samples)
        except UserError as error:
            if error.code != EXIT_NOT_FOUND:
                raise
            absent = error
        with stage("writing files and page"), user_mistakes():
            sentence = str(absent) if found is None else f"found, {found.verdict}"
            content = {"found": found is not None, "video": Path(options.video).name, "target": target.given, "words": sentence}
            content |= {} if found is None else found.as_dict(footage.chosen)
            write_whole(folder / MARK, json.dumps(content, indent=1) + "\n")
            marked = None if instruction.region is None else instruction.region.frame
            title = f"{Path(options.video).name}: {target.given}"
            write_locate_page(folder, title, scene, found, [sentence], footage.chosen, marked, notes)
    if absent is not None:
        raise absent
    say(sentence)
    say(f"\nThe result is in {options.output}: open {Path(options.output) / 'report.html'}")

"""`v4s geometry`: what a video says about space, as files and a page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.arguments import Parser, integer, number
from video4spatial.cli.errors import UserError, in_flags, user_mistakes
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.terminal import note, route_messages, say, stage

if TYPE_CHECKING:
    from video4spatial.clips.footage import Footage
    from video4spatial.geometry.scene_geometry import SceneGeometry
    from video4spatial.waits import Told


def geometry_parser() -> Parser:
    """Options of `v4s geometry`."""
    parser = Parser(
        "v4s geometry",
        "Read cameras and depth from a video. The folder holds geometry.safetensors (for sample.py --geometry), images/ with their\n"
        "cameras (transforms.json, colmap/), depth and confidence as pictures, a point cloud (points.ply) and a page about it all\n"
        "(report.html).",
        "example:\n  v4s geometry room.mp4 --output outputs/room_geometry",
    )
    add = parser.add_argument
    add("video", metavar="VIDEO", help="video file or folder of images")
    add("--output", metavar="DIR", required=True, help="folder to write")
    add_reading_options(parser)
    return parser


def add_reading_options(parser: Parser) -> None:
    """How a video and its geometry are read.

    Args:
        parser: gets the options.
    """
    add = parser.add_argument
    add("--cameras", metavar="FILE",
        help="cameras, by the names of the pictures or one per frame of the video (default: found in the frames)")  # fmt: skip
    add("--frames", metavar="N", type=integer(1), default=32,
        help="longer videos are thinned evenly to so many frames (default %(default)s)")  # fmt: skip
    add("--longest", metavar="PIXELS", type=integer(64), default=640,
        help="longer side of the pictures that are kept; larger ones are made smaller (default %(default)s)")  # fmt: skip
    add("--depth", metavar="stereo|plane-sweep|PATH", default="stereo",
        help="the built-in stereo network, plane sweep without any weights, a folder with a depth model of transformers, or (with "
        "--cameras) one with depth maps, a file per frame: .png of 16 bits in millimetres, .npy or .npz in metres; or one .npz for all, as "
        "VGGT, Depth Anything 3, Pi3 and MapAnything give it, with --cameras the same file (default %(default)s)")  # fmt: skip
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view, where no camera file gives it (default: what the video says of its lens, else 60 "
        "along the longer side)")  # fmt: skip
    add("--fps", metavar="F", type=number(0), help="images per second, for a folder of images (default 4)")
    add("--scale", metavar="S", type=number(0), default=1.0, help="factor on the lengths in the camera file (default %(default)g)")
    add("--overwrite", action="store_true", help="replace an earlier result in the output folder")


def main(arguments: list[str]) -> None:
    """Read a video's geometry and write it.

    Args:
        arguments: those after the verb.

    Raises:
        UserError: for a video, cameras or a model that cannot be used, or a folder that may not be written.
    """
    options = geometry_parser().parse(arguments)
    with user_mistakes():
        for path in (options.video, options.cameras):
            if path is not None and not Path(path).exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
    with output_folder(options.output, options.overwrite, "geometry.json") as folder:
        route_messages()
        with stage("reading the video"), user_mistakes(context_cameras="--cameras", context_frames="--frames"):
            footage = reading_footage(options)
        notes = [in_flags(sentence, context_cameras="--cameras", context_frames="--frames") for sentence in footage.notes]
        for sentence in notes:
            note(sentence)
        with stage(f"reading cameras and depth of {len(footage.frames)} frames") as tell, user_mistakes():
            geometry = estimated(footage, options, tell)
        for sentence in geometry.in_words():
            note(sentence)
        with stage("writing files and page"), user_mistakes():
            from video4spatial.evaluation.reports.geometry_page import write_geometry_page
            from video4spatial.geometry.scene_files import export_geometry, write_geometry

            write_geometry(geometry, folder)
            export_geometry(geometry, folder)
            write_geometry_page(folder, geometry, f"Geometry of {Path(options.video).name}", notes)
    say(f"\nThe result is in {options.output}: open {Path(options.output) / 'report.html'}")


def reading_footage(options: Namespace, marked: Sequence[int] = ()) -> Footage:
    """The video's frames in its own aspect.

    Args:
        options: of `add_reading_options`, and the video.
        marked: frames that must be among those that are used.

    Raises:
        FileNotFoundError, ValueError: for a video, cameras or frames that cannot be used.
    """
    from video4spatial.clips.footage import read_footage

    return read_footage(
        options.video, longest=options.longest, marked=marked, context_cameras=options.cameras, context_frames=options.frames,
        fov_degrees=options.fov, image_rate=options.fps, scale=options.scale,
    )  # fmt: skip


def estimated(footage: Footage, options: Namespace, tell: Told) -> SceneGeometry:
    """Cameras and depth of a video's frames.

    Args:
        footage: the frames.
        options: of `add_reading_options`.
        tell: is told of each step.

    Raises:
        UserError, ValueError, OSError: for cameras, depth or a model that cannot be used.
    """
    from video4spatial.geometry.depth_files import holds_depth, read_depth_maps
    from video4spatial.geometry.plane_sweep import PlaneSweepDepth
    from video4spatial.media import image_paths
    from video4spatial.models.depth_model import DepthModel
    from video4spatial.pipelines.scene_geometry import built_in_stereo, estimate_geometry

    if options.depth == "stereo":
        depth = built_in_stereo()
    elif options.depth == "plane-sweep":
        depth = PlaneSweepDepth()
    elif holds_depth(options.depth):
        if options.cameras is None:
            raise UserError("--depth with depth maps needs the cameras of the frames: add --cameras")
        if footage.undistorted:
            raise UserError(
                f"--depth {options.depth} holds depth of distorted pictures, and the lens that {options.cameras} gives is taken out of "
                "them: undistort pictures and depth first (colmap image_undistorter), or leave --depth out"
            )
        names = [path.name for path in image_paths(footage.path)] if footage.path.is_dir() else []
        depth = read_depth_maps(options.depth, footage.total, list(footage.chosen), names).quarter_turned(footage.quarter_turns)
        if Path(options.depth).is_file():
            if Path(options.cameras).resolve() != Path(options.depth).resolve():
                raise UserError(f"--depth {options.depth} holds depth in the unit of its own cameras: give it as --cameras too")
            depth = replace(depth, depth=footage.unit * depth.depth)
    else:
        depth = DepthModel(options.depth, built_in_stereo())
    return estimate_geometry(footage.frames, footage.cameras, footage.view.intrinsics[0], depth=depth, tell=tell)

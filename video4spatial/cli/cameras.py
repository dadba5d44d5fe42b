"""`v4s cameras`: look into camera files, and convert them."""

from video4spatial.cli.arguments import Parser, number, picture_size, run_action
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import route_messages, say


def main(arguments: list[str]) -> None:
    """Run `v4s cameras inspect` or `convert`.

    Args:
        arguments: those after the verb, the action first.

    Raises:
        UserError: for another action, or as of the action.
    """
    usage = {"inspect": "FILE [options]", "convert": "FILE OUTPUT [options]"}
    run_action("v4s cameras", {"inspect": inspect, "convert": convert}, usage, arguments)


def inspect_parser() -> Parser:
    """Options of `v4s cameras inspect`."""
    parser = Parser(
        "v4s cameras inspect", "Say which convention a camera file looks like, its axes and scale, and draw it."
    )
    add = parser.add_argument
    add("file", metavar="FILE", help="camera file, or folder of a COLMAP model or of matrices")
    add("--output", metavar="PNG", help="picture of the cameras to write (default: none)")
    add("--from", dest="source", metavar="FORMAT", help="format of FILE (default: recognised from its content)")
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view, for files without intrinsics (default 60 along the longer side)")  # fmt: skip
    add("--size", metavar="WxH", help="picture size in pixels, for files that do not say it")
    return parser


def inspect(arguments: list[str]) -> None:
    """Print what a camera file looks like.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a file that cannot be read, or a picture that cannot be written.
    """
    options = inspect_parser().parse(arguments)
    from video4spatial.cameras.formats import Stated
    from video4spatial.cameras.inspection import inspect_cameras

    route_messages(aspect="--size")
    with user_mistakes(aspect="--size"):
        check_file(options.output, "--output")
        stated = Stated(options.fov, None, None if options.size is None else picture_size(options.size, "640x480"))
        report = inspect_cameras(options.file, options.source, stated)
    say(str(report))
    if options.output is not None:
        with user_mistakes():
            report.draw(options.output)
        say(f"drawn in {options.output}")


def convert_parser() -> Parser:
    """Options of `v4s cameras convert`."""
    parser = Parser("v4s cameras convert", "Write the cameras of a file in another format.")
    add = parser.add_argument
    add("file", metavar="FILE", help="camera file, or folder of a COLMAP model or of matrices")
    add("output", metavar="OUTPUT", help="file (for COLMAP a new folder) to write")
    add("--from", dest="source", metavar="FORMAT", help="format of FILE (default: recognised from its content)")
    add("--to", dest="target", metavar="FORMAT",
        help="format of OUTPUT (default: from its ending, .json is transforms)")  # fmt: skip
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view, for files without intrinsics (default 60 along the longer side)")  # fmt: skip
    add("--size", metavar="WxH", help="picture size in pixels, for formats that store pixels (default: 1024 wide)")
    add("--fps", metavar="F", type=number(0), help="cameras per second, for files without times")
    return parser


def convert(arguments: list[str]) -> None:
    """Write the cameras of a file in another format.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a file that cannot be read or written.
    """
    options = convert_parser().parse(arguments)
    from video4spatial.cameras import write_cameras
    from video4spatial.cameras.formats import FORMATS, Stated, format_to_write, read_camera_file, warn_distortion

    route_messages(aspect="--size")
    with user_mistakes(aspect="--size", frame_rate="--fps"):
        size = None if options.size is None else picture_size(options.size, "640x480")
        file = read_camera_file(options.file, options.source, Stated(options.fov, None, size))
        warn_distortion(options.file, file)
        cameras = file.cameras
        if cameras.times is not None and options.fps is not None:
            raise UserError(f"--fps {options.fps:g}: {options.file} has times of its own; leave --fps out")
        if options.fps is not None:
            cameras = cameras.with_frame_rate(options.fps)
        target = format_to_write(options.output, options.target)
        names = file.image_names if getattr(FORMATS[target], "NAMES_IMAGES", False) else None
        write_cameras(options.output, cameras, target, image_size=size, image_names=names)
    say(f"{len(cameras)} cameras read as {cameras.convention}; written to {options.output}")

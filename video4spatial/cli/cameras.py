"""`v4s cameras`: look into camera files, and convert them."""

from video4spatial.cli.arguments import Parser, number, picture_size, run_action
from video4spatial.cli.errors import user_mistakes
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
    parser.add_argument("file", metavar="FILE", help="camera file")
    parser.add_argument("--output", metavar="PNG", help="picture of the cameras to write (default: none)")
    return parser


def inspect(arguments: list[str]) -> None:
    """Print what a camera file looks like.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a file that cannot be read, or a picture that cannot be written.
    """
    options = inspect_parser().parse(arguments)
    from video4spatial.cameras.inspection import inspect_cameras

    route_messages()
    with user_mistakes():
        check_file(options.output, "--output")
        report = inspect_cameras(options.file)
    say(str(report))
    if options.output is not None:
        with user_mistakes():
            report.draw(options.output)
        say(f"drawn in {options.output}")


def convert_parser() -> Parser:
    """Options of `v4s cameras convert`."""
    parser = Parser("v4s cameras convert", "Write the cameras of a file in another format.")
    add = parser.add_argument
    add("file", metavar="FILE", help="camera file, or folder of a COLMAP model")
    add("output", metavar="OUTPUT", help="file (for COLMAP a new folder) to write")
    add("--from", dest="source", metavar="FORMAT", help="format of FILE (default: recognised from its content)")
    add("--to", dest="target", metavar="FORMAT",
        help="format of OUTPUT (default: from its ending, .json is transforms)")  # fmt: skip
    add("--fov", metavar="DEG", type=number(0, 180),
        help="horizontal field of view, for files without intrinsics")  # fmt: skip
    add("--size", metavar="WxH", help="picture size in pixels, for formats that store pixels (default: 1024 wide)")
    return parser


def convert(arguments: list[str]) -> None:
    """Write the cameras of a file in another format.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a file that cannot be read or written.
    """
    options = convert_parser().parse(arguments)
    from video4spatial.cameras import read_cameras, write_cameras

    route_messages()
    with user_mistakes():
        size = None if options.size is None else picture_size(options.size, "640x480")
        aspect = None if size is None else size[1] / size[0]
        cameras = read_cameras(options.file, options.source, fov_degrees=options.fov, aspect=aspect)
        write_cameras(options.output, cameras, options.target, image_size=size)
    say(f"{len(cameras)} cameras read as {cameras.convention}; written to {options.output}")

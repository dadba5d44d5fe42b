"""`v4s cameras`: look into camera files."""

from video4spatial.cli.arguments import Parser, unknown
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import route_messages, say


def main(arguments: list[str]) -> None:
    """Run `v4s cameras inspect`."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: v4s cameras inspect FILE [options]\n\nv4s cameras inspect --help explains it.")
        return
    if not arguments or arguments[0] != "inspect":
        raise UserError(unknown("action", arguments[0] if arguments else "", ["inspect"]) + "; known: inspect")
    inspect(arguments[1:])


def inspect_parser() -> Parser:
    """Options of `v4s cameras inspect`."""
    parser = Parser(
        "v4s cameras inspect", "Say which convention a camera file looks like, its axes and scale, and draw it."
    )
    parser.add_argument("file", metavar="FILE", help="camera file")
    parser.add_argument("--output", metavar="PNG", help="picture of the cameras to write (default: none)")
    return parser


def inspect(arguments: list[str]) -> None:
    """Print what a camera file looks like."""
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

"""`v4s export`: a model as a plain Wan folder of diffusers."""

from pathlib import Path

from video4spatial.cli.arguments import Parser
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.terminal import note, route_messages, say, stage
from video4spatial.pretrained import read_model_folder


def export_parser() -> Parser:
    """Options of `v4s export`."""
    parser = Parser(
        "v4s export",
        "Write the weights that a model shares with Wan as a plain Wan folder, which diffusers' WanTransformer3DModel and\n"
        "WanPipeline load. What Wan has no place for is left out, and said.",
    )
    add = parser.add_argument
    add("--model", metavar="FOLDER", required=True,
        help="pipeline folder of a model that reads text, such as one started from Wan")  # fmt: skip
    add("--output", metavar="DIR", required=True, help="folder to write; must not exist, or be empty")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s export`."""
    options = export_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
    output = Path(options.output)
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} exists and is not empty: choose another --output")
    route_messages()
    with output_folder(output) as folder, stage("writing the Wan folder"):
        # Imported here: --help and mistakes in the options must answer at once.
        from video4spatial.cli.loading import quiet_diffusers
        from video4spatial.models.wan_weights import export_wan

        quiet_diffusers()
        with user_mistakes():
            left_out = export_wan(model.path, folder)
    note(f"left out, as a Wan folder has no place for it: {'; '.join(left_out)}.")
    say(f"written to {output}; its README.md lists what was left out")

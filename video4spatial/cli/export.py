"""`v4s export`: a model as a plain Wan folder of diffusers, or in half precision."""

from pathlib import Path

from video4spatial.cli.arguments import MOST_STEPS, Parser, integer
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import output_folder
from video4spatial.cli.terminal import note, route_messages, say, stage
from video4spatial.pretrained import read_model_folder


def export_parser() -> Parser:
    """Options of `v4s export`."""
    parser = Parser(
        "v4s export",
        "Write the weights that a model shares with Wan as a plain Wan folder, which diffusers' WanTransformer3DModel and\n"
        "WanPipeline load. What Wan has no place for is left out, and said. Or, with --half, write the model as the built-in\n"
        "ones are stored: a pipeline folder of half the size, which loads in single precision again.",
    )
    add = parser.add_argument
    add("--model", metavar="FOLDER", required=True,
        help="pipeline folder of a model; for a Wan folder of one that reads text, such as one started from Wan")  # fmt: skip
    add("--output", metavar="DIR", required=True, help="folder to write; must not exist, or be empty")
    add("--half", action="store_true", help="a pipeline folder in half precision instead of a Wan folder")
    add("--steps", metavar="N", type=integer(1, MOST_STEPS),
        help="with --half: denoising steps that the model is used with unless others are asked for (default: what it says)")  # fmt: skip
    add("--domain", metavar="TEXT", help="with --half: what the model has seen, in words (default: what it says)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s export`."""
    options = export_parser().parse(arguments)
    for option in ("steps", "domain"):
        if getattr(options, option) is not None and not options.half:
            raise UserError(f"--{option} goes with --half: a Wan folder has no place for it")
    with user_mistakes():
        model = read_model_folder(options.model)
    output = Path(options.output)
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output} exists and is not empty: choose another --output")
    route_messages()
    with output_folder(output) as folder, stage(f"writing the {'model in half precision' if options.half else 'Wan folder'}"):
        # Imported here: --help and mistakes in the options must answer at once.
        from video4spatial.cli.terminal import quiet_diffusers
        from video4spatial.models.wan_weights import export_wan
        from video4spatial.training.model_folder import save_in_half_precision

        quiet_diffusers()
        with user_mistakes():
            if options.half:
                save_in_half_precision(model.path, folder, options.steps, options.domain)
            else:
                left_out = export_wan(model.path, folder)
    if options.half:
        say(f"written to {output}")
        return
    note(f"left out, as a Wan folder has no place for it: {'; '.join(left_out)}.")
    say(f"written to {output}; its README.md lists what was left out")

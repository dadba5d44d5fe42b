"""`v4s train` and `train.py`: the front door of everything that is trained here."""

from pathlib import Path

from video4spatial.cli.errors import UserError
from video4spatial.cli.terminal import stage
from video4spatial.naming import unknown

MODES = ("fit",)
USAGE = """usage: train.py fit --config FILE [--KEY VALUE ...] [--ckpt_path last]

Train what a configuration names:
  configs/train/rooms.yaml         the model, on simulated rooms
  configs/train/curated.yaml       the model, on a data set that curation made
  configs/train/autoencoder.yaml   the autoencoder of pictures that they need
  configs/train/refiner.yaml       the refiner of what an autoencoder decodes
  configs/train/budget.yaml        after one of them: trains for so many minutes
They explain every key. Any of them can be given on the command line as --trainer.max_steps 1000, --data.batch_size 16,
--model.learning_rate 3e-4 (short for --model.init_args.learning_rate), --trainer.callbacks+=CompileBlocks ...

  --config FILE       configuration; several are merged, later ones win
  --ckpt_path PATH    checkpoint to resume from exactly, or 'last'
  --print_config      print the merged configuration and stop

train.py fit --help lists the keys of the trainer with their types and defaults; --model.help CLASS, --data.help CLASS and
--trainer.callbacks.help CLASS list those of DenoiserModule, AutoencoderModule, RefinerModule, RoomsData, CuratedData, TimeBudget ..."""


def main(arguments: list[str]) -> None:
    """Run `fit`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in MODES:
        raise UserError(unknown("mode", arguments[0], MODES) + f"; known: {', '.join(MODES)}")
    for path in config_paths(arguments):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such configuration file")
    with stage("loading what training needs"):
        # Imported here: --help and a missing file must answer at once.
        from video4spatial.cli.lightning_cli import build_cli

    build_cli(arguments)


def config_paths(arguments: list[str]) -> list[str]:
    """The values of all --config options.

    Args:
        arguments: of the command line.
    """
    joined = [argument.split("=", 1)[1] for argument in arguments if argument.startswith("--config=")]
    return joined + [value for option, value in zip(arguments, arguments[1:]) if option == "--config"]

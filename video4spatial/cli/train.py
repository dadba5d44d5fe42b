"""`v4s train` and `train.py`: Lightning's command line for the navigation model, with mistakes told in one line."""

import warnings
import zipfile
from pathlib import Path

from video4spatial.cli.arguments import unknown
from video4spatial.cli.errors import UserError, user_mistakes

MODES = ("fit",)
USAGE = """usage: train.py fit --config FILE [--KEY VALUE ...] [--ckpt_path last]

Train a model. configs/train/rooms.yaml explains every key; any of them can be given on the command line as
--trainer.max_steps 1000, --data.batch_size 16, --model.learning_rate 3e-4 ...

  --config FILE       configuration; several are merged, later ones win
  --ckpt_path PATH    checkpoint to resume from exactly, or 'last'
  --print_config      print the merged configuration and stop

train.py fit --help lists every key with its type and default."""


def main(arguments: list[str]) -> None:
    """Run `fit`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in MODES:
        raise UserError(unknown("mode", arguments[0], MODES) + f"; known: {', '.join(MODES)}")
    for path in _config_paths(arguments):
        if not Path(path).is_file():
            raise UserError(f"{path}: no such configuration file")
    build_cli(arguments)


def _config_paths(arguments: list[str]) -> list[str]:
    """The values of all --config options."""
    joined = [argument.split("=", 1)[1] for argument in arguments if argument.startswith("--config=")]
    return joined + [value for option, value in zip(arguments, arguments[1:]) if option == "--config"]


def build_cli(arguments: list[str], run: bool = True):
    """Lightning's command line, told where to find what we train.

    Args:
        arguments: as on the command line (with `run`, the mode comes first).
        run: whether to carry out the mode, or only to build everything.

    Returns:
        The `LightningCLI`, with `.model`, `.datamodule` and `.trainer`.

    Raises:
        UserError: for unknown keys and impossible values.
    """
    # Imported here: --help and a missing file must answer at once.
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    from video4spatial.training.data import RoomsData
    from video4spatial.training.navigation import NavigationModule

    class PlainParser(LightningArgumentParser):
        """Raises its complaints instead of printing a page."""

        def error(self, message: str, exception: Exception | None = None) -> None:
            raise UserError(_plain(str(exception or message), _key_names(self)))

    class TrainingCLI(LightningCLI):
        """Told apart: what the user can put right, and what is a bug."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {"fit": LightningCLI.subcommands()["fit"]}

        def init_parser(self, **options) -> LightningArgumentParser:
            return PlainParser(**options)

        def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
            super().parse_arguments(parser, args)
            if run:
                _check_checkpoint(self.config["fit"]["ckpt_path"])

        def instantiate_classes(self) -> None:
            with user_mistakes():
                super().instantiate_classes()

        def before_fit(self) -> None:
            if self.config["fit"]["ckpt_path"] == "last":
                for callback in self.trainer.checkpoint_callbacks:
                    if callback.dirpath is not None:
                        _check_checkpoint(*Path(callback.dirpath).glob("last.ckpt"))

    # Lightning's hints (few workers, no validation loader, arguments given in Python) do not apply here.
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    return TrainingCLI(
        NavigationModule,
        RoomsData,
        args=arguments,
        run=run,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
    )


def _check_checkpoint(path: str | Path | None = None) -> None:
    if path is None or str(path) in ("last", "best", "hpc"):
        return
    if not Path(path).is_file():
        raise UserError(f"--ckpt_path {path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise UserError(f"--ckpt_path {path}: the checkpoint is damaged or cut short")


def _key_names(parser) -> list[str]:
    """Every key a parser and its modes know."""
    names = [action.dest for action in parser._actions]
    for action in parser._actions:
        if isinstance(action.choices, dict):
            names += [key for sub in action.choices.values() if hasattr(sub, "_actions") for key in _key_names(sub)]
    return names


def _plain(message: str, known: list[str]) -> str:
    """A complaint of jsonargparse as one line, with a suggestion where it is about an unknown key."""
    text = " ".join(message.split())
    return text

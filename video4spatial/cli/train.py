"""`v4s train` and `train.py`: Lightning's command line for everything that is trained here, with mistakes told in one line."""

import dataclasses
import inspect
import logging
import warnings
import zipfile
from importlib import import_module
from pathlib import Path

from video4spatial.cli.arguments import plain_complaint
from video4spatial.cli.errors import UserError, describe
from video4spatial.cli.loading import quiet_diffusers
from video4spatial.naming import unknown

MODES = ("fit",)
OURS = ("autoencoder", "callbacks", "data", "navigation")
"""Modules of `video4spatial.training` with what a configuration may name; once imported, a class is known by its bare name."""
USAGE = """usage: train.py fit --config FILE [--KEY VALUE ...] [--ckpt_path last]

Train what a configuration names:
  configs/train/rooms.yaml         the model, on simulated rooms
  configs/train/curated.yaml       the model, on a data set that curation made
  configs/train/autoencoder.yaml   the autoencoder of pictures that they need
  configs/train/budget.yaml        after one of them: trains for so many minutes
They explain every key. Any of them can be given on the command line as --trainer.max_steps 1000, --data.batch_size 16,
--model.learning_rate 3e-4 (short for --model.init_args.learning_rate), --trainer.callbacks+=CompileBlocks ...

  --config FILE       configuration; several are merged, later ones win
  --ckpt_path PATH    checkpoint to resume from exactly, or 'last'
  --print_config      print the merged configuration and stop

train.py fit --help lists the keys of the trainer with their types and defaults; --model.help CLASS, --data.help CLASS and
--trainer.callbacks.help CLASS list those of NavigationModule, AutoencoderModule, RoomsData, CuratedData, TimeBudget ..."""


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
    from jsonargparse import ActionConfigFile
    from lightning import LightningDataModule, LightningModule
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    class PlainParser(LightningArgumentParser):
        """Raises its complaints instead of printing a page."""

        def error(self, message: str, exception: Exception | None = None) -> None:
            raise UserError(plain_complaint(str(exception or message), _key_names(self)))

    class TrainingCLI(LightningCLI):
        """Told apart: what the user can put right, and what is a bug."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {"fit": LightningCLI.subcommands()["fit"]}

        def init_parser(self, **options) -> LightningArgumentParser:
            parser = PlainParser(**options)
            parser.add_argument("-c", "--config", action=ActionConfigFile, help="YAML file with any of the keys below")
            return parser

        def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
            super().parse_arguments(parser, args)
            if run:
                _check_checkpoint(self.config["fit"]["ckpt_path"])

        def instantiate_classes(self) -> None:
            try:
                super().instantiate_classes()
                _check_data(self.model, self.datamodule)
            except (ValueError, OSError) as error:
                raise UserError(plain_complaint(describe(error), _key_names(self.parser))) from error

        def before_fit(self) -> None:
            if self.config["fit"]["ckpt_path"] == "last":
                folders = [callback.dirpath for callback in self.trainer.checkpoint_callbacks]
                found = [file for folder in folders if folder is not None for file in Path(folder).glob("last*.ckpt")]
                if not found:
                    raise UserError("--ckpt_path last: there is no last checkpoint; leave the option out to start anew")
                for file in found:
                    _check_checkpoint(file)

        def fit(self, model, **options) -> None:
            """Called for the mode `fit`; a checkpoint may bring tensors and plain values, never code."""
            self.trainer.fit(model, **options | {"weights_only": True})

    quiet_diffusers()
    for name in OURS:
        import_module(f"video4spatial.training.{name}")
    # Lightning's hints (few workers, no validation loader, arguments given in Python) do not apply here.
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return TrainingCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        args=arguments,
        run=run,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        auto_configure_optimizers=False,
    )


def _check_data(model, data) -> None:
    """Refuse data that do not fit the model."""
    from video4spatial.training.autoencoder import AutoencoderModule
    from video4spatial.training.navigation import check_nulls

    if isinstance(model, AutoencoderModule):
        model.check_data(data)
        return
    _check_channels(model, data)
    check_nulls(model.transformer.config, data.curriculum)


def _check_channels(model, data) -> None:
    """The transformer works on the latents of the autoencoder."""
    from video4spatial.models.autoencoder import latent_channels, read_autoencoder_config

    if data.hparams.autoencoder is None:
        raise ValueError("data.autoencoder is missing: expected the folder of a trained autoencoder.")
    channels = latent_channels(read_autoencoder_config(data.hparams.autoencoder))
    config = model.transformer.config
    if {config.in_channels, config.out_channels} != {channels}:
        raise ValueError(
            f"model.transformer: in_channels {config.in_channels} and out_channels {config.out_channels} do not fit the "
            f"{channels} latent channels of {data.hparams.autoencoder}: give both as {channels}."
        )


def _check_checkpoint(path: str | Path | None) -> None:
    if path is None or str(path) in ("last", "best", "hpc"):
        return
    if not Path(path).is_file():
        raise UserError(f"--ckpt_path {path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise UserError(f"--ckpt_path {path}: the checkpoint is damaged or cut short")


def _key_names(parser) -> list[str]:
    """Every key that a parser and its modes know, those of our nested settings included."""
    from video4spatial.training.batches import Curriculum

    names = [action.dest for action in parser._actions]
    for action in parser._actions:
        if isinstance(action.choices, dict):
            names += [key for sub in action.choices.values() if hasattr(sub, "_actions") for key in _key_names(sub)]
    names += [field.name for field in dataclasses.fields(Curriculum)]
    for module in OURS:
        for nested in vars(import_module(f"video4spatial.training.{module}")).values():
            if isinstance(nested, type) and nested.__module__.startswith("video4spatial.training"):
                names += list(inspect.signature(nested).parameters)
    return names

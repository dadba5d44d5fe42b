"""Lightning's command line, which knows what we train and tells mistakes in one line."""

import dataclasses
import inspect
import logging
import warnings
import zipfile
from pathlib import Path

from jsonargparse import ActionConfigFile
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from video4spatial.cli.arguments import plain_complaint
from video4spatial.cli.errors import UserError, describe
from video4spatial.cli.terminal import quiet_diffusers, say
from video4spatial.memory import check_memory
from video4spatial.training import (
    autoencoder,
    callbacks,
    data,
    losses,
    module,
    pair_data,
    pair_pose,
    refiner,
    refiner_data,
    stereo,
)
from video4spatial.training.autoencoder import AutoencoderModule
from video4spatial.training.callbacks import ExportNetwork, ExportPipeline
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.module import DenoiserModule, check_fit, step_bytes
from video4spatial.training.pair_pose import PairPoseModule
from video4spatial.training.refiner import RefinerModule

OURS = (autoencoder, callbacks, data, losses, module, pair_data, pair_pose, refiner, refiner_data, stereo)
"""What a configuration may name. As these are imported, it may name their classes without the module."""


class PlainParser(LightningArgumentParser):
    """Raises its complaints instead of printing a page."""

    def error(self, message: str, exception: Exception | None = None) -> None:
        """Called by jsonargparse with what is wrong.

        Raises:
            UserError: in one line.
        """
        raise UserError(plain_complaint(str(exception or message), _key_names(self)))


class TrainingCLI(LightningCLI):
    """Tells apart what the user can put right and what is a bug."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Training alone."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def init_parser(self, **options) -> LightningArgumentParser:
        """A parser that takes configuration files."""
        parser = PlainParser(**options)
        parser.add_argument("-c", "--config", action=ActionConfigFile, help="YAML file with any of the keys below")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Look at the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        if "fit" in self.config:
            _check_checkpoint(self.config["fit"]["ckpt_path"])

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the settings of a checkpoint that is given by path win over those of the user; `last` never did."""

    def instantiate_classes(self) -> None:
        """Build the trainer, the model and the data, and see whether they fit."""
        try:
            super().instantiate_classes()
            if isinstance(self.model, (AutoencoderModule, PairPoseModule, RefinerModule)):
                self.model.check_data(self.datamodule)
            elif isinstance(self.model, DenoiserModule):
                check_fit(self.model, self.datamodule)
                self._check_memory()
        except (ValueError, OSError) as error:
            raise UserError(plain_complaint(describe(error), _key_names(self.parser))) from error

    def _check_memory(self) -> None:
        """Say what a step will need, before the data are made; refuse what the machine does not have."""
        device = self.trainer.strategy.root_device
        size = self.datamodule.hparams.batch_size
        remedy = "choose a smaller data.batch_size (with trainer.accumulate_grad_batches for the same step)"
        what = f"a training step of {size} examples"
        say(check_memory(step_bytes(self.model, self.datamodule), what, remedy, str(device) if device.type == "cuda" else "cpu"))

    def before_fit(self) -> None:
        """Look for the last checkpoint; a new training must not replace what an earlier one made."""
        if self.config["fit"]["ckpt_path"] is None:
            self._check_exports()
        if self.config["fit"]["ckpt_path"] == "last":
            folders = [callback.dirpath for callback in self.trainer.checkpoint_callbacks]
            found = [file for folder in folders if folder is not None for file in Path(folder).glob("last*.ckpt")]
            if not found:
                raise UserError("--ckpt_path last: there is no last checkpoint; leave the option out to start anew")
            for file in found:
                _check_checkpoint(file)

    def _check_exports(self) -> None:
        exports = [callback for callback in self.trainer.callbacks if isinstance(callback, (ExportNetwork, ExportPipeline))]
        for export in exports:
            if export.folder.exists():
                raise UserError(
                    f"{export.folder} holds the model of an earlier training, which this one would replace: move it (mv {export.folder} "
                    f"{export.folder}-1), go on with it (--ckpt_path last), or name another folder for {type(export).__name__}"
                )

    def fit(self, model: LightningModule, **options) -> None:
        """Train. A checkpoint may bring tensors and plain values, never code."""
        self.trainer.fit(model, **options | {"weights_only": True})


def build_cli(arguments: list[str], run: bool = True) -> TrainingCLI:
    """Read a command line, build what it names and, if asked to, train.

    Args:
        arguments: as on the command line (with `run`, the mode comes first).
        run: whether to carry out the mode, or only to build everything.

    Returns:
        The command line, with `.model`, `.datamodule` and `.trainer`.

    Raises:
        UserError: for unknown keys and impossible values.
    """
    quiet_diffusers()
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


def _check_checkpoint(path: str | Path | None) -> None:
    if path is None or str(path) in ("last", "best", "hpc"):
        return
    if not Path(path).is_file():
        raise UserError(f"--ckpt_path {path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise UserError(f"--ckpt_path {path}: the checkpoint is damaged or cut short")


def _key_names(parser) -> list[str]:
    """Every key that a parser and its modes know, those of our nested settings included."""
    names = [action.dest for action in parser._actions]
    for action in parser._actions:
        if isinstance(action.choices, dict):
            names += [key for sub in action.choices.values() if hasattr(sub, "_actions") for key in _key_names(sub)]
    names += [field.name for field in dataclasses.fields(Curriculum)]
    for module in OURS:
        for nested in vars(module).values():
            if isinstance(nested, type) and nested.__module__.startswith("video4spatial.training"):
                names += list(inspect.signature(nested).parameters)
    return names

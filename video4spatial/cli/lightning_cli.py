"""Lightning's command line, which knows what we train and tells mistakes in one line."""

import dataclasses
import inspect
import logging
import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks
from jsonargparse import ActionConfigFile, Namespace
from lightning import LightningDataModule, LightningModule
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from video4spatial.cli.arguments import plain_complaint, read_yaml
from video4spatial.cli.errors import Stopped, UserError, describe
from video4spatial.cli.terminal import quiet_diffusers, say
from video4spatial.cli.train import config_paths
from video4spatial.memory import check_memory
from video4spatial.naming import did_you_mean
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
from video4spatial.training.module import DenoiserModule, check_fit
from video4spatial.training.pair_pose import PairPoseModule
from video4spatial.training.refiner import RefinerModule
from video4spatial.training.resumption import (
    WholeCheckpoints,
    check_same_training,
    continue_tables,
    last_checkpoint,
    read_checkpoint,
    remove_unfinished_checkpoints,
)
from video4spatial.training.step_memory import step_bytes
from video4spatial.training.stereo import StereoModule

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")
"""Arithmetic that Lightning knows everywhere."""

OURS = (autoencoder, callbacks, data, losses, module, pair_data, pair_pose, refiner, refiner_data, stereo)
"""What a configuration may name. As these are imported, it may name their classes without the module."""


class PlainParser(LightningArgumentParser):
    """Raises its complaints instead of printing a page."""

    def error(self, message: str, exception: Exception | None = None) -> None:
        """Called by jsonargparse with what is wrong.

        Raises:
            UserError: in one line.
        """
        raise UserError(_explained(plain_complaint(str(exception or message), _key_names(self))))


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
        """Look for the checkpoint before anything is built."""
        super().parse_arguments(parser, args)
        self.given = list(args)
        path = self.config["fit"]["ckpt_path"] if "fit" in self.config else None
        if path not in (None, "last") and not Path(path).is_file():
            raise UserError(f"--ckpt_path {path}: no such checkpoint")

    def _parse_ckpt_path(self) -> None:
        """Lightning would let the settings of a checkpoint that is given by path win over those of the user; `last` never did."""

    def before_instantiate_classes(self) -> None:
        """Let losses, checkpoints, videos and exports below the configuration's root folder move with --trainer.default_root_dir."""
        settings = self.config["fit"] if "fit" in self.config else self.config
        before, root = _root_in_files(self.given), settings["trainer"]["default_root_dir"]
        if before is None or root is None or Path(before) == Path(root):
            return
        for name in ("logger", "callbacks"):
            settings["trainer"][name] = _moved(settings["trainer"][name], Path(before), Path(root), self.given)

    def instantiate_classes(self) -> None:
        """Build the trainer, the model and the data, and see whether they fit."""
        try:
            super().instantiate_classes()
            if type(self.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
                self.trainer.strategy.checkpoint_io = WholeCheckpoints()
            if isinstance(self.model, (AutoencoderModule, PairPoseModule, RefinerModule, StereoModule)):
                self.model.check_data(self.datamodule)
            elif isinstance(self.model, DenoiserModule):
                check_fit(self.model, self.datamodule)
            self._check_memory()
        except (ValueError, OSError) as error:
            raise UserError(plain_complaint(describe(error), _key_names(self.parser))) from error
        except (TypeError, MisconfigurationException) as error:
            if not _by_trainer(error) and "must be a mapping" not in str(error):
                raise
            told = " ".join(str(error).split())
            told = f"trainer: {told}" if _by_trainer(error) else f"a group of settings is a single value ({told})"
            raise UserError(told) from error

    def fit(self, model: LightningModule, ckpt_path: str | None = None, **options) -> None:
        """Train, or go on. A checkpoint may bring tensors and plain values, never code."""
        step = 0
        if ckpt_path is None:
            self._check_exports()
        else:
            ckpt_path, step = self._resumed(ckpt_path)
            if 0 <= self.trainer.max_steps <= step:
                say(f"nothing left to do: {ckpt_path} is of step {step}, and trainer.max_steps is {self.trainer.max_steps}")
                return
            say(f"going on from step {step}, {ckpt_path}")
        if self.trainer.is_global_zero:
            remove_unfinished_checkpoints(self.trainer)
            continue_tables(self.trainer.loggers, step)
        interruption = callbacks.Interruption()
        self._show_progress()
        self.trainer.callbacks.append(interruption)
        try:
            self.trainer.fit(model, ckpt_path=ckpt_path, **options | {"weights_only": True})
        except (ValueError, OSError) as error:
            if interruption.started:
                raise
            # Until the first step, what the user named is read and prepared.
            raise UserError(describe(error)) from error
        except callbacks.Interrupted as error:
            raise Stopped(str(error), 128 + error.number) from error
        except SystemExit as error:
            # Lightning's answer to Ctrl-C before the first step.
            if self.trainer.interrupted:
                raise KeyboardInterrupt from error
            raise

    def _show_progress(self) -> None:
        """Put our bar in the place of Lightning's, which knows no end and draws on files too."""
        bar = self.trainer.progress_bar_callback
        if bar is not None and type(bar).__module__.startswith("lightning"):
            place = self.trainer.callbacks.index(bar)
            self.trainer.callbacks[place] = callbacks.ShownProgress()

    def _resumed(self, given: str) -> tuple[str, int]:
        """The checkpoint that --ckpt_path means, and its step."""
        try:
            path = last_checkpoint(self.trainer) if given == "last" else Path(given)
        except OSError as error:
            raise UserError(f"--ckpt_path last: {describe(error).rstrip('.')}") from error
        try:
            content = read_checkpoint(path)
            check_same_training(content, self.trainer, self.model)
        except (ValueError, OSError) as error:
            told = describe(error).rstrip(".").removeprefix(f"{path}: ")
            raise UserError(f"--ckpt_path {path}: {told}") from error
        return str(path), content["global_step"]

    def _check_memory(self) -> None:
        """Say what a step will need, before the data are made; refuse what the machine does not have."""
        needed = step_bytes(self.model, self.datamodule)
        if needed is None:
            return
        device, options = self.trainer.strategy.root_device, self.datamodule.hparams
        name, size = next((name, options[name]) for name in ("batch_size", "walks") if name in options)
        remedy = f"choose a smaller data.{name} (with trainer.accumulate_grad_batches for the same step)"
        what = f"a training step of {size} {'examples' if name == 'batch_size' else name}"
        say(check_memory(needed, what, remedy, str(device) if device.type == "cuda" else "cpu"))

    def _check_exports(self) -> None:
        exports = [callback for callback in self.trainer.callbacks if isinstance(callback, (ExportNetwork, ExportPipeline))]
        for export in exports:
            if export.folder.exists():
                raise UserError(
                    f"{export.folder} holds the model of an earlier training, which this one would replace: move it (mv {export.folder} "
                    f"{export.folder}-1), go on with it (--ckpt_path last), or name another folder for {type(export).__name__}"
                )


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


def _by_trainer(error: Exception) -> bool:
    """Whether Lightning's trainer complains of its settings."""
    return isinstance(error, MisconfigurationException) or "lightning" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def _explained(complaint: str) -> str:
    """A complaint of jsonargparse with what would be right, where it does not say so itself."""
    if complaint.startswith("trainer.precision:"):
        return f"trainer.precision: expected one of {', '.join(PRECISIONS)}"
    match = re.match(r"(\S+: )?.*?(?:Expected a dot import path string: |Problem with given class_path ')([\w.]+)(.*)", complaint)
    if match is None:
        return _of_callbacks(complaint)
    known = [name for module in OURS for name, kind in vars(module).items() if isinstance(kind, type)]
    known += [name for name in vars(lightning.pytorch.callbacks) if name[0].isupper()] + ["CSVLogger", "TensorBoardLogger"]
    return f"{match[1] or ''}there is no class {match[2]!r}{did_you_mean(match[2].split('.')[-1], known)}"


def _of_callbacks(complaint: str) -> str:
    """A complaint about a key of callbacks, which are those of the last one, with the callback that has it."""
    match = re.match(r"trainer\.callbacks: unknown key '(\w+)'", complaint)
    owners = [name for name in callbacks.__all__ if match and match[1] in inspect.signature(getattr(callbacks, name)).parameters]
    if not owners:
        return complaint
    where = f"put --trainer.callbacks+={owners[0]} before it"
    if owners == ["TimeBudget"]:
        where = "put --config configs/train/budget.yaml after the other"
    return f"trainer.callbacks: the last callback has no {match[1]!r}, which is of {' or '.join(owners)}: {where}"


def _root_in_files(arguments: list[str]) -> str | None:
    """The root folder that the configuration files of a command line give."""
    root = None
    for path in config_paths(arguments):
        content = read_yaml(path)
        trainer = content.get("trainer") if isinstance(content, dict) else None
        root = trainer.get("default_root_dir", root) if isinstance(trainer, dict) else root
    return root


def _moved(value: Any, before: Path, root: Path, arguments: list[str]) -> Any:
    """A setting with the paths in it that lie below one folder below another; not those that the command line itself gives."""
    if isinstance(value, list):
        return [_moved(entry, before, root, arguments) for entry in value]
    if isinstance(value, (dict, Namespace)):
        for name in list(value.keys()):
            value[name] = _moved(value[name], before, root, arguments)
        return value
    if isinstance(value, str) and Path(value).is_relative_to(before) and not any(text.split("=")[-1] == value for text in arguments):
        return str(root / Path(value).relative_to(before))
    return value


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

"""Going on with a training: its newest checkpoint, whether that fits, and what was written down after it."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from video4spatial.files import is_clutter, remove_leftovers, write_whole, written_aside
from video4spatial.parsing import is_archive

SHOWN = 4
"""Options that differ, at most, which a message names."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints aside in their own folder. Lightning takes the folder for temporary files, which may lie on a small disk, and from
    which a kill while it copies leaves half a checkpoint in the place of a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write it whole or not at all.

        Args:
            checkpoint: its content.
            path: of the file; its folder is made. What names a protocol, as in s3://, is left to Lightning.
            storage_options: of other writers than this.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with written_aside(path) as aside:
            torch.save(checkpoint, aside)


def remove_unfinished_checkpoints(trainer: lightning.Trainer) -> None:
    """Remove what a killed training left of checkpoints that it was writing.

    Args:
        trainer: of the training that begins or goes on.
    """
    for folder in checkpoint_folders(trainer):
        remove_leftovers(folder)


def checkpoint_folders(trainer: lightning.Trainer) -> list[Path]:
    """Where the checkpoints of a training may lie: where its callbacks say, beside what its loggers write, and in its root folder.

    Args:
        trainer: that need not have run yet.
    """
    folders = [Path(callback.dirpath) for callback in trainer.checkpoint_callbacks if callback.dirpath is not None]
    root = Path(trainer.default_root_dir)
    for logger in trainer.loggers:
        home = Path(logger.save_dir or root) / str(logger.name or "")
        version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
        # A version that is counted up is a new one: the run before has another.
        folders += [home / version] if (home / version).is_dir() else sorted(home.glob("version_*"))
    return [folder if folder.name == "checkpoints" else folder / "checkpoints" for folder in [*folders, root]] + folders


def last_checkpoint(trainer: lightning.Trainer) -> Path:
    """The newest `last` checkpoint of a training.

    Args:
        trainer: of the training that is to go on.

    Raises:
        FileNotFoundError: if there is none, naming other checkpoints that can be given.
    """
    found = {file for folder in checkpoint_folders(trainer) for file in folder.glob("*.ckpt") if not is_clutter(file.name)}
    last = [file for file in found if file.stem.startswith("last")]
    if last:
        return max(last, key=lambda file: file.stat().st_mtime)
    if found:
        newest = max(found, key=lambda file: file.stat().st_mtime)
        raise FileNotFoundError(f"there is no last checkpoint, as save_last is off; the newest is {newest}: give this path.")
    raise FileNotFoundError("there is no last checkpoint; leave the option out to start anew.")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of a training. Nothing in it is run.

    Args:
        path: of the file.

    Returns:
        Its content; tensors are read when they are looked at.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for any other file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint.")
    if not is_archive(path):
        raise ValueError(f"{path}: the checkpoint is damaged or cut short.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever the unpickler makes of a file that is none
        told = "holds more than tensors and plain values" if "Weights only load failed" in str(error) else "is damaged or cut short"
        raise ValueError(f"{path}: the checkpoint {told}.") from error
    needed = {"state_dict": dict, "global_step": int, "optimizer_states": list, "loops": dict, "epoch": int}
    whole = isinstance(content, dict) and all(isinstance(content.get(name), kind) for name, kind in needed.items())
    whole = whole and isinstance(content.get("hyper_parameters", {}), dict)
    if not whole or not all(map(_is_optimiser, content["optimizer_states"])):
        raise ValueError(f"{path}: no checkpoint of a training, which has {', '.join(needed)}.")
    return content


def _is_optimiser(state: Any) -> bool:
    groups = state.get("param_groups") if isinstance(state, dict) else None
    return isinstance(groups, list) and all(isinstance(group, dict) and isinstance(group.get("params"), list) for group in groups)


def check_same_training(content: dict[str, Any], trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Refuse a checkpoint that another model was trained with.

    Args:
        content: of `read_checkpoint`.
        trainer, module: that are to go on from it.

    Raises:
        ValueError: naming the options that differ.
    """
    there, here = content.get("hyper_parameters") or {}, dict(module.hparams)
    kinds = there.get("_class_path"), f"{type(module).__module__}.{type(module).__qualname__}"
    if kinds[0] is not None and kinds[0] != kinds[1]:
        raise ValueError(f"it is of another model: model.class_path is {kinds[0]} there and {kinds[1]} here.")
    # What a callback, such as the average, keeps beside the weights is its own.
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    kept = {name: tuple(tensor.shape) for name, tensor in content["state_dict"].items() if isinstance(tensor, torch.Tensor)}
    wrong = [name for name in shapes | kept if shapes.get(name) != kept.get(name)]
    if wrong:
        options = list(_differing_options(there, here))
        told = "; ".join(options[:SHOWN]) or f"{wrong[0]} has the shape {kept.get(wrong[0])} there and {shapes.get(wrong[0])} here"
        raise ValueError(f"it is of another model: {told}.")
    if _trained_parameters(content["optimizer_states"]) != _trained_parameters([_optimiser(module).state_dict()]):
        told = "; ".join(list(_differing_options(there, here))[:SHOWN]) or "their options do not tell why"
        raise ValueError(f"other weights were trained there: {told}.")
    averages = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)
    if "current_model_state" in content and not averages:
        raise ValueError("averaged weights were kept there: trainer.callbacks lacks EMAWeightAveraging here.")


def _optimiser(module: lightning.LightningModule) -> torch.optim.Optimizer:
    configured = module.configure_optimizers()
    return configured if isinstance(configured, torch.optim.Optimizer) else configured["optimizer"]


def _trained_parameters(states: Sequence[dict]) -> list[int]:
    """Parameters in each group of the optimisers."""
    return [len(group["params"]) for state in states for group in state["param_groups"]]


def _differing_options(there: dict, here: dict, name: str = "model") -> Iterator[str]:
    """Options of two models that may differ in shape, in words. Rates and weights, which are fractions, may not."""
    for key in dict.fromkeys([*there, *here]):
        one, other = there.get(key), here.get(key)
        if one == other or key.startswith("_") or isinstance(one, float) or isinstance(other, float):
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differing_options(one, other, f"{name}.{key}")
        else:
            values = ["not given" if key not in options else repr(options[key]) for options in (there, here)]
            yield f"{name}.{key} is {values[0]} there and {values[1]} here"


def continue_lines(path: Path, step: int) -> None:
    """Prepare a file of JSON lines with steps for a training that appends to it.

    Args:
        path: of the file, which need not exist.
        step: that the training goes on from; lines of later steps are dropped, as these are taken again. From 0 the file of the
            training before is kept under another name.
    """
    if not path.is_file():
        return
    if step == 0:
        set_aside(path)
        return
    lines = path.read_text().splitlines()
    kept = [line for line in lines if _step_of(line) <= step]
    if kept != lines:
        write_whole(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of a JSON line; that of one that was cut short comes after all others."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def set_aside(path: Path) -> Path:
    """Give a file the first free name of NAME-1, NAME-2 ...

    Args:
        path: of the file.

    Returns:
        Its new path.
    """
    number = 1
    while (other := path.with_stem(f"{path.stem}-{number}")).exists():
        number += 1
    return path.rename(other)


class _ContinuedWriter(ExperimentWriter):
    """Lightning's writer of CSV files, but that it goes on with a file, which Lightning deletes."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            self.metrics_keys = next(csv.reader([path.read_text().split("\n", 1)[0]]), [])


def continue_tables(loggers: Sequence[Logger], step: int) -> None:
    """Prepare the CSV files of loggers for a training that goes on: a single file over all resumptions.

    Args:
        loggers: of which others than CSV loggers are left alone.
        step: that the training goes on from; as for `continue_lines`.
    """
    for logger in loggers:
        if not isinstance(logger, CSVLogger) or logger._experiment is not None:
            continue
        path = Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        if path.is_file() and step == 0:
            set_aside(path)
        elif path.is_file():
            _drop_later_rows(path, step)
        logger._experiment = _ContinuedWriter(logger.log_dir)


def _drop_later_rows(path: Path, step: int) -> None:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows, names = list(reader), reader.fieldnames or []
    kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) < step]
    if kept != rows:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        write_whole(path, text.getvalue())

"""Models: configurations of the commands, checkpoints, model folders and encoded scenes."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from . import ROOT
from .damage import VALUES, damaged_bytes, damaged_json, damaged_safetensors, damaged_yaml
from .inputs import Kind, SilentChange, a_path, some_frames, written


def _parsed(parse: Callable[[Path], object], folder: Path) -> Callable[[bytes], None]:
    return written(folder / "config.yaml", parse)


def sampling_configurations(folder: Path) -> Kind:
    """Configurations of sample.py."""
    from video4spatial.cli.sample_options import navigate_parser

    parser, given = navigate_parser(), ["--context", "room.mp4", "--output", "out"]
    parse = _parsed(lambda path: parser.parse(["--config", str(path), *given]), folder)
    return Kind(damaged_yaml(ROOT / "configs/sample/navigate.yaml"), parse)


def curation_configurations(folder: Path) -> Kind:
    """Configurations of data sets."""
    from video4spatial.cli.curate import build_parser, read_build_options

    parser, given = build_parser(), ["--output", str(folder / "out")]

    def parse(path: Path) -> None:
        read_build_options(parser, ["--config", str(path), *given])

    return Kind(damaged_yaml(ROOT / "configs/curation/rooms.yaml"), _parsed(parse, folder))


def training_configurations(folder: Path) -> Kind:
    """Configurations of train.py, up to where models are built."""
    from lightning import LightningDataModule, LightningModule

    from video4spatial.cli.lightning_cli import TrainingCLI

    class Reading(TrainingCLI):
        def instantiate_classes(self) -> None:
            """Nothing is built."""

    rooms = ROOT / "configs/train/rooms.yaml"
    ways = {"subclass_mode_model": True, "subclass_mode_data": True, "auto_configure_optimizers": False, "seed_everything_default": 0}
    parser = Reading(LightningModule, LightningDataModule, args=["--config", str(rooms)], run=False, **ways).parser
    return Kind(damaged_yaml(rooms), _parsed(lambda path: parser.parse_args(["--config", str(path)]), folder))


def checkpoints(folder: Path) -> Kind:
    """Checkpoints of trainings."""
    import lightning

    from video4spatial.training.resumption import check_same_training, read_checkpoint

    class Small(lightning.LightningModule):
        def __init__(self, width: int = 4):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, width)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    module = Small()
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    content = {
        "state_dict": module.state_dict(), "global_step": 2, "epoch": 0, "loops": {}, "hyper_parameters": {"width": 4},
        "optimizer_states": [module.configure_optimizers().state_dict()],
    }  # fmt: skip
    torch.save(content, folder / "base.ckpt")
    keys = st.tuples(st.sampled_from(sorted(content)), st.sampled_from([*VALUES, torch.zeros(3), {"layer.weight": torch.zeros(2)}]))

    def changed(drawn: tuple[str, Any]) -> bytes:
        buffer = io.BytesIO()
        torch.save(content | {drawn[0]: drawn[1]}, buffer)
        return buffer.getvalue()

    def use(path: Path) -> None:
        read = read_checkpoint(path)
        try:
            check_same_training(read, trainer, module)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    strategy = st.one_of(damaged_bytes((folder / "base.ckpt").read_bytes()), keys.map(changed))
    return Kind(strategy, written(folder / "last.ckpt", use), names=folder.name)


def model_folders(folder: Path) -> Kind:
    """Folders of models, before weights are loaded."""
    from video4spatial.pretrained import read_model_folder, read_model_shape, resolve_model

    model = resolve_model("rooms")
    files = {str(file.relative_to(model)): file for file in sorted(model.rglob("*")) if file.is_file()}
    configurations = {name: json.loads(file.read_text()) for name, file in files.items() if file.suffix == ".json"}
    damaged = [st.tuples(st.just(name), damaged_json(content)) for name, content in configurations.items()]
    weights = [name for name, file in files.items() if file.suffix == ".safetensors"]
    start = st.tuples(st.sampled_from(weights), damaged_bytes(files[weights[0]].read_bytes()[:512]))
    target = folder / "model"

    def use(drawn: tuple[str, bytes | None]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        for name, file in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if name != drawn[0]:
                (target / name).symlink_to(file)
            elif drawn[1] is not None:
                (target / name).write_bytes(drawn[1])
        read = read_model_folder(str(target))
        if not all(isinstance(value, int) and 0 < value < 10**5 for value in (read.height, read.width, read.target_frames, read.grid)):
            raise SilentChange("sizes that are none")
        read_model_shape(str(target))

    return Kind(st.one_of(*damaged, start, st.tuples(st.sampled_from(sorted(files)), st.just(None))), use, names=folder.name)


def scenes(folder: Path) -> Kind:
    """Encoded scenes."""
    from video4spatial.conditioning.plans import ContextPart
    from video4spatial.pipelines.context_files import read_context, write_context
    from video4spatial.pipelines.scene_context import SceneContext

    scene = SceneContext(
        some_frames(2), np.array([0.0, 0.25]), a_path(2), 1, (ContextPart((0, 1), 1),), torch.ones(1, 4, 2, 4, 6),
        torch.tensor([[0.0, 1.0]], dtype=torch.float64), None, None, 0.0, a_path(2)[:1], 0.0, 0,
    )  # fmt: skip
    write_context(folder / "base.safetensors", scene, "model", torch.float32)

    def use(path: Path) -> None:
        read = read_context(path, "model", torch.float32)
        same = np.array_equal(read.frames, scene.frames) and torch.equal(read.latents, scene.latents) and read.parts == scene.parts
        if not same or not read.cameras.allclose(scene.cameras):
            raise SilentChange("another scene than was written, under its checksum")

    data = (folder / "base.safetensors").read_bytes()
    return Kind(damaged_safetensors(data), written(folder / "scene.safetensors", use), names=folder.name)

"""Every file in configs/ loads, and explains each of its keys."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import pytest
import yaml

from data_curation.pipeline import StageSettings
from video4spatial.cli.curate import build_parser as curation_parser
from video4spatial.clips.augmentation import AugmentationSettings
from video4spatial.cli.sample_options import demo_parser, many_parser, navigate_parser
from video4spatial.cli.train import build_cli
from video4spatial.training import callbacks, data
from video4spatial.training.batches import Curriculum
from video4spatial.training.navigation import NavigationModule

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLE_PARSERS = {"demo": demo_parser, "navigate": navigate_parser, "many": many_parser}


def config_files(folder: str) -> list[Path]:
    return sorted((CONFIGS / folder).glob("**/*.yaml"))


def test_nothing_is_left_untested():
    tested = {*config_files("sample"), *config_files("train"), *config_files("curation")}
    assert {path for path in CONFIGS.glob("**/*") if path.is_file()} == tested
    assert {path.stem for path in config_files("sample")} == set(SAMPLE_PARSERS)


@pytest.mark.parametrize("path", config_files("sample"), ids=lambda path: path.stem)
def test_sample_configs_hold_every_option_at_its_default(path):
    parser = SAMPLE_PARSERS[path.stem]()
    given = [] if path.stem == "demo" else ["--context", "x", "--output", "y", *(["--jobs", "z"] if path.stem == "many" else [])]
    options = vars(parser.parse(["--config", str(path), *given]))
    for name, value in options.items():
        if name not in ("config", "context", "trajectory", "jobs", "output"):
            assert value == parser.get_default(name), name
    keys = set(re.findall(r"^(\w+):", path.read_text(), re.MULTILINE))
    assert keys == set(options) - {"config"}


def keys_of(settings) -> dict | None:
    """The keys of nested settings, as a mapping of mappings; None for a value."""
    if not dataclasses.is_dataclass(settings):
        return None
    return {field.name: keys_of(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def keys_in(config) -> dict | None:
    """The same of a file."""
    return {name: keys_in(value) for name, value in config.items()} if isinstance(config, dict) else None


@pytest.mark.parametrize("path", config_files("curation"), ids=lambda path: path.stem)
def test_curation_configs_hold_every_key(path):
    parser = curation_parser()
    made = parser.instantiate(parser.parse_args(["--config", str(path), "--output", "x"]))
    config = yaml.safe_load(path.read_text())
    for name in ("stages", "dataset", "shards", "work"):
        assert keys_in(config[name]) == keys_of(getattr(made, name)), name
    assert set(config) == {"sources", "stages", "dataset", "shards", "work"} and made.sources
    # Other than the sources, only what the file gives a reason for differs from the defaults.
    changed = dataclasses.replace(made.stages, epipolar=dataclasses.replace(made.stages.epipolar, pairs=12))
    assert keys_of(changed) == keys_of(StageSettings()) and plain(changed) == plain(StageSettings())


def plain(settings) -> dict:
    """Settings as values that compare."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


@pytest.mark.parametrize("path", config_files("train"), ids=lambda path: path.stem)
def test_train_configs_build_what_they_train(path, tiny_model_folder, rooms_dataset):
    # The tiny autoencoder has four latent channels.
    fitting = [f"--data.autoencoder={tiny_model_folder / 'vae'}"]
    fitting += [f"--model.transformer.{key}=4" for key in ("in_channels", "out_channels")]
    fitting += [f"--data.folder={rooms_dataset}"] * (path.stem == "curated")
    cli = build_cli(["--config", str(path), *fitting], run=False)
    assert 1e6 < cli.model.transformer.num_parameters() < 1e7
    assert cli.trainer.max_steps > 0


@pytest.mark.parametrize("path", config_files("train"), ids=lambda path: path.stem)
def test_train_configs_hold_every_key_of_ours(path):
    """So that nothing can be set that the file does not explain."""
    config = yaml.safe_load(path.read_text())
    assert set(config["model"]) == set(inspect.signature(NavigationModule).parameters)
    module, values = getattr(data, config["data"]["class_path"].split(".")[-1]), config["data"]["init_args"]
    assert set(values) == set(inspect.signature(module).parameters)
    assert set(values["curriculum"]) == {field.name for field in dataclasses.fields(Curriculum)}
    if "augmentation" in values:
        assert set(values["augmentation"]) == {field.name for field in dataclasses.fields(AugmentationSettings)}
    own = [c for c in config["trainer"]["callbacks"] if c["class_path"].startswith(callbacks.__name__)]
    for callback in own:
        parameters = inspect.signature(getattr(callbacks, callback["class_path"].split(".")[-1])).parameters
        assert set(callback["init_args"]) == set(parameters), callback["class_path"]


@pytest.mark.parametrize("path", [path for folder in ("sample", "train", "curation") for path in config_files(folder)], ids=lambda path: path.stem)
def test_every_key_is_explained(path):
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if not re.match(r"\s*\w+: *[^ ]", line) or "class_path:" in line:
            continue
        above = []
        while number and lines[number - 1].lstrip().startswith("#"):
            number -= 1
            above.append(lines[number])
        explanation = " ".join(above)
        assert "default" in explanation or "required" in explanation, f"{path.name}: {line.strip()}"

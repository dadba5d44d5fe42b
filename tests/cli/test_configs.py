"""Every file in configs/ loads, and explains each of its keys."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import yaml

from video4spatial.clips.augmentation import AugmentationSettings
from video4spatial.cli.sample import demo_parser, navigate_parser
from video4spatial.cli.train import build_cli
from video4spatial.training import callbacks, data
from video4spatial.training.batches import Curriculum
from video4spatial.training.navigation import NavigationModule

CONFIGS = Path(__file__).parents[2] / "configs"
SAMPLE_PARSERS = {"demo": demo_parser, "navigate": navigate_parser}


def config_files(folder: str) -> list[Path]:
    return sorted((CONFIGS / folder).glob("**/*.yaml"))


def test_nothing_is_left_untested():
    tested = {*config_files("sample"), *config_files("train")}
    others = {path for path in CONFIGS.glob("**/*") if path.is_file() and "curation" not in path.parts} - tested
    assert not others
    assert {path.stem for path in config_files("sample")} == set(SAMPLE_PARSERS)


@pytest.mark.parametrize("path", config_files("sample"), ids=lambda path: path.stem)
def test_sample_configs_hold_every_option_at_its_default(path):
    parser = SAMPLE_PARSERS[path.stem]()
    given = {"demo": [], "navigate": ["--context", "x", "--output", "y"]}[path.stem]
    options = vars(parser.parse(["--config", str(path), *given]))
    for name, value in options.items():
        if name not in ("config", "context", "trajectory", "output"):
            assert value == parser.get_default(name), name
    keys = set(re.findall(r"^(\w+):", path.read_text(), re.MULTILINE))
    assert keys == set(options) - {"config"}


@pytest.mark.parametrize("path", config_files("train"), ids=lambda path: path.stem)
def test_train_configs_build_what_they_train(path, tiny_model_folder, tmp_path):
    # The tiny autoencoder has four latent channels.
    fitting = [f"--data.autoencoder={tiny_model_folder / 'vae'}"]
    fitting += [f"--model.transformer.{key}=4" for key in ("in_channels", "out_channels")]
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


@pytest.mark.parametrize("path", [*config_files("sample"), *config_files("train")], ids=lambda path: path.stem)
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

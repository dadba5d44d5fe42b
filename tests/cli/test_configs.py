"""Every file in configs/ loads, and explains each of its keys."""

import dataclasses
import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from data_curation.pipeline import StageSettings
from video4spatial.cli.curate import build_parser as curation_parser
from video4spatial.cli.curate import read_build_options
from video4spatial.cli.errors import UserError
from video4spatial.cli.lightning_cli import build_cli
from video4spatial.clips.augmentation import AugmentationSettings
from video4spatial.cli.sample_options import demo_parser, ground_parser, many_parser, navigate_parser
from video4spatial.training import callbacks
from video4spatial.training.curriculum import Curriculum

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = {"autoencoder", "curated", "pair_pose", "refiner", "rooms", "stereo"}
"""Training configurations that are complete; the others are given after one of them."""
SAMPLE_PARSERS = {"demo": demo_parser, "navigate": navigate_parser, "ground": ground_parser, "many": many_parser}


def config_files(folder: str) -> list[Path]:
    return sorted((CONFIGS / folder).glob("**/*.yaml"))


def test_nothing_is_left_untested():
    tested = {*config_files("sample"), *config_files("train"), *config_files("curation")}
    assert {path for path in CONFIGS.glob("**/*") if path.is_file()} == tested
    assert {path.stem for path in config_files("sample")} == set(SAMPLE_PARSERS)
    assert {path.stem for path in config_files("train")} == RECIPES | {"budget"}


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


def built(name: str, *others: str, rooms_dataset: Path, tiny_model_folder: Path):
    """A recipe's command line, with the tiny autoencoder of four latent channels."""
    denoises = name in ("curated", "rooms")
    fitting = [f"--data.autoencoder={tiny_model_folder / 'vae'}"] * (denoises or name == "refiner")
    fitting += [f"--model.transformer.{key}=4" for key in ("in_channels", "out_channels")] * denoises
    fitting += [f"--data.folder={rooms_dataset}"] * (name == "curated")
    files = [f"--config={CONFIGS / 'train' / file}.yaml" for file in (name, *others)]
    return build_cli([*files, *fitting], run=False)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_train_configs_build_what_they_train(name, tiny_model_folder, rooms_dataset):
    cli = built(name, tiny_model_folder=tiny_model_folder, rooms_dataset=rooms_dataset)
    parameters = sum(parameter.numel() for parameter in cli.model.parameters())
    assert 3e5 < parameters < 1e7
    budgets = [callback for callback in cli.trainer.callbacks if isinstance(callback, callbacks.TimeBudget)]
    assert (cli.trainer.max_steps > 0) == (not budgets) == (name in ("curated", "rooms"))


@pytest.mark.parametrize("name", ["curated", "rooms"])
def test_a_budget_is_added_to_what_a_recipe_does(name, tiny_model_folder, rooms_dataset):
    folders = {"tiny_model_folder": tiny_model_folder, "rooms_dataset": rooms_dataset}
    alone, timed = (built(*names, **folders).trainer for names in ((name,), (name, "budget")))
    added = {type(callback) for callback in timed.callbacks} - {type(callback) for callback in alone.callbacks}
    assert added == {callbacks.TimeBudget} and timed.max_steps == -1
    assert len(timed.callbacks) == len(alone.callbacks) + 1


def class_of(value: dict) -> type:
    module, name = value["class_path"].rsplit(".", 1)
    return getattr(import_module(module), name)


@pytest.mark.parametrize("path", config_files("train"), ids=lambda path: path.stem)
def test_train_configs_hold_every_key_of_ours(path):
    """So that nothing can be set that the file does not explain."""
    config = yaml.safe_load(path.read_text())
    listed = config["trainer"].get("callbacks", []) + config["trainer"].get("callbacks+", [])
    for part in [*listed, *(config[name] for name in ("model", "data") if name in config)]:
        if not part["class_path"].startswith("video4spatial."):
            continue
        unexplained = set(inspect.signature(class_of(part)).parameters) - set(part["init_args"])
        # To an autoencoder the data are pictures: their paths and the curriculum are explained in the other recipes.
        assert not unexplained or (path.stem == "autoencoder" and part is config["data"]), part["class_path"]
    values = config["data"]["init_args"] if "data" in config else {}
    for name, settings in (("curriculum", Curriculum), ("augmentation", AugmentationSettings)):
        assert name not in values or set(values[name]) == {field.name for field in dataclasses.fields(settings)}
    assert path.stem not in ("rooms", "curated") or "curriculum" in values


EVERY = [path for folder in ("sample", "train", "curation") for path in config_files(folder)]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("settings, message", [
    ("work: {most_failed: null}", "work.most_failed: null given, a value is needed"),
    ("stages: {context: {frames: null}}", "stages.context.frames: null given, a value is needed"),
    ("dataset: {duplicate_distance: 1" + "0" * 400 + "}", "too large|too many digits"),
])  # fmt: skip
def test_curation_settings_without_a_value_or_beyond_numbers_are_refused(tmp_path, settings, message):
    path = tmp_path / "curation.yaml"
    path.write_text(f"sources: [{{path: train:0}}]\noutput: out\n{settings}\n")
    with pytest.raises(UserError, match=message):
        read_build_options(curation_parser(), ["--config", str(path)])


def test_curation_settings_that_may_be_open_are():
    arguments = ["--sources=[{path: train:0}]", "--output=out", "--work.timeout=null", "--stages.reconstruction=null"]
    made = read_build_options(curation_parser(), arguments)
    assert made.work.timeout is None and made.stages.reconstruction is None

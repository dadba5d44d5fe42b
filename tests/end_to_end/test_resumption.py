"""Trainings that go on: what is kept of them, what is refused, and what an interrupted one leaves."""

import csv
import json
import os
import random
import signal
import tempfile
import threading
import time

import pytest
import torch
import yaml

from benchmarks.trials.kills import killed_training
from tests.end_to_end.test_train import CALLBACKS, write_config
from video4spatial.cli.errors import exit_code
from video4spatial.cli.train import main
from video4spatial.files import LEFTOVER


@pytest.fixture(scope="module")
def bank(tiny_model_folder, tmp_path_factory):
    """A rendered bank, which all runs share."""
    folder = tmp_path_factory.mktemp("bank")
    train(config_in(folder, tiny_model_folder, folder / "bank.safetensors"), "--trainer.max_steps=1")
    return folder / "bank.safetensors"


def config_in(folder, model_folder, bank, **trainer):
    """The configuration of a run of two steps that writes losses in both ways, and checkpoints after each step."""
    path = write_config(folder, model_folder / "vae", bank)
    config = yaml.safe_load(path.read_text())
    kept = [entry for entry in config["trainer"]["callbacks"] if entry["class_path"].startswith("lightning")]
    kept[1]["init_args"] |= {"every_n_train_steps": 1, "save_top_k": 1}
    kept.append({"class_path": f"{CALLBACKS}.JsonLog", "init_args": {"path": str(folder / "run" / "log.jsonl"), "every": 1}})
    config["trainer"] |= {"max_steps": 2, "callbacks": kept, **trainer}
    path.write_text(yaml.safe_dump(config))
    return path


def train(config, *more: str) -> int:
    return exit_code(main, ["fit", "--config", str(config), *more])


def steps(folder) -> tuple[list[int], list[int]]:
    """The steps in the table and in the lines of a run."""
    with (folder / "run" / "losses" / "metrics.csv").open() as file:
        table = [int(row["step"]) for row in csv.DictReader(file)]
    return table, [json.loads(line)["step"] for line in (folder / "run" / "log.jsonl").read_text().splitlines()]


def test_losses_are_kept_over_all_resumptions(tiny_model_folder, bank, tmp_path, capfd):
    config = config_in(tmp_path, tiny_model_folder, bank)
    assert train(config) == 0
    # Steps after the last checkpoint, which a kill took, are taken again; a line may have been cut short.
    with (tmp_path / "run" / "losses" / "metrics.csv").open("a") as file:
        file.write("2,0.5\n")
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 1}\n{"ste')
    assert train(config, "--ckpt_path=last", "--trainer.max_steps=4") == 0
    assert steps(tmp_path) == ([0, 1, 2, 3], [1, 2, 3, 4])
    samples = [json.loads(line)["samples"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert samples == [2, 4, 6, 8]
    capfd.readouterr()

    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert train(config, "--ckpt_path=last", "--trainer.max_steps=4") == 0
    assert "nothing left to do" in capfd.readouterr().out
    assert train(config, "--ckpt_path=last", "--model.transformer.num_layers=1", "--trainer.max_steps=9") == 2
    assert "model.transformer.num_layers is 2 there and 1 here" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_new_training_keeps_the_losses_of_the_one_before(tiny_model_folder, bank, tmp_path):
    config = config_in(tmp_path, tiny_model_folder, bank)
    assert train(config) == 0 and train(config, "--trainer.max_steps=1") == 0
    assert steps(tmp_path) == ([0], [1])
    assert len((tmp_path / "run" / "losses" / "metrics-1.csv").read_text().splitlines()) == 1 + 2
    assert len((tmp_path / "run" / "log-1.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("logger", ["named", "counted", "none"])
def test_last_is_found_where_checkpoints_lie_by_default(logger, tiny_model_folder, bank, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    config = config_in(tmp_path, tiny_model_folder, bank)
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["callbacks"][1]["init_args"]["dirpath"]
    if logger == "counted":
        del content["trainer"]["logger"]["init_args"]["version"]
    elif logger == "none":
        content["trainer"]["logger"] = False
    config.write_text(yaml.safe_dump(content))
    assert train(config) == 0
    assert train(config, "--ckpt_path=last", "--trainer.max_steps=3") == 0
    assert "going on from step 2" in capfd.readouterr().out


def test_without_save_last_the_newest_checkpoint_is_named(tiny_model_folder, bank, tmp_path, capfd):
    config = config_in(tmp_path, tiny_model_folder, bank)
    config.write_text(config.read_text().replace("save_last: true", "save_last: false"))
    assert train(config) == 0
    assert train(config, "--ckpt_path=last") == 2
    assert "step=2.ckpt: give this path" in capfd.readouterr().err


MISFITS = {
    "--model.transformer.attention_head_dim=24": "model.transformer.attention_head_dim is 12 there and 24 here",
    "--model.transformer.geometry_heads=false": "model.transformer.geometry_heads is True there and False here",
    "--trainer.callbacks=[]": "averaged weights were kept there",
    "--ckpt_path=best": "--ckpt_path best: no such checkpoint",
}


def test_checkpoints_that_do_not_fit_are_refused_in_one_line(tiny_model_folder, bank, tmp_path, capfd):
    config = config_in(tmp_path, tiny_model_folder, bank)
    assert train(config) == 0
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    damaged = {"of nothing": {"step": 1}, "with code": content | {"hyper_parameters": CodeInIt()}}
    for name, held in damaged.items():
        torch.save(held, tmp_path / f"{name}.ckpt")
    misfits = MISFITS | {
        f"--ckpt_path={tmp_path / 'of nothing.ckpt'}": "no checkpoint of a training",
        f"--ckpt_path={tmp_path / 'with code.ckpt'}": "holds more than tensors and plain values",
    }
    capfd.readouterr()
    for argument, told in misfits.items():
        assert train(config, f"--ckpt_path={path}", "--trainer.max_steps=9", argument) == 2, argument
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: --ckpt_path") and told in line
    assert not (tmp_path / "ran").exists()


class CodeInIt:
    """Would run when unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_checkpoints_are_written_beside_where_they_stay(tiny_model_folder, bank, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such disk"))
    config = config_in(tmp_path, tiny_model_folder, bank)
    assert train(config) == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    assert (checkpoints / "last.ckpt").stat().st_mode & 0o077 == config.stat().st_mode & 0o077
    # What a kill left of a newer one is no checkpoint, and goes.
    unfinished = checkpoints / f"{LEFTOVER}1-last.ckpt"
    unfinished.write_bytes(b"half")
    assert train(config, "--ckpt_path=last", "--trainer.max_steps=3") == 0
    assert steps(tmp_path)[1] == [1, 2, 3] and not unfinished.exists()


@pytest.mark.slow
def test_a_training_that_is_killed_ends_in_the_same_weights(tmp_path):
    told = killed_training(tmp_path, 2, random.Random(1), 40)
    assert told["killed"] >= 1 and told["refused"] == 0
    assert told["same_weights"] == told["same_optimiser"] == told["same_losses"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_leaves_a_checkpoint_to_go_on_from(number, tiny_model_folder, bank, tmp_path, capfd):
    config = config_in(tmp_path, tiny_model_folder, bank, enable_checkpointing=False)
    content = yaml.safe_load(config.read_text())
    del content["trainer"]["callbacks"][1]
    config.write_text(yaml.safe_dump(content))
    log = tmp_path / "run" / "log.jsonl"

    def interrupt() -> None:
        while not log.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        assert train(config, "--trainer.max_steps=100000") == 128 + number
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    told = capfd.readouterr().err
    assert "writing a checkpoint" in told and "go on with --ckpt_path" in told
    done = steps(tmp_path)[1][-1]
    assert train(config, "--ckpt_path=last", f"--trainer.max_steps={done + 1}") == 0
    assert steps(tmp_path)[1] == list(range(1, done + 2))


def test_everything_follows_the_root_folder_of_the_command_line(tiny_model_folder, bank, tmp_path):
    config = config_in(tmp_path, tiny_model_folder, bank)
    assert train(config, f"--trainer.default_root_dir={tmp_path / 'other'}") == 0
    assert not (tmp_path / "run").exists()
    other = tmp_path / "other"
    assert (other / "checkpoints" / "last.ckpt").is_file() and (other / "log.jsonl").is_file()
    assert (other / "losses" / "metrics.csv").is_file()
    # A path that is given itself stays.
    own = f"--trainer.callbacks.path={tmp_path / 'run' / 'own.jsonl'}"
    assert train(config, f"--trainer.default_root_dir={tmp_path / 'third'}", own) == 0
    assert (tmp_path / "run" / "own.jsonl").is_file() and (tmp_path / "third" / "losses" / "metrics.csv").is_file()

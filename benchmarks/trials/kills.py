"""Commands that are killed (SIGKILL) at random moments, and what they leave."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from video4spatial.evaluation.results import metric
from video4spatial.files import LEFTOVER
from video4spatial.media import write_video
from video4spatial.simulation.capture import simulated_capture
from video4spatial.waits import track

from . import COMMANDS, ROOT

KILLED = ("kills_sample", "kills_geometry", "kills_training")
"""Rows of commands that are killed."""

STEPS_PER_KILL = 30
"""Steps of a training for each time that it is killed."""


def run_until(command: Sequence[str], seconds: float | None = None) -> int | None:
    """Run a command, quietly, and kill it after so many seconds.

    Args:
        command: to run.
        seconds: after which it is killed; None lets it end.

    Returns:
        Its exit code, or None for one that was killed.
    """
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None


def time_of(command: Sequence[str]) -> float:
    """Seconds that a command takes that is not killed.

    Args:
        command: to run.

    Raises:
        RuntimeError: where it fails.
    """
    begun = time.monotonic()
    if code := run_until(command):
        raise RuntimeError(f"exit code {code} without being killed: {' '.join(command)}")
    return time.monotonic() - begun


def killed_runs(command: Sequence[str], output: Path, times: Iterable[float]) -> Counter:
    """Start a command again and again and kill it after so many seconds.

    Args:
        command: that writes a folder.
        output: the folder.
        times: seconds of each run.

    Returns:
        How often nothing, a whole folder, or a half one was left.
    """
    outcomes = Counter()
    for seconds in times:
        shutil.rmtree(output, ignore_errors=True)
        run_until(command, seconds)
        left = sorted(path.name for path in output.parent.iterdir() if not path.name.startswith(LEFTOVER))
        if not left:
            outcomes["nothing_left"] += 1
        else:
            outcomes["whole" if left == [output.name] and _is_whole(output) else "partial_output"] += 1
    return outcomes


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds what the command writes last, and no file in it is empty or an unfinished archive."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    finished = (folder / "scores.json").is_file() or (folder / "geometry.json").is_file()
    return finished and all(path.stat().st_size > 0 for path in files) and (folder / "report.html").is_file()




def killed_training(root: Path, count: int, drawn: random.Random, steps: int) -> dict[str, int]:
    """Train once in peace and once killed again and again, and compare what the two have learned.

    Args:
        root: folder to work in.
        count: of the kills.
        drawn: draws the moments.
        steps: of the training.

    Returns:
        How many runs were killed, went on from a checkpoint and were refused, and whether weights, optimiser and losses are those of the
        training in peace, bit by bit.
    """
    settings = root / "small.yaml"
    settings.write_text(yaml.safe_dump(_small_training(root, steps)))

    def fit(name: str) -> list[str]:
        folder = root / name
        command = [sys.executable, "train.py", "fit", "--config", str(settings)]
        more = ["--ckpt_path=last"] if (folder / "checkpoints" / "last.ckpt").is_file() else []
        return [*command, f"--trainer.default_root_dir={folder}", *more]

    time_of(fit("peace"))  # renders and encodes, once
    shutil.rmtree(root / "peace")
    whole = time_of(fit("peace"))
    start = whole - json.loads((root / "peace" / "pipeline.jsonl").read_text().splitlines()[-1])["seconds"]
    told = Counter()
    for _ in track(range(count), "kills_training"):
        next_run = fit("killed")
        code = run_until(next_run, start * drawn.uniform(0.7, 1.0) + drawn.uniform(0.0, 1.5 * (whole - start) / count))
        told["killed"] += code is None
        told["resumed"] += next_run[-1].startswith("--ckpt_path")
        told["refused"] += bool(code)
    told["refused"] += bool(run_until(fit("killed")))
    return told | _compared(root / "peace", root / "killed")


def _small_training(root: Path, steps: int) -> dict:
    """configs/train/rooms.yaml, so small that a step takes a twentieth of a second, with a checkpoint and a line of losses after each."""
    config = yaml.safe_load((ROOT / "configs" / "train" / "rooms.yaml").read_text())
    trainer, model, data = config["trainer"], config["model"]["init_args"], config["data"]["init_args"]
    callbacks = {callback["class_path"].split(".")[-1]: callback for callback in trainer["callbacks"]}
    callbacks["ModelCheckpoint"]["init_args"]["every_n_train_steps"] = callbacks["JsonLog"]["init_args"]["every"] = 1
    kept = [callbacks[name] for name in ("EMAWeightAveraging", "ModelCheckpoint", "JsonLog")]
    trainer |= {"max_steps": steps, "accelerator": "cpu", "enable_model_summary": False, "callbacks": kept}
    model["transformer"] |= {"num_layers": 1, "num_attention_heads": 1, "attention_head_dim": 32, "ffn_dim": 64}
    data["geometry"]["estimated_scenes"] = 0
    data |= {
        "bank": str(root / "bank.safetensors"), "latents": str(root / "latents"), "scenes": 2, "walk_frames": 12, "targets_per_scene": 2,
        "target_frames": 5, "size": 32, "aspects": [1.0], "batch_size": 2,
    }  # fmt: skip
    return config


def _compared(one: Path, other: Path) -> dict[str, int]:
    """Whether two trainings left the same checkpoint and the same losses, bit by bit."""
    ends = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (one, other)]
    lines = [[json.loads(line) for line in (folder / "pipeline.jsonl").read_text().splitlines()] for folder in (one, other)]
    losses = [[{name: value for name, value in line.items() if name != "seconds"} for line in log] for log in lines]
    names = {"same_weights": ("state_dict", "current_model_state"), "same_optimiser": ("optimizer_states",)}
    same = {told: all(_equal(*(end[name] for end in ends)) for name in parts) for told, parts in names.items()}
    return {name: int(value) for name, value in (same | {"same_losses": losses[0] == losses[1]}).items()}


def _equal(one: Any, other: Any) -> bool:
    """Whether two trees of tensors and values are the same."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return isinstance(other, (list, tuple)) and len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def kills(count: int, first_seed: int, names: Sequence[str]) -> Iterator[dict]:
    """Rows of commands that are killed while they work.

    Args:
        count: of the killed runs of each.
        first_seed: of the moments.
        names: of the rows.
    """
    if count == 0:
        return
    drawn = random.Random(first_seed)
    for name in names:
        if name in KILLED:
            with tempfile.TemporaryDirectory() as folder:
                outcomes = _row_of(name, Path(folder), count, drawn)
            yield {"name": name, "metrics": {outcome: metric(value, n=count) for outcome, value in outcomes.items()}}


def _row_of(name: str, root: Path, count: int, drawn: random.Random) -> dict[str, int]:
    if name == "kills_training":
        return killed_training(root, count, drawn, STEPS_PER_KILL * count)
    walk = simulated_capture(2_050_000, 8, 96, 128, frame_rate=4.0)
    write_video(root / "room.mp4", walk.read_frames(range(8)), 4.0)
    output = root / name / "out"
    output.parent.mkdir()
    if name == "kills_sample":
        command = [sys.executable, "sample.py", "navigate", "--context", str(root / "room.mp4"), "--trajectory", "forward 0.3"]
        command += ["--steps", "1", "--geometry", "none", "--output", str(output)]
    else:
        command = [*COMMANDS, "geometry", str(root / "room.mp4"), "--output", str(output)]
    whole = time_of(command)
    if not _is_whole(output):
        raise RuntimeError(f"{name}: not even the run that was not killed is whole")
    # More of the moments lie where files are written: near the end.
    times = [whole * (1 - drawn.random() ** 2 * 0.9) for _ in range(count)]
    outcomes = killed_runs(command, output, track(times, name))
    return {outcome: outcomes[outcome] for outcome in ("nothing_left", "whole", "partial_output")}

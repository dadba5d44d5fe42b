"""What a training cost and how its losses fell, as lines of JSON."""

import json
import time
from pathlib import Path

import lightning

from video4spatial.training.resumption import continue_lines
from video4spatial.training.sampler import Batch

KEPT = ("sums", "count", "samples", "tokens")
"""Attributes of a log that a checkpoint keeps."""


class JsonLog(lightning.Callback):
    """Appends a JSON line every so many steps: step, seconds, samples and tokens since the start, mean losses since the last line.

    A training that goes on from a checkpoint goes on with its file; one that starts anew keeps the file before as NAME-1 and so on.

    Args:
        path: file to append to.
        every: steps per line.
    """

    def __init__(self, path: str, every: int = 50):
        self.path, self.every = Path(path), every
        self.sums, self.count, self.started = {}, 0, None
        self.samples, self.tokens, self.seconds_before = 0, 0, 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock, or let it run on, and drop the lines of steps that are taken again."""
        self.started = time.monotonic() - self.seconds_before
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            continue_lines(self.path, trainer.global_step)

    def state_dict(self) -> dict:
        """What a checkpoint keeps of it."""
        seconds = self.seconds_before if self.started is None else time.monotonic() - self.started
        return {"seconds": seconds} | {name: getattr(self, name) for name in KEPT}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what a checkpoint kept."""
        self.seconds_before = state["seconds"]
        for name in KEPT:
            setattr(self, name, state[name])

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs, batch, *_) -> None:
        """Add up; write when it is time."""
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/"):
                self.sums.setdefault(name.removeprefix("train/"), []).append(float(value))
        self.count += 1
        if isinstance(batch, Batch):
            self.samples += len(batch.latents)
            self.tokens += batch.num_tokens(module.transformer.tokens_per_latent(*batch.latents.shape[-2:]))
        else:
            self.samples += len(batch)
        if self.count % self.every == 0:
            self._write(trainer)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write what came after the last line."""
        if self.sums:
            self._write(trainer)

    def _write(self, trainer: lightning.Trainer) -> None:
        line = {"step": trainer.global_step, "seconds": round(time.monotonic() - self.started, 1)}
        line |= {"samples": self.samples, "tokens": self.tokens}
        line |= {name: round(sum(values) / len(values), 5) for name, values in self.sums.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.sums = {}

"""How far a training has come, by steps or by the clock. The curriculum and the learning rates follow it."""

import time
from dataclasses import dataclass

import lightning


@dataclass(frozen=True)
class Progress:
    """How far a training has come. It can be pickled, so workers of a data loader can be given one.

    Args:
        max_steps: optimiser steps of the whole training, where steps count.
        started: when the clock was started, in seconds of `time.monotonic`, where time counts; None counts steps.
        seconds: length of the training, where time counts.
    """

    max_steps: int = 1
    started: float | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, trainer: lightning.Trainer) -> "Progress":
        """The progress of a trainer: by its `TimeBudget` if it has one, else by `trainer.max_steps`.

        Raises:
            RuntimeError: if the clock of the time budget has not been started yet.
        """
        for callback in trainer.callbacks:
            if isinstance(callback, TimeBudget):
                if callback.started is None:
                    raise RuntimeError("the time budget starts with the training: there is no progress before that.")
                return cls(started=callback.started, seconds=callback.seconds)
        return cls(max_steps=max(trainer.max_steps, 1))

    def at(self, step: int) -> float:
        """The progress at a step, from 0 to 1. Where time counts, it is that of this moment, whatever the step."""
        if self.started is None:
            return min(step / self.max_steps, 1.0)
        return min((time.monotonic() - self.started) / self.seconds, 1.0)


class TimeBudget(lightning.Callback):
    """Stops the training after a number of minutes. The curriculum and the learning rates then follow the clock.

    Such a training cannot be repeated step for step; use `max_steps` where that matters.

    Args:
        minutes: wall-clock time of the training itself. Preparing the data does not count.

    Raises:
        ValueError: if `minutes` is not above 0.
    """

    def __init__(self, minutes: float):
        if minutes <= 0:
            raise ValueError(f"minutes {minutes}: expected more than 0.")
        self.seconds = 60 * minutes
        self.started: float | None = None

    def on_fit_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock: before the first batch is drawn, which happens before the training starts."""
        self.started = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_) -> None:
        """Stop when the time is over, all processes at the same step."""
        over = Progress.of(trainer).at(trainer.global_step) >= 1
        trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(over)

"""How far a training is, with a terminal or without one."""

from contextlib import ExitStack

import lightning
from lightning.pytorch.callbacks import ProgressBar

from video4spatial.training.progress import Progress
from video4spatial.waits import counted

PARTS = 1000
"""Steps of the bar where the clock ends the training."""


class ShownProgress(ProgressBar):
    """Tells step and loss, and how long the training will take: by its steps, or by its time budget."""

    def __init__(self):
        super().__init__()
        self.shown, self.stack, self.wait, self.told = True, ExitStack(), None, 0

    def disable(self) -> None:
        """Show nothing."""
        self.shown = False

    def enable(self) -> None:
        """Show it."""
        self.shown = True

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to count what is left."""
        left = None
        if Progress.of(trainer).started is not None:
            left = PARTS
        elif trainer.max_steps > 0:
            left = trainer.max_steps - trainer.global_step
        self.told = 0
        shown = self.shown and trainer.is_global_zero
        self.wait = self.stack.enter_context(counted("training", left, shown=shown))

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs, *_) -> None:
        """Count the step."""
        loss = trainer.callback_metrics.get("train/loss")
        self.wait.describe(f"step {trainer.global_step}" + ("" if loss is None else f", loss {float(loss):.3g}"))
        progress = Progress.of(trainer)
        done = 1 if progress.started is None else int(PARTS * progress.at(trainer.global_step)) - self.told
        self.told += done
        self.wait.advance(done)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """End the bar."""
        self.stack.close()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: BaseException) -> None:
        """Put the bar away."""
        self.stack.close()

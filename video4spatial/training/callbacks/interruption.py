"""Interrupted trainings: the step that is under way is ended, and a checkpoint is left to go on from."""

import signal
import sys
import threading
from pathlib import Path

import lightning

SIGNALS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Interrupted(BaseException):
    """A training was stopped by a signal, after its checkpoint was written.

    Args:
        number: of the signal.
        step: that was ended.
        checkpoint: to go on from.
    """

    def __init__(self, number: int, step: int, checkpoint: Path):
        super().__init__(f"{SIGNALS[number]} after step {step}; go on with --ckpt_path {checkpoint}")
        self.number = number


class Interruption(lightning.Callback):
    """Ends a training at the next step after Ctrl-C or SIGTERM, and leaves a checkpoint. A second Ctrl-C ends it at once.

    Attributes:
        started: whether the data are prepared and the first step has begun.
    """

    def __init__(self):
        self.received: int | None = None
        self.started = False

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """From here on there is something to keep. Lightning puts the handlers before it back in the end."""
        self.started = True
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame) -> None:
        if self.received is not None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        self.received = number
        print(f"{SIGNALS[number]}: ending the step and writing a checkpoint (again: stop at once)", file=sys.stderr, flush=True)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_) -> None:
        """Write the checkpoint and leave, all processes at the same step; after the last step the training ends as ever.

        Raises:
            Interrupted: after a signal.
        """
        received = trainer.strategy.reduce_boolean_decision(self.received is not None, all=False)
        if not received or trainer.should_stop or 0 <= trainer.max_steps <= trainer.global_step:
            return
        folders = [callback.dirpath for callback in trainer.checkpoint_callbacks if callback.dirpath is not None]
        path = Path(folders[0] if folders else Path(trainer.default_root_dir) / "checkpoints") / "last.ckpt"
        trainer.save_checkpoint(path)
        raise Interrupted(self.received or signal.SIGINT, trainer.global_step, path)

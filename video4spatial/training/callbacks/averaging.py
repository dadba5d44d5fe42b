"""The averaged weights of a training."""

import lightning
from lightning.pytorch.callbacks import WeightAveraging


def averaged(trainer: lightning.Trainer, module: lightning.LightningModule) -> lightning.LightningModule:
    """The module with averaged weights where a callback keeps them, else the module itself."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            return callback._average_model.module
    return module

"""The folder of a network that is trained by itself, such as the stereo network."""

import copy
from pathlib import Path

import lightning
import torch

from video4spatial.files import written_aside
from video4spatial.training.model_folder import averaged, forget_origin


class ExportNetwork(lightning.Callback):
    """Writes the network of a module (its attribute `network`) as a diffusers folder, at the end and on the way.

    Averaged weights are taken where they are kept.

    Args:
        folder: where to; what stands there is replaced, and train.py begins no new training where something does.
        every: steps between exports; 0 exports at the end alone.
        half: write weights in half precision, which takes half the space.
    """

    def __init__(self, folder: str, every: int = 0, half: bool = True):
        self.folder, self.every, self.half = Path(folder), every, half

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_) -> None:
        """Write every so many steps."""
        if self.every and trainer.global_step % self.every == 0:
            self._write(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write."""
        self._write(trainer, module)

    def _write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        network = averaged(trainer, module).network
        if trainer.is_global_zero:
            network = copy.deepcopy(network).cpu().eval()
            with written_aside(self.folder) as aside:
                (network.to(torch.float16) if self.half else network).save_pretrained(aside)
                forget_origin(aside)

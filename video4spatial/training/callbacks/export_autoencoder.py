"""The folder of a trained autoencoder."""

from pathlib import Path

import lightning

from video4spatial.files import written_aside
from video4spatial.models.autoencoder import measure_latent_statistics
from video4spatial.training.model_folder import averaged
from video4spatial.waits import track


class ExportAutoencoder(lightning.Callback):
    """Measures the statistics of an autoencoder's latents at the end of its training, and writes its folder.

    Averaged weights are taken where they are kept.

    Args:
        folder: where to; must not exist.
        batches: batches of pictures to measure on.

    Raises:
        FileExistsError: if the folder exists.
    """

    def __init__(self, folder: str, batches: int = 40):
        self.folder, self.batches = Path(folder), batches
        if self.folder.exists():
            raise FileExistsError(f"{folder} exists: give ExportAutoencoder another folder, or remove it.")

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Measure and write."""
        autoencoder = averaged(trainer, module).autoencoder.eval()
        first = 10**6  # steps that the training does not come to
        steps = track(range(first, first + self.batches), "measuring the latents")
        pictures = (trainer.datamodule.draw(step) for step in steps)
        measure_latent_statistics(autoencoder, (batch.unsqueeze(2).to(autoencoder.device) for batch in pictures))
        if trainer.is_global_zero:
            with written_aside(self.folder) as aside:
                autoencoder.save_pretrained(aside)

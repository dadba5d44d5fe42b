"""The pipeline folder of a model under training."""

from pathlib import Path

import lightning

from video4spatial.training.model_folder import averaged, build_pipeline, save_pipeline


class ExportPipeline(lightning.Callback):
    """Writes the model as a pipeline folder, every so many steps and at the end.

    Averaged weights are taken where they are kept.

    Args:
        folder: where to. The export before is replaced; train.py begins no new training where an earlier one left its own.
        domain: what the model has seen, in words.
        every: steps between exports; 0 exports at the end only.
        keep: keep every export, as FOLDER-stepN, to see what training buys (`benchmarks/training.py`).
    """

    def __init__(self, folder: str, domain: str, every: int = 0, keep: bool = False):
        self.folder, self.domain = Path(folder), domain
        self.every, self.keep = every, keep

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_) -> None:
        """Export when it is time."""
        if self.every and trainer.global_step % self.every == 0:
            self.export(trainer, module)

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Export the final weights."""
        self.export(trainer, module)

    def export(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the folder."""
        if not trainer.is_global_zero:
            return
        pipeline = build_pipeline(averaged(trainer, module), trainer.datamodule, self.domain)
        save_pipeline(pipeline, self.folder)
        if self.keep:
            save_pipeline(pipeline, self.folder.with_name(f"{self.folder.name}-step{trainer.global_step}"))

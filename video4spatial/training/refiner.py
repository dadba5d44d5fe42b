"""Training of the refiner: from decoded pictures, and what a scene shows of them, to the pictures themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning
import torch

from video4spatial.models.refiner import PictureRefiner
from video4spatial.training.autoencoder import picture_losses, warm_cosine
from video4spatial.training.progress import Progress


LEAST_ERROR = 1e-4
"""Squared error below which pictures in [-1, 1] need not come nearer (46 dB)."""


@dataclass(frozen=True)
class PictureBatch:
    """What a step of the refiner learns from, wherever it came from.

    Args:
        decoded: [B, 3, H, W] in [-1, 1], as an autoencoder decoded them, from true latents or those of a model.
        guidance: [B, 1 + views, 6, H, W] of sources (`SOURCE_CHANNELS`), zero in examples without; None where no example has any.
        truth: [B, 3, H, W] in [-1, 1].
    """

    decoded: torch.Tensor
    guidance: torch.Tensor | None
    truth: torch.Tensor

    def __len__(self) -> int:
        return len(self.truth)

    def to(self, device: torch.device | str, **options) -> PictureBatch:
        """The batch on a device."""
        guidance = None if self.guidance is None else self.guidance.to(device, **options)
        return PictureBatch(self.decoded.to(device, **options), guidance, self.truth.to(device, **options))


class RefinerModule(lightning.LightningModule):
    """Trains a `PictureRefiner` on batches of decoded pictures, guidance and truth.

    Args:
        views: single views that it takes beside the blend.
        widths: its channels at a half, a quarter and an eighth of the picture's size.
        blocks: its residual blocks at an eighth.
        learning_rate: of AdamW. It warms up over 200 steps and falls as a cosine over the training.
        gradient_weight: weight of the absolute error of picture gradients, which keeps edges.
        relative_weight: weight of the mean logarithm of each picture's squared error, under which pictures that are nearly right count as
            much as bad ones (Chen et al., HINet, 2021).
        init_from: folder of a refiner to start from, which then says the first three arguments; None starts at zero effect.

    Raises:
        ValueError: for a folder that holds no refiner.
    """

    def __init__(
        self,
        views: int = 2,
        widths: tuple[int, int, int] = (32, 64, 96),
        blocks: int = 2,
        learning_rate: float = 1e-3,
        gradient_weight: float = 0.5,
        relative_weight: float = 0.0,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        if init_from is not None and not (Path(init_from) / "config.json").is_file():
            raise ValueError(f"model.init_from: {init_from} is not the folder of a refiner (no config.json).")
        if init_from is None:
            self.network = PictureRefiner(views, tuple(widths), blocks)
        else:
            self.network = PictureRefiner.from_pretrained(init_from, torch_dtype=torch.float32, use_safetensors=True)

    def check_data(self, data: lightning.LightningDataModule) -> None:
        """Refuse data that draw no guidance.

        Args:
            data: that it is to be trained on.

        Raises:
            ValueError: if they are made for another model.
        """
        views = getattr(data, "views", None)
        if views != self.network.config.views:
            raise ValueError(
                f"data.geometry.views {views}: the refiner takes {self.network.config.views}; it trains on RefinerData with as many."
            )

    def training_step(self, batch: PictureBatch, batch_index: int) -> torch.Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def losses(self, batch: PictureBatch) -> dict[str, torch.Tensor]:
        """How well a batch is refined.

        Args:
            batch: decoded pictures, guidance and truth.

        Returns:
            `loss`, from the errors of pixels and of their gradients, and `psnr` in dB, after refining and before (`decoded`).
        """
        refined = self.network(batch.decoded, batch.guidance)
        losses = picture_losses(refined, batch.truth, self.hparams.gradient_weight)
        if self.hparams.relative_weight:
            squared = (refined - batch.truth).square().mean((1, 2, 3))
            losses["loss"] = losses["loss"] + self.hparams.relative_weight * (squared + LEAST_ERROR).log().mean()
        before = picture_losses(batch.decoded, batch.truth, self.hparams.gradient_weight)
        return {**losses, "decoded": before["psnr"]}

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up over 200 steps, fall as a cosine."""
        scale = warm_cosine(self.global_step, Progress.of(self.trainer).at(self.global_step))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale

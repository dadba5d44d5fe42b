"""Training of the built-in picture autoencoder."""

import lightning
import torch
from diffusers import AutoencoderKL
from torch.nn import functional as F

from video4spatial.models.autoencoder import decode_pictures, picture_posterior


def build_autoencoder(channels: tuple[int, ...] = (32, 64, 96), latent_channels: int = 16) -> AutoencoderKL:
    """A small diffusers `AutoencoderKL` over 2 x 2 pixel squares, by default with 8-fold spatial compression.

    The squares keep the widest convolutions off the full resolution, where they would cost most.

    Args:
        channels: width of each resolution level, multiples of 8; 2^levels is the compression.
        latent_channels: channels of the latents.
    """
    return AutoencoderKL(
        in_channels=12,
        out_channels=12,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
        scaling_factor=1.0,
    )


class AutoencoderModule(lightning.LightningModule):
    """Reconstruction with a small KL term; the latents' scale is measured afterwards, not forced.

    Args:
        channels, latent_channels: of `build_autoencoder`.
        learning_rate: of AdamW, with warm-up and a cosine fall over training.
        kl_weight: weight of the KL divergence to N(0, I), mean over latent entries.
        gradient_weight: weight of the absolute error of picture gradients, which keeps edges.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 96),
        latent_channels: int = 16,
        learning_rate: float = 2e-3,
        kl_weight: float = 1e-4,
        gradient_weight: float = 0.5,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.autoencoder = build_autoencoder(channels, latent_channels)
        self.progress_of = lambda: self.global_step / max(self.trainer.max_steps, 1)

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        """Loss of pictures [B, 3, H, W] in [-1, 1]."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def losses(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reconstruction, gradient and KL losses, and the PSNR in dB."""
        posterior = picture_posterior(self.autoencoder, pictures)
        decoded = decode_pictures(self.autoencoder, posterior.sample())
        squared = F.mse_loss(decoded, pictures)
        edges = sum(
            (decoded.diff(dim=axis) - pictures.diff(dim=axis)).abs().mean() for axis in (-1, -2)
        )
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        reconstruction = F.l1_loss(decoded, pictures) + 2 * squared
        loss = reconstruction + self.hparams.gradient_weight * edges + self.hparams.kl_weight * kl
        psnr = -10 * torch.log10(squared.detach() / 4)
        return {"loss": loss, "psnr": psnr, "kl": kl.detach()}

    def configure_optimizers(self):
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up over 50 steps, fall as a cosine."""
        progress = torch.tensor(min(self.progress_of(), 1.0))
        scale = min(1.0, (self.global_step + 1) / 50) * float(0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.pi * progress)))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale

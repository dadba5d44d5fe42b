"""Training of the built-in picture autoencoder: the encoder is the best linear one, the decoder is refined by descent."""

import lightning
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from video4spatial.models.autoencoder import decode_pictures, picture_posterior, pixel_patch
from video4spatial.training.progress import Progress

_LINEAR_OFFSET = 12.0  # SiLU is the identity to five digits this far above zero
_CARRIER = 40.0  # a constant channel this large keeps group normalisation from rescaling the others


def build_autoencoder(channels: tuple[int, ...] = (128,), latent_channels: int = 48, patch: int = 8) -> AutoencoderKL:
    """A small diffusers `AutoencoderKL` over squares of patch x patch pixels.

    Convolutions work on the squares, never at full resolution, where they would cost most: with the defaults everything happens
    at an eighth of the picture's size.

    Args:
        channels: width of each resolution level; patch * 2^(levels - 1) is the spatial compression.
        latent_channels: channels of the latents.
        patch: side of the pixel squares taken as channels.
    """
    return AutoencoderKL(
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=1,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
        scaling_factor=1.0,
    )


@torch.no_grad()
def start_linear(autoencoder: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Set a one-level autoencoder to principal component analysis of its pixel squares, the best linear autoencoder.

    Residual blocks start at zero effect. The two places where normalisation and SiLU stand in the way are made linear: a large
    constant channel fixes the normalisation, and an offset keeps SiLU in its linear range. This saves the thousands of steps that
    finding the principal components by gradient descent takes, and errors of latents then weigh as errors of pixels do, because
    the basis is orthonormal.

    Args:
        autoencoder: changed in place; one resolution level, fewer latent channels than its width.
        pictures: [B, 3, H, W] in [-1, 1], some thousand squares in all.

    Raises:
        ValueError: for an autoencoder of another shape.
    """
    width, latents = autoencoder.config.block_out_channels[0], autoencoder.config.latent_channels
    if len(autoencoder.config.block_out_channels) != 1 or latents >= width:
        raise ValueError("start_linear needs one resolution level and fewer latent channels than its width.")
    squares = F.pixel_unshuffle(pictures, pixel_patch(autoencoder)).permute(0, 2, 3, 1).flatten(0, 2)
    mean = squares.mean(0)
    _, _, basis = torch.linalg.svd(squares[torch.randperm(len(squares))[:20000]] - mean, full_matrices=False)
    basis = basis[:latents]  # [latents, 3 patch^2], orthonormal
    scale = ((squares - mean) @ basis.T).std(0).max()
    for module in autoencoder.modules():
        if hasattr(module, "conv2") and hasattr(module, "norm2"):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)

    def centre_tap(convolution: nn.Conv2d, matrix: torch.Tensor, bias: torch.Tensor) -> None:
        rows, columns = matrix.shape
        convolution.weight[:rows] = 0
        convolution.weight[:rows, :columns, 1, 1] = matrix
        convolution.bias[:rows] = bias

    def carry(convolution: nn.Conv2d) -> None:
        convolution.weight[latents] = 0
        convolution.bias[latents] = _CARRIER

    def make_linear(norm: nn.GroupNorm, incoming: torch.Tensor) -> None:
        deviation, centre = incoming.flatten(1).std(1).mean(), incoming.flatten(1).mean(1).mean()
        norm.weight[:latents] = deviation
        norm.bias[:latents] = centre + _LINEAR_OFFSET

    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    identity = torch.eye(latents)
    seen = {}
    hooks = [
        part.conv_norm_out.register_forward_pre_hook(lambda module, inputs, n=name: seen.__setitem__(n, inputs[0]))
        for name, part in (("encoder", encoder), ("decoder", decoder))
    ]
    centre_tap(encoder.conv_in, basis / scale, -(basis @ mean) / scale)
    carry(encoder.conv_in)
    picture_posterior(autoencoder, pictures[:64])
    make_linear(encoder.conv_norm_out, seen["encoder"])
    nn.init.zeros_(encoder.conv_out.weight)
    centre_tap(encoder.conv_out, identity, torch.full((latents,), -_LINEAR_OFFSET))
    encoder.conv_out.bias[latents:] = -12.0  # all but deterministic
    centre_tap(decoder.conv_in, identity, torch.zeros(latents))
    carry(decoder.conv_in)
    decode_pictures(autoencoder, picture_posterior(autoencoder, pictures[:64]).mode())
    make_linear(decoder.conv_norm_out, seen["decoder"])
    nn.init.zeros_(decoder.conv_out.weight)
    centre_tap(decoder.conv_out, basis.T * scale, mean - (basis.T * scale).sum(1) * _LINEAR_OFFSET)
    for hook in hooks:
        hook.remove()


class AutoencoderModule(lightning.LightningModule):
    """Refines the decoder for the fixed encoder that `start_linear` made, so that latents encoded before stay valid.

    Args:
        channels, latent_channels, patch: of `build_autoencoder`.
        learning_rate: of AdamW, with warm-up and a cosine fall over training.
        gradient_weight: weight of the absolute error of picture gradients, which keeps edges.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (128,),
        latent_channels: int = 48,
        patch: int = 8,
        learning_rate: float = 1e-4,
        gradient_weight: float = 0.5,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.autoencoder = build_autoencoder(channels, latent_channels, patch)
        self.autoencoder.encoder.requires_grad_(False)

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        """Loss of pictures [B, 3, H, W] in [-1, 1]."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def losses(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reconstruction and gradient losses, and the PSNR in dB."""
        with torch.no_grad():
            latents = picture_posterior(self.autoencoder, pictures).mode()
        decoded = decode_pictures(self.autoencoder, latents)
        squared = F.mse_loss(decoded, pictures)
        edges = sum((decoded.diff(dim=axis) - pictures.diff(dim=axis)).abs().mean() for axis in (-1, -2))
        loss = F.l1_loss(decoded, pictures) + 2 * squared + self.hparams.gradient_weight * edges
        return {"loss": loss, "psnr": -10 * torch.log10(squared.detach() / 4)}

    def configure_optimizers(self):
        """AdamW."""
        decoder = self.autoencoder.decoder.parameters()
        return torch.optim.AdamW(decoder, lr=self.hparams.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up over 200 steps, fall as a cosine."""
        progress = torch.tensor(Progress.of(self.trainer).at(self.global_step))
        scale = min(1.0, (self.global_step + 1) / 200) * float(0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.pi * progress)))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale

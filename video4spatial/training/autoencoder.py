"""Training of the built-in picture autoencoder: its encoder is the best linear one, its decoder learns."""

import math
from collections.abc import Callable

import lightning
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from video4spatial.models.autoencoder import decode_pictures, load_autoencoder, picture_posterior, pixel_patch
from video4spatial.training.progress import Progress

_CARRIER = 40.0  # a constant channel this large keeps group normalisation from rescaling the others
_COLOUR = 0.6  # share of the saturation of rendered rooms that footage is taken to have
_INEXACT = 0.05  # error of latents that the linear decoder allows for, as a share of their deviation


def build_autoencoder(channels: tuple[int, ...] = (128,), latent_channels: int = 48, patch: int = 8) -> AutoencoderKL:
    """A small diffusers `AutoencoderKL` over squares of patch x patch pixels.

    Convolutions work on the squares, never at full resolution, where they would cost most. With the defaults everything happens
    at an eighth of the picture's size.

    Args:
        channels: width of each resolution level; patch * 2^(levels - 1) is the spatial compression.
        latent_channels: channels of the latents.
        patch: side of the squares in pixels; the pixels of a square are taken as channels.

    Returns:
        The autoencoder, with random weights.
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
    """Set an autoencoder to the best linear encoder of pixel squares, and the best linear decoder that also sees neighbours.

    Finding them by gradient descent would take thousands of steps. The encoder gives the principal components of each square;
    their basis is orthonormal, so errors of latents weigh as errors of pixels do. The components are those of paler pictures:
    rendered rooms have more colour than footage, whose shapes would lose detail to it. The decoder solves the least squares from
    a square's latents and those of the eight around it, so that the edges between squares do not show.

    Residual blocks start at zero effect. Normalisation and SiLU stand in the way at two places and are made linear there: a large
    constant channel fixes the normalisation, and every value passes twice, as it is and negated: silu(x) - silu(-x) = x.

    Args:
        autoencoder: changed in place; one resolution level, more than twice as wide as there are latent channels.
        pictures: [B, 3, H, W] in [-1, 1], some thousand squares in all.

    Raises:
        ValueError: for an autoencoder of another shape.
    """
    check_linear(autoencoder)
    latents = autoencoder.config.latent_channels
    squares = F.pixel_unshuffle(pictures, pixel_patch(autoencoder)).permute(0, 2, 3, 1).flatten(0, 2)
    mean = squares.mean(0)
    deviations = _paled(squares - mean, _COLOUR).double()
    covariance = deviations.T @ deviations
    basis = torch.linalg.eigh(covariance).eigenvectors.T.flip(0)[:latents].float()  # [latents, 3 patch^2], orthonormal
    scale = ((squares - mean) @ basis.T).std(0).max()
    for module in autoencoder.modules():
        if hasattr(module, "conv2") and hasattr(module, "norm2"):
            nn.init.zeros_(module.conv2.weight)
            nn.init.zeros_(module.conv2.bias)

    encoder, decoder = autoencoder.encoder, autoencoder.decoder
    identity, both = torch.eye(latents), torch.cat([torch.eye(latents), -torch.eye(latents)])
    for part, matrix, bias in ((encoder, basis / scale, -(basis @ mean) / scale), (decoder, identity, torch.zeros(latents))):
        _centre_tap(part.conv_in, both @ matrix, both @ bias)
        part.conv_in.weight[2 * latents] = 0
        part.conv_in.bias[2 * latents] = _CARRIER
        nn.init.zeros_(part.conv_out.weight)
    nn.init.zeros_(encoder.conv_in.weight[2 * latents :])  # random features would unsettle the normalisation; nobody reads them
    _make_linear(encoder, lambda: picture_posterior(autoencoder, pictures[:64]), 2 * latents)
    _centre_tap(encoder.conv_out, both.T, torch.zeros(latents))
    encoder.conv_out.bias[latents:] = -12.0  # all but deterministic
    codes = torch.cat([picture_posterior(autoencoder, some).mode() for some in pictures.split(16)])
    _make_linear(decoder, lambda: decode_pictures(autoencoder, codes[:64]), 2 * latents)
    taps = _best_decoder(codes, F.pixel_unshuffle(pictures, pixel_patch(autoencoder)) - mean[:, None, None])
    decoder.conv_out.weight[:, : 2 * latents] = torch.cat([taps, -taps], dim=1)
    decoder.conv_out.bias.copy_(mean)


def _paled(squares: torch.Tensor, saturation: float) -> torch.Tensor:
    """Squares [N, 3 patch^2], the channels of a colour in a row, with less colour."""
    colours = squares.unflatten(1, (3, -1))
    grey = colours.mean(1, keepdim=True)
    return (grey + saturation * (colours - grey)).flatten(1)


def _centre_tap(convolution: nn.Conv2d, matrix: torch.Tensor, bias: torch.Tensor) -> None:
    """Let the first channels that go out be a linear function [out, in] of the first that come in, pixel by pixel."""
    rows, columns = matrix.shape
    convolution.weight[:rows] = 0
    convolution.weight[:rows, :columns, 1, 1] = matrix
    convolution.bias[:rows] = bias


def _make_linear(part: nn.Module, run: Callable[[], object], channels: int) -> None:
    """Let the last normalisation of an encoder or decoder give back the first channels of what comes in when it is run."""
    seen = []
    hook = part.conv_norm_out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    run()
    hook.remove()
    part.conv_norm_out.weight[:channels] = seen[0].flatten(1).std(1).mean()
    part.conv_norm_out.bias[:channels] = seen[0].flatten(1).mean(1).mean()


def _best_decoder(codes: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Weights [O, C, 3, 3] of the convolution that comes nearest to squares [B, O, h, w] from codes [B, C, h, w]."""
    size = 9 * codes.shape[1]
    seen, wanted = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, squares.shape[1], dtype=torch.float64)
    for code, square in zip(codes.split(16), squares.split(16)):
        around = F.unfold(code, 3, padding=1).transpose(1, 2).flatten(0, 1).double()
        seen += around.T @ around
        wanted += around.T @ square.flatten(2).transpose(1, 2).flatten(0, 1).double()
    # Latents that a model makes are not exact: small weights, where they cost nothing, pass less of the error on.
    seen += torch.eye(size) * (_INEXACT * codes.std()) ** 2 * codes[:, 0].numel()
    return torch.linalg.solve(seen, wanted).T.float().unflatten(1, (codes.shape[1], 3, 3))


def check_linear(autoencoder: AutoencoderKL) -> None:
    """Refuse an autoencoder that `start_linear` cannot set.

    Raises:
        ValueError: if it has several resolution levels, or is not wider than twice its latent channels.
    """
    widths, latents = tuple(autoencoder.config.block_out_channels), autoencoder.config.latent_channels
    if len(widths) != 1 or 2 * latents >= widths[0]:
        raise ValueError(
            f"channels {list(widths)}, latent_channels {latents}: a linear start needs one level, over twice as wide as the latents."
        )


class AutoencoderModule(lightning.LightningModule):
    """Trains the decoder. The encoder stays the linear one of `start_linear`, so latents that were encoded before stay valid.

    Args:
        channels, latent_channels, patch: of `build_autoencoder`.
        learning_rate: of AdamW. It warms up over 200 steps and falls as a cosine over the training.
        gradient_weight: weight of the absolute error of picture gradients, which keeps edges.
        init_from: folder of an autoencoder to start from, which then says the first three arguments; None starts from
            `start_linear` on pictures of the data module.

    Raises:
        ValueError: for an autoencoder that has no linear start, or a folder of another kind of autoencoder.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (128,),
        latent_channels: int = 48,
        patch: int = 8,
        learning_rate: float = 1e-4,
        gradient_weight: float = 0.5,
        init_from: str | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        if init_from is None:
            self.autoencoder = build_autoencoder(channels, latent_channels, patch)
            check_linear(self.autoencoder)
        else:
            self.autoencoder = load_autoencoder(init_from)
            if not isinstance(self.autoencoder, AutoencoderKL):
                raise ValueError(f"model.init_from: {init_from} is no autoencoder of pictures: expected an AutoencoderKL.")
        self.autoencoder.encoder.requires_grad_(False)

    def check_data(self, data: lightning.LightningDataModule) -> None:
        """Refuse data that draw no pictures, but latents or anything else.

        Args:
            data: that it is to be trained on.

        Raises:
            ValueError: if it names an autoencoder, or is made for another model.
        """
        if not {"autoencoder", "bank"} <= data.hparams.keys():
            raise ValueError(f"data.class_path {type(data).__name__}: an autoencoder is trained on RoomsData.")
        if data.hparams.autoencoder is not None:
            raise ValueError(f"data.autoencoder {data.hparams.autoencoder}: an autoencoder trains on pictures; expected null.")

    def setup(self, stage: str) -> None:
        """Start from the linear autoencoder of the data module's pictures."""
        if stage == "fit" and self.hparams.init_from is None and self.trainer.datamodule is not None:
            # Steps below zero are not trained on.
            start_linear(self.autoencoder, torch.cat([self.trainer.datamodule.draw(step) for step in range(-40, 0)]))

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        """Loss of one batch of pictures [B, 3, H, W] in [-1, 1]."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def losses(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """How well pictures are reconstructed.

        Args:
            pictures: [B, 3, H, W] in [-1, 1].

        Returns:
            `loss`, from the errors of pixels and of their gradients, and `psnr` in dB.
        """
        with torch.no_grad():
            latents = picture_posterior(self.autoencoder, pictures).mode()
        decoded = decode_pictures(self.autoencoder, latents)
        return picture_losses(decoded, pictures, self.hparams.gradient_weight)

    def configure_optimizers(self):
        """AdamW on the decoder."""
        decoder = self.autoencoder.decoder.parameters()
        return torch.optim.AdamW(decoder, lr=self.hparams.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up over 200 steps, fall as a cosine."""
        scale = warm_cosine(self.global_step, Progress.of(self.trainer).at(self.global_step))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale


def picture_losses(pictures: torch.Tensor, truth: torch.Tensor, gradient_weight: float) -> dict[str, torch.Tensor]:
    """How near pictures come to others.

    Args:
        pictures, truth: [B, 3, H, W] in [-1, 1].
        gradient_weight: weight of the absolute error of picture gradients.

    Returns:
        `loss`, from the errors of pixels and of their gradients, and `psnr` in dB.
    """
    squared = F.mse_loss(pictures, truth)
    edges = sum((pictures.diff(dim=axis) - truth.diff(dim=axis)).abs().mean() for axis in (-1, -2))
    loss = F.l1_loss(pictures, truth) + 2 * squared + gradient_weight * edges
    return {"loss": loss, "psnr": -10 * torch.log10(squared.detach() / 4)}


def warm_cosine(step: int, progress: float) -> float:
    """Factor of a learning rate that warms up over 200 steps and falls as a cosine to a fiftieth.

    Args:
        step: of the training.
        progress: of the training, from 0 to 1.
    """
    return min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

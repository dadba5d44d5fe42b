"""Frames to normalised latents and back, for picture autoencoders and video autoencoders alike."""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch import nn
from torch.nn import functional as F

from video4spatial.compression import spatial_compression_of
from video4spatial.parsing import read_object

Autoencoder = AutoencoderKL | AutoencoderKLWan


def read_autoencoder_config(folder: str | Path) -> dict[str, Any]:
    """The configuration of an autoencoder's folder, without loading its weights.

    Args:
        folder: with a `config.json`, as diffusers writes it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another class than those of `Autoencoder`.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not the folder of an autoencoder (no config.json).")
    try:
        config = read_object(path)
    except ValueError as error:
        raise ValueError(f"{path}: not the configuration of an autoencoder: {error}.") from error
    name, known = config.get("_class_name"), [kind.__name__ for kind in get_args(Autoencoder)]
    if name not in known:
        raise ValueError(f"{folder} holds a model of class {name}: expected an autoencoder, {' or '.join(known)}.")
    return config


def load_autoencoder(folder: str | Path) -> Autoencoder:
    """Load an autoencoder of pictures or video, of the class that its folder names, ready for encoding and decoding.

    Args:
        folder: with `config.json` and weights, as diffusers writes them.

    Raises:
        FileNotFoundError: if it holds no `config.json`.
        ValueError: if it holds a model of a class that is not supported.
    """
    name = read_autoencoder_config(folder)["_class_name"]
    (kind,) = (kind for kind in get_args(Autoencoder) if kind.__name__ == name)
    return kind.from_pretrained(folder, use_safetensors=True).eval()


def latent_channels(config: Mapping[str, Any]) -> int:
    """Channels of an autoencoder's latents.

    Args:
        config: its configuration, as a model has it or as `read_autoencoder_config` reads it.
    """
    return config["z_dim"] if "z_dim" in config else config["latent_channels"]


def spatial_compression(autoencoder: Autoencoder | Mapping[str, Any]) -> int:
    """Pixels per latent pixel along each picture axis.

    Args:
        autoencoder: of pictures or video, or its configuration.
    """
    return spatial_compression_of(autoencoder if isinstance(autoencoder, Mapping) else autoencoder.config)


def pixel_patch(autoencoder: Autoencoder) -> int:
    """Side of the pixel squares that a picture autoencoder takes as channels (12 channels: squares of 2 x 2 pixels)."""
    return math.isqrt(autoencoder.config["in_channels"] // 3)


def temporal_compression(autoencoder: Autoencoder | Mapping[str, Any]) -> int:
    """Frames per latent after the first; 1 for a picture autoencoder, which takes every frame by itself.

    Args:
        autoencoder: a model, or its configuration.
    """
    config = autoencoder if isinstance(autoencoder, Mapping) else autoencoder.config
    return config.get("scale_factor_temporal", 4) if "z_dim" in config else 1


def latent_frames(num_frames: int, compression: int) -> int:
    """Latents that `num_frames` frames become.

    Raises:
        ValueError: if the count is not 1 + compression * k: an autoencoder would drop the surplus without a word.
    """
    if num_frames < 1 or (num_frames - 1) % compression:
        raise ValueError(f"{num_frames} frames: expected 1 + {compression} * k frames; pad or trim the video.")
    return 1 + (num_frames - 1) // compression


def _statistics(autoencoder: Autoencoder, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = autoencoder.config.latents_mean, autoencoder.config.latents_std
    if mean is None or std is None:
        raise ValueError(
            "the autoencoder's config has no latents_mean / latents_std: measure them with measure_latent_statistics()."
        )
    shape = (1, -1, 1, 1, 1)
    return like.new_tensor(mean).view(shape), like.new_tensor(std).view(shape)


def encode_raw(autoencoder: Autoencoder, frames: torch.Tensor) -> torch.Tensor:
    """Encode frames without normalising.

    Args:
        autoencoder: of pictures or video.
        frames: [B, 3, T, H, W] in [-1, 1], T = 1 + compression * k.

    Returns:
        [B, C, F, h, w] means of the latent distributions.

    Raises:
        ValueError: for another number of frames.
    """
    latent_frames(frames.shape[2], temporal_compression(autoencoder))
    frames = frames.to(autoencoder.dtype)
    if isinstance(autoencoder, AutoencoderKLWan):
        return autoencoder.encode(frames).latent_dist.mode()
    batch = len(frames)
    latents = picture_posterior(autoencoder, frames.transpose(1, 2).flatten(0, 1)).mode()
    return latents.unflatten(0, (batch, -1)).transpose(1, 2)


def encode(autoencoder: Autoencoder, frames: torch.Tensor) -> torch.Tensor:
    """Encode frames and normalise with the measured statistics.

    Args:
        autoencoder: a diffusers autoencoder whose config carries `latents_mean` and `latents_std`.
        frames: [B, 3, T, H, W] in [-1, 1], T = 1 + compression * k.

    Returns:
        [B, C, F, h, w] latents with about zero mean and unit variance per channel.
    """
    latents = encode_raw(autoencoder, frames)
    mean, std = _statistics(autoencoder, latents)
    return (latents - mean) / std


def decode(autoencoder: Autoencoder, latents: torch.Tensor) -> torch.Tensor:
    """Decode normalised latents [B, C, F, h, w] to frames [B, 3, T, H, W] in [-1, 1]."""
    mean, std = _statistics(autoencoder, latents)
    latents = (latents * std + mean).to(autoencoder.dtype)
    if isinstance(autoencoder, AutoencoderKLWan):
        return autoencoder.decode(latents).sample.clamp(-1, 1)
    batch = len(latents)
    frames = decode_pictures(autoencoder, latents.transpose(1, 2).flatten(0, 1))
    return frames.unflatten(0, (batch, -1)).transpose(1, 2).clamp(-1, 1)


@torch.no_grad()
def fold_encoder(autoencoder: Autoencoder) -> Autoencoder:
    """Replace an affine encoder of pictures that sees each square of pixels alone by one convolution that computes the same.

    The encoder of the built-in models is affine, though written as a network: folded it is many times as fast. Others stay as they are.

    Args:
        autoencoder: changed in place. Folded it still encodes and decodes, but cannot be saved.

    Returns:
        The same autoencoder.
    """
    if isinstance(autoencoder, AutoencoderKLWan) or len(autoencoder.config["block_out_channels"]) > 1:
        return autoencoder
    channels, count = autoencoder.config["in_channels"], autoencoder.config["latent_channels"]
    exact = copy.deepcopy(autoencoder.encoder).to("cpu", torch.float64)  # what makes it affine are large numbers that cancel out
    start = exact(torch.zeros(1, channels, 1, 1, dtype=torch.float64))
    units = torch.eye(channels, dtype=torch.float64)[..., None, None]
    folded = nn.Conv2d(channels, start.shape[1], kernel_size=1, dtype=torch.float64).requires_grad_(False)
    folded.weight.copy_((exact(units) - start)[..., 0, 0].T[..., None, None])
    folded.bias.copy_(start.flatten())
    probe = torch.rand(8, channels, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    means, wanted = folded(probe)[:, :count], exact(probe)[:, :count]
    if (means - wanted).abs().max() <= 1e-2 * (wanted - wanted.mean((0, 2, 3), keepdim=True)).std():
        autoencoder.encoder = folded.to(autoencoder.device, autoencoder.dtype)
    return autoencoder


def picture_posterior(autoencoder: AutoencoderKL, pictures: torch.Tensor):
    """Latent distribution of pictures [B, 3, H, W] in [-1, 1]."""
    return autoencoder.encode(F.pixel_unshuffle(pictures, pixel_patch(autoencoder))).latent_dist


def decode_pictures(autoencoder: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Raw latents [B, C, h, w] of a picture autoencoder to pictures [B, 3, H, W]."""
    return F.pixel_shuffle(autoencoder.decode(latents).sample, pixel_patch(autoencoder))


def frames_to_tensor(frames, device: torch.device | str = "cpu") -> torch.Tensor:
    """uint8 frames [T, H, W, 3] (numpy or tensor) to [1, 3, T, H, W] float32 in [-1, 1]."""
    return torch.as_tensor(frames, device=device).permute(3, 0, 1, 2).unsqueeze(0).float() / 127.5 - 1


def tensor_to_frames(tensor: torch.Tensor):
    """A tensor [1, 3, T, H, W] in [-1, 1] to uint8 numpy frames [T, H, W, 3]."""
    frames = ((tensor[0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return frames.permute(1, 2, 3, 0).cpu().numpy()


@torch.no_grad()
def measure_latent_statistics(autoencoder: Autoencoder, batches) -> None:
    """Measure the mean of every latent channel and the standard deviation of all, and write them to the autoencoder's config.

    One deviation serves all channels: as in pictures themselves, channels that carry little stay small, so the loss weighs them
    as the decoder does and noise hides them first.

    Args:
        autoencoder: changed in place (its config).
        batches: iterable of frames [B, 3, T, H, W] in [-1, 1].
    """
    count, total, squares = 0, 0.0, 0.0
    for frames in batches:
        latents = encode_raw(autoencoder, frames).double().transpose(0, 1).flatten(1)
        count += latents.shape[1]
        total = total + latents.sum(1)
        squares = squares + latents.square().sum(1)
    mean = total / count
    deviation = (squares / count - mean**2).clamp(min=1e-12).mean().sqrt()
    autoencoder.register_to_config(latents_mean=mean.tolist(), latents_std=deviation.expand_as(mean).tolist())

"""From what cameras would see of a scene's geometry to the condition of the model: the same for training and for sampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from video4spatial.geometry.filling import filled
from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.autoencoder import Autoencoder, encode, temporal_compression
from video4spatial.models.conditions.geometry import GeometryPrompt


@torch.no_grad()
def geometry_prompt(autoencoder: Autoencoder, renderings: Sequence[GeometryRendering], views: int) -> GeometryPrompt:
    """The condition of B targets.

    Unknown pixels of the blend are filled from around them, those of single views from the blend, so that squares at the border of what is
    known are encoded well; the maps tell what was known.

    Args:
        autoencoder: on any device.
        renderings: B of T frames each, T = 1 + compression * k, all of one size.
        views: K best single views that the model is shown; a rendering may hold more.

    Returns:
        A `GeometryPrompt` on the autoencoder's device, float32.
    """
    device = autoencoder.device
    pictures, known, depth, confidence = (
        torch.from_numpy(np.stack([part(rendering, views) for rendering in renderings])).to(device)
        for part in (_pictures, _known, _depth, _confidence)
    )  # [B, T, 1 + K, ...]
    batch, frames, kinds = known.shape[:3]
    seen = known.unsqueeze(3).float()
    colours = pictures.movedim(-1, 3).float() / 127.5 - 1  # [B, T, 1 + K, 3, H, W]
    blend = filled(colours[:, :, 0].flatten(0, 1), seen[:, :, 0].flatten(0, 1)).unflatten(0, (batch, frames)).unsqueeze(2)
    colours = colours * seen + blend * (1 - seen)
    videos = colours.permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # [B (1 + K), 3, T, H, W]
    latents = encode(autoencoder, videos).unflatten(0, (batch, kinds)).permute(0, 3, 1, 2, 4, 5).float()
    share = _pooled(seen[:, :, :, 0], latents.shape[-2:], autoencoder)
    values = torch.stack([depth.clamp(min=1e-3).log(), confidence], dim=-1).movedim(-1, 0) * seen[:, :, :, 0]
    log_depth, sure = (_pooled(value, latents.shape[-2:], autoencoder) / share.clamp(min=1e-6) for value in values)
    return GeometryPrompt(latents, torch.stack([share, log_depth, sure], dim=3))


def _pooled(values: torch.Tensor, size: torch.Size, autoencoder: Autoencoder) -> torch.Tensor:
    """Means of [B, T, 1 + K, H, W] over latent pixels and over the frames of a latent: [B, F, 1 + K, h, w]."""
    small = F.adaptive_avg_pool2d(values.flatten(0, 1), size).unflatten(0, values.shape[:2])
    compression = temporal_compression(autoencoder)
    if compression == 1:
        return small
    return torch.cat([small[:, :1], small[:, 1:].unflatten(1, (-1, compression)).mean(2)], dim=1)


def _pictures(rendering: GeometryRendering, views: int) -> np.ndarray:
    return np.concatenate([rendering.pictures[:, None], rendering.view_pictures[:, :views]], axis=1)


def _known(rendering: GeometryRendering, views: int) -> np.ndarray:
    return np.concatenate([rendering.known[:, None], rendering.view_depth[:, :views] > 0], axis=1)


def _depth(rendering: GeometryRendering, views: int) -> np.ndarray:
    return np.concatenate([rendering.depth[:, None], rendering.view_depth[:, :views]], axis=1)


def _confidence(rendering: GeometryRendering, views: int) -> np.ndarray:
    return np.concatenate([rendering.confidence[:, None], rendering.view_confidence[:, :views]], axis=1)

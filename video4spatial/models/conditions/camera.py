"""Cameras into tokens: Plücker rays, a small network, and an output that starts at zero; a learned null where they are unknown."""

import torch
from torch import nn


class CameraEncoder(nn.Module):
    """What is added to each token for its rays; at the start of training that is nothing.

    The null belongs to the condition, and is a parameter of the transformer because its name is part of saved models.

    Args:
        in_channels: Plücker channels per latent pixel (6 times the temporal compression).
        dim: channels of the tokens.
        patch_size: latent pixels per token along height and width.
        num_frequencies: the rays are also given as sines and cosines of 1, 2, 4, ... times their value (Mildenhall et al.,
            NeRF, 2020, eq. 4): small networks follow fine camera motion only with these.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: tuple[int, int], num_frequencies: int):
        super().__init__()
        self.num_frequencies = num_frequencies
        channels = in_channels * (1 + 2 * num_frequencies)
        self.patch_embedding = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)
        self.act_fn = nn.SiLU()
        self.hidden = nn.Linear(dim, dim)
        self.proj_out = nn.Linear(dim, dim)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, rays: torch.Tensor | None, null: torch.Tensor) -> torch.Tensor:
        """Rays to what is added to the tokens.

        Args:
            rays: [B, F, in_channels, H, W] of latent pixels, or None where cameras are unknown.
            null: [dim] learned, stands in for unknown cameras.

        Returns:
            [B, F, P, dim], or the null.
        """
        if rays is None:
            return null
        frames = rays.shape[1]
        scaled = [rays * 2.0**power for power in range(self.num_frequencies)]
        features = torch.cat([rays, *(f(s) for s in scaled for f in (torch.sin, torch.cos))], dim=2)
        tokens = self.patch_embedding(features.flatten(0, 1).to(self.patch_embedding.weight.dtype))
        tokens = tokens.flatten(2).transpose(1, 2).unflatten(0, (-1, frames))
        return self.proj_out(self.act_fn(self.hidden(self.act_fn(tokens))))

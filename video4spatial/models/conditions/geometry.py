"""The scene's geometry into tokens and into the result: what the target cameras would see of it, of which training learns how much
to believe. At the start it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

MAPS = 3
"""Maps beside the latents of each rendering: share of known pixels, logarithm of depth in metres, confidence."""


@dataclass(frozen=True)
class GeometryPrompt:
    """What B targets with F latents would see of their scenes: the blend of all views first, then the K best views apart.

    Args:
        latents: [B, F, 1 + K, C, h, w] encoded renderings, with something plausible where nothing is known.
        maps: [B, F, 1 + K, 3, h, w]: share of known pixels, logarithm of depth in metres, confidence; 0 where nothing is known.
    """

    latents: torch.Tensor
    maps: torch.Tensor

    def to(self, *arguments, **options) -> GeometryPrompt:
        """The same on another device or in another type."""
        return GeometryPrompt(self.latents.to(*arguments, **options), self.maps.to(*arguments, **options))

    @classmethod
    def stacked(cls, prompts: list[GeometryPrompt]) -> GeometryPrompt:
        """Prompts of several batches as one."""
        return cls(torch.cat([prompt.latents for prompt in prompts]), torch.cat([prompt.maps for prompt in prompts]))


class GeometryEncoder(nn.Module):
    """What renderings add to tokens, and how much of each of them enters the result directly.

    A regression from latents to the same latents costs a small transformer much of its width; so renderings also reach the output by a
    way of their own, each latent pixel by weights of its channels that the last tokens say: what is a little out of place keeps its
    coarse channels and loses its fine ones. Both start at zero.

    Args:
        channels: of the latents.
        views: renderings apart, K.
        dim: channels of the tokens.
        patch_size: latent pixels per token along height and width.
    """

    def __init__(self, channels: int, views: int, dim: int, patch_size: tuple[int, int]):
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.patch_embedding = nn.Conv2d((1 + views) * (channels + MAPS), dim, kernel_size=patch_size, stride=patch_size)
        self.act_fn = nn.SiLU()
        self.hidden = nn.Linear(dim, dim)
        self.proj_out = nn.Linear(dim, dim)
        self.weights = nn.Linear(dim, (1 + views) * channels * patch_size[0] * patch_size[1])
        self.null = nn.Parameter(torch.zeros(dim))
        for layer in (self.proj_out, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, prompt: GeometryPrompt | None) -> torch.Tensor:
        """What is added to the tokens.

        Args:
            prompt: of B targets; None where there is no geometry.

        Returns:
            [B, F, P, dim], or the learned null [dim].
        """
        if prompt is None:
            return self.null
        frames = prompt.latents.shape[1]
        renderings = torch.cat([prompt.latents, prompt.maps.to(prompt.latents.dtype)], dim=3).flatten(2, 3).flatten(0, 1)
        tokens = self.patch_embedding(renderings.to(self.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
        return self.proj_out(self.act_fn(self.hidden(self.act_fn(tokens)))).unflatten(0, (-1, frames))

    def direct(self, prompt: GeometryPrompt, tokens: torch.Tensor) -> torch.Tensor:
        """What of the renderings enters the result.

        Args:
            prompt: of B targets.
            tokens: [B, F, P, dim], the last ones, normalised.

        Returns:
            [B, C, F, h, w].
        """
        kinds, channels, height, width = prompt.latents.shape[2:]
        rows, columns = self.patch_size
        weights = self.weights(tokens).unflatten(2, (height // rows, width // columns)).unflatten(-1, (kinds, channels, rows, columns))
        weights = weights.permute(0, 1, 4, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5)  # [B, F, 1 + K, C, h, w]
        known = prompt.maps[:, :, :, :1].to(weights.dtype)
        return (weights * known * prompt.latents.to(weights.dtype)).sum(2).transpose(1, 2)

"""Light heads on context tokens: where each pixel is and where each frame was seen from.

They teach an unposed context geometry from simulated truth or a teacher, and stay off at inference unless asked for.
"""

from typing import NamedTuple

import torch
from torch import nn


class Geometry(NamedTuple):
    """What the heads read from the context.

    Attributes:
        points: [B, F, 3, H, W] position of every latent pixel in the frame of the first context camera (metres).
        rotation: [B, F, 3, 3] orientation of every context camera relative to the first.
        translation: [B, F, 3] its position relative to the first (metres).
    """

    points: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor


def rotation_from_six(values: torch.Tensor) -> torch.Tensor:
    """Rotations from six numbers each, by Gram-Schmidt (Zhou et al., On the Continuity of Rotation Representations in Neural
    Networks, 2019).

    Args:
        values: [..., 6].

    Returns:
        [..., 3, 3] rotation matrices, float32.
    """
    first, second = values.float().unflatten(-1, (2, 3)).unbind(-2)
    x = nn.functional.normalize(first, dim=-1)
    y = nn.functional.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-1)


class GeometryHeads(nn.Module):
    """Point map per latent pixel and relative camera per latent, from context tokens.

    Args:
        dim: channels of the tokens.
        patch_size: latent pixels per token along height and width.
    """

    def __init__(self, dim: int, patch_size: tuple[int, int]):
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.norm = nn.LayerNorm(dim)
        self.points = nn.Linear(dim, 3 * patch_size[0] * patch_size[1])
        self.camera = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 9))

    def forward(self, tokens: torch.Tensor, height: int, width: int) -> Geometry:
        """Context tokens [B, F, P, dim] of latents with `height` x `width` tokens to `Geometry`."""
        tokens = self.norm(tokens)
        patch_height, patch_width = self.patch_size
        points = self.points(tokens).unflatten(2, (height, width)).unflatten(-1, (3, patch_height, patch_width))
        points = points.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
        camera = self.camera(tokens.mean(dim=2))
        # the first two columns of the identity are added, so that an untrained head says "has not moved"
        six = camera[..., :6] + camera.new_tensor([1, 0, 0, 0, 1, 0])
        return Geometry(points, rotation_from_six(six), camera[..., 6:])

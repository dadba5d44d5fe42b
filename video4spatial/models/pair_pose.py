"""The network that reads the motion of a camera between two pictures, each error's size included, for small and smooth videos.

Every picture is resized to one small square, whatever its size and aspect; its rays tell the network the lens. An encoder describes
16 x 16 places per picture, every place of one picture is softly matched with all places of the other, and a small convolutional
network reads the motion from where the matches lie. Descriptors, depth and matches are learned from the true ones of simulated
rooms (`training/pair_pose.py`), so that the network needs few pictures to learn from.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

from video4spatial.models.geometry_heads import rotation_from_six


@dataclass(frozen=True)
class PlaceFeatures:
    """What the encoder says of the G = grid x grid places of B pictures.

    Args:
        descriptors: [B, G, D] of unit length; equal places of a scene have like ones.
        context: [B, G, C] what the motion is read with.
        rays: [B, G, 3] through the centres of the places, 1 along the optical axis.
        log_depth: [B, G] of the places along the optical axis, in log metres.
    """

    descriptors: torch.Tensor
    context: torch.Tensor
    rays: torch.Tensor
    log_depth: torch.Tensor

    def __getitem__(self, chosen: torch.Tensor) -> "PlaceFeatures":
        """Those of some of the pictures."""
        return PlaceFeatures(self.descriptors[chosen], self.context[chosen], self.rays[chosen], self.log_depth[chosen])


class RelativeMotions(NamedTuple):
    """How the camera moved in P pairs of pictures.

    Attributes:
        rotation: [P, 3, 3] second camera to first.
        translation: [P, 3] metres, the second camera in the axes of the first.
        log_rotation_error, log_translation_error: [P] logarithms of the errors to be expected, radians and metres.
    """

    rotation: torch.Tensor
    translation: torch.Tensor
    log_rotation_error: torch.Tensor
    log_translation_error: torch.Tensor


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with group norms beside the identity.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[B, channels, h, w] to the same shape."""
        inner = F.silu(self.norm1(self.conv1(hidden)))
        return F.silu(hidden + self.norm2(self.conv2(inner)))


def _reduce(channels_in: int, channels_out: int) -> nn.Sequential:
    """Half the size. A kernel of 4 keeps centres of places where pixel centres at +0.5 say they are."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False), nn.GroupNorm(8, channels_out), nn.SiLU()
    )


class PairPoseNetwork(ModelMixin, ConfigMixin):
    """Relative pose of two pictures in metres, with the sizes of the errors to be expected of turn and shift apart.

    Args:
        size: pixels of the square that every picture is resized to, a multiple of 16.
        widths: channels of the encoder at a half, a quarter and an eighth of it.
        descriptor_dim: channels by which places are matched.
        context_dim: channels of places that the motion is read with.
        motion_widths: channels of the network of motion at a quarter, an eighth and a sixteenth of the size.
    """

    @register_to_config
    def __init__(
        self,
        size: int = 64,
        widths: tuple[int, int, int] = (32, 64, 96),
        descriptor_dim: int = 64,
        context_dim: int = 32,
        motion_widths: tuple[int, int, int] = (64, 96, 128),
    ):
        super().__init__()
        self.grid = size // 4
        half, quarter, eighth = widths
        self.stem = nn.Sequential(_reduce(3, half), ResidualBlock(half), _reduce(half, quarter), ResidualBlock(quarter))
        self.deep = nn.Sequential(_reduce(quarter, eighth), ResidualBlock(eighth), nn.Conv2d(eighth, quarter, 1))
        self.merge = nn.Sequential(nn.Conv2d(2 * quarter + 3, quarter, 1), nn.GroupNorm(8, quarter), ResidualBlock(quarter))
        self.to_places = nn.Conv2d(quarter, descriptor_dim + context_dim + 1, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))

        first, second, third = motion_widths
        self.read = nn.Sequential(nn.Conv2d(2 * context_dim + 22, first, 1), nn.GroupNorm(8, first), nn.SiLU())
        self.condense = nn.Sequential(
            _reduce(first, second), ResidualBlock(second), ResidualBlock(second), _reduce(second, third), ResidualBlock(third),
            nn.Flatten(),
        )  # fmt: skip
        self.to_motion = nn.Sequential(nn.Linear(third * (size // 16) ** 2, 192), nn.SiLU(), nn.Linear(192, 11))
        nn.init.zeros_(self.to_motion[-1].weight)
        # An untrained network says "has not moved", and that it is off by some 10 degrees and 0.4 metres.
        self.to_motion[-1].bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0, -1.8, -0.9])

    def resized(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] as the network sees them: [B, 3, size, size], each evenly lit."""
        size = (self.config.size,) * 2
        if pictures.shape[-2:] != size:
            pictures = F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)
        mean, spread = pictures.mean((1, 2, 3), keepdim=True), pictures.std((1, 2, 3), keepdim=True)
        return (pictures - mean) / (spread + 0.05)

    def places(self, pictures: torch.Tensor, intrinsics: torch.Tensor) -> PlaceFeatures:
        """Describe the places of pictures.

        Args:
            pictures: [B, 3, H, W] from 0 to 1, of any size.
            intrinsics: [B, 3, 3] float32, normalised.
        """
        rays = place_rays(intrinsics, self.grid)  # [B, G, 3]
        fine = self.stem(self.resized(pictures))
        deep = F.interpolate(self.deep(fine), scale_factor=2, mode="bilinear", align_corners=False)
        hidden = self.merge(torch.cat([fine, deep, rays.mT.unflatten(2, (self.grid, self.grid))], dim=1))
        places = self.to_places(hidden).flatten(2).mT
        descriptors, context, log_depth = places.split([self.config.descriptor_dim, self.config.context_dim, 1], dim=-1)
        return PlaceFeatures(F.normalize(descriptors, dim=-1), context, rays, log_depth[..., 0] + 0.9)

    def similarity(self, first: PlaceFeatures, second: PlaceFeatures) -> torch.Tensor:
        """Logits [P, G, G] of each place of the first pictures being each place of the second."""
        return self.log_sharpness.exp() * first.descriptors @ second.descriptors.mT

    def motions(self, first: PlaceFeatures, second: PlaceFeatures, similarity: torch.Tensor | None = None) -> RelativeMotions:
        """Motions of P pairs, read from the first picture's side.

        Args:
            first, second: of the P pictures each.
            similarity: where it has been computed already.
        """
        logits = self.similarity(first, second) if similarity is None else similarity
        there, back = logits.softmax(-1), logits.mT.softmax(-1)
        grid = place_centres(self.grid, logits.device)  # [G, 2]
        centres = grid.expand(len(logits), -1, -1)
        matched = there @ torch.cat([second.context, second.rays, second.log_depth[..., None], centres, centres**2], dim=-1)
        context, rays, log_depth, place, squares = matched.split([self.config.context_dim, 3, 1, 2, 2], dim=-1)
        cycle = there @ (back @ centres) - centres
        told = [
            first.context, context, first.rays, rays, first.log_depth[..., None], log_depth, centres, 4 * (place - centres),
            8 * (squares - place**2), 4 * cycle, 4 * cycle.abs(), there.amax(-1, keepdim=True),
            (there * back.mT).amax(-1, keepdim=True), there.amax(-1, keepdim=True) * 4 * (place - centres),
        ]  # fmt: skip
        hidden = self.read(torch.cat(told, dim=-1).mT.unflatten(2, (self.grid, self.grid)))
        six, shift, turn_error, shift_error = self.to_motion(self.condense(hidden)).split([6, 3, 1, 1], dim=-1)
        return RelativeMotions(
            rotation_from_six(six), shift.float(), turn_error[:, 0].clamp(-7, 1.2), shift_error[:, 0].clamp(-7, 2)
        )

    def forward(self, pictures: torch.Tensor, intrinsics: torch.Tensor, pairs: torch.Tensor) -> RelativeMotions:
        """Motions between pictures.

        Args:
            pictures: [B, 3, H, W] from 0 to 1.
            intrinsics: [B, 3, 3] normalised.
            pairs: [P, 2] which two pictures; the motion is that of the second in the axes of the first.
        """
        places = self.places(pictures, intrinsics)
        return self.motions(places[pairs[:, 0]], places[pairs[:, 1]])


def place_centres(grid: int, device: torch.device | None = None) -> torch.Tensor:
    """Centres [grid x grid, 2] of the places of a picture, row by row, in shares of its width and height."""
    along = (torch.arange(grid, dtype=torch.float32, device=device) + 0.5) / grid
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).flatten(0, 1)


def place_rays(intrinsics: torch.Tensor, grid: int) -> torch.Tensor:
    """Rays [B, grid x grid, 3] through the places of pictures, 1 along the optical axis.

    Args:
        intrinsics: [B, 3, 3] normalised.
        grid: places along each side.
    """
    centres = F.pad(place_centres(grid, intrinsics.device), (0, 1), value=1.0)
    return centres @ torch.linalg.inv(intrinsics.double()).float().mT

"""The network that reads the motion of a camera between two pictures, each error's size included, for small and smooth videos.

Every picture is resized to one small square, whatever its size and aspect; its rays tell the network the lens. An encoder describes
16 x 16 places per picture, every place of one picture is softly matched with all places of the other, and a small convolutional
network reads the motion from where the matches lie. Descriptors, depth and matches are learned from the true ones of simulated
rooms (`training/pair_pose.py`), so that the network needs few pictures to learn from.
"""

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional as F

from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.models.geometry_heads import rotation_from_six


@dataclass(frozen=True)
class PlaceFeatures:
    """What the encoder says of the G = grid x grid places of B pictures.

    Args:
        descriptors: [B, G, D] of unit length; equal places of a scene have like ones.
        context: [B, G, C] what the motion is read with.
        rays: [B, G, 3] through the centres of the places, 1 along the optical axis.
        log_depth: [B, G] of the places along the optical axis, in log metres.
        lenses: [B, 3, 3] inverse intrinsics.
    """

    descriptors: torch.Tensor
    context: torch.Tensor
    rays: torch.Tensor
    log_depth: torch.Tensor
    lenses: torch.Tensor

    def __getitem__(self, chosen: torch.Tensor | np.ndarray) -> "PlaceFeatures":
        """Those of some of the pictures."""
        index = torch.as_tensor(chosen)
        return PlaceFeatures(*(getattr(self, field.name)[index] for field in fields(self)))

    def lens_rays(self, places: torch.Tensor) -> torch.Tensor:
        """Rays [B, M, 3], 1 along the optical axis, through places [B, M, 2] in shares of the pictures' width and height."""
        return F.pad(places, (0, 1), value=1.0) @ self.lenses.mT


class Matches(NamedTuple):
    """Where the G places of P first pictures are in the second ones.

    Attributes:
        weights: [P, G, G] shares of the places that are taken for the same, which add up to 1.
        place: [P, G, 2] their mean, in shares of the picture's width and height; variance: [P, G, 2] about it.
        cycle: [P, G, 2] how far off one lands by going there and back.
        mass: [P, G] probability of the places taken.
        sure: [P, G] from 0 to 1, what speaks for the match in all.
    """

    weights: torch.Tensor
    place: torch.Tensor
    variance: torch.Tensor
    cycle: torch.Tensor
    mass: torch.Tensor
    sure: torch.Tensor


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
        with torch.no_grad():
            self.to_motion[-1].bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0, 0, 0, 0, -1.8, -0.9]))

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
        lenses = torch.linalg.inv(intrinsics.double()).float()
        rays = F.pad(place_centres(self.grid, intrinsics.device), (0, 1), value=1.0) @ lenses.mT  # [B, G, 3]
        fine = self.stem(self.resized(pictures))
        deep = F.interpolate(self.deep(fine), scale_factor=2, mode="bilinear", align_corners=False)
        hidden = self.merge(torch.cat([fine, deep, rays.mT.unflatten(2, (self.grid, self.grid))], dim=1))
        places = self.to_places(hidden).flatten(2).mT
        descriptors, context, log_depth = places.split([self.config.descriptor_dim, self.config.context_dim, 1], dim=-1)
        return PlaceFeatures(F.normalize(descriptors, dim=-1), context, rays, log_depth[..., 0] + 0.9, lenses)

    def similarity(self, first: PlaceFeatures, second: PlaceFeatures) -> torch.Tensor:
        """Logits [P, G, G] of each place of the first pictures being each place of the second."""
        return self.log_sharpness.exp() * first.descriptors @ second.descriptors.mT

    def matches(self, first: PlaceFeatures, second: PlaceFeatures, similarity: torch.Tensor | None = None) -> Matches:
        """Where the places of the first pictures are in the second ones: the mean of the likeliest and the places around it.

        Args:
            first, second: of P pictures each.
            similarity: where it has been computed already.
        """
        logits = self.similarity(first, second) if similarity is None else similarity
        there, back = logits.softmax(-1), logits.mT.softmax(-1)
        nearby = neighbourhoods(self.grid, logits.device)
        forth, mass = _around_best(there, nearby)
        home, _ = _around_best(back, nearby)
        grid = place_centres(self.grid, logits.device).expand(len(logits), -1, -1)
        place, squares = (forth @ torch.cat([grid, grid**2], dim=-1)).split(2, dim=-1)
        cycle = forth @ (home @ grid) - grid
        sure = mass * torch.exp(-((cycle.detach() * self.grid / 2) ** 2).sum(-1))
        return Matches(forth, place, squares - place**2, cycle, mass, sure)

    def motions(self, first: PlaceFeatures, second: PlaceFeatures, similarity: torch.Tensor | None = None) -> RelativeMotions:
        """Motions of P pairs, read from the first picture's side.

        The turn that explains most matches on its own is taken out first, so that what is left to read is small.

        Args:
            first, second: of the P pictures each.
            similarity: where it has been computed already.
        """
        matches = self.matches(first, second, similarity)
        matched = matches.weights @ torch.cat([second.context, second.log_depth[..., None]], dim=-1)
        rays = second.lens_rays(matches.place)
        with torch.no_grad():
            turn = turn_alone(first.rays, rays, matches.sure)
        turned = rays @ turn.mT
        turned = turned / turned[..., 2:].clamp(min=0.2)
        parallax = 4 * (turned - first.rays)[..., :2].clamp(-1, 1)
        centres = place_centres(self.grid, rays.device).expand(len(rays), -1, -1)
        told = [
            first.context, matched, first.rays, turned, first.log_depth[..., None], centres, parallax, matches.sure[..., None] * parallax,
            8 * matches.variance, 4 * matches.cycle, 4 * matches.cycle.abs(), matches.mass[..., None], matches.sure[..., None],
        ]  # fmt: skip
        hidden = self.read(torch.cat(told, dim=-1).mT.unflatten(2, (self.grid, self.grid)))
        six, shift, turn_error, shift_error = self.to_motion(self.condense(hidden)).split([6, 3, 1, 1], dim=-1)
        return RelativeMotions(
            turn @ rotation_from_six(six), shift.float(), turn_error[:, 0].clamp(-7, 1.2), shift_error[:, 0].clamp(-7, 2)
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


def neighbourhoods(grid: int, device: torch.device | None = None) -> torch.Tensor:
    """Which places [G, G] are each other's neighbours or the same, as 1 and 0."""
    centres = place_centres(grid, device)
    return ((centres[:, None] - centres).abs().amax(-1) < 1.5 / grid).float()


def _around_best(shares: torch.Tensor, nearby: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares [P, G, G] of the best place and its neighbours alone, made to add up to 1, and what they added up to [P, G]."""
    kept = shares * nearby[shares.argmax(-1)]
    mass = kept.sum(-1)
    return kept / mass[..., None].clamp(min=1e-6), mass


def turn_alone(first: torch.Tensor, second: torch.Tensor, weights: torch.Tensor, spread: float = 0.1) -> torch.Tensor:
    """The turns [P, 3, 3] (second camera to first) that explain matching rays best on their own (Kabsch, reweighted).

    Args:
        first, second: [P, M, 3] rays.
        weights: [P, M] of the matches.
        spread: angle in radians beyond which a match counts less.
    """
    first, second = F.normalize(first, dim=-1), F.normalize(second, dim=-1)
    robust = weights
    for _ in range(4):
        turn = nearest_rotation((first.mT @ (second * robust[..., None])).double()).float()
        away = (first - second @ turn.mT).square().sum(-1)
        robust = weights / (1 + away / spread**2)
    return turn

"""Depth of a picture from its neighbours: a small multi-view stereo network, which also reads metric depth from one picture alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from video4spatial.cameras import Cameras

GRID = 16
"""Sides of pictures are multiples of this."""


class StereoOutput(NamedTuple):
    """What the network says of B pictures.

    Attributes:
        log_depth: [B, H, W] natural logarithm of the depth along the optical axis, in the unit of the cameras.
        coarse_log_depth: [B, H / 2, W / 2] the same before it is brought to full size.
        log_error: [B, H / 2, W / 2] natural logarithm of the error of `log_depth` that is to be expected.
    """

    log_depth: Tensor
    coarse_log_depth: Tensor
    log_error: Tensor


@dataclass(frozen=True)
class PlaneProjections:
    """How points of reference pictures, at some depth, fall into neighbours: u ~ depth * turn @ [x, y, 1] + shift.

    Args:
        turn: [B, S, 3, 3] float32 of pixels normalised by the picture's size.
        shift: [B, S, 3] float32.
    """

    turn: Tensor
    shift: Tensor

    @classmethod
    def between(cls, reference: Cameras, neighbours: Cameras) -> PlaneProjections:
        """Of B reference cameras and S neighbours of each.

        Args:
            reference: [B, 1] cameras.
            neighbours: [B, S] cameras of the same worlds.
        """
        motion = neighbours.world_to_camera @ reference.camera_to_world  # [B, S, 4, 4]
        turn = neighbours.intrinsics @ motion[..., :3, :3] @ torch.linalg.inv(reference.intrinsics)
        shift = (neighbours.intrinsics @ motion[..., :3, 3:])[..., 0]
        return cls(turn.float(), shift.float())

    def to(self, device: torch.device | str) -> PlaneProjections:
        """The same on a device."""
        return PlaneProjections(self.turn.to(device), self.shift.to(device))


def _normalised(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(max(1, channels // 8), channels)


class _Residual(nn.Module):
    """Two convolutions around which the input passes."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = _normalised(channels), _normalised(channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.act_fn = nn.SiLU()

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.conv1(self.act_fn(self.norm1(hidden)))
        return hidden + self.conv2(self.act_fn(self.norm2(inner)))


class _Merge(nn.Module):
    """A convolution to another width, normalised: without the normalisation the network does not train."""

    def __init__(self, incoming: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(incoming, channels, 3, stride=stride, padding=1)
        self.norm = _normalised(channels)
        self.act_fn = nn.SiLU()

    def forward(self, hidden: Tensor) -> Tensor:
        return self.act_fn(self.norm(self.conv(hidden)))


class StereoNetwork(ModelMixin, ConfigMixin):
    """Depth of reference pictures from neighbours of known cameras, by a learned plane sweep.

    For planes at depths evenly spaced in their logarithm, features of the neighbours are warped onto the reference and compared with
    its own by a dot product; mean and maximum over the neighbours, and the share of them that see the place, go through a U-Net
    together with features of the picture. The expected logarithm of the depth is brought to full size by learned convex weights
    (Teed and Deng, RAFT, 2020). Where the comparison is left out (`projections=None`), depth is read from the picture alone.

    Args:
        planes: number of depths.
        nearest, farthest: their range in metres.
        match_channels: channels that are compared.
        channels: channels of the picture's features.
        widths: of the U-Net, from half to a sixteenth of the picture's size.
    """

    @register_to_config
    def __init__(
        self,
        planes: int = 32,
        nearest: float = 0.25,
        farthest: float = 14.0,
        match_channels: int = 12,
        channels: int = 32,
        widths: tuple[int, ...] = (48, 80, 128, 128),
    ):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 5, stride=2, padding=2), _Residual(channels), _Residual(channels))
        self.match = nn.Conv2d(channels, match_channels, 3, padding=1)
        self.volume = _Merge(3 * planes + channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(_Merge(before, after, stride=2), _Residual(after)) for before, after in zip(widths, widths[1:])
        )
        self.first = _Residual(widths[0])
        self.up = nn.ModuleList(
            nn.Sequential(_Merge(before + after, after), _Residual(after)) for before, after in zip(widths[:0:-1], widths[-2::-1])
        )
        self.planes_out = nn.Conv2d(widths[0], planes, 1)
        self.error_out = nn.Conv2d(widths[0], 1, 1)
        self.weights_out = nn.Conv2d(widths[0] + channels, 4 * 9, 3, padding=1)
        levels = torch.linspace(math.log(nearest), math.log(farthest), planes)
        self.register_buffer("levels", levels, persistent=False)
        nn.init.zeros_(self.error_out.weight)
        nn.init.constant_(self.error_out.bias, -1.5)

    def forward(
        self,
        pictures: Tensor,
        neighbours: Tensor | None = None,
        projections: PlaneProjections | None = None,
        alone: Tensor | None = None,
    ) -> StereoOutput:
        """Depth of B pictures.

        Args:
            pictures: [B, 3, H, W] in [-1, 1], sides multiples of `GRID`.
            neighbours: [B, S, 3, H, W] in [-1, 1]; None reads depth from the pictures alone.
            projections: from the pictures to the neighbours, with the neighbours.
            alone: [B] bool: pictures that are read alone nevertheless.

        Returns:
            `StereoOutput`.

        Raises:
            ValueError: for sides that are no multiples of `GRID`.
        """
        height, width = pictures.shape[-2:]
        if height % GRID or width % GRID:
            raise ValueError(f"pictures of {height}x{width}: expected multiples of {GRID}.")
        features = self.stem(pictures)
        if neighbours is None:
            volume = features.new_zeros(len(pictures), 3 * self.config.planes, height // 2, width // 2)
        else:
            others = self.match(self.stem(neighbours.flatten(0, 1))).unflatten(0, neighbours.shape[:2])
            volume = self._volume(self.match(features), others, projections)
            if alone is not None:
                volume = volume * ~alone[:, None, None, None]
        return self._read(volume, features)

    def features(self, pictures: Tensor) -> Tensor:
        """Features [B, channels, H / 2, W / 2] of pictures, for `from_features`, so that each picture goes through the stem once."""
        return self.stem(pictures)

    def from_features(
        self, features: Tensor, reference: Tensor, neighbours: Tensor | None, projections: PlaneProjections | None
    ) -> StereoOutput:
        """Depth of pictures whose features are at hand.

        Args:
            features: [N, channels, h, w] of all pictures of a scene (`features`).
            reference: [B] which of them are given depth.
            neighbours: [B, S] their neighbours; None reads depth from the pictures alone.
            projections: from the references to the neighbours.
        """
        own = features[reference]
        if neighbours is None:
            volume = own.new_zeros(len(own), 3 * self.config.planes, *own.shape[-2:])
        else:
            volume = self._volume(self.match(own), self.match(features)[neighbours], projections)
        return self._read(volume, own)

    def _volume(self, own: Tensor, others: Tensor, projections: PlaneProjections) -> Tensor:
        """How well places of references [B, C, h, w] agree with neighbours [B, S, C, h, w] at every plane: [B, 3 D, h, w]."""
        batch, count, channels, height, width = others.shape
        columns = (torch.arange(width, device=own.device) + 0.5) / width
        rows = (torch.arange(height, device=own.device) + 0.5) / height
        pixels = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width), columns.new_ones(height, width)])
        ahead = projections.turn @ pixels.flatten(1)  # [B, S, 3, h w]
        depths = self.levels.exp()[:, None, None]
        points = depths * ahead[:, :, None] + projections.shift[:, :, None, :, None]  # [B, S, D, 3, h w]
        distance = points[:, :, :, 2]
        safe = distance.clamp(min=1e-3)
        grid = torch.stack([points[:, :, :, 0] / safe, points[:, :, :, 1] / safe], -1) * 2 - 1  # [B, S, D, h w, 2]
        seen = ((grid.abs() < 1).all(-1) & (distance > 1e-3)).to(own.dtype).unflatten(-1, (height, width))  # [B, S, D, h, w]
        planes = len(self.levels)
        warped = F.grid_sample(
            others.flatten(0, 1), grid.reshape(batch * count, planes * height, width, 2).to(own.dtype), align_corners=False
        ).view(batch, count, channels, planes, height, width)
        agreement = (warped * own[:, None, :, None]).sum(2) * (channels**-0.5) * seen  # [B, S, D, h, w]
        share = seen.mean(1)
        mean = agreement.sum(1) / seen.sum(1).clamp(min=1)
        return torch.cat([mean, agreement.amax(1), share], dim=1)

    def _read(self, volume: Tensor, features: Tensor) -> StereoOutput:
        hidden = self.first(self.volume(torch.cat([volume, features], dim=1)))
        passed = [hidden]
        for level in self.down:
            hidden = level(hidden)
            passed.append(hidden)
        passed.pop()
        for level in self.up:
            finer = passed.pop()
            hidden = level(torch.cat([F.interpolate(hidden, size=finer.shape[-2:], mode="nearest"), finer], dim=1))
        coarse = (self.planes_out(hidden).softmax(1) * self.levels[:, None, None]).sum(1)
        weights = self.weights_out(torch.cat([hidden, features], dim=1))
        return StereoOutput(_convex_upsampled(coarse, weights), coarse, self.error_out(hidden)[:, 0])


def _convex_upsampled(coarse: Tensor, weights: Tensor) -> Tensor:
    """Values [B, h, w] at twice the size, each a convex combination of the nine around it by logits [B, 4 * 9, h, w]."""
    batch, height, width = coarse.shape
    around = F.unfold(F.pad(coarse[:, None], [1] * 4, mode="replicate"), 3).view(batch, 1, 9, height, width)
    shares = weights.view(batch, 4, 9, height, width).softmax(2)
    return F.pixel_shuffle((shares * around).sum(2), 2)[:, 0]

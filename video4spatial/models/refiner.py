"""Decoded pictures made sharp: the squares of an autoencoder are smoothed out, and what the scene shows is passed on to them."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional as F

from video4spatial.geometry.filling import filled
from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.autoencoder import Autoencoder, decode, temporal_compression

SOURCE_CHANNELS = 6
"""Of a source of guidance: picture (3, in [-1, 1]), known (0 or 1), confidence (0 to 1), and the logarithm of its depth over the
blend's. All are zero where the source shows nothing."""

_STRIDE = 8  # pixels per value of the coarsest level


class PictureRefiner(ModelMixin, ConfigMixin):
    """Refines pictures that any autoencoder decoded, by themselves or led by what the scene shows of them.

    refined = decoded + residual + sum over sources of gate * (source - decoded), where residual and gates are those of a small
    U-Net, for each pixel. Both start at zero, so that a new refiner changes nothing. A source is a picture of the same view with
    its mask: the first is the blend of a rendered scene, the others single views of it, the best first, as image-based rendering
    takes them (Wang et al., IBRNet, CVPR 2021). Pixels that a source shows pass the autoencoder by; only the rest is imagined. Where
    the blend shows nothing, it counts as filled from around.

    Args:
        views: single views beside the blend.
        widths: channels at a half, a quarter and an eighth of the picture's size; multiples of 8.
        blocks: residual blocks at an eighth.
    """

    @register_to_config
    def __init__(self, views: int = 2, widths: tuple[int, int, int] = (32, 64, 96), blocks: int = 2):
        super().__init__()
        self.sources = 1 + views
        half, quarter, eighth = widths
        # Squares of 2 x 2 pixels are taken as channels, as convolutions cost most at full size.
        self.project_in = nn.Conv2d(4 * (3 + self.sources * SOURCE_CHANNELS), half, 1)
        self.down_half = _ResidualBlock(half)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.down_quarter = _ResidualBlock(quarter)
        self.to_eighth = nn.Conv2d(quarter, eighth, 2, stride=2)
        self.middle = nn.Sequential(*(_ResidualBlock(eighth) for _ in range(blocks)))
        self.from_eighth = nn.Conv2d(eighth, quarter, 1)
        self.up_quarter = _ResidualBlock(quarter)
        self.from_quarter = nn.Conv2d(quarter, half, 1)
        self.up_half = _ResidualBlock(half)
        self.norm_out = nn.GroupNorm(8, half)
        self.project_out = nn.Conv2d(half, 4 * (3 + self.sources), 3, padding=1)
        nn.init.zeros_(self.project_out.weight)
        nn.init.zeros_(self.project_out.bias)

    def forward(self, decoded: torch.Tensor, guidance: torch.Tensor | None = None) -> torch.Tensor:
        """Refine pictures.

        Args:
            decoded: [B, 3, H, W] in [-1, 1]; any size, padded to multiples of 8 inside.
            guidance: [B, 1 + views, 6, H, W] of sources (`SOURCE_CHANNELS`); None, or zeros, where the scene shows nothing.

        Returns:
            [B, 3, H, W], not clamped.

        Raises:
            ValueError: for guidance of another shape.
        """
        batch, _, height, width = decoded.shape
        expected = (batch, self.sources, SOURCE_CHANNELS, height, width)
        if guidance is None:
            guidance = decoded.new_zeros(expected)
        if guidance.shape != expected:
            beside = f"expected {list(expected)} beside pictures {list(decoded.shape)}"
            raise ValueError(f"`guidance` of shape {list(guidance.shape)}: {beside}.")
        known = (guidance[:, :, 3:4] > 0).to(decoded)
        shown = known.clone()
        shown[:, 0] = known[:, 0].amax((-2, -1), keepdim=True)  # the blend is filled where anything is known of the picture
        pictures = torch.cat([filled(guidance[:, 0, :3], known[:, 0])[:, None], guidance[:, 1:, :3]], dim=1)
        differences = (pictures - decoded[:, None]) * shown
        seen = torch.cat([differences, known, guidance[:, :, 4:] * known], dim=2)
        change = self._read(torch.cat([decoded, seen.flatten(1, 2)], dim=1))
        residual, gates = change[:, :3], change[:, 3:, None]
        return decoded + residual + (gates * differences).sum(1)

    def _read(self, pictures: torch.Tensor) -> torch.Tensor:
        """Residual and gates [B, 3 + sources, H, W] from all there is [B, C, H, W]."""
        height, width = pictures.shape[-2:]
        pictures = F.pad(pictures, (0, -width % _STRIDE, 0, -height % _STRIDE), mode="replicate")
        states = F.pixel_unshuffle(pictures, 2).contiguous(memory_format=torch.channels_last)
        half = self.down_half(self.project_in(states))
        quarter = self.down_quarter(self.to_quarter(half))
        states = self.middle(self.to_eighth(quarter))
        states = self.up_quarter(quarter + F.interpolate(self.from_eighth(states), scale_factor=2))
        states = self.up_half(half + F.interpolate(self.from_quarter(states), scale_factor=2))
        states = self.project_out(F.silu(self.norm_out(states)))
        return F.pixel_shuffle(states, 2)[..., :height, :width]


class _ResidualBlock(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        changed = self.conv1(F.silu(self.norm1(states)))
        return states + self.conv2(F.silu(self.norm2(changed)))


def guidance_from_rendering(
    rendering: GeometryRendering, views: int, frames: slice = slice(None), device: torch.device | str = "cpu"
) -> torch.Tensor:
    """What a refiner is told of a rendered scene.

    Args:
        rendering: of T frames, the best views first.
        views: single views that the refiner takes. Surplus ones are left out; where there are fewer, the rest is zero.
        frames: which of the T.
        device: where to.

    Returns:
        [t, 1 + views, 6, H, W] float32 (`SOURCE_CHANNELS`).
    """
    rendering = GeometryRendering(**{field.name: getattr(rendering, field.name)[frames] for field in fields(rendering)})
    parts = (
        np.concatenate([rendering.pictures[:, None], rendering.view_pictures], axis=1),
        np.concatenate([rendering.known[:, None], rendering.view_depth > 0], axis=1),
        np.concatenate([rendering.confidence[:, None], rendering.view_confidence], axis=1),
        depth_apart(rendering),
    )
    return pack_guidance(*(torch.from_numpy(part[:, : 1 + views]).to(device) for part in parts), views=views)


def depth_apart(rendering: GeometryRendering) -> np.ndarray:
    """How far the blend and each single view of a rendering [T, K] are behind the blend, within -1 and 1: [T, 1 + K, H, W].

    It is the logarithm of the quotient of depths, 0 where one is unknown.
    """
    blend = np.where(rendering.known, rendering.depth, 0)[:, None]
    depth = np.concatenate([blend, rendering.view_depth], axis=1)
    both = (depth > 0) & (blend > 0)
    return np.log(np.where(both, depth, 1) / np.where(both, blend, 1)).clip(-1, 1)


def pack_guidance(
    pictures: torch.Tensor, known: torch.Tensor, confidence: torch.Tensor, depth: torch.Tensor, views: int
) -> torch.Tensor:
    """Sources of guidance in one tensor.

    Args:
        pictures: [T, S, H, W, 3] uint8 of S <= 1 + views sources.
        known: [T, S, H, W] bool.
        confidence: [T, S, H, W] from 0 to 1.
        depth: [T, S, H, W] logarithm of each source's depth over the blend's.
        views: single views of the refiner.

    Returns:
        [T, 1 + views, 6, H, W] float32, zero where a source shows nothing.
    """
    pictures = pictures.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    channels = torch.cat([pictures, *(part[:, :, None].float() for part in (known, confidence, depth))], dim=2)
    channels = channels * known[:, :, None]
    return F.pad(channels, (0, 0, 0, 0, 0, 0, 0, 1 + views - channels.shape[1]))


def guidance_from_picture(picture: torch.Tensor, views: int) -> torch.Tensor:
    """Guidance of a frame that the scene itself holds: blend and best view are the frame, and are certain.

    Args:
        picture: [3, H, W] in [-1, 1].
        views: single views of the refiner.

    Returns:
        [1, 1 + views, 6, H, W].
    """
    one, zero = torch.ones_like(picture[:1]), torch.zeros_like(picture[:1])
    source = torch.cat([picture, one, one, zero])
    guidance = picture.new_zeros(1, 1 + views, *source.shape)
    guidance[:, :2] = source
    return guidance


@torch.no_grad()
def decode_frames(
    autoencoder: Autoencoder,
    latents: torch.Tensor,
    refiner: PictureRefiner | None = None,
    rendering: GeometryRendering | None = None,
    anchor: np.ndarray | None = None,
    chunk_frames: int = 8,
) -> torch.Tensor:
    """Decode a video's latents and refine its frames, a few at a time to bound memory.

    Args:
        autoencoder: with the statistics of its latents.
        latents: [B, C, F, h, w] normalised; one video, B = 1, where there is a rendering or an anchor.
        refiner: None leaves frames as the autoencoder decodes them.
        rendering: of the scene, from the cameras of the T frames; None where nothing is known of it.
        anchor: [H, W, 3] uint8, the frame of the scene that frame 0 shows again; None where it shows none.
        chunk_frames: frames that are refined at once; pictures that an autoencoder of pictures decodes at once.

    Returns:
        [B, 3, T, H, W] in [-1, 1].

    Raises:
        ValueError: for a rendering that has another number of frames, or another size.
    """
    if temporal_compression(autoencoder) == 1:
        pieces = latents.split(chunk_frames, dim=2)
        frames = torch.cat([decode(autoencoder, piece) for piece in pieces], dim=2)
    else:
        frames = decode(autoencoder, latents)
    return frames if refiner is None else refine(refiner, frames, rendering, anchor, chunk_frames)


@torch.no_grad()
def refine(
    refiner: PictureRefiner,
    frames: torch.Tensor,
    rendering: GeometryRendering | None = None,
    anchor: np.ndarray | None = None,
    chunk_frames: int = 8,
) -> torch.Tensor:
    """Refine the frames of a video, a few at a time.

    Args:
        refiner: of pictures.
        frames: [B, 3, T, H, W] in [-1, 1]; one video, B = 1, where there is a rendering or an anchor.
        rendering, anchor, chunk_frames: as for `decode_frames`.

    Returns:
        [B, 3, T, H, W] in [-1, 1].

    Raises:
        ValueError: for a rendering that has another number of frames, or another size.
    """
    batch, _, count, height, width = frames.shape
    if batch > 1 and (rendering is not None or anchor is not None):
        raise ValueError(f"`frames` of {batch} videos: a rendering or an anchor belongs to one; refine them one by one.")
    for name, shown, expected in (
        ("rendering", None if rendering is None else rendering.known.shape, (count, height, width)),
        ("anchor", None if anchor is None else anchor.shape, (height, width, 3)),
    ):
        if shown is not None and tuple(shown) != expected:
            raise ValueError(f"`{name}` of shape {list(shown)}: expected {list(expected)}, as the frames are.")
    views, dtype = refiner.config.views, refiner.dtype
    pictures = frames.transpose(1, 2).flatten(0, 1)
    refined = torch.empty_like(pictures)
    for start in range(0, len(pictures), chunk_frames):
        chosen, guidance = slice(start, start + chunk_frames), None
        decoded = pictures[chosen].to(dtype)
        if rendering is not None:
            guidance = guidance_from_rendering(rendering, views, chosen, decoded.device).to(dtype)
        if anchor is not None and start == 0:
            if guidance is None:
                guidance = decoded.new_zeros(len(decoded), 1 + views, SOURCE_CHANNELS, height, width)
            own = torch.from_numpy(np.ascontiguousarray(anchor)).to(decoded).permute(2, 0, 1) / 127.5 - 1
            guidance[:1] = guidance_from_picture(own, views)
        refined[chosen] = refiner(decoded, guidance).clamp(-1, 1).to(refined)
    return refined.unflatten(0, (batch, count)).transpose(1, 2)

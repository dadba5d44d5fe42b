"""Pictures as a diffusion model makes them, imitated: blurred, with their parts out of place, from noisy latents."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

from video4spatial.models.autoencoder import Autoencoder, decode, encode
from video4spatial.training.variation import blurred, uniform


@dataclass(frozen=True)
class LatentSpoiling:
    """How far the latents of a picture are from those that a diffusion model makes of it.

    Args:
        exact_probability: of a picture to be decoded from its own latents.
        blur: greatest deviation of the blur, in pixels.
        shift: greatest deviation of the shifts of its parts, in pixels.
        mixed_probability: of parts of it to be taken from the rendering of the scene.
        noise: greatest deviation of the noise on latents, which have a variance of about one.

    Raises:
        ValueError: naming every setting that is impossible.
    """

    exact_probability: float = 0.25
    blur: float = 4.0
    shift: float = 2.0
    mixed_probability: float = 0.5
    noise: float = 0.3

    def __post_init__(self):
        problems = [f"{name} {value}: expected at least 0" for name, value in asdict(self).items() if value < 0]
        problems += [
            f"{name} {value}: expected at most 1"
            for name, value in asdict(self).items()
            if name.endswith("_probability") and value > 1
        ]
        if problems:
            raise ValueError("; ".join(problems) + ".")

    @torch.no_grad()
    def decoded(
        self, autoencoder: Autoencoder, pictures: torch.Tensor, guidance: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Pictures through spoiled latents and back.

        Args:
            autoencoder: of pictures or video, with the statistics of its latents.
            pictures: [B, 3, H, W] in [-1, 1].
            guidance: [B, S, 6, H, W] (`SOURCE_CHANNELS`), of which the blend may be mixed in.
            generator: of random numbers.

        Returns:
            [B, 3, H, W] in [-1, 1].
        """
        spoiled = torch.stack([self._spoiled(picture, generator) for picture in pictures])
        blend, known = guidance[:, 0, :3], guidance[:, 0, 3:4]
        mixed = torch.rand(len(pictures), 1, 1, 1, generator=generator) < self.mixed_probability
        share = smooth_noise((len(pictures), 1), pictures.shape[-2:], 4, generator) > 0.3
        spoiled = torch.where(mixed & share & (known > 0), blend, spoiled)
        exact = torch.rand(len(pictures), 1, 1, 1, generator=generator) < self.exact_probability
        latents = encode(autoencoder, torch.where(exact, pictures, spoiled).unsqueeze(2))
        # Squared, as good latents are what matters in the end.
        deviation = self.noise * torch.rand(len(pictures), 1, 1, 1, 1, generator=generator).square() * ~exact.unsqueeze(-1)
        return decode(autoencoder, latents + deviation * torch.randn(latents.shape, generator=generator)).squeeze(2)

    def _spoiled(self, picture: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """A picture [3, H, W] whose parts are shifted, and blurred."""
        shift, blur = (float(uniform(0.0, most, generator)) for most in (self.shift, self.blur))
        if shift > 0.1:
            offsets = shift * smooth_noise((1, 2), picture.shape[-2:], 6, generator)
            picture = warped(picture[None], offsets)[0]
        if blur > 0.3:
            picture = blurred(picture[None], blur)[0]
        return picture


def smooth_noise(shape: tuple[int, ...], size: tuple[int, int], grid: int, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise of about unit variance that varies over a grid of so many cells a side: [*shape, H, W].

    Args:
        shape: before the two axes of the picture; two numbers.
        size: H and W.
        grid: cells along each side.
        generator: of random numbers.
    """
    coarse = torch.randn(*shape, grid + 3, grid + 3, generator=generator)
    return 1.4 * F.interpolate(coarse, tuple(size), mode="bicubic", align_corners=False)


def warped(pictures: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Pictures [B, C, H, W] read at places moved by offsets [B, 2, H, W] along x and y, in pixels."""
    height, width = pictures.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x, y = columns + offsets[:, 0], rows + offsets[:, 1]
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)
    return F.grid_sample(pictures, grid.to(pictures), mode="bilinear", padding_mode="border", align_corners=False)

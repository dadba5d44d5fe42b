"""Pictures varied in framing, scale and light, so that what learns from rendered rooms fits other pictures as well."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch.nn import functional as F

from video4spatial.training.variation import uniform


@dataclass(frozen=True)
class PictureVariation:
    """How pictures are varied.

    Args:
        height, width: of what comes out, in pixels.
        zoom: least and greatest scale; below 1 shows more of a picture, in finer detail. No more is shown than there is.
        gain: least and greatest factor on each colour, whose values run from 0 to 1.
        gamma: least and greatest exponent; above 1 darkens the shadows.
        saturation: least and greatest factor on the colours' distance from grey; footage has less of it than rendered rooms.
        mirror_probability: of left and right to be swapped.

    Raises:
        ValueError: naming every setting that is impossible.
    """

    height: int = 96
    width: int = 96
    zoom: tuple[float, float] = (0.7, 1.3)
    gain: tuple[float, float] = (0.8, 1.2)
    gamma: tuple[float, float] = (0.7, 1.4)
    saturation: tuple[float, float] = (0.3, 1.0)
    mirror_probability: float = 0.5

    def __post_init__(self):
        sides = {"height": self.height, "width": self.width}
        problems = [f"{name} {value}: expected at least 1" for name, value in sides.items() if value < 1]
        problems += [
            f"{name} {list(value)}: give a range of numbers above 0"
            for name, value in asdict(self).items()
            if isinstance(value, (tuple, list)) and not 0 < value[0] <= value[1]
        ]
        if not 0 <= self.mirror_probability <= 1:
            problems.append(f"mirror_probability {self.mirror_probability}: give a number from 0 to 1")
        if problems:
            raise ValueError("; ".join(problems) + ".")

    def __call__(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Varied pictures, all at one scale, else each by itself.

        Args:
            pictures: [B, 3, H, W] in [-1, 1].
            generator: of random numbers.

        Returns:
            [B, 3, height, width] in [-1, 1].
        """
        if not len(pictures):
            return pictures.new_zeros(0, pictures.shape[1], self.height, self.width)
        scale = float(uniform(*self.zoom, generator))
        taken = self.window(pictures, generator, scale)
        if taken.shape[-2:] != (self.height, self.width):
            taken = F.interpolate(taken, (self.height, self.width), mode="bicubic", antialias=True, align_corners=False)
        return self.relight(self.mirror(taken, generator), generator)

    def window(self, pictures: torch.Tensor, generator: torch.Generator, scale: float = 1.0) -> torch.Tensor:
        """A window of every picture [B, C, H, W], anywhere in it: [B, C, height / scale, width / scale], or less if there is less."""
        size = torch.tensor(pictures.shape[-2:])
        window = torch.tensor([self.height, self.width]) / scale
        window = (window * min(1.0, float((size / window).min()))).round().long().clamp(min=1)
        corners = (torch.rand(len(pictures), 2, generator=generator) * (size - window + 1)).long()
        cut = [picture[:, y : y + window[0], x : x + window[1]] for picture, (y, x) in zip(pictures, corners.tolist())]
        return torch.stack(cut)

    def mirror(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Some of the pictures [B, ..., W] with left and right swapped."""
        mirrored = torch.rand(len(pictures), generator=generator) < self.mirror_probability
        return torch.where(mirrored.view(-1, *[1] * (pictures.ndim - 1)), pictures.flip(-1), pictures)

    def relight(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Pictures [B, ..., 3, H, W] in [-1, 1] in other lights; those of one example in the same."""
        shape = (len(pictures), *[1] * (pictures.ndim - 1))
        gain = uniform(*self.gain, generator, (len(pictures), *[1] * (pictures.ndim - 4), 3, 1, 1))
        gamma, saturation = uniform(*self.gamma, generator, shape), uniform(*self.saturation, generator, shape)
        colours = ((pictures.clamp(-1, 1) + 1) / 2).pow(gamma)
        grey = colours.mean(-3, keepdim=True)
        return ((grey + saturation * (colours - grey)) * gain).clamp(0, 1) * 2 - 1

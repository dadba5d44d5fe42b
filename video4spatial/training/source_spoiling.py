"""What footage does to views of a scene: frames of several exposures, specks without depth, odd confidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from video4spatial.training.latent_spoiling import smooth_noise
from video4spatial.training.variation import uniform


@dataclass(frozen=True)
class SourceSpoiling:
    """How much the sources of guidance differ from the picture that they show.

    What is drawn for an example is drawn up to these bounds.

    Args:
        exposure: greatest deviation of the logarithm of brightness, of each source, and of two parts of it, as blends have seams.
        tint: the same for each colour.
        specks: greatest share of pixels that are not known.
        doubt: greatest deviation of the logarithm of confidence.

    Raises:
        ValueError: naming every setting that is impossible.
    """

    exposure: float = 0.25
    tint: float = 0.08
    specks: float = 0.15
    doubt: float = 0.7

    def __post_init__(self):
        problems = [f"{name} {value}: expected at least 0" for name, value in asdict(self).items() if value < 0]
        if self.specks > 1:
            problems.append(f"specks {self.specks}: expected at most 1")
        if problems:
            raise ValueError("; ".join(problems) + ".")

    def __call__(self, guidance: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Spoiled guidance. Half of the examples keep their colours, half all of their pixels, half their confidence.

        Args:
            guidance: [B, S, 6, H, W] of sources (`SOURCE_CHANNELS`).
            generator: of random numbers.

        Returns:
            The same, zero where sources show nothing any more.
        """
        batch, sources, _, *size = guidance.shape

        def drawn(most: float) -> torch.Tensor:
            """For each example nothing, or up to a bound."""
            return most * uniform(-1.0, 1.0, generator, (batch, 1, 1, 1, 1)).clamp(min=0)

        one, other = torch.randn(2, batch, sources, 1, 1, 1, generator=generator)
        parts = smooth_noise((batch, sources), size, 3, generator).unsqueeze(2) > 0.5
        tints = torch.randn(batch, sources, 3, 1, 1, generator=generator)
        light = (drawn(self.exposure) * torch.where(parts, one, other) + drawn(self.tint) * tints).exp()
        pictures = ((guidance[:, :, :3] + 1) / 2 * light).clamp(0, 1) * 2 - 1
        doubt = (drawn(self.doubt) * torch.randn(batch, sources, 1, 1, 1, generator=generator)).exp()
        confidence = (guidance[:, :, 4:5] * doubt).clamp(max=1)
        kept = torch.rand(batch, sources, 1, *size, generator=generator) >= drawn(self.specks)
        known = guidance[:, :, 3:4] * kept
        return torch.cat([pictures, torch.ones_like(known), confidence, guidance[:, :, 5:]], dim=2) * known

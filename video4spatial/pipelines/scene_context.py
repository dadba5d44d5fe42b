"""An encoded scene: built once, sampled many times."""

from dataclasses import dataclass

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.models import ContextCache


@dataclass(frozen=True)
class SceneContext:
    """What the model needs of a scene, independent of anchor, trajectory, seed, step and guidance.

    Made by `Video4SpatialPipeline.encode_context` and lengthened by `Video4SpatialPipeline.append_context`.

    Args:
        frames: [N, H, W, 3] uint8 at the model's size.
        times: [N] seconds, ascending.
        cameras: N cameras, or None when unknown.
        latents: [1, C, F, h, w] clean latents.
        positions: [1, F] float64 on the scene clock.
        scene_rays: [1, F, channels, h, w] rays relative to the first frame, or None.
        cache: keys and values of every layer; None for models with full attention, which cannot have one.
        chunk_length: frames per chunk that the autoencoder encoded together.
        context_tokens_computed: tokens that went through the transformer to build this object.
    """

    frames: np.ndarray
    times: np.ndarray
    cameras: Cameras | None
    latents: torch.Tensor
    positions: torch.Tensor
    scene_rays: torch.Tensor | None
    cache: ContextCache | None
    chunk_length: int
    context_tokens_computed: int

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def num_bytes(self) -> int:
        """Memory of latents, keys and values."""
        own = self.latents.numel() * self.latents.element_size()
        return own if self.cache is None else own + self.cache.num_bytes

    def resolve_anchor(self, anchor: int) -> int:
        """An anchor index counted from either end, as an index from the start.

        Raises:
            ValueError: if it is out of range.
        """
        if not -len(self) <= anchor < len(self):
            raise ValueError(
                f"anchor {anchor} is outside the context of {len(self)} frames: expected {-len(self)} to {len(self) - 1}."
            )
        return anchor % len(self)

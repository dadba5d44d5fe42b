"""What a row makes its videos from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from video4spatial.clips import Clip
from video4spatial.pipelines import Video4SpatialPipeline


@dataclass(frozen=True)
class Sampling:
    """How a model is sampled. Noise depends on the seed and the clip's place in the set alone, so that rows are paired.

    Args:
        num_inference_steps: denoising steps.
        guidance_scale: joint guidance; 1 is off.
        seed: of the noise.
    """

    num_inference_steps: int = 16
    guidance_scale: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class RowInputs:
    """What a row makes its video of one clip from.

    Args:
        clip: what is asked for, with everything that is known of it.
        pipeline: the model that is run.
        sampling: how it is run.
        noise: place of the clip in its set, added to the seed.
        other: a clip of another scene, or None.
        blur_sigma: what `references.fit_blur` found on validation clips, pixels at a height of 64, or None.
        image_to_video: (clip, noise) -> [T, H, W, 3] uint8 of a model that goes on from the anchor frame, or None.
    """

    clip: Clip
    pipeline: Video4SpatialPipeline
    sampling: Sampling = Sampling()
    noise: int = 0
    other: Clip | None = None
    blur_sigma: float | None = None
    image_to_video: Callable[[Clip, int], np.ndarray] | None = None

"""What a row makes its videos from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from video4spatial.clips import Clip
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline


@dataclass(frozen=True)
class RowInputs:
    """What a row makes its video of one clip from.

    Args:
        clip: what is asked for, with everything that is known of it.
        pipeline: the model that is run.
        generation: how it is run.
        noise: place of the clip in its set, added to the seed: noise depends on both alone, so that rows are paired.
        other: a clip of another scene, or None.
        blur_sigma: what `references.fit_blur` found on validation clips, pixels at a height of 64, or None.
        image_to_video: (clip, noise) -> [T, H, W, 3] uint8 of a model that goes on from the anchor frame, or None.
    """

    clip: Clip
    pipeline: Video4SpatialPipeline
    generation: GenerationSettings = GenerationSettings()
    noise: int = 0
    other: Clip | None = None
    blur_sigma: float | None = None
    image_to_video: Callable[[Clip, int], np.ndarray] | None = None

"""What rows are made from, and how a row says that it does not apply to a clip."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from video4spatial.clips import Clip
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline


class PeerError(ValueError):
    """A peer that has no video for a clip, and why: the row counts as missing there."""


class NotApplicable(ValueError):
    """A clip lacks what a row is made from, and what: the row does not count there, neither for it nor against it."""


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
        geometries: what rows have read of contexts, for the rows that follow.
    """

    clip: Clip
    pipeline: Video4SpatialPipeline
    generation: GenerationSettings = GenerationSettings()
    noise: int = 0
    other: Clip | None = None
    blur_sigma: float | None = None
    image_to_video: Callable[[Clip, int], np.ndarray] | None = None
    geometries: dict[tuple[bytes, bool], SceneGeometry] = field(default_factory=dict, repr=False)


NEEDS: dict[str, str] = {
    "other": "there is no clip of another scene",
    "blur_sigma": "there are no validation clips to fit the blur on",
    "image_to_video": "no image-to-video pipeline is given",
}
"""Optional fields of `RowInputs` that a row may need, and what is said where they are not given."""

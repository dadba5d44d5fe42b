"""Rows that run the model under test, on the context that it was trained for or on another one.

Each takes `RowInputs` and returns frames [T, H, W, 3] uint8. What the model is told of the context stands in the clip that it is
shown: with or without cameras, all frames or some.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from video4spatial.clips import Clip
from video4spatial.evaluation.rows import references
from video4spatial.models.autoencoder import encode, frames_to_tensor
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline, generate
from video4spatial.spread import evenly_spread


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


@torch.no_grad()
def through_autoencoder(pipeline: Video4SpatialPipeline, frames: np.ndarray) -> np.ndarray:
    """Encode and decode frames.

    Args:
        pipeline: whose autoencoder is used.
        frames: [T, H, W, 3] uint8.

    Returns:
        [T, H, W, 3] uint8.
    """
    latents = encode(pipeline.vae, frames_to_tensor(frames, pipeline.vae.device))
    return pipeline.decode_latents(latents)[: len(frames)]


def model(inputs: RowInputs) -> np.ndarray:
    """The model as it is meant to be used: as many context frames as it was trained with, cameras unknown."""
    return _generated(inputs, trained_length(inputs.clip, inputs.pipeline))


def model_with_context_cameras(inputs: RowInputs) -> np.ndarray:
    """The same, told the cameras of the context."""
    return _generated(inputs, trained_length(inputs.clip, inputs.pipeline), context_cameras=True)


def shorter_context(inputs: RowInputs, count: int) -> np.ndarray:
    """The model shown fewer context frames.

    Args:
        inputs: with a clip of at least 32 context frames.
        count: one of the sizes of `nested_contexts`.
    """
    return _generated(inputs, nested_contexts(inputs.clip)[count])


def other_scene_context(inputs: RowInputs) -> np.ndarray:
    """The model shown another scene's context around the clip's own anchor frame."""
    shown = (trained_length(clip, inputs.pipeline) for clip in (inputs.clip, inputs.other))
    return _generated(inputs, references.other_scene_context(*shown))


def anchor_only(inputs: RowInputs) -> np.ndarray:
    """The model shown the anchor frame as the only one of the context."""
    return _generated(inputs, references.anchor_only(inputs.clip))


def no_context(inputs: RowInputs) -> np.ndarray:
    """The model given the anchor frame alone, outside any scene."""
    return _generated(inputs, references.anchor_only(inputs.clip), in_scene=False)


def vae_ceiling(inputs: RowInputs) -> np.ndarray:
    """The true frames through the model's autoencoder: what it can show at best."""
    return through_autoencoder(inputs.pipeline, references.ground_truth(inputs.clip))


def trained_length(clip: Clip, pipeline: Video4SpatialPipeline) -> Clip:
    """The clip with as many evenly spread context frames as the model was trained with.

    Args:
        clip: those with fewer frames stay as they are.
        pipeline: whose configuration says how many.
    """
    total = len(clip.context_frames)
    return clip.with_context(evenly_spread(total, min(pipeline.config.context_frames, total), clip.anchor))


def nested_contexts(clip: Clip, sizes: tuple[int, ...] = (2, 8, 32)) -> dict[int, Clip]:
    """The clip with shorter and shorter contexts, each evenly spread over the next longer one and with the anchor in it.

    Args:
        clip: with at least as many context frames as the largest size.
        sizes: numbers of context frames.

    Raises:
        ValueError: for a size larger than the context.
    """
    nested = {}
    for size in sorted(sizes, reverse=True):
        clip = clip.with_context(evenly_spread(len(clip.context_frames), size, clip.anchor))
        nested[size] = clip
    return nested


def _generated(inputs: RowInputs, shown: Clip, *, context_cameras: bool = False, in_scene: bool = True) -> np.ndarray:
    seed = inputs.generation.seed + inputs.noise
    settings = replace(inputs.generation, seed=seed, context_cameras=context_cameras, show_context=in_scene, chunk_frames=0)
    return generate(inputs.pipeline, shown, settings).frames

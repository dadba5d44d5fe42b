"""Rows that run the model under test, on the context that it was trained for or on another one.

    Row("model_with_context_cameras", partial(model.model, context_cameras=True))
    Row("context_8", partial(model.model, shown=partial(model.shorter_context, count=8)))

A row says which clip the model is shown (`shown`, one of the functions below) and which settings differ from those of the run.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from video4spatial.clips import Clip
from video4spatial.evaluation.rows import references
from video4spatial.evaluation.rows.geometry import GeometryOf, read_geometry
from video4spatial.evaluation.rows.inputs import NotApplicable, RowInputs
from video4spatial.models.autoencoder import encode, frames_to_tensor
from video4spatial.pipelines import Video4SpatialPipeline, generate
from video4spatial.pipelines.generation import encode_scene
from video4spatial.pipelines.settings import shows_geometry
from video4spatial.spread import evenly_spread

NESTED = (2, 8, 32)
"""Lengths of context that are compared."""


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


def usual_context(inputs: RowInputs) -> Clip:
    """The clip with as many context frames as the model is meant to be given."""
    return usual_length(inputs.clip, inputs.pipeline)


def model(
    inputs: RowInputs,
    shown: Callable[[RowInputs], Clip] = usual_context,
    geometry: GeometryOf = read_geometry,
    **settings,
) -> np.ndarray:
    """The model's video; by default as it is meant to be used: context as long as suits it, cameras unknown, geometry read from it.

    Args:
        inputs: with the clip that is asked for.
        shown: inputs -> the clip as the model is shown it.
        geometry: what it is shown of the scene's geometry, for models that can be: a function of `rows.geometry`.
        **settings: fields of `GenerationSettings` in place of those of `inputs.generation`.

    Returns:
        [T, H, W, 3] uint8.

    Raises:
        NotApplicable: where the clip lacks what the model is to be shown or told.
    """
    return _generated(inputs, shown(inputs), settings, geometry)


def _generated(inputs: RowInputs, clip: Clip, settings: dict, geometry: GeometryOf | None = None) -> np.ndarray:
    if settings.get("context_cameras") and inputs.clip.context_cameras is None:
        raise NotApplicable("the clip does not know the cameras of its context")
    usual = {"context_cameras": False, "chunk_frames": 0, "seed": inputs.generation.seed + inputs.noise}
    made, context = replace(inputs.generation, **(usual | settings)), None
    if geometry is not None and shows_geometry(made, inputs.pipeline.transformer.config):
        context = encode_scene(inputs.pipeline, clip, made, geometry=geometry(inputs, clip, made.context_cameras))
    return generate(inputs.pipeline, clip, made, context).frames


def without_geometry(inputs: RowInputs, context_cameras: bool = False) -> np.ndarray:
    """The model that is shown no geometry: the published method, in which all space is implicit.

    Raises:
        NotApplicable: for models that never are.
    """
    if inputs.pipeline.transformer.config.geometry_views is None:
        raise NotApplicable("the model has no geometry prompt: it is never shown geometry")
    length = inputs.pipeline.config.context_frames
    made = {"context_cameras": context_cameras, "geometry": "none"}
    return _generated(inputs, spread_context(inputs.clip, length), made)


def model_with_context_cameras(inputs: RowInputs) -> np.ndarray:
    """The model told the cameras of the context."""
    return model(inputs, context_cameras=True)


def shorter_context(inputs: RowInputs, count: int) -> Clip:
    """The clip with fewer context frames.

    Args:
        inputs: with the clip.
        count: one of the sizes of `nested_contexts`.

    Raises:
        NotApplicable: for a clip whose context is shorter.
    """
    total = len(inputs.clip.context_frames)
    if count > total:
        raise NotApplicable(f"the clip has {total} context frames, fewer than {count}")
    return nested_contexts(inputs.clip, tuple(size for size in NESTED if size <= total))[count]


def other_scene_context(inputs: RowInputs) -> Clip:
    """Another scene's context around the clip's own anchor frame; both contexts take the length of the shorter one."""
    shown = [usual_length(clip, inputs.pipeline) for clip in (inputs.clip, inputs.other)]
    count = min(len(clip.context_frames) for clip in shown)
    return references.other_scene_context(*(
        clip.with_context(evenly_spread(len(clip.context_frames), count, clip.anchor)) for clip in shown
    ))  # fmt: skip


def anchor_only(inputs: RowInputs) -> Clip:
    """The clip with the anchor frame as the only one of its context; with `show_context=False` outside any scene."""
    return references.anchor_only(inputs.clip)


def vae_ceiling(inputs: RowInputs) -> np.ndarray:
    """The true frames through the model's autoencoder: what it can show at best."""
    return through_autoencoder(inputs.pipeline, references.ground_truth(inputs.clip))


def usual_length(clip: Clip, pipeline: Video4SpatialPipeline) -> Clip:
    """The clip with as many evenly spread context frames as a model is meant to be given.

    Args:
        clip: those with fewer frames stay as they are.
        pipeline: whose configuration says how many: those of which it reads geometry, or those that it was trained with.
    """
    config = pipeline.config
    reads = pipeline.transformer.config.geometry_views is not None
    return spread_context(clip, config.geometry_frames if reads else config.context_frames)


def spread_context(clip: Clip, most: int) -> Clip:
    """The clip with at most so many context frames, evenly spread, the anchor among them."""
    total = len(clip.context_frames)
    return clip.with_context(evenly_spread(total, min(most, total), clip.anchor))


def nested_contexts(clip: Clip, sizes: tuple[int, ...] = NESTED) -> dict[int, Clip]:
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

"""Passes through the transformer: one for each segment of a scene, then one for each branch and denoising step of the targets."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from video4spatial.conditioning.inputs import ContextInputs, TargetInputs
from video4spatial.models import CacheStorage, ContextCache, Geometry, TargetPlacement, Video4SpatialTransformer3DModel

CLEAN, NOISE = 0.0, 1000.0
"""Timesteps of a scene, and of the noise that stands for none."""


@dataclass(frozen=True)
class SeenScene:
    """What a pass of the targets is given of a scene.

    Args:
        arguments: of the transformer's `forward`; empty where no scene is seen.
        states: [S, F, P, dim] last hidden states of the context latents that are not pooled, for the geometry heads, where they were
            asked for; None where the pass itself computes them (`full` attention), or nothing is in full.
    """

    arguments: dict = field(default_factory=dict)
    states: torch.Tensor | None = None


def encode_parts(
    transformer: Video4SpatialTransformer3DModel,
    context: ContextInputs,
    cache: ContextCache | None = None,
    *,
    timestep: float = CLEAN,
    storage: CacheStorage = CacheStorage(),
    return_states: bool = False,
) -> tuple[ContextCache, torch.Tensor | None]:
    """Encode a scene segment by segment, each seeing those before it.

    Args:
        transformer: with `causal_context` attention.
        context: the scene.
        cache: of older segments, which come first.
        timestep: `CLEAN`, or `NOISE` for noise in place of a scene.
        storage: how keys and values are kept.
        return_states: also return the last hidden states of the segments that are not pooled.

    Returns:
        The cache of all segments; [S, F, P, dim] states of those in full, joined, or None.
    """
    states = []
    for part in context.parts:
        segment = context.part(part)
        cache, hidden = transformer.encode_context(
            segment.latents, segment.positions, segment.scene_rays, cache, pool=part.pool, timestep=timestep, storage=storage,
            return_states=return_states and part.pool == 1,
        )  # fmt: skip
        if hidden is not None:
            states.append(hidden)
    return cache, torch.cat(states, dim=1) if states else None


def see_scene(
    transformer: Video4SpatialTransformer3DModel,
    context: ContextInputs,
    targets_per_scene: int = 1,
    *,
    timestep: float = CLEAN,
    return_states: bool = False,
) -> SeenScene:
    """What targets are given of a scene that is encoded for them alone: its cache, or in `full` attention the scene itself.

    Args:
        transformer: with either kind of attention.
        context: S scenes.
        targets_per_scene: so many targets in a row see the same scene.
        timestep: `CLEAN`, or `NOISE` for noise in place of a scene.
        return_states: also keep what the geometry heads read.

    Raises:
        ValueError: for pooled or several segments in `full` attention, which takes all frames alike.
    """
    if transformer.config.attention_mode == "causal_context":
        cache, states = encode_parts(transformer, context, timestep=timestep, return_states=return_states)
        return SeenScene({"context": cache if targets_per_scene == 1 else cache.repeated(targets_per_scene)}, states)
    return SeenScene(whole_scene(context.repeated(targets_per_scene), timestep))


def whole_scene(context: ContextInputs, timestep: float = CLEAN) -> dict:
    """Arguments of `forward` for a scene that is computed in every pass (`full` attention).

    Args:
        context: B scenes, one for each target.
        timestep: `CLEAN`, or `NOISE` for noise in place of a scene.

    Raises:
        ValueError: for pooled segments, or frames in several.
    """
    if any(part.pool > 1 for part in context.parts):
        raise ValueError("attention_mode='full' takes all context frames alike: give it none that are pooled.")
    return {
        "context_latents": context.latents,
        "context_positions": context.positions,
        "context_scene_rays": context.scene_rays,
        "context_timestep": timestep,
    }


def predict(
    transformer: Video4SpatialTransformer3DModel,
    noisy: torch.Tensor,
    timestep: torch.Tensor,
    targets: TargetInputs,
    scene: SeenScene = SeenScene(),
    *,
    placement: TargetPlacement | None = None,
    return_geometry: bool = False,
) -> tuple[torch.Tensor, Geometry | None]:
    """What the transformer predicts of noisy targets. The anchor, where it is seen, stands clean before them.

    Args:
        transformer: the denoiser.
        noisy: [B, C, F, h, w] targets after the anchor.
        timestep: [B] or one: their noise level, up to 1000.
        targets: what is known of them.
        scene: what they see of the scene.
        placement: of `place`, where it is at hand.
        return_geometry: also read the geometry heads.

    Returns:
        [B, C, F, h, w] prediction; what the geometry heads read of the scene, or None where nothing is in full or not asked for.
    """
    batch, _, frames, height, width = noisy.shape
    timesteps = timestep.reshape(-1, 1).expand(batch, frames)
    latents = noisy
    if targets.anchor is not None:
        latents = torch.cat([targets.anchor, noisy], dim=2)
        timesteps = torch.cat([timesteps.new_zeros(batch, 1), timesteps], dim=1)
    if placement is None:
        placed = {"positions": targets.positions, "rays": targets.rays, "scene_rays": targets.scene_rays, "geometry": targets.geometry}
    else:
        placed = {"placement": placement}
    inside = return_geometry and "context_latents" in scene.arguments
    prediction, geometry = transformer(
        latents, timesteps, targets.text, **placed, **scene.arguments, return_geometry=inside, return_dict=False
    )
    if return_geometry and scene.states is not None:
        geometry = transformer.read_geometry(scene.states, height, width)
    return prediction[:, :, -frames:], geometry


def place(transformer: Video4SpatialTransformer3DModel, targets: TargetInputs, height: int, width: int) -> TargetPlacement:
    """What the transformer computes of positions, cameras and geometry of targets, once for all denoising steps.

    Args:
        transformer: the denoiser.
        targets: what is known of them.
        height, width: of their latents.
    """
    return transformer.place(targets.positions, height, width, targets.rays, targets.scene_rays, targets.geometry)

"""Rows that run the model: what it is told, and that nothing else reaches it."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.evaluation.rows import ROWS, model
from video4spatial.evaluation.rows.model import RowInputs
from video4spatial.pipelines import GenerationSettings


@pytest.fixture(scope="module")
def inputs(tiny_pipeline):
    clip = simulated_navigation_clip(2_050_000, num_frames=5, walk_frames=24, context_size=12, height=32, width=32)
    return RowInputs(clip, tiny_pipeline, GenerationSettings(num_inference_steps=1))


def test_the_model_knows_neither_truth_nor_context_cameras(inputs):
    clip = inputs.clip
    blind = replace(clip, target_frames=None, target_depth=None, context_depth=None, context_cameras=None)
    assert np.array_equal(model.model(inputs), model.model(replace(inputs, clip=blind)))
    assert not np.array_equal(model.model(inputs), model.model_with_context_cameras(inputs))


def test_without_context_only_the_anchor_counts(inputs):
    frames = 255 - inputs.clip.context_frames
    frames[inputs.clip.anchor] = inputs.clip.context_frames[inputs.clip.anchor]
    changed = replace(inputs, clip=replace(inputs.clip, context_frames=frames))
    for row, counts in ((model.no_context, False), (model.anchor_only, False), (model.model, True)):
        assert np.array_equal(row(inputs), row(changed)) is not counts


def test_the_ceiling_is_the_truth_through_the_autoencoder(inputs):
    ceiling = model.vae_ceiling(inputs)
    assert np.array_equal(ceiling, model.through_autoencoder(inputs.pipeline, inputs.clip.target_frames))
    assert ceiling.shape == inputs.clip.target_frames.shape and not np.array_equal(ceiling, inputs.clip.target_frames)


def test_noise_and_seed_add_up(inputs):
    later = replace(inputs, noise=2)
    assert not np.array_equal(model.model(inputs), model.model(later))
    assert np.array_equal(model.model(later), model.model(replace(inputs, generation=GenerationSettings(1, seed=2))))


def test_the_registry_names_what_rows_need(inputs):
    assert all(name == row.name for name, row in ROWS.items())
    for row in ROWS.values():
        assert all(hasattr(inputs, need) for need in row.needs), row.name
    assert np.array_equal(ROWS["static"].frames(inputs)[-1], inputs.clip.context_frames[inputs.clip.anchor])
    asked = replace(inputs, image_to_video=lambda clip, noise: np.full_like(clip.target_frames, noise), noise=7)
    assert (ROWS["image_to_video"].frames(asked) == 7).all()


def test_nested_contexts_hold_the_anchor(clip):
    nested = model.nested_contexts(clip, (2, 4, 8))
    times = {size: set(small.context_times.tolist()) for size, small in nested.items()}
    assert times[2] < times[4] < times[8]
    for size, small in nested.items():
        assert len(small.context_frames) == size
        assert np.array_equal(small.context_frames[small.anchor], clip.context_frames[clip.anchor])

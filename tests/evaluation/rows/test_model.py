"""Rows that run the model: what it is told, and that nothing else reaches it."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.evaluation.rows import ROWS, model
from video4spatial.evaluation.rows.inputs import NEEDS, NotApplicable, RowInputs
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
    for row, counts in (("no_context", False), ("anchor_only", False), ("model", True)):
        assert np.array_equal(ROWS[row].frames(inputs), ROWS[row].frames(changed)) is not counts


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
        assert all(hasattr(inputs, need) and need in NEEDS for need in row.needs), row.name
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


def test_a_row_of_the_model_is_what_it_is_shown_and_told(inputs):
    told = model.model(inputs, context_cameras=True)
    assert np.array_equal(told, model.model_with_context_cameras(inputs))
    assert np.array_equal(told, ROWS["model_with_context_cameras"].frames(inputs))
    short = model.model(inputs, shown=lambda inputs: inputs.clip.with_context([inputs.clip.anchor]))
    assert np.array_equal(short, ROWS["anchor_only"].frames(inputs)) and not np.array_equal(short, model.model(inputs))
    with pytest.raises(NotApplicable, match="does not know the cameras of its context"):
        model.model(replace(inputs, clip=replace(inputs.clip, context_cameras=None)), context_cameras=True)


def test_contexts_that_are_too_short_do_not_apply(inputs):
    assert len(model.shorter_context(inputs, 8).context_frames) == 8
    with pytest.raises(NotApplicable, match="12 context frames, fewer than 32"):
        model.shorter_context(inputs, 32)


def test_another_scene_lends_as_many_frames_as_both_have(inputs, tiny_pipeline):
    other = simulated_navigation_clip(2_050_001, num_frames=5, walk_frames=24, context_size=5, height=32, width=32)
    clip = model.other_scene_context(replace(inputs, other=other))
    assert len(clip.context_frames) == 5
    assert np.array_equal(clip.context_frames[clip.anchor], inputs.clip.context_frames[inputs.clip.anchor])

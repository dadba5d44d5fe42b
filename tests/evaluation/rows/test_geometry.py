"""Rows that show the geometry of the context alone."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips import Ground
from video4spatial.evaluation.metrics.image import psnr
from video4spatial.evaluation.rows import ROWS
from video4spatial.evaluation.rows.inputs import NotApplicable, RowInputs
from video4spatial.evaluation.rows.references import copy_nearest

READ = ROWS["reconstruct_and_render_with_context_cameras"].frames
TRUE = ROWS["oracle_render"].frames


@pytest.fixture(scope="module")
def inputs(clip, tiny_pipeline) -> RowInputs:
    return RowInputs(clip, tiny_pipeline)


def test_reading_the_scene_beats_a_copy_and_truth_beats_reading(inputs):
    clip, truth = inputs.clip, inputs.clip.target_frames[1:]
    read, true = READ(inputs), TRUE(inputs)
    for frames in (read, true):
        assert frames.dtype == np.uint8 and frames.shape == clip.target_frames.shape
        assert np.array_equal(frames[0], clip.context_frames[clip.anchor])
    assert psnr(read[1:], truth).mean() > psnr(copy_nearest(clip)[1:], truth).mean() + 1
    assert psnr(true[1:], truth).mean() > psnr(read[1:], truth).mean() + 0.5


def test_geometry_is_read_once_for_all_rows_of_a_clip(inputs):
    READ(inputs)
    known = dict(inputs.geometries)
    READ(inputs)
    assert len(known) == 1 and inputs.geometries == known


def test_rows_say_why_they_have_no_video(inputs):
    clip = inputs.clip
    for lacking in ({"context_depth": None}, {"context_depth": 0 * clip.context_depth}, {"context_cameras": None}):
        with pytest.raises(NotApplicable, match="true depth|cameras of its context"):
            TRUE(replace(inputs, clip=replace(clip, **lacking)))
    with pytest.raises(NotApplicable, match="no path"):
        READ(replace(inputs, clip=replace(clip, instruction=Ground("go to the lamp"))))
    blank = replace(clip, context_frames=np.full_like(clip.context_frames, 128), context_cameras=None)
    assert ROWS["reconstruct_and_render"].frames(replace(inputs, clip=blank)).max() < 140  # the anchor's picture alone, which is grey


def test_models_without_a_prompt_have_no_row_without_geometry(inputs):
    with pytest.raises(NotApplicable, match="no geometry prompt"):
        ROWS["model_without_geometry"].frames(inputs)

"""Reference rows."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips import Ground
from video4spatial.evaluation.rows import references
from video4spatial.evaluation.metrics.image import psnr

REFERENCES = (
    references.ground_truth, references.ground_truth_blurred, references.copy_nearest, references.mean_colour, references.static,
    references.reversed_truth, references.shuffled,
)  # fmt: skip


def test_every_frame_reference_fits_the_clip(clip):
    for make in REFERENCES:
        frames = make(clip)
        assert frames.dtype == np.uint8 and frames.shape == clip.target_frames.shape, make


def test_references_know_clips_whose_instruction_names_no_cameras(clip):
    unguided = replace(clip, instruction=Ground("go to the lamp"))
    for make in REFERENCES:
        assert np.array_equal(make(unguided), make(clip))
    with pytest.raises(ValueError, match="neither frames nor cameras"):
        references.static(replace(unguided, target_cameras=None, target_frames=None, target_depth=None))


def test_copy_nearest_starts_with_the_anchor(clip):
    assert np.array_equal(references.copy_nearest(clip)[0], clip.context_frames[clip.anchor])


def test_shuffled_keeps_frame_0_and_is_reproducible(clip):
    frames = references.shuffled(clip)
    assert np.array_equal(frames[0], clip.target_frames[0]) and np.array_equal(frames, references.shuffled(clip))
    assert sorted(frame.tobytes() for frame in frames) == sorted(frame.tobytes() for frame in clip.target_frames)


def test_the_fitted_blur_is_the_best_of_its_kind(clip, other_clip):
    clips = [clip, other_clip]
    best = references.fit_blur(clips)

    def mean(sigma):
        return np.mean([psnr(references.copy_nearest_blurred(c, sigma)[1:], c.target_frames[1:]).mean() for c in clips])

    assert best > 0 and all(mean(best) >= mean(sigma) - 1e-9 for sigma in references.BLUR_SIGMAS)


def test_context_references(clip, other_clip):
    swapped = references.other_scene_context(clip, other_clip)
    assert np.array_equal(swapped.context_frames[clip.anchor], clip.context_frames[clip.anchor])
    assert np.array_equal(swapped.context_frames[0], other_clip.context_frames[0])
    assert len(references.anchor_only(clip).context_frames) == 1
    with pytest.raises(ValueError, match="both are of scene"):
        references.other_scene_context(clip, clip)

"""Pixel metrics against scikit-image, and what each must and must not reward."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from video4spatial.evaluation import measurement
from video4spatial.evaluation.metrics.consistency import flicker, frame_changes
from video4spatial.evaluation.metrics.image import gradient_correlation, ms_ssim, psnr, ssim
from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.rows.references import copy_nearest, static
from video4spatial.evaluation.metrics import METRICS


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(128, 400, (3, 40, 48, 3)), (0, 2, 2, 0)).clip(0, 255).astype(np.uint8)
    frames = (truth + rng.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
    return frames, truth


def test_psnr_and_ssim_agree_with_scikit_image(pair):
    frames, truth = pair
    options = dict(channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    expected = [structural_similarity(one, other, **options) for one, other in zip(truth, frames)]
    assert np.allclose(ssim(frames, truth), expected, atol=1e-4)
    expected = [peak_signal_noise_ratio(one, other, data_range=255) for one, other in zip(truth, frames)]
    assert np.allclose(psnr(frames, truth), expected, atol=1e-3)


def test_psnr_of_identical_frames_is_clipped(pair):
    assert (psnr(pair[1], pair[1]) == 100).all()


def test_masked_psnr_counts_only_the_mask(pair):
    frames, truth = pair
    mask = np.zeros(truth.shape[:3], dtype=bool)
    mask[:2, :, :20] = True
    broken = np.where(mask[..., None], frames, 0).astype(np.uint8)
    values = psnr(broken, truth, mask)
    assert np.allclose(values[:2], psnr(frames[:2, :, :20], truth[:2, :, :20]), atol=1e-4)
    assert np.isnan(values[2])


def test_gradient_correlation_sees_structure_not_brightness(pair):
    frames, truth = pair
    darker = (truth * 0.5).astype(np.uint8)
    assert np.allclose(gradient_correlation(truth, truth), 1)
    assert (gradient_correlation(darker, truth) > 0.98).all()
    assert (gradient_correlation(255 - truth, truth) < -0.99).all()
    flat = np.full_like(truth, 90)
    assert (gradient_correlation(flat, truth) == 0).all()
    assert np.isnan(gradient_correlation(truth, flat)).all()
    assert (gradient_correlation(np.roll(truth, 8, axis=2), truth) < 0.3).all()


def test_bad_input_is_named(pair):
    with pytest.raises(ValueError, match="one shape"):
        psnr(pair[0][:2], pair[1])
    with pytest.raises(ValueError, match="uint8"):
        gradient_correlation(pair[0] / 255.0, pair[1])
    with pytest.raises(ValueError, match="11x11"):
        ssim(pair[0][:, :8, :8], pair[1][:, :8, :8])
    with pytest.raises(ValueError, match="176x176"):
        ms_ssim(*pair)


def test_ms_ssim_is_the_product_of_its_scales():
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(128, 400, (2, 176, 180, 3)), (0, 2, 2, 0)).clip(0, 255).astype(np.uint8)
    frames = (truth + rng.normal(0, 40, truth.shape)).clip(0, 255).astype(np.uint8)
    values = ms_ssim(frames, truth)
    assert ((0 < values) & (values < 1)).all() and ms_ssim(truth, truth) == pytest.approx([1, 1])
    assert (values > ssim(frames, truth)).all()  # fine noise is gone at the coarse scales
    assert (ms_ssim(255 - truth, truth) == 0).all()  # what is opposite is worst, not NaN
    assert np.isfinite(ms_ssim(np.zeros_like(truth), truth)).all()


def test_small_pictures_have_no_ms_ssim(clip):
    measurement = METRICS["ms_ssim"](Sample(clip, clip.target_frames))
    assert measurement.status == "not_applicable" and "176" in measurement.reason


def test_revisits_are_compared_with_the_context(clip):
    metric = METRICS["revisit_psnr"]
    true = metric(Sample(clip, clip.target_frames))
    assert true.status == "ok" and true.diagnostics["revisits"] > 0 and true.value > 20
    for wrong in (static(clip), copy_nearest(clip), clip.target_frames[::-1]):
        assert metric(Sample(clip, np.ascontiguousarray(wrong))).value < true.value - 3
    # The truth is not looked at.
    assert metric(Sample(replace(clip, target_frames=None), clip.target_frames)).value == true.value
    assert metric(Sample(clip.with_context([clip.anchor]), clip.target_frames)).status == "not_applicable"


def test_frames_that_are_no_video_are_named(clip):
    frames = clip.target_frames
    nan = np.where(frames > 100, np.nan, frames / 255)
    bad = {
        "not finite": nan, "0 to 255": frames / 255, "alpha": np.concatenate([frames, frames[..., :1]], -1),
        "grey": frames[..., :1], "4 generated frames for 5": frames[:4], "differ in shape": frames[:, :32],
    }  # fmt: skip
    for words, given in bad.items():
        with pytest.raises(ValueError, match=words):
            Sample(clip, given)


def test_blank_videos_never_give_nan(clip):
    for blank in (np.zeros_like(clip.target_frames), np.full_like(clip.target_frames, 255)):
        for truth in (clip, replace(clip, target_frames=blank)):
            sample = Sample(truth, blank)
            for metric in METRICS.values():
                metric(sample)  # a Measurement refuses NaN


@pytest.mark.parametrize("measure", [psnr, ssim, gradient_correlation, frame_changes, flicker])
def test_long_videos_are_measured_a_few_frames_at_a_time(measure, monkeypatch):
    one, other = np.random.default_rng(0).integers(0, 256, (2, 7, 16, 24, 3), dtype=np.uint8)
    videos = (one,) if measure in (frame_changes, flicker) else (one, other)
    whole = measure(*videos)
    for frames in (1, 2, 3, 7):
        monkeypatch.setattr(measurement, "VALUES_AT_ONCE", frames * one[0].size)
        np.testing.assert_allclose(measure(*videos), whole, rtol=1e-6)

"""Pixel metrics against the true frames. Frame 0, the anchor, never counts."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from video4spatial.cameras import viewpoint_distance
from video4spatial.evaluation.measurement import Measurement, Sample, by_parts
from video4spatial.geometry.visibility import covisible_mask, warp_context

MAXIMUM_PSNR = 100.0
"""dB; identical frames would have infinitely many."""

MINIMUM_COVISIBLE_SHARE = 0.05
"""Frames of which the context sees less are left out of co-visible PSNR: a few pixels are mostly noise."""

REVISIT_SHARE = 0.5
"""A target frame returns to a place when one context frame has seen at least this share of it."""

MINIMUM_MS_SSIM = 176
"""Pixels; below that the coarsest of the five scales has no room for the 11x11 window."""


def psnr(frames: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Peak signal-to-noise ratio of each frame, 10 log10(255² / mean squared error), at most 100 dB.

    Args:
        frames, truth: [T, H, W, 3] uint8.
        mask: [T, H, W] bool, the pixels that count; default all.

    Returns:
        [T] dB, NaN for frames without any pixel that counts.

    Raises:
        ValueError: for different shapes.
    """
    _check_pair(frames, truth)
    return by_parts(_psnr, frames, truth, *([] if mask is None else [mask]))


def _psnr(frames: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    squared = (frames.astype(np.float32) - truth.astype(np.float32)) ** 2  # [T, H, W, 3]
    weight = np.ones(frames.shape[:3], dtype=np.float64) if mask is None else mask.astype(np.float64)
    count = weight.sum((1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.einsum("thwc,thw->t", squared, weight) / (3 * count)
        return np.minimum(10 * np.log10(255.0**2 / error), MAXIMUM_PSNR)


def ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each frame as Wang et al. (TIP 2004) define it.

    Gaussian window 11x11 with sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03, data range 255, mean over the
    three colour channels and over the pixels whose window lies in the picture. scikit-image gives the same with
    `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1`.

    Args:
        frames, truth: [T, H, W, 3] uint8, at least 11 pixels high and wide.

    Returns:
        [T] in [-1, 1].

    Raises:
        ValueError: for different shapes or smaller pictures.
    """
    _check_pair(frames, truth)
    if min(frames.shape[1:3]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11x11 pixels, got {frames.shape[1]}x{frames.shape[2]}.")
    return by_parts(_ssim, frames, truth)


def _ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    first, second = (x.astype(np.float64) for x in (frames, truth))

    def window(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, 1.5, 1.5, 0), radius=(0, 5, 5, 0))[:, 5:-5, 5:-5]

    mean_first, mean_second = window(first), window(second)
    variance_first, variance_second = window(first**2) - mean_first**2, window(second**2) - mean_second**2
    covariance = window(first * second) - mean_first * mean_second
    luminance_constant, contrast_constant = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_first * mean_second + luminance_constant) / (
        mean_first**2 + mean_second**2 + luminance_constant
    )
    structure = (2 * covariance + contrast_constant) / (variance_first + variance_second + contrast_constant)
    return (luminance * structure).mean((1, 2, 3))


def ms_ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Multi-scale structural similarity of each frame (Wang et al., Asilomar 2003), as torchmetrics computes it.

    Args:
        frames, truth: [T, H, W, 3] uint8, at least 176 pixels high and wide.

    Returns:
        [T] in [0, 1].

    Raises:
        ValueError: for different shapes or smaller pictures.
    """
    _check_pair(frames, truth)
    if min(frames.shape[1:3]) < MINIMUM_MS_SSIM:
        size = f"{frames.shape[1]}x{frames.shape[2]}"
        raise ValueError(f"MS-SSIM needs pictures of at least {MINIMUM_MS_SSIM}x{MINIMUM_MS_SSIM} pixels, got {size}.")
    return by_parts(_ms_ssim, frames, truth)


def _ms_ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    first, second = (torch.from_numpy(x.astype(np.float32)).movedim(-1, 1) for x in (frames, truth))
    # "relu": scales that anticorrelate count 0, where their broken powers would be NaN.
    options = dict(data_range=255.0, reduction="none", normalize="relu")
    values = [
        multiscale_structural_similarity_index_measure(one[None], other[None], **options)
        for one, other in zip(first, second, strict=True)
    ]
    return torch.cat([value.reshape(1) for value in values]).double().numpy()


def gradient_correlation(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How well edges lie where they belong: Pearson correlation of the image gradients after a little smoothing.

    Central differences in both directions and all three channels after a Gaussian of 1 pixel, one correlation
    per frame. Unlike PSNR it does not reward blur: a flat generated frame scores 0.

    Args:
        frames, truth: [T, H, W, 3] uint8.

    Returns:
        [T] in [-1, 1]; NaN where the true frame itself is flat.

    Raises:
        ValueError: for different shapes.
    """
    _check_pair(frames, truth)
    return by_parts(_gradient_correlation, frames, truth)


def _gradient_correlation(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    first, second = (_gradients(x) for x in (frames, truth))  # [T, D]
    covariance = (first * second).sum(1)
    norm_first, norm_second = (np.sqrt((x**2).sum(1)) for x in (first, second))
    flat = 1e-6 * np.sqrt(first.shape[1])  # a millionth of a grey level: rounding of the smoothing
    values = np.zeros(len(first))
    np.divide(covariance, norm_first * norm_second, out=values, where=(norm_first > flat) & (norm_second > flat))
    return np.where(norm_second > flat, values, np.nan)


def _gradients(frames: np.ndarray) -> np.ndarray:
    smooth = gaussian_filter(frames.astype(np.float64), sigma=(0, 1, 1, 0))
    gradients = np.stack(np.gradient(smooth, axis=(1, 2))).swapaxes(0, 1)  # [T, 2, H, W, 3]
    gradients = gradients - gradients.mean((2, 3, 4), keepdims=True)
    return gradients.reshape(len(frames), -1)


def _check_pair(frames: np.ndarray, truth: np.ndarray) -> None:
    problems = [
        f"{name} must be uint8 [T, H, W, 3], got {x.dtype} {list(x.shape)}"
        for name, x in [("frames", frames), ("truth", truth)]
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] != 3
    ]
    if frames.shape != truth.shape:
        problems.append(f"frames {list(frames.shape)} and truth {list(truth.shape)} must have one shape")
    if problems:
        raise ValueError("; ".join(problems) + ".")


def measure_psnr(sample: Sample) -> Measurement:
    """PSNR over all pixels of frames 1..T-1."""
    return Measurement.over_frames(psnr(sample.frames[1:], sample.clip.target_frames[1:]), "no frame to compare")


def measure_covisible_psnr(sample: Sample) -> Measurement:
    """PSNR over the pixels that some context frame sees; the others can only be guessed."""
    mask, depth = sample.once(covisible)[1:], sample.clip.target_depth[1:]
    share = mask.mean((1, 2))
    of_known = mask.sum() / max(1, (np.isfinite(depth) & (depth > 0)).sum())
    values = psnr(sample.frames[1:], sample.clip.target_frames[1:], mask)
    values = np.where(share >= MINIMUM_COVISIBLE_SHARE, values, np.nan)
    return Measurement.over_frames(
        values, "the context sees nothing of the target", {"covisible_share": round(float(of_known), 4)}
    )


def covisible(sample: Sample) -> np.ndarray:
    """[T, H, W] bool: pixels of the target that some context frame sees."""
    clip = sample.clip
    return covisible_mask(clip.target_cameras, clip.target_depth, clip.context_cameras, clip.context_depth)


def measure_revisit_psnr(sample: Sample) -> Measurement:
    """PSNR against the nearest context frame itself, over what both it and the target see (history comparison).

    For every target frame the nearest context frame other than the anchor is moved to the commanded camera by true
    depth; frames of which it has seen less than half return to no place and do not count. The anchor is left out
    because what is still in sight needs no memory.
    """
    clip = sample.clip
    others = [index for index in range(len(clip.context_cameras)) if index != clip.anchor % len(clip.context_cameras)]
    if not others:
        return Measurement(None, "not_applicable", "the context is the anchor alone")
    nearest = viewpoint_distance(clip.target_cameras[1:], clip.context_cameras[others]).argmin(1).tolist()
    values, shares = np.full((2, len(nearest)), np.nan)
    for row, position in enumerate(nearest):
        context = [others[position]]
        picture, seen = warp_context(
            clip.target_cameras[[row + 1]], clip.target_depth[[row + 1]],
            clip.context_cameras[context], clip.context_depth[context], clip.context_frames[context],
        )  # fmt: skip
        shares[row] = seen.mean()
        if shares[row] >= REVISIT_SHARE:
            values[row] = psnr(sample.frames[[row + 1]], picture, seen)[0]
    if np.isnan(values).all():
        return Measurement(None, "not_applicable", "the target returns to no place that the context has seen")
    diagnostics = {"revisits": int(np.isfinite(values).sum()), "seen_share": round(float(shares.mean()), 4)}
    return Measurement.over_frames(values, "no frame", diagnostics)


def measure_ms_ssim(sample: Sample) -> Measurement:
    """MS-SSIM of frames 1..T-1."""
    if min(sample.frames.shape[1:3]) < MINIMUM_MS_SSIM:
        reason = f"pictures are smaller than the {MINIMUM_MS_SSIM}x{MINIMUM_MS_SSIM} that five scales need"
        return Measurement(None, "not_applicable", reason)
    return Measurement.over_frames(ms_ssim(sample.frames[1:], sample.clip.target_frames[1:]), "no frame to compare")


def measure_ssim(sample: Sample) -> Measurement:
    """SSIM of frames 1..T-1."""
    if min(sample.frames.shape[1:3]) < 11:
        return Measurement(None, "not_applicable", "pictures are smaller than the 11x11 window")
    return Measurement.over_frames(ssim(sample.frames[1:], sample.clip.target_frames[1:]), "no frame to compare")


def measure_gradient_correlation(sample: Sample) -> Measurement:
    """Gradient correlation of frames 1..T-1."""
    values = gradient_correlation(sample.frames[1:], sample.clip.target_frames[1:])
    return Measurement.over_frames(values, "the true frames are flat: they have no edges")

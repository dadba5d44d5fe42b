"""References that stand beside every model: what a figure is worth only shows next to them.

Most make a video without a model (Clip -> frames [T, H, W, 3] uint8); `other_scene_context` and `anchor_only` change the context
that the model is shown (Clip -> Clip).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from video4spatial.cameras import viewpoint_distance
from video4spatial.clips import Clip
from video4spatial.evaluation.metrics.image import psnr

BLUR_SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Candidates of `fit_blur`, in pixels at a height of 64."""


def ground_truth(clip: Clip) -> np.ndarray:
    """The true frames: the ceiling of pixel metrics and the floor of camera estimators."""
    return _truth(clip, "ground_truth")


def ground_truth_blurred(clip: Clip) -> np.ndarray:
    """The true frames under a Gaussian of 2 pixels at a height of 64: the floor of camera estimators on soft pictures."""
    return blur(_truth(clip, "ground_truth_blurred"), 2.0)


def copy_nearest(clip: Clip) -> np.ndarray:
    """For each target camera the nearest context frame by metres + degrees / 45, with the true cameras of the context.

    Raises:
        ValueError: if the cameras of context or target are unknown.
    """
    if clip.context_cameras is None or clip.target_cameras is None:
        raise ValueError(f"clip {clip.name}: copy_nearest needs the cameras of context and target.")
    nearest = viewpoint_distance(clip.target_cameras, clip.context_cameras).argmin(1)
    return clip.context_frames[nearest.numpy()]


def copy_nearest_blurred(clip: Clip, sigma: float) -> np.ndarray:
    """`copy_nearest` blurred, which hides that things lie in the wrong place: PSNR likes this better than the sharp copy.

    Args:
        clip: with context cameras.
        sigma: pixels at a height of 64, from `fit_blur`; scaled with the height.
    """
    return blur(copy_nearest(clip), sigma)


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Blur each frame.

    Args:
        frames: [T, H, W, 3] uint8.
        sigma: of the Gaussian in pixels at a height of 64; it grows with the height.
    """
    pixels = sigma * frames.shape[1] / 64
    return gaussian_filter(frames.astype(np.float32), (0, pixels, pixels, 0)).round().clip(0, 255).astype(np.uint8)


def fit_blur(clips: Sequence[Clip]) -> float:
    """Find the blur with which `copy_nearest_blurred` has the highest mean PSNR.

    Args:
        clips: validation clips, never those that are scored.

    Returns:
        Sigma in pixels at a height of 64, one of `BLUR_SIGMAS`.

    Raises:
        ValueError: without clips.
    """
    if not clips:
        raise ValueError("fitting the blur needs at least one validation clip.")
    copies = [(copy_nearest(clip)[1:], _truth(clip, "fit_blur")[1:]) for clip in clips]
    means = [np.mean([psnr(blur(copy, sigma), truth).mean() for copy, truth in copies]) for sigma in BLUR_SIGMAS]
    return BLUR_SIGMAS[int(np.argmax(means))]


def mean_colour(clip: Clip) -> np.ndarray:
    """The mean colour of the context everywhere: no structure at all."""
    colour = clip.context_frames.mean((0, 1, 2)).round().astype(np.uint8)
    shape = (clip.num_target_frames, *clip.context_frames.shape[1:])
    return np.broadcast_to(colour, shape).copy()


def static(clip: Clip) -> np.ndarray:
    """The anchor frame repeated: a camera that does not obey."""
    return np.repeat(clip.context_frames[clip.anchor][None], clip.num_target_frames, axis=0)


def reversed_truth(clip: Clip) -> np.ndarray:
    """The true frames backwards: perfect pictures, wrong camera."""
    return _truth(clip, "reversed")[::-1].copy()


def shuffled(clip: Clip) -> np.ndarray:
    """The true frames in an order drawn from the clip's name; frame 0 stays."""
    truth = _truth(clip, "shuffled")
    seed = int.from_bytes(hashlib.sha256(clip.name.encode()).digest()[:8], "little")
    return truth[np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(len(truth) - 1)])]


def other_scene_context(clip: Clip, other: Clip) -> Clip:
    """The clip with another scene's context around its own anchor frame: what the model makes of a wrong context.

    Args:
        clip: whose anchor, instruction and truth are kept.
        other: whose context frames are shown, of the same number and size.

    Raises:
        ValueError: if both are of one scene, or the contexts differ in shape.
    """
    problems = []
    if other.scene == clip.scene:
        problems.append(f"both are of scene {clip.scene}")
    if other.context_frames.shape != clip.context_frames.shape:
        shapes = f"{list(clip.context_frames.shape)} and {list(other.context_frames.shape)}"
        problems.append(f"contexts {shapes} differ in shape")
    if problems:
        raise ValueError(f"other_scene_context of {clip.name} and {other.name}: " + "; ".join(problems) + ".")
    frames = other.context_frames.copy()
    frames[clip.anchor] = clip.context_frames[clip.anchor]
    return replace(clip, context_frames=frames, context_depth=None)


def anchor_only(clip: Clip) -> Clip:
    """The clip with the anchor frame as its only context: image to video."""
    return clip.with_context([clip.anchor])


def _truth(clip: Clip, row: str) -> np.ndarray:
    if clip.target_frames is None:
        raise ValueError(f"clip {clip.name}: {row} needs the true frames.")
    return clip.target_frames

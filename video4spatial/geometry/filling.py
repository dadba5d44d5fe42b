"""Pixels of which nothing is known, filled smoothly from around them."""

import torch
from torch.nn import functional as F


def filled(pictures: torch.Tensor, known: torch.Tensor, fallback: float = 0.0) -> torch.Tensor:
    """Pictures whose unknown pixels take weighted means of what is known around them, from ever coarser levels of a pyramid
    (pull-push: Gortler et al., The Lumigraph, 1996).

    Args:
        pictures: [N, C, H, W]; values of unknown pixels are not looked at.
        known: [N, 1, H, W] bool, or from 0 to 1.
        fallback: value of pictures of which nothing is known.

    Returns:
        [N, C, H, W]; known pixels stay as they are.
    """
    weight = known.to(pictures.dtype)
    height, width = pictures.shape[-2:]
    if height == 1 and width == 1:
        return pictures * weight + fallback * (1 - weight)
    pad = [0, width % 2, 0, height % 2]
    held = F.avg_pool2d(F.pad(pictures * weight, pad), 2)
    share = F.avg_pool2d(F.pad(weight, pad), 2)
    coarse = filled(held / share.clamp(min=1e-6), (4 * share).clamp(max=1), fallback)
    below = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return pictures * weight + below * (1 - weight)

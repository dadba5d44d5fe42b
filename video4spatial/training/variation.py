"""Random draws of a training, and how pictures of simulated rooms are varied so that networks that read geometry carry over to real
footage."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def happens(probability: float, generator: torch.Generator) -> bool:
    """A draw that is true with this probability."""
    return float(torch.rand((), generator=generator)) < probability


def uniform(low: float, high: float, generator: torch.Generator, shape: tuple[int, ...] = ()) -> Tensor:
    """Numbers drawn evenly between two bounds."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def varied_light(views: Tensor, generator: torch.Generator) -> Tensor:
    """Views of one place as another camera in another light would take them.

    Light and colour change for all of them alike, exposure a little for each, and there may be blur and noise.

    Args:
        views: [V, 3, H, W] from 0 to 1.
        generator: source of the variation.

    Returns:
        [V, 3, H, W] from 0 to 1.
    """
    count = len(views)
    gain = torch.exp(uniform(-0.25, 0.25, generator, (3, 1, 1)) + float(uniform(-0.3, 0.3, generator)))
    views = (views * gain).clamp(0, 1) ** math.exp(float(uniform(-0.4, 0.4, generator)))
    grey = views.mean(1, keepdim=True)
    views = grey + (views - grey) * float(uniform(0.4, 1.3, generator))
    middle = views.mean()
    views = middle + (views - middle) * float(uniform(0.6, 1.3, generator)) + float(uniform(-0.08, 0.08, generator))
    if happens(0.5, generator):
        views = views * torch.exp(0.06 * torch.randn(count, 1, 1, 1, generator=generator))
    if happens(0.4, generator):
        views = blurred(views, float(uniform(0.3, 1.2, generator)))
    if happens(0.5, generator):
        views = views + float(uniform(0.0, 0.04, generator)) * torch.randn(views.shape, generator=generator)
    return views.clamp(0, 1)


def blurred(views: Tensor, sigma: float) -> Tensor:
    """Views [V, C, H, W] under a Gaussian of `sigma` pixels."""
    reach = max(1, math.ceil(2.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(views)
    channels = views.shape[1]
    for shape, padding in (((1, 1, 1, -1), [reach, reach, 0, 0]), ((1, 1, -1, 1), [0, 0, reach, reach])):
        weight = kernel.view(shape).expand(channels, 1, *kernel.view(shape).shape[2:])
        views = F.conv2d(F.pad(views, padding, mode="replicate"), weight, groups=channels)
    return views

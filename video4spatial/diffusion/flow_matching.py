"""Flow matching on the target latents only (Lipman et al., 2023; Liu et al., Rectified Flow, 2023).

Noisy latents are x_sigma = (1 - sigma) x + sigma e; the flow is e - x. The scheduler owns the sigmas at sampling; here are only
those that training draws.
"""

from typing import Literal

import torch

PredictionType = Literal["flow", "sample"]


def draw_sigmas(batch_size: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Noise levels for training: uniform, then shifted towards noise.

    Args:
        batch_size: how many.
        shift: s in sigma = s u / (1 + (s - 1) u) (Esser et al., Stable Diffusion 3, 2024, eq. 23); 1 leaves them uniform.
        generator: source of randomness.

    Returns:
        [B] float32 in (0, 1).
    """
    uniform = torch.rand(batch_size, generator=generator, device=generator.device).clamp(1e-4, 1 - 1e-4)
    return shift * uniform / (1 + (shift - 1) * uniform)


def add_noise(latents: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """x_sigma of latents [B, C, F, H, W] with one noise level per sample [B]."""
    sigmas = sigmas.view(-1, 1, 1, 1, 1)
    return (1 - sigmas) * latents + sigmas * noise


def to_flow(
    prediction: torch.Tensor, noisy: torch.Tensor, sigma: torch.Tensor | float, prediction_type: PredictionType
) -> torch.Tensor:
    """What the scheduler steps along, from what the model predicts.

    Args:
        prediction: [B, C, F, H, W] flow or clean latents.
        noisy: [B, C, F, H, W] the model's input.
        sigma: its noise level (a number or a tensor that broadcasts), above 0.
        prediction_type: what the prediction is.
    """
    return prediction if prediction_type == "flow" else (noisy - prediction) / sigma


def flow_matching_loss(
    prediction: torch.Tensor,
    latents: torch.Tensor,
    noise: torch.Tensor,
    sigmas: torch.Tensor,
    prediction_type: PredictionType,
    smallest_sigma: float = 0.3,
) -> torch.Tensor:
    """Mean squared error of the flow.

    A model that predicts clean latents is weighted as if it predicted the flow, 1 / sigma^2, with sigma bounded below so that the
    nearly clean inputs do not outweigh all others (Li and He, Back to Basics: Let Denoising Generative Models Denoise, 2025).

    Args:
        prediction, latents, noise: [B, C, F, H, W] of the target latents, without the anchor's.
        sigmas: [B] noise levels.
        prediction_type: what `prediction` is.
        smallest_sigma: the bound.

    Returns:
        Scalar loss.
    """
    if prediction_type == "flow":
        return (prediction.float() - (noise - latents)).square().mean()
    weight = sigmas.clamp(min=smallest_sigma).square().reciprocal().view(-1, 1, 1, 1, 1)
    return (weight * (prediction.float() - latents).square()).mean()

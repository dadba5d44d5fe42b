"""What a term of the objective is given, and what it must have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from video4spatial.models import Geometry
from video4spatial.training.sampler import Batch


@dataclass(frozen=True)
class StepOutputs:
    """What a step gave.

    Args:
        batch: that it took.
        prediction: [B, C, F, h, w] of the targets after the anchor.
        targets, noise: [B, C, F, h, w] clean latents and the noise in them.
        sigmas: [B] noise levels.
        prediction_type: what the prediction is: flow or sample.
        geometry: what the geometry heads read of the context frames `batch.in_full`; None where there was nothing to read.
    """

    batch: Batch
    prediction: torch.Tensor
    targets: torch.Tensor
    noise: torch.Tensor
    sigmas: torch.Tensor
    prediction_type: str
    geometry: Geometry | None = None


class LossTerm(ABC):
    """A term of the objective.

    Args:
        weight: of the term in the sum; 0 leaves it out.

    Attributes:
        name: in logs.
        reads_geometry: whether it needs what the geometry heads read.

    Raises:
        ValueError: for a negative weight.
    """

    name: str
    reads_geometry: bool = False

    def __init__(self, weight: float = 1.0):
        if weight < 0:
            raise ValueError(f"weight {weight} of {type(self).__name__}: expected at least 0.")
        self.weight = weight

    @abstractmethod
    def __call__(self, outputs: StepOutputs) -> torch.Tensor | None:
        """The scalar loss of a step, not weighted; None where the step has nothing to say."""

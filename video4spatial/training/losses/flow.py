"""Flow matching on the targets."""

import torch

from video4spatial.diffusion import flow_matching_loss
from video4spatial.training.losses.term import LossTerm, StepOutputs


class FlowLoss(LossTerm):
    """Mean squared error of the flow (`diffusion.flow_matching_loss`).

    Args:
        weight: of the term in the sum.
    """

    name = "flow"

    def __call__(self, outputs: StepOutputs) -> torch.Tensor:
        """The loss of the targets after the anchor."""
        return flow_matching_loss(outputs.prediction, outputs.targets, outputs.noise, outputs.sigmas, outputs.prediction_type)

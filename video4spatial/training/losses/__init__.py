"""The terms of the objective, a module each. A new term is a class with the attributes of `LossTerm`, named in a configuration.

    losses:
      - class_path: video4spatial.training.losses.FlowLoss
      - {class_path: video4spatial.training.losses.PointsLoss, init_args: {weight: 0.2}}
"""

from video4spatial.training.losses.flow import FlowLoss
from video4spatial.training.losses.geometry import CameraLoss, PointsLoss
from video4spatial.training.losses.term import LossTerm, StepOutputs

__all__ = ["CameraLoss", "FlowLoss", "LossTerm", "PointsLoss", "StepOutputs"]

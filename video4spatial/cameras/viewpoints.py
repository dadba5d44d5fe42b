"""How far apart viewpoints are: the one measure for choosing context frames, sharing out time and comparing paths."""

from __future__ import annotations

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.motions import DEGREES_PER_METRE


def viewpoint_distance(first: Cameras, second: Cameras) -> Tensor:
    """Distance between viewpoints: metres + degrees / 45, where degrees are those of the whole rotation.

    Args:
        first: [..., T] cameras.
        second: [..., N] cameras of the same world. Leading batch axes broadcast against those of `first`.

    Returns:
        [..., T, N] float64. Where the cameras are not metric, their unit stands for metres.
    """
    metres = torch.cdist(first.positions, second.positions)
    relative = first.rotations[..., :, None, :, :].mT @ second.rotations[..., None, :, :, :]
    trace = torch.diagonal(relative, dim1=-2, dim2=-1).sum(-1)
    degrees = torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))
    return metres + degrees / DEGREES_PER_METRE

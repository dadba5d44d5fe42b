"""Losses of the geometry heads: where the context's pixels are, and where its cameras stand."""

import torch
from torch.nn import functional as F

from video4spatial.cameras import Cameras
from video4spatial.training.losses.term import LossTerm, StepOutputs


class PointsLoss(LossTerm):
    """Error of the point maps, relative to the distance of the points. Only pixels of known depth count.

    Args:
        weight: of the term in the sum.
    """

    name = "points"
    reads_geometry = True

    def __init__(self, weight: float = 0.2):
        super().__init__(weight)

    def __call__(self, outputs: StepOutputs) -> torch.Tensor | None:
        """The mean over pixels and coordinates; None where no context frame was in full."""
        if outputs.geometry is None:
            return None
        batch, frames = outputs.batch, outputs.batch.in_full
        depth = batch.context_depth[:, frames]
        truth = points_of_depth(depth, batch.context_cameras[frames])
        known = (depth > 0).unsqueeze(2)
        errors = (outputs.geometry.points - truth).abs() / (1 + truth.norm(dim=2, keepdim=True)) * known
        return errors.sum() / (3 * known.sum()).clamp(min=1)


class CameraLoss(LossTerm):
    """Error of the relative cameras: smooth L1 of rotation matrices (about radians) and of positions (metres).

    Args:
        weight: of the term in the sum.
    """

    name = "camera"
    reads_geometry = True

    def __call__(self, outputs: StepOutputs) -> torch.Tensor | None:
        """The sum of both means; None where no context frame was in full."""
        if outputs.geometry is None:
            return None
        geometry, frames = outputs.geometry, outputs.batch.in_full
        poses = outputs.batch.context_cameras[frames].camera_to_world.float().to(geometry.translation.device)
        rotation = F.smooth_l1_loss(geometry.rotation, poses[..., :3, :3])
        translation = F.smooth_l1_loss(geometry.translation.float(), poses[..., :3, 3])
        return rotation + translation


def points_of_depth(depth: torch.Tensor, cameras: Cameras) -> torch.Tensor:
    """Where the pixels of depth maps are, in the frame that the cameras stand in.

    Args:
        depth: [S, n, h, w] along the optical axis, at pixel centres.
        cameras: [S, n] of the maps.

    Returns:
        [S, n, 3, h, w] float32, in the unit of the depth.
    """
    height, width = depth.shape[-2:]
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    pixels = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)])
    to_frame = (cameras.rotations @ torch.linalg.inv(cameras.intrinsics)).float().to(depth.device)
    directions = torch.einsum("bnij,jhw->bnihw", to_frame, pixels.to(depth.device))
    return directions * depth.unsqueeze(2) + cameras.positions.float().to(depth.device)[..., None, None]

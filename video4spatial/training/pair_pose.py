"""Training of the network of pair motions: motions with calibrated errors, and the matches and depth that they are read from."""

from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.models.pair_pose import PairPoseNetwork, place_centres
from video4spatial.training.pair_data import PairBatch, PairData
from video4spatial.training.progress import Progress

HIDDEN = 0.15
"""Difference of log depth above which a place is taken to be hidden from the other camera."""


class PairPoseModule(lightning.LightningModule):
    """Trains a `PairPoseNetwork` on pairs of pictures of which motion and depth are known.

    The errors of turns (as angles) and shifts (as lengths) are taken to be exponentially distributed with the scale that the network
    states, so that scales become the errors to be expected (as in Kendall and Gal, NeurIPS 2017).

    Args:
        network: keyword arguments of `PairPoseNetwork`; None takes its defaults.
        init_from: folder of a network to start from, which then says the arguments; None starts anew.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        warmup_steps: steps of linear warm-up.
        decay_from: share of training after which the rate falls linearly to a twentieth.
        match_weight: weight of the cross-entropy of places and where they really are in the other picture.
        depth_weight: weight of the absolute error of log depth.

    Raises:
        ValueError: for rates and weights that cannot train.
    """

    def __init__(
        self,
        network: dict[str, Any] | None = None,
        init_from: str | None = None,
        learning_rate: float = 7e-4,
        weight_decay: float = 0.01,
        warmup_steps: int = 150,
        decay_from: float = 0.5,
        match_weight: float = 0.3,
        depth_weight: float = 0.5,
    ):
        values = {"learning_rate": learning_rate, "warmup_steps": warmup_steps, "match_weight": match_weight, "depth_weight": depth_weight}
        wrong = [f"{name} {value}" for name, value in values.items() if value < 0]
        if wrong or not 0 <= decay_from < 1:
            raise ValueError(f"model.{', '.join([*wrong, f'decay_from {decay_from}'])}: expected at least 0, and decay_from below 1.")
        super().__init__()
        self.save_hyperparameters()
        if init_from is None:
            self.network = PairPoseNetwork(**(network or {}))
        else:
            self.network = PairPoseNetwork.from_pretrained(init_from, torch_dtype=torch.float32, use_safetensors=True)

    def check_data(self, data: lightning.LightningDataModule) -> None:
        """Refuse data that are no pairs of pictures of the network's size.

        Args:
            data: that it is to be trained on.

        Raises:
            ValueError: for other data.
        """
        size = self.network.config.size
        if not isinstance(data, PairData) or data.hparams.size != size:
            raise ValueError(f"model.network is trained on pairs of pictures of {size} pixels: expected PairData with data.size {size}.")

    def training_step(self, batch: PairBatch, batch_index: int) -> Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch))
        return losses["loss"]

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """How well motions, matches and depth are read.

        Returns:
            `loss`, its parts, and the mean errors of turns (degrees) and shifts (metres) of the pairs that share what they see.
        """
        first, second = batch.pairs.unbind(1)
        places = self.network.places(batch.pictures, batch.intrinsics)
        similarity = self.network.similarity(places[first], places[second])
        motions = self.network.motions(places[first], places[second], similarity)
        poses = batch.camera_to_world
        rotation = poses[first, :3, :3].mT @ poses[second, :3, :3]
        shift = (poses[first, :3, :3].mT @ (poses[second, :3, 3:] - poses[first, :3, 3:]))[..., 0]
        turn_error = _angle(motions.rotation, rotation)
        shift_error = torch.linalg.vector_norm(motions.translation - shift, dim=-1)
        target, visible = true_places(batch, rotation, shift)
        shared = visible.float().mean(-1)
        matched = (match_loss(similarity, target) * visible).sum() / visible.sum().clamp(min=1)
        depth = (places.log_depth - batch.log_depth).abs().mean()
        turning = (turn_error * (-motions.log_rotation_error).exp() + motions.log_rotation_error).mean()
        shifting = (shift_error * (-motions.log_translation_error).exp() + motions.log_translation_error).mean()
        loss = turning + shifting + self.hparams.match_weight * matched + self.hparams.depth_weight * depth
        known = shared > 0.2
        return {
            "loss": loss, "turning": turning.detach(), "shifting": shifting.detach(), "matches": matched.detach(), "depth": depth.detach(),
            "turn_degrees": torch.rad2deg(turn_error.detach()[known]).mean(), "shift_metres": shift_error.detach()[known].mean(),
        }  # fmt: skip

    def configure_optimizers(self):
        """AdamW."""
        options = {"lr": self.hparams.learning_rate, "weight_decay": self.hparams.weight_decay}
        return torch.optim.AdamW(self.network.parameters(), betas=(0.9, 0.99), **options)

    def on_train_batch_start(self, batch: PairBatch, batch_index: int) -> None:
        """Warm up, and fall in the end."""
        progress, begin = Progress.of(self.trainer).at(self.global_step), self.hparams.decay_from
        falling = 1 - 0.95 * max(0.0, progress - begin) / (1 - begin)
        scale = min(1.0, (self.global_step + 1) / max(1, self.hparams.warmup_steps)) * falling
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale


def _angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle [P] in radians between rotations; its gradient stays finite where they are equal."""
    sine = (first - second).square().sum((-1, -2)).div(8).clamp(min=1e-10).sqrt()
    return 2 * torch.asin(sine.clamp(max=0.9999))


def true_places(batch: PairBatch, rotation: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Where the places of the first pictures are in the second ones.

    Args:
        batch: with depth.
        rotation, shift: [P, 3, 3] and [P, 3] true motions of its pairs.

    Returns:
        Shares [P, G, 2] of the second pictures' width and height, and whether each place is seen there [P, G].
    """
    first, second = batch.pairs.unbind(1)
    grid = round(batch.log_depth.shape[1] ** 0.5)
    centres = F.pad(place_centres(grid, batch.pictures.device), (0, 1), value=1.0)
    rays = centres @ torch.linalg.inv(batch.intrinsics).mT  # [B, G, 3]
    points = (rays * batch.log_depth.exp()[..., None])[first]
    moved = (points - shift[:, None]) @ rotation  # axes of the second camera
    depth = moved[..., 2]
    projected = moved / depth.clamp(min=1e-3)[..., None] @ batch.intrinsics[second].mT
    target = projected[..., :2]
    inside = (depth > 0.05) & (target > 0).all(-1) & (target < 1).all(-1)
    there = F.grid_sample(
        batch.log_depth[second].unflatten(1, (1, grid, grid)), (2 * target - 1)[:, None], mode="nearest", align_corners=False
    )  # fmt: skip
    return target, inside & ((depth.clamp(min=1e-3).log() - there[:, 0, 0]).abs() < HIDDEN)


def match_loss(similarity: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy [P, G] of matches [P, G, G] against the four places around each target [P, G, 2], by nearness."""
    grid = round(similarity.shape[-1] ** 0.5)
    place = (target * grid - 0.5).clamp(0, grid - 1 - 1e-4)
    corner = place.floor()
    weight = place - corner
    logarithms, total = similarity.log_softmax(-1), 0
    for right in (0, 1):
        for below in (0, 1):
            column, row = (corner[..., 0] + right).long(), (corner[..., 1] + below).long()
            share = (weight[..., 0] if right else 1 - weight[..., 0]) * (weight[..., 1] if below else 1 - weight[..., 1])
            total = total - share * logarithms.gather(-1, (row * grid + column)[..., None])[..., 0]
    return total

"""The navigation objective: flow matching on targets, geometry on the context."""

import difflib
import inspect
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.nn import functional as F

from video4spatial.diffusion import add_noise, draw_sigmas, flow_matching_loss
from video4spatial.models import Geometry, Video4SpatialTransformer3DModel
from video4spatial.training.batches import NavigationBatch


class NavigationModule(lightning.LightningModule):
    """Trains the transformer.

    Args:
        transformer: keyword arguments of `Video4SpatialTransformer3DModel`.
        init_from: folder of a transformer to start from (weights only); None starts anew.
        learning_rate: of AdamW.
        weight_decay: of AdamW, on matrices only.
        warmup_steps: steps of linear warm-up; also after a restart from weights.
        decay_from: share of training after which the rate falls linearly to a twentieth.
        noise_shift: shift of the training noise towards high levels.
        points_weight, camera_weight: weights of the geometry losses on context tokens; 0 trains without.

    Raises:
        ValueError: for keyword arguments that the transformer does not have.
    """

    def __init__(
        self,
        transformer: dict[str, Any],
        init_from: str | None = None,
        learning_rate: float = 6e-4,
        weight_decay: float = 0.01,
        warmup_steps: int = 200,
        decay_from: float = 0.75,
        noise_shift: float = 3.0,
        points_weight: float = 0.2,
        camera_weight: float = 1.0,
    ):
        known = list(inspect.signature(Video4SpatialTransformer3DModel.__init__).parameters)[1:]
        wrong = [name for name in transformer if name not in known]
        if wrong:
            close = difflib.get_close_matches(wrong[0], known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"model.transformer: unknown key {', '.join(map(repr, wrong))}{hint}.")
        super().__init__()
        self.save_hyperparameters()
        if init_from is None:
            self.transformer = Video4SpatialTransformer3DModel(**transformer)
        else:
            self.transformer = Video4SpatialTransformer3DModel.from_pretrained(Path(init_from))
        self.progress_of = lambda step: step / max(self.trainer.max_steps, 1)

    def training_step(self, batch: NavigationBatch, batch_index: int) -> torch.Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch.latents))
        return losses["loss"]

    def losses(self, batch: NavigationBatch) -> dict[str, torch.Tensor]:
        """Flow-matching loss of the targets and, where there is a context, the losses of the geometry heads."""
        config, model = self.transformer.config, self.transformer
        targets = batch.latents[:, :, 1:]
        sigmas = draw_sigmas(len(targets), self.hparams.noise_shift, batch.generator).to(targets.device)
        noise = torch.randn(targets.shape, generator=batch.generator).to(targets)
        noisy = add_noise(targets, noise, sigmas)
        timesteps = (1000 * sigmas)[:, None].expand(-1, targets.shape[2])
        weights = {"flow": 1.0, "points": self.hparams.points_weight, "camera": self.hparams.camera_weight}
        losses = {}
        if batch.drop_conditions:
            prediction = model(noisy, timesteps, positions=batch.positions[:, 1:]).sample
        else:
            context, states = None, []
            start = 0
            for length in batch.segments:
                part = slice(start, start + length)
                scene_rays = batch.context_scene_rays[:, part] if batch.context_cameras_known else None
                context, hidden = model.encode_context(
                    batch.context_latents[:, :, part], batch.context_positions[:, part], scene_rays, context
                )
                states.append(hidden)
                start += length
            if config.geometry_heads and (weights["points"] > 0 or weights["camera"] > 0):
                geometry = model.read_geometry(torch.cat(states, dim=1), *targets.shape[-2:])
                losses |= geometry_losses(geometry, batch)
            prediction = model(
                torch.cat([batch.latents[:, :, :1], noisy], dim=2),
                torch.cat([torch.zeros_like(timesteps[:, :1]), timesteps], dim=1),
                positions=batch.positions,
                rays=batch.rays,
                scene_rays=batch.scene_rays if batch.context_cameras_known else None,
                context=context if batch.targets_per_context == 1 else context.repeated(batch.targets_per_context),
            ).sample[:, :, 1:]
        flow = flow_matching_loss(prediction, targets, noise, sigmas, config.prediction_type)
        losses = {"flow": flow, **losses}
        return {"loss": sum(weights[name] * value for name, value in losses.items()), **losses}

    def configure_optimizers(self):
        """AdamW; matrices decay, vectors do not."""
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        vectors = [p for p in self.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": self.hparams.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.hparams.learning_rate, betas=(0.9, 0.99))

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up by steps, then hold, then fall with the progress of training (by steps or by a time budget)."""
        warmup = min(1.0, (self.global_step + 1) / max(self.hparams.warmup_steps, 1))
        left = (1 - self.progress_of(self.global_step)) / (1 - self.hparams.decay_from)
        rate = self.hparams.learning_rate * warmup * min(1.0, max(left, 0.05))
        for group in self.optimizers().param_groups:
            group["lr"] = rate


def geometry_losses(geometry: Geometry, batch: NavigationBatch) -> dict[str, torch.Tensor]:
    """How far the heads are from the truth: points relative to their distance, cameras in metres and radians (about).

    Args:
        geometry: read from the context tokens.
        batch: holds the truth.
    """
    distance = batch.points.norm(dim=2, keepdim=True)
    known = batch.points_known.unsqueeze(2)
    errors = (geometry.points - batch.points).abs() / (1 + distance) * known
    points = errors.sum() / (3 * known.sum()).clamp(min=1)
    rotation = F.smooth_l1_loss(geometry.rotation, batch.context_poses[..., :3, :3])
    translation = F.smooth_l1_loss(geometry.translation.float(), batch.context_poses[..., :3, 3])
    return {"points": points, "camera": rotation + translation}

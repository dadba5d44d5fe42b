"""The navigation objective: flow matching on targets, geometry on the context."""

import difflib
import inspect
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.nn import functional as F

from video4spatial.diffusion import add_noise, draw_sigmas, flow_matching_loss
from video4spatial.models import ContextCache, Geometry, Video4SpatialTransformer3DModel
from video4spatial.training.batches import Curriculum, NavigationBatch
from video4spatial.training.progress import Progress

TRAINED_NULLS = ("null_context", "null_instruction")
"""Keys of the transformer's configuration that say what training has left out; they change nothing of its weights."""


class NavigationModule(lightning.LightningModule):
    """Trains the transformer.

    Args:
        transformer: keyword arguments of `Video4SpatialTransformer3DModel`.
        init_from: folder of a transformer to start from, with its own configuration: of `transformer` only `null_context` and
            `null_instruction` are taken, where given; None starts anew.
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
            nulls = {name: transformer[name] for name in TRAINED_NULLS if name in transformer}
            self.transformer = Video4SpatialTransformer3DModel.from_pretrained(Path(init_from), **nulls)

    def setup(self, stage: str) -> None:
        """Refuse a curriculum of which the transformer's configuration would not tell."""
        if self.trainer.datamodule is not None:
            check_nulls(self.transformer.config, self.trainer.datamodule.curriculum)

    def training_step(self, batch: NavigationBatch, batch_index: int) -> torch.Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch.latents))
        return losses["loss"]

    def losses(self, batch: NavigationBatch) -> dict[str, torch.Tensor]:
        """Flow-matching loss of the targets and, where context is seen in full, the losses of the geometry heads.

        Where all conditions are dropped, one of the null contexts of the transformer's configuration takes their place.
        """
        config, model = self.transformer.config, self.transformer
        targets = batch.latents[:, :, 1:]
        sigmas = draw_sigmas(len(targets), self.hparams.noise_shift, batch.generator).to(targets.device)
        noise = torch.randn(targets.shape, generator=batch.generator).to(targets)
        noisy = add_noise(targets, noise, sigmas)
        timesteps = (1000 * sigmas)[:, None].expand(-1, targets.shape[2])
        weights = {"flow": 1.0, "points": self.hparams.points_weight, "camera": self.hparams.camera_weight}
        losses = {}
        if batch.drop_conditions:
            kinds, context = tuple(config.null_context), None
            which = int(torch.randint(len(kinds), (), generator=batch.generator)) if len(kinds) > 1 else 0
            if kinds[which] == "noise":
                nothing = torch.randn(batch.context_latents.shape, generator=batch.generator).to(targets)
                context, _ = self._encode_context(batch, nothing, None, timestep=1000.0)
            prediction = model(noisy, timesteps, positions=batch.positions[:, 1:], context=context).sample
        else:
            context_rays = batch.context_scene_rays if batch.context_cameras_known else None
            reads = config.geometry_heads and (weights["points"] > 0 or weights["camera"] > 0)
            context, states = self._encode_context(batch, batch.context_latents, context_rays, return_states=reads)
            if states:
                geometry = model.read_geometry(torch.cat(states, dim=1), *targets.shape[-2:])
                losses |= geometry_losses(geometry, batch)
            prediction = model(
                torch.cat([batch.latents[:, :, :1], noisy], dim=2),
                torch.cat([torch.zeros_like(timesteps[:, :1]), timesteps], dim=1),
                positions=batch.positions,
                rays=None if batch.drop_instruction else batch.rays,
                scene_rays=batch.scene_rays if batch.context_cameras_known and not batch.drop_instruction else None,
                context=context,
            ).sample[:, :, 1:]
        flow = flow_matching_loss(prediction, targets, noise, sigmas, config.prediction_type)
        losses = {"flow": flow, **losses}
        return {"loss": sum(weights[name] * value for name, value in losses.items()), **losses}

    def _encode_context(
        self, batch: NavigationBatch, latents: torch.Tensor, scene_rays: torch.Tensor | None, timestep: float = 0.0,
        return_states: bool = False,
    ) -> tuple[ContextCache, list[torch.Tensor]]:  # fmt: skip
        """The batch's segments of context latents, for each of its targets, and (if asked for) the last states of those that are not
        pooled."""
        cache, states = None, []
        for segment in batch.segments:
            part = list(segment.latents)
            cache, hidden = self.transformer.encode_context(
                latents[:, :, part],
                batch.context_positions[:, part],
                None if scene_rays is None else scene_rays[:, part],
                cache,
                pool=segment.pool,
                timestep=timestep,
                return_states=return_states and segment.pool == 1,
            )
            if hidden is not None:
                states.append(hidden)
        return cache if batch.targets_per_context == 1 else cache.repeated(batch.targets_per_context), states

    def configure_optimizers(self):
        """AdamW; matrices decay, vectors do not."""
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        vectors = [p for p in self.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": self.hparams.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.hparams.learning_rate, betas=(0.9, 0.99))

    def on_train_batch_start(self, batch, batch_index: int) -> None:
        """Warm up by steps, then hold, then fall with the progress of training (by steps or by a time budget)."""
        warmup = min(1.0, (self.global_step + 1) / max(self.hparams.warmup_steps, 1))
        left = (1 - Progress.of(self.trainer).at(self.global_step)) / (1 - self.hparams.decay_from)
        rate = self.hparams.learning_rate * warmup * min(1.0, max(left, 0.05))
        for group in self.optimizers().param_groups:
            group["lr"] = rate


def check_nulls(config: Any, curriculum: Curriculum) -> None:
    """A model folder must tell which null branches its model has learned, as guidance relies on it.

    Args:
        config: of the transformer.
        curriculum: that it is to be trained with.

    Raises:
        ValueError: where the curriculum drops the instruction alone and the configuration does not say so.
    """
    if curriculum.drop_instruction_probability > 0 and not config.null_instruction:
        raise ValueError(
            f"curriculum.drop_instruction_probability {curriculum.drop_instruction_probability} trains a null instruction, and the "
            "transformer's configuration says there is none: set model.transformer.null_instruction to true, or the probability to 0."
        )


def geometry_losses(geometry: Geometry, batch: NavigationBatch) -> dict[str, torch.Tensor]:
    """How far the heads are from the truth: points relative to their distance, cameras in metres and radians (about).

    Args:
        geometry: read from the tokens of the context latents `batch.in_full`.
        batch: holds the truth.
    """
    truth, poses = batch.points[:, batch.in_full], batch.context_poses[:, batch.in_full]
    distance = truth.norm(dim=2, keepdim=True)
    known = batch.points_known[:, batch.in_full].unsqueeze(2)
    errors = (geometry.points - truth).abs() / (1 + distance) * known
    points = errors.sum() / (3 * known.sum()).clamp(min=1)
    rotation = F.smooth_l1_loss(geometry.rotation, poses[..., :3, :3])
    translation = F.smooth_l1_loss(geometry.translation.float(), poses[..., :3, 3])
    return {"points": points, "camera": rotation + translation}

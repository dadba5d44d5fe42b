"""The training of the denoiser: one step through the same conditioning as sampling, and the sum of the loss terms."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from video4spatial.conditioning.inputs import Branch, Conditioner, ContextInputs, TargetInputs
from video4spatial.conditioning.passes import NOISE, SeenScene, predict, see_scene
from video4spatial.diffusion import add_noise, draw_sigmas
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.cost import PROCESS_BYTES, TransformerCost
from video4spatial.models.conditions.text import encode_prompt, load_text
from video4spatial.naming import did_you_mean
from video4spatial.pretrained import resolve_model
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import readable
from video4spatial.training.losses import CameraLoss, FlowLoss, LossTerm, PointsLoss, StepOutputs
from video4spatial.training.progress import Progress
from video4spatial.training.sampler import Batch

TRAINED_NULLS = ("null_context", "null_instruction")
"""Keys of the transformer's configuration that say what training has left out; they change nothing of its weights."""

COPIES_OF_WEIGHTS = 5
"""Weights, gradients, two moments of AdamW, and the average."""

LEAST_RATE = 0.05
"""The learning rate at the end, as a share of the highest."""


class DenoiserModule(lightning.LightningModule):
    """Trains the transformer, and the text encoder that it reads if asked to.

    Args:
        transformer: keyword arguments of `Video4SpatialTransformer3DModel`.
        init_from: name of a built-in model, or folder of a pipeline or a transformer, to start from with its own configuration. Of
            `transformer` only `null_context` and `null_instruction` are taken then, where given. None starts anew.
        text: folder with `text_encoder` and `tokenizer`, for transformers with a `text_dim`; None trains without words.
        train_text: whether the text encoder is trained as well.
        losses: terms of the objective; None for flow, points (0.2) and cameras (1.0).
        learning_rate: of AdamW.
        weight_decay: of AdamW, on matrices only.
        warmup_steps: steps of linear warm-up; also after a restart from weights.
        decay_from: share of training after which the rate falls linearly to a twentieth.
        noise_shift: shift of the noise levels towards noise, in training and in the models that are exported.

    Raises:
        ValueError: for keyword arguments that the transformer does not have, or a text encoder that does not fit it.
    """

    def __init__(
        self,
        transformer: dict[str, Any],
        init_from: str | None = None,
        text: str | None = None,
        train_text: bool = False,
        losses: list[LossTerm] | None = None,
        learning_rate: float = 6e-4,
        weight_decay: float = 0.01,
        warmup_steps: int = 200,
        decay_from: float = 0.75,
        noise_shift: float = 3.0,
    ):
        known = list(inspect.signature(Video4SpatialTransformer3DModel.__init__).parameters)[1:]
        wrong = [name for name in transformer if name not in known]
        if wrong:
            raise ValueError(f"model.transformer: unknown key {', '.join(map(repr, wrong))}{did_you_mean(wrong[0], known)}.")
        super().__init__()
        self.save_hyperparameters(ignore=["losses"])
        if init_from is None:
            self.transformer = Video4SpatialTransformer3DModel(**transformer)
        else:
            nulls = {name: transformer[name] for name in TRAINED_NULLS if name in transformer}
            self.transformer = Video4SpatialTransformer3DModel.from_pretrained(_weights_folder(init_from), use_safetensors=True, **nulls)
        self.terms = [FlowLoss(), PointsLoss(), CameraLoss()] if losses is None else losses
        _check_settings(self.terms, self.hparams)
        self.text_encoder = self.tokenizer = None
        if text is not None:
            self.text_encoder, self.tokenizer = load_text(Path(text))
            self.text_encoder.requires_grad_(train_text).train(train_text)
        _check_text(self.transformer.config.text_dim, self.text_encoder)

    @property
    def reads_text(self) -> bool:
        """Whether the model is told the words of instructions."""
        return self.text_encoder is not None

    def setup(self, stage: str) -> None:
        """Refuse data that the model cannot be trained on."""
        if self.trainer.datamodule is not None:
            check_fit(self, self.trainer.datamodule)

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch.latents))
        return losses["loss"]

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms of the objective on a batch by name, and their weighted sum as `loss`.

        Where all conditions are dropped, one of the null contexts of the transformer's configuration takes their place, and no
        geometry is read.
        """
        config, targets = self.transformer.config, batch.latents[:, :, 1:]
        sigmas = draw_sigmas(len(targets), self.hparams.noise_shift, batch.generator).to(targets.device)
        noise = torch.randn(targets.shape, generator=batch.generator).to(targets)
        context, told = self.conditions(batch)
        reads = config.geometry_heads and not batch.drop_conditions
        reads = reads and any(term.reads_geometry and term.weight > 0 for term in self.terms)
        scene = self._seen_scene(batch, context, reads)
        prediction, geometry = predict(
            self.transformer, add_noise(targets, noise, sigmas), 1000 * sigmas, told, scene, return_geometry=reads
        )
        outputs = StepOutputs(batch, prediction, targets, noise, sigmas, config.prediction_type, geometry)
        terms = {term: term(outputs) for term in self.terms if term.weight > 0}
        terms = {term: value for term, value in terms.items() if value is not None}
        total = sum(term.weight * value for term, value in terms.items())
        return {"loss": total, **{term.name: value for term, value in terms.items()}}

    def conditions(self, batch: Batch) -> tuple[ContextInputs, TargetInputs]:
        """What the transformer takes of a batch, as sampling gives it.

        Args:
            batch: whose flags say what is dropped.

        Returns:
            The scenes, and what their targets are told.
        """
        conditioner = Conditioner.of(self.transformer.config, batch.temporal_compression, batch.frame_rate)
        known = batch.context_cameras_known
        context = conditioner.context(
            batch.context_latents, batch.context_seconds, batch.context_cameras if known else None, batch.parts
        )
        branch: Branch = "null" if batch.drop_conditions else "context" if batch.drop_instruction else "instruction"
        instructions = [
            readable(instruction, batch.cameras.entry(index), self.reads_text) for index, instruction in enumerate(batch.instructions)
        ]
        words = [instruction.words if branch == "instruction" else "" for instruction in instructions]
        text = self._text(words)
        told = conditioner.targets(
            batch.latents[:, :, :1], batch.seconds, batch.start, instructions, batch.anchor_poses if known else None, text,
            batch.geometry,
        )
        return context, told.branch(branch, text)

    def _seen_scene(self, batch: Batch, context: ContextInputs, reads_geometry: bool) -> SeenScene:
        """What the targets of a batch see: their scenes, or one of the null contexts."""
        if not batch.drop_conditions:
            return see_scene(self.transformer, context, batch.targets_per_context, return_states=reads_geometry)
        kinds = tuple(self.transformer.config.null_context)
        which = int(torch.randint(len(kinds), (), generator=batch.generator)) if len(kinds) > 1 else 0
        if kinds[which] == "absent":
            return SeenScene()
        noise = torch.randn(batch.context_latents.shape, generator=batch.generator).to(batch.latents)
        return see_scene(self.transformer, context.replaced_by(noise), batch.targets_per_context, timestep=NOISE)

    def _text(self, words: Sequence[str]) -> torch.Tensor | None:
        """States [B, L, text_dim] of B texts; None for models that read none."""
        if not self.reads_text:
            return None
        return encode_prompt(self.tokenizer, self.text_encoder, list(words)).to(self.device)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; matrices decay, vectors do not."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": self.hparams.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.hparams.learning_rate, betas=(0.9, 0.99))

    def on_train_batch_start(self, batch: Batch, batch_index: int) -> None:
        """Warm up by steps, then hold, then fall with the progress of training (by steps or by a time budget)."""
        warmup = min(1.0, (self.global_step + 1) / max(self.hparams.warmup_steps, 1))
        left = (1 - Progress.of(self.trainer).at(self.global_step)) / (1 - self.hparams.decay_from)
        rate = self.hparams.learning_rate * warmup * min(1.0, max(left, LEAST_RATE))
        for group in self.optimizers().param_groups:
            group["lr"] = rate


def step_bytes(module: DenoiserModule, data: lightning.LightningDataModule) -> int:
    """Memory in bytes that the largest step of a training needs: weights, gradients, the optimiser's and averaged ones, activations.

    Args:
        module: the model.
        data: with an autoencoder and a curriculum.
    """
    cost, curriculum, options = TransformerCost.from_config(module.transformer.config), data.curriculum, data.hparams
    per_latent = cost.tokens_per_latent(*[options.size // data.spatial_compression] * 2)
    latents = 1 + min(curriculum.target_latents, -(-(options.target_frames - 1) // data.temporal_compression))
    contexts = max(options.batch_size // curriculum.targets_per_context, 1)
    frames = curriculum.context_frames[1] * (4 if curriculum.pooled_probability > 0 else 1)
    tokens = (options.batch_size * latents + contexts * frames) * per_latent
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return COPIES_OF_WEIGHTS * 4 * parameters + PROCESS_BYTES + cost.training_bytes(tokens, 4)


def check_fit(module: DenoiserModule, data: lightning.LightningDataModule) -> None:
    """A model must fit the data, and its folder must tell which null branches it has learned, as guidance relies on it.

    Args:
        module: the model.
        data: with an autoencoder and a curriculum.

    Raises:
        ValueError: naming everything that does not fit.
    """
    if not hasattr(data, "curriculum"):
        raise ValueError(f"data.class_path {type(data).__name__}: the model is trained on RoomsData or CuratedData.")
    config, curriculum, problems = module.transformer.config, data.curriculum, []
    channels = data.latent_channels
    if {config.in_channels, config.out_channels} != {channels}:
        problems.append(
            f"model.transformer's in_channels {config.in_channels} and out_channels {config.out_channels} do not fit the {channels} latent "
            f"channels of {data.hparams.autoencoder}: give both as {channels}"
        )
    try:
        Conditioner.of(config, data.temporal_compression, data.hparams.frame_rate)
    except ValueError as error:
        problems.append(str(error).rstrip("."))
    pools = curriculum.pools if curriculum.pooled_probability > 0 else (1,)
    multiples = sorted({data.spatial_compression * side * pool for side in config.patch_size[1:] for pool in pools})
    if any(data.hparams.size % multiple for multiple in multiples):
        problems.append(f"data.size {data.hparams.size}: expected a multiple of {' and '.join(map(str, multiples))}")
    if data.hparams.batch_size % curriculum.targets_per_context:
        problems.append(
            f"data.batch_size {data.hparams.batch_size}: expected a multiple of targets_per_context {curriculum.targets_per_context}"
        )
    if config.attention_mode == "full" and curriculum.pooled_probability > 0:
        problems.append("attention_mode full takes all context frames alike: set the curriculum's pooled_probability to 0")
    problems += _null_problems(config, curriculum)
    if problems:
        raise ValueError(f"the model and its data do not fit: {'; '.join(problems)}.")


def _null_problems(config: Any, curriculum: Curriculum) -> list[str]:
    if curriculum.drop_instruction_probability > 0 and not config.null_instruction:
        return [
            f"curriculum.drop_instruction_probability {curriculum.drop_instruction_probability} trains a null instruction, and the "
            "transformer's configuration says there is none: set model.transformer.null_instruction to true, or the probability to 0"
        ]
    return []


def _check_text(text_dim: int | None, text_encoder) -> None:
    if text_encoder is None and text_dim is not None:
        raise ValueError(f"model.transformer.text_dim {text_dim} without model.text: give the folder of a text encoder, or no text_dim.")
    width = None if text_encoder is None else text_encoder.config.d_model
    if width != text_dim:
        raise ValueError(f"model.text: its states are {width} wide, and model.transformer.text_dim is {text_dim}: give {width}.")


def _check_settings(terms: Sequence[LossTerm], settings: Any) -> None:
    """Refuse what would train nothing, or fail only in the first step."""
    problems = [] if any(term.weight > 0 for term in terms) else ["losses: expected at least one with a weight above 0"]
    for name, fits, wanted in (
        ("learning_rate", settings.learning_rate >= 0, "at least 0"),
        ("noise_shift", settings.noise_shift > 0, "more than 0"),
        ("warmup_steps", settings.warmup_steps >= 0, "at least 0"),
        ("weight_decay", settings.weight_decay >= 0, "at least 0"),
        ("decay_from", 0 <= settings.decay_from < 1, "from 0 to below 1"),
        ("train_text", settings.text is not None or not settings.train_text, "false without model.text"),
    ):
        if not fits:
            problems.append(f"{name} {settings[name]}: expected {wanted}")
    if problems:
        raise ValueError(f"model: {'; '.join(problems)}.")


def _weights_folder(init_from: str) -> Path:
    """The transformer's folder of a model that a training starts from; nothing is looked up elsewhere."""
    folder = resolve_model(init_from)
    folder = folder / "transformer" if (folder / "transformer").is_dir() else folder
    if not (folder / "config.json").is_file():
        raise ValueError(f"model.init_from: {init_from} holds neither a pipeline nor a transformer (no config.json).")
    return folder

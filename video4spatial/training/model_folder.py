"""What a training leaves: the averaged weights, and the pipeline folder."""

import json
from pathlib import Path

import lightning
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from lightning.pytorch.callbacks import WeightAveraging

from video4spatial.files import written_aside
from video4spatial.models.autoencoder import load_autoencoder
from video4spatial.models.refiner import PictureRefiner
from video4spatial.pipelines import Video4SpatialPipeline


def averaged(trainer: lightning.Trainer, module: lightning.LightningModule) -> lightning.LightningModule:
    """The module with averaged weights where a callback keeps them, else the module itself."""
    for callback in trainer.callbacks:
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            return callback._average_model.module
    return module


def build_pipeline(module: lightning.LightningModule, data: lightning.LightningDataModule, domain: str) -> Video4SpatialPipeline:
    """The pipeline that a transformer under training belongs to. It samples at the noise shift of the training.

    Args:
        module: with the transformer, the text encoder if it reads text, and `noise_shift` among its hyperparameters.
        data: its data module, which knows the autoencoder, the refiner of its frames, the picture size, the frame rate and the frames
            per video.
        domain: what the model has seen, in words.
    """
    aspects = data.hparams.get("aspects", ())
    return Video4SpatialPipeline(
        vae=load_autoencoder(data.hparams.autoencoder).to(module.transformer.device),
        transformer=module.transformer,
        text_encoder=module.text_encoder,
        tokenizer=module.tokenizer,
        refiner=None if data.hparams.refiner is None else _refiner(data.hparams.refiner),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=module.hparams.noise_shift),
        height=data.hparams.size,
        width=data.hparams.size,
        frame_rate=data.hparams.frame_rate,
        target_frames=data.hparams.target_frames,
        context_frames=data.curriculum.context_frames[1],
        domain=domain,
        least_aspect=min(aspects) if len(aspects) > 1 else None,
        greatest_aspect=max(aspects) if len(aspects) > 1 else None,
    )


def _refiner(folder: str) -> PictureRefiner:
    return PictureRefiner.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True)


def save_pipeline(pipeline: Video4SpatialPipeline, folder: str | Path) -> None:
    """Write a pipeline folder, whole or not at all. It does not tell which folders its parts were loaded from.

    Args:
        pipeline: to be written.
        folder: where to; what stands there is replaced.

    Raises:
        OSError: if it cannot be written.
    """
    with written_aside(folder) as aside:
        pipeline.save_pretrained(aside)
        forget_origin(aside)


def forget_origin(folder: Path) -> None:
    """Take out of a folder's configurations which folders its parts were loaded from.

    Args:
        folder: of a model, or of a pipeline.
    """
    for configuration in folder.rglob("*.json"):
        content = json.loads(configuration.read_text())
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            configuration.write_text(json.dumps(content, indent=2) + "\n")


def save_in_half_precision(
    model: Path, folder: str | Path, num_inference_steps: int | None = None, domain: str | None = None
) -> None:
    """Write a pipeline in half precision, as the built-in models are stored. It loads in single precision again.

    Args:
        model: folder of the pipeline.
        folder: where to write it; what stands there is replaced.
        num_inference_steps: denoising steps that it is used with unless others are asked for; None keeps what it says.
        domain: what the model has seen, in words; None keeps what it says.

    Raises:
        OSError: if it cannot be read or written.
    """
    # What makes pictures needs digits that bfloat16 would round away.
    dtypes = {"transformer": torch.bfloat16, "vae": torch.float16, "refiner": torch.float16}
    pipeline = Video4SpatialPipeline.from_pretrained(model, torch_dtype=dtypes, use_safetensors=True)
    said = {"num_inference_steps": num_inference_steps, "domain": domain}
    pipeline.register_to_config(**{name: value for name, value in said.items() if value is not None})
    save_pipeline(pipeline, folder)

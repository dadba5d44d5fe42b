"""Callbacks: a time budget, a plain progress log, validation videos, the export of a model folder."""

import json
import shutil
import time
from pathlib import Path

import lightning
import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler

from video4spatial.clips import Navigate
from video4spatial.evaluation.metrics.image import psnr
from video4spatial.media import write_video
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.pipelines import Video4SpatialPipeline
from video4spatial.training.sampler import Batch
from video4spatial.training.progress import TimeBudget  # noqa: F401


class JsonLog(lightning.Callback):
    """Appends one JSON line every so many steps: step, seconds, samples and tokens seen since the start, averaged losses.

    Args:
        path: file to append to.
        every: steps per line.
    """

    def __init__(self, path: str, every: int = 50):
        self.path, self.every = Path(path), every
        self.sums, self.count, self.started = {}, 0, None
        self.samples, self.tokens = 0, 0

    def on_train_start(self, trainer, module) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Add up; write when it is time."""
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/"):
                self.sums.setdefault(name.removeprefix("train/"), []).append(float(value))
        self.count += 1
        if isinstance(batch, Batch):
            self.samples += len(batch.latents)
            self.tokens += batch.num_tokens(module.transformer.tokens_per_latent(*batch.latents.shape[-2:]))
        else:
            self.samples += len(batch)
        if self.count % self.every == 0:
            self._write(trainer)

    def on_train_end(self, trainer, module) -> None:
        """Write what came after the last line."""
        if self.sums:
            self._write(trainer)

    def _write(self, trainer) -> None:
        line = {"step": trainer.global_step, "seconds": round(time.monotonic() - self.started, 1)}
        line |= {"samples": self.samples, "tokens": self.tokens}
        line |= {name: round(sum(values) / len(values), 5) for name, values in self.sums.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.sums = {}


class ExportPipeline(lightning.Callback):
    """Writes the model as a pipeline folder, every so many steps and at the end (with averaged weights where they are kept).

    Args:
        folder: where to; written aside, then renamed.
        domain: what the model has seen, in words.
        scheduler_shift: shift of the sampling noise levels.
        every: steps between exports; 0 exports at the end only.
        keep: keep every export, as FOLDER-stepN, to see what training buys (`benchmarks/training.py`).
    """

    def __init__(self, folder: str, domain: str, scheduler_shift: float = 3.0, every: int = 0, keep: bool = False):
        self.folder, self.domain, self.scheduler_shift = Path(folder), domain, scheduler_shift
        self.every, self.keep = every, keep

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Export when it is time."""
        if self.every and trainer.global_step % self.every == 0:
            self.export(trainer, module)

    def on_train_end(self, trainer, module) -> None:
        """Export the final weights."""
        self.export(trainer, module)

    def export(self, trainer, module) -> None:
        """Write the folder."""
        transformer = _averaged(trainer, module).transformer
        pipeline = build_pipeline(transformer, trainer.datamodule, self.domain, self.scheduler_shift)
        save_pipeline(pipeline, self.folder)
        if self.keep:
            save_pipeline(pipeline, self.folder.with_name(f"{self.folder.name}-step{trainer.global_step}"))


def build_pipeline(
    transformer: Video4SpatialTransformer3DModel,
    data: lightning.LightningDataModule,
    domain: str,
    scheduler_shift: float = 3.0,
) -> Video4SpatialPipeline:
    """The pipeline that a transformer under training belongs to.

    Args:
        transformer: the denoiser.
        data: its data module, which knows the autoencoder, the picture size and the frame rate.
        domain: what the model has seen, in words.
        scheduler_shift: shift of the sampling noise levels.
    """
    return Video4SpatialPipeline(
        vae=AutoencoderKL.from_pretrained(data.hparams.autoencoder).to(transformer.device).eval(),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=scheduler_shift),
        height=data.hparams.size,
        width=data.hparams.size,
        frame_rate=data.hparams.frame_rate,
        target_frames=data.hparams.target_frames,
        context_frames=data.curriculum.context_frames[1],
        domain=domain,
    )


def save_pipeline(pipeline: Video4SpatialPipeline, folder: Path) -> None:
    """Write a pipeline folder aside and put it in place, so that a reader never sees half of one."""
    folder = Path(folder)
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    pipeline.save_pretrained(aside)
    for configuration in aside.rglob("*.json"):
        content = json.loads(configuration.read_text())
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:  # the folder it was loaded from
            configuration.write_text(json.dumps(content, indent=2) + "\n")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _averaged(trainer, module):
    """The module with averaged weights if an averaging callback keeps them, else the module itself."""
    for callback in trainer.callbacks:
        if isinstance(callback, lightning.pytorch.callbacks.WeightAveraging) and callback._average_model is not None:
            return callback._average_model.module
    return module


class ValidationVideos(lightning.Callback):
    """Samples a few clips of validation scenes and writes them beside the truth, with their PSNR in a JSON line.

    Args:
        folder: where to write `step_NNNNNNN/NAME.mp4` (context | generated | truth) and `psnr.jsonl`.
        every: steps between runs.
        clips: how many.
        context_frames: frames of context.
        num_inference_steps: denoising steps.
    """

    def __init__(self, folder: str, every: int = 1000, clips: int = 4, context_frames: int = 8, num_inference_steps: int = 8):
        self.folder, self.every, self.clip_count = Path(folder), every, clips
        self.context_frames, self.num_inference_steps = context_frames, num_inference_steps
        self.clips = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index) -> None:
        """Sample when it is time, with the averaged weights and without touching the training's randomness."""
        if trainer.global_step == 0 or trainer.global_step % self.every:
            return
        self.clips = self.clips or trainer.datamodule.validation_clips(self.clip_count, self.context_frames)
        averaged = _averaged(trainer, module)
        pipeline = build_pipeline(averaged.transformer, trainer.datamodule, domain="")
        pipeline.set_progress_bar_config(disable=True)
        folder = self.folder / f"step_{trainer.global_step:07d}"
        scores = []
        for index, clip in enumerate(self.clips):
            context = pipeline.encode_context(clip.context_frames, clip.context_times)
            generator = torch.Generator().manual_seed(index)
            output = pipeline(
                context, Navigate(clip.target_cameras), clip.anchor, self.num_inference_steps, generator=generator
            )
            scores.append(float(np.mean(psnr(output.frames, clip.target_frames)[1:])))
            write_video(folder / f"{clip.name}.mp4", np.concatenate([output.frames, clip.target_frames], axis=2), 4.0)
        with (self.folder / "psnr.jsonl").open("a") as file:
            file.write(json.dumps({"step": trainer.global_step, "psnr": scores}) + "\n")

"""Videos of validation scenes, made while the model trains."""

import json
from pathlib import Path

import lightning
import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.metrics.image import psnr
from video4spatial.media import write_video
from video4spatial.pipelines import GenerationSettings, generate
from video4spatial.training.model_folder import averaged, build_pipeline
from video4spatial.training.resumption import continue_lines
from video4spatial.waits import track


class ValidationVideos(lightning.Callback):
    """Generates a few clips of validation scenes and writes them beside the truth, with their PSNR as a line of JSON.

    Averaged weights are taken where they are kept. The noise levels are those that the model trains for.

    Args:
        folder: where to write `step_NNNNNNN/NAME.mp4` (generated | truth, at the frame rate of the data) and `psnr.jsonl`.
        every: steps between runs.
        clips: how many.
        context_frames: frames of context.
        num_inference_steps: denoising steps.
    """

    def __init__(self, folder: str, every: int = 1000, clips: int = 4, context_frames: int = 8, num_inference_steps: int = 8):
        self.folder, self.every, self.clip_count = Path(folder), every, clips
        self.context_frames, self.num_inference_steps = context_frames, num_inference_steps
        self.clips: list[Clip] = []

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Go on with the file of the training before, or keep it under another name."""
        if trainer.is_global_zero:
            continue_lines(self.folder / "psnr.jsonl", trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_) -> None:
        """Generate when it is time. The random numbers of the training are not touched."""
        step, data = trainer.global_step, trainer.datamodule
        if step == 0 or step % self.every or not trainer.is_global_zero:
            return
        self.clips = self.clips or data.validation_clips(self.clip_count, self.context_frames, module.reads_text)
        if not self.clips:
            return
        pipeline = build_pipeline(averaged(trainer, module), data, domain="")
        pipeline.set_progress_bar_config(disable=True)
        scores = []
        for index, clip in enumerate(track(self.clips, "making validation videos")):
            frames = generate(pipeline, clip, GenerationSettings(self.num_inference_steps, seed=index, chunk_frames=0)).frames
            scores.append(float(np.mean(psnr(frames, clip.target_frames)[1:])))
            beside = np.concatenate([frames, clip.target_frames], axis=2)
            write_video(self.folder / f"step_{step:07d}" / f"{clip.name}.mp4", beside, data.hparams.frame_rate)
        with (self.folder / "psnr.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "psnr": scores}) + "\n")

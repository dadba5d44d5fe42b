"""Data modules: simulated rooms rendered on the spot (pictures or navigation batches), and curated data sets."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightning
import numpy as np
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch.utils.data import DataLoader, IterableDataset

from data_curation.readers import read_scene
from video4spatial.cameras import Cameras
from video4spatial.clips import Clip, Ground, Navigate
from video4spatial.clips.augmentation import AugmentationSettings, augment
from video4spatial.clips.dataset import ClipDataset
from video4spatial.clips.simulated import evenly_spread, simulated_navigation_clip
from video4spatial.models.autoencoder import encode
from video4spatial.simulation.scenes import SEED_RANGES
from video4spatial.training.bank import SceneBank, render_bank
from video4spatial.training.batches import Curriculum, EncodedClip, NavigationBatch, clip_batch, draw_batch
from video4spatial.training.progress import Progress

logger = logging.getLogger(__name__)


class _EndlessSteps(IterableDataset):
    """`draw(step)` for every step from the trainer's current one on, so that a resumed run goes on where it stopped."""

    def __init__(self, data: lightning.LightningDataModule):
        self.data = data

    def __iter__(self) -> Iterator:
        step = self.data.trainer.global_step
        while True:
            yield self.data.draw(step)
            step += 1


class RoomsData(lightning.LightningDataModule):
    """Simulated rooms, rendered when first needed and kept in a file.

    Args:
        bank: file the rendered scenes are kept in; rendered when it does not exist.
        scenes: how many, from the training seeds.
        variants: passes through each scene, with its own walk and targets.
        first_seed: the first of them, counted from the start of the training range.
        walk_frames, targets_per_scene, target_frames: sizes of a scene's entry (`SceneBank`).
        size: height and width of the pictures in pixels.
        frame_rate: frames per second.
        autoencoder: folder of the trained autoencoder; None when it is the autoencoder that trains.
        batch_size: examples (or pictures) per step.
        curriculum: what the examples look like over time.
        seed: of the drawing.
    """

    def __init__(
        self,
        bank: str,
        scenes: int = 1000,
        variants: int = 1,
        first_seed: int = 0,
        walk_frames: int = 48,
        targets_per_scene: int = 6,
        target_frames: int = 9,
        size: int = 64,
        frame_rate: float = 4.0,
        autoencoder: str | None = None,
        batch_size: int = 32,
        curriculum: Curriculum | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if batch_size < 1 or scenes < 1:
            raise ValueError(f"batch_size {batch_size} and scenes {scenes}: expected at least 1 of each.")
        if autoencoder is not None:
            _check_autoencoder(autoencoder)
        self.save_hyperparameters(ignore=["curriculum"])
        self.curriculum = curriculum or Curriculum()
        self.bank = None

    def setup(self, stage: str) -> None:
        """Render (or read) the bank and encode it."""
        if self.bank is not None:
            return
        options = self.hparams
        path = Path(options.bank)
        if path.exists():
            bank = SceneBank.load(path)
        else:
            start = SEED_RANGES["train"].start + options.first_seed
            bank = render_bank(
                range(start, start + options.scenes),
                options.walk_frames,
                options.targets_per_scene,
                options.target_frames,
                options.size,
                options.size,
                latent_size=(options.size // 8, options.size // 8),
                frame_rate=options.frame_rate,
                variants=options.variants,
                device="cuda" if torch.cuda.is_available() else None,
                progress=lambda seeds: track(seeds, description="rendering scenes", disable=not os.isatty(2)),
            )
            bank.save(path)
        if options.autoencoder is not None:
            device = self.trainer.strategy.root_device
            autoencoder = AutoencoderKL.from_pretrained(options.autoencoder).to(device).eval()
            bank = bank.encoded(autoencoder, device)
        self.bank = bank

    def draw(self, step: int):
        """The batch of a step: pictures [B, 3, H, W] in [-1, 1] for an autoencoder, else a `NavigationBatch`."""
        options = self.hparams
        if options.autoencoder is not None:
            # Of this step, not of the trainer's: batches are fetched ahead, except right after a resumption.
            progress = Progress.of(self.trainer).at(step)
            return draw_batch(self.bank, options.batch_size, self.curriculum, progress, options.seed, step)
        generator = torch.Generator().manual_seed(abs(options.seed * 1_000_003 + step))
        frames = self.bank.frames.flatten(0, 1)
        chosen = torch.randint(len(frames), (options.batch_size,), generator=generator)
        return frames[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1

    def validation_clips(self, count: int, context_frames: int) -> list[Clip]:
        """Clips of rooms that are never trained on."""
        first, options = SEED_RANGES["validation"].start, self.hparams
        return [
            simulated_navigation_clip(
                seed, height=options.size, width=options.size, num_frames=options.target_frames, context_size=context_frames
            )
            for seed in range(first, first + count)
        ]

    def train_dataloader(self) -> DataLoader:
        """Endless batches, each drawn whole."""
        return DataLoader(_EndlessSteps(self), batch_size=None)


class CuratedData(lightning.LightningDataModule):
    """Clips of a data set that `v4s curate build` made. Grounding clips are followed by their cameras, like navigation clips.

    Args:
        folder: of the data set.
        autoencoder: folder of the trained autoencoder.
        size: height and width of the pictures in pixels.
        frame_rate: of the model, frames per second.
        batch_size: examples per step.
        kind: navigation or grounding; None takes both.
        split: train, validation or test.
        curriculum: what the examples look like over time; contexts come with the clips, so walks and guards have no effect.
        augmentation: how clips are varied, anew in each step; None leaves them as they are, and keeps their latents once encoded.
        seed: of the drawing.
    """

    def __init__(
        self,
        folder: str,
        autoencoder: str,
        size: int = 64,
        frame_rate: float = 4.0,
        batch_size: int = 16,
        kind: str | None = None,
        split: str = "train",
        curriculum: Curriculum | None = None,
        augmentation: AugmentationSettings | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"data.batch_size {batch_size}: expected at least 1.")
        _check_autoencoder(autoencoder)
        self.save_hyperparameters(ignore=["curriculum", "augmentation"])
        self.curriculum, self.augmentation = curriculum or Curriculum(), augmentation
        self.clips = ClipDataset(folder, split, kind, (size, size), read_scene)
        self.hparams["target_frames"] = max(len(row.target_frames) for row in self.clips.rows)
        self._encoder, self._encoded = None, {}

    def setup(self, stage: str) -> None:
        """Load the autoencoder."""
        if self._encoder is None:
            device = self.trainer.strategy.root_device
            self._encoder = AutoencoderKL.from_pretrained(self.hparams.autoencoder).to(device).eval()

    def draw(self, step: int) -> NavigationBatch:
        """The batch of a step."""
        options = self.hparams
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.clips), (options.batch_size,), generator=generator).tolist()
        seeds = torch.randint(2**31, (options.batch_size,), generator=generator).tolist()
        clips = [self._clip(index, seed) for index, seed in zip(chosen, seeds)]
        progress = Progress.of(self.trainer).at(step)
        return clip_batch(clips, self.curriculum, progress, options.seed, step, options.frame_rate)

    def _clip(self, index: int, seed: int) -> EncodedClip:
        if self.augmentation is not None:
            return encode_clip(augment(self.clips[index], self.augmentation, seed), self._encoder)
        if index not in self._encoded:
            self._encoded[index] = encode_clip(self.clips[index], self._encoder)
        return self._encoded[index]

    def validation_clips(self, count: int, context_frames: int) -> list[Clip]:
        """Clips of the validation split, each with some of its context; fewer, or none, where it has no more."""
        try:
            dataset = ClipDataset(self.hparams.folder, "validation", self.hparams.kind, (self.hparams.size,) * 2, read_scene)
        except ValueError:
            logger.warning("%s has no validation clips: no validation videos are made", self.hparams.folder)
            return []
        clips = [dataset[index] for index in range(min(count, len(dataset)))]
        return [_thinned(clip, context_frames) for clip in clips]

    def train_dataloader(self) -> DataLoader:
        """Endless batches, each drawn whole."""
        return DataLoader(_EndlessSteps(self), batch_size=None)


@torch.no_grad()
def encode_clip(clip: Clip, autoencoder: AutoencoderKL) -> EncodedClip:
    """A clip's latents (float16, on the autoencoder's device), cameras and depth.

    Raises:
        ValueError: for a clip without cameras or truth.
    """
    if clip.context_cameras is None or clip.target_cameras is None or clip.target_frames is None:
        raise ValueError(f"clip {clip.name} has no cameras or no target frames: it cannot be trained on.")
    frames = torch.from_numpy(np.concatenate([clip.context_frames, clip.target_frames]))
    pictures = frames.to(autoencoder.device).permute(0, 3, 1, 2).unsqueeze(2).float() / 127.5 - 1
    latents = encode(autoencoder, pictures)[:, :, 0].half()
    cameras = Cameras.concatenate([clip.context_cameras, clip.target_cameras])
    depth = np.zeros(clip.context_frames.shape[:3], np.float32) if clip.context_depth is None else clip.context_depth
    rows, columns = (
        (np.arange(small) * 2 + 1) * full // (2 * small) for small, full in zip(latents.shape[-2:], depth.shape[1:])
    )
    times = clip.target_cameras.times
    return EncodedClip(
        latents=latents,
        camera_to_world=cameras.camera_to_world,
        intrinsics=cameras.intrinsics,
        depth=torch.from_numpy(np.ascontiguousarray(depth[:, rows][:, :, columns])).to(latents.device),
        context_times=torch.from_numpy(clip.context_times).double(),
        target_times=times - times[0],
        anchor=clip.anchor,
    )


def _thinned(clip: Clip, context_frames: int) -> Clip:
    count = len(clip.context_frames)
    if isinstance(clip.instruction, Ground):  # followed by its cameras here
        clip = replace(clip, instruction=Navigate(clip.target_cameras))
    return clip.with_context(evenly_spread(count, min(context_frames, count), clip.anchor))


def _check_autoencoder(folder: str) -> None:
    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(f"data.autoencoder: {folder} is not the folder of an autoencoder (no config.json).")

"""Data modules: pictures for the autoencoder, navigation batches for the transformer."""

import os
from collections.abc import Iterator
from pathlib import Path

import lightning
import torch
from diffusers import AutoencoderKL
from rich.progress import track
from torch.utils.data import DataLoader, IterableDataset

from video4spatial.simulation.scenes import SEED_RANGES
from video4spatial.training.bank import SceneBank, render_bank
from video4spatial.training.batches import Curriculum, draw_batch


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
        if autoencoder is not None and not (Path(autoencoder) / "config.json").is_file():
            raise FileNotFoundError(
                f"data.autoencoder: {autoencoder} is not the folder of an autoencoder (no config.json)."
            )
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
            progress = self.trainer.lightning_module.progress_of(step)
            return draw_batch(self.bank, options.batch_size, self.curriculum, progress, options.seed, step)
        generator = torch.Generator().manual_seed(abs(options.seed * 1_000_003 + step))
        frames = self.bank.frames.flatten(0, 1)
        chosen = torch.randint(len(frames), (options.batch_size,), generator=generator)
        return frames[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1

    def train_dataloader(self) -> DataLoader:
        """Endless batches, each drawn whole."""
        return DataLoader(_EndlessSteps(self), batch_size=None)

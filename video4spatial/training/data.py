"""Data modules: simulated rooms that are rendered when first needed (as pictures, or as examples), and curated data sets."""

import hashlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data_curation.readers import read_scene
from video4spatial.clips import AugmentationSettings, Clip
from video4spatial.clips.dataset import ClipDataset
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.media.transforms import size_of_aspect
from video4spatial.spread import evenly_spread
from video4spatial.models.autoencoder import (
    fold_encoder,
    latent_channels,
    load_autoencoder,
    read_autoencoder_config,
    spatial_compression,
    temporal_compression,
)
from video4spatial.simulation.scenes import SEED_RANGES
from video4spatial.training.bank import SceneBank, bank_bytes, render_bank
from video4spatial.training.caches import announce
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import BankExamples, ClipExamples, ExampleSource, MixedExamples, latent_bytes, readable
from video4spatial.training.latents import LatentStore
from video4spatial.training.progress import Progress
from video4spatial.training.sampler import Batch, draw_batch, step_generator
from video4spatial.training.shown_geometry import GeometrySettings, ShownGeometry
from video4spatial.waits import track

logger = logging.getLogger(__name__)


class _EndlessSteps(IterableDataset):
    """What `data.draw` gives for every step from the trainer's current one on, so that a resumed run goes on where it stopped."""

    def __init__(self, data: "StepData"):
        self.data = data

    def __iter__(self) -> Iterator:
        trainer, worker = self.data.trainer, get_worker_info()
        rank, progress = trainer.global_rank, Progress.of(trainer)
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)  # a loader takes from its workers in turn
        for step in itertools.count(trainer.global_step + first, stride):
            yield self.data.draw(step, progress.at(step), rank)


class StepData(lightning.LightningDataModule):
    """Data that are drawn step by step. Every rank of a distributed run draws batches of its own.

    Attributes:
        curriculum: what the examples look like over time.
        source: where the examples come from, once set up; None where pictures are drawn.
    """

    curriculum: Curriculum
    source: ExampleSource | None = None

    def draw(self, step: int, progress: float = 0.0, rank: int = 0) -> Batch | torch.Tensor:
        """The batch of a step on a rank, at a progress from 0 to 1."""
        return draw_batch(self.source, self.hparams.batch_size, self.curriculum, progress, self.hparams.seed, step, rank)

    def train_dataloader(self) -> DataLoader:
        """Endless batches, each drawn whole."""
        return DataLoader(_EndlessSteps(self), batch_size=None, num_workers=self.hparams.num_workers)

    @property
    def latent_channels(self) -> int:
        """Channels of the autoencoder's latents."""
        return latent_channels(read_autoencoder_config(self._autoencoder_folder))

    @property
    def temporal_compression(self) -> int:
        """Frames per latent of the autoencoder after the first."""
        return temporal_compression(read_autoencoder_config(self._autoencoder_folder))

    @property
    def spatial_compression(self) -> int:
        """Pixels per latent pixel of the autoencoder along each axis."""
        return spatial_compression(read_autoencoder_config(self._autoencoder_folder))

    @property
    def _autoencoder_folder(self) -> str:
        folder = self.hparams.autoencoder
        if folder is None:
            raise ValueError("data.autoencoder is missing: expected the folder of a trained autoencoder.")
        return folder

    def _load_autoencoder(self):
        """The autoencoder, on the device of this rank, or on the CPU where worker processes use it."""
        device = "cpu" if self.hparams.num_workers else self.trainer.strategy.root_device
        return load_autoencoder(self._autoencoder_folder).to(device)


class RoomsData(StepData):
    """Simulated rooms, rendered when first needed and kept in a file.

    Args:
        bank: file the rendered scenes are kept in; rendered when it does not exist.
        scenes: how many, from the training seeds.
        variants: passes through each scene, with its own walk and targets.
        first_seed: the first of them, counted from the start of the training range.
        walk_frames, targets_per_scene, target_frames: sizes of a scene's entry (`SceneBank`).
        size: height and width of square pictures in pixels; others have about as many.
        aspects: width / height of the pictures. Where there are several, the scenes are shared out among them, each kind in a file of its
            own, and batches are drawn from them in turn at random.
        fov_degrees: range of the fields of view along the longer side, in degrees.
        frame_rate: frames per second.
        geometry: how the scenes' geometry is shown, for transformers that have a geometry prompt; None without.
        autoencoder: folder of the trained autoencoder; None when it is the autoencoder that trains.
        refiner: folder of the refiner of decoded frames, which exported pipelines get; None for none.
        latents: folder in which the latents are kept.
        batch_size: examples (or pictures) per step.
        curriculum: what the examples look like over time.
        seed: of the drawing.
        num_workers: processes that draw batches ahead; 0 draws them between the steps. Batches are the same.

    Raises:
        ValueError: for a batch size or a number of scenes below 1.
        FileNotFoundError: for a folder without an autoencoder.
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
        aspects: tuple[float, ...] = (1.0,),
        fov_degrees: tuple[float, float] = (65.0, 75.0),
        frame_rate: float = 4.0,
        geometry: GeometrySettings | None = None,
        autoencoder: str | None = None,
        latents: str = ".cache/latents",
        refiner: str | None = None,
        batch_size: int = 32,
        curriculum: Curriculum | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__()
        if batch_size < 1 or scenes < 1:
            raise ValueError(f"batch_size {batch_size} and scenes {scenes}: expected at least 1 of each.")
        curriculum = curriculum or Curriculum()
        _check_rooms(walk_frames, targets_per_scene, target_frames, num_workers, curriculum, autoencoder is not None)
        if autoencoder is not None:
            _check_autoencoder(autoencoder)
        _check_refiner(refiner)
        self.save_hyperparameters(ignore=["curriculum", "geometry"])
        self.curriculum, self.geometry = curriculum, geometry
        self.banks: list[SceneBank] = []

    def setup(self, stage: str) -> None:
        """Render (or read) the banks, and encode what is not in the store of latents yet."""
        if self.banks:
            return
        options = self.hparams
        files = self._files()
        self.banks = [self._bank(path, size, scenes) for path, size, scenes in files]
        if options.autoencoder is None:
            return
        autoencoder = self._load_autoencoder()
        store, compression = LatentStore(options.latents, autoencoder), temporal_compression(autoencoder)
        autoencoder = fold_encoder(autoencoder)
        sources = []
        for bank, (path, _, _) in zip(self.banks, files):
            key = f"bank {file_digest(path)}"
            shown = None if self.geometry is None else ShownGeometry.of(self.geometry, bank, path)
            sources.append(BankExamples(bank, options.frame_rate, compression, store, autoencoder, key, shown))
        self.source = sources[0] if len(sources) == 1 else MixedExamples(sources)

    def _files(self) -> list[tuple[Path, tuple[int, int], range]]:
        """File, picture size and scenes of each bank."""
        options, path, files = self.hparams, Path(self.hparams.bank), []
        multiple = 16 if options.autoencoder is None else max(16, self.spatial_compression)
        for index, aspect in enumerate(options.aspects):
            size = (options.size, options.size) if aspect == 1 else size_of_aspect(options.size**2, aspect, multiple)
            first, last = (options.first_seed + options.scenes * part // len(options.aspects) for part in (index, index + 1))
            name = path if len(options.aspects) == 1 else path.with_stem(f"{path.stem}-{size[0]}x{size[1]}")
            files.append((name, size, range(first, last)))
        return files

    def _bank(self, path: Path, size: tuple[int, int], scenes: range) -> SceneBank:
        options = self.hparams
        compression = 8 if options.autoencoder is None else self.spatial_compression
        return kept_bank(
            path,
            scenes,
            walk_frames=options.walk_frames,
            targets_per_scene=options.targets_per_scene,
            target_frames=options.target_frames,
            height=size[0],
            width=size[1],
            depth_size=None if self.geometry is not None else (size[0] // compression, size[1] // compression),
            frame_rate=options.frame_rate,
            fov_degrees=tuple(options.fov_degrees),
            variants=options.variants,
        )

    def draw(self, step: int, progress: float = 0.0, rank: int = 0) -> Batch | torch.Tensor:
        """The batch of a step on a rank: pictures [B, 3, H, W] in [-1, 1] for an autoencoder, else a `Batch`."""
        if self.hparams.autoencoder is not None:
            return super().draw(step, progress, rank)
        generator = step_generator(self.hparams.seed, step, rank)
        which = int(torch.randint(len(self.banks), (), generator=generator)) if len(self.banks) > 1 else 0
        frames = self.banks[which].frames.flatten(0, 1)
        chosen = torch.randint(len(frames), (self.hparams.batch_size,), generator=generator)
        return frames[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1

    def validation_clips(self, count: int, context_frames: int, reads_text: bool = False) -> list[Clip]:
        """Clips of rooms that are never trained on.

        Args:
            count: how many.
            context_frames: frames of each one's context.
            reads_text: whether the model does; these clips have no words.
        """
        first, options = SEED_RANGES["validation"].start, self.hparams
        return [
            simulated_navigation_clip(
                seed, height=options.size, width=options.size, num_frames=options.target_frames, context_size=context_frames
            )
            for seed in range(first, first + count)
        ]



class CuratedData(StepData):
    """Clips of a data set that `v4s curate build` made. Models that read no text follow the cameras of grounding clips.

    Args:
        folder: of the data set.
        autoencoder: folder of the trained autoencoder.
        refiner: folder of the refiner of decoded frames, which exported pipelines get; None for none.
        latents: folder in which the latents are kept.
        size: height and width of the pictures in pixels.
        frame_rate: of the model, frames per second.
        batch_size: examples per step.
        kind: navigation or grounding; None takes both.
        split: train, validation or test.
        curriculum: what the examples look like over time; contexts come with the clips, so walks and guards have no effect.
        augmentation: how clips are varied, anew in each step; None leaves them as they are, and keeps their latents once encoded.
        seed: of the drawing.
        num_workers: processes that draw batches ahead; 0 draws them between the steps. Batches are the same.

    Raises:
        ValueError: for a batch size below 1, or a data set without such clips.
        FileNotFoundError: for a folder without a data set or an autoencoder.
    """

    def __init__(
        self,
        folder: str,
        autoencoder: str,
        latents: str = ".cache/latents",
        refiner: str | None = None,
        size: int = 64,
        frame_rate: float = 4.0,
        batch_size: int = 16,
        kind: str | None = None,
        split: str = "train",
        curriculum: Curriculum | None = None,
        augmentation: AugmentationSettings | None = None,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__()
        if batch_size < 1 or num_workers < 0:
            raise ValueError(f"data.batch_size {batch_size} and num_workers {num_workers}: expected at least 1 and 0.")
        _check_autoencoder(autoencoder)
        _check_refiner(refiner)
        self.save_hyperparameters(ignore=["curriculum", "augmentation"])
        self.curriculum, self.augmentation = curriculum or Curriculum(), augmentation
        self.clips = ClipDataset(folder, split, kind, (size, size), read_scene)
        self.hparams["target_frames"] = max(len(row.target_frames) for row in self.clips.rows)

    def setup(self, stage: str) -> None:
        """Load the autoencoder, and encode the clips that are not in the store of latents yet."""
        if self.source is not None:
            return
        autoencoder, options = self._load_autoencoder(), self.hparams
        store, compression = LatentStore(options.latents, autoencoder), temporal_compression(autoencoder)
        self.source = ClipExamples(self.clips, options.frame_rate, compression, store, autoencoder, self.augmentation)
        if self.augmentation is None:
            announce(Path(options.latents), f"latents of {len(self.clips)} clips, those of them that are missing", self._latent_bytes())
            for index in track(range(len(self.clips)), "encoding clips"):
                self.source.example(index)

    def _latent_bytes(self) -> float:
        """Size of the latents of all clips."""
        frames = sum(len(row.context_frames) + len(row.target_frames) for row in self.clips.rows)
        side = self.hparams.size // self.spatial_compression
        return latent_bytes(frames, self.latent_channels, side, side)

    def validation_clips(self, count: int, context_frames: int, reads_text: bool = False) -> list[Clip]:
        """Clips of the validation split; fewer, or none, where it has no more.

        Args:
            count: how many.
            context_frames: most frames of each one's context, evenly thinned.
            reads_text: whether the model does; for others grounding clips become paths.
        """
        try:
            dataset = ClipDataset(self.hparams.folder, "validation", self.hparams.kind, (self.hparams.size,) * 2, read_scene)
        except ValueError:
            logger.warning("%s has no validation clips: no validation videos are made", self.hparams.folder)
            return []
        clips = [dataset[index] for index in range(min(count, len(dataset)))]
        return [_thinned(clip, context_frames, reads_text) for clip in clips]


def kept_bank(path: Path, scenes: range, **settings) -> SceneBank:
    """The bank of a file, rendered and kept there where there is none.

    Args:
        path: of the file.
        scenes: which, counted from the start of the training scenes.
        settings: of `render_bank`.
    """
    if not path.exists():
        start = SEED_RANGES["train"].start
        seeds = range(start + scenes.start, start + scenes.stop)
        announce(path, f"{len(seeds)} rendered scenes", bank_bytes(seeds, **settings))
        render_bank(
            seeds,
            device="cuda" if torch.cuda.is_available() else None,
            progress=lambda entries: track(entries, "rendering scenes"),
            **settings,
        ).save(path)
    return SceneBank.load(path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_rooms(
    walk_frames: int, targets_per_scene: int, target_frames: int, num_workers: int, curriculum: Curriculum, for_examples: bool
) -> None:
    """Refuse sizes of a bank that no example can be drawn from."""
    problems = [
        f"{name} {value}: expected at least {least}"
        for name, value, least in (
            ("targets_per_scene", targets_per_scene, 1), ("target_frames", target_frames, 2), ("num_workers", num_workers, 0),
            ("walk_frames", walk_frames, target_frames),
        )
        if value < least
    ]  # fmt: skip
    if for_examples and curriculum.context_frames[1] > walk_frames:
        problems.append(f"curriculum.context_frames {list(curriculum.context_frames)}: a walk has {walk_frames} frames (walk_frames)")
    if problems:
        raise ValueError(f"data: {'; '.join(problems)}.")


def _thinned(clip: Clip, context_frames: int, reads_text: bool) -> Clip:
    clip = replace(clip, instruction=readable(clip.instruction, clip.target_cameras, reads_text))
    count = len(clip.context_frames)
    return clip.with_context(evenly_spread(count, min(context_frames, count), clip.anchor))


def _check_autoencoder(folder: str) -> None:
    try:
        read_autoencoder_config(folder)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"data.autoencoder: {error}") from error


def _check_refiner(folder: str | None) -> None:
    if folder is not None and not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(f"data.refiner: {folder} is not the folder of a refiner (no config.json); null for none.")

"""Data of the refiner: decoded pictures, what a scene shows of them, and what they should be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

from video4spatial.models.autoencoder import read_autoencoder_config
from video4spatial.models.refiner import guidance_from_picture
from video4spatial.pipelines import Video4SpatialPipeline
from video4spatial.pretrained import read_model_folder
from video4spatial.simulation.scenes import SEED_RANGES
from video4spatial.training.caches import announce
from video4spatial.training.data import StepData
from video4spatial.training.guided_pictures import GuidedPictures, guided_by_model, render_guided
from video4spatial.training.latent_spoiling import LatentSpoiling
from video4spatial.training.picture_variation import PictureVariation
from video4spatial.training.refiner import PictureBatch
from video4spatial.training.sampler import step_generator
from video4spatial.training.shown_geometry import GeometrySettings
from video4spatial.training.source_spoiling import SourceSpoiling
from video4spatial.waits import track


class RefinerData(StepData):
    """Pictures of simulated rooms through an autoencoder, some led by what a scene shows of them, some by nothing.

    Args:
        pictures: file of `GuidedPictures`; rendered when it does not exist. One that holds pictures as a model decodes them
            trains the refiner on those, else they are imitated.
        autoencoder: folder of the autoencoder; None only where the file holds decoded pictures, and all then come from there.
        model: folder of a pipeline that makes the pictures when the file does not exist; None renders them without one, to be
            imitated.
        scenes: how many are rendered, from the training seeds.
        first_seed: the first of them, counted from the start of the training range.
        pictures_per_scene: pictures of each; a model makes all of a video.
        size: height and width of the pictures that are rendered, in pixels; a model has its own.
        geometry: how the scenes' geometry is shown, and how wrong it is; its `views` are those of the refiner.
        context_frames: least and greatest number of frames that show a scene.
        batch_size: pictures per step.
        guided: share of pictures that are led by the scene. The others are decoded from their own latents: without guidance, to
            undo what a model blurs would be to guess.
        anchors: share of these that the scene holds themselves, as it holds frame 0 of a video.
        variation: how pictures are varied; those that are led by the scene are not scaled. None leaves all as they are.
        sources: how the sources of guidance differ from what they show; None leaves them as they were rendered. A frame that
            the scene itself holds stays as it is.
        latents: how the latents of pictures that the scene leads differ from true ones.
        seed: of the drawing.
        num_workers: processes that draw batches ahead; 0 draws them between the steps. Batches are the same.

    Raises:
        ValueError: for impossible settings.
        FileNotFoundError: for a folder without an autoencoder.
    """

    def __init__(
        self,
        pictures: str,
        autoencoder: str | None = None,
        model: str | None = None,
        scenes: int = 250,
        first_seed: int = 0,
        pictures_per_scene: int = 8,
        size: int = 128,
        geometry: GeometrySettings = GeometrySettings(),
        context_frames: tuple[int, int] = (6, 32),
        batch_size: int = 8,
        guided: float = 0.6,
        anchors: float = 0.1,
        variation: PictureVariation | None = None,
        sources: SourceSpoiling | None = None,
        latents: LatentSpoiling = LatentSpoiling(),
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__()
        problems = [
            f"{name} {value}: expected at least 1"
            for name, value in (("batch_size", batch_size), ("scenes", scenes), ("pictures_per_scene", pictures_per_scene))
            if value < 1
        ]
        problems += [
            f"{name} {value}: give a share from 0 to 1"
            for name, value in (("guided", guided), ("anchors", anchors))
            if not 0 <= value <= 1
        ]
        if not 1 <= context_frames[0] <= context_frames[1]:
            problems.append(f"context_frames {list(context_frames)}: give a range within 1 to the frames of a walk")
        if problems:
            raise ValueError(f"data: {'; '.join(problems)}.")
        if autoencoder is not None:
            try:
                read_autoencoder_config(autoencoder)
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f"data.autoencoder: {error}") from error
        self.save_hyperparameters(ignore=["variation", "sources", "latents", "geometry"])
        self.variation, self.sources, self.spoiling, self.geometry = variation, sources, latents, geometry
        self.file: GuidedPictures | None = None

    @property
    def views(self) -> int:
        """Single views beside the blend."""
        return self.geometry.views

    def setup(self, stage: str) -> None:
        """Render (or read) the pictures, and load the autoencoder."""
        if self.file is not None:
            return
        path = Path(self.hparams.pictures)
        if not path.exists():
            announce(path, f"pictures of {self.hparams.scenes} scenes", self._file_bytes())
            self._render().save(path)
        self.file = GuidedPictures.load(path)
        if self.file.views != self.views:
            raise ValueError(f"data.geometry.views {self.views}: {path} holds {self.file.views}; give that, or another file.")
        size, window = self.file.truth.shape[1:3], self.variation
        if window is not None and (window.height > size[0] or window.width > size[1]):
            raise ValueError(f"data.variation of {window.height} x {window.width} pixels: {path} holds {size[0]} x {size[1]}.")
        needed = self.file.decoded is None or self.hparams.autoencoder is not None
        self.autoencoder = self._load_autoencoder() if needed else None

    def draw(self, step: int, progress: float = 0.0, rank: int = 0) -> PictureBatch:
        """The batch of a step on a rank: the pictures that the scene leads come first."""
        options, generator = self.hparams, step_generator(self.hparams.seed, step, rank)
        chosen = torch.randint(len(self.file), (options.batch_size,), generator=generator)
        led = int((torch.rand(options.batch_size, generator=generator) < options.guided).sum())
        truth = self.file.truth[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1
        guidance = self.file.guidance(chosen)
        if self.sources is not None:
            guidance = self.sources(guidance, generator)
        own = torch.rand(options.batch_size, generator=generator) < options.anchors
        for index in own.nonzero().flatten().tolist():
            guidance[index] = guidance_from_picture(truth[index], self.views)
        guidance[led:] = 0
        imitated = self.file.decoded is None
        decoded = truth if imitated else self.file.decoded[chosen].permute(0, 3, 1, 2).float() / 127.5 - 1
        whole = truth
        decoded, guidance, truth = self._varied_together(decoded, guidance, truth, generator)
        if self.autoencoder is None:
            return PictureBatch(decoded, guidance, truth)
        if self.variation is not None:
            truth = torch.cat([truth[:led], self.variation(whole[led:], generator)])
        exact, first, rest = LatentSpoiling(exact_probability=1.0), slice(led), slice(led, None)
        parts = [self._spoiled(self.spoiling, truth[first], guidance[first], generator) if imitated else decoded[first]]
        parts.append(self._spoiled(exact, truth[rest], guidance[rest], generator))
        return PictureBatch(torch.cat(parts), guidance, truth)

    def _spoiled(
        self, spoiling: LatentSpoiling, pictures: torch.Tensor, guidance: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Pictures through latents and back; there may be none."""
        return spoiling.decoded(self.autoencoder, pictures, guidance, generator) if len(pictures) else pictures

    def _varied_together(
        self, decoded: torch.Tensor, guidance: torch.Tensor, truth: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Decoded pictures, guidance and truth in the same window, mirrored and lit alike."""
        if self.variation is None:
            return decoded, guidance, truth
        stacked = torch.cat([decoded, truth, guidance.flatten(1, 2)], dim=1)
        stacked = self.variation.mirror(self.variation.window(stacked, generator), generator)
        guidance = stacked[:, 6:].unflatten(1, guidance.shape[1:3])
        pictures = torch.cat([stacked[:, :6].unflatten(1, (2, 3)), guidance[:, :, :3]], dim=1)
        pictures = self.variation.relight(pictures, generator)
        guidance = torch.cat([pictures[:, 2:] * guidance[:, :, 3:4], guidance[:, :, 3:]], dim=2)
        return pictures[:, 0], guidance, pictures[:, 1]

    def _file_bytes(self) -> int:
        """Size of the file of pictures before it is made: the truth, what a model makes of it, and the sources that show it."""
        options, side, count = self.hparams, self.hparams.size, self.hparams.pictures_per_scene
        if options.model is not None:
            folder = read_model_folder(options.model)
            side, count = folder.height, folder.target_frames
        return options.scenes * count * side**2 * (3 * (1 + (options.model is not None)) + 6 * (1 + self.views))

    def _render(self) -> GuidedPictures:
        options = self.hparams
        start = SEED_RANGES["train"].start + options.first_seed
        seeds, frames = range(start, start + options.scenes), tuple(options.context_frames)

        def progress(seeds: list[int]) -> Iterable[int]:
            return track(seeds, "making the pictures of scenes")

        if options.model is None:
            return render_guided(seeds, options.size, self.geometry, options.pictures_per_scene, frames, progress)
        pipeline = Video4SpatialPipeline.from_pretrained(options.model, refiner=None, torch_dtype=torch.float32, use_safetensors=True)
        pipeline.set_progress_bar_config(disable=True)
        return guided_by_model(pipeline, seeds, self.geometry, frames, progress=progress)

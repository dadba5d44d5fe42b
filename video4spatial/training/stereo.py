"""Training of the stereo network on simulated rooms, varied so that it carries over to real captures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.cameras import Cameras, CropBox
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.geometry.plane_sweep import PlaneSweepSettings, neighbours
from video4spatial.models.stereo import GRID, PlaneProjections, StereoNetwork, StereoOutput
from video4spatial.training.bank import SceneBank
from video4spatial.training.data import StepData, kept_bank
from video4spatial.training.progress import Progress
from video4spatial.training.sampler import step_generator
from video4spatial.training.variation import happens, uniform, varied_light

logger = logging.getLogger(__name__)

LEAST_DEPTH = 0.1
"""Metres: nearer points are not learned."""

CANDIDATES = PlaneSweepSettings(views=10, baseline=0.35, most_turned=60.0)
"""Views that a reference's neighbours are drawn from: at about 0.35 m, turned by less than 60 degrees."""


@dataclass(frozen=True)
class StereoBatch:
    """B reference pictures with S neighbours each.

    Args:
        pictures: [B, 3, H, W] in [-1, 1].
        neighbours: [B, S, 3, H, W] in [-1, 1].
        projections: from the pictures to their neighbours.
        alone: [B] bool: pictures whose neighbours are not looked at.
        depth: [B, H, W] along the optical axis in the unit of the cameras; 0 where unknown.
    """

    pictures: Tensor
    neighbours: Tensor
    projections: PlaneProjections
    alone: Tensor
    depth: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: torch.device | str, **options) -> StereoBatch:
        """The batch on a device."""
        moved = {name: getattr(self, name).to(device, **options) for name in ("pictures", "neighbours", "alone", "depth")}
        return replace(self, projections=self.projections.to(device), **moved)


class StereoData(StepData):
    """Views of simulated rooms with their depth: any frame of a scene may be the reference of any other.

    Args:
        bank: file that keeps the rendered scenes; made when it does not exist, with depth at full size.
        scenes: how many, from the training seeds.
        size: height and width at which they are rendered in pixels.
        fov_degrees: range of their fields of view.
        sizes: heights and widths that batches are resized to, one is drawn; multiples of `GRID`.
        shares: how often each is drawn.
        batch_size: references per step at the smallest of these sizes; of larger pictures there are fewer, as memory and time ask.
        neighbours: S.
        alone_probability: share of the references that are read without their neighbours.
        camera_noise: largest error of the neighbours' cameras in degrees and metres, in half of the batches.
        scale_range: the unit of cameras and depth differs from a metre by a factor of up to this (natural logarithm), in a third of
            the batches.
        seed: of the drawing.
        num_workers: processes that draw batches ahead.

    Raises:
        ValueError: for sizes that do not fit.
    """

    def __init__(
        self,
        bank: str,
        scenes: int = 400,
        size: int = 128,
        fov_degrees: tuple[float, float] = (50.0, 90.0),
        sizes: tuple[tuple[int, int], ...] = ((64, 64), (48, 80), (80, 48), (96, 96), (80, 112), (128, 128), (96, 160)),
        shares: tuple[float, ...] = (0.3, 0.2, 0.1, 0.15, 0.1, 0.1, 0.05),
        batch_size: int = 8,
        neighbours: int = 3,
        alone_probability: float = 0.18,
        camera_noise: tuple[float, float] = (0.5, 0.01),
        scale_range: float = 0.3,
        seed: int = 0,
        num_workers: int = 0,
    ):
        super().__init__()
        wrong = [size for size in sizes if size[0] % GRID or size[1] % GRID]
        if wrong or len(sizes) != len(shares):
            raise ValueError(f"data.sizes {wrong or list(sizes)}: expected multiples of {GRID}, and as many shares as sizes.")
        if batch_size < 1 or neighbours < 1 or scenes < 1:
            raise ValueError(f"data: batch_size {batch_size}, neighbours {neighbours}, scenes {scenes}: expected at least 1 of each.")
        self.save_hyperparameters()
        self.bank: SceneBank | None = None

    def setup(self, stage: str) -> None:
        """Render (or read) the bank."""
        if self.bank is None:
            options = self.hparams
            self.bank = kept_bank(
                Path(options.bank), range(options.scenes), height=options.size, width=options.size,
                depth_size=None, fov_degrees=tuple(options.fov_degrees),
            )  # fmt: skip

    def draw(self, step: int, progress: float = 0.0, rank: int = 0) -> StereoBatch:
        """The batch of a step on a rank."""
        options, generator = self.hparams, step_generator(self.hparams.seed, step, rank)
        height, width = options.sizes[int(torch.multinomial(torch.tensor(options.shares), 1, generator=generator))]
        count = self.references(height, width)
        drawn = [self._reference(height, width, generator) for _ in range(count)]
        pictures, cameras, depth = (list(values) for values in zip(*drawn))
        told = Cameras.stacked([self._with_errors(entry, generator) for entry in cameras])
        factor = torch.ones(count)
        if happens(1 / 3, generator):
            factor = torch.exp(uniform(-options.scale_range, options.scale_range, generator, (count,)))
        reference, others = told[:1], told[1:]
        projections = PlaneProjections.between(reference, others)
        views = torch.stack(pictures) * 2 - 1
        return StereoBatch(
            views[:, 0],
            views[:, 1:],
            replace(projections, shift=projections.shift * factor[:, None, None]),
            torch.rand(count, generator=generator) < options.alone_probability,
            torch.stack(depth) * factor[:, None, None],
        )

    def references(self, height: int, width: int) -> int:
        """How many references a step has whose pictures are of a size in pixels."""
        smallest = min(rows * columns for rows, columns in self.hparams.sizes)
        return max(1, round(self.hparams.batch_size * (smallest / (height * width)) ** 0.7))

    def _reference(self, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Cameras, Tensor]:
        """Views [1 + S, 3, H, W] from 0 to 1, the reference first, their cameras, and its depth [H, W]."""
        bank, count = self.bank, self.hparams.neighbours
        while True:
            scene = int(torch.randint(len(bank), (), generator=generator))
            path = Cameras(bank.camera_to_world[scene], bank.intrinsics[scene][None])
            reference = int(torch.randint(len(path), (), generator=generator))
            found = neighbours(path, reference, 1.0, CANDIDATES)
            if len(found) >= count:
                break
        order = torch.randperm(len(found), generator=generator)[:count]
        if happens(0.5, generator):  # the best ones, as when depth is read
            order = torch.arange(count)
        views = [reference, *(found[place] for place in order.tolist())]
        frames = bank.frames[scene, views].movedim(-1, 1).float() / 255
        box = _window(*frames.shape[-2:], height / width, generator)
        cameras = path[views].cropped(box, *frames.shape[-2:])
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        pictures = F.interpolate(frames[..., rows, columns], (height, width), mode="bilinear", antialias=True)
        depth = F.interpolate(bank.depth[scene, reference, rows, columns].float()[None, None], (height, width), mode="nearest-exact")
        pictures = varied_light(pictures, generator)
        if happens(0.5, generator):
            pictures, depth, cameras = pictures.flip(-1), depth.flip(-1), _mirrored(cameras)
        return pictures, cameras, depth[0, 0]

    def _with_errors(self, cameras: Cameras, generator: torch.Generator) -> Cameras:
        """Cameras whose neighbours stand and look a little wrong."""
        degrees, metres = self.hparams.camera_noise
        if not happens(0.5, generator):
            return cameras
        count = len(cameras) - 1
        size = float(uniform(0.0, 1.0, generator))
        turns = torch.deg2rad(size * degrees * torch.randn(count, 3, generator=generator).double() / 3**0.5)
        moved = cameras.camera_to_world.clone()
        moved[1:, :3, :3] = moved[1:, :3, :3] @ matrices_from_vectors(turns)
        moved[1:, :3, 3] += size * metres * torch.randn(count, 3, generator=generator).double() / 3**0.5
        return replace(cameras, camera_to_world=moved)


def _window(height: int, width: int, aspect: float, generator: torch.Generator) -> CropBox:
    """A window of a picture of an aspect (height / width): as large as it can be in half of the draws, else down to 60 %."""
    rows, columns = (height, height / aspect) if height / aspect <= width else (width * aspect, width)
    size = 1.0 if happens(0.5, generator) else float(uniform(0.6, 1.0, generator))
    rows, columns = round(rows * size), round(columns * size)
    top = int(torch.randint(height - rows + 1, (), generator=generator))
    left = int(torch.randint(width - columns + 1, (), generator=generator))
    return CropBox(top, left, rows, columns)


def _mirrored(cameras: Cameras) -> Cameras:
    """Cameras of mirrored pictures of a mirrored world."""
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    intrinsics = cameras.intrinsics.clone()
    intrinsics[..., 0, 2] = 1 - intrinsics[..., 0, 2]
    return replace(cameras, camera_to_world=flip @ cameras.camera_to_world @ flip, intrinsics=intrinsics)


class StereoModule(lightning.LightningModule):
    """Trains the stereo network: errors of the logarithm of depth and of its gradients, and how large they are to be expected.

    Args:
        network: keyword arguments of `StereoNetwork`.
        init_from: folder of a network to start from, whose configuration is then taken; None starts anew.
        learning_rate: of AdamW; it warms up over 150 steps and falls to nothing over the last part of the training.
        decay_from: share of the training after which it falls.
        gradient_weight: weight of the error of the gradients, which keeps outlines.
        error_weight: weight of the likelihood of the errors under the expected ones (Laplace).
    """

    def __init__(
        self,
        network: dict | None = None,
        init_from: str | None = None,
        learning_rate: float = 5e-4,
        decay_from: float = 0.5,
        gradient_weight: float = 0.5,
        error_weight: float = 0.1,
    ):
        super().__init__()
        self.save_hyperparameters()
        if init_from is None:
            self.network = StereoNetwork(**(network or {}))
        else:
            self.network = StereoNetwork.from_pretrained(init_from, use_safetensors=True)

    def check_data(self, data: lightning.LightningDataModule) -> None:
        """Refuse data that are no pictures with neighbours.

        Args:
            data: that it is to be trained on.

        Raises:
            ValueError: for other data.
        """
        if not isinstance(data, StereoData):
            raise ValueError(f"data.class_path {type(data).__name__}: the stereo network is trained on StereoData.")

    def training_step(self, batch: StereoBatch, batch_index: int) -> Tensor:
        """Loss of one batch."""
        losses = self.losses(batch)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, batch_size=len(batch.pictures))
        return losses["loss"]

    def losses(self, batch: StereoBatch) -> dict[str, Tensor]:
        """The terms of the objective, their sum as `loss`, and the mean absolute error of log depth with and without neighbours."""
        output = self.network(batch.pictures, batch.neighbours, batch.projections, batch.alone)
        return stereo_losses(output, batch.depth, batch.alone, self.hparams.gradient_weight, self.hparams.error_weight)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.hparams.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)

    def on_train_batch_start(self, batch: StereoBatch, batch_index: int) -> None:
        """Warm up, hold, fall."""
        left = (1 - Progress.of(self.trainer).at(self.global_step)) / (1 - self.hparams.decay_from)
        scale = min(1.0, (self.global_step + 1) / 150) * min(1.0, max(left, 0.01))
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.learning_rate * scale


def stereo_losses(
    output: StereoOutput, depth: Tensor, alone: Tensor, gradient_weight: float, error_weight: float
) -> dict[str, Tensor]:
    """How well depth is read.

    Args:
        output: of B pictures.
        depth: [B, H, W] true depth, 0 where unknown.
        alone: [B] bool: which were read without neighbours.
        gradient_weight, error_weight: of `StereoModule`.
    """
    known = (depth > LEAST_DEPTH).float()
    truth = depth.clamp(min=LEAST_DEPTH).log()
    small_known = F.avg_pool2d(known[:, None], 2)[:, 0].floor()
    small_truth = F.avg_pool2d(truth[:, None], 2)[:, 0]
    error = (output.log_depth - truth).abs() * known
    coarse = (output.coarse_log_depth - small_truth).abs() * small_known
    edges = 0.0
    for axis in (-1, -2):
        difference = (output.log_depth.diff(dim=axis) - truth.diff(dim=axis)).abs()
        both = known.narrow(axis, 1, known.shape[axis] - 1) * known.narrow(axis, 0, known.shape[axis] - 1)
        edges = edges + (difference * both).sum() / both.sum().clamp(min=1)
    small_error = F.avg_pool2d(error.detach()[:, None], 2)[:, 0]
    likelihood = (small_error * torch.exp(-output.log_error) + output.log_error) * small_known
    full, half = error.sum() / known.sum().clamp(min=1), coarse.sum() / small_known.sum().clamp(min=1)
    expected = likelihood.sum() / small_known.sum().clamp(min=1)
    losses = {"loss": full + half + gradient_weight * edges + error_weight * expected, "edges": edges}
    by_picture = error.detach().flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
    for name, which in (("stereo", ~alone), ("alone", alone)):
        if which.any():
            losses[name] = by_picture[which].mean()
    return losses

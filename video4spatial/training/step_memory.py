"""What a step of a training will need in memory, known before its data are made.

Of the small networks one example of zeros is passed through, and what it keeps for the gradients is counted; of the model it is arithmetic
(`module.step_bytes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import singledispatch
from typing import Any

import lightning
import torch

from video4spatial.cameras import Cameras
from video4spatial.models.cost import PROCESS_BYTES
from video4spatial.models.stereo import PlaneProjections
from video4spatial.training import module as denoiser
from video4spatial.training.autoencoder import AutoencoderModule
from video4spatial.training.module import COPIES_OF_WEIGHTS, DenoiserModule
from video4spatial.training.pair_data import PAIRS, PairBatch
from video4spatial.training.pair_pose import PairPoseModule
from video4spatial.training.refiner import PictureBatch, RefinerModule
from video4spatial.training.stereo import StereoBatch, StereoModule

BACKWARD = 1.3
"""What a step holds at most, as a multiple of what its pass forward keeps: gradients of activations come while these are given up."""


@singledispatch
def step_bytes(module: lightning.LightningModule, data: lightning.LightningDataModule) -> int | None:
    """Memory in bytes that the largest step of a training needs: weights, gradients, the optimiser's and averaged ones, activations.

    Args:
        module: what is trained.
        data: that fit it, before they are set up.

    Returns:
        None for modules of others, of which nothing is known.
    """
    return None


@step_bytes.register
def _of_denoiser(module: DenoiserModule, data: lightning.LightningDataModule) -> int:
    return denoiser.step_bytes(module, data)


@step_bytes.register
def _of_autoencoder(module: AutoencoderModule, data: lightning.LightningDataModule) -> int:
    return _measured(module, torch.zeros(1, 3, data.hparams.size, data.hparams.size), data.hparams.batch_size)


@step_bytes.register
def _of_refiner(module: RefinerModule, data: lightning.LightningDataModule) -> int:
    window = data.variation
    size = (data.hparams.size,) * 2 if window is None else (window.height, window.width)
    picture, guidance = torch.zeros(1, 3, *size), torch.zeros(1, 1 + module.network.config.views, 6, *size)
    return _measured(module, PictureBatch(picture, guidance, picture), data.hparams.batch_size)


@step_bytes.register
def _of_stereo(module: StereoModule, data: lightning.LightningDataModule) -> int:
    size = max(data.hparams.sizes, key=lambda size: data.references(*size) * math.prod(size))
    views = 1 + data.hparams.neighbours
    cameras = Cameras.stacked([Cameras.from_fov(torch.eye(4, dtype=torch.float64).repeat(views, 1, 1), 70.0)])
    pictures, depth = torch.zeros(1, views, 3, *size), torch.ones(1, *size)
    projections = PlaneProjections.between(cameras[:1], cameras[1:])
    example = StereoBatch(pictures[:, 0], pictures[:, 1:], projections, torch.zeros(1, dtype=torch.bool), depth)
    return _measured(module, example, data.references(*size))


@step_bytes.register
def _of_pair_motions(module: PairPoseModule, data: lightning.LightningDataModule) -> int:
    count, size = data.hparams.pictures, data.hparams.size
    pairs = [(first, first + apart) for apart, most in PAIRS for first in range(max(0, min(most, count - apart)))]
    cameras = Cameras.from_fov(torch.eye(4, dtype=torch.float64).repeat(count, 1, 1), 70.0)
    depth = torch.zeros(count, module.network.grid**2)
    pictures = torch.zeros(count, 3, size, size)
    example = PairBatch(pictures, cameras.intrinsics.float(), cameras.camera_to_world.float(), depth, torch.tensor(pairs))
    return _measured(module, example, data.hparams.walks)


def _measured(module: lightning.LightningModule, example: Any, count: int) -> int:
    """What a step of so many such examples needs."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    with torch.random.fork_rng(devices=[]):
        kept = kept_bytes(lambda: module.losses(example)["loss"])
    return COPIES_OF_WEIGHTS * 4 * parameters + PROCESS_BYTES + round(BACKWARD * count * kept)


def kept_bytes(compute: Callable[[], torch.Tensor]) -> int:
    """Bytes of the tensors that a pass keeps for its gradients, each storage counted once.

    Args:
        compute: does the pass.
    """
    sizes: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        compute()
    return sum(sizes.values())

"""The stereo network as an estimator of depth for `SceneGeometry`: which neighbours it is given, at which size, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.cameras import Cameras
from video4spatial.geometry.plane_sweep import PlaneSweepSettings, neighbours
from video4spatial.geometry.polishing import polished
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.models.stereo import GRID, PlaneProjections, StereoNetwork, StereoOutput
from video4spatial.spread import evenly_spread

NEIGHBOURS = PlaneSweepSettings(views=4, baseline=0.35, most_turned=60.0)
"""Frames that a reference is compared with: from about 0.35 m aside, turned by less than 60 degrees."""

FARTHEST_NEIGHBOUR = 3.5
"""Metres: frames from farther away see too little of the same."""

PROBED, PROBED_PIXELS = 4, 64 * 64
"""Frames, and their pixels, that a unit is tried on."""

UNIT_MARGIN = 1.15
"""By how much more confident another unit must make the network than the cameras' own."""

RIGHT_WITHIN = 0.1
"""Confidence is the probability of a relative error of depth below this."""


class StereoDepth:
    """Depth of frames by the stereo network, from neighbours of known metric cameras, or from each picture alone.

    Args:
        network: the trained network.
        working_pixels: pictures are resized to about so many pixels; depth comes out at that size.
        batch_size: references at once.
        polish: whether what the network says is made exact where other frames show how (`geometry.polishing`).
    """

    name = "stereo network"
    licence = "Apache-2.0, trained with this package on simulated rooms"

    def __init__(self, network: StereoNetwork, working_pixels: int = 128 * 128, batch_size: int = 4, polish: bool = True):
        self.network = network.eval()
        self.working_pixels, self.batch_size, self.polish = working_pixels, batch_size, polish

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu", **options) -> StereoDepth:
        """Of a network's folder.

        Args:
            folder: as `StereoNetwork.save_pretrained` writes it.
            device: where to compute.
            options: of the class.
        """
        network = StereoNetwork.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True).to(device)
        return cls(network, **options)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which pictures of a size are looked at: multiples of `GRID`, about `working_pixels` in all."""
        scale = math.sqrt(self.working_pixels / (height * width))
        scale = min(scale, max(1.0, 64 / min(height, width)))  # pictures are not made larger than they need to be
        return tuple(max(GRID, GRID * round(side * scale / GRID)) for side in (height, width))

    def __call__(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
        """See `DepthEstimator`. Depth comes at the working size, which may be smaller than the frames.

        Args:
            frames: [N, H, W, 3] uint8 of one scene.
            cameras: N cameras of any unit.
            references: indices of the R frames that are given depth.
        """
        unit = self.unit(frames, cameras)
        maps = self._read_all(frames, cameras.scaled(unit), references)
        maps = replace(maps, depth=maps.depth / np.float32(unit))
        return polished(frames, cameras, maps, references) if self.polish else maps

    def unit(self, frames: np.ndarray, cameras: Cameras) -> float:
        """The factor on lengths under which the network is most confident. It knows rooms in metres; what is seen from nearer or
        farther looks to it like a room of another size.

        Args:
            frames: [N, H, W, 3] uint8.
            cameras: their N cameras.

        Returns:
            1 for metric cameras of rooms, and wherever nothing speaks for another one.
        """
        apart = torch.cdist(cameras.positions, cameras.positions).sort(dim=1).values[:, 1 : 1 + NEIGHBOURS.views]
        usual = float(apart[:, -1].median()) if apart.numel() else 0.0
        if usual <= 0:
            return 1.0
        tried = [NEIGHBOURS.baseline / usual * 2.0**power for power in range(-2, 4)]
        references = evenly_spread(len(frames), min(PROBED, len(frames)), 0)
        small = StereoDepth(self.network, PROBED_PIXELS, self.batch_size)
        height, width = small.working_size(*frames.shape[1:3])
        pictures = np.stack([resized(frame, height, width) for frame in frames])

        def confidence(unit: float) -> float:
            return float(small._read_all(pictures, cameras.scaled(unit), references).confidence.mean())

        own = 1.0 if cameras.metric else NEIGHBOURS.baseline / usual
        best = max(tried, key=confidence)
        return best if confidence(best) > UNIT_MARGIN * confidence(own) else own

    def _read_all(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
        """Depth of references, lengths being metres to the network."""
        found = [_neighbours(cameras, reference) for reference in references]
        features = self._features(frames, sorted({*references, *(index for group in found for index in group)}))
        place = {frame: row for row, frame in enumerate(features[1])}
        outputs = []
        paired = [index for index, group in enumerate(found) if group]
        depth, confidence = [None] * len(references), [None] * len(references)
        for chosen in (paired, [index for index, group in enumerate(found) if not group]):
            for start in range(0, len(chosen), self.batch_size):
                batch = chosen[start : start + self.batch_size]
                groups = [_filled(found[index]) for index in batch] if chosen is paired else None
                outputs = self._read(features[0], [references[index] for index in batch], groups, cameras, place)
                for index, one_depth, one_confidence in zip(batch, *_depth_and_confidence(outputs)):
                    depth[index], confidence[index] = one_depth, one_confidence
        reasons = tuple("" if group else "no other frame sees it from aside: read from this picture alone" for group in found)
        return DepthMaps(np.stack(depth), np.stack(confidence), reasons)

    def alone(self, frames: np.ndarray) -> DepthMaps:
        """Depth in metres of pictures, each read by itself.

        Args:
            frames: [N, H, W, 3] uint8.
        """
        features, order = self._features(frames, list(range(len(frames))))
        with torch.no_grad():
            output = self.network.from_features(features, torch.arange(len(order), device=features.device), None, None)
        depth, confidence = _depth_and_confidence(output)
        return DepthMaps(depth, confidence, ("read from this picture alone",) * len(frames))

    @torch.no_grad()
    def _features(self, frames: np.ndarray, indices: list[int]) -> tuple[Tensor, list[int]]:
        """Features of some frames, and which."""
        height, width = self.working_size(*frames.shape[1:3])
        features = []
        for start in range(0, len(indices), 16):
            batch = [resized(frames[index], height, width) for index in indices[start : start + 16]]
            pictures = torch.from_numpy(np.stack(batch)).movedim(-1, 1).to(self.network.device).float() / 127.5 - 1
            features.append(self.network.features(pictures))
        return torch.cat(features), indices

    @torch.no_grad()
    def _read(
        self, features: Tensor, references: list[int], groups: list[list[int]] | None, cameras: Cameras, place: dict[int, int]
    ) -> StereoOutput:
        device = features.device
        rows = torch.tensor([place[index] for index in references], device=device)
        if groups is None:
            return self.network.from_features(features, rows, None, None)
        others = torch.tensor([[place[index] for index in group] for group in groups], device=device)
        pairs = [(cameras[reference], cameras[group]) for reference, group in zip(references, groups)]
        own, seen = Cameras.stacked([pair[0] for pair in pairs]), Cameras.stacked([pair[1] for pair in pairs])
        return self.network.from_features(features, rows, others, PlaneProjections.between(own, seen).to(device))


def _neighbours(cameras: Cameras, reference: int) -> list[int]:
    """The frames that a reference is compared with, the best first."""
    away = torch.linalg.vector_norm(cameras.positions - cameras.positions[reference], dim=-1)
    return [index for index in neighbours(cameras, reference, 1.0, NEIGHBOURS) if away[index] < FARTHEST_NEIGHBOUR]


def _filled(group: list[int]) -> list[int]:
    """As many neighbours as there should be: the best again where there are fewer, which changes neither mean nor maximum much."""
    return (group * NEIGHBOURS.views)[: NEIGHBOURS.views]


def _depth_and_confidence(output: StereoOutput) -> tuple[np.ndarray, np.ndarray]:
    """Depth and the probability that it is right to within `RIGHT_WITHIN`, for errors spread as Laplace says."""
    size = output.log_depth.shape[-2:]
    log_error = F.interpolate(output.log_error[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    confidence = 1 - torch.exp(-RIGHT_WITHIN * torch.exp(-log_error))
    return output.log_depth.exp().float().cpu().numpy(), confidence.float().cpu().numpy()


def resized(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture [H, W, 3] uint8 at another size, area-averaged where it becomes smaller."""
    if frame.shape[:2] == (height, width):
        return frame
    smaller = height * width < frame.shape[0] * frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)

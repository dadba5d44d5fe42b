"""The network of pair motions as the estimator that `geometry.pose_graph` asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.geometry.pose_graph import MeasuredMotions
from video4spatial.models.pair_pose import PairPoseNetwork, PlaceFeatures

PAIRS_AT_ONCE = 64


class PairMotionNetwork:
    """Reads motions in metres from pairs of pictures, in both directions; the two are two measurements of one motion.

    Args:
        network: the trained network.
    """

    name = "pair network"
    licence = "Apache-2.0, trained with this package on simulated rooms"

    def __init__(self, network: PairPoseNetwork):
        self.network = network.eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: torch.device | str = "cpu") -> PairMotionNetwork:
        """Of a network's folder.

        Args:
            folder: as `PairPoseNetwork.save_pretrained` writes it.
            device: where to compute.
        """
        return cls(PairPoseNetwork.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True).to(device))

    @torch.no_grad()
    def likeness(self, frames: np.ndarray, intrinsics: Tensor) -> np.ndarray:
        """Share of each frame's places [N, N] that are surely found in each other frame. See `MotionEstimator`."""
        places = self._places(frames, intrinsics)
        first, second = np.triu_indices(len(frames), 1)
        found = np.eye(len(frames))
        for chunk in np.array_split(np.arange(len(first)), max(1, len(first) // PAIRS_AT_ONCE)):
            matches = self.network.matches(places[first[chunk]], places[second[chunk]])
            found[first[chunk], second[chunk]] = (matches.sure > 0.4).float().mean(-1).cpu().numpy()
        return np.maximum(found, found.T)

    @torch.no_grad()
    def __call__(self, frames: np.ndarray, intrinsics: Tensor, pairs: np.ndarray) -> MeasuredMotions:
        """Motions of pairs [P, 2] and, after them, of the same pairs turned round: [2 P]. See `MotionEstimator`."""
        places = self._places(frames, intrinsics)
        both = np.concatenate([pairs, pairs[:, ::-1]])
        found = [
            self.network.motions(places[chunk[:, 0]], places[chunk[:, 1]])
            for chunk in np.array_split(both, max(1, len(both) // PAIRS_AT_ONCE))
        ]
        rotation, translation, turn_error, shift_error = (torch.cat(values).double().cpu() for values in zip(*found, strict=True))
        return MeasuredMotions(both, rotation, translation, turn_error.exp(), shift_error.exp())

    def _places(self, frames: np.ndarray, intrinsics: Tensor) -> PlaceFeatures:
        device, size = self.network.device, (self.network.config.size,) * 2
        pictures = torch.stack([
            F.interpolate(
                torch.from_numpy(np.array(frame)).to(device).permute(2, 0, 1)[None].float() / 255, size,
                mode="bilinear", antialias=True, align_corners=False,
            )[0]
            for frame in frames
        ])  # fmt: skip
        return self.network.places(pictures, intrinsics.float().to(device))

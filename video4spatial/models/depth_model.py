"""Depth models from a folder that the user has, such as Depth Anything, as estimators of depth for `SceneGeometry`.

Nothing is downloaded. Such a model reads each picture by itself, so its depth jumps from frame to frame; it is laid over what the
stereo network reads from several frames, which also brings it to the unit of the cameras.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.models.stereo_depth import StereoDepth

TRUSTED = 0.3
"""Confidence from which on the stereo network's depth takes part in laying a model's depth over it."""

FEWEST = 64
"""Pixels of such confidence that it takes."""

ROUNDS = 4
"""Times that what does not fit is weighed down and the fit is made anew."""


class DepthModel:
    """Depth by a model of the library transformers (`AutoModelForDepthEstimation`: Depth Anything, DPT, ZoeDepth, ...).

    Args:
        folder: with the model and its image processor, as `save_pretrained` writes them.
        stereo: what its depth is laid over.
        device: where it computes.

    Raises:
        FileNotFoundError: for a folder without a model.
        ImportError: without transformers.
        ValueError: for a model of another kind.
    """

    def __init__(self, folder: str | Path, stereo: StereoDepth, device: torch.device | str = "cpu"):
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: no model there (no config.json): expected a depth model as transformers saves it.")
        try:
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation
        except ImportError as error:
            raise ImportError(f"{folder}: depth models need the library transformers: pip install transformers") from error
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            model = AutoModelForDepthEstimation.from_pretrained(folder, use_safetensors=True, **local)
            self.processor = AutoImageProcessor.from_pretrained(folder, **local)
        except (ValueError, OSError) as error:
            raise ValueError(f"{folder}: expected a depth model and its image processor, as transformers saves them: {error}") from error
        self.model, self.stereo = model.eval().to(device), stereo
        self.metric = getattr(model.config, "depth_estimation_type", None) == "metric"
        self.name = f"{json.loads((folder / 'config.json').read_text()).get('architectures', ['depth model'])[0]} over the {stereo.name}"
        self.licence = _licence(folder)

    def __call__(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
        """See `DepthEstimator`. Frames where the two do not fit each other keep the stereo network's depth, and say so."""
        maps = self.stereo(frames, cameras, references)
        depth, confidence, reasons = maps.depth.copy(), maps.confidence.copy(), list(maps.reasons)
        for row, reference in enumerate(references):
            read = self._read(frames[reference], maps.depth.shape[1:])
            try:
                depth[row], error = self._laid_over(read, maps.depth[row], maps.confidence[row])
            except GeometryError as reason:
                reasons[row] = "; ".join(filter(None, (reasons[row], str(reason))))
                continue
            confidence[row] = np.clip(maps.confidence[row] * np.exp(-error / 0.2) * 1.2, 0, 1)
        return DepthMaps(depth, confidence, tuple(reasons))

    @torch.no_grad()
    def _read(self, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What the model says of a frame [H, W, 3]: depth, or inverse depth up to scale and shift; [h, w]."""
        inputs = self.processor(images=frame, return_tensors="pt").to(self.model.device)
        read = self.model(**inputs).predicted_depth[0].float().cpu().numpy()
        return cv2.resize(read, size[::-1], interpolation=cv2.INTER_LINEAR)

    def _laid_over(self, read: np.ndarray, depth: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The model's depth in the unit of the stereo network's, by weighted least squares in inverse depth (Ranftl et al., Towards
        Robust Monocular Depth Estimation, TPAMI 2022, eq. 5), and how far in its logarithm each pixel is from that.

        Raises:
            GeometryError: where there is too little to lay it over, or it turns out upside down.
        """
        trusted = (confidence > TRUSTED) & np.isfinite(read)
        if trusted.sum() < FEWEST:
            raise GeometryError("too little of it is known by stereo to lay the depth model's over it")
        values = 1 / np.clip(read, 1e-3, None) if self.metric else read
        inverse = 1 / depth[trusted]
        columns = np.stack([values[trusted], np.zeros_like(inverse) if self.metric else np.ones_like(inverse)], axis=1)
        weights = confidence[trusted].copy()
        for _ in range(ROUNDS):
            scale, shift = np.linalg.lstsq(columns * weights[:, None], inverse * weights, rcond=None)[0]
            apart = np.abs(columns @ (scale, shift) - inverse) / inverse
            weights = confidence[trusted] / (1 + (apart / 0.1) ** 2)
        if scale <= 0:
            raise GeometryError("the depth model contradicts what stereo reads")
        found = 1 / np.clip(scale * values + shift, 1 / (4 * depth.max()), None)
        return found.astype(np.float32), np.abs(np.log(found / depth)).astype(np.float32)


def _licence(folder: Path) -> str:
    """What the folder's model card says of its licence."""
    card = folder / "README.md"
    found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8"), re.MULTILINE) if card.is_file() else None
    return found[1] if found else f"not said in {folder.name}: see where it came from"

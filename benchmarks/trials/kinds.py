"""Every kind of input by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from video4spatial.cameras import FORMATS

from .camera_inputs import camera_file, keyframes, trajectories
from .data_inputs import banks, manifests, shards
from .footage_inputs import depth_maps, geometries, pictures, videos
from .inputs import Kind
from .model_inputs import (
    checkpoints, curation_configurations, model_folders, sampling_configurations, scenes, training_configurations,
)  # fmt: skip

KINDS: dict[str, tuple[Callable[[Path], Kind], float]] = {
    **{f"cameras_{name}": (camera_file(name), 4.0) for name in FORMATS},
    "keyframes": (keyframes, 5.0), "trajectories": (trajectories, 15.0), "videos": (videos, 8.0), "pictures": (pictures, 8.0),
    "manifests": (manifests, 6.0), "shards": (shards, 8.0), "configurations_sampling": (sampling_configurations, 5.0),
    "configurations_curation": (curation_configurations, 1.0), "configurations_training": (training_configurations, 0.4),
    "checkpoints": (checkpoints, 4.0), "banks": (banks, 3.0), "model_folders": (model_folders, 4.0), "scenes": (scenes, 4.0),
    "geometries": (geometries, 4.0), "depth_maps": (depth_maps, 4.0),
}  # fmt: skip
"""Kinds of inputs by name, and their share of the cases."""

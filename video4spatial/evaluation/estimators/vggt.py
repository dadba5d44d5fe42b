"""Estimator `vggt`: the cameras that a VGGT model reads off context and generated frames in one pass.

A plug-in: the package `vggt` (github.com/facebookresearch/vggt) and the weights must lie on disk, and nothing is
downloaded. One pass over all frames, because every pass has a scale of its own. Whoever trains on such a model's cameras
should not also score by them.
"""

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid, nearest_rotation
from video4spatial.evaluation.metrics.plugins import Plugin
from video4spatial.geometry.estimated_cameras import EstimatedCameras, aligned_poses
from video4spatial.geometry.structure_from_motion import CONTEXT
from video4spatial.spread import thinned

MODEL = "facebook/VGGT-1B"

PLUGIN = Plugin(
    "vggt", MODEL, "main", "VGGT licence v1, non-commercial", f"https://huggingface.co/{MODEL}", libraries=("vggt",)
)


def missing() -> str | None:
    """Why it cannot run here, or None."""
    lacking = PLUGIN.lacking()
    if lacking:
        return lacking
    if _weights() is None:
        return f"weights {MODEL} are not on disk and are never downloaded unasked ({PLUGIN.licence}, {PLUGIN.url})"
    return None


def cameras_by_vggt(
    frames: np.ndarray,
    intrinsics: Tensor,
    anchor: Cameras,
    context_frames: np.ndarray | None = None,
    context_cameras: Cameras | None = None,
) -> EstimatedCameras:
    """Cameras of all frames; the model gives no confidence per camera, so there is none.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised, kept as they are.
        anchor: camera of frame 0 (T = 1).
        context_frames: [N, h, w, 3] uint8, of which at most `CONTEXT` take part, or None.
        context_cameras: their N cameras in the anchor's world, or None.
    """
    from vggt.utils.load_fn import load_and_preprocess_images
    from vggt.utils.pose_enc import pose_encoding_to_extri_intri

    chosen = [] if context_frames is None else thinned(len(context_frames), CONTEXT)
    pictures = [*frames, *(context_frames[index] for index in chosen)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number:05d}.png") for number in range(len(pictures))]
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture).save(path)
        images = load_and_preprocess_images(paths)
    with torch.no_grad():
        encoded = _model()(images)["pose_enc"]
    motions, _ = pose_encoding_to_extri_intri(encoded, images.shape[-2:])
    world_to_camera = torch.eye(4, dtype=torch.float64).repeat(len(pictures), 1, 1)
    world_to_camera[:, :3] = motions[0].double()
    world_to_camera[:, :3, :3] = nearest_rotation(world_to_camera[:, :3, :3])
    poses = invert_rigid(world_to_camera)
    count = len(frames)
    context = {index: poses[count + number] for number, index in enumerate(chosen)}
    placed, metric = aligned_poses(dict(enumerate(poses[:count])), context, anchor, context_cameras)
    return EstimatedCameras.from_poses(placed, intrinsics, anchor, metric=metric, convention="estimated by VGGT")


def _weights() -> str | None:
    """The weights' file in the cache of the Hugging Face hub, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(MODEL, "model.safetensors", revision=PLUGIN.revision)
    return found if isinstance(found, str) else None


@functools.cache
def _model() -> torch.nn.Module:
    from vggt.models.vggt import VGGT

    return VGGT.from_pretrained(str(Path(_weights()).parent), local_files_only=True).eval()

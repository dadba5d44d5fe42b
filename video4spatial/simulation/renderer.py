"""Exact colour, depth and instance pictures of a simulated scene for any cameras."""

from dataclasses import dataclass

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.simulation import raycast_numba, raycast_torch
from video4spatial.simulation.scene import Scene

BACKENDS = ("auto", "torch", "numba")


@dataclass(frozen=True)
class Rendering:
    """Pictures of a scene.

    Args:
        rgb: colour, uint8 [T, H, W, 3].
        depth: z-depth in metres, float32 [T, H, W]; 0 where nothing is hit.
        instance: instance ids, int32 [T, H, W]; 0 where nothing is hit.
    """

    rgb: np.ndarray
    depth: np.ndarray
    instance: np.ndarray


def render(
    scene: Scene, cameras: Cameras, height: int, width: int, supersample: int = 1, backend: str = "auto", device=None
) -> Rendering:
    """Render a scene from every camera.

    Args:
        scene: what to render.
        cameras: [T] cameras in the scene's world; intrinsics without skew.
        height, width: picture size in pixels.
        supersample: colour is the box-filtered mean of supersample x supersample rays per pixel; depth and instance
            always belong to the one ray through the pixel centre.
        backend: "torch" (any device), "numba" (CPU), or "auto": torch on an accelerator, numba on the CPU.
        device: where "torch" works, default CPU.

    Returns:
        The `Rendering` of T frames.

    Raises:
        ValueError: on an unknown backend, a size or supersample below 1, or batched cameras.
    """
    device = torch.device("cpu" if device is None else device)
    problems = []
    if backend not in BACKENDS:
        problems.append(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if backend == "numba" and device.type != "cpu":
        problems.append(f"backend numba works on the CPU only, but device is {device}; use backend torch")
    if min(height, width, supersample) < 1:
        problems.append(f"height {height}, width {width} and supersample {supersample} must be at least 1")
    if cameras.camera_to_world.ndim != 3:
        problems.append(f"camera_to_world has shape {tuple(cameras.camera_to_world.shape)}, expected [T, 4, 4]")
    if problems:
        raise ValueError("cannot render: " + "; ".join(problems))
    poses = cameras.camera_to_world[:, :3].float().contiguous()
    intrinsics = cameras.intrinsics.float()
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], -1)
    principal = intrinsics[:, :2, 2].contiguous()
    if backend == "auto":
        backend = "numba" if device.type == "cpu" else "torch"
    if backend == "numba":
        return Rendering(
            *raycast_numba.render_frames(
                scene, poses.numpy(), focal.numpy(), principal.numpy(), height, width, supersample
            )
        )
    parts = raycast_torch.render_frames(
        scene, poses.to(device), focal.to(device), principal.to(device), height, width, supersample
    )
    return Rendering(*(part.cpu().numpy() for part in parts))

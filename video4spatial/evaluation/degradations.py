"""Known faults, by degrees: pure functions of cameras, frames or a scene and a level, 0 of which changes nothing."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors, slerp
from video4spatial.simulation.pieces import BOX
from video4spatial.simulation.scenes import Scene

METRES_PER_DEGREE = 0.01
"""How far `camera_noise` moves a camera for each degree that it turns it."""

WARP_SMOOTHNESS = 6.0
"""Gaussian in pixels at a height of 64 that makes the warp of `swimming` smooth."""


def camera_noise(cameras: Cameras, degrees: float, seed: int = 0) -> Cameras:
    """Turn each camera after the first about an axis of its own, and move it a centimetre per degree.

    Args:
        cameras: T cameras.
        degrees: by which each is turned.
        seed: of the axes and directions.
    """
    rng = np.random.default_rng(seed)
    axes, directions = (torch.from_numpy(_unit(rng.normal(size=(len(cameras), 3)))) for _ in range(2))
    motion = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    motion[1:, :3, :3] = matrices_from_vectors(np.radians(degrees) * axes[1:])
    motion[1:, :3, 3] = METRES_PER_DEGREE * degrees * directions[1:]
    return replace(cameras, camera_to_world=cameras.camera_to_world @ motion)


def scale_drift(cameras: Cameras, drift: float) -> Cameras:
    """Shorten steps more and more along the path.

    Args:
        cameras: T cameras.
        drift: share of the last step that is lost, 0 to 1; the first is kept whole.
    """
    steps = torch.diff(cameras.positions, dim=0)
    factors = 1 - drift * torch.linspace(0, 1, len(steps), dtype=steps.dtype)[:, None]
    return _at(cameras, torch.cat([cameras.positions[:1], cameras.positions[:1] + torch.cumsum(factors * steps, 0)]))


def wrong_turn(cameras: Cameras, share: float) -> Cameras:
    """Turn the other way.

    Args:
        cameras: T cameras.
        share: 0 to 1; at 0.5 the camera does not turn at all, at 1 its turn is mirrored.
    """
    kept = 1 - 2 * share
    turns = cameras.rotations[:1].mT @ cameras.rotations
    turns = slerp(torch.eye(3, dtype=turns.dtype).expand_as(turns), turns, torch.full(turns.shape[:1], abs(kept)))
    poses = cameras.camera_to_world.clone()
    poses[:, :3, :3] = cameras.rotations[:1] @ (turns if kept >= 0 else turns.mT)
    return replace(cameras, camera_to_world=poses)


def backwards(cameras: Cameras, share: float) -> Cameras:
    """Go the other way, turning as before.

    Args:
        cameras: T cameras.
        share: 0 to 1; at 0.5 the camera stands still, at 1 it goes backwards.
    """
    start = cameras.positions[:1]
    return _at(cameras, start + (1 - 2 * share) * (cameras.positions - start))


def frozen(frames: np.ndarray, share: float) -> np.ndarray:
    """Let the end of a video stand still.

    Args:
        frames: [T, H, W, 3] uint8.
        share: of frames 1..T-1, from the end.
    """
    return frames[np.minimum(np.arange(len(frames)), len(frames) - 1 - round(share * (len(frames) - 1)))]


def replaced(frames: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    """Show other frames at the end of a video.

    Args:
        frames, others: [T, H, W, 3] uint8 each.
        share: of frames 1..T-1, from the end.
    """
    kept = len(frames) - round(share * (len(frames) - 1))
    return np.concatenate([frames[:kept], others[kept:]])


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Blur each frame.

    Args:
        frames: [T, H, W, 3] uint8.
        sigma: of the Gaussian in pixels at a height of 64; it grows with the height.
    """
    pixels = sigma * frames.shape[1] / 64
    return gaussian_filter(frames.astype(np.float32), (0, pixels, pixels, 0)).round().clip(0, 255).astype(np.uint8)


def swimming(frames: np.ndarray, pixels: float, seed: int = 0) -> np.ndarray:
    """Warp every frame smoothly in a way of its own.

    Args:
        frames: [T, H, W, 3] uint8.
        pixels: root mean square of the shifts at a height of 64.
        seed: of the warps.
    """
    height, width = frames.shape[1:3]
    scale = height / 64
    noise = np.random.default_rng(seed).normal(size=(len(frames), height, width, 2))
    shifts = gaussian_filter(noise, (0, WARP_SMOOTHNESS * scale, WARP_SMOOTHNESS * scale, 0))
    shifts *= pixels * scale / np.sqrt((shifts**2).sum(-1).mean((1, 2)))[:, None, None, None]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    maps = (shifts + np.stack([columns, rows], -1)).astype(np.float32)
    return np.stack([cv2.remap(f, m, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for f, m in zip(frames, maps)])


def object_moved(scene: Scene, instance: int, displacement: np.ndarray) -> Scene:
    """Move an object.

    Args:
        scene: with the object.
        instance: id of the object.
        displacement: [3] metres.
    """
    return replace(scene, center=scene.center + np.float32(displacement) * (scene.instance == instance)[:, None])


def object_inserted(scene: Scene, place: np.ndarray, edge: float, like: int) -> Scene:
    """Hang a box in the air.

    Args:
        scene: to put it into.
        place: [3] metres, its middle.
        edge: metres.
        like: index of the primitive of the scene that it is coloured and lit like.
    """
    added = {"kind": BOX, "center": place, "half": (edge / 2,) * 3, "yaw": 0.5, "instance": len(scene.labels) + 1}
    fields = ("kind", "center", "half", "yaw", "instance", "face_layers", "uv_scale", "uv_offset", "light_gain", "emission")
    packed = {name: getattr(scene, name) for name in fields}
    return replace(scene, **{
        name: np.concatenate([rows, np.asarray([added.get(name, rows[like])], dtype=rows.dtype)])
        for name, rows in packed.items()
    })  # fmt: skip


def texture_faded(scene: Scene, share: float) -> Scene:
    """Take contrast from all textures.

    Args:
        scene: to change.
        share: 0 to 1; at 1 every surface has one colour.
    """
    texels = scene.texels.copy()
    for offset, height, width in scene.layers:
        picture = texels[offset : offset + height * width]
        picture += share * (picture.mean(0) - picture)
    return replace(scene, texels=texels)


def _at(cameras: Cameras, positions: torch.Tensor) -> Cameras:
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 3] = positions
    return replace(cameras, camera_to_world=poses)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

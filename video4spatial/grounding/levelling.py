"""A scene with its third axis up, and its floor, told by its cameras and surfaces alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.geometry.visibility import world_points
from video4spatial.grounding import NotFound

SURE = 0.3
"""Confidence from which a pixel's depth is used."""

TILTS = (30.0, 15.0, 8.0, 5.0)
"""Degrees within which surfaces count as level, of each pass in turn."""

LEAST_LEVEL = 0.02
"""Share of all surface that must be level for it to correct the cameras, and lie at one height to be the floor."""

TURNED = 0.05
"""Second least mean square of the cameras' right axes, on the axes along which they spread, from which they tell the vertical: to half a
degree on rooms, where level surfaces of estimated depth are off by two."""

PLACES = 4000
"""Pixels that are looked at, over all frames."""


@dataclass(frozen=True)
class LevelScene:
    """A scene whose third axis points up.

    Args:
        geometry: in the level world.
        pose: [4, 4] from the geometry's own world to the level one.
        floor: height of the floor, or None where none is seen.
    """

    geometry: SceneGeometry
    pose: Tensor
    floor: float | None

    @classmethod
    def of(cls, geometry: SceneGeometry, up: np.ndarray | None = None) -> LevelScene:
        """A geometry stood upright about the position of its first placed camera.

        Args:
            geometry: of the scene.
            up: [3] the vertical in its world, where it is known; by default what cameras and level surfaces say.

        Raises:
            NotFound: for a geometry without any camera.
        """
        if not geometry.placed.any():
            raise NotFound(f"no frame of the video could be placed in space ({geometry.reason}).")
        placed = np.flatnonzero(geometry.placed).tolist()
        cameras = geometry.cameras[placed]
        up = _up(geometry, cameras) if up is None else np.asarray(up, dtype=np.float64)
        pose = torch.eye(4, dtype=torch.float64)
        pose[:3, :3] = torch.from_numpy(_upright(up, cameras.forward[0].numpy()))
        level = replace(geometry, cameras=geometry.cameras.transformed(pose))
        return cls(level, pose, _floor(level))

    def height_above_floor(self, frame: int) -> float | None:
        """How high the camera of a frame is above the floor, or None where that is not known."""
        return None if self.floor is None else float(self.geometry.cameras.positions[frame, 2]) - self.floor


def surface_points(geometry: SceneGeometry, sure: float = SURE) -> np.ndarray:
    """The surface points of all pixels.

    Args:
        geometry: of N frames.
        sure: least confidence.

    Returns:
        [N, h, w, 3] float64; NaN where depth is not known so surely.
    """
    depth = torch.from_numpy(geometry.depth).double()
    points = world_points(geometry.cameras, depth).unflatten(1, depth.shape[1:]).numpy()
    known = (geometry.depth > 0) & (geometry.confidence >= sure) & geometry.placed[:, None, None]
    return np.where(known[..., None], points, np.nan)


def surface_normals(geometry: SceneGeometry) -> np.ndarray:
    """Directions of surfaces, towards the cameras that see them.

    Args:
        geometry: of N frames.

    Returns:
        [P, 3] unit vectors, at most about `PLACES` from all frames; none at outlines.
    """
    points = surface_points(geometry)
    right, down = points[:, 1:-1, 2:] - points[:, 1:-1, :-2], points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    middle = points[:, 1:-1, 1:-1]
    normals = np.cross(right, down)
    lengths = np.linalg.norm(normals, axis=-1)
    away = np.linalg.norm(middle - geometry.cameras.positions.numpy()[:, None, None], axis=-1)
    # Across an outline the neighbours are far apart for how far away they are.
    step = np.maximum(np.linalg.norm(right, axis=-1), np.linalg.norm(down, axis=-1))
    usual = np.nanmedian(step / away) if np.isfinite(step).any() else 0.0
    kept = np.flatnonzero((lengths > 1e-12) & (step < 4 * usual * away))
    kept = kept[:: max(1, len(kept) // PLACES)]
    normals = normals.reshape(-1, 3)[kept] / lengths.ravel()[kept, None]
    views = (geometry.cameras.positions.numpy()[:, None, None] - middle).reshape(-1, 3)[kept]
    return normals * np.where((normals * views).sum(1) < 0, -1.0, 1.0)[:, None]


def _up(geometry: SceneGeometry, cameras: Cameras) -> np.ndarray:
    """The vertical [3]: square to all cameras' right axes, which hands hold level; where all look the same way, that of surfaces."""
    right, tops = cameras.right.numpy(), cameras.up.numpy().mean(0)
    tops = tops / np.linalg.norm(tops) if np.linalg.norm(tops) > 0.1 else cameras.up[0].numpy()
    spread, axes = np.linalg.eigh(right.T @ right / len(right))
    up = axes[:, 0] * np.sign(axes[:, 0] @ tops or 1.0)
    if spread[1] >= TURNED and up @ tops > 0.7:
        return up
    return _corrected(tops, surface_normals(geometry))


def _corrected(up: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """The vertical by level surfaces near the one that cameras tell, ceilings included."""
    if not len(normals):
        return up
    for degrees in TILTS:
        along = normals @ up
        level = np.abs(along) > np.cos(np.radians(degrees))
        if level.mean() < LEAST_LEVEL:
            break
        mean = (normals[level] * np.sign(along[level])[:, None]).mean(0)
        up = mean / np.linalg.norm(mean)
    return up


def _upright(up: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] to a world with `up` as third axis, whose first axis lies as `forward` does."""
    ahead = forward - (forward @ up) * up
    if np.linalg.norm(ahead) < 1e-3:
        ahead = np.eye(3)[np.abs(up).argmin()]
        ahead = ahead - (ahead @ up) * up
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([ahead, np.cross(up, ahead), up])


def _floor(level: SceneGeometry) -> float | None:
    """The height of the lowest level that much of the surface lies at, well below the cameras."""
    points = surface_points(level)
    heights = points[..., 2][np.isfinite(points[..., 2])]
    if not len(heights):
        return None
    usual = float(np.median(level.depth[level.depth > 0]))
    band = 0.04 * usual
    counts, edges = np.histogram(heights, np.arange(heights.min(), heights.max() + 2 * band, band))
    both = counts[:-1] + counts[1:]
    enough = np.flatnonzero(both >= max(LEAST_LEVEL * len(heights), 0.3 * both.max()))
    lowest = float(level.cameras.positions[np.flatnonzero(level.placed).tolist(), 2].min())
    if not len(enough) or edges[enough[0] + 1] > lowest - 0.2 * usual:
        return None
    within = (heights >= edges[enough[0]]) & (heights <= edges[enough[0] + 2])
    return float(np.median(heights[within]))

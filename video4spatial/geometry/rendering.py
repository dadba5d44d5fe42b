"""Frames with depth seen from other cameras: the blend of all that show a place, and the best of them apart.

Each candidate frame's depth map is drawn into the target as a mesh that is cut between surfaces; colours are then looked up backward
in the frame, so that pictures stay sharp. Candidates are blended by how near their viewpoint is (Buehler et al., Unstructured
Lumigraph Rendering, SIGGRAPH 2001) with a soft z-buffer. The kernels are in `surface_kernels` (meshes) and `blending_kernels`
(colours and choices); they hold no interpreter lock.
"""

from collections import namedtuple
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.blending_kernels import render_targets
from video4spatial.geometry.pieces import for_each
from video4spatial.geometry.surface_kernels import mark_surfaces

CANDIDATES = 12
"""Frames that are looked at for each target."""

Tuning = namedtuple("Tuning", ["angle", "coarser", "finer", "rim", "edge", "surface", "says", "thickness", "known"])
"""How views are weighed against each other, chosen on test rooms with true depth and with depth 6 % wrong.

- angle: radians between viewing rays at which a view is half as good as one from the same place.
- coarser: by how much larger the source's pixels are where it is half as good.
- finer: what smaller ones count of that.
- rim: share of the source's picture over which its weight falls to zero at the border.
- edge: weight of pixels beside the edge of a surface, whose colours are mixed.
- surface: relative difference of depth up to which pixels there are of one surface.
- says: share of the strongest weight below which a view hides nothing.
- thickness: relative depth behind the nearest surface at which weights fall to 1 / e.
- known: least weight, confidence aside, that counts.
"""

TUNING = Tuning(*np.array([0.2, 0.2, 0.1, 0.03, 0.3, 0.15, 0.01, 0.12, 1e-7], np.float32))

# What the kernels take: N sources; their places in T targets; what is written for them.
_Arrays = namedtuple("_Arrays", ["depth", "confidence", "marks", "frames"])
_Relations = namedtuple("_Relations", ["forward", "backward", "rays", "origins", "footprints"])
_Outputs = namedtuple(
    "_Outputs", ["pictures", "known", "depth", "confidence", "view_pictures", "view_depth", "view_confidence", "sources"]
)


@dataclass(frozen=True)
class Surfaces:
    """Frames made ready to be rendered.

    Args:
        frames: [S] indices of those that have a camera and depth.
        cameras: their S cameras; None where there are none.
        arrays: for the kernels.
    """

    frames: np.ndarray
    cameras: Cameras | None
    arrays: _Arrays


def surfaces(
    frames: np.ndarray, cameras: Cameras, placed: np.ndarray, depth: np.ndarray, confidence: np.ndarray, shrink: int = 1
) -> Surfaces:
    """Make frames ready to be rendered.

    Args:
        frames, cameras, placed, depth, confidence: as of `SceneGeometry`.
        shrink: by how much they are made smaller, for targets that show less; pictures that are merely skipped through flicker.
    """
    known = (depth > 0) & np.isfinite(depth) & placed[:, None, None]
    usable = np.flatnonzero(known.any((1, 2)))
    depth = np.where(known, depth, 0)[usable].astype(np.float32)
    confidence = np.where(known, confidence, 0)[usable].astype(np.float32)
    frames = np.ascontiguousarray(frames[usable])
    if shrink > 1:
        height, width = (max(round(size / shrink), 2) for size in frames.shape[1:3])
        frames = _resized(frames, height, width)
        if depth.shape[1] > height:
            depth, confidence = _smaller_depth(depth, height, width), sampled(confidence, height, width)
    marks = np.zeros(depth.shape, np.uint8)
    mark_surfaces(depth, marks)
    chosen = cameras[usable.tolist()] if len(usable) else None
    return Surfaces(usable, chosen, _Arrays(depth, confidence, marks, frames))


def shrinking(cameras: Cameras, rows: int, target: Cameras, height: int) -> int:
    """By which power of two pictures of `rows` can be made smaller without a loss for targets of `height`: from their focal lengths."""
    focal = cameras.intrinsics[:, 1, 1].median() * rows / (target.intrinsics[:, 1, 1].median() * height)
    return 2 ** max(0, round(float(torch.log2(focal))))


def render(surfaces: Surfaces, target: Cameras, height: int, width: int, views: int, tuning: Tuning = TUNING) -> dict[str, np.ndarray]:
    """What T cameras see of surfaces.

    Args:
        surfaces: made ready.
        target: T cameras of the same world.
        height, width: of their pictures.
        views: K best views to return apart.
        tuning: see `Tuning`.

    Returns:
        The fields of `GeometryRendering` by name.
    """
    count, size = len(target), (height, width)
    out = _Outputs(
        np.zeros((count, *size, 3), np.uint8), np.zeros((count, *size), bool),
        np.zeros((count, *size), np.float32), np.zeros((count, *size), np.float32),
        np.zeros((count, views, *size, 3), np.uint8), np.zeros((count, views, *size), np.float32),
        np.zeros((count, views, *size), np.float32), np.full((count, views), -1),
    )  # fmt: skip
    if surfaces.cameras is None:
        return out._asdict()
    rows, columns = surfaces.arrays.depth.shape[1:]
    arguments = (surfaces.arrays, _relations(surfaces.cameras, target, rows, columns, height, width), CANDIDATES, tuning, out)
    steps = min(CANDIDATES, len(surfaces.frames)) * (rows * columns + height * width)
    for_each(count, 4 * steps, lambda index: render_targets(index, index + 1, *arguments))
    shown = out.sources >= 0
    out.sources[shown] = surfaces.frames[out.sources[shown]]
    return out._asdict()


def _relations(cameras: Cameras, target: Cameras, rows: int, columns: int, height: int, width: int) -> _Relations:
    """How places in N sources and T targets belong together, from float64 to what the kernels take."""
    source_pixels, target_pixels = cameras.pixel_intrinsics(rows, columns), target.pixel_intrinsics(height, width)
    rays = torch.linalg.inv(target_pixels)
    motion = target.world_to_camera[:, None] @ cameras.camera_to_world  # [T, N, 4, 4]
    forward = target_pixels[:, None] @ motion[..., :3, :]
    forward[..., :3] = forward[..., :3] @ torch.linalg.inv(source_pixels)
    backward = source_pixels @ (cameras.world_to_camera @ target.camera_to_world[:, None])[..., :3, :]
    backward[..., :3] = backward[..., :3] @ rays[:, None]
    # Pixels of a target that is finer than every source are no reason to doubt them all.
    focal = source_pixels[:, 1, 1]
    footprints = target_pixels[:, None, 1, 1].clamp(max=float(focal.max())) / focal
    found = (forward, backward, rays, motion[..., :3, 3], footprints)
    return _Relations(*(np.ascontiguousarray(values.numpy(), np.float32) for values in found))


def _resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pictures or maps of fewer pixels, each the mean of those it covers."""
    smaller = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(smaller) if smaller else np.empty((0, height, width, *frames.shape[3:]), frames.dtype)


def sampled(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps [S, h, w] read at the centres of another number of pixels.

    Args:
        maps: of any type.
        height, width: wanted.
    """
    rows = ((np.arange(height) + 0.5) * maps.shape[1] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * maps.shape[2] / width).astype(int)
    return np.ascontiguousarray(maps[:, rows[:, None], columns])


def _smaller_depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    """Depth maps of fewer pixels: the mean of inverse depth on surfaces, one of the depths between them."""
    single = sampled(depth, height, width)
    with np.errstate(divide="ignore"):
        inverse = np.where(depth > 0, 1 / depth, 0).astype(np.float32)
    mean = _resized(inverse, height, width)
    smooth = np.abs(mean * single - 1) < 0.05
    return np.where(smooth, 1 / np.where(smooth, mean, 1), single).astype(np.float32)


def painted_over(pictures: np.ndarray, known: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Pictures whose unknown pixels are filled in from around them (Telea, Journal of Graphics Tools 2004).

    Args:
        pictures: [T, H, W, 3] uint8.
        known: [T, H, W] bool.
        colour: [3] uint8, of pictures in which nothing is known.

    Returns:
        [T, H, W, 3] uint8.
    """
    painted = np.empty_like(pictures)
    for index, (picture, mask) in enumerate(zip(pictures, known, strict=True)):
        painted[index] = cv2.inpaint(picture, (~mask).astype(np.uint8), 3, cv2.INPAINT_TELEA) if mask.any() else colour
    return painted

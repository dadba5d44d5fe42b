"""Cameras with a world and a unit of their own, laid over cameras that are known."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.geometry import GeometryError

FEWEST_REFERENCES = 3
"""Cameras of known pose that tie the model's unit to the world's; with fewer the scale stays open."""

SCALE_SPREAD = 0.2
"""Median deviation of the logarithm of the scale, above which the known cameras do not fit the model."""


def aligned_poses(
    frames: Mapping[int, Tensor], context: Mapping[int, Tensor], anchor: Cameras, context_cameras: Cameras | None
) -> tuple[dict[int, Tensor], bool]:
    """Poses of a model moved into the world of known cameras by a turn, a scale and a shift.

    The anchor's camera fixes turn and shift, because it is the nearest known camera: a model may be bent, and context
    frames far away would then turn the whole path. The scale is the median ratio of distances between known cameras.
    Unlike a fit of positions (Umeyama, TPAMI 1991) this stays defined for cameras on a line and cannot flip the world.
    Where the model lacks the anchor, the context takes its place.

    Args:
        frames: camera_to_world [4, 4] in the model's world by frame of a video; frame 0 is the anchor.
        context: the same by context frame.
        anchor: known camera of frame 0 (T = 1).
        context_cameras: known cameras of the context, or None.

    Returns:
        camera_to_world by frame of the video in the anchor's world, and whether lengths are metres: without enough
        known cameras the model keeps its own unit.

    Raises:
        GeometryError: where the model holds neither the anchor nor enough of the context's cameras.
    """
    indices = [] if context_cameras is None else sorted(context)
    source = [context[index] for index in indices] + ([frames[0]] if 0 in frames else [])
    goal = [context_cameras.camera_to_world[index] for index in indices] + ([anchor.camera_to_world[0]] if 0 in frames else [])
    scale = _scale(torch.stack(source)[:, :3, 3], torch.stack(goal)[:, :3, 3]) if source else None
    if 0 in frames:
        turn = goal[-1][:3, :3] @ source[-1][:3, :3].mT
        shift = goal[-1][:3, 3] - (scale or 1.0) * turn @ source[-1][:3, 3]
    elif scale is not None:
        source, goal = torch.stack(source), torch.stack(goal)
        turn = nearest_rotation((goal[:, :3, :3] @ source[:, :3, :3].mT).sum(0))
        shift = (goal[:, :3, 3] - scale * source[:, :3, 3] @ turn.mT).median(0).values
    else:
        raise GeometryError("neither the anchor nor cameras of the context were registered together with the frames")
    moved = {}
    for index, pose in frames.items():
        moved[index] = torch.eye(4, dtype=torch.float64)
        moved[index][:3, :3] = turn @ pose[:3, :3]
        moved[index][:3, 3] = (scale or 1.0) * turn @ pose[:3, 3] + shift
    return moved, scale is not None and anchor.metric


def _scale(source: Tensor, goal: Tensor) -> float | None:
    """Goal units per source unit from positions [R, 3], by the distances between them; None where they disagree."""
    if len(source) < FEWEST_REFERENCES:
        return None
    distances, wanted = torch.pdist(source), torch.pdist(goal)
    apart = (wanted > 0.25 * wanted.max()) & (distances > 0) & (wanted > 1e-6)
    if not apart.any():
        return None
    ratios = (wanted[apart] / distances[apart]).log()
    middle = ratios.median()
    return float(middle.exp()) if float((ratios - middle).abs().median()) < SCALE_SPREAD else None

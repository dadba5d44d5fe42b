"""Estimator `sfm`: structure from motion over context and generated frames together (COLMAP, the extra `sfm`).

COLMAP sees the pictures and the lenses, never a pose. Its model is then laid over the known cameras of the context by a
turn, a scale and a shift, which gives the generated frames a place in the context's world and unit. Where no camera of
the context is known, the anchor alone fixes turn and shift, and the scale stays open.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras.rotations import invert_rigid, nearest_rotation
from video4spatial.geometry.structure_from_motion import (
    MappingError,
    MappingSettings,
    import_pycolmap,
    map_pictures,
    quiet,
)
from video4spatial.evaluation.estimators.base import EstimationError, Evidence, assembled
from video4spatial.geometry.features import SIDE, find_features
from video4spatial.evaluation.measurement import EstimatedCameras

CONTEXT = 16
"""Most frames of the context, evenly thinned."""

SETTINGS = MappingSettings(features=1024, contrast=0.003, exhaustive=128, error=3.0, joint=True)
"""Enlarged pictures are smooth, so that features of less contrast are taken than COLMAP does by default."""

FEWEST_REFERENCES = 3
"""Cameras of known pose that tie the model's unit to the world's; with fewer the scale stays open."""

SCALE_SPREAD = 0.2
"""Median deviation of the logarithm of the scale, above which the known cameras do not fit the model."""


def missing() -> str | None:
    """Why it cannot run here, or None."""
    try:
        import_pycolmap()
    except ImportError as error:
        return str(error)
    return None


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Cameras of the frames that COLMAP registers; the confidence is the number of points a frame sees."""
    count = len(evidence.frames)
    chosen = chosen_context(evidence)
    if len(evidence.frames) + len(chosen) < 3:
        raise EstimationError("structure from motion needs at least 3 frames")
    if not any(len(find_features(frame)) for frame in evidence.frames[1:]):
        raise EstimationError("no frame has a feature")
    pycolmap = import_pycolmap()
    with quiet(pycolmap), TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        intrinsics = {}
        for index in range(count):
            path = folder / "images" / f"generated-{index:05d}.png"
            intrinsics[path.name] = _write(path, evidence.frames[index], evidence.intrinsics[index])
        for index in chosen:
            lens = evidence.anchor.intrinsics if evidence.context_cameras is None else evidence.context_cameras.intrinsics[index]
            path = folder / "images" / f"context-{index:05d}.png"
            intrinsics[path.name] = _write(path, evidence.context_frames[index], lens.reshape(3, 3))
        try:
            model = map_pictures(folder, SETTINGS, intrinsics=intrinsics)
        except MappingError as error:
            raise EstimationError(str(error)) from None
        found = {image.name.removesuffix(".png"): image for image in model.images.values() if image.has_pose}
    poses = {name: _pose(image) for name, image in found.items()}
    generated = {int(name[-5:]): pose for name, pose in poses.items() if name.startswith("generated")}
    context = {int(name[-5:]): pose for name, pose in poses.items() if name.startswith("context")}
    placed, metric = in_world(evidence, generated, context)
    return assembled(
        evidence, placed, metric=metric,
        confidence={index: float(found[f"generated-{index:05d}"].num_points3D) for index in placed},
        reasons="COLMAP did not register the frame", convention="structure from motion (COLMAP)",
    )  # fmt: skip


def in_world(
    evidence: Evidence, generated: dict[int, Tensor], context: dict[int, Tensor]
) -> tuple[dict[int, Tensor], bool]:
    """Poses of a model with its own world and unit, laid over the cameras that are known.

    The anchor's camera fixes turn and shift: it is the nearest known camera, while context frames far away, in which a
    model may be bent, would turn the whole path. The scale is the median ratio of distances between known cameras. Unlike
    a fit of positions (Umeyama, 1991) this stays defined for cameras on a line and cannot flip the world. Without the
    anchor in the model the context takes its place.

    Args:
        evidence: with the anchor and perhaps the context's cameras.
        generated, context: camera_to_world [4, 4] by frame, in the model's world.

    Returns:
        camera_to_world by generated frame in the evidence's world, and whether lengths are in its unit.

    Raises:
        EstimationError: where the model holds neither the anchor nor enough of the context's cameras.
    """
    known = evidence.context_cameras
    indices = [] if known is None else sorted(context)
    source = [context[index] for index in indices] + ([generated[0]] if 0 in generated else [])
    goal = [known.camera_to_world[index] for index in indices] + ([evidence.anchor.camera_to_world[0]] if 0 in generated else [])
    scale = _scale(torch.stack(source)[:, :3, 3], torch.stack(goal)[:, :3, 3]) if source else None
    if 0 in generated:
        turn = goal[-1][:3, :3] @ source[-1][:3, :3].mT
        shift = goal[-1][:3, 3] - (scale or 1.0) * turn @ source[-1][:3, 3]
    elif scale is not None:
        source, goal = torch.stack(source), torch.stack(goal)
        turn = nearest_rotation((goal[:, :3, :3] @ source[:, :3, :3].mT).sum(0))
        shift = (goal[:, :3, 3] - scale * source[:, :3, 3] @ turn.mT).median(0).values
    else:
        raise EstimationError("neither the anchor nor cameras of the context were registered together with the frames")
    moved = {}
    for index, pose in generated.items():
        moved[index] = torch.eye(4, dtype=torch.float64)
        moved[index][:3, :3] = turn @ pose[:3, :3]
        moved[index][:3, 3] = (scale or 1.0) * turn @ pose[:3, 3] + shift
    return moved, scale is not None and evidence.anchor.metric


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


def chosen_context(evidence: Evidence) -> list[int]:
    """Frames of the context that take part."""
    if evidence.context_frames is None:
        return []
    total = len(evidence.context_frames)
    return np.unique(np.linspace(0, total - 1, min(CONTEXT, total)).round().astype(int)).tolist()


def _write(path: Path, picture: np.ndarray, intrinsics: Tensor) -> np.ndarray:
    """Write a picture, enlarged if it is small, and give the intrinsics [3, 3] in its pixels."""
    height, width = picture.shape[:2]
    factor = max(1.0, SIDE / max(height, width))
    size = round(width * factor), round(height * factor)
    if factor > 1:
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return intrinsics.numpy() * np.array([*size, 1.0])[:, None]


def _pose(image) -> Tensor:
    """camera_to_world [4, 4] of a COLMAP image."""
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3] = torch.from_numpy(image.cam_from_world().matrix())
    return invert_rigid(world_to_camera)

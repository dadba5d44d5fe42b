"""Camera control: how far the cameras of the generated frames are from the commanded ones.

Both trajectories are made relative to their own frame 0, the anchor. Aligning positions with a free similarity
transform instead would hide wrong directions: a clip that flies backwards in a plane then has no error at all.
"""

from dataclasses import dataclass

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.evaluation.measurement import Measurement, Sample

STATIC_SCALE = 0.05
"""A best scale below this says that the estimated path has nothing in common with the commanded one."""

STATIC_SHARE = 0.01
"""An estimated path shorter than this share of the scene's depth (or of the commanded path) did not move."""

MINIMUM_STEP = 0.02
"""Shorter displacements, as a share of the commanded path, have no direction worth comparing."""


def rotation_errors_degrees(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Angle between the rotations made since frame 0 (RotErr of CameraCtrl, eq. 4, per frame and in degrees).

    Args:
        estimated: T cameras measured from the frames.
        commanded: T cameras that were asked for.

    Returns:
        [T - 1] degrees for frames 1..T-1.

    Raises:
        ValueError: for different numbers of cameras.
    """
    estimated, commanded = _relative(estimated, commanded)
    difference = estimated.rotations.mT @ commanded.rotations
    # atan2 of sine and cosine is accurate both near 0 and near 180 degrees, where acos of the trace is not.
    sine = torch.linalg.matrix_norm(difference - difference.mT) / (2 * np.sqrt(2.0))
    cosine = (torch.diagonal(difference, dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.rad2deg(torch.atan2(sine, cosine))[1:].numpy()


@dataclass(frozen=True)
class TranslationErrors:
    """Anchored translation errors.

    Args:
        errors: [T - 1] distances as a share of the commanded path length.
        scale: the non-negative scale that fits the estimated positions best.
        static_generation: the estimated path stands still or points away; then errors are those of standing still.
        path_length: of the commanded cameras, in their unit.
        estimated_path_length: of the estimated cameras, in theirs.
    """

    errors: np.ndarray
    scale: float
    static_generation: bool
    path_length: float
    estimated_path_length: float


def translation_errors(estimated: Cameras, commanded: Cameras, median_depth: float | None = None) -> TranslationErrors:
    """Anchored translation errors with one non-negative scale, over the commanded path length.

    With positions p (estimated) and g (commanded) relative to frame 0, s = max(0, <p, g> / <p, p>) minimises the
    squared distances, and the error of frame t is |s p_t - g_t| / length(g). Where s < 0.05 or the estimated path is
    shorter than 1 % of
    the depth of the scene, the scale would make noise look like motion: the error is then that of standing still,
        |g_t|.

    Args:
        estimated, commanded: T cameras each.
        median_depth: of the scene in units of the estimated cameras, if known; otherwise the commanded path stands in
            for it.

    Raises:
        ValueError: for different numbers of cameras, or a commanded path without length.
    """
    estimated_relative, commanded_relative = _relative(estimated, commanded)
    positions, goals = estimated_relative.positions.numpy(), commanded_relative.positions.numpy()
    length, estimated_length = float(commanded.path_length()), float(estimated.path_length())
    if length < 1e-9:
        raise ValueError("the commanded path has no length, so its translation error is undefined.")
    squared = float((positions**2).sum())
    scale = max(0.0, float((positions * goals).sum()) / squared) if squared > 0 else 0.0
    yardstick = length if median_depth is None else median_depth
    static = scale < STATIC_SCALE or estimated_length < STATIC_SHARE * yardstick
    distances = np.linalg.norm((0.0 if static else scale) * positions - goals, axis=1)
    return TranslationErrors(distances[1:] / length, scale, static, length, estimated_length)


def metric_translation_errors(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Distances of the positions relative to frame 0, without any scale; see `translation_errors` for the arguments.

    Returns:
        [T - 1] in the cameras' unit (metres for metric ones).
    """
    estimated, commanded = _relative(estimated, commanded)
    return estimated.distance_to(commanded)[1:].numpy()


def direction_errors_degrees(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Angle between the displacements since frame 0, which sees that a camera went backwards.

    Returns:
        [T - 1] degrees, NaN where the commanded displacement is below 2 % of the path; a camera that stands still where
        it should move counts 90.

    Raises:
        ValueError: for different numbers of cameras.
    """
    length = float(commanded.path_length())
    estimated, commanded = _relative(estimated, commanded)
    positions, goals = estimated.positions.numpy()[1:], commanded.positions.numpy()[1:]
    sine = np.linalg.norm(np.cross(positions, goals), axis=1)
    cosine = (positions * goals).sum(1)
    angles = np.degrees(np.arctan2(sine, cosine))
    angles = np.where(np.linalg.norm(positions, axis=1) < 1e-9, 90.0, angles)
    return np.where(np.linalg.norm(goals, axis=1) >= max(MINIMUM_STEP * length, 1e-9), angles, np.nan)


def _relative(estimated: Cameras, commanded: Cameras) -> tuple[Cameras, Cameras]:
    if len(estimated) != len(commanded):
        raise ValueError(f"{len(estimated)} estimated cameras and {len(commanded)} commanded ones: expected as many.")
    return estimated.relative_to(0), commanded.relative_to(0)


def measure_rotation_error(sample: Sample) -> Measurement:
    """Mean rotation error over frames 1..T-1, with median and final among the diagnostics."""
    errors = rotation_errors_degrees(sample.estimated_cameras, sample.clip.instruction.cameras)
    diagnostics = {"median": round(float(np.median(errors)), 4), "final": round(float(errors[-1]), 4)}
    return Measurement.over_frames(errors, "no frame", diagnostics)


def measure_translation_error(sample: Sample) -> Measurement:
    """Mean anchored translation error over frames 1..T-1, as a share of the commanded path."""
    commanded = sample.clip.instruction.cameras
    if float(commanded.path_length()) < 1e-9:
        return Measurement(None, "not_applicable", "the commanded path has no length")
    depth = sample.clip.target_depth
    # The depth is in the unit of the commanded cameras, so it is a yardstick only where the estimate shares that unit.
    shared = depth is not None and sample.estimated_cameras.metric and commanded.metric
    result = translation_errors(sample.estimated_cameras, commanded, float(np.median(depth)) if shared else None)
    diagnostics = {
        "scale": round(result.scale, 4),
        "static_generation": result.static_generation,
        "path_length": round(result.path_length, 4),
        "estimated_path_length": round(result.estimated_path_length, 4),
        "final": round(float(result.errors[-1]), 4),
    }
    return Measurement.over_frames(result.errors, "no frame", diagnostics)


def measure_metric_translation_error(sample: Sample) -> Measurement:
    """Mean distance in metres between estimated and commanded positions, without scaling."""
    errors = metric_translation_errors(sample.estimated_cameras, sample.clip.instruction.cameras)
    return Measurement.over_frames(errors, "no frame")


def measure_direction_error(sample: Sample) -> Measurement:
    """Mean angle between estimated and commanded displacement."""
    errors = direction_errors_degrees(sample.estimated_cameras, sample.clip.instruction.cameras)
    return Measurement.over_frames(errors, "the commanded camera hardly moves: it has no direction")

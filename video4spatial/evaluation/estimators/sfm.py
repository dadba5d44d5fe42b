"""Estimator `sfm`: structure from motion over context and generated frames together (COLMAP, the extra `sfm`)."""

from __future__ import annotations

from video4spatial.evaluation.estimators.base import Evidence
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.structure_from_motion import cameras_by_mapping, import_pycolmap


def missing() -> str | None:
    """Why it cannot run here, or None."""
    try:
        import_pycolmap()
    except ImportError as error:
        return str(error)
    return None


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Cameras by `cameras_by_mapping`; raises `GeometryError` where the pictures give no model."""
    return cameras_by_mapping(
        evidence.frames, evidence.intrinsics, evidence.anchor, evidence.context_frames, evidence.context_cameras
    )

"""Estimator `essential`: motions between pairs of generated frames, joined to a path. It needs neither context nor depth."""

from __future__ import annotations

from video4spatial.evaluation.estimators.base import Evidence
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.motion_averaging import cameras_by_pairs


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Cameras of unknown scale by `cameras_by_pairs`; raises `GeometryError` where no frames agree on a motion."""
    return cameras_by_pairs(evidence.frames, evidence.intrinsics, evidence.anchor)

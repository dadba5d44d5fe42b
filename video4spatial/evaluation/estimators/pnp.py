"""Estimator `pnp`: generated frames placed among context frames whose cameras and depth are known.

It answers whether a frame shows this scene from the commanded place.
"""

from __future__ import annotations

from video4spatial.evaluation.estimators.base import Evidence
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.pnp import cameras_by_points


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Cameras in the context's unit by `cameras_by_points`; raises `GeometryError` where no frame can be placed."""
    return cameras_by_points(
        evidence.frames, evidence.intrinsics, evidence.anchor,
        evidence.context_frames, evidence.context_cameras, evidence.context_depth,
    )  # fmt: skip

"""Estimator `render_and_compare`: the simulated scene rendered from candidate cameras. Only simulation allows it."""

from __future__ import annotations

from video4spatial.evaluation.estimators.base import Evidence, assembled
from video4spatial.evaluation.measurement import EstimatedCameras
from video4spatial.evaluation.render_and_compare import estimate_cameras

UNLIKE = 0.8
"""Residual (1 - correlation) from which a frame does not show the scene, wherever the camera is put."""


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Cameras by rendering and comparing; the confidence is the correlation of frame and rendering."""
    found = estimate_cameras(evidence.scene, evidence.anchor, evidence.frames, evidence.intrinsics)
    shown = [index for index, residual in enumerate(found.residuals) if residual < UNLIKE]
    return assembled(
        evidence,
        {index: found.cameras.camera_to_world[index] for index in shown},
        metric=evidence.anchor.metric,
        confidence={index: 1 - float(found.residuals[index]) for index in shown},
        reasons="the frame resembles no view of the scene",
        convention=found.cameras.convention,
    )

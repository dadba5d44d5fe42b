"""Interchangeable estimators of the cameras of generated frames. An estimator is one module here and one line in
`ESTIMATORS`.

    estimate = estimate_cameras("pnp", clip, frames)     # EstimatedCameras: cameras, what is known of them, and why not
    scores = score_clip(clip, frames, estimated_cameras=estimate)

All see the generated frames, their lenses, and the anchor's camera; none sees the commanded poses. What each can do is in
docs/estimators.md, measured.
"""

from __future__ import annotations

import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.estimators import essential, pnp, render_and_compare, sfm, vggt
from video4spatial.evaluation.estimators.base import Estimator, Evidence
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.naming import unknown

_ALL = (
    Estimator(
        "render_and_compare", render_and_compare.estimate, ("scene",), "metric",
        "Renders the simulated scene from candidate cameras.",
    ),
    Estimator(
        "pnp", pnp.estimate, ("context_frames", "context_cameras", "context_depth"), "metric",
        "Places each frame by points of the context whose depth is known.",
    ),
    Estimator(
        "essential", essential.estimate, (), "scale",
        "Joins motions between pairs of generated frames to a path; needs no context.",
    ),
    Estimator(
        "sfm", sfm.estimate, (), "metric",
        "Reconstructs context and generated frames together by COLMAP.", sfm.missing,
    ),
    Estimator(
        "vggt", vggt.estimate, (), "metric",
        "Reads the cameras of all frames off a learned model in one pass.", vggt.missing,
    ),
)  # fmt: skip

ESTIMATORS: dict[str, Estimator] = {estimator.name: estimator for estimator in _ALL}
"""Estimators by name."""


def estimator_named(name: str) -> Estimator:
    """An estimator by its name.

    Raises:
        ValueError: for a name that is not registered.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"{unknown('estimator', name, ESTIMATORS)}: choose from {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]


def estimate_cameras(name: str, clip: Clip, frames: np.ndarray) -> EstimatedCameras:
    """The cameras of a generated video by the named estimator.

    Args:
        name: from `ESTIMATORS`.
        clip: what was asked for; its commanded poses stay unseen, apart from the anchor's.
        frames: [T, H, W, 3] uint8.

    Raises:
        ValueError: for an unknown estimator, frames that do not fit the clip, or a clip that knows no camera at all.
    """
    return estimator_named(name)(Evidence.of_clip(clip, frames))


__all__ = ["ESTIMATORS", "Estimator", "Evidence", "estimate_cameras", "estimator_named"]

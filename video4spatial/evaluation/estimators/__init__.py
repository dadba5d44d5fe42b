"""Interchangeable estimators of the cameras of generated frames. An estimator is one function and one line in `ESTIMATORS`.

    estimate = estimate_cameras("pnp", clip, frames)     # EstimatedCameras: cameras, what is known of them, and why not
    scores = score_clip(clip, frames, estimated_cameras=estimate)

All see the generated frames, their lenses, and the anchor's camera; none sees the commanded poses. What each can do is in
docs/estimators.md, measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.estimators import vggt
from video4spatial.evaluation.estimators.render_and_compare import cameras_by_rendering
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.motion_averaging import cameras_by_pairs
from video4spatial.geometry.pnp import cameras_by_points
from video4spatial.geometry.structure_from_motion import cameras_by_mapping, pycolmap_missing
from video4spatial.naming import unknown
from video4spatial.simulation.scenes import Scene, generate_scene


@dataclass(frozen=True)
class Evidence:
    """What an estimator may look at. The commanded poses are not among it.

    Args:
        frames: [T, H, W, 3] uint8 generated frames; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised, of the commanded cameras: zoom cannot be told from moving forward by a few
            matches, so the lens is given.
        anchor: camera of frame 0 (T = 1).
        context_frames: [N, h, w, 3] uint8 frames of the same scene, or None.
        context_cameras: their N cameras, in the world of the anchor, or None.
        context_depth: [N, h, w] float32 along the optical axis in the unit of the cameras, 0 where unknown, or None.
        scene: the simulated scene, or None for footage.

    Raises:
        ValueError: for frames of another type, or numbers that do not fit.
    """

    frames: np.ndarray
    intrinsics: Tensor
    anchor: Cameras
    context_frames: np.ndarray | None = None
    context_cameras: Cameras | None = None
    context_depth: np.ndarray | None = None
    scene: Scene | None = None

    def __post_init__(self) -> None:
        problems = []
        frames = self.frames
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or min(frames.shape) < 1:
            problems.append(f"frames must be uint8 [T, H, W, 3], got {frames.dtype} {list(frames.shape)}")
        elif tuple(self.intrinsics.shape) != (len(frames), 3, 3):
            problems.append(f"intrinsics must be [{len(frames)}, 3, 3], got {list(self.intrinsics.shape)}")
        if self.anchor.batch_shape != () or len(self.anchor) != 1:
            problems.append(f"the anchor must be one camera, got {self.anchor}")
        known = [values for values in (self.context_cameras, self.context_depth) if values is not None]
        if known and self.context_frames is None:
            problems.append("cameras or depth of a context whose frames are not given")
        elif any(len(values) != len(self.context_frames) for values in known):
            counts = ", ".join(str(len(values)) for values in known)
            problems.append(f"{len(self.context_frames)} context frames with {counts} cameras and depth maps")
        if problems:
            raise ValueError("cannot estimate cameras: " + "; ".join(problems) + ".")

    @classmethod
    def of_clip(cls, clip: Clip, frames: np.ndarray) -> Evidence:
        """What is known about a clip. Where the target's cameras are unknown, the anchor's lens holds for all frames.

        Raises:
            ValueError: for a clip that knows neither the target's nor the context's cameras, or frames that do not fit.
        """
        if clip.target_cameras is not None:
            anchor, intrinsics = clip.target_cameras[0], clip.target_cameras.intrinsics
        elif clip.context_cameras is not None:
            anchor = clip.context_cameras[clip.anchor]
            intrinsics = anchor.intrinsics.expand(len(frames), 3, 3)
        else:
            raise ValueError(f"clip {clip.name} knows no camera: its frames have no world and no lens to estimate in.")
        simulated = clip.provenance.get("source") == "simulation" and "scene_seed" in clip.provenance
        return cls(
            frames, intrinsics, anchor, clip.context_frames, clip.context_cameras, clip.context_depth,
            generate_scene(clip.provenance["scene_seed"]) if simulated else None,
        )  # fmt: skip

    def lacks(self, needs: tuple[str, ...]) -> list[str]:
        """Those of the named fields that are not known."""
        return [need for need in needs if getattr(self, need) is None]


@dataclass(frozen=True)
class Estimator:
    """One line of the registry.

    Args:
        name: as in results files.
        function: (frames, intrinsics, anchor, then the fields in `needs` and `uses`) -> `EstimatedCameras`; raises
            `GeometryError` where nothing can be said.
        needs: further fields of `Evidence`, which must be known.
        gauge: `metric` (the unit of the context's cameras, of the scene) or `scale` (one unknown scale about the anchor).
        explanation: one sentence for people.
        uses: further fields that may be None.
        missing: why it cannot run on this machine, or None; default that it always can.
    """

    name: str
    function: Callable[..., EstimatedCameras]
    needs: tuple[str, ...]
    gauge: str
    explanation: str
    uses: tuple[str, ...] = ()
    missing: Callable[[], str | None] = lambda: None

    def __call__(self, evidence: Evidence) -> EstimatedCameras:
        """The cameras of the frames. What cannot be estimated is marked as missing with its reason, never raised."""
        lacking = evidence.lacks(self.needs)
        reason = f"{self.name} needs {', '.join(lacking)}" if lacking else self.missing()
        if reason is None:
            further = [getattr(evidence, name) for name in (*self.needs, *self.uses)]
            try:
                return self.function(evidence.frames, evidence.intrinsics, evidence.anchor, *further)
            except GeometryError as error:
                reason = str(error)
        metric = self.gauge == "metric" and evidence.anchor.metric
        return EstimatedCameras.from_poses({}, evidence.intrinsics, evidence.anchor, metric=metric, reasons=reason)


_CONTEXT = ("context_frames", "context_cameras")
_ALL = (
    Estimator(
        "render_and_compare", cameras_by_rendering, ("scene",), "metric", "Renders the simulated scene from candidate cameras."
    ),
    Estimator(
        "pnp", cameras_by_points, (*_CONTEXT, "context_depth"), "metric",
        "Places each frame by points of the context whose depth is known.",
    ),
    Estimator(
        "essential", cameras_by_pairs, (), "scale",
        "Joins motions between pairs of generated frames to a path; needs no context.",
    ),
    Estimator(
        "sfm", cameras_by_mapping, (), "metric", "Reconstructs context and generated frames together by COLMAP.",
        uses=_CONTEXT, missing=pycolmap_missing,
    ),
    Estimator(
        "vggt", vggt.cameras_by_vggt, (), "metric", "Reads the cameras of all frames off a learned model in one pass.",
        uses=_CONTEXT, missing=vggt.missing,
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


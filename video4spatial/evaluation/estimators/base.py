"""What an estimator of cameras is given, and what it declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
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
        fields = {
            "context_frames": self.context_frames, "context_cameras": self.context_cameras,
            "context_depth": self.context_depth, "scene": self.scene,
        }  # fmt: skip
        return [need for need in needs if fields[need] is None]


@dataclass(frozen=True)
class Estimator:
    """One line of the registry.

    Args:
        name: as in results files.
        function: `Evidence` -> `EstimatedCameras`; raises `GeometryError` where nothing can be said.
        needs: fields of `Evidence` that may be None but must not be here.
        gauge: `metric` (the unit of the context's cameras, of the scene) or `scale` (one unknown scale about the anchor).
        explanation: one sentence for people.
        missing: why it cannot run on this machine, or None; default that it always can.
    """

    name: str
    function: Callable[[Evidence], EstimatedCameras]
    needs: tuple[str, ...]
    gauge: str
    explanation: str
    missing: Callable[[], str | None] = lambda: None

    def __call__(self, evidence: Evidence) -> EstimatedCameras:
        """The cameras of the frames. What cannot be estimated is marked as missing with its reason, never raised."""
        lacking = evidence.lacks(self.needs)
        reason = f"{self.name} needs {', '.join(lacking)}" if lacking else self.missing()
        if reason is None:
            try:
                return self.function(evidence)
            except GeometryError as error:
                reason = str(error)
        metric = self.gauge == "metric" and evidence.anchor.metric
        return EstimatedCameras.from_poses({}, evidence.intrinsics, evidence.anchor, metric=metric, reasons=reason)

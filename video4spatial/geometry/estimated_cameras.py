"""Cameras found from pictures: what is known of each frame, and why the rest is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras


@dataclass(frozen=True)
class EstimatedCameras:
    """Cameras measured from the frames of a video; some frames may have none.

    Frame 0 is the anchor, whose camera is given. A missing frame holds the anchor's pose, which must not be read as a
    measurement. It is never filled in from a commanded path: that would score the command, not the video.

    Args:
        cameras: T cameras in the anchor's world. Metric, or with one unknown scale about the anchor.
        rotation_known: [T] bool frames whose rotation was measured; default all. Frame 0 is always known.
        position_known: [T] bool frames whose position was measured as well; default those whose rotation was.
        confidence: [T] the estimator's own figure (inliers, correlation), 0 where a frame is missing; None without one.
        reasons: [T] why a frame, or only its position, is missing; empty where it is not.

    Raises:
        ValueError: for masks that do not fit each other or the cameras.
    """

    cameras: Cameras
    rotation_known: np.ndarray | None = None
    position_known: np.ndarray | None = None
    confidence: np.ndarray | None = None
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.cameras)
        if self.rotation_known is None:
            object.__setattr__(self, "rotation_known", np.ones(count, dtype=bool))
        if self.position_known is None:
            object.__setattr__(self, "position_known", self.rotation_known.copy())
        if not self.reasons:
            object.__setattr__(self, "reasons", ("",) * count)
        problems = [
            f"{len(values)} entries of {name} for {count} cameras"
            for name, values in [
                ("rotation_known", self.rotation_known), ("position_known", self.position_known),
                ("confidence", self.confidence), ("reasons", self.reasons),
            ]
            if values is not None and len(values) != count
        ]  # fmt: skip
        if not problems:
            if not (self.rotation_known[0] and self.position_known[0]):
                problems.append("frame 0 is the anchor, whose camera is given, but it is marked as missing")
            if (self.position_known & ~self.rotation_known).any():
                problems.append("positions without rotations")
        if problems:
            raise ValueError("estimated cameras: " + "; ".join(problems) + ".")

    @classmethod
    def from_poses(
        cls,
        poses: Mapping[int, Tensor],
        intrinsics: Tensor,
        anchor: Cameras,
        *,
        metric: bool,
        confidence: Mapping[int, float] | None = None,
        without_position: Mapping[int, str] | None = None,
        reasons: Mapping[int, str] | str = "",
        convention: str = "estimated from the frames",
    ) -> EstimatedCameras:
        """Poses that were found for some frames of a video.

        Args:
            poses: camera_to_world [4, 4] by frame; that of frame 0 is the anchor's, whatever is given.
            intrinsics: [T, 3, 3] normalised, of all frames.
            anchor: camera of frame 0 (T = 1).
            metric: whether lengths are metres.
            confidence: by frame.
            without_position: frames of `poses` of which only the rotation is known, and why.
            reasons: why the other frames are missing, by frame or one for all.
            convention: of the cameras, for people.
        """
        count, first = len(intrinsics), anchor.camera_to_world[0]
        without_position, confidence = without_position or {}, confidence or {}
        known = np.array([index == 0 or index in poses for index in range(count)])
        placed = known & np.array([index == 0 or index not in without_position for index in range(count)])
        matrices = [poses[index] if index > 0 and known[index] else first for index in range(count)]
        texts = []
        for index in range(count):
            reason = reasons if isinstance(reasons, str) else reasons.get(index, "not found")
            texts.append(without_position.get(index, "") if known[index] else reason)
        return cls(
            Cameras(torch.stack(matrices), intrinsics, metric=metric, convention=convention),
            rotation_known=known, position_known=placed,
            confidence=np.array([confidence.get(index, 0.0) for index in range(count)], dtype=np.float64),
            reasons=("", *texts[1:]),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def placed(self) -> Cameras:
        """The cameras of those frames whose position was measured, the anchor's first."""
        return self.cameras[np.flatnonzero(self.position_known).tolist()]

    @property
    def coverage(self) -> float:
        """Share of frames 1..T-1 whose rotation was measured."""
        return float(self.rotation_known[1:].mean()) if len(self) > 1 else 1.0

    @property
    def reason(self) -> str:
        """Why frames are missing, with how many of each: the most frequent reason first; empty where none is."""
        counts = Counter(reason for reason in self.reasons[1:] if reason)
        return "; ".join(f"{reason} ({count} of {len(self) - 1} frames)" for reason, count in counts.most_common(3))

"""Cameras found from pictures: what is known of each frame and why the rest is not, and how a model with a world and unit of its
own is laid over known cameras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.geometry import GeometryError


@dataclass(frozen=True)
class EstimatedCameras:
    """Cameras measured from the frames of a video; some frames may have none.

    The anchor is the frame whose camera is given, usually frame 0. A missing frame holds the anchor's pose, which must not be read as a
    measurement. It is never filled in from a commanded path: that would score the command, not the video.

    Args:
        cameras: T cameras in the anchor's world. Metric, or with one unknown scale about the anchor.
        rotation_known: [T] bool frames whose rotation was measured; default all. That of the anchor is always known.
        position_known: [T] bool frames whose position was measured as well; default those whose rotation was.
        confidence: [T] the estimator's own figure (inliers, correlation), 0 where a frame is missing; None without one.
        reasons: [T] why a frame, or only its position, is missing; empty where it is not.
        anchor: which frame.
        notes: sentences on how the cameras were found, for reports.

    Raises:
        ValueError: for masks that do not fit each other or the cameras.
    """

    cameras: Cameras
    rotation_known: np.ndarray | None = None
    position_known: np.ndarray | None = None
    confidence: np.ndarray | None = None
    reasons: tuple[str, ...] = ()
    anchor: int = 0
    notes: tuple[str, ...] = ()

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
            if not 0 <= self.anchor < count:
                problems.append(f"anchor {self.anchor}: expected one of {count} frames")
            elif not (self.rotation_known[self.anchor] and self.position_known[self.anchor]):
                problems.append(f"frame {self.anchor} is the anchor, whose camera is given, but it is marked as missing")
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
        """The cameras of those frames whose position was measured, and the anchor's, in the order of the video."""
        return self.cameras[np.flatnonzero(self.position_known).tolist()]

    @property
    def coverage(self) -> float:
        """Share of the frames beside the anchor whose rotation was measured."""
        return (float(self.rotation_known.sum()) - 1) / (len(self) - 1) if len(self) > 1 else 1.0

    @property
    def reason(self) -> str:
        """Why frames are missing, with how many of each: the most frequent reason first; empty where none is."""
        return counted(self.reasons[: self.anchor] + self.reasons[self.anchor + 1 :])


def counted(reasons: Sequence[str]) -> str:
    """Reasons of frames in one line, with how many have each: the three most frequent; empty where none has any.

    Args:
        reasons: of every frame, empty where nothing is amiss.
    """
    counts = Counter(filter(None, reasons))
    return "; ".join(f"{reason} ({count} of {len(reasons)} frames)" for reason, count in counts.most_common(3))


FEWEST_REFERENCES = 3
"""Cameras of known pose that tie the model's unit to the world's; with fewer the scale stays open."""

SCALE_SPREAD = 0.2
"""Median deviation of the logarithm of the scale, above which the known cameras do not fit the model."""


def aligned_poses(
    frames: Mapping[int, Tensor], context: Mapping[int, Tensor], anchor: Cameras, context_cameras: Cameras | None
) -> tuple[dict[int, Tensor], bool]:
    """Poses of a model moved into the world of known cameras by a turn, a scale and a shift.

    The anchor's camera fixes turn and shift, because it is the nearest known camera: a model may be bent, and context
    frames far away would then turn the whole path. The scale is the median ratio of distances between known cameras.
    Unlike a fit of positions (Umeyama, TPAMI 1991) this stays defined for cameras on a line and cannot flip the world.
    Where the model lacks the anchor, the context takes its place.

    Args:
        frames: camera_to_world [4, 4] in the model's world by frame of a video; frame 0 is the anchor.
        context: the same by context frame.
        anchor: known camera of frame 0 (T = 1).
        context_cameras: known cameras of the context, or None.

    Returns:
        camera_to_world by frame of the video in the anchor's world, and whether lengths are metres: without enough
        known cameras the model keeps its own unit.

    Raises:
        GeometryError: where the model holds neither the anchor nor enough of the context's cameras.
    """
    indices = [] if context_cameras is None else sorted(context)
    source = [context[index] for index in indices] + ([frames[0]] if 0 in frames else [])
    goal = [context_cameras.camera_to_world[index] for index in indices] + ([anchor.camera_to_world[0]] if 0 in frames else [])
    scale = _scale(torch.stack(source)[:, :3, 3], torch.stack(goal)[:, :3, 3]) if source else None
    if 0 in frames:
        turn = goal[-1][:3, :3] @ source[-1][:3, :3].mT
        shift = goal[-1][:3, 3] - (scale or 1.0) * turn @ source[-1][:3, 3]
    elif scale is not None:
        source, goal = torch.stack(source), torch.stack(goal)
        turn = nearest_rotation((goal[:, :3, :3] @ source[:, :3, :3].mT).sum(0))
        shift = (goal[:, :3, 3] - scale * source[:, :3, 3] @ turn.mT).median(0).values
    else:
        raise GeometryError("neither the anchor nor cameras of the context were registered together with the frames")
    moved = {}
    for index, pose in frames.items():
        moved[index] = torch.eye(4, dtype=torch.float64)
        moved[index][:3, :3] = turn @ pose[:3, :3]
        moved[index][:3, 3] = (scale or 1.0) * turn @ pose[:3, 3] + shift
    return moved, scale is not None and anchor.metric


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

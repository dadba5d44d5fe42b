"""A language for camera paths: "forward 1.0, left 30deg + up 0.2, look_at 0.5 0 3".

A comma (or "then") separates motions one after the other, "+" (or "and") those at the same time. Verbs speak in the
camera's own terms; turning is about the vertical, so that the horizon stays level after a tilt. Time is shared out in
proportion to metres + degrees / 45 + doublings of the focal length by "zoom", and speed is constant within a segment.
The verbs are in `motions.py`.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import Stated, read_camera_file
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.cameras.keyframes import is_keyframe_file, looking_at, read_keyframes, spread_evenly
from video4spatial.cameras.motions import (
    DEGREES_PER_METRE,
    UNITS,
    VERBS,
    Arguments,
    Motion,
    Quantity,
    TrajectoryError,
    spelled_keys,
)
from video4spatial.cameras.rotations import matrices_from_vectors, rotation_angle_degrees, slerp
from video4spatial.naming import did_you_mean

FILE_ENDINGS = (".json", ".txt", ".tum", ".yaml", ".yml", ".csv", ".npz", ".npy")
MINIMUM_MOTION = 1e-6
_UNIT_PATTERN = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_TOKEN = re.compile(
    rf"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b)"
    rf"(?:\s*(?P<unit>{_UNIT_PATTERN})(?![a-z_]))?"
    r"|(?P<word>[a-z][a-z_-]*)|(?P<plus>\+)|(?P<comma>[,;\n])|(?P<blank>[^\S\n]+)|(?P<other>.)"
)
# Gauss-Legendre nodes on [0, 1]: exact to rounding for the turn that one panel covers.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_DEGREES_PER_PANEL = 90.0
# Steps in which lengths and depths along a motion are measured where no formula gives them.
_MEASURING_STEPS = 512


def parse_trajectory(
    expression_or_path: str | PathLike,
    num_frames: int,
    start: Cameras | None = None,
    frame_rate: float = 4.0,
    fov_degrees: float = 60.0,
    aspect: float = 1.0,
    up: Sequence[float] | None = None,
) -> Cameras:
    """Turn words, a camera file or a keyframe file into a camera path that begins at a viewpoint.

    Args:
        expression_or_path: such as "forward 1.0, left 30deg", or an existing file. The path of a file is made
            relative to its first frame and resampled to `num_frames`, evenly over its times where it has them.
        num_frames: frames of the result, the start included; at least 2.
        start: one camera (T = 1), the anchor; by default the identity. It also gives the intrinsics, which zooms change.
        frame_rate: frames per second, for the times of the result and the length of `wait`.
        fov_degrees: horizontal field of view, used where neither `start` nor a file gives intrinsics.
        aspect: width / height, used likewise.
        up: the vertical in the world of `start`; by default the top of the start's picture.

    Returns:
        Cameras [num_frames] in the world of `start`; frame 0 is its viewpoint, times begin at 0. Where the path zooms
        (the words say so, or the focal length of the file changes), the intrinsics change from frame to frame.

    Raises:
        TrajectoryError: a ValueError, for words that are not understood, numbers that cannot be followed, or no motion.
        FileNotFoundError: for the name of a file that does not exist.
        CameraError: for a file that cannot be read.
    """
    if num_frames < 2:
        raise TrajectoryError(f"a trajectory needs at least 2 frames, given {num_frames}")
    if not (math.isfinite(frame_rate) and frame_rate > 0):
        raise TrajectoryError(f"frame rate {frame_rate}: give a positive number of frames per second")
    if start is not None and (len(start) != 1 or start.batch_shape != ()):
        raise TrajectoryError(f"start must be one camera (T = 1), given {start!r}")
    path = trajectory_file(expression_or_path)
    if path is not None:
        relative = _from_file(path, num_frames, fov_degrees, aspect)
    else:
        text = str(expression_or_path)
        segments = parse_expression(text)
        poses, focal = _follow(segments, num_frames, (num_frames - 1) / frame_rate, _vertical(up, start))
        intrinsics = _zoomed(intrinsics_from_fov(fov_degrees, aspect), focal)
        relative = Cameras(poses, intrinsics, convention=f"trajectory {text.strip()!r}")
    if start is not None:
        if relative.metric != start.metric and path is not None:
            warnings.warn(
                f"{path} and the start have lengths of different kinds (metric and not): they are taken as they "
                "are; correct them with a scale if the motion looks too large or too small",
                stacklevel=2,
            )
        relative = begin_at(relative, start)
    return relative.with_frame_rate(frame_rate)


def begin_at(path: Cameras, start: Cameras) -> Cameras:
    """Put a path that is relative to its frame 0 at a start.

    Args:
        path: cameras [T] of which frame 0 is the identity.
        start: one camera (T = 1); whether the lengths are metres is taken from it.

    Returns:
        Cameras [T] in the world of `start`. The intrinsics are the start's; the focal length changes by the factors by which that
        of the path has changed since its frame 0.
    """
    focal = path.intrinsics[:, 0, 0] / path.intrinsics[0, 0, 0]
    placed = replace(path, metric=start.metric).placed_at(start)
    return replace(placed, intrinsics=_zoomed(start.intrinsics, focal))


def parse_expression(expression: str) -> list[Motion]:
    """Read an expression of the trajectory language.

    Args:
        expression: such as "forward 1.0, left 30deg + up 0.2".

    Returns:
        One motion per segment; motions at the same time are already added.

    Raises:
        TrajectoryError: naming the segment that is not understood.
    """
    # Brackets around a point make its commas part of it: look_at (1, 0, 2).
    text = re.sub(r"[(\[]([^()\[\]]*)[)\]]", lambda match: " " + match[1].replace(",", " ") + " ", expression.lower())
    text = re.sub(r"\blook[ -]at\b", "look_at", text)
    text = re.sub(r"\bdolly[ -]zoom\b", "dolly_zoom", text)
    text = re.sub(r"\bwasd\b([^,;\n]*)", lambda match: spelled_keys(match[1]), text)
    segments: list[Motion] = []
    parts: list[list[str | Quantity]] = [[]]

    def close_segment() -> None:
        if parts == [[]]:
            return
        shown = " + ".join(" ".join(map(str, part)) for part in parts)
        try:
            motions = [_read_motion(part) for part in parts]
            total = motions[0]
            for motion in motions[1:]:
                total = total + motion
        except TrajectoryError as error:
            raise TrajectoryError(f"in {shown!r}: {error}") from None
        segments.append(total)

    for token in _TOKEN.finditer(text):
        if token["other"]:
            raise TrajectoryError(f"{token['other']!r} in {expression!r} is not part of the trajectory language")
        if token["comma"] or token["word"] == "then":
            close_segment()
            parts = [[]]
        elif token["plus"] or token["word"] == "and":
            parts.append([])
        elif token["word"]:
            parts[-1].append(token["word"])
        elif token["number"]:
            kind, factor = UNITS[token["unit"]] if token["unit"] else (None, 1.0)
            parts[-1].append(Quantity(float(token["number"]) * factor, kind))
    close_segment()
    if not segments:
        raise TrajectoryError("the trajectory is empty: write for example 'forward 1.0, left 30deg', or 'static'")
    return segments


def _read_motion(items: list[str | Quantity]) -> Motion:
    if not items:
        raise TrajectoryError("a motion is missing beside '+'")
    verb, *rest = items
    if isinstance(verb, Quantity):
        raise TrajectoryError(f"the number {verb.value:g} stands without a verb, as in 'forward {verb.value:g}'")
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS) or f"; known: {', '.join(VERBS)}"
        raise TrajectoryError(f"unknown verb {verb!r}{hint}")
    arguments = Arguments(verb, rest)
    motion = VERBS[verb](arguments)
    arguments.finish()
    return motion


def trajectory_file(expression_or_path: str | PathLike) -> Path | None:
    """The file or folder that is meant by a trajectory, or None for words.

    Args:
        expression_or_path: as in `parse_trajectory`.

    Raises:
        FileNotFoundError: for what looks like the name of a file that does not exist.
    """
    if not isinstance(expression_or_path, str):
        path, named = Path(expression_or_path), True
    else:
        text = expression_or_path.strip()
        if not text or len(text) > 1024 or "\n" in text:
            return None
        path, named = Path(text), text.lower().endswith(FILE_ENDINGS) or "/" in text
    if path.is_file() or (named and path.is_dir()):
        return path
    if named:
        raise FileNotFoundError(f"{path}: no such trajectory file")
    return None


def _from_file(path: Path, num_frames: int, fov_degrees: float, aspect: float) -> Cameras:
    if is_keyframe_file(path):
        cameras = read_keyframes(path, fov_degrees, aspect)
    else:
        # A path is followed by a pinhole: what the file says of the lens of its pictures is of no account.
        cameras = read_camera_file(path, stated=Stated(fov_degrees, aspect)).cameras
    cameras = cameras.relative_to(0)
    focal = cameras.intrinsics[:, 0, 0]
    motion = cameras.path_length() + cameras.rotation_to(cameras[0]).max() + (focal / focal[0]).log().abs().max()
    if float(motion) < MINIMUM_MOTION:
        raise TrajectoryError(f"{path} holds no motion ({len(cameras)} equal cameras): for a still camera use 'static'")
    if len(cameras) != num_frames:
        note = f"{cameras.convention}, resampled from {len(cameras)} frames"
        cameras = replace(spread_evenly(cameras, num_frames), convention=note)
    return cameras


def _vertical(up: Sequence[float] | None, start: Cameras | None) -> Tensor:
    """The unit vertical [3] in anchor coordinates."""
    if up is None:
        return torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    vertical = torch.tensor([float(value) for value in up], dtype=torch.float64)
    if vertical.shape != (3,) or not vertical.isfinite().all() or vertical.norm() < MINIMUM_MOTION:
        raise TrajectoryError(f"up must be three finite numbers, not all zero, given {list(up)}")
    if start is not None:
        vertical = start.rotations[0].mT @ vertical
    return vertical / vertical.norm()


def _zoomed(intrinsics: Tensor, focal: Tensor) -> Tensor:
    """Intrinsics [T, 3, 3] from [..., 3, 3] with focal lengths multiplied by `focal` [T], principal point unchanged."""
    zoomed = intrinsics.expand(len(focal), 3, 3).clone()
    zoomed[:, :2, :2] *= focal[:, None, None]
    return zoomed


def _follow(segments: list[Motion], num_frames: int, duration: float, vertical: Tensor) -> tuple[Tensor, Tensor]:
    """Poses [num_frames, 4, 4] in anchor coordinates and focal lengths [num_frames] in units of the anchor's.

    They are evenly spaced in time over `duration` seconds.
    """
    runs: list[_Run] = []
    pose, focal = torch.eye(4, dtype=torch.float64), 1.0
    for motion in segments:
        runs.append(_Run(motion, pose, focal, vertical))
        pose, focal = (values[0] for values in runs[-1].at(torch.ones(1, dtype=torch.float64)))
    moving = sum(run.cost for run in runs)
    if moving < MINIMUM_MOTION and not any(motion.still for motion in segments):
        raise TrajectoryError("the trajectory has no motion: for a still camera write 'static'")
    waits = sum(motion.seconds or 0.0 for motion in segments)
    if moving > 0 and waits >= duration:
        raise TrajectoryError(
            f"rests take {waits:g} s of a clip of {duration:g} s and leave no time to move: "
            "ask for more frames or shorter rests"
        )
    ends = torch.tensor(
        [m.seconds if m.seconds else (duration - waits) * run.cost / max(moving, MINIMUM_MOTION)
         for m, run in zip(segments, runs)], dtype=torch.float64,
    ).cumsum(0)
    times = torch.linspace(0, 1, num_frames, dtype=torch.float64) * max(duration, float(ends[-1]))
    starts = torch.cat([torch.zeros(1, dtype=torch.float64), ends[:-1]])
    which = torch.searchsorted(ends, times).clamp(max=len(runs) - 1)
    poses, focals = torch.empty(num_frames, 4, 4, dtype=torch.float64), torch.empty(num_frames, dtype=torch.float64)
    for index, run in enumerate(runs):
        chosen = which == index
        length = (ends[index] - starts[index]).clamp(min=1e-12)
        poses[chosen], focals[chosen] = run.at(((times[chosen] - starts[index]) / length).clamp(0, 1))
    return poses, focals


class _Run:
    """One motion that starts at a known pose and focal length, in anchor coordinates."""

    def __init__(self, motion: Motion, start: Tensor, focal: float | Tensor, vertical: Tensor) -> None:
        self.focal, self.zoom, self.subject, self.spiral = focal, motion.zoom, motion.subject, motion.spiral
        self.rotation, self.position, self.vertical = start[:3, :3], start[:3, 3], vertical
        self.velocity = torch.tensor(motion.translation, dtype=torch.float64)
        self.target_rotation = None
        # Right-handed about the vertical is to the left, about the right axis is up, about the view axis is clockwise.
        self.turn = math.radians(motion.turn_left)
        self.own = torch.tensor([motion.tilt_up, 0.0, motion.roll_right], dtype=torch.float64).deg2rad()
        if motion.orbit:
            degrees, radius = motion.orbit
            # To stay on the circle while going left, the camera turns right and moves along vertical x forward, which
            # is constant in its own axes because turning about the vertical changes both alike.
            self.turn -= math.radians(degrees)
            sideways = torch.linalg.cross(self.vertical, self.rotation[:, 2])
            self.velocity = self.velocity + math.radians(degrees) * radius * (self.rotation.mT @ sideways)
        degrees = math.degrees(math.hypot(self.turn, float(self.own.norm())))
        if motion.look_at:
            end = self.position + self.rotation @ self.velocity
            try:
                self.target_rotation = looking_at(end, torch.tensor(motion.look_at, dtype=torch.float64), vertical)
            except CameraError as error:
                raise TrajectoryError(f"look_at: {error}") from None
            degrees = float(rotation_angle_degrees(self.rotation, self.target_rotation))
        self.panels = max(1, math.ceil(degrees / _DEGREES_PER_PANEL))
        metres = float(self.velocity.norm())
        steps = torch.linspace(0, 1, _MEASURING_STEPS + 1, dtype=torch.float64)
        if motion.spiral:
            if motion.translation[2] >= motion.spiral[2]:
                raise TrajectoryError(
                    f"spiral: {motion.translation[2]:g} m forward reaches the point it looks at, {motion.spiral[2]:g} m "
                    "ahead: give a longer distance, as in 'spiral 360deg at 5m'"
                )
            poses = self._poses(steps)
            metres = float(poses[:, :3, 3].diff(dim=0).norm(dim=-1).sum())
            degrees = float(rotation_angle_degrees(poses[1:, :3, :3], poses[:-1, :3, :3]).sum())
        if motion.subject and float(self._depth(self._poses(steps)).min()) < MINIMUM_MOTION:
            raise TrajectoryError(
                f"dolly_zoom: the camera reaches the subject {motion.subject:g} m ahead, or leaves it behind: "
                "move less, or give a longer distance, as in 'dolly zoom in 1m at 5m'"
            )
        self.cost = metres + degrees / DEGREES_PER_METRE + abs(math.log2(motion.zoom))
        if motion.still and motion.seconds is None:
            self.cost = 1.0

    def at(self, progress: Tensor) -> tuple[Tensor, Tensor]:
        """Poses [N, 4, 4] and focal lengths [N] at progress [N] in [0, 1]."""
        poses = self._poses(progress)
        focal = self.focal * self.zoom**progress
        if self.subject:
            # The size of a thing in the picture goes with focal length / depth.
            focal = focal * self._depth(poses) / self.subject
        return poses, focal

    def _depth(self, poses: Tensor) -> Tensor:
        """Depths [N] of the subject in cameras [N, 4, 4]."""
        subject = self.position + self.subject * self.rotation[:, 2]
        return ((subject - poses[:, :3, 3]) * poses[:, :3, 2]).sum(-1)

    def _poses(self, progress: Tensor) -> Tensor:
        """Poses [N, 4, 4] at progress [N] in [0, 1]."""
        poses = torch.eye(4, dtype=torch.float64).repeat(len(progress), 1, 1)
        if self.target_rotation is not None:
            shape = (len(progress), 3, 3)
            poses[:, :3, :3] = slerp(self.rotation.expand(shape), self.target_rotation.expand(shape), progress)
            poses[:, :3, 3] = self.position + progress[:, None] * (self.rotation @ self.velocity)
            return poses
        if self.spiral:
            degrees, radius, distance = self.spiral
            angle = progress * math.radians(degrees)
            circle = radius * torch.stack([-angle.sin(), angle.cos() - 1, torch.zeros_like(angle)], dim=-1)
            positions = circle + progress[:, None] * self.velocity  # in the start's own axes
            target, top = torch.tensor([[0.0, 0.0, distance], [0.0, -1.0, 0.0]], dtype=torch.float64)
            poses[:, :3, :3] = self.rotation @ looking_at(positions, target, top)
            poses[:, :3, 3] = self.position + positions @ self.rotation.mT
            return poses
        poses[:, :3, :3] = self._rotations(progress)
        panels = torch.arange(self.panels, dtype=torch.float64)[:, None]
        nodes = ((panels + torch.from_numpy(_NODES)) / self.panels).flatten()
        weights = torch.from_numpy(_WEIGHTS).repeat(self.panels) / self.panels
        # The position is the integral of the velocity, which turns with the camera.
        velocities = self._rotations(progress[:, None] * nodes) @ self.velocity  # [N, nodes, 3]
        poses[:, :3, 3] = self.position + progress[:, None] * (weights[:, None] * velocities).sum(1)
        return poses

    def _rotations(self, progress: Tensor) -> Tensor:
        about_vertical = matrices_from_vectors(progress[..., None] * self.turn * self.vertical)
        about_own = matrices_from_vectors(progress[..., None] * self.own)
        return about_vertical @ self.rotation @ about_own

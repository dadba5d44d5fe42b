"""The one typed camera object of the project and its algebra."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike

import torch
from torch import Tensor

from video4spatial.cameras.checks import CameraError, float64, shape_problems, value_problems
from video4spatial.cameras.intrinsics import CropBox, crop_matrix, intrinsics_from_fov
from video4spatial.cameras.motions import DEGREES_PER_METRE
from video4spatial.cameras.rotations import invert_rigid, rotation_angle_degrees, slerp


@dataclass(frozen=True, eq=False)
class Cameras:
    """Pinhole cameras along a time axis, with any number of leading batch axes.

    Axes are OpenCV's: x right, y down, z forward. Everything is kept in float64 on the CPU; `rays.py` makes the
    float32 tensors that models take. `len(cameras)` is T, and indexing works on the time axis (an integer gives T = 1).

    Args:
        camera_to_world: [..., T, 4, 4] rigid motions from camera to world coordinates.
        intrinsics: [..., T, 3, 3] (or anything that broadcasts to it, [3, 3] included) with row 0 divided by the width
            and row 1 by the height of the picture, pixel centres at +0.5, so that resizing a picture changes nothing.
        metric: whether lengths are metres.
        times: [..., T] seconds, or None where unknown.
        convention: what the cameras were read from, for people to read.

    Raises:
        CameraError: naming every problem at once.
    """

    camera_to_world: Tensor
    intrinsics: Tensor
    metric: bool = True
    times: Tensor | None = None
    convention: str = "OpenCV camera-to-world"

    def __post_init__(self) -> None:
        camera_to_world = float64(self.camera_to_world)
        intrinsics = float64(self.intrinsics)
        times = None if self.times is None else float64(self.times)
        problems = shape_problems(camera_to_world, intrinsics, times)
        if not problems:
            shape = camera_to_world.shape[:-2]
            intrinsics = intrinsics.expand(*shape, 3, 3)
            times = None if times is None else times.expand(shape)
            problems = value_problems(camera_to_world, intrinsics, times)
        if problems:
            raise CameraError("; ".join(problems))
        # The dataclass is frozen for its users; this is the one place that completes it.
        object.__setattr__(self, "camera_to_world", camera_to_world)
        object.__setattr__(self, "intrinsics", intrinsics)
        object.__setattr__(self, "times", times)

    # ---- construction -------------------------------------------------------------------------------------------

    @classmethod
    def from_fov(cls, camera_to_world: Tensor, fov_degrees: float = 60.0, aspect: float = 1.0, **fields) -> Cameras:
        """Make cameras with square pixels and a central principal point from a field of view.

        Args:
            camera_to_world: [..., T, 4, 4].
            fov_degrees: horizontal field of view in degrees, between 0 and 180.
            aspect: width / height of the picture.
            **fields: `metric`, `times`, `convention` of the class.

        Raises:
            CameraError: where the field of view or the aspect is impossible.
        """
        return cls(camera_to_world, intrinsics_from_fov(fov_degrees, aspect), **fields)

    @classmethod
    def concatenate(cls, parts: Sequence[Cameras]) -> Cameras:
        """Join cameras along the time axis.

        Args:
            parts: of one batch shape, all metric or none. Times are kept where every part has them; the convention is the first
                part's.

        Raises:
            CameraError: for no parts, different batch shapes, or metric joined with non-metric cameras.
        """
        parts = _compatible(parts, "concatenate")
        joined = parts[0]._derived(
            camera_to_world=torch.cat([part.camera_to_world for part in parts], dim=-3),
            intrinsics=torch.cat([part.intrinsics for part in parts], dim=-3),
            times=None,
        )
        if any(part.times is None for part in parts):
            return joined
        return replace(joined, times=torch.cat([part.times for part in parts], dim=-1))

    @classmethod
    def stacked(cls, paths: Sequence[Cameras]) -> Cameras:
        """Put paths of one length side by side on a new leading axis. Times are dropped.

        Args:
            paths: B of them, each [..., T]. The convention is the first's.

        Returns:
            [B, ..., T] cameras.

        Raises:
            CameraError: for no paths, other lengths or batch shapes, or metric beside non-metric cameras.
        """
        paths = _compatible(paths, "stack")
        for path in paths[1:]:
            if len(path) != len(paths[0]):
                raise CameraError(f"cannot stack paths of {len(paths[0])} and {len(path)} cameras")
        return paths[0]._derived(
            camera_to_world=torch.stack([path.camera_to_world for path in paths]),
            intrinsics=torch.stack([path.intrinsics for path in paths]),
            times=None,
        )

    def entry(self, index: int) -> Cameras:
        """The path at an index of the first batch axis.

        Args:
            index: of the entry; cameras without batch axes have none.
        """
        times = None if self.times is None else self.times[index]
        return self._derived(camera_to_world=self.camera_to_world[index], intrinsics=self.intrinsics[index], times=times)

    @classmethod
    def load(cls, path: str | PathLike, format: str | None = None, **options) -> Cameras:
        """Read a camera file.

        Args:
            path: the file, or the folder of a COLMAP model.
            format: a name in `formats.FORMATS`; by default it is recognised from the content.
            **options: of `formats.read_cameras`.

        Raises:
            FileNotFoundError, CameraFileError: as of `formats.read_cameras`.
        """
        from video4spatial.cameras.formats import read_cameras  # formats are built on this class

        return read_cameras(path, format, **options)

    def save(self, path: str | PathLike, format: str | None = None, **options) -> None:
        """Write a camera file.

        Args:
            path: the file.
            format: a name in `formats.FORMATS`; by default it follows from the ending.
            **options: of `formats.write_cameras`.

        Raises:
            FileNotFoundError, CameraFileError: as of `formats.write_cameras`.
        """
        from video4spatial.cameras.formats import write_cameras  # formats are built on this class

        write_cameras(path, self, format, **options)

    # ---- views --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.camera_to_world.shape[-3]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Cameras:
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"camera {index} of {len(self)}: give an index from {-len(self)} to {len(self) - 1}")
            index = [index % len(self)]
        elif not isinstance(index, slice):
            index = torch.as_tensor(index)
        camera_to_world = self.camera_to_world[..., index, :, :]
        if camera_to_world.shape[-3] == 0:
            raise IndexError(f"no camera is left of {len(self)} by the index {index}")
        intrinsics = self.intrinsics[..., index, :, :]
        if self.times is None:
            return self._derived(camera_to_world=camera_to_world, intrinsics=intrinsics)
        return replace(self, camera_to_world=camera_to_world, intrinsics=intrinsics, times=self.times[..., index])

    def __repr__(self) -> str:
        batch = "" if self.batch_shape == () else f", batch {tuple(self.batch_shape)}"
        unit = "metric" if self.metric else "unknown scale"
        return f"Cameras({len(self)} frames{batch}, {unit}, read as {self.convention})"

    @property
    def batch_shape(self) -> torch.Size:
        """The axes before time."""
        return self.camera_to_world.shape[:-3]

    @property
    def rotations(self) -> Tensor:
        """[..., T, 3, 3] camera-to-world rotations."""
        return self.camera_to_world[..., :3, :3]

    @property
    def positions(self) -> Tensor:
        """[..., T, 3] camera centres in the world."""
        return self.camera_to_world[..., :3, 3]

    @property
    def right(self) -> Tensor:
        """[..., T, 3] unit vectors to the right of the picture, in the world."""
        return self.camera_to_world[..., :3, 0]

    @property
    def up(self) -> Tensor:
        """[..., T, 3] unit vectors to the top of the picture, in the world."""
        return -self.camera_to_world[..., :3, 1]

    @property
    def forward(self) -> Tensor:
        """[..., T, 3] unit viewing directions, in the world."""
        return self.camera_to_world[..., :3, 2]

    @property
    def world_to_camera(self) -> Tensor:
        """[..., T, 4, 4] rigid motions from world to camera coordinates."""
        return invert_rigid(self.camera_to_world)

    @property
    def fov_degrees(self) -> Tensor:
        """[..., T] horizontal field of view in degrees."""
        focal, center = self.intrinsics[..., 0, 0], self.intrinsics[..., 0, 2]
        return torch.rad2deg(torch.atan(center / focal) + torch.atan((1 - center) / focal))

    @property
    def aspect(self) -> Tensor:
        """[..., T] width / height of the picture, if its pixels are square."""
        return self.intrinsics[..., 1, 1] / self.intrinsics[..., 0, 0]

    def pixel_intrinsics(self, height: int, width: int) -> Tensor:
        """Intrinsics for a picture of a given size, pixel centres at +0.5.

        Args:
            height: of the picture in pixels.
            width: of the picture in pixels.

        Returns:
            [..., T, 3, 3] in pixels.
        """
        return torch.tensor([width, height, 1.0], dtype=torch.float64)[:, None] * self.intrinsics

    # ---- algebra ------------------------------------------------------------------------------------------------

    def transformed(self, pose: Tensor) -> Cameras:
        """Move the world: every camera_to_world is multiplied by `pose` from the left.

        Args:
            pose: [4, 4] rigid motion (or [..., 1, 4, 4] to move each batch entry on its own).
        """
        return replace(self, camera_to_world=float64(pose) @ self.camera_to_world)

    def relative_to(self, anchor: Cameras | int) -> Cameras:
        """Express the cameras in the coordinates of an anchor camera, which itself becomes the identity.

        Args:
            anchor: one camera (T = 1), or the index of a frame of these cameras.

        Raises:
            CameraError: for an anchor with several frames, or of another kind of scale.
            IndexError: for an index out of range.
        """
        return self._derived(camera_to_world=self._single(anchor).world_to_camera @ self.camera_to_world)

    def median_step(self) -> float:
        """Median distance between neighbouring cameras, in the unit of the cameras; 0 for a single one."""
        steps = torch.linalg.vector_norm(self.positions.diff(dim=-2), dim=-1)
        return float(steps.median()) if steps.numel() else 0.0

    def placed_at(self, anchor: Cameras | int) -> Cameras:
        """The inverse of `relative_to`: read these cameras as relative to an anchor and put them into its world.

        Args:
            anchor: one camera (T = 1), or the index of a frame of these cameras.

        Raises:
            CameraError: for an anchor with several frames, or of another kind of scale.
            IndexError: for an index out of range.
        """
        return self._derived(camera_to_world=self._single(anchor).camera_to_world @ self.camera_to_world)

    def scaled(self, factor: float, metric: bool | None = None) -> Cameras:
        """Multiply all positions by a factor.

        Args:
            factor: positive.
            metric: whether the new lengths are metres; by default as before.

        Raises:
            CameraError: for a factor that is not positive and finite.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise CameraError(f"scale factor {factor}: give a positive number")
        camera_to_world = self.camera_to_world.clone()
        camera_to_world[..., :3, 3] *= factor
        return replace(self, camera_to_world=camera_to_world, metric=self.metric if metric is None else metric)

    def at(self, frames: Sequence[float] | Tensor) -> Cameras:
        """Interpolate at fractional frame numbers: slerp of rotations, linear in position, intrinsics and time.

        Args:
            frames: [N] numbers from 0 to T - 1.

        Raises:
            CameraError: for numbers outside.
        """
        frames = float64(frames).reshape(-1)
        if not ((frames >= 0) & (frames <= len(self) - 1)).all():
            raise CameraError(f"frame numbers must lie between 0 and {len(self) - 1}, given {frames.tolist()}")
        first = frames.floor().long().clamp(max=max(len(self) - 2, 0))
        second = (first + 1).clamp(max=len(self) - 1)
        weight = frames - first  # [N]
        camera_to_world = torch.lerp(
            self.camera_to_world[..., first, :, :], self.camera_to_world[..., second, :, :], weight[:, None, None]
        )
        shape = camera_to_world.shape[:-2]
        camera_to_world[..., :3, :3] = slerp(
            self.rotations[..., first, :, :], self.rotations[..., second, :, :], weight.expand(shape)
        )
        intrinsics = torch.lerp(
            self.intrinsics[..., first, :, :], self.intrinsics[..., second, :, :], weight[:, None, None]
        )
        times = None if self.times is None else torch.lerp(self.times[..., first], self.times[..., second], weight)
        return replace(self, camera_to_world=camera_to_world, intrinsics=intrinsics, times=times)

    def at_times(self, times: Sequence[float] | Tensor) -> Cameras:
        """Interpolate at given times (see `at`), for cameras without batch axes.

        Args:
            times: [N] seconds between the first and the last time.

        Raises:
            CameraError: without times, for times that do not increase, or for times outside.
        """
        times = float64(times).reshape(-1)
        if self.times is None or self.batch_shape != ():
            raise CameraError("at_times needs cameras with times and without batch axes; use at(frames)")
        if not (self.times.diff() > 0).all():
            raise CameraError("at_times needs times that increase from frame to frame; use at(frames)")
        if not ((times >= self.times[0]) & (times <= self.times[-1])).all():
            raise CameraError(
                f"times must lie between {self.times[0]:g} and {self.times[-1]:g} s, given {times.tolist()}"
            )
        if len(self) == 1:
            return self.at(torch.zeros_like(times))
        second = torch.searchsorted(self.times.contiguous(), times).clamp(1, len(self) - 1)
        start, end = self.times[second - 1], self.times[second]
        return replace(self.at(second - 1 + (times - start) / (end - start)), times=times)

    def interpolated(self, count: int) -> Cameras:
        """Resample to `count` cameras spread evenly over the frames, the first and last kept.

        Raises:
            CameraError: for a count below 1.
        """
        if count < 1:
            raise CameraError(f"interpolated({count}): give at least 1 frame")
        return self.at(torch.linspace(0, len(self) - 1, count, dtype=torch.float64))

    def with_frame_rate(self, frame_rate: float) -> Cameras:
        """The same cameras with times 0, 1 / frame_rate, 2 / frame_rate ... seconds.

        Args:
            frame_rate: frames per second.

        Raises:
            CameraError: for a frame rate that is not positive and finite.
        """
        if not (math.isfinite(frame_rate) and frame_rate > 0):
            raise CameraError(f"frame rate {frame_rate}: give a positive number of frames per second")
        return replace(self, times=torch.arange(len(self), dtype=torch.float64) / frame_rate)

    def cropped(self, box: CropBox, height: int, width: int) -> Cameras:
        """Cameras of pictures of which only a rectangle is kept.

        Args:
            box: the kept rectangle in pixels.
            height: height of the whole picture in pixels.
            width: width of the whole picture in pixels.

        Raises:
            CameraError: where the box does not lie in the picture.
        """
        return replace(self, intrinsics=crop_matrix(box, height, width) @ self.intrinsics)

    def quarter_turned(self, turns: int) -> Cameras:
        """Cameras of pictures that were turned, as `np.rot90` turns them; they see the same, held otherwise.

        Args:
            turns: quarters of a circle, counter-clockwise.
        """
        turned = self
        for _ in range(turns % 4):
            # The new right is what was down, the new down what was left.
            axes = torch.tensor([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
            old = turned.intrinsics
            new = old.clone()
            new[..., 0, 0], new[..., 1, 1] = old[..., 1, 1], old[..., 0, 0]
            new[..., 0, 2], new[..., 1, 2] = old[..., 1, 2], 1 - old[..., 0, 2]
            turned = replace(turned, camera_to_world=turned.camera_to_world @ axes, intrinsics=new)
        return turned

    # ---- measures -----------------------------------------------------------------------------------------------

    def path_length(self) -> Tensor:
        """[...] length of the way through all positions."""
        return torch.linalg.vector_norm(self.positions.diff(dim=-2), dim=-1).sum(-1)

    def rotation_to(self, other: Cameras) -> Tensor:
        """Angle between these orientations and others.

        Args:
            other: cameras with the same T, or one of both has T = 1.

        Returns:
            [..., T] degrees.
        """
        return rotation_angle_degrees(self.rotations, other.rotations)

    def distance_to(self, other: Cameras) -> Tensor:
        """Distance between these positions and others.

        Args:
            other: cameras with the same T, or one of both has T = 1.

        Returns:
            [..., T] in the unit of the cameras.
        """
        return torch.linalg.vector_norm(self.positions - other.positions, dim=-1)

    def allclose(self, other: Cameras, tolerance: float = 1e-9) -> bool:
        """Whether poses and intrinsics agree; times and conventions are not compared.

        Args:
            other: cameras to compare with.
            tolerance: largest absolute difference of an entry.
        """
        return all(
            first.shape == second.shape and torch.allclose(first, second, rtol=0, atol=tolerance)
            for first, second in
            [(self.camera_to_world, other.camera_to_world), (self.intrinsics, other.intrinsics)]
        )

    # ---- checks -------------------------------------------------------------------------------------------------

    def _derived(self, **fields: Tensor | None) -> Cameras:
        """These cameras with other fields that follow from checked ones, and are not checked again."""
        made = object.__new__(Cameras)
        vars(made).update(vars(self) | fields)
        return made

    def _single(self, anchor: Cameras | int) -> Cameras:
        if isinstance(anchor, int):
            return self[anchor]
        if len(anchor) != 1:
            raise CameraError(f"an anchor is one camera, given {len(anchor)}: index it first, as in cameras[0]")
        if anchor.metric != self.metric:
            raise CameraError(_scale_problem("relate", self.metric, anchor.metric))
        return anchor


def viewpoint_distance(first: Cameras, second: Cameras) -> Tensor:
    """Distance between viewpoints: metres + degrees / 45, where degrees are those of the whole rotation.

    Args:
        first: [..., T] cameras.
        second: [..., N] cameras of the same world. Leading batch axes broadcast against those of `first`.

    Returns:
        [..., T, N] float64. Where the cameras are not metric, their unit stands for metres.
    """
    metres = torch.cdist(first.positions, second.positions)
    relative = first.rotations[..., :, None, :, :].mT @ second.rotations[..., None, :, :, :]
    trace = torch.diagonal(relative, dim1=-2, dim2=-1).sum(-1)
    degrees = torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))
    return metres + degrees / DEGREES_PER_METRE


def _compatible(parts: Sequence[Cameras], action: str) -> list[Cameras]:
    """The parts as a list, if there are any, of one batch shape and one kind of scale."""
    parts = list(parts)
    if not parts:
        raise CameraError(f"nothing to {action}: give at least one Cameras")
    first = parts[0]
    for other in parts[1:]:
        if other.batch_shape != first.batch_shape:
            shapes = f"{tuple(first.batch_shape)} and {tuple(other.batch_shape)}"
            raise CameraError(f"cannot {action} cameras of batch shapes {shapes}")
        if other.metric != first.metric:
            raise CameraError(_scale_problem(action, first.metric, other.metric))
    return parts


def _scale_problem(action: str, first: bool, second: bool) -> str:
    names = {True: "metric", False: "non-metric"}
    return f"cannot {action} {names[first]} and {names[second]} cameras: bring them to one scale with scaled(...)"

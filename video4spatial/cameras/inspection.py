"""Which convention does a camera file follow? Reads it in four ways and says which one looks like a camera in a hand.

A matrix does not say whether it is camera-to-world or world-to-camera, nor whether the camera looks along +z (OpenCV)
or -z (OpenGL). But people hold cameras level, walk forward rather than backward, and move smoothly; a wrong reading
breaks one of these. The signs are weighed as votes, shown as reasons, and a close vote is called undecided.
"""

import math
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats import CameraFile, Stated, detect_format, read_camera_file
from video4spatial.cameras.plotting import draw_frustums

DECISIVE_MARGIN = 0.7
NEGLIGIBLE_VOTE = 0.05
ENOUGH_STEPS = 12
"""From so many steps on, a path says all that it can about how it was walked."""
WALKED, UNORDERED = 0.6, 1.6
"""Unsteadiness of a walk, and of photographs in no order (which comes to the square root of 3)."""
FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))


@dataclass(frozen=True)
class Reading:
    """One way to read the matrices of a file, with the votes for it.

    Args:
        name: such as "as read" or "inverse (world-to-camera)".
        cameras: what the cameras are in this reading.
        votes: (points, reason) pairs; points may be negative.
    """

    name: str
    cameras: Cameras
    votes: tuple[tuple[float, str], ...]

    @property
    def score(self) -> float:
        """The sum of the votes."""
        return sum(points for points, _ in self.votes)


@dataclass(frozen=True)
class CameraReport:
    """What `inspect_cameras` found; `str(report)` is for people.

    Args:
        path: the file.
        format: its format, a name in `formats.FORMATS`.
        file: what `read_camera_file` makes of it.
        readings: four readings, the likeliest first.
        verdict: one sentence: is the direction (camera-to-world or back), are the axes (OpenCV, OpenGL) as expected?
        consistent: whether the file looks like what its format says (True also where the votes are too close).
    """

    path: Path
    format: str
    file: CameraFile
    readings: tuple[Reading, ...]
    verdict: str
    consistent: bool

    @property
    def cameras(self) -> Cameras:
        """The cameras as read."""
        return self.file.cameras

    def draw(self, output: str | PathLike) -> None:
        """Write a picture of the cameras as read, from above and in space, to the file `output`."""
        draw_frustums(self.cameras, output, title=f"{self.path.name}: {self.cameras.convention}")

    def __str__(self) -> str:
        cameras = self.cameras
        unit = "m" if cameras.metric else "(unknown unit)"
        fov = cameras.fov_degrees
        names = self.file.image_names
        extent = cameras.positions.amax(0) - cameras.positions.amin(0)
        duration = "none" if cameras.times is None else f"{float(cameras.times[-1] - cameras.times[0]):.2f} s in all"
        lines = [
            f"file          {self.path}",
            f"format        {self.format}",
            f"read as       {cameras.convention}",
            f"frames        {len(cameras)}",
            f"times         {duration}",
            f"pictures      {'not named' if names is None else f'{names[0]} to {names[-1]}'}",
            f"lens          {', '.join(self.file.distorted) or 'no distortion'}",
            f"position 0    {_vector(cameras.positions[0])}",
            f"forward 0     {_vector(cameras.forward[0])}{_axis_name(cameras.forward[0])}",
            f"up 0          {_vector(cameras.up[0])}{_axis_name(cameras.up[0])}",
            "handedness    right-handed (determinants +1)",
            f"path length   {float(cameras.path_length()):.4g} {unit}, median step "
            f"{cameras.median_step():.3g}, extent {_vector(extent)}",
            f"turned        {float(cameras.rotation_to(cameras[0]).max()):.1f} degrees at most from frame 0",
            f"field of view {_range(fov)} degrees horizontally, aspect {_range(cameras.aspect)}",
            f"verdict       {self.verdict}",
            "votes         (points per reading; a wrong convention usually loses several)",
        ]
        for reading in self.readings:
            reasons = "; ".join(
                f"{points:+.1f} {reason}" for points, reason in reading.votes if abs(points) > NEGLIGIBLE_VOTE
            )
            lines.append(f"  {reading.score:+.1f}  {reading.name}: {reasons or 'nothing speaks for or against it'}")
        return "\n".join(lines)


def inspect_cameras(path: str | PathLike, format: str | None = None, stated: Stated = Stated()) -> CameraReport:
    """Read a camera file and judge whether its convention is what its format says.

    Args:
        path: the file.
        format: a name in `formats.FORMATS`; recognised from the content by default.
        stated: what is known besides the file, such as the field of view.

    Returns:
        The report; print it, and `draw` it.

    Raises:
        FileNotFoundError: where there is no such file.
        CameraFileError: where it cannot be read.
    """
    file = read_camera_file(path, format, stated)
    cameras = file.cameras
    readings = compare_readings(cameras)
    verdict, consistent = _verdict(readings)
    ordered = tuple(sorted(readings, key=lambda reading: -reading.score))
    return CameraReport(Path(path), format or detect_format(path), file, ordered, verdict, consistent)


def compare_readings(cameras: Cameras) -> list[Reading]:
    """Judge four readings of `cameras` [T]: as read, with the camera's y and z flipped, inverted, and both."""
    inverse = replace(cameras, camera_to_world=cameras.world_to_camera)
    # The file's matrix with the other axes is F M; as world-to-camera it is inverted to the camera-to-world M^-1 F.
    flipped, flipped_inverse = (replace(c, camera_to_world=c.camera_to_world @ FLIP) for c in (cameras, inverse))
    variants = [
        ("as read", cameras, inverse),
        ("the other camera axes (OpenGL instead of OpenCV or the reverse)", flipped, inverse),
        ("the inverse matrix (world-to-camera instead of camera-to-world or the reverse)", inverse, cameras),
        ("the inverse matrix with the other camera axes", flipped_inverse, cameras),
    ]
    return [
        Reading(name, reading, (*_inversion_votes(reading, other), *_axes_votes(reading)))
        for name, reading, other in variants
    ]


def _verdict(readings: list[Reading]) -> tuple[str, bool]:
    """Answer the two questions, direction and axes, one after the other."""
    as_read, flipped, inverse, flipped_inverse = (reading.score for reading in readings)
    direction = max(as_read, flipped) - max(inverse, flipped_inverse)
    # The axes are judged within the direction that is the likelier one; where none is, both must say the same.
    outright, backward = as_read - flipped, inverse - flipped_inverse
    if direction >= DECISIVE_MARGIN:
        axes = outright
    elif direction <= -DECISIVE_MARGIN:
        axes = backward
    else:
        axes = min(outright, backward, key=abs) if outright * backward > 0 else 0.0
    inverted = "inverted (camera-to-world for world-to-camera or back)"
    other = "the other ones (OpenGL for OpenCV or back)"
    verdict = f"direction of the matrices: {_answer(direction, inverted)}; axes of the camera: {_answer(axes, other)}"
    return verdict, direction > -DECISIVE_MARGIN and axes > -DECISIVE_MARGIN


def _answer(margin: float, otherwise: str) -> str:
    if margin >= DECISIVE_MARGIN:
        return "as the format says"
    if margin <= -DECISIVE_MARGIN:
        return f"rather {otherwise}"
    return "undecided (the motion fits both, look at the drawing)"


def _inversion_votes(reading: Cameras, other: Cameras) -> list[tuple[float, str]]:
    """Votes that compare camera-to-world with world-to-camera."""
    votes = []
    length, other_length = float(reading.path_length()), float(other.path_length())
    weight = _as_a_walk(reading, other)
    smallest = 1e-9 + 1e-6 * max(length, other_length)
    # Read the wrong way round, every turn swings the camera on an arm as long as its distance from the origin.
    points = weight * _clipped(math.log2((other_length + smallest) / (length + smallest)))
    votes.append((points, f"path of length {length:.3g}, read the other way round {other_length:.3g}"))
    roughness, other_roughness = _roughness(reading.positions), _roughness(other.positions)
    points = 0.7 * weight * _clipped(math.log2((other_roughness + 1e-3) / (roughness + 1e-3)))
    votes.append((points, f"unsteadiness {roughness:.2f} of each step, read the other way round {other_roughness:.2f}"))
    level, other_level = float(reading.up.mean(0).norm()), float(other.up.mean(0).norm())
    points = _clipped(5 * (level - other_level))
    votes.append((points, f"up vectors agree to {level:.2f} of 1, read the other way round {other_level:.2f}"))
    if _looks_at_one_point(reading):
        votes.append((1.5, "all cameras look at one point ahead"))
    return votes


def _axes_votes(reading: Cameras) -> list[tuple[float, str]]:
    """Votes that tell a camera looking along +z from one looking along -z."""
    votes = []
    steps = reading.positions.diff(dim=0)
    lengths = torch.linalg.vector_norm(steps, dim=-1)
    total = float(lengths.sum())
    if total > 1e-9:
        ahead = float((steps * reading.forward[:-1]).sum() / total)
        word = "forward" if ahead > 0 else "backward"
        # A clip may well back away in a straight line; to walk backward round corners is rare.
        turned = min(1.0, float(reading.rotation_to(reading[0]).max()) / 60)
        points = ahead * (0.3 + 0.7 * turned) * _as_a_walk(reading, reading)
        votes.append((points, f"moves {word} ({ahead:+.2f} of each step is along the view)"))
    vertical = float(reading.up.mean(0)[2])
    if abs(vertical) > 0.7:
        word = "up" if vertical > 0 else "down"
        votes.append((math.copysign(1.0, vertical), f"the top of the pictures points {word} the world's z axis"))
    if _looks_at_one_point(reading):
        votes.append((0.5, "looks towards that point, not away from it"))
    return votes


def _as_a_walk(reading: Cameras, other: Cameras) -> float:
    """How much a path counts as evidence, 0 to 1: a few photographs, or many in no order, are not walked from one to the next."""
    roughness = min(_roughness(reading.positions), _roughness(other.positions))
    steady = (UNORDERED - roughness) / (UNORDERED - WALKED)
    return min(1.0, (len(reading) - 1) / ENOUGH_STEPS) * max(0.0, min(1.0, steady))


def _roughness(positions: Tensor) -> float:
    """Mean second difference over mean first difference: 0 on a straight line at constant speed."""
    if len(positions) < 3:
        return 0.0
    steps = positions.diff(dim=0)
    length = float(torch.linalg.vector_norm(steps, dim=-1).mean())
    return float(torch.linalg.vector_norm(steps.diff(dim=0), dim=-1).mean()) / length if length > 1e-9 else 0.0


def _looks_at_one_point(reading: Cameras) -> bool:
    """Whether the viewing axes meet in a point ahead, as on an orbit (least squares over lines)."""
    forward, positions = reading.forward, reading.positions
    across = torch.eye(3, dtype=torch.float64) - forward[:, :, None] * forward[:, None, :]  # [T, 3, 3]
    system = across.sum(0)
    # Views that are nearly parallel meet nowhere in particular.
    if float(torch.linalg.eigvalsh(system)[0]) < 0.06 * len(reading):
        return False
    point = torch.linalg.solve(system, (across @ positions[:, :, None]).sum(0))[:, 0]
    to_point = point - positions
    ahead = (to_point * forward).sum(-1)
    miss = torch.linalg.vector_norm(to_point - ahead[:, None] * forward, dim=-1)
    extent = float((positions.amax(0) - positions.amin(0)).norm())
    distance = float(ahead.median())
    return bool((ahead > 0).all()) and float(miss.median()) < 0.15 * distance and extent > 0.3 * distance


def _clipped(points: float) -> float:
    return max(-1.0, min(1.0, points))


def _vector(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:+.3f}" for value in values.tolist()) + ")"


def _axis_name(direction: Tensor) -> str:
    index = int(direction.abs().argmax())
    if abs(float(direction[index])) < 0.8:
        return ""
    return f"  about {'+' if direction[index] > 0 else '-'}{'xyz'[index]} of the world"


def _range(values: Tensor) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if high - low < 1e-6 else f"{low:.4g} to {high:.4g}"

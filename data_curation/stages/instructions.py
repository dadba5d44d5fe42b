"""Words for what a target does: sentences that name an object to find, and camera paths in the trajectory language."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from video4spatial.cameras import Cameras, parse_trajectory
from video4spatial.cameras.rotations import matrices_from_vectors, quaternions_from_matrices
from video4spatial.spread import thinned

TEMPLATES = (
    "go to the {label}",
    "walk to the {label}",
    "walk up to the {label}",
    "move to the {label}",
    "head over to the {label}",
    "go over to the {label} and stop",
    "find the {label}",
    "find the {label} and stop in front of {it}",
    "find the {label} and go there",
    "look for the {label} and walk up to {it}",
    "look around until you see the {label}, then go to {it}",
    "search for the {label}",
    "search the room for {a} {label} and go to {it}",
    "locate the {label} and approach {it}",
    "approach the {label}",
    "navigate to the {label}",
    "take me to the {label}",
    "bring me to the {label}",
    "show me the {label}",
    "turn to the {label} and go closer",
    "there {is_} {a} {label} here somewhere; go to {it}",
    "where {is_} the {label}? Go and look",
    "I am looking for the {label}; lead me there",
    "stop when you stand before the {label}",
    "I want to see the {label}",
    "get a clear view of the {label}",
)
MOST_SEGMENTS = 3
MOST_SPLITS = 8  # places along a path where segments may meet
METRE_STEP, DEGREE_STEP = 0.05, 5.0  # to which numbers are rounded
WORTH_SAYING = 0.2  # on paths of unknown scale, a direction is named from this share of the path on
CLOSE = 0.3  # metres + degrees / 45: a description that stays this near to the path needs no more segments
DIRECTIONS = (("right", "left"), ("down", "up"), ("forward", "back"))
TURNS = (("turn left", "turn right"), ("tilt up", "tilt down"), ("roll right", "roll left"))


@dataclass(frozen=True)
class WordSettings:
    """What is said about objects to find.

    Args:
        paraphrases: instructions per clip.
    """

    paraphrases: int = 4


def grounding_instructions(label: str, seed: int, count: int) -> tuple[str, ...]:
    """Different sentences that ask for an object; the same for the same arguments.

    Args:
        label: the object in words, such as "table lamp".
        seed: which sentences.
        count: how many, up to the number of `TEMPLATES`.

    Raises:
        ValueError: for an empty label or more sentences than there are.
    """
    label = label.strip()
    if not label:
        raise ValueError("an object without a name cannot be asked for: give a label, such as 'table lamp'")
    if not 0 <= count <= len(TEMPLATES):
        raise ValueError(f"{count} different instructions: there are {len(TEMPLATES)}")
    plural = label.endswith("s") and not label.endswith(("ss", "us", "is", "as", "lens"))
    a = "some" if plural else "an" if label[0].lower() in "aeiou" else "a"
    words = {"label": label, "a": a, "it": "them" if plural else "it", "is_": "are" if plural else "is"}
    return tuple(template.format(**words) for template in random.Random(f"{seed} {label}").sample(TEMPLATES, count))


def navigation_words(cameras: Cameras, up: Sequence[float] | None = None) -> str:
    """A camera path in the trajectory language, in one to three segments: "forward 0.6m + turn left 30deg".

    The fewest segments are taken that stay near the path; numbers are rounded, and each segment makes up for the rounding of those
    before. Lengths of unknown scale would be false in metres: then directions stand without lengths ("forward + turn left 30deg"),
    for people and models that read words, and `parse_trajectory` does not take them.

    Args:
        cameras: [T] path, T at least 2.
        up: the vertical in their world; by default the top of the first picture, as for `parse_trajectory`, which must be given the
            same.

    Raises:
        ValueError: for fewer than 2 cameras.
    """
    if len(cameras) < 2:
        raise ValueError(f"a path of {len(cameras)} camera has no motion to describe; give at least 2")
    path = cameras.relative_to(0)
    vertical = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    if up is not None:
        vertical = cameras.rotations[0].mT @ torch.tensor([float(value) for value in up], dtype=torch.float64)
        vertical = vertical / vertical.norm()
    if not cameras.metric:
        # Scaled to a metre, so that lengths are shares of the whole path.
        length = float(path.path_length())
        path = path.scaled(1 / length if length > 1e-9 else 1.0, metric=True)
    splits = thinned(len(path), MOST_SPLITS + 2)[1:-1]
    best, least = [], math.inf
    for segments in range(1, MOST_SEGMENTS + 1):
        for inner in itertools.combinations(splits, segments - 1):
            motions, error = _described(path, [*inner, len(path) - 1], vertical)
            if error < least - 1e-9:
                best, least = motions, error
        if least <= CLOSE:
            break
    return ", ".join(_words(*motion, cameras.metric) for motion in best) or "static"


def _described(path: Cameras, ends: list[int], vertical: Tensor) -> tuple[list[tuple[Tensor, Tensor]], float]:
    """Rounded motions that lead to the frames `ends`, and how far at most they stray from the path (metres + degrees / 45)."""
    motions = []
    described = path[:1]
    for begin, end in zip([0, *ends], ends):
        pose = described.camera_to_world[-1]
        motion = _fitted(pose, path.camera_to_world[end], vertical)
        count = end - begin + 1
        if all((part == 0).all() for part in motion):
            piece = described[-1:].camera_to_world.expand(count, 4, 4)
        else:
            motions.append(motion)
            local = pose[:3, :3].mT @ vertical
            words = _words(*motion, True)
            # The vertical of a later segment is still that of the start.
            piece = pose @ parse_trajectory(words, count, up=local.tolist()).camera_to_world
        described = Cameras.concatenate([described, Cameras(piece[1:], path.intrinsics[0])])
    apart = described.distance_to(path) + described.rotation_to(path) / 45
    return motions, float(apart.max()) + float(apart[-1])


def _fitted(start: Tensor, end: Tensor, vertical: Tensor) -> tuple[Tensor, Tensor]:
    """The rounded motion of constant speed between two poses.

    It is metres along right, down and forward, and degrees turned left, tilted up and rolled right.
    """
    turn = torch.zeros((), dtype=torch.float64)
    for _ in range(20):
        # After the turn, only tilt and roll may be left: a rest about the camera's y axis is added to the turn.
        rest = _vector(start[:3, :3].mT @ matrices_from_vectors(-turn * vertical) @ end[:3, :3])
        turn = turn - rest[1]
    angles = torch.stack([turn, rest[0], rest[2]]).rad2deg()
    angles = (angles / DEGREE_STEP).round() * DEGREE_STEP
    progress = ((torch.arange(64, dtype=torch.float64) + 0.5) / 64)[:, None]
    turn, tilt, roll = angles.deg2rad()
    own = torch.stack([tilt, torch.zeros_like(tilt), roll])
    # Velocity is constant in the camera's axes, which turn: the way is the mean rotation times it.
    rotations = matrices_from_vectors(progress * turn * vertical) @ start[:3, :3] @ matrices_from_vectors(progress * own)
    metres = torch.linalg.solve(rotations.mean(dim=0), end[:3, 3] - start[:3, 3])
    return (metres / METRE_STEP).round() * METRE_STEP, angles


def _vector(rotation: Tensor) -> Tensor:
    """The rotation vector [3] of a rotation: axis times angle in radians."""
    quaternion = quaternions_from_matrices(rotation)
    sine = quaternion[1:].norm()
    return quaternion[1:] * (2 * torch.atan2(sine, quaternion[0]) / sine.clamp(min=1e-12))


def _words(metres: Tensor, degrees: Tensor, lengths: bool) -> str:
    parts = []
    for axis in (2, 0, 1):  # forward first
        value = float(metres[axis])
        if abs(value) > (METRE_STEP / 2 if lengths else WORTH_SAYING):
            parts.append(DIRECTIONS[axis][value < 0] + (f" {abs(value):.2f}".rstrip("0").rstrip(".") + "m" if lengths else ""))
    for names, value in zip(TURNS, degrees.tolist()):
        if abs(value) > DEGREE_STEP / 2:
            parts.append(f"{names[value < 0]} {abs(value):.0f}deg")
    return " + ".join(parts)

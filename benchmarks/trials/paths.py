"""Paths in words that must be understood, and where their cameras must end: composed here from their parts, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from video4spatial.cameras import Cameras

from .inputs import SilentChange

METRES = {"m": 1.0, " m": 1.0, " metres": 1.0, "cm": 0.01, " centimeters": 0.01}
DEGREES = {"deg": 1.0, " degrees": 1.0, "°": 1.0, "rad": math.degrees(1.0)}
RIGHT, DOWN, FORWARD = np.eye(3)
MOVES = {
    "forward": FORWARD, "ahead": FORWARD, "backwards": -FORWARD, "dolly in": FORWARD, "move back": -FORWARD, "left": -RIGHT, "right": RIGHT,
    "truck left": -RIGHT, "strafe right": RIGHT, "up": -DOWN, "down": DOWN, "pedestal up": -DOWN, "crane down": DOWN,
}  # fmt: skip
"""Words of a movement: its direction in the camera's axes."""
TURNS = {
    "turn left": -DOWN, "pan right": DOWN, "yaw left": -DOWN, "rotate right": DOWN, "look left": -DOWN, "left": -DOWN, "right": DOWN,
}  # fmt: skip
"""Words of a turn: its axis, right-handed, in the axes of the anchor."""
TILTS = {
    "tilt up": RIGHT, "pitch down": -RIGHT, "look up": RIGHT, "down": -RIGHT, "roll right": FORWARD, "roll left": -FORWARD,
}  # fmt: skip
"""Words of a tilt or a roll: its axis, right-handed, in the camera's axes."""


@dataclass(frozen=True)
class Part:
    """One motion.

    Args:
        words: of it.
        step: metres in the camera's axes.
        turn: radians about each axis of the anchor, on the left of the rotation so far.
        tilt: radians about each of the camera's axes, on its right.
        zoom: factor on the focal length.
    """

    words: str
    step: tuple[float, ...] = (0.0, 0.0, 0.0)
    turn: tuple[float, ...] = (0.0, 0.0, 0.0)
    tilt: tuple[float, ...] = (0.0, 0.0, 0.0)
    zoom: float = 1.0


def understood_paths() -> st.SearchStrategy[tuple[str, int, list[Part]]]:
    """Words, a number of frames, and the parts that the words name."""
    apart = st.sampled_from([", ", ",", " then ", "; ", "\n", " ,then "])
    written = st.sampled_from([str, str.upper, str.title, lambda words: f"  {words}\t"])
    parts = st.lists(st.one_of(_moves(), _moves(), _moves_together(), _turns("turn"), _turns("tilt"), _others()), min_size=1, max_size=5)
    moving = parts.filter(lambda drawn: any(part.step != (0.0,) * 3 or part.turn != part.tilt or part.zoom != 1 for part in drawn))
    return st.builds(
        lambda drawn, between, write, count: (write(between.join(part.words for part in drawn)), count, drawn),
        moving, apart, written, st.sampled_from([2, 9, 81]),
    )  # fmt: skip


def _amounts(units: dict[str, float], most: int) -> st.SearchStrategy[tuple[str, float]]:
    """A number with a unit as people write them, and its value."""
    forms = st.sampled_from(["{:g}", "{:.2f}", "+{:g}", "{:e}", "-{:g}"])

    def amount(number: int, form: str, unit: str) -> tuple[str, float]:
        text = form.format(number / 8)
        return text + unit, float(text) * units[unit]

    return st.builds(amount, st.integers(1, most), forms, st.sampled_from(sorted(units)))


def _moves() -> st.SearchStrategy[Part]:
    def part(words: str, amount: tuple[str, float]) -> Part:
        return Part(f"{words} {amount[0]}", step=tuple(MOVES[words] * amount[1]))

    return st.builds(part, st.sampled_from(sorted(MOVES)), _amounts(METRES, 80))


def _moves_together() -> st.SearchStrategy[Part]:
    def part(first: Part, second: Part, together: str) -> Part:
        return Part(first.words + together + second.words, step=tuple(np.add(first.step, second.step)))

    return st.builds(part, _moves(), _moves(), st.sampled_from([" + ", "+", " and "]))


def _turns(axes: str) -> st.SearchStrategy[Part]:
    known = TURNS if axes == "turn" else TILTS

    def part(words: str, amount: tuple[str, float]) -> Part:
        return Part(f"{words} {amount[0]}", **{axes: tuple(known[words] * math.radians(amount[1]))})

    return st.builds(part, st.sampled_from(sorted(known)), _amounts(DEGREES, 150))


def _others() -> st.SearchStrategy[Part]:
    zooms = st.builds(
        lambda factor, unit: [Part(f"zoom in {factor}{unit}", zoom=factor), Part(f"zoom out {factor}{unit}", zoom=1 / factor)],
        st.sampled_from([1.25, 2, 3]), st.sampled_from(["x", "", " times"]),
    ).flatmap(st.sampled_from)  # fmt: skip
    return st.one_of(zooms, st.sampled_from(["static", "hold", "wait 0.02s", "stay .02 seconds"]).map(Part))


def check_end(path: Cameras, parts: list[Part]) -> None:
    """The last camera must be where the parts lead, and the first where they start.

    Args:
        path: that was read.
        parts: that its words name.
    """
    rotation, position, focal = np.eye(3), np.zeros(3), 1.0
    for part in parts:
        position = position + rotation @ part.step
        rotation = _rotation(part.turn) @ rotation @ _rotation(part.tilt)
        focal *= part.zoom
    end, focals = path.camera_to_world[-1].numpy(), path.intrinsics[:, 0, 0].numpy()
    whole = np.block([[rotation, position[:, None]], [np.eye(4)[3:]]])
    if not np.allclose(end, whole, rtol=0, atol=1e-6) or not np.isclose(focals[-1] / focals[0], focal, rtol=1e-9):
        raise SilentChange(f"the path ends elsewhere than its parts lead: {end.tolist()}, not {whole.tolist()}")
    if not np.array_equal(path.camera_to_world[0].numpy(), np.eye(4)):
        raise SilentChange("the path does not begin at the anchor")


def _rotation(about: tuple[float, ...]) -> np.ndarray:
    """The rotation [3, 3] about an axis by as many radians as the axis is long (Rodrigues)."""
    angle = float(np.linalg.norm(about))
    if angle == 0:
        return np.eye(3)
    x, y, z = np.array(about) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross

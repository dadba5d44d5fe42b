"""What the verbs of the trajectory language mean: each turns its arguments into one `Motion`.

To add a verb, write one function and one line in `VERBS`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from video4spatial.naming import did_you_mean

DEGREES_PER_METRE = 45.0
"""A turn of this many degrees takes as long as a metre."""
DEFAULT_DISTANCE = 2.0
"""Metres ahead of what orbit, spiral and dolly zoom look at, where the words do not say it."""
DEFAULT_SPIRAL_RADIUS = 0.3
UNITS = {
    **dict.fromkeys(["m", "metre", "metres", "meter", "meters"], ("metres", 1.0)),
    **dict.fromkeys(["cm", "centimetre", "centimetres", "centimeter", "centimeters"], ("metres", 0.01)),
    **dict.fromkeys(["deg", "degs", "degree", "degrees", "°"], ("degrees", 1.0)),
    **dict.fromkeys(["rad", "radian", "radians"], ("degrees", math.degrees(1.0))),
    **dict.fromkeys(["s", "sec", "secs", "second", "seconds"], ("seconds", 1.0)),
    **dict.fromkeys(["x", "×", "times"], ("times", 1.0)),
}
"""Unit as written: (kind, factor to the kind's own unit)."""
LIMITS = {"metres": 100.0, "degrees": 1080.0, "seconds": 3600.0, "times": 100.0}
"""Kind of unit: the largest number that is taken for meant."""
SUFFIXES = {"metres": "m", "degrees": "deg", "seconds": "s", "times": "x", None: ""}
"""Kind of unit: how it is written back."""

Vector = tuple[float, float, float]


class TrajectoryError(ValueError):
    """A trajectory that cannot be followed; the message says what to write instead."""


@dataclass(frozen=True)
class Quantity:
    """A number as written.

    Args:
        value: in the unit of its kind.
        kind: "metres", "degrees", "seconds", "times", or None for a bare number.
    """

    value: float
    kind: str | None

    def __str__(self) -> str:
        return f"{self.value:g}{SUFFIXES[self.kind]}"


@dataclass(frozen=True)
class Motion:
    """A motion at constant speed, in the camera's own terms. Motions at the same time add up.

    Args:
        translation: metres along the camera's right, down and forward axes, which turn with it.
        turn_left: degrees about the vertical.
        tilt_up: degrees about the camera's right axis.
        roll_right: degrees about the viewing axis, clockwise as seen from behind the camera.
        orbit: (degrees to the left, radius in metres) around the point at that distance ahead.
        spiral: (degrees to the left, radius, distance) of a circle in the camera's own right/down plane, in metres. The start is
            the lowest point of the circle. The camera keeps looking, upright, at the point that is `distance` ahead of the start. A
            translation is along the start's axes meanwhile.
        look_at: the point, in anchor coordinates, that the camera looks at in the end.
        zoom: factor on the focal length in the end, growing geometrically.
        subject: metres ahead of the start to a thing that keeps its size in the picture: the focal length follows its depth.
        still: whether it is a rest; `seconds` may give its length.
        seconds: the length of a rest, or None for a share like one metre's.
    """

    translation: Vector = (0.0, 0.0, 0.0)
    turn_left: float = 0.0
    tilt_up: float = 0.0
    roll_right: float = 0.0
    orbit: tuple[float, float] | None = None
    spiral: tuple[float, float, float] | None = None
    look_at: Vector | None = None
    zoom: float = 1.0
    subject: float | None = None
    still: bool = False
    seconds: float | None = None

    def __add__(self, other: Motion) -> Motion:
        if self.still or other.still:
            raise TrajectoryError("a rest (static, wait) cannot happen together with another motion: separate with ','")
        single = ("orbit", "spiral", "look_at", "subject")
        if any(getattr(self, name) and getattr(other, name) for name in single):
            raise TrajectoryError(
                "two of the same kind (orbit, spiral, look_at, dolly zoom) cannot happen at the same time"
            )
        total = Motion(
            translation=tuple(a + b for a, b in zip(self.translation, other.translation)),
            turn_left=self.turn_left + other.turn_left,
            tilt_up=self.tilt_up + other.tilt_up,
            roll_right=self.roll_right + other.roll_right,
            orbit=self.orbit or other.orbit,
            spiral=self.spiral or other.spiral,
            look_at=self.look_at or other.look_at,
            zoom=self.zoom * other.zoom,
            subject=self.subject or other.subject,
        )
        turns = total.turn_left or total.tilt_up or total.roll_right or total.orbit
        if total.look_at and (turns or total.spiral) or total.spiral and turns:
            name = "look_at" if total.look_at else "spiral"
            raise TrajectoryError(f"{name} already says where to turn: combine it with movements and zooms only")
        return total


class Arguments:
    """The words and numbers that follow a verb, taken one after the other by its function.

    Args:
        verb: for messages.
        items: words and numbers, in order.
    """

    def __init__(self, verb: str, items: list[str | Quantity]) -> None:
        self.verb = verb
        self.items = list(items)

    def direction(self, options: dict[str, float], default: float | None = None) -> float:
        """Take a direction word.

        Args:
            options: {word: sign}.
            default: the sign where no word comes next; None makes that an error.

        Returns:
            Its sign.

        Raises:
            TrajectoryError: for another word.
        """
        if self.items and isinstance(self.items[0], str):
            word = self.items.pop(0)
            if word in options:
                return options[word]
            raise TrajectoryError(f"{self.verb} {word}: expected {' or '.join(options)}{did_you_mean(word, options)}")
        if default is None:
            example = f"{self.verb} {next(iter(options))} ..."
            raise TrajectoryError(f"{self.verb} needs a direction ({' or '.join(options)}), as in '{example}'")
        return default

    def quantity(self, *kinds: str, bare: str | None) -> Quantity:
        """Take a number.

        Args:
            *kinds: that it may be of.
            bare: kind of a number without a unit; None makes that an error.

        Raises:
            TrajectoryError: for anything else, and for numbers beyond the limit of their kind.
        """
        if not self.items or isinstance(self.items[0], str):
            raise TrajectoryError(f"{self.verb} needs a number, as in '{self._example(kinds[0])}'")
        quantity = self.items.pop(0)
        if not math.isfinite(quantity.value):
            raise TrajectoryError(f"{self.verb}: {quantity.value} is not a number that can be followed")
        kind = quantity.kind or bare
        if kind is None:
            both = " or ".join(f"'{self._example(option, quantity.value)}'" for option in kinds)
            raise TrajectoryError(f"{self.verb} {quantity.value:g} needs a unit: write {both}")
        if kind not in kinds:
            wanted = " or ".join(kinds)
            raise TrajectoryError(f"{self.verb} takes {wanted}, not {kind}, as in '{self._example(kinds[0])}'")
        if abs(quantity.value) > LIMITS[kind]:
            raise TrajectoryError(
                f"{self.verb}: {quantity.value:g} {kind} is more than the limit of {LIMITS[kind]:g}; "
                f"is the unit right ({kind})?"
            )
        return Quantity(quantity.value, kind)

    def metres(self) -> float:
        """Take a length; a bare number is in metres."""
        return self.quantity("metres", bare="metres").value

    def degrees(self) -> float:
        """Take an angle; a bare number is in degrees."""
        return self.quantity("degrees", bare="degrees").value

    def positive_metres(self, name: str, default: float, *words: str) -> float:
        """Take one of some words and the positive length after it, if they come next.

        Args:
            name: of the length, for messages.
            default: metres where they do not come next.
            *words: the words.

        Raises:
            TrajectoryError: for a length that is not positive.
        """
        metres = self.metres() if self.word(*words) else default
        if metres <= 0:
            raise TrajectoryError(f"{self.verb}: a {name} of {metres:g} m is not possible; give a positive one")
        return metres

    def word(self, *words: str) -> bool:
        """Take one of `words` if it comes next, and tell whether it did."""
        if self.items and self.items[0] in words:
            self.items.pop(0)
            return True
        return False

    def finish(self) -> None:
        """Refuse what no one took."""
        if not self.items:
            return
        rest = self.items[0]
        shown = rest if isinstance(rest, str) else f"{rest.value:g}"
        if shown in VERBS:
            raise TrajectoryError(f"'{shown}' begins a new motion: put ',' (then) or '+' (at the same time) before it")
        raise TrajectoryError(f"{self.verb}: '{shown}' is left over")

    def _example(self, kind: str, value: float | None = None) -> str:
        number = {"metres": 0.5, "degrees": 30, "seconds": 2, "times": 2}[kind] if value is None else value
        return f"{self.verb} {number:g}{SUFFIXES[kind]}"


KEYS = {
    "w": ("forward", 0.25, "m"), "s": ("back", 0.25, "m"), "a": ("truck left", 0.25, "m"), "d": ("truck right", 0.25, "m"),
    "j": ("turn left", 15, "deg"), "l": ("turn right", 15, "deg"), "i": ("tilt up", 15, "deg"), "k": ("tilt down", 15, "deg"),
}  # fmt: skip
"""Key as in games: what one press does."""


def spelled_keys(keys: str) -> str:
    """The words for keys pressed one after the other: "wwd" is "forward 0.5m, truck right 0.25m".

    Args:
        keys: letters of `KEYS`, with or without blanks between them.

    Raises:
        TrajectoryError: for other keys, or none.
    """
    pressed = "".join(keys.split())
    wrong = [key for key in pressed if key not in KEYS]
    if wrong or not pressed:
        meanings = ", ".join(f"{key} {words} {step:g}{unit}" for key, (words, step, unit) in KEYS.items())
        shown = f"{wrong[0]!r} is no key" if wrong else "no keys are given"
        raise TrajectoryError(f"wasd: {shown}; known: {meanings}; as in 'wasd wwwdd'")
    runs = [(key, len(list(group))) for key, group in itertools.groupby(pressed)]
    return ", ".join(f"{KEYS[key][0]} {count * KEYS[key][1]:g}{KEYS[key][2]}" for key, count in runs)


LEFT_RIGHT = {"left": -1.0, "right": 1.0}
UP_DOWN = {"up": 1.0, "down": -1.0}
IN_OUT = {"in": 1.0, "forward": 1.0, "out": -1.0, "back": -1.0, "backward": -1.0}


def _along_forward(sign: float) -> Callable[[Arguments], Motion]:
    return lambda arguments: Motion(translation=(0.0, 0.0, sign * arguments.metres()))


def _sideways_or_turn(sign: float) -> Callable[[Arguments], Motion]:
    def motion(arguments: Arguments) -> Motion:
        quantity = arguments.quantity("degrees", "metres", bare=None)
        if quantity.kind == "degrees":
            return Motion(turn_left=-sign * quantity.value)
        return Motion(translation=(sign * quantity.value, 0.0, 0.0))

    return motion


def _vertical_or_tilt(sign: float) -> Callable[[Arguments], Motion]:
    def motion(arguments: Arguments) -> Motion:
        quantity = arguments.quantity("metres", "degrees", bare="metres")
        if quantity.kind == "degrees":
            return Motion(tilt_up=sign * quantity.value)
        return Motion(translation=(0.0, -sign * quantity.value, 0.0))

    return motion


def _turn(arguments: Arguments) -> Motion:
    return Motion(turn_left=-arguments.direction(LEFT_RIGHT) * arguments.degrees())


def _tilt(arguments: Arguments) -> Motion:
    return Motion(tilt_up=arguments.direction(UP_DOWN) * arguments.degrees())


def _look(arguments: Arguments) -> Motion:
    if arguments.items and arguments.items[0] in UP_DOWN:
        return _tilt(arguments)
    if arguments.items and arguments.items[0] in LEFT_RIGHT:
        return _turn(arguments)
    arguments.direction({**LEFT_RIGHT, **UP_DOWN})
    return Motion()


def _dolly_zoom(arguments: Arguments) -> Motion:
    metres = arguments.direction(IN_OUT, default=1.0) * arguments.metres()
    distance = arguments.positive_metres("distance", DEFAULT_DISTANCE, "at")
    return Motion(translation=(0.0, 0.0, metres), subject=distance)


def _zoom(arguments: Arguments) -> Motion:
    sign = arguments.direction({"in": 1.0, "out": -1.0}, default=1.0)
    factor = arguments.quantity("times", bare="times").value
    if factor <= 1:
        raise TrajectoryError(
            f"zoom: give a factor above 1, not {factor:g} ('zoom in 2' doubles the focal length, 'zoom out 2' halves it)"
        )
    return Motion(zoom=factor**sign)


def _orbit(arguments: Arguments) -> Motion:
    degrees = -arguments.direction(LEFT_RIGHT, default=-1.0) * arguments.degrees()
    return Motion(orbit=(degrees, arguments.positive_metres("radius", DEFAULT_DISTANCE, "radius", "at", "around")))


def _spiral(arguments: Arguments) -> Motion:
    """One circle of the render paths of LLFF and NeRF: all views look at a point at the focus distance, upright.

    Theirs circle about an average camera, which is not a frame of the path, and swing along the viewing axis with a sine
    of another rate. Here the circle goes through the start, so that frame 0 is the start, and "+ forward" makes it a
    helix.
    """
    degrees = -arguments.direction(LEFT_RIGHT, default=-1.0) * arguments.degrees()
    radius = arguments.positive_metres("radius", DEFAULT_SPIRAL_RADIUS, "radius")
    return Motion(spiral=(degrees, radius, arguments.positive_metres("distance", DEFAULT_DISTANCE, "at")))


def _look_at(arguments: Arguments) -> Motion:
    if len(arguments.items) < 3:
        raise TrajectoryError(
            "look_at needs three metres in anchor coordinates (right, down, forward), as in 'look_at 0.5 0 3'"
        )
    return Motion(look_at=(arguments.metres(), arguments.metres(), arguments.metres()))


def _rest(arguments: Arguments) -> Motion:
    if not arguments.items:
        return Motion(still=True)
    seconds = arguments.quantity("seconds", bare="seconds").value
    if seconds <= 0:
        raise TrajectoryError(f"{arguments.verb} {seconds:g}: give a positive number of seconds")
    return Motion(still=True, seconds=seconds)


VERBS: dict[str, Callable[[Arguments], Motion]] = {
    **dict.fromkeys(["forward", "forwards", "ahead"], _along_forward(1.0)),
    **dict.fromkeys(["back", "backward", "backwards"], _along_forward(-1.0)),
    "left": _sideways_or_turn(-1.0),
    "right": _sideways_or_turn(1.0),
    "up": _vertical_or_tilt(1.0),
    "down": _vertical_or_tilt(-1.0),
    **dict.fromkeys(["turn", "pan", "yaw", "rotate"], _turn),
    **dict.fromkeys(["tilt", "pitch"], _tilt),
    "look": _look,
    "roll": lambda words: Motion(roll_right=words.direction(LEFT_RIGHT) * words.degrees()),
    **dict.fromkeys(["truck", "strafe"], lambda words: Motion((words.direction(LEFT_RIGHT) * words.metres(), 0.0, 0.0))),
    **dict.fromkeys(["pedestal", "crane"], lambda words: Motion((0.0, -words.direction(UP_DOWN) * words.metres(), 0.0))),
    **dict.fromkeys(["dolly", "move"], lambda words: Motion((0.0, 0.0, words.direction(IN_OUT) * words.metres()))),
    **dict.fromkeys(["dolly_zoom", "vertigo"], _dolly_zoom),
    "zoom": _zoom,
    "orbit": _orbit,
    "spiral": _spiral,
    "look_at": _look_at,
    **dict.fromkeys(["static", "hold", "stay", "wait"], _rest),
}
"""Every verb of the language and the function that reads its arguments."""

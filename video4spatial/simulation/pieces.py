"""What furniture is made of: textured boxes, upright cylinders and balls, gathered into labelled pieces."""

from dataclasses import dataclass, field

import numpy as np

BOX, CYLINDER, SPHERE = 0, 1, 2
_NO_LAYER = -1


@dataclass(frozen=True)
class Part:
    """One primitive of a piece, in the piece's frame (metres).

    Args:
        kind: `BOX`, `CYLINDER` or `SPHERE`.
        center: its middle.
        half: half sizes.
        layers: a texture layer per face (-x +x -y +y -z +z).
        yaw: turn about the vertical in radians.
        emission: how much it glows, 0 to 1.
    """

    kind: int
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    layers: tuple[int, ...]
    yaw: float = 0.0
    emission: float = 0.0


@dataclass(frozen=True)
class Piece:
    """A labelled object.

    Args:
        label: class name, lower case.
        size: width, depth and height in metres.
        parts: what it is made of.
        movable: whether a person could carry or push it elsewhere.
        support: height of a top that things can stand on, 0 for none.
    """

    label: str
    size: tuple[float, float, float]
    parts: list[Part] = field(default_factory=list)
    movable: bool = True
    support: float = 0.0


def box(center, size, layer, front=_NO_LAYER, top=_NO_LAYER, yaw=0.0, emission=0.0) -> Part:
    """A box.

    Args:
        center: its middle in metres.
        size: full sizes.
        layer: texture of its faces.
        front: texture of the -y face instead.
        top: texture of the +z face instead.
        yaw: turn about the vertical in radians.
        emission: how much it glows.
    """
    layers = [layer] * 6
    if front != _NO_LAYER:
        layers[2] = front
    if top != _NO_LAYER:
        layers[5] = top
    return Part(BOX, tuple(center), tuple(s / 2 for s in size), tuple(layers), yaw, emission)


def cylinder(center, radius, height, layer, emission=0.0) -> Part:
    """An upright cylinder.

    Args:
        center: its middle in metres.
        radius: in metres.
        height: in metres.
        layer: its texture.
        emission: how much it glows.
    """
    return Part(CYLINDER, tuple(center), (radius, radius, height / 2), (layer,) * 6, 0.0, emission)


def sphere(center, half, layer, emission=0.0) -> Part:
    """A ball or an ellipsoid.

    Args:
        center: its middle in metres.
        half: radius, or three half axes.
        layer: its texture.
        emission: how much it glows.
    """
    half = (half,) * 3 if np.isscalar(half) else tuple(half)
    return Part(SPHERE, tuple(center), half, (layer,) * 6, 0.0, emission)

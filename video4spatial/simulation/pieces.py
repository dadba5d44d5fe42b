"""What furniture is made of: textured boxes, upright cylinders and balls, gathered into labelled pieces."""

from dataclasses import dataclass, field

import numpy as np

BOX, CYLINDER, SPHERE = 0, 1, 2
_NO_LAYER = -1


@dataclass(frozen=True)
class Part:
    """One primitive of a piece: kind, centre and half sizes in the piece's frame, a texture layer per face (-x +x -y
    +y -z +z).
    """

    kind: int
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    layers: tuple[int, ...]
    yaw: float = 0.0
    emission: float = 0.0


@dataclass(frozen=True)
class Piece:
    """A labelled object: its size (width, depth, height) and its parts; `support` is the height of a usable top, 0
    for none.
    """

    label: str
    size: tuple[float, float, float]
    parts: list[Part] = field(default_factory=list)
    movable: bool = True
    support: float = 0.0


def box(center, size, layer, front=_NO_LAYER, top=_NO_LAYER, yaw=0.0, emission=0.0) -> Part:
    """A box of full `size`; `front` and `top` replace the layer of the -y and +z face."""
    layers = [layer] * 6
    if front != _NO_LAYER:
        layers[2] = front
    if top != _NO_LAYER:
        layers[5] = top
    return Part(BOX, tuple(center), tuple(s / 2 for s in size), tuple(layers), yaw, emission)


def cylinder(center, radius, height, layer, emission=0.0) -> Part:
    return Part(CYLINDER, tuple(center), (radius, radius, height / 2), (layer,) * 6, 0.0, emission)


def sphere(center, half, layer, emission=0.0) -> Part:
    half = (half,) * 3 if np.isscalar(half) else tuple(half)
    return Part(SPHERE, tuple(center), half, (layer,) * 6, 0.0, emission)

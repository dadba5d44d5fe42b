"""Furnishing a room: finding places for pieces so that the floor stays walkable."""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from video4spatial.simulation import furniture
from video4spatial.simulation.free_space import Room
from video4spatial.simulation.pieces import Piece

WALKING_CLEARANCE = 0.43
_GRID = 0.1


@dataclass
class Wall:
    """One inner wall surface.

    Args:
        axis: 0 or 1, the axis that the surface is perpendicular to; it runs along the other one.
        coordinate: of the surface on that axis, in metres.
        inward: sign of its normal on that axis.
        start: of the surface along the wall.
        end: of the surface along the wall.
        taken: (start, end, height) of what stands before it.
    """

    axis: int
    coordinate: float
    inward: int
    start: float
    end: float
    taken: list[tuple[float, float, float]] = field(default_factory=list)  # start, end, height of what stands before it

    def point(self, along: float, distance: float, z: float = 0.0) -> tuple[float, float, float]:
        """A point before the wall.

        Args:
            along: coordinate along the wall in metres.
            distance: from the wall.
            z: height.
        """
        across = self.coordinate + self.inward * distance
        return (across, along, z) if self.axis == 0 else (along, across, z)

    @property
    def yaw(self) -> float:
        """Yaw of a piece that stands with its back to the wall."""
        if self.axis == 0:
            return np.pi / 2 * self.inward
        return 0.0 if self.inward < 0 else np.pi

    def is_free(self, start: float, end: float, bottom: float) -> bool:
        """Whether nothing stands before a stretch of the wall, above a height.

        Args:
            start: of the stretch in metres.
            end: of the stretch.
            bottom: the height.
        """
        return all(end < s or start > e or bottom > height for s, e, height in self.taken)


@dataclass
class Interior:
    """A room being furnished. Footprints and zones are rectangles (x0, y0, x1, y1) of the floor in metres.

    Args:
        room: the room.
        walls: its four surfaces.
        floor_layer: texture of its floor, which shadows are baked into.
        light_gain: how much each point light reaches things in it.
        footprints: what blocks the way.
        clear_zones: what must be kept clear.
    """

    room: Room
    walls: list[Wall]
    floor_layer: int
    light_gain: tuple[float, ...]
    footprints: list[tuple[float, float, float, float]] = field(default_factory=list)
    clear_zones: list[tuple[float, float, float, float]] = field(default_factory=list)

    def fits(self, footprint, gap: float = 0.06) -> bool:
        """Whether a footprint lies in the room and keeps away from others and from clear zones.

        Args:
            footprint: (x0, y0, x1, y1) metres.
            gap: least distance from others.
        """
        x0, y0, x1, y1 = footprint
        room = self.room
        if x0 < room.x0 or y0 < room.y0 or x1 > room.x1 or y1 > room.y1:
            return False
        return not any(
            x0 < b[2] + gap and b[0] < x1 + gap and y0 < b[3] + gap and b[1] < y1 + gap
            for b in self.footprints + self.clear_zones
        )

    def stays_walkable(self, footprint) -> bool:
        """Whether the walkable floor stays in one piece of decent size that reaches all clear zones.

        Args:
            footprint: (x0, y0, x1, y1) metres of one more piece.
        """
        room = self.room
        x = np.arange(room.x0 + _GRID / 2, room.x1, _GRID)[:, None]
        y = np.arange(room.y0 + _GRID / 2, room.y1, _GRID)[None, :]
        margin = WALKING_CLEARANCE
        free = (x > room.x0 + margin) & (x < room.x1 - margin) & (y > room.y0 + margin) & (y < room.y1 - margin)
        for x0, y0, x1, y1 in self.footprints + [footprint]:
            free &= (x < x0 - margin) | (x > x1 + margin) | (y < y0 - margin) | (y > y1 + margin)
        areas, count = ndimage.label(free)
        if count == 0:
            return False
        sizes = np.bincount(areas.ravel())[1:] * _GRID**2
        main = int(np.argmax(sizes)) + 1
        floor_area = (room.x1 - room.x0) * (room.y1 - room.y0)
        if sizes[main - 1] < max(1.2, 0.13 * floor_area) or sizes.sum() - sizes[main - 1] > 0.5:
            return False
        reached = areas == main
        return all(np.any(reached & (x > z[0]) & (x < z[2]) & (y > z[1]) & (y < z[3])) for z in self.clear_zones)


def footprint_of(piece: Piece, x: float, y: float, yaw: float) -> tuple[float, float, float, float]:
    """The floor rectangle around a turned piece.

    Args:
        piece: the piece.
        x, y: where it stands in metres.
        yaw: its turn in radians.

    Returns:
        (x0, y0, x1, y1) metres.
    """
    half_x, half_y = piece.size[0] / 2, piece.size[1] / 2
    cosine, sine = abs(np.cos(yaw)), abs(np.sin(yaw))
    extent_x, extent_y = cosine * half_x + sine * half_y, sine * half_x + cosine * half_y
    return x - extent_x, y - extent_y, x + extent_x, y + extent_y


def place(assembler, interior: Interior, piece: Piece, x: float, y: float, yaw: float, z: float = 0.0) -> None:
    """Add a piece to the scene without asking whether it fits.

    Args:
        assembler: of the scene.
        interior: the room.
        piece: the piece.
        x, y, z: where it stands in metres.
        yaw: its turn in radians.
    """
    assembler.add_piece(piece, (x, y, z), yaw, interior.light_gain)


def try_place(assembler, interior: Interior, piece: Piece, x: float, y: float, yaw: float, gap: float = 0.06) -> bool:
    """Add a piece to the scene if it fits and the floor stays walkable.

    Args:
        assembler: of the scene.
        interior: the room.
        piece: the piece.
        x, y: where it would stand in metres.
        yaw: its turn in radians.
        gap: least distance from others in metres.

    Returns:
        Whether it was added.
    """
    footprint = footprint_of(piece, x, y, yaw)
    if not interior.fits(footprint, gap) or not interior.stays_walkable(footprint):
        return False
    place(assembler, interior, piece, x, y, yaw)
    interior.footprints.append(footprint)
    for wall in interior.walls:
        low, high = footprint[wall.axis], footprint[wall.axis + 2]
        distance = low - wall.coordinate if wall.inward > 0 else wall.coordinate - high
        if distance < 0.7:
            along = 1 - wall.axis
            wall.taken.append((footprint[along], footprint[along + 2], piece.size[2]))
    return True


def furnish(assembler, rng, interior: Interior, main: bool) -> None:
    """Fill a room: a table or lounge, pieces along the walls, in corners and on the floor, and a rug.

    Args:
        assembler: of the scene.
        rng: generator that everything is drawn from.
        interior: the room.
        main: whether it is the main room, which holds more.
    """
    room, bank = interior.room, assembler.bank
    if main and rng.random() < 0.8:
        _dining_or_lounge(assembler, rng, interior)
    order = rng.permutation(len(furniture.AGAINST_WALL))[: int(rng.integers(5, 8) if main else rng.integers(3, 5))]
    for index in order:
        piece = furniture.AGAINST_WALL[index](bank, rng)
        for _ in range(24):
            wall = interior.walls[rng.integers(4)]
            margin = piece.size[0] / 2 + 0.05
            if wall.end - wall.start < 2 * margin:
                continue
            along = rng.uniform(wall.start + margin, wall.end - margin)
            x, y, _ = wall.point(along, piece.size[1] / 2 + rng.uniform(0.02, 0.06))
            if not wall.is_free(along - margin, along + margin, 0.0) or not try_place(
                assembler, interior, piece, x, y, wall.yaw
            ):
                continue
            _fill_top(assembler, rng, interior, piece, x, y, wall.yaw)
            if piece.label == "desk":
                seat, (sx, sy, _) = (
                    furniture.chair(bank, rng),
                    wall.point(along + rng.uniform(-0.2, 0.1), piece.size[1] + 0.25),
                )
                try_place(assembler, interior, seat, sx, sy, wall.yaw + np.pi + rng.uniform(-0.4, 0.4), gap=-0.1)
            break
    corners = [(x, y) for x in (room.x0 + 0.38, room.x1 - 0.38) for y in (room.y0 + 0.38, room.y1 - 0.38)]
    for builder, corner in zip(
        (furniture.IN_CORNER[i] for i in rng.permutation(4)), rng.permutation(4)[: 3 if main else 2]
    ):
        try_place(assembler, interior, builder(bank, rng), *corners[corner], rng.integers(4) * np.pi / 2)
    for _ in range(int(rng.integers(3, 6)) if main else int(rng.integers(1, 4))):
        piece = furniture.ON_FLOOR[rng.integers(len(furniture.ON_FLOOR))](bank, rng)
        for _ in range(10):
            x, y = rng.uniform(room.x0 + 0.3, room.x1 - 0.3), rng.uniform(room.y0 + 0.3, room.y1 - 0.3)
            if try_place(assembler, interior, piece, x, y, rng.uniform(0, 2 * np.pi)):
                break
    if rng.random() < 0.6:
        piece = furniture.rug(bank, rng)
        x = rng.uniform(room.x0 + 1.2, room.x1 - 1.2)
        y = rng.uniform(room.y0 + 1.2, room.y1 - 1.2)
        place(assembler, interior, piece, x, y, 0.0)


def _dining_or_lounge(assembler, rng, interior: Interior) -> None:
    room, bank = interior.room, assembler.bank
    dining = rng.random() < 0.6
    piece = furniture.table(bank, rng) if dining else furniture.coffee_table(bank, rng)
    for _ in range(20):
        x = rng.uniform(room.x0 + 0.25 * (room.x1 - room.x0), room.x1 - 0.25 * (room.x1 - room.x0))
        y = rng.uniform(room.y0 + 0.25 * (room.y1 - room.y0), room.y1 - 0.25 * (room.y1 - room.y0))
        yaw = rng.integers(2) * np.pi / 2 + rng.uniform(-0.15, 0.15)
        if try_place(assembler, interior, piece, x, y, yaw):
            break
    else:
        return
    _fill_top(assembler, rng, interior, piece, x, y, yaw)
    if not dining:
        return
    style = int(rng.integers(2**31))  # the chairs of a table match
    for side in rng.permutation(4)[: int(rng.integers(2, 5))]:
        seat = furniture.chair(bank, np.random.default_rng(style))
        angle = yaw + side * np.pi / 2
        reach = (piece.size[1] if side % 2 == 0 else piece.size[0]) / 2 + 0.12 + rng.uniform(0.0, 0.1)
        seat_x, seat_y = x - np.sin(angle) * reach, y + np.cos(angle) * reach
        try_place(assembler, interior, seat, seat_x, seat_y, angle + rng.uniform(-0.25, 0.25), gap=-0.2)


def _fill_top(assembler, rng, interior: Interior, piece: Piece, x: float, y: float, yaw: float) -> None:
    if piece.support == 0.0 or piece.label == "box":
        return
    slots = np.array([-0.3, 0.3]) * piece.size[0] if piece.size[0] > 0.7 else np.zeros(1)
    builders = [furniture.ON_TOP[i] for i in rng.permutation(len(furniture.ON_TOP))]
    if piece.label == "desk":
        builders = [furniture.monitor, furniture.table_lamp]
    for slot, builder in zip(slots, builders):
        if rng.random() < 0.25:
            continue
        item = builder(assembler.bank, rng)
        if max(item.size[:2]) > piece.size[1]:
            continue
        turn = 0.0 if item.label == "monitor" else rng.uniform(0, 2 * np.pi)
        place(assembler, interior, item, x + np.cos(yaw) * slot, y + np.sin(yaw) * slot, yaw + turn, piece.support)

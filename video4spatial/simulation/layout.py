"""Architecture and furnishing: where walls, doors, windows, furniture, pictures and lights of a scene go."""

from dataclasses import replace

import numpy as np

from video4spatial.simulation import textures
from video4spatial.simulation.free_space import Room
from video4spatial.simulation.furnishing import Interior, Wall, furnish, place
from video4spatial.simulation.pieces import BOX, Part, Piece, box, cylinder, sphere
from video4spatial.simulation.scene import LIGHT_COUNT, Scene, SceneAssembler
from video4spatial.simulation.textures import hsv, random_colour

WALL_THICKNESS = 0.12
DOOR_HEIGHT = 2.05
_OVERLAP = 0.05  # walls, floors and ceilings reach this far into each other, so that no ray escapes


def build_scene(seed: int) -> Scene:
    """Draw a scene: architecture, then furniture, then what hangs on walls, then lights.

    Args:
        seed: of the scene; the same seed gives the same scene.
    """
    rng = np.random.default_rng(seed)
    assembler = SceneAssembler()
    interiors, doorways = _architecture(assembler, rng)
    for index, interior in enumerate(interiors):
        _add_door(assembler, rng, interior)
        furnish(assembler, rng, interior, main=index == 0)
    lights = _lights(assembler, rng, interiors, [_decorate(assembler, rng, interior) for interior in interiors])
    for interior in interiors:
        _floor_shadows(assembler, interior)
    return assembler.pack(seed, *lights, [interior.room for interior in interiors], doorways)


def _architecture(assembler: SceneAssembler, rng) -> tuple[list[Interior], list[tuple[float, float]]]:
    width, depth, height = rng.uniform(4.0, 6.6), rng.uniform(4.0, 6.0), rng.uniform(2.4, 3.0)
    rooms, doorway = [Room(0.0, 0.0, width, depth, height)], None
    if rng.random() < 0.75:
        second_depth = rng.uniform(min(3.0, depth - 0.2), min(4.6, depth))
        y0 = rng.uniform(0.0, depth - second_depth)
        x0 = width + WALL_THICKNESS
        rooms.append(Room(x0, y0, x0 + rng.uniform(2.8, 4.2), y0 + second_depth, min(height, rng.uniform(2.4, 3.0))))
        opening = rng.uniform(1.1, 1.5)
        start = rng.uniform(y0 + 0.15, y0 + second_depth - opening - 0.15)
        doorway = (start, start + opening)
    hue = rng.random()
    interiors = []
    for index, room in enumerate(rooms):
        walls = [
            Wall(0, room.x0, 1, room.y0, room.y1),
            Wall(0, room.x1, -1, room.y0, room.y1),
            Wall(1, room.y0, 1, room.x0, room.x1),
            Wall(1, room.y1, -1, room.x0, room.x1),
        ]
        gain = (1.0, 0.0, 1.0) if index == 0 else (0.0, 1.0, 0.0)
        floor_layer = assembler.bank.add(textures.floor(rng, (room.y1 - room.y0, room.x1 - room.x0)))
        interior = Interior(room, walls, floor_layer, gain)
        interiors.append(interior)
        _floor_and_ceiling(assembler, rng, interior, threshold=index == 0 and doorway is not None, entered=index == 1)
        for number, wall in enumerate(walls):
            layer = _wall_layer(
                assembler, rng, wall, room, hue + (4 * index + number) * 0.382 + rng.uniform(-0.06, 0.06)
            )
            shared = doorway is not None and number == (1 if index == 0 else 0)
            _add_wall(assembler, rng, wall, room.height, layer, gain, doorway if shared else None)
    if doorway is not None:
        for interior, wall in zip(interiors, (interiors[0].walls[1], interiors[1].walls[0])):
            wall.taken.append((doorway[0] - 0.1, doorway[1] + 0.1, DOOR_HEIGHT + 0.1))
            near, far = sorted((wall.coordinate, wall.coordinate + wall.inward * 1.0))
            interior.clear_zones.append((near, doorway[0] - 0.05, far, doorway[1] + 0.05))
    centre = [] if doorway is None else [(width + WALL_THICKNESS / 2, (doorway[0] + doorway[1]) / 2)]
    return interiors, centre


def _wall_layer(assembler, rng, wall: Wall, room: Room, hue: float) -> int:
    length = wall.end - wall.start
    picture = textures.wall(rng, (room.height, length), hue)
    rows, columns = picture.shape[:2]
    y, x = (np.arange(rows) + 0.5) / rows * room.height, (np.arange(columns) + 0.5) / columns * length
    nearest_x, nearest_y = np.minimum(x, length - x)[None, :], np.minimum(y, room.height - y)[:, None]
    occlusion = (1 - 0.28 * np.exp(-nearest_x / 0.22)) * (1 - 0.22 * np.exp(-nearest_y / 0.18))
    return assembler.bank.add(picture * occlusion[..., None])


def _add_wall(assembler, rng, wall: Wall, height: float, layer: int, gain, doorway: tuple[float, float] | None) -> None:
    instance = assembler.new_instance("wall")
    jamb = assembler.bank.add(textures.plain(rng, 8, 8, hsv(rng.random(), 0.1, 0.9)))
    faces = [jamb] * 6
    faces[2 * wall.axis + (1 if wall.inward > 0 else 0)] = layer
    first, last = wall.start - _OVERLAP, wall.end + _OVERLAP
    thickness, pieces = WALL_THICKNESS, [(first, last, 0.0, height)]
    if doorway is not None:  # each room has its own half of a shared wall
        thickness = WALL_THICKNESS / 2
        pieces = [(first, doorway[0], 0.0, height), (doorway[1], last, 0.0, height), (*doorway, DOOR_HEIGHT, height)]
    length, along = wall.end - wall.start, 1 - wall.axis
    for start, end, bottom, top in pieces:
        half, scale, offset = [thickness / 2] * 3, [0.5] * 3, [0.5] * 3
        half[along], half[2] = (end - start) / 2, (top - bottom) / 2
        scale[along], offset[along] = (end - start) / 2 / length, ((start + end) / 2 - wall.start) / length
        scale[2], offset[2] = (top - bottom) / 2 / height, (bottom + top) / 2 / height
        center = wall.point((start + end) / 2, -thickness / 2, (bottom + top) / 2)
        assembler.add_part(
            Part(BOX, center, tuple(half), tuple(faces)),
            instance,
            gain,
            uv_scale=tuple(scale),
            uv_offset=tuple(offset),
        )


def _floor_and_ceiling(assembler, rng, interior: Interior, threshold: bool, entered: bool) -> None:
    room = interior.room
    length, depth = room.x1 - room.x0, room.y1 - room.y0
    x0 = room.x0 - (0.0 if entered else _OVERLAP)
    x1 = room.x1 + (WALL_THICKNESS if threshold else _OVERLAP)  # the main room's floor reaches through the doorway
    ceiling = assembler.bank.add(textures.plain(rng, 24, 24, random_colour(rng, (0.02, 0.25), (0.85, 1.0)), 0.08))
    for label, layer, z in (("floor", interior.floor_layer, -0.05), ("ceiling", ceiling, room.height + 0.05)):
        half = ((x1 - x0) / 2, depth / 2 + _OVERLAP, 0.05)
        center = ((x0 + x1) / 2, (room.y0 + room.y1) / 2, z)
        assembler.add_part(
            Part(BOX, center, half, (layer,) * 6),
            assembler.new_instance(label),
            interior.light_gain,
            uv_scale=(half[0] / length, half[1] / depth, 0.5),
            uv_offset=((center[0] - room.x0) / length, 0.5, 0.5),
        )


def _add_door(assembler, rng, interior: Interior) -> None:
    if rng.random() < 0.25:
        return
    wall = interior.walls[(0, 2, 3)[rng.integers(3)] if interior.room.x0 == 0.0 else 1]
    width = rng.uniform(0.8, 0.95)
    along = rng.uniform(wall.start + 0.6, wall.end - 0.6)
    colour = textures.wood_colour(rng) if rng.random() < 0.5 else random_colour(rng, (0.05, 0.6), (0.4, 0.95))
    front = assembler.bank.add(textures.panels(rng, colour, int(rng.integers(1, 4)), 1, 48, 24))
    frame = assembler.bank.add(textures.plain(rng, 8, 8, colour * 0.6))
    leaf = box((0, 0, DOOR_HEIGHT / 2 - 0.02), (width, 0.05, DOOR_HEIGHT - 0.04), frame, front)
    surround = box((0, 0.015, DOOR_HEIGHT / 2 + 0.02), (width + 0.14, 0.03, DOOR_HEIGHT + 0.04), frame)
    piece = Piece("door", (width + 0.14, 0.06, DOOR_HEIGHT + 0.04), [leaf, surround], False)
    x, y, _ = wall.point(along, 0.03)
    place(assembler, interior, piece, x, y, wall.yaw)
    wall.taken.append((along - width / 2 - 0.1, along + width / 2 + 0.1, 2.2))
    corners = np.array([wall.point(along - width / 2, 0.0)[:2], wall.point(along + width / 2, 0.8)[:2]])
    interior.clear_zones.append((*corners.min(0), *corners.max(0)))


def _decorate(assembler, rng, interior: Interior) -> list[tuple[float, float, float]]:
    """Hang windows, pictures and a wall clock; returns where the windows are."""
    windows = []
    for wall in (interior.walls[i] for i in rng.permutation(4)):
        for _ in range(int(rng.integers(3, 6))):
            is_window = len(windows) < 2 and rng.random() < 0.45
            width, height = (rng.uniform(0.9, 1.7), rng.uniform(0.9, 1.25)) if is_window else rng.uniform(0.4, 1.0, 2)
            z = 1.5 if is_window else rng.uniform(1.35, 1.7)
            if wall.end - wall.start < width + 0.4:
                continue
            along = rng.uniform(wall.start + width / 2 + 0.15, wall.end - width / 2 - 0.15)
            if not wall.is_free(along - width / 2 - 0.1, along + width / 2 + 0.1, z - height / 2):
                continue
            make = textures.window if is_window else textures.picture
            front = assembler.bank.add(make(rng, 40, int(np.clip(40 * width / height, 24, 64))))
            frame = assembler.bank.add(textures.plain(rng, 8, 8, random_colour(rng, (0.0, 0.4), (0.2, 0.9))))
            part = box((0, 0, height / 2), (width, 0.03, height), frame, front, emission=0.3 if is_window else 0.0)
            x, y, _ = wall.point(along, 0.015)
            place(
                assembler,
                interior,
                Piece("window" if is_window else "picture", (width, 0.03, height), [part], False),
                x,
                y,
                wall.yaw,
                z - height / 2,
            )
            wall.taken.append((along - width / 2, along + width / 2, 9.0))
            if is_window:
                windows.append(wall.point(along, 0.5, z + 0.2))
    return windows


def _lights(assembler, rng, interiors: list[Interior], windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ceiling lamps with their point lights and one light for the main room's window: positions, colours and ambient
    light.
    """
    position, colour = np.zeros((LIGHT_COUNT, 3)), np.zeros((LIGHT_COUNT, 3))
    for index, interior in enumerate(interiors):
        room = interior.room
        x = room.x0 + (room.x1 - room.x0) * rng.uniform(0.35, 0.65)
        y = room.y0 + (room.y1 - room.y0) * rng.uniform(0.35, 0.65)
        shade = assembler.bank.add(textures.plain(rng, 8, 8, random_colour(rng, (0.0, 0.5), (0.9, 1.0))))
        drop = rng.uniform(0.25, 0.5)
        if rng.random() < 0.5:
            parts = [sphere((0, 0, -drop), (0.17, 0.17, 0.12), shade, emission=0.7)]
        else:
            parts = [cylinder((0, 0, -drop), 0.2, 0.18, shade, emission=0.7)]
        parts.append(cylinder((0, 0, -drop / 2), 0.012, drop - 0.01, shade))
        lamp = Piece("ceiling lamp", (0.4, 0.4, 0.0), parts, False)
        instance = assembler.add_piece(lamp, (x, y, room.height), 0.0, interior.light_gain)
        assembler.objects[-1] = replace(
            instance, center=(x, y, room.height - drop / 2 - 0.05), size=(0.4, 0.4, drop + 0.1)
        )
        position[index] = (x, y, room.height - drop - 0.3)
        colour[index] = hsv(rng.choice([0.1, 0.12, 0.58]), rng.uniform(0.0, 0.22), 1.0) * rng.uniform(0.5, 0.95)
    if windows[0]:
        position[2], colour[2] = windows[0][0], hsv(0.58, rng.uniform(0.0, 0.2), 1.0) * rng.uniform(0.3, 0.7)
    ambient = hsv(rng.random(), rng.uniform(0.0, 0.12), 1.0) * rng.uniform(0.42, 0.6)
    return position, colour, ambient


def _floor_shadows(assembler, interior: Interior) -> None:
    """Darken the floor under furniture and along the walls."""
    room = interior.room
    rows, columns = assembler.bank.shape(interior.floor_layer)
    x = (room.x0 + (np.arange(columns) + 0.5) / columns * (room.x1 - room.x0))[None, :]
    y = (room.y1 - (np.arange(rows) + 0.5) / rows * (room.y1 - room.y0))[:, None]
    edge = np.minimum(np.minimum(x - room.x0, room.x1 - x), np.minimum(y - room.y0, room.y1 - y))
    light = 1 - 0.25 * np.exp(-edge / 0.2)
    for x0, y0, x1, y1 in interior.footprints:
        distance = np.hypot(np.maximum(np.maximum(x0 - x, x - x1), 0), np.maximum(np.maximum(y0 - y, y - y1), 0))
        light = light * (1 - 0.45 * np.exp(-distance / 0.12))
    assembler.bank.shade(interior.floor_layer, light)

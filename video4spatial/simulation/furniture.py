"""Furniture and objects as small assemblies of textured boxes, upright cylinders and spheres.

A piece stands with the middle of its bottom at the origin, its front towards -y, up is z; lengths are metres. Every builder takes
the texture bank `bank` that its pictures are added to, and the random generator `rng` that it draws sizes, shape and materials
from.
"""

from collections.abc import Callable

import numpy as np

from video4spatial.simulation import textures
from video4spatial.simulation.pieces import Part, Piece, box, cylinder, sphere
from video4spatial.simulation.textures import TextureBank, random_colour, wood_colour


def _wood(bank: TextureBank, rng) -> int:
    colour = wood_colour(rng) if rng.random() < 0.6 else random_colour(rng, (0.1, 0.7), (0.4, 0.95))
    return bank.add(textures.wood(rng, 24, 24, colour))


def _cloth(bank: TextureBank, rng) -> int:
    return bank.add(textures.fabric(rng, 28, 28, random_colour(rng, (0.3, 0.85), (0.35, 0.9))))


def _paint(bank: TextureBank, rng, saturation=(0.1, 0.8), value=(0.25, 0.95)) -> int:
    return bank.add(textures.plain(rng, 12, 12, random_colour(rng, saturation, value), 0.12))


def _legs(width, depth, height, thickness, layer, round_legs=False) -> list[Part]:
    x, y = width / 2 - thickness, depth / 2 - thickness
    make = (
        (lambda c: cylinder(c, thickness / 2, height, layer))
        if round_legs
        else (lambda c: box(c, (thickness, thickness, height), layer))
    )
    return [make((sx * x, sy * y, height / 2)) for sx in (-1, 1) for sy in (-1, 1)]


def table(bank, rng) -> Piece:
    """A table: rectangular on four legs, or round on one."""
    height = rng.uniform(0.68, 0.78)
    if rng.random() < 0.35:
        radius, top, foot = rng.uniform(0.4, 0.6), _wood(bank, rng), _paint(bank, rng)
        parts = [
            cylinder((0, 0, height - 0.025), radius, 0.05, top),
            cylinder((0, 0, height / 2), 0.05, height - 0.06, foot),
            cylinder((0, 0, 0.02), radius * 0.6, 0.04, foot),
        ]
        return Piece("table", (2 * radius, 2 * radius, height), parts, True, height)
    width, depth = rng.uniform(1.0, 1.7), rng.uniform(0.7, 0.95)
    top, leg = _wood(bank, rng), _wood(bank, rng)
    parts = [box((0, 0, height - 0.03), (width, depth, 0.06), top)] + _legs(width, depth, height - 0.06, 0.08, leg)
    return Piece("table", (width, depth, height), parts, True, height)


def coffee_table(bank, rng) -> Piece:
    """A low table with a shelf."""
    width, depth, height = rng.uniform(0.7, 1.1), rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.45)
    top, leg = _wood(bank, rng), _paint(bank, rng)
    parts = [
        box((0, 0, height - 0.03), (width, depth, 0.06), top),
        box((0, 0, 0.12), (width * 0.85, depth * 0.85, 0.03), leg),
    ]
    return Piece(
        "coffee table", (width, depth, height), parts + _legs(width, depth, height - 0.06, 0.07, leg), True, height
    )


def chair(bank, rng) -> Piece:
    """A chair with a back."""
    side, seat, height = rng.uniform(0.42, 0.5), rng.uniform(0.42, 0.48), rng.uniform(0.85, 1.05)
    cloth, frame = _cloth(bank, rng), _wood(bank, rng)
    parts = [
        box((0, 0, seat - 0.03), (side, side, 0.06), cloth),
        box(
            (0, side / 2 - 0.03, (seat + height) / 2 + 0.05),
            (side, 0.05, height - seat - 0.1),
            cloth if rng.random() < 0.5 else frame,
        ),
    ]
    return Piece("chair", (side, side, height), parts + _legs(side, side, seat - 0.06, 0.05, frame, rng.random() < 0.5))


def stool(bank, rng) -> Piece:
    """A round stool on one leg."""
    radius, height = rng.uniform(0.17, 0.23), rng.uniform(0.42, 0.65)
    leg = _paint(bank, rng)
    parts = [
        cylinder((0, 0, height - 0.03), radius, 0.06, _cloth(bank, rng)),
        cylinder((0, 0, height / 2), 0.035, height - 0.08, leg),
        cylinder((0, 0, 0.015), radius * 0.9, 0.03, leg),
    ]
    return Piece("stool", (2 * radius, 2 * radius, height), parts)


def _seat_with_arms(label, bank, rng, width, cushions) -> Piece:
    depth, seat, height = rng.uniform(0.8, 0.95), rng.uniform(0.38, 0.45), rng.uniform(0.75, 0.9)
    arm, cloth, second = rng.uniform(0.14, 0.22), _cloth(bank, rng), _cloth(bank, rng)
    parts = [
        box((0, 0.02, seat / 2 - 0.03), (width - 0.02, depth - 0.06, seat - 0.06), cloth),
        box((0, depth / 2 - 0.11, height / 2), (width - 2 * arm, 0.22, height - 0.01), cloth),
        box((-width / 2 + arm / 2, 0, 0.3), (arm, depth, 0.6), cloth),
        box((width / 2 - arm / 2, 0, 0.3), (arm, depth, 0.6), cloth),
    ]
    inner = (width - 2 * arm) / cushions
    for index in range(cushions):
        x = -width / 2 + arm + inner * (index + 0.5)
        parts.append(box((x, -0.1, seat), (inner - 0.03, depth - 0.24, 0.14), second if index % 2 else cloth))
    pillow = box(
        (width / 2 - arm - 0.24, depth / 2 - 0.3, seat + 0.24),
        (0.4, 0.14, 0.36),
        _cloth(bank, rng),
        yaw=rng.uniform(-0.4, 0.4),
    )
    return Piece(label, (width, depth, height), parts + [pillow], False)


def sofa(bank, rng) -> Piece:
    """A sofa for two or three."""
    return _seat_with_arms("sofa", bank, rng, rng.uniform(1.6, 2.2), int(rng.integers(2, 4)))


def armchair(bank, rng) -> Piece:
    """An armchair."""
    return _seat_with_arms("armchair", bank, rng, rng.uniform(0.85, 1.0), 1)


def bed(bank, rng) -> Piece:
    """A bed with one or two pillows."""
    width, length, height = rng.choice([0.95, 1.4, 1.7]), rng.uniform(1.95, 2.1), rng.uniform(0.45, 0.6)
    frame, sheet, blanket = _wood(bank, rng), _paint(bank, rng, (0.0, 0.2), (0.85, 1.0)), _cloth(bank, rng)
    head = rng.uniform(0.8, 1.1)
    parts = [
        box((0, 0, height * 0.3), (width, length, height * 0.6), frame),
        box((0, 0, height * 0.75), (width - 0.06, length - 0.1, height * 0.42), sheet),
        box((0, -0.25, height * 0.8), (width - 0.02, length - 0.56, height * 0.44), blanket),
        box((0, length / 2 - 0.03, head / 2), (width + 0.02, 0.07, head), frame),
    ]
    pillows = 1 if width < 1.2 else 2
    pillow = _cloth(bank, rng)
    for index in range(pillows):
        x = (index - (pillows - 1) / 2) * width * 0.45
        parts.append(box((x, length / 2 - 0.32, height + 0.04), (width / pillows * 0.75, 0.36, 0.16), pillow))
    return Piece("bed", (width + 0.02, length, head), parts, False)


def wardrobe(bank, rng) -> Piece:
    """A wardrobe with two or three doors."""
    width, depth, height = rng.uniform(0.9, 1.7), rng.uniform(0.5, 0.62), rng.uniform(1.8, 2.2)
    colour = wood_colour(rng) if rng.random() < 0.5 else random_colour(rng, (0.15, 0.6))
    side = bank.add(textures.wood(rng, 24, 24, colour, False))
    front = bank.add(textures.panels(rng, colour * rng.uniform(0.8, 1.2, 3), 1, 2 if width < 1.3 else 3, 48, 48))
    return Piece(
        "wardrobe", (width, depth, height), [box((0, 0, height / 2), (width, depth, height), side, front)], False
    )


def bookshelf(bank, rng) -> Piece:
    """A bookshelf full of books."""
    width, depth, height = rng.uniform(0.7, 1.3), rng.uniform(0.28, 0.36), rng.uniform(1.4, 2.1)
    colour = wood_colour(rng) if rng.random() < 0.7 else random_colour(rng, (0.0, 0.5), (0.5, 0.95))
    side = bank.add(textures.wood(rng, 24, 24, colour, False))
    front = bank.add(textures.books(rng, colour, int(round(height / 0.4)), 72, int(width * 44)))
    return Piece(
        "bookshelf", (width, depth, height), [box((0, 0, height / 2), (width, depth, height), side, front)], False
    )


def cabinet(bank, rng) -> Piece:
    """A cabinet with a top that things stand on."""
    width, depth, height = rng.uniform(0.8, 1.4), rng.uniform(0.4, 0.5), rng.uniform(0.7, 1.0)
    colour = wood_colour(rng) if rng.random() < 0.4 else random_colour(rng)
    side, top = bank.add(textures.wood(rng, 24, 24, colour)), _wood(bank, rng)
    front = bank.add(textures.panels(rng, colour * 0.95, int(rng.integers(2, 4)), int(rng.integers(1, 3))))
    parts = [
        box((0, 0, height / 2), (width - 0.04, depth - 0.04, height - 0.06), side, front),
        box((0, 0, height - 0.025), (width, depth, 0.05), top),
    ]
    return Piece("cabinet", (width, depth, height), parts, False, height)


def nightstand(bank, rng) -> Piece:
    """A nightstand with two drawers."""
    side_length, height = rng.uniform(0.4, 0.5), rng.uniform(0.45, 0.6)
    colour = random_colour(rng)
    side, front = bank.add(textures.wood(rng, 20, 20, colour)), bank.add(textures.panels(rng, colour, 2, 1))
    return Piece(
        "nightstand",
        (side_length, side_length, height),
        [box((0, 0, height / 2), (side_length, side_length, height), side, front)],
        True,
        height,
    )


def tv_stand(bank, rng) -> Piece:
    """A television on its stand."""
    width, depth, height = rng.uniform(1.2, 1.7), 0.42, rng.uniform(0.42, 0.55)
    screen_width, screen_height = width * 0.75, width * 0.42
    colour = wood_colour(rng)
    side, front = bank.add(textures.wood(rng, 24, 24, colour)), bank.add(textures.panels(rng, colour * 0.85, 1, 3))
    black = bank.add(textures.plain(rng, 8, 8, np.full(3, 0.09)))
    screen = bank.add(textures.picture(rng))
    parts = [
        box((0, 0, height / 2), (width, depth, height), side, front),
        box((0, 0, height + 0.03), (0.4, 0.2, 0.06), black),
        box(
            (0, 0, height + 0.06 + screen_height / 2), (screen_width, 0.06, screen_height), black, screen, emission=0.25
        ),
    ]
    return Piece("tv", (width, depth, height + 0.06 + screen_height), parts, False)


def desk(bank, rng) -> Piece:
    """A desk with drawers on one side."""
    width, depth, height = rng.uniform(1.1, 1.5), rng.uniform(0.6, 0.75), rng.uniform(0.7, 0.76)
    top, colour = _wood(bank, rng), random_colour(rng)
    leg, front = bank.add(textures.plain(rng, 12, 12, colour)), bank.add(textures.panels(rng, colour, 3, 1))
    parts = [
        box((0, 0, height - 0.025), (width, depth, 0.05), top),
        box((width / 2 - 0.24, 0.02, height / 2 - 0.03), (0.4, depth - 0.1, height - 0.06), leg, front),
        box((-width / 2 + 0.05, 0, height / 2 - 0.03), (0.06, depth - 0.06, height - 0.06), leg),
    ]
    return Piece("desk", (width, depth, height), parts, False, height)


def fridge(bank, rng) -> Piece:
    """A fridge with two doors."""
    width, depth, height = rng.uniform(0.58, 0.72), rng.uniform(0.58, 0.68), rng.uniform(1.5, 1.95)
    colour = (
        random_colour(rng, (0.0, 0.2), (0.75, 0.97))
        if rng.random() < 0.5
        else random_colour(rng, (0.5, 0.9), (0.5, 0.9))
    )
    side = bank.add(textures.plain(rng, 12, 12, colour))
    front = bank.add(textures.plain(rng, 24, 12, colour * 0.96))
    grip = bank.add(textures.plain(rng, 8, 8, np.full(3, rng.choice([0.12, 0.75]))))
    split = height * rng.uniform(0.3, 0.65)
    parts = [
        box((0, 0.02, height / 2), (width, depth - 0.04, height), side),
        box((0, -depth / 2 + 0.03, split / 2 + 0.02), (width - 0.02, 0.06, split - 0.06), front),
        box((0, -depth / 2 + 0.03, (split + height) / 2), (width - 0.02, 0.06, height - split - 0.05), front),
        box((-width * 0.36, -depth / 2 - 0.02, split + 0.22), (0.035, 0.05, 0.3), grip),
        box((-width * 0.36, -depth / 2 - 0.02, split - 0.25), (0.035, 0.05, 0.3), grip),
    ]
    return Piece("fridge", (width, depth + 0.09, height), parts, False)


def floor_lamp(bank, rng) -> Piece:
    """A lamp on a pole, lit."""
    height, radius = rng.uniform(1.4, 1.75), rng.uniform(0.17, 0.25)
    pole, shade = _paint(bank, rng), bank.add(textures.plain(rng, 12, 12, random_colour(rng, (0.15, 0.6), (0.85, 1.0))))
    parts = [
        cylinder((0, 0, 0.015), 0.15, 0.03, pole),
        cylinder((0, 0, height / 2), 0.02, height - 0.1, pole),
        cylinder((0, 0, height - 0.15), radius, 0.3, shade, emission=0.55),
    ]
    return Piece("floor lamp", (2 * radius, 2 * radius, height), parts)


def table_lamp(bank, rng) -> Piece:
    """A lamp for a table, lit."""
    height, radius = rng.uniform(0.38, 0.5), rng.uniform(0.12, 0.16)
    foot, shade = _paint(bank, rng), bank.add(textures.plain(rng, 12, 12, random_colour(rng, (0.15, 0.7), (0.85, 1.0))))
    parts = [
        sphere((0, 0, 0.1), (0.08, 0.08, 0.1), foot),
        cylinder((0, 0, height - 0.1), radius, 0.2, shade, emission=0.55),
        cylinder((0, 0, 0.22), 0.015, 0.2, foot),
    ]
    return Piece("table lamp", (2 * radius, 2 * radius, height), parts)


def plant(bank, rng) -> Piece:
    """A potted plant as high as a child."""
    pot_radius, pot_height, leaf = rng.uniform(0.14, 0.2), rng.uniform(0.25, 0.4), bank.add(textures.foliage(rng))
    height = rng.uniform(0.9, 1.5)
    stem = bank.add(textures.plain(rng, 8, 8, np.array([0.35, 0.25, 0.15])))
    parts = [
        cylinder((0, 0, pot_height / 2), pot_radius, pot_height, _cloth(bank, rng)),
        cylinder((0, 0, height / 2), 0.025, height - 0.1, stem),
    ]
    for level, radius in zip(np.linspace(pot_height + 0.25, height - 0.2, 3), rng.uniform(0.18, 0.28, 3)):
        offset = rng.uniform(-0.08, 0.08, 2)
        parts.append(sphere((offset[0], offset[1], level), (radius, radius, radius * 0.85), leaf))
    return Piece("plant", (0.6, 0.6, height), parts)


def rug(bank, rng) -> Piece:
    """A rug, rectangular or round."""
    width, depth = rng.uniform(1.4, 2.2), rng.uniform(1.0, 1.6)
    make = textures.fabric if rng.random() < 0.5 else (lambda r, h, w, colour: textures.picture(r, h, w))
    top = bank.add(make(rng, 40, 48, random_colour(rng)))
    if rng.random() < 0.3:
        return Piece("rug", (depth * 1.2, depth * 1.2, 0.012), [cylinder((0, 0, 0.006), depth * 0.6, 0.012, top)])
    return Piece("rug", (width, depth, 0.012), [box((0, 0, 0.006), (width, depth, 0.012), top)])


def storage_box(bank, rng) -> Piece:
    """A box to store things in."""
    size = rng.uniform(0.28, 0.55, 3)
    layer = bank.add(
        textures.picture(rng, 28, 28) if rng.random() < 0.5 else textures.fabric(rng, 28, 28, random_colour(rng))
    )
    return Piece("box", tuple(size), [box((0, 0, size[2] / 2), size, layer, top=_paint(bank, rng))], True, size[2])


def pouf(bank, rng) -> Piece:
    """A round pouf."""
    radius, height = rng.uniform(0.24, 0.36), rng.uniform(0.32, 0.42)
    return Piece(
        "pouf", (2 * radius, 2 * radius, height), [cylinder((0, 0, height / 2), radius, height, _cloth(bank, rng))]
    )


def basket(bank, rng) -> Piece:
    """A woven basket."""
    radius, height = rng.uniform(0.15, 0.22), rng.uniform(0.3, 0.45)
    weave = bank.add(textures.stripes(rng, 24, 24, 1.0, wood_colour(rng), random_colour(rng), False, (0.12, 0.25)))
    return Piece("basket", (2 * radius, 2 * radius, height), [cylinder((0, 0, height / 2), radius, height, weave)])


def ball(bank, rng) -> Piece:
    """A striped ball."""
    radius = rng.uniform(0.11, 0.22)
    layer = bank.add(
        textures.stripes(
            rng, 24, 24, 1.0, random_colour(rng, (0.6, 0.95), (0.6, 0.95)), random_colour(rng), True, (0.2, 0.4)
        )
    )
    return Piece("ball", (2 * radius,) * 3, [sphere((0, 0, radius), radius, layer)])


def vase(bank, rng) -> Piece:
    """A vase, with or without flowers."""
    radius, height = rng.uniform(0.08, 0.13), rng.uniform(0.25, 0.4)
    layer = _cloth(bank, rng)
    parts = [
        sphere((0, 0, height * 0.42), (radius, radius, height * 0.42), layer),
        cylinder((0, 0, height * 0.85), radius * 0.45, height * 0.3, layer),
    ]
    if rng.random() < 0.5:
        blossom = _paint(bank, rng, (0.7, 0.95), (0.8, 1.0))
        parts += [sphere((0.04, 0, height + 0.1), 0.07, blossom), sphere((-0.05, 0.03, height + 0.06), 0.06, blossom)]
        height += 0.17
    return Piece("vase", (2 * radius, 2 * radius, height), parts)


def monitor(bank, rng) -> Piece:
    """A monitor on a foot."""
    width, height = rng.uniform(0.45, 0.65), rng.uniform(0.3, 0.36)
    black = bank.add(textures.plain(rng, 8, 8, np.full(3, 0.1)))
    parts = [
        box((0, 0, 0.05), (0.2, 0.14, 0.1), black),
        box(
            (0, 0, 0.1 + height / 2),
            (width, 0.05, height),
            black,
            bank.add(textures.picture(rng, 28, 28)),
            emission=0.25,
        ),
    ]
    return Piece("monitor", (width, 0.14, 0.1 + height), parts)


Builder = Callable[[TextureBank, np.random.Generator], Piece]

AGAINST_WALL: tuple[Builder, ...] = (sofa, bed, wardrobe, bookshelf, cabinet, tv_stand, desk, fridge, armchair)
IN_CORNER: tuple[Builder, ...] = (plant, floor_lamp, nightstand, basket)
ON_FLOOR: tuple[Builder, ...] = (stool, storage_box, pouf, ball, basket, chair, armchair)
ON_TOP: tuple[Builder, ...] = (vase, table_lamp, storage_box, ball)

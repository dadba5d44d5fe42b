"""Procedural, band-limited textures of simulated rooms, baked once per scene into small pictures.

Every texture is a float picture [height, width, 3] in 0..1 whose details stay larger than a few centimetres, so that 64-pixel views
of a room remain learnable. Nothing repeats: each picture draws its own layout, so a patch of it tells where it is.

Functions that make one take the generator `rng` that they draw from and, where it is not theirs to choose, `height` and `width` in
texels. A colour (`colour`, `first`, `second`, `background`, `board`) is [3] in 0..1, `hue` is 1 for a full turn, `extent` is the
(height, width) that the picture covers in metres.
"""

import colorsys
from functools import lru_cache

import numpy as np


class TextureBank:
    """Collects the pictures of one scene and packs them into one flat texel table."""

    def __init__(self):
        self._pictures: list[np.ndarray] = []

    def add(self, picture: np.ndarray) -> int:
        """Store a `picture` [height, width, 3] in 0..1 and return its layer number."""
        self._pictures.append(np.clip(picture, 0.0, 1.0).astype(np.float32))
        return len(self._pictures) - 1

    def shade(self, layer: int, factor: np.ndarray) -> None:
        """Multiply the picture of `layer` by `factor` [height, width], for baked shadows."""
        self._pictures[layer] = self._pictures[layer] * factor[..., None].astype(np.float32)

    def shape(self, layer: int) -> tuple[int, int]:
        """Height and width of the picture of `layer` in texels."""
        return self._pictures[layer].shape[:2]

    def pack(self) -> tuple[np.ndarray, np.ndarray]:
        """Texels [N, 3] float32 of all pictures in a row, and a table [layers, 3] int32 of (offset, height, width)."""
        sizes = np.array([p.shape[0] * p.shape[1] for p in self._pictures])
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        table = [(offset, *p.shape[:2]) for offset, p in zip(offsets, self._pictures)]
        return np.concatenate([p.reshape(-1, 3) for p in self._pictures]), np.array(table, dtype=np.int32)


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Colour [3] from `hue` (any real, 1 is a full turn), `saturation` and `value` in 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)))


def random_colour(rng, saturation=(0.3, 0.8), value=(0.4, 0.95)) -> np.ndarray:
    """A colour [3] of random hue, with `saturation` and `value` from ranges."""
    return hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def wood_colour(rng) -> np.ndarray:
    """A colour [3] between pale birch and dark walnut."""
    return hsv(rng.uniform(0.04, 0.11), rng.uniform(0.3, 0.65), rng.uniform(0.3, 0.85))


@lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")


@lru_cache(maxsize=64)
def _interpolation(count: int, cells: int) -> np.ndarray:
    position = (np.arange(count) + 0.5) / count * cells
    index = np.minimum(position.astype(int), cells - 1)
    fraction = position - index
    weight = fraction * fraction * (3 - 2 * fraction)
    matrix = np.zeros((count, cells + 1))
    matrix[np.arange(count), index] = 1 - weight
    matrix[np.arange(count), index + 1] = weight
    return matrix


def smooth_noise(rng, height: int, width: int, cells_y: int, cells_x: int) -> np.ndarray:
    """Value noise [height, width] in -1..1 with `cells_y` and `cells_x` cells along the sides."""
    lattice = rng.uniform(-1.0, 1.0, (cells_y + 1, cells_x + 1))
    return _interpolation(height, cells_y) @ lattice @ _interpolation(width, cells_x).T


def _steps(rng, extent: float, narrowest: float, widest: float) -> np.ndarray:
    """Cumulative borders in 0..1 of bands whose widths (metres, of `extent`) are drawn anew each time."""
    widths = rng.uniform(narrowest, widest, int(np.ceil(extent / narrowest)) + 1)
    borders = np.cumsum(widths) / extent
    return borders[borders < 1.0]


def _bands(coordinate: np.ndarray, borders: np.ndarray, colours: np.ndarray) -> np.ndarray:
    return colours[np.searchsorted(borders, coordinate)]


def plain(rng, height, width, colour, contrast=0.06) -> np.ndarray:
    """Paint: one colour with a slow gradient and soft blotches of relative strength `contrast`."""
    y, x = _grid(height, width)
    tilt = rng.uniform(-1, 1, 2) * contrast
    shade = 1.0 + tilt[0] * (y - 0.5) + tilt[1] * (x - 0.5) + contrast * smooth_noise(rng, height, width, 3, 3)
    return colour * shade[..., None]


def stripes(rng, height, width, extent, first, second, vertical=True, bandwidth=(0.2, 0.6)) -> np.ndarray:
    """Bands of uneven width in shades of two colours.

    Args:
        rng, height, width, first, second: see the top of this module.
        extent: length in metres across the bands.
        vertical: whether bands run from top to bottom.
        bandwidth: least and greatest width in metres.
    """
    y, x = _grid(height, width)
    borders = _steps(rng, extent, *bandwidth)
    mix = np.where(np.arange(len(borders) + 1) % 2 == 0, 0.0, 1.0) + rng.uniform(-0.25, 0.25, len(borders) + 1)
    colours = first + (second - first) * np.clip(mix, 0, 1)[:, None]
    return _bands(x if vertical else y, borders, colours)


def blobs(rng, height, width, extent, background, count, radius=(0.15, 0.6), palette=None) -> np.ndarray:
    """Soft-edged discs and ellipses.

    Args:
        rng, height, width, extent, background: see the top of this module.
        count: how many.
        radius: least and greatest, in metres.
        palette: colours to choose from; None draws them at random.
    """
    y, x = _grid(height, width)
    picture = np.broadcast_to(background, (height, width, 3)).copy()
    for _ in range(count):
        centre_y, centre_x = rng.random(2)
        radius_y, radius_x = rng.uniform(*radius, 2)
        distance = np.hypot((y - centre_y) * extent[0] / radius_y, (x - centre_x) * extent[1] / radius_x)
        colour = random_colour(rng) if palette is None else palette[rng.integers(len(palette))]
        picture += np.clip((1.05 - distance) / 0.2, 0, 1)[..., None] * (colour - picture)
    return picture


def wood(rng, height, width, colour, along_x=True) -> np.ndarray:
    """Slow grain along one axis, x if `along_x`."""
    cells = (5, 2) if along_x else (2, 5)
    grain = 0.16 * smooth_noise(rng, height, width, *cells) + 0.06 * smooth_noise(rng, height, width, 2, 2)
    return colour * (1.0 + grain)[..., None]


def fabric(rng, height, width, colour) -> np.ndarray:
    """Cloth: soft blotches, or wide stripes or spots in a second colour."""
    kind = rng.integers(3)
    second = random_colour(rng)
    if kind == 0:
        mix = 0.5 + 0.5 * smooth_noise(rng, height, width, 4, 4)
        return colour + (0.45 * mix)[..., None] * (second - colour)
    if kind == 1:
        return stripes(rng, height, width, 1.0, colour, second, bool(rng.integers(2)), (0.1, 0.35))
    return blobs(rng, height, width, (1.0, 1.0), colour, 7, (0.08, 0.2), [second, colour * 0.7])


def planks(rng, height, width, extent, colour) -> np.ndarray:
    """A wooden floor: boards of differing tone."""
    y, x = _grid(height, width)
    rows = np.searchsorted(_steps(rng, extent[0], 0.22, 0.4), y)
    picture = np.empty((height, width, 3))
    for row in range(rows.max() + 1):
        inside = rows == row
        borders = _steps(rng, extent[1], 0.9, 2.4)
        tones = colour * rng.uniform(0.72, 1.15, (len(borders) + 1, 1)) * rng.uniform(0.94, 1.06, (len(borders) + 1, 3))
        picture[inside] = _bands(x[inside], borders, tones)
    return picture * (1 + 0.05 * smooth_noise(rng, height, width, 12, 5))[..., None]


def tiles(rng, height, width, extent, colour, second) -> np.ndarray:
    """Large floor or wall tiles whose tones are all different."""
    y, x = _grid(height, width)
    side = rng.uniform(0.45, 0.8)
    rows = np.floor(y * extent[0] / side).astype(int)
    columns = np.floor(x * extent[1] / side).astype(int)
    mix = rng.choice([0.0, 1.0], (rows.max() + 1, columns.max() + 1)) * 0.6 + rng.uniform(
        0, 0.4, (rows.max() + 1, columns.max() + 1)
    )
    return colour + mix[rows, columns][..., None] * (second - colour)


def wall(rng, extent, hue: float) -> np.ndarray:
    """A painted, striped, panelled, papered or mural wall of (height, width) metres, with skirting board."""
    height, width = 48, int(np.clip(round(extent[1] * 20), 48, 144))
    colour = hsv(hue, rng.uniform(0.25, 0.7), rng.uniform(0.6, 0.95))
    second = hsv(hue + rng.uniform(-0.12, 0.12), rng.uniform(0.2, 0.7), rng.uniform(0.45, 0.98))
    accent = hsv(hue + rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.95))
    kind = rng.choice(6, p=[0.16, 0.22, 0.16, 0.2, 0.1, 0.16])
    y, x = _grid(height, width)
    if kind == 0:
        picture = plain(rng, height, width, colour, 0.22)
    elif kind == 1:
        picture = stripes(rng, height, width, extent[1], colour, second)
    elif kind == 2:
        border = rng.uniform(0.35, 0.7)
        picture = np.where(
            (y > border)[..., None], second * rng.uniform(0.6, 0.9), plain(rng, height, width, colour, 0.1)
        )
    elif kind == 3:
        palette = [second, accent, colour * 0.75, hsv(hue + 0.08, 0.5, 0.9)]
        picture = blobs(rng, height, width, extent, colour, int(extent[1] * 3), (0.15, 0.55), palette)
    elif kind == 4:
        picture = planks(rng, width, height, extent[::-1], wood_colour(rng)).transpose(1, 0, 2)
    else:
        mix = np.clip(0.5 + 0.9 * smooth_noise(rng, height, width, 4, int(extent[1] * 1.6)), 0, 1)
        picture = colour + mix[..., None] * (second - colour)
    skirting = hsv(rng.random(), 0.1, rng.choice([0.92, 0.3]))
    return np.where(((1 - y) * extent[0] < 0.11)[..., None], skirting, picture)


def floor(rng, extent) -> np.ndarray:
    """Boards, large tiles, carpet or stone over (height, width) metres."""
    height, width = (int(np.clip(round(side * 20), 48, 160)) for side in extent)
    kind = rng.integers(4)
    if kind == 0:
        return planks(rng, height, width, extent, wood_colour(rng))
    if kind == 1:
        colour = random_colour(rng, (0.1, 0.5), (0.4, 0.9))
        return tiles(rng, height, width, extent, colour, colour * rng.uniform(0.5, 0.8) + 0.1 * rng.random(3))
    first = random_colour(rng, (0.15, 0.6), (0.35, 0.8))
    second = first * rng.uniform(0.6, 0.85) + 0.12 * rng.random(3)
    mix = 0.5 + 0.5 * smooth_noise(rng, height, width, int(extent[0] * 1.5), int(extent[1] * 1.5))
    return first + mix[..., None] * (second - first)


def picture(rng, height=40, width=40) -> np.ndarray:
    """A framed picture: landscape, discs, bands, colour field or patches."""
    y, x = _grid(height, width)
    kind = rng.integers(5)
    if kind == 0:
        canvas = random_colour(rng) * (1 - y[..., None]) + random_colour(rng, (0.1, 0.5), (0.7, 1.0)) * y[..., None]
        for level in np.sort(rng.uniform(0.35, 0.85, 3)):
            ridge = level + 0.15 * smooth_noise(rng, 1, width, 1, 4)[0]
            canvas = np.where((y > ridge)[..., None], random_colour(rng, (0.3, 0.8), (0.25, 0.8)), canvas)
        sun = np.hypot(y - rng.uniform(0.15, 0.35), x - rng.uniform(0.2, 0.8)) < rng.uniform(0.08, 0.14)
        canvas = np.where(sun[..., None], random_colour(rng, (0.3, 0.7), (0.9, 1.0)), canvas)
    elif kind == 1:
        canvas = blobs(rng, height, width, (1, 1), random_colour(rng), int(rng.integers(4, 8)), (0.12, 0.35))
    elif kind == 2:
        borders = _steps(rng, 1.0, 0.12, 0.4)
        colours = np.array([random_colour(rng) for _ in range(len(borders) + 1)])
        angle = rng.uniform(0, np.pi)
        canvas = _bands(np.abs(x * np.cos(angle) + y * np.sin(angle)), borders, colours)
    elif kind == 3:
        mix = [0.5 + 0.5 * smooth_noise(rng, height, width, 3, 3)[..., None] for _ in range(2)]
        first, second, third = (random_colour(rng, (0.5, 0.95)) for _ in range(3))
        canvas = first + mix[0] * (second - first)
        canvas = canvas + mix[1] * 0.6 * (third - canvas)
    else:
        rows, columns = np.searchsorted(_steps(rng, 1, 0.2, 0.5), y), np.searchsorted(_steps(rng, 1, 0.2, 0.5), x)
        canvas = np.array([[random_colour(rng) for _ in range(6)] for _ in range(6)])[rows, columns]
    frame = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.07
    return np.where(frame[..., None], rng.choice([0.12, 0.95]) * np.array([1.0, 0.97, 0.9]), canvas)


def window(rng, height=40, width=40) -> np.ndarray:
    """A framed window on a sky with hills or roofs."""
    y, x = _grid(height, width)
    sky = hsv(rng.choice([0.58, 0.55, 0.08, 0.95]) + rng.uniform(-0.03, 0.03), rng.uniform(0.15, 0.5), 1.0)
    canvas = sky + (0.6 * y)[..., None] * (1.0 - sky)
    canvas = canvas + 0.5 * np.clip(smooth_noise(rng, height, width, 3, 3), 0, 1)[..., None] * (1.0 - canvas)
    ridge = rng.uniform(0.5, 0.75) + 0.12 * smooth_noise(rng, 1, width, 1, 4)[0]
    canvas = np.where((y > ridge)[..., None], hsv(rng.uniform(0.2, 0.45), 0.5, rng.uniform(0.35, 0.7)), canvas)
    bars = np.abs(x - rng.choice([0.5, 0.33, 0.66])) < 0.03
    if rng.random() < 0.6:
        bars |= np.abs(y - 0.4) < 0.025
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.06
    return np.where((bars | edge)[..., None], rng.choice([0.96, 0.3]) * np.array([1.0, 0.98, 0.95]), canvas)


def books(rng, board: np.ndarray, shelves: int, height=64, width=40) -> np.ndarray:
    """The front of a bookshelf with `shelves` rows of coloured spines of varied width and height between boards."""
    y, x = _grid(height, width)
    picture_ = np.broadcast_to(board * 0.35, (height, width, 3)).copy()
    for shelf in range(shelves):
        top, bottom = shelf / shelves, (shelf + 1) / shelves
        borders = _steps(rng, 1.0, 0.07, 0.16)
        colours = np.array([random_colour(rng, (0.3, 0.9), (0.3, 0.95)) for _ in range(len(borders) + 1)])
        heights = rng.uniform(0.5, 0.85, len(borders) + 1)
        heights[rng.random(len(borders) + 1) < 0.12] = 0.0
        spine = np.searchsorted(borders, x)
        level = (bottom - y) / (bottom - top)
        picture_ = np.where(((level > 0) & (level < heights[spine]))[..., None], colours[spine], picture_)
        picture_ = np.where((np.abs(level - 0.04) < 0.06)[..., None], board, picture_)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.05
    return np.where(edge[..., None], board, picture_)


def panels(rng, colour, rows: int, columns: int, height=40, width=40) -> np.ndarray:
    """Cupboard doors or drawers: `rows` x `columns` panels with dark gaps and a knob each."""
    y, x = _grid(height, width)
    local_y, local_x = (y * rows) % 1.0, (x * columns) % 1.0
    tones = rng.uniform(0.88, 1.1, (rows, columns))
    canvas = (
        colour
        * tones[np.minimum((y * rows).astype(int), rows - 1), np.minimum((x * columns).astype(int), columns - 1)][
            ..., None
        ]
    )
    gap = (np.minimum(local_y, 1 - local_y) * 1.0 / rows < 0.022) | (np.minimum(local_x, 1 - local_x) / columns < 0.022)
    knob_x = np.where((x * columns).astype(int) % 2 == 0, 0.85, 0.15) if columns > 1 else 0.5
    knob = np.hypot((local_y - 0.5) / rows, (local_x - knob_x) / columns) < 0.045
    canvas = np.where(gap[..., None], colour * 0.4, canvas)
    return np.where(knob[..., None], rng.choice([0.15, 0.9]), canvas)


def foliage(rng, height=32, width=32) -> np.ndarray:
    """Leaves: patches of green."""
    hue = rng.uniform(0.22, 0.42)
    palette = [hsv(hue + rng.uniform(-0.04, 0.04), rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.7)) for _ in range(4)]
    return blobs(rng, height, width, (1.0, 1.0), palette[0], 22, (0.07, 0.16), palette)

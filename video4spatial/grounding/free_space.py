"""Where a camera may go: what the context's cameras looked through, and stood in. What nobody saw is not free."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt

from video4spatial.geometry.grid_routes import along, resampled
from video4spatial.grounding.levelling import LevelScene, surface_points
from video4spatial.spread import thinned


@dataclass(frozen=True)
class FreeSpaceSettings:
    """How space is divided and judged. Lengths are shares of the median depth of the scene, unless said otherwise.

    Args:
        cell: side of a cube.
        cells: most cubes; more of them make the cubes larger.
        rays: most pixels of a frame whose rays are followed.
        before: share of a ray's depth up to which it was looked through.
        solid: share of the rays to a cube that must end in it for it to be solid, and fewest of them.
        stood: radius around the cameras' own way that is free: they were there.
        walking: metres above the floor from which the cameras are taken to be carried by somebody who walks. Then whatever stands between
            floor and head is in the way.
        step: metres above the floor up to which one steps over things.
        head: metres above the cameras that must be free then.
    """

    cell: float = 0.04
    cells: int = 1_500_000
    rays: int = 1200
    before: float = 0.93
    solid: tuple[float, int] = (0.2, 3)
    stood: float = 0.06
    walking: float = 0.8
    step: float = 0.15
    head: float = 0.2


@dataclass(frozen=True)
class SeenSpace:
    """The space that the context saw, in cubes.

    Args:
        origin: [3] corner of the first cube in the level world.
        cell: side of a cube.
        free: [X, Y, Z] bool: seen to be free, or stood in.
        solid: [X, Y, Z] bool: surface, and what stands below or above it where somebody walks.
        walking: whether the cameras are taken to be carried by somebody who walks.
    """

    origin: np.ndarray
    cell: float
    free: np.ndarray
    solid: np.ndarray
    walking: bool

    @classmethod
    def of(cls, scene: LevelScene, settings: FreeSpaceSettings = FreeSpaceSettings()) -> SeenSpace:
        """What a scene's depth says about space.

        Args:
            scene: with at least one placed camera.
            settings: how it is judged.
        """
        geometry = scene.geometry
        placed = np.flatnonzero(geometry.placed)
        points = surface_points(geometry)[placed]
        places = geometry.cameras.positions.numpy()[placed]
        known = np.isfinite(points[..., 0])
        usual = float(np.median(geometry.depth[placed][known])) if known.any() else 1.0
        surface = points[known] if known.any() else places
        low = np.minimum(np.quantile(surface, 0.01, axis=0), places.min(0)) - 0.1 * usual
        high = np.maximum(np.quantile(surface, 0.99, axis=0), places.max(0)) + 0.1 * usual
        cell = max(settings.cell * usual, float(np.prod(high - low) / settings.cells) ** (1 / 3))
        shape = np.maximum(np.ceil((high - low) / cell).astype(int), 1)
        passes, hits = np.zeros((2, int(np.prod(shape))))
        for view, place in enumerate(places):
            ends = points[view][known[view]]
            ends = ends[thinned(len(ends), settings.rays)] if len(ends) > settings.rays else ends
            _count(hits, ends, low, cell, shape)
            longest = np.linalg.norm(ends - place, axis=1).max(initial=0.0)
            shares = np.linspace(0, settings.before, max(2, int(np.ceil(longest / (0.8 * cell)))))
            for chunk in np.array_split(ends, max(1, len(ends) * len(shares) // 400_000)):
                _count(passes, (place + (chunk[:, None] - place) * shares[:, None]).reshape(-1, 3), low, cell, shape)
        share, fewest = settings.solid
        solid = ((hits >= fewest) & (hits >= share * (hits + passes))).reshape(shape)
        free = (passes >= 2).reshape(shape) & ~solid
        stood = _way_of(places, low, cell, shape, max(settings.stood * usual, cell), 0.4 * usual)
        above = None if scene.floor is None else float(np.median(places[:, 2])) - scene.floor
        walking = above is not None and above >= settings.walking
        if walking:
            heights = low[2] + (np.arange(shape[2]) + 0.5) * cell
            band = (heights > scene.floor + settings.step) & (heights < places[:, 2].max() + settings.head)
            solid = solid | solid[..., band].any(-1, keepdims=True)
            stood = stood | stood.any(-1, keepdims=True)
        solid = solid & ~stood
        return cls(low, cell, (free | stood) & ~solid, solid, walking)

    @cached_property
    def room(self) -> np.ndarray:
        """[X, Y, Z] distance of every cube from what is solid; 0 where it was not seen to be free."""
        if not self.solid.any():
            return np.where(self.free, np.inf, 0.0)
        distance = distance_transform_edt(~self.solid, sampling=self.cell)
        return np.where(self.free, distance, 0.0)

    def middles(self, flat: np.ndarray) -> np.ndarray:
        """Middles [M, 3] of cubes by their flat indices [M]."""
        return self.origin + (np.stack(np.unravel_index(flat, self.free.shape), -1) + 0.5) * self.cell

    def at(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Values [X, Y, Z] of the cubes that points [P, 3] lie in; 0 outside."""
        cubes = np.floor((points - self.origin) / self.cell).astype(int)
        inside = ((cubes >= 0) & (cubes < values.shape)).all(1)
        return np.where(inside, values[tuple(np.where(inside[:, None], cubes, 0).T)], 0)


def _count(counts: np.ndarray, points: np.ndarray, low: np.ndarray, cell: float, shape: np.ndarray) -> None:
    """Add points [P, 3] to the counts of the cubes they lie in."""
    cubes = np.floor((points - low) / cell).astype(int)
    cubes = cubes[((cubes >= 0) & (cubes < shape)).all(1)]
    counts += np.bincount(np.ravel_multi_index(tuple(cubes.T), shape), minlength=len(counts))


def _way_of(
    places: np.ndarray, low: np.ndarray, cell: float, shape: np.ndarray, radius: float, longest: float
) -> np.ndarray:
    """Cubes [X, Y, Z] within a radius of where cameras stood, and of straight steps between them that are not too long."""
    steps = [places[:1]]
    for first, second in zip(places, places[1:]):
        ends = np.stack([first, second])
        length = float(along(ends)[-1])
        inner = resampled(ends, np.arange(cell / 2, length, cell / 2)) if cell < length <= longest else second[None]
        steps += [inner, second[None]]
    line = np.concatenate(steps)
    marked = np.ones(shape, bool)
    cubes = np.clip(np.floor((line - low) / cell).astype(int), 0, shape - 1)
    marked[tuple(cubes.T)] = False
    return distance_transform_edt(marked, sampling=cell) <= radius

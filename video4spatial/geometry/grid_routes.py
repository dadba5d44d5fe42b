"""Shortest routes over a grid of places, which keep to the open."""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

OPEN = 0.2
"""Distance over which the wish to keep away from obstacles fades, in the unit of the cells."""


def step_graph(
    room: np.ndarray, least: float, cell: float, stretch: tuple[float, ...] | None = None
) -> tuple[np.ndarray, sparse.csr_matrix]:
    """The steps between neighbouring places of a grid, diagonal ones included.

    Args:
        room: [...] distance of each place from the nearest obstacle.
        least: distance below which a place is not entered.
        cell: distance of neighbours along an axis.
        stretch: by what a step along each axis counts longer than it is.

    Returns:
        Flat indices [M] of the places that may be entered, and the sparse graph [M, M] of steps between them with their costs: lengths,
        up to half as much again near obstacles.
    """
    free = room >= least
    number = np.full(room.shape, -1)
    number[free] = np.arange(free.sum())
    inside = room[free]
    rows, columns, costs = [], [], []
    for offset in itertools.product((-1, 0, 1), repeat=room.ndim):
        if offset <= (0,) * room.ndim:  # each step once
            continue
        one = number[tuple(slice(max(-step, 0), size - max(step, 0)) for step, size in zip(offset, room.shape))]
        other = number[tuple(slice(max(step, 0), size + min(step, 0)) for step, size in zip(offset, room.shape))]
        joined = (one >= 0) & (other >= 0)
        rows.append(one[joined])
        columns.append(other[joined])
        length = float(np.linalg.norm(np.multiply(offset, stretch or (1.0,) * room.ndim)))
        costs.append(np.full(joined.sum(), length * cell))
    rows, columns, costs = np.concatenate(rows), np.concatenate(columns), np.concatenate(costs)
    costs = costs * (1 + 0.5 * np.exp(-(np.minimum(inside[rows], inside[columns]) - least) / OPEN))
    count = int(free.sum())
    return np.flatnonzero(free), sparse.coo_matrix((costs, (rows, columns)), shape=(count, count)).tocsr()


def routes_from(graph: sparse.csr_matrix, start: int) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest ways from one place to all.

    Args:
        graph: of steps.
        start: a node.

    Returns:
        Costs [M], infinite where no way leads, and the node before each [M].
    """
    return csgraph.dijkstra(graph, directed=False, indices=start, return_predecessors=True)


def traced(previous: np.ndarray, end: int, start: int) -> list[int]:
    """The nodes of a way, from its end back to its start.

    Args:
        previous: [M] of `routes_from` with that start.
        end: a node that a way leads to.
        start: where it begins.
    """
    route = [end]
    while route[-1] != start:
        route.append(int(previous[route[-1]]))
    return route


def along(route: np.ndarray) -> np.ndarray:
    """Distances [N] of the corners of a route [N, d] from its beginning, along it."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(route, axis=0), axis=1))])


def resampled(route: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Points of a route.

    Args:
        route: [N, d] corners.
        at: [M] distances along it.

    Returns:
        [M, d].
    """
    arc = along(route)
    return np.stack([np.interp(at, arc, route[:, axis]) for axis in range(route.shape[1])], -1)

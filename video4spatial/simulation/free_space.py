"""Where a person can walk in a scene: exact clearance to walls and furniture, and shortest paths on a grid."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse
from scipy.sparse import csgraph

from video4spatial.geometry.grid_routes import step_graph

BODY_BOTTOM, BODY_TOP = 0.05, 1.9
_CELL = 0.1


@njit(cache=True, nogil=True)
def _distance(points, center, half, cosine, sine):
    """Signed distance [N] from points [N, 2] to the nearest of the turned rectangles, negative inside."""
    nearest = np.full(len(points), np.inf)
    for i in range(len(points)):
        for k in range(len(center)):
            dx, dy = points[i, 0] - center[k, 0], points[i, 1] - center[k, 1]
            x = abs(cosine[k] * dx + sine[k] * dy) - half[k, 0]
            y = abs(cosine[k] * dy - sine[k] * dx) - half[k, 1]
            outside = np.sqrt(max(x, 0.0) ** 2 + max(y, 0.0) ** 2)
            nearest[i] = min(nearest[i], outside + min(max(x, y), 0.0))
    return nearest


@dataclass(frozen=True)
class Room:
    """A rectangular room between its wall surfaces.

    Args:
        x0, y0: one corner of the floor in metres.
        x1, y1: the opposite corner.
        height: of the ceiling in metres.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    height: float

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Which points stand on this room's floor rectangle.

        Args:
            points: [..., 2 or 3] metres.

        Returns:
            [...] bool.
        """
        x, y = points[..., 0], points[..., 1]
        return (x > self.x0) & (x < self.x1) & (y > self.y0) & (y < self.y1)


class FreeSpace:
    """Clearance and paths of one scene.

    Furniture is what its primitives cover of the floor between ankle and head height; doorways are open.

    Args:
        center: [P, 3] middles of the primitives in metres.
        half: [P, 3] their half sizes.
        yaw: [P] their turns about the vertical in radians.
        rooms: the rooms.
        doorways: (x, y) of the middle of each doorway.
    """

    def __init__(self, center: np.ndarray, half: np.ndarray, yaw: np.ndarray, rooms, doorways):
        low, high = center[:, 2] - half[:, 2], center[:, 2] + half[:, 2]
        blocks = (high > BODY_BOTTOM) & (low < BODY_TOP)
        self._center, self._half = center[blocks, :2].astype(np.float64), half[blocks, :2].astype(np.float64)
        turn = yaw[blocks].astype(np.float64)
        self._cosine, self._sine = np.cos(turn), np.sin(turn)
        self._rooms, self._doorways = rooms, doorways

    def clearance(self, points: np.ndarray) -> np.ndarray:
        """Distance in plan to the nearest obstacle.

        Args:
            points: [..., 2 or 3] metres.

        Returns:
            [...] metres; negative inside an obstacle, -1 outside all rooms.
        """
        flat = np.ascontiguousarray(np.asarray(points, dtype=np.float64)[..., :2].reshape(-1, 2))
        nearest = _distance(flat, self._center, self._half, self._cosine, self._sine)
        return np.where(self._indoors(flat), nearest, -1.0).reshape(np.asarray(points).shape[:-1])

    def _indoors(self, points: np.ndarray) -> np.ndarray:
        inside = np.zeros(len(points), bool)
        for room in self._rooms:
            inside |= room.contains(points)
        for x, y in self._doorways:  # the threshold between two rooms
            inside |= (np.abs(points[:, 0] - x) < 0.1) & (np.abs(points[:, 1] - y) < 0.8)
        return inside

    def grid(self, clearance: float) -> tuple[np.ndarray, sparse.csr_matrix]:
        """Where one can stand, and the steps between.

        Args:
            clearance: least distance from obstacles in metres.

        Returns:
            Points [N, 2] of the largest connected area, and the sparse graph [N, N] of steps between neighbours with their costs.
        """
        x0, y0 = min(r.x0 for r in self._rooms), min(r.y0 for r in self._rooms)
        x1, y1 = max(r.x1 for r in self._rooms), max(r.y1 for r in self._rooms)
        x, y = np.meshgrid(np.arange(x0, x1, _CELL), np.arange(y0, y1, _CELL), indexing="ij")
        distance = self.clearance(np.stack([x, y], -1))
        places, graph = step_graph(distance, clearance, _CELL)
        count, area = csgraph.connected_components(graph, directed=False)
        if count == 0:
            return np.zeros((0, 2)), graph
        keep = area == np.argmax(np.bincount(area))
        return np.stack([x.ravel()[places], y.ravel()[places]], -1)[keep], graph[keep][:, keep]

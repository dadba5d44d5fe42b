"""What all camera motions in a scene share: clearance, routes, smooth random signals."""

import numpy as np

from video4spatial.geometry.grid_routes import along, resampled

CLEARANCE = 0.35
GRID_CLEARANCE = 0.43  # a step between two grid points that have this keeps CLEARANCE on its whole length


class NoPathError(ValueError):
    """No collision-free camera path of the requested kind exists or was found."""


def resample(route: np.ndarray, step: float = 0.05) -> np.ndarray:
    """Points of a route at even distances.

    Args:
        route: [N, 2] metres.
        step: distance between neighbours in metres.

    Returns:
        [M, 2].
    """
    return resampled(route, np.arange(0.0, along(route)[-1], step))


def sway(rng, times: np.ndarray, period: float) -> np.ndarray:
    """A smooth random signal in about -1..1.

    Args:
        rng: generator that it is drawn from.
        times: [T] seconds.
        period: its typical period in seconds.

    Returns:
        [T].
    """
    phases, rates = rng.uniform(0, 2 * np.pi, 3), np.array([0.7, 1.0, 1.37]) * rng.uniform(0.9, 1.1, 3)
    return np.sin(2 * np.pi / period * times[:, None] * rates + phases).mean(1) * 1.3

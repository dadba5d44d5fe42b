"""Depth maps of several views held against each other: what views agree on stays, what others see through is doubted."""

import numpy as np
import torch
from numba import njit

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.geometry.pieces import for_each

AGREEMENT = 0.2
"""Relative difference of depth up to which two views show the same surface."""

NEIGHBOURS = 12
"""Views that each one is held against: those nearest to its viewpoint."""

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)


def doubted(depth: np.ndarray, confidence: np.ndarray, cameras: Cameras, agreement: float = AGREEMENT) -> np.ndarray:
    """Confidence of depth maps after they were held against each other.

    It stays where another view agrees and none contradicts, and where none has the place in its picture. A view contradicts if it
    looks through the place. If c views contradict and a agree, ((a + 1/2) / (a + 1/2 + c))^1.5 of it is left, and a quarter of that
    where every view that should see the place sees something nearer: measured on rooms, so that confidence stays a probability.

    Args:
        depth: [N, h, w] along the optical axis, 0 where unknown.
        confidence: [N, h, w].
        cameras: N cameras.
        agreement: relative difference of depth up to which views agree.

    Returns:
        [N, h, w] float32.
    """
    count, height, width = depth.shape
    order = viewpoint_distance(cameras, cameras).argsort(dim=1).numpy()
    result = np.array(confidence, np.float32)
    depth = np.ascontiguousarray(depth, np.float32)
    intrinsics = cameras.pixel_intrinsics(height, width)

    def compare(view: int) -> None:
        others = [index for index in order[view] if index != view][:NEIGHBOURS]
        if others:
            forward = intrinsics[others] @ (cameras.world_to_camera[others] @ cameras.camera_to_world[view])[:, :3]
            forward[..., :3] = forward[..., :3] @ torch.linalg.inv(intrinsics[view])
            forward = np.ascontiguousarray(forward.numpy(), np.float32)
            _hold_against(depth[view], depth, np.array(others), forward, _F(agreement), result[view])

    for_each(count, NEIGHBOURS * height * width, compare)
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def _hold_against(depth, maps, others, forward, agreement, confidence):
    """Lower the confidence [h, w] of a depth map by `others` of all maps [N, h, w].

    `forward` [S, 3, 4] takes (column, row, 1) of the view, times depth, and 1 to pixels of the others times depth.
    """
    height, width = depth.shape
    for row in range(height):
        v = _F(row) + _HALF
        for column in range(width):
            distance = depth[row, column]
            if distance <= _ZERO:
                continue
            u = _F(column) + _HALF
            agreeing, against, nearer = 0, 0, 0
            for place in range(len(others)):
                matrix = forward[place]
                z = distance * (matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]) + matrix[2, 3]
                if z <= _F(1e-3) * distance:
                    continue
                x = (distance * (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) + matrix[0, 3]) / z
                y = (distance * (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) + matrix[1, 3]) / z
                if not (x >= _ZERO and x < _F(width) and y >= _ZERO and y < _F(height)):
                    continue
                seen = maps[others[place], int(y), int(x)]
                if seen <= _ZERO:
                    continue
                if max(z, seen) <= (_ONE + agreement) * min(z, seen):
                    agreeing += 1
                elif z < seen:
                    against += 1
                else:
                    nearer += 1
            if against:
                share = (_F(agreeing) + _HALF) / (_F(agreeing) + _HALF + _F(against))
                confidence[row, column] *= share * np.sqrt(share)
            if agreeing == 0 and nearer > 0:
                confidence[row, column] *= _F(0.25)

"""The compiled parts of `alignment`: pixels of one frame looked up in others, and what they say of the motions of both.

Compiled code holds no interpreter lock, so that frames are worked on side by side.
"""

import math

import numpy as np
from numba import njit

NEAREST = 0.05
"""Depth below which a point counts as behind the camera, in the unit of the cameras."""

_FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def project(rays, depth, motions, flat, inverse):
    """Where P pixels of a frame are in E others.

    Args:
        rays: [P, 3] 1 along the optical axis.
        depth: [P].
        motions: [E, 3, 4] the frame's camera to the others.
        flat: [E, P, 2] is set to their places on the plane at depth 1.
        inverse: [E, P] is set to their inverse depth; 0 behind the camera.
    """
    for view in range(motions.shape[0]):
        m = motions[view]
        for pixel in range(rays.shape[0]):
            x, y, z = rays[pixel, 0] * depth[pixel], rays[pixel, 1] * depth[pixel], rays[pixel, 2] * depth[pixel]
            ahead = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            if ahead < NEAREST:
                flat[view, pixel, 0], flat[view, pixel, 1], inverse[view, pixel] = 0, 0, 0
                continue
            over = 1 / ahead
            flat[view, pixel, 0] = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * over
            flat[view, pixel, 1] = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * over
            inverse[view, pixel] = over


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def look_up(maps, others, lenses, flat, inverse, hidden, looked, weight):
    """Values of maps at places, bilinear.

    Args:
        maps: [N, h, w, D] with log depth last.
        others: [E] which of them.
        lenses: [E, 4] focal lengths and centres in pixels of the maps, pixel centres at +0.5.
        flat, inverse: [E, P, 2] and [E, P] as `project` sets them.
        hidden: difference of log depth over which a pixel loses its weight.
        looked: [E, P, D - 1] is set.
        weight: [E, P] is set to 0 outside of the picture and, inside, to how far the depth there is the pixel's own.
    """
    height, width, channels = maps.shape[1:]
    for view in range(others.shape[0]):
        this = maps[others[view]]
        for pixel in range(flat.shape[1]):
            column = flat[view, pixel, 0] * lenses[view, 0] + lenses[view, 2] - 0.5
            row = flat[view, pixel, 1] * lenses[view, 1] + lenses[view, 3] - 0.5
            if not (inverse[view, pixel] > 0 and 0 <= column <= width - 1 and 0 <= row <= height - 1):
                weight[view, pixel] = 0
                for channel in range(channels - 1):
                    looked[view, pixel, channel] = 0
                continue
            left, top = min(int(column), width - 2), min(int(row), height - 2)
            right_share, low_share = column - left, row - top
            a, b = (1 - right_share) * (1 - low_share), right_share * (1 - low_share)
            c, d = (1 - right_share) * low_share, right_share * low_share
            for channel in range(channels):
                value = (
                    a * this[top, left, channel] + b * this[top, left + 1, channel]
                    + c * this[top + 1, left, channel] + d * this[top + 1, left + 1, channel]
                )  # fmt: skip
                if channel < channels - 1:
                    looked[view, pixel, channel] = value
                else:
                    behind = (math.log(inverse[view, pixel]) + value) / hidden
                    weight[view, pixel] = math.exp(-behind * behind)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def compare(looked, values, weight, means, sizes):
    """How far colours looked up are from a frame's own once their means are made alike, since exposure changes.

    Args:
        looked: [E, P, D], the colours first; values: [P, C].
        weight: [E, P].
        means: [E, C] is set to the mean difference.
        sizes: [E, P] is set to the mean square of what is left.
    """
    channels = values.shape[1]
    for view in range(looked.shape[0]):
        total = 1e-6
        for channel in range(channels):
            means[view, channel] = 0
        for pixel in range(looked.shape[1]):
            total += weight[view, pixel]
            for channel in range(channels):
                means[view, channel] += weight[view, pixel] * (looked[view, pixel, channel] - values[pixel, channel])
        for channel in range(channels):
            means[view, channel] /= total
        for pixel in range(looked.shape[1]):
            size = 0.0
            for channel in range(channels):
                size += (looked[view, pixel, channel] - values[pixel, channel] - means[view, channel]) ** 2
            sizes[view, pixel] = size / channels


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def hold(looked, values, weight, means, sizes, scales, lenses, stiffness, force):
    """How colours hold the places of pixels: stiffness and force as of `accumulate`.

    Args:
        looked: [E, P, 3 C] colours, their slopes along x and along y per pixel.
        values, weight, means, sizes: as of `compare`.
        scales: [E] difference of colours beyond which pixels count less and less (Geman and McClure).
        lenses: [E, 4] as of `look_up`.
        stiffness: [E, P, 3] is set; force: [E, P, 2].
    """
    channels = values.shape[1]
    for view in range(looked.shape[0]):
        square = scales[view] ** 2
        wide, high = lenses[view, 0], lenses[view, 1]
        for pixel in range(looked.shape[1]):
            counts = weight[view, pixel] / (1 + sizes[view, pixel] / square) ** 2 / square
            xx, xy, yy, right, down = 0.0, 0.0, 0.0, 0.0, 0.0
            for channel in range(channels):
                left = looked[view, pixel, channel] - values[pixel, channel] - means[view, channel]
                along, below = looked[view, pixel, channels + channel] * wide, looked[view, pixel, 2 * channels + channel] * high
                xx, xy, yy = xx + along * along, xy + along * below, yy + below * below
                right, down = right + along * left, down + below * left
            stiffness[view, pixel, 0], stiffness[view, pixel, 1], stiffness[view, pixel, 2] = counts * xx, counts * xy, counts * yy
            force[view, pixel, 0], force[view, pixel, 1] = counts * right, counts * down


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def accumulate(rays, depth, motions, flat, inverse, stiffness, force, curvature, pull, mixed, depth_curvature, depth_pull):
    """The normal equations of P pixels of a frame in E others: of each other frame's motion in its own axes (turn, then shift) and of the
    pixels' log depth.

    Args:
        rays, depth, motions, flat, inverse: as of `project`.
        stiffness: [E, P, 3] half the curvature of the cost in the place (xx, xy, yy).
        force: [E, P, 2] half its slope.
        curvature: [E, 6, 6] is added to; pull: [E, 6].
        mixed: [E, 6, P] is set to the products of both.
        depth_curvature, depth_pull: [P] are added to.
    """
    row = np.empty((2, 6), np.float64)
    for view in range(motions.shape[0]):
        m = motions[view]
        for pixel in range(rays.shape[0]):
            xx, xy, yy = stiffness[view, pixel, 0], stiffness[view, pixel, 1], stiffness[view, pixel, 2]
            if inverse[view, pixel] == 0 or xx + yy == 0:
                for one in range(6):
                    mixed[view, one, pixel] = 0
                continue
            u, v, over = flat[view, pixel, 0], flat[view, pixel, 1], inverse[view, pixel]
            row[0, 0], row[0, 1], row[0, 2], row[0, 3], row[0, 4], row[0, 5] = u * v, -1 - u * u, v, -over, 0, u * over
            row[1, 0], row[1, 1], row[1, 2], row[1, 3], row[1, 4], row[1, 5] = 1 + v * v, -u * v, -u, 0, -over, v * over
            x, y, z = rays[pixel, 0], rays[pixel, 1], rays[pixel, 2]
            scale = depth[pixel] * over
            away = (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z) * scale
            deep_u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z) * scale - u * away
            deep_v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z) * scale - v * away
            du, dv = force[view, pixel, 0], force[view, pixel, 1]
            along_u, along_v = xx * deep_u + xy * deep_v, xy * deep_u + yy * deep_v
            depth_curvature[pixel] += deep_u * along_u + deep_v * along_v
            depth_pull[pixel] += deep_u * du + deep_v * dv
            for one in range(6):
                pull[view, one] += row[0, one] * du + row[1, one] * dv
                mixed[view, one, pixel] = row[0, one] * along_u + row[1, one] * along_v
                stiff_u, stiff_v = xx * row[0, one] + xy * row[1, one], xy * row[0, one] + yy * row[1, one]
                for two in range(one + 1):
                    curvature[view, one, two] += stiff_u * row[0, two] + stiff_v * row[1, two]
        for one in range(6):
            for two in range(one):
                curvature[view, two, one] = curvature[view, one, two]

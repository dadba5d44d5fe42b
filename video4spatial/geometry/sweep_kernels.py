"""The compiled part of `plane_sweep` and `polishing`: one frame compared with others for every depth that is tried.

Compiled code holds no interpreter lock. Plane by plane, so that what is worked on stays in the processor's cache.
"""

import numpy as np
from numba import njit

UNSEEN = np.float32(255)
"""Cost of a depth at which no other frame sees the place."""

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _compare(picture, other, turned, moved, inverse, factor, cost, seen):
    """Colour difference [h, w] of a picture and another one warped onto it, and where the other sees the place."""
    height, width = cost.shape
    for row in range(height):
        y = _F(row) + _HALF
        for column in range(width):
            x = _F(column) + _HALF
            near = inverse[row, column] * factor
            z = turned[2, 0] * x + turned[2, 1] * y + turned[2, 2] + moved[2] * near
            cost[row, column], seen[row, column] = _ZERO, _ZERO
            if z <= _F(1e-3):
                continue
            scale = _ONE / z
            u = (turned[0, 0] * x + turned[0, 1] * y + turned[0, 2] + moved[0] * near) * scale
            v = (turned[1, 0] * x + turned[1, 1] * y + turned[1, 2] + moved[1] * near) * scale
            if not (u > _ZERO and u < _F(width) and v > _ZERO and v < _F(height)):
                continue
            u, v = min(max(u - _HALF, _ZERO), _F(width - 1)), min(max(v - _HALF, _ZERO), _F(height - 1))
            j, i = int(u), int(v)
            right, down = u - _F(j), v - _F(i)
            j1, i1 = min(j + 1, width - 1), min(i + 1, height - 1)
            w00, w01 = (_ONE - right) * (_ONE - down), right * (_ONE - down)
            w10, w11 = (_ONE - right) * down, right * down
            total = _ZERO
            for channel in range(3):
                value = w00 * other[i, j, channel] + w01 * other[i, j1, channel]
                value += w10 * other[i1, j, channel] + w11 * other[i1, j1, channel]
                total += abs(value - picture[row, column, channel])
            cost[row, column], seen[row, column] = total * _F(1 / 3), _ONE


@njit(cache=True, nogil=True, error_model="numpy")
def window_sum(values, reach, across, out):
    """Sum over a square of 2 reach + 1 pixels around every pixel of [h, w]; borders are repeated. `across` [h, w] is room to work in."""
    height, width = values.shape
    for row in range(height):
        total = _ZERO
        for column in range(-reach, reach + 1):
            total += values[row, min(max(column, 0), width - 1)]
        for column in range(width):
            across[row, column] = total
            total += values[row, min(column + reach + 1, width - 1)] - values[row, max(column - reach, 0)]
    totals = np.zeros(width, np.float32)
    for row in range(-reach, reach + 1):
        totals += across[min(max(row, 0), height - 1)]
    for row in range(height):
        after, before = across[min(row + reach + 1, height - 1)], across[max(row - reach, 0)]
        for column in range(width):
            out[row, column] = totals[column]
            totals[column] += after[column] - before[column]


@njit(cache=True, nogil=True, error_model="numpy")
def sweep(picture, others, turned, moved, inverse, factors, reach, agreeing, volume):
    """Costs of all depths: the mean of those `agreeing` frames that differ least.

    Args:
        picture, others: [h, w, 3] and [S, h, w, 3] float32.
        turned, moved: [S, 3, 3] and [S, 3] from (column, row, 1) and inverse depth to pixels of the others.
        inverse: [h, w] inverse depths, of which the factors are tried.
        factors: [D] ascending or descending.
        reach: pixels to either side over which costs are averaged.
        agreeing: of the frames, how many are asked.
        volume: [D, h, w] set; `UNSEEN` where none sees the place.
    """
    planes, height, width = volume.shape
    cost, seen = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    room, summed, share = np.empty_like(cost), np.empty_like(cost), np.empty_like(cost)
    least = np.empty((agreeing, height, width), np.float32)
    enough = _HALF * _F((2 * reach + 1) ** 2)
    for plane in range(planes):
        least[:] = UNSEEN
        for view in range(len(others)):
            _compare(picture, others[view], turned[view], moved[view], inverse, factors[plane], cost, seen)
            window_sum(cost, reach, room, summed)
            window_sum(seen, reach, room, share)
            for row in range(height):
                for column in range(width):
                    if share[row, column] > enough:  # a frame that does not see the place has no say
                        value = summed[row, column] / share[row, column]
                        for place in range(agreeing):
                            if value < least[place, row, column]:
                                value, least[place, row, column] = least[place, row, column], value
        for row in range(height):
            for column in range(width):
                total, known = _ZERO, 0
                for place in range(agreeing):
                    if least[place, row, column] < UNSEEN:
                        total += least[place, row, column]
                        known += 1
                volume[plane, row, column] = total / _F(known) if known else UNSEEN


@njit(cache=True, nogil=True, error_model="numpy")
def best_depth(volume, inverse, apart, depth, margin):
    """The depth [h, w] of least cost [D, h, w], refined by a parabola, and by how much it beats the best of those `apart` planes away.

    Both are 0 for the first and the last depth, and where nothing sees the place.
    """
    planes, height, width = volume.shape
    for row in range(height):
        for column in range(width):
            best, index = UNSEEN, 0
            for plane in range(planes):
                if volume[plane, row, column] < best:
                    best, index = volume[plane, row, column], plane
            depth[row, column], margin[row, column] = _ZERO, _ZERO
            if index == 0 or index == planes - 1:
                continue
            second = UNSEEN
            for plane in range(planes):
                if abs(plane - index) >= apart and volume[plane, row, column] < second:
                    second = volume[plane, row, column]
            before, after = volume[index - 1, row, column], volume[index + 1, row, column]
            bend = max(before - _F(2) * best + after, _F(1e-6))
            shift = min(max(_HALF * (before - after) / bend, -_HALF), _HALF)
            depth[row, column] = _ONE / (inverse[0] + (_F(index) + shift) * (inverse[1] - inverse[0]))
            margin[row, column] = max(_ONE - (best + _ONE) / (second + _ONE), _ZERO)


@njit(cache=True, nogil=True, error_model="numpy")
def texture(picture, reach):
    """Standard deviation [h, w] of colours [h, w, 3] over a square of 2 reach + 1 pixels, as the root of the channels' mean variance."""
    height, width = picture.shape[:2]
    room, first, second = np.empty((height, width), np.float32), np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    variance = np.zeros((height, width), np.float32)
    pixels = _F((2 * reach + 1) ** 2)
    for channel in range(3):
        values = np.ascontiguousarray(picture[:, :, channel])
        window_sum(values, reach, room, first)
        window_sum(values * values, reach, room, second)
        for row in range(height):
            for column in range(width):
                mean = first[row, column] / pixels
                variance[row, column] += max(second[row, column] / pixels - mean * mean, _ZERO) * _F(1 / 3)
    return np.sqrt(variance)


@njit(cache=True, nogil=True, error_model="numpy")
def enlarge_depth(depth, confidence, picture, frame, large_depth, large_confidence):
    """Bring depth and confidence [h, w] to the size of a frame [H, W, 3]; colours tell which surface a pixel belongs to.

    Each pixel takes the surface of the one of the four around it whose colour [h, w, 3] is most alike, nearer ones first, and the mean
    of the inverse depths of those on the same surface (Kopf et al., Joint bilateral upsampling, SIGGRAPH 2007).
    """
    height, width = depth.shape
    rows, columns = large_depth.shape
    weights, near = np.empty(4, np.float32), np.empty(4, np.float32)
    for row in range(rows):
        v = min(max((_F(row) + _HALF) * _F(height) / _F(rows) - _HALF, _ZERO), _F(height - 1))
        for column in range(columns):
            u = min(max((_F(column) + _HALF) * _F(width) / _F(columns) - _HALF, _ZERO), _F(width - 1))
            best, most = 0, _F(-1)
            for corner in range(4):
                i, j = min(int(v) + corner // 2, height - 1), min(int(u) + corner % 2, width - 1)
                apart = _ZERO
                for channel in range(3):
                    apart += abs(picture[i, j, channel] - _F(frame[row, column, channel]))
                closeness = max(_ONE - abs(u - _F(j)), _F(0.05)) * max(_ONE - abs(v - _F(i)), _F(0.05))
                weights[corner] = closeness * np.exp(-apart * _F(1 / 30))
                near[corner] = _ONE / depth[i, j] if depth[i, j] > _ZERO else _ZERO
                if weights[corner] > most:
                    best, most = corner, weights[corner]
            large_depth[row, column], large_confidence[row, column] = _ZERO, _ZERO
            if near[best] <= _ZERO:
                continue
            total, sum_near, sum_confidence = _ZERO, _ZERO, _ZERO
            for corner in range(4):
                if abs(near[corner] - near[best]) < _F(0.05) * near[best]:
                    i, j = min(int(v) + corner // 2, height - 1), min(int(u) + corner % 2, width - 1)
                    total += weights[corner]
                    sum_near += weights[corner] * near[corner]
                    sum_confidence += weights[corner] * confidence[i, j]
            large_depth[row, column], large_confidence[row, column] = total / sum_near, sum_confidence / total


@njit(cache=True, nogil=True, error_model="numpy")
def best_factor(volume, step, reluctance, apart, depth, margin):
    """Multiply depths [h, w] by what costs least [D, h, w] of factors of inverse depth that are `step` apart in logarithm.

    The middle one is 1; each step away from it has to pay off by `reluctance`. `margin` [h, w] is set to how much the best beats the best of
    those `apart` steps away, and to -1 where nothing can be told: no other frame sees the place, or the best lies at the end of the range.
    """
    steps, height, width = volume.shape
    middle = steps // 2
    for row in range(height):
        for column in range(width):
            margin[row, column] = -_ONE
            if depth[row, column] <= _ZERO or volume[middle, row, column] >= UNSEEN:
                continue
            best, index = _F(1e9), middle
            for place in range(steps):
                value = volume[place, row, column] + reluctance * _F(abs(place - middle))
                if value < best:
                    best, index = value, place
            if index == 0 or index == steps - 1:
                continue
            cost, second = volume[index, row, column], UNSEEN
            for place in range(steps):
                if abs(place - index) >= apart and volume[place, row, column] < second:
                    second = volume[place, row, column]
            before, after = volume[index - 1, row, column], volume[index + 1, row, column]
            bend = max(before - _F(2) * cost + after, _F(0.1))  # grey levels: flatter is rounding
            shift = min(max(_HALF * (before - after) / bend, -_HALF), _HALF) if max(before, after) < UNSEEN else _ZERO
            depth[row, column] *= np.exp(-step * (_F(index - middle) + shift))
            margin[row, column] = max(_ONE - (cost + _ONE) / (second + _ONE), _ZERO)

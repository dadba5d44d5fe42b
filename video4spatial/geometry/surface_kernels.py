"""The compiled parts of `rendering` that deal with surfaces: depth maps cut into surfaces, and drawn into another camera.

Depth maps are meshes: neighbouring pixels of one surface are joined, so that nothing tears when a camera moves forward or past a
slanted wall. Between surfaces each pixel ends half way. Compiled code holds no interpreter lock. Depths in the target are kept as
their inverse, which is linear over a plane; 0 is nothing.
"""

import numpy as np
from numba import njit

JOINED_RIGHT, JOINED_DOWN, BESIDE_EDGE, WHOLE, FLAT = 1, 2, 4, 8, 16
"""Marks of a pixel: one surface with its neighbour to the right; below; close to where surfaces part; with the three to the right
and below; start of a block of `BLOCK` x `BLOCK` such squares that is a plane."""

BLOCK = 4
_MIXED = 128

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_NEAR = _F(1e-3)  # of the distance that the source's pixel has: closer to the target's image plane is behind it
_JUMP = _F(0.05)  # relative difference of depth up to which pixels are one surface, whatever lies beside them
_BEND = _F(0.03)  # departure from a plane, relative to inverse depth, up to which steeper ones are
_PLANE = _F(0.003)  # the same up to which a block is drawn as one
_OVERLAP, _BLOCK_OVERLAP = _F(1e-3), _F(0.01)  # of a triangle's area, by which it reaches over its sides
_SLACK = _F(2e-2)  # of a pixel, as much as that may be
_FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, error_model="numpy")
def mark_surfaces(depth, marks):
    """Find which pixels of depth maps [N, h, w] are joined; sets `marks` [N, h, w] uint8, and depth to 0 between surfaces.

    On a plane inverse depth is linear in pixels: two pixels are one surface if their depths hardly differ, or if either side
    continued reaches the other. A pixel that is joined to neither side and lies between their depths is a mixture of both.
    """
    count, height, width = depth.shape
    inverse = np.empty((height, width), np.float32)
    for view in range(count):
        this, mark = depth[view], marks[view]
        for row in range(height):
            for column in range(width):
                inverse[row, column] = _ONE / this[row, column] if this[row, column] > _ZERO else _ZERO
        for row in range(height):
            for column in range(width):
                value = 0
                if column + 1 < width:
                    one, two = inverse[row, column], inverse[row, column + 1]
                    before = inverse[row, column - 1] if column > 0 else _ZERO
                    after = inverse[row, column + 2] if column + 2 < width else _ZERO
                    if _joined(before, one, two, after):
                        value = JOINED_RIGHT
                if row + 1 < height:
                    one, two = inverse[row, column], inverse[row + 1, column]
                    before = inverse[row - 1, column] if row > 0 else _ZERO
                    after = inverse[row + 2, column] if row + 2 < height else _ZERO
                    if _joined(before, one, two, after):
                        value |= JOINED_DOWN
                mark[row, column] = value
        _drop_mixtures(this, inverse, mark)
        _mark_squares(mark)
        _mark_blocks(inverse, mark)


@njit(cache=True, nogil=True, error_model="numpy")
def _joined(before, one, two, after):
    """Whether the middle two of four inverse depths in a row (0 where unknown) are one surface."""
    least, most = min(one, two), max(one, two)
    return least > _ZERO and (
        most <= (_ONE + _JUMP) * least
        or (before > _ZERO and abs(two - one - one + before) < _BEND * most)
        or (after > _ZERO and abs(one - two - two + after) < _BEND * most)
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _drop_mixtures(depth, inverse, marks):
    height, width = depth.shape
    for row in range(height):
        for column in range(width):
            here = inverse[row, column]
            if here <= _ZERO:
                continue
            mixed = False
            if 0 < column < width - 1 and not (marks[row, column] | marks[row, column - 1]) & JOINED_RIGHT:
                left, right = inverse[row, column - 1], inverse[row, column + 1]
                mixed = left > _ZERO and right > _ZERO and (left - here) * (here - right) > _ZERO
            if not mixed and 0 < row < height - 1 and not (marks[row, column] | marks[row - 1, column]) & JOINED_DOWN:
                top, bottom = inverse[row - 1, column], inverse[row + 1, column]
                mixed = top > _ZERO and bottom > _ZERO and (top - here) * (here - bottom) > _ZERO
            if mixed:
                marks[row, column] |= _MIXED
    for row in range(height):
        for column in range(width):
            if marks[row, column] & _MIXED:
                marks[row, column] = 0
                depth[row, column] = inverse[row, column] = _ZERO
                if column > 0:
                    marks[row, column - 1] &= ~JOINED_RIGHT
                if row > 0:
                    marks[row - 1, column] &= ~JOINED_DOWN


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_squares(marks):
    """Mark whole squares, and pixels that are not joined to all four neighbours."""
    height, width = marks.shape
    both = JOINED_RIGHT | JOINED_DOWN
    for row in range(height):
        for column in range(width):
            right, down = column + 1 < width, row + 1 < height
            here = marks[row, column]
            edge = (right and not here & JOINED_RIGHT) or (down and not here & JOINED_DOWN)
            edge = edge or (column > 0 and not marks[row, column - 1] & JOINED_RIGHT)
            edge = edge or (row > 0 and not marks[row - 1, column] & JOINED_DOWN)
            if edge:
                marks[row, column] |= BESIDE_EDGE
            if right and down and here & both == both:
                if marks[row, column + 1] & JOINED_DOWN and marks[row + 1, column] & JOINED_RIGHT:
                    marks[row, column] |= WHOLE


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_blocks(inverse, marks):
    """Mark the blocks, on a grid of `BLOCK`, whose squares are whole and together a plane."""
    height, width = inverse.shape
    for row in range(0, height - BLOCK, BLOCK):
        for column in range(0, width - BLOCK, BLOCK):
            whole = True
            for i in range(BLOCK):
                for j in range(BLOCK):
                    whole &= marks[row + i, column + j] & WHOLE != 0
            if not whole:
                continue
            first, across = inverse[row, column], (inverse[row, column + BLOCK] - inverse[row, column]) / _F(BLOCK)
            down = (inverse[row + BLOCK, column] - first) / _F(BLOCK)
            for i in range(BLOCK + 1):
                for j in range(BLOCK + 1):
                    whole &= abs(first + _F(i) * down + _F(j) * across - inverse[row + i, column + j]) < _PLANE * first
            if whole:
                marks[row, column] |= FLAT


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def rasterise(depth, marks, forward, x, y, near, points, inverse):
    """Draw a depth map [h, w] into a target's inverse depths [H, W], which it sets.

    `forward` [3, 4] takes (column, row, 1) of the source, times depth, and 1 to pixels of the target times depth. `x`, `y`, `near`
    [h, w] and `points` [4, 3] are room to work in.
    """
    height, width = depth.shape
    inverse[:] = _ZERO
    for row in range(height):
        v = _F(row) + _HALF
        for column in range(width):
            u, distance = _F(column) + _HALF, depth[row, column]
            z = distance * (forward[2, 0] * u + forward[2, 1] * v + forward[2, 2]) + forward[2, 3]
            scale = _ONE / z if distance > _ZERO and z > _NEAR * distance else _ZERO
            x[row, column] = (distance * (forward[0, 0] * u + forward[0, 1] * v + forward[0, 2]) + forward[0, 3]) * scale
            y[row, column] = (distance * (forward[1, 0] * u + forward[1, 1] * v + forward[1, 2]) + forward[1, 3]) * scale
            near[row, column] = scale
    for top in range(-BLOCK, height, BLOCK):
        for left in range(-BLOCK, width, BLOCK):
            flat = top >= 0 and left >= 0 and marks[top, left] & FLAT != 0
            side, overlap = (BLOCK, _BLOCK_OVERLAP) if flat else (1, _OVERLAP)
            for row in range(max(top, -1), min(top + BLOCK, height), side):
                for column in range(max(left, -1), min(left + BLOCK, width), side):
                    if not flat and (row < 0 or column < 0 or not marks[row, column] & WHOLE):
                        _broken_square(depth, marks, forward, row, column, points, inverse)
                        continue
                    ia, ib = near[row, column], near[row, column + side]
                    ic, id_ = near[row + side, column + side], near[row + side, column]
                    if min(min(ia, ib), min(ic, id_)) > _ZERO:  # what reaches behind the camera is left out
                        _quad(
                            x[row, column], y[row, column], ia, x[row, column + side], y[row, column + side], ib,
                            x[row + side, column + side], y[row + side, column + side], ic,
                            x[row + side, column], y[row + side, column], id_, overlap, inverse,
                        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _quad(xa, ya, ia, xb, yb, ib, xc, yc, ic, xd, yd, id_, overlap, inverse):
    """Draw a quadrangle a b / d c (clockwise in the picture) if its front is seen."""
    height, width = inverse.shape
    left, right = min(min(xa, xb), min(xc, xd)), max(max(xa, xb), max(xc, xd))
    top, bottom = min(min(ya, yb), min(yc, yd)), max(max(ya, yb), max(yc, yd))
    if not (right > _ZERO and left < _F(width) and bottom > _ZERO and top < _F(height)):
        return
    # Pixels whose centres lie between; a little more where the quadrangle reaches over its sides.
    first_column, last_column = int(max(left + _HALF - _SLACK, _ZERO)), int(min(right + _HALF + _SLACK, _F(width))) - 1
    first_row, last_row = int(max(top + _HALF - _SLACK, _ZERO)), int(min(bottom + _HALF + _SLACK, _F(height))) - 1
    if first_column > last_column or first_row > last_row:
        return
    for part in range(2):  # the triangles a b c and a c d
        x1, y1, i1 = (xb, yb, ib) if part == 0 else (xc, yc, ic)
        x2, y2, i2 = (xc, yc, ic) if part == 0 else (xd, yd, id_)
        area = (x1 - xa) * (y2 - ya) - (x2 - xa) * (y1 - ya)
        if area <= _F(1e-9):
            continue
        scale = _ONE / area
        a1, b1 = (y2 - ya) * scale, (xa - x2) * scale  # weight of the second corner by column and row
        a2, b2 = (ya - y1) * scale, (x1 - xa) * scale
        for row in range(first_row, last_row + 1):
            y = _F(row) + _HALF - ya
            for column in range(first_column, last_column + 1):
                x = _F(column) + _HALF - xa
                weight1, weight2 = a1 * x + b1 * y, a2 * x + b2 * y
                if weight1 >= -overlap and weight2 >= -overlap and weight1 + weight2 <= _ONE + overlap:
                    value = ia + weight1 * (i1 - ia) + weight2 * (i2 - ia)
                    if value > inverse[row, column]:
                        inverse[row, column] = value


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _broken_square(depth, marks, forward, row, column, points, inverse):
    """Draw what belongs to the surfaces at the corners of a square of four pixels, of which some are missing or not joined."""
    height, width = depth.shape
    # The sides of the square: the first pixel, the step to the second, and the step into the square.
    joined_corners = 0
    for side in range(4):
        across = side < 2
        row0, column0 = row + (side == 1), column + (side == 3)
        row1, column1 = row0 + (not across), column0 + across
        if row0 < 0 or column0 < 0 or row1 >= height or column1 >= width:
            continue
        if marks[row0, column0] & (JOINED_RIGHT if across else JOINED_DOWN):
            joined_corners |= 1 << ((row0 - row) * 2 + column0 - column) | 1 << ((row1 - row) * 2 + column1 - column)
            into = 1 if side == 0 or side == 2 else -1
            _strip(depth, forward, row0, column0, row1, column1, into * across, into * (not across), points, inverse)
    for corner in range(4):
        i, j = row + corner // 2, column + corner % 2
        if 0 <= i < height and 0 <= j < width and depth[i, j] > _ZERO and not joined_corners & 1 << corner:
            _strip(depth, forward, i, j, i, j, 1 - 2 * (corner // 2), 1 - 2 * (corner % 2), points, inverse)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _strip(depth, forward, row0, column0, row1, column1, down, right, points, inverse):
    """Draw the strip half a pixel wide beside two joined pixels, each at its own depth; of a lone pixel (both the same) the quarter."""
    lone = row0 == row1 and column0 == column1
    for corner in range(4):
        second = corner == 1 or corner == 2
        row, column = (row1, column1) if second else (row0, column0)
        v, u = _F(row) + _HALF, _F(column) + _HALF
        if lone:  # the quarter towards (down, right)
            u += _HALF * _F(right) if second else _ZERO
            v += _HALF * _F(down) if corner >= 2 else _ZERO
        elif corner >= 2:
            u, v = u + _HALF * _F(right), v + _HALF * _F(down)
        distance = depth[row, column]
        z = distance * (forward[2, 0] * u + forward[2, 1] * v + forward[2, 2]) + forward[2, 3]
        if not z > _NEAR * distance:
            return
        points[corner, 0] = (distance * (forward[0, 0] * u + forward[0, 1] * v + forward[0, 2]) + forward[0, 3]) / z
        points[corner, 1] = (distance * (forward[1, 0] * u + forward[1, 1] * v + forward[1, 2]) + forward[1, 3]) / z
        points[corner, 2] = _ONE / z
    # The corners go round clockwise or the other way, by the side on which the strip lies.
    turned = right * down < 0 if lone else (down < 0 if row0 == row1 else right > 0)
    b, d = (3, 1) if turned else (1, 3)
    _quad(
        points[0, 0], points[0, 1], points[0, 2], points[b, 0], points[b, 1], points[b, 2],
        points[2, 0], points[2, 1], points[2, 2], points[d, 0], points[d, 1], points[d, 2], _OVERLAP, inverse,
    )  # fmt: skip

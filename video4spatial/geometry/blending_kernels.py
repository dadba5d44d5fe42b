"""The compiled parts of `rendering` that weigh views against each other: candidates, colours, the blend, and the best views.

Compiled code holds no interpreter lock.
"""

import numpy as np
from numba import njit

from video4spatial.geometry.surface_kernels import BESIDE_EDGE, rasterise

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_NEAR = _F(1e-3)
_CELLS = 12  # side of the target's grid on which candidates are compared
_FAST = {"contract", "nsz", "arcp"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def _view_quality(px, py, pz, ox, oy, oz, footprint, tuning):
    """From 0 to 1: how well a source at (ox, oy, oz) shows a point to the target at 0: 1 from the same place.

    Less from aside (by the angle between the rays) and from farther away (by what a pixel covers there, in pixels of the target).
    """
    sx, sy, sz = px - ox, py - oy, pz - oz
    own, other = px * px + py * py + pz * pz, sx * sx + sy * sy + sz * sz
    cosine = (px * sx + py * sy + pz * sz) / np.sqrt(own * other)
    angle = np.sqrt(max(_ZERO, _F(2) - _F(2) * cosine))
    coarser = np.sqrt(other / own) * footprint - _ONE
    coarser = coarser if coarser > _ZERO else -coarser * tuning.finer
    return _ONE / (_ONE + angle / tuning.angle + coarser / tuning.coarser)


@njit(cache=True, nogil=True, error_model="numpy")
def choose_candidates(depth, confidence, forward, rays, origins, footprints, height, width, tuning, chosen):
    """Choose the sources that together show most of a target, each place several times; sets `chosen`, returns how many.

    Args:
        depth, confidence: [N, h, w] of all sources, of which a grid of points is looked at.
        forward: [N, 3, 4] see `rasterise`.
        rays: [3, 3] from (column, row, 1) of the target to its rays of depth 1.
        origins, footprints: [N, 3] and [N], see `look_up`.
        height, width: of the target.
        tuning: see `rendering.Tuning`.
        chosen: [C] int64.
    """
    count, rows, columns = depth.shape
    seen, nearest = np.zeros((count, _CELLS, _CELLS), np.float32), np.zeros((_CELLS, _CELLS), np.float32)
    row_step, column_step = max(rows // 16, 1), max(columns // 16, 1)
    for turn in range(2):  # first how near anything is, then who shows it
        for source in range(count):
            matrix = forward[source]
            for i in range(row_step // 2, rows, row_step):
                for j in range(column_step // 2, columns, column_step):
                    distance = depth[source, i, j]
                    if distance <= _ZERO:
                        continue
                    u, v = _F(j) + _HALF, _F(i) + _HALF
                    z = distance * (matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]) + matrix[2, 3]
                    if z <= _NEAR * distance:
                        continue
                    x = (distance * (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) + matrix[0, 3]) / z
                    y = (distance * (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) + matrix[1, 3]) / z
                    if not (x >= _ZERO and x < _F(width) and y >= _ZERO and y < _F(height)):
                        continue
                    column, row = int(x * _F(_CELLS) / _F(width)), int(y * _F(_CELLS) / _F(height))
                    if turn == 0:
                        nearest[row, column] = max(nearest[row, column], _ONE / z)
                    elif nearest[row, column] * z < _F(1.5):
                        px = z * (rays[0, 0] * x + rays[0, 1] * y + rays[0, 2])
                        py = z * (rays[1, 0] * x + rays[1, 1] * y + rays[1, 2])
                        ox, oy, oz = origins[source, 0], origins[source, 1], origins[source, 2]
                        view = _view_quality(px, py, z, ox, oy, oz, footprints[source], tuning)
                        view *= confidence[source, i, j]
                        seen[source, row, column] = max(seen[source, row, column], view)
    cover = np.zeros((_CELLS, _CELLS), np.float32)
    free = np.ones(count, np.bool_)
    for place in range(len(chosen)):
        best, most = -1, _ZERO
        for source in range(count):
            if free[source]:
                gain = _ZERO
                for row in range(_CELLS):
                    for column in range(_CELLS):
                        gain += seen[source, row, column] / (_F(0.2) + cover[row, column])
                if gain > most:
                    best, most = source, gain
        if best < 0:
            return place
        chosen[place], free[best] = best, False
        cover += seen[best]
    return len(chosen)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def look_up(inverse, backward, rays, origin, footprint, depth, confidence, marks, frame, tuning, colours, quality, weights):
    """What one source shows of each pixel of a target.

    Args:
        inverse: [H, W] inverse depth in the target of the source's surfaces.
        backward: [3, 4] from (column, row, 1) of the target, times depth, and 1 to pixels of the source's depth map times depth.
        rays: [3, 3] from (column, row, 1) of the target to its rays of depth 1.
        origin: [3] the source's place in the target's coordinates.
        footprint: what a pixel of the source covers in those of the target from the same distance.
        depth, confidence, marks: [h, w] of the source.
        frame: [H', W', 3] of the source.
        tuning: see `rendering.Tuning`.
        colours, quality, weights: [H, W, 3] uint8, [H, W] from 0 to 1 and [H, W] in the blend, set; 0 where nothing is shown.
    """
    height, width = inverse.shape
    rows, columns = depth.shape
    frame_rows, frame_columns = frame.shape[:2]
    across, along = _F(frame_columns) / _F(columns), _F(frame_rows) / _F(rows)
    rim_scale = _ONE / (tuning.rim * _F(min(rows, columns)))
    ox, oy, oz = origin[0], origin[1], origin[2]
    for row in range(height):
        y = _F(row) + _HALF
        for column in range(width):
            near = inverse[row, column]
            if near <= _ZERO:
                quality[row, column], weights[row, column] = _ZERO, _ZERO
                continue
            x, z = _F(column) + _HALF, _ONE / near
            source_z = z * (backward[2, 0] * x + backward[2, 1] * y + backward[2, 2]) + backward[2, 3]
            scale = _ONE / source_z
            u = (z * (backward[0, 0] * x + backward[0, 1] * y + backward[0, 2]) + backward[0, 3]) * scale
            v = (z * (backward[1, 0] * x + backward[1, 1] * y + backward[1, 2]) + backward[1, 3]) * scale
            j, i = min(max(int(u), 0), columns - 1), min(max(int(v), 0), rows - 1)
            edge = marks[i, j] & BESIDE_EDGE != 0
            fx = min(max(u * across - _HALF, _ZERO), _F(frame_columns - 1))
            fy = min(max(v * along - _HALF, _ZERO), _F(frame_rows - 1))
            j0, i0 = int(fx), int(fy)
            j1, i1 = min(j0 + 1, frame_columns - 1), min(i0 + 1, frame_rows - 1)
            right, down = fx - _F(j0), fy - _F(i0)
            w00, w01 = (_ONE - right) * (_ONE - down), right * (_ONE - down)
            w10, w11 = (_ONE - right) * down, right * down
            if edge:  # only colours of the surface itself are mixed
                limit = tuning.surface * source_z
                jd0, jd1 = int((_F(j0) + _HALF) / across), int((_F(j1) + _HALF) / across)
                id0, id1 = int((_F(i0) + _HALF) / along), int((_F(i1) + _HALF) / along)
                c00 = w00 if abs(depth[id0, jd0] - source_z) < limit else _ZERO
                c01 = w01 if abs(depth[id0, jd1] - source_z) < limit else _ZERO
                c10 = w10 if abs(depth[id1, jd0] - source_z) < limit else _ZERO
                c11 = w11 if abs(depth[id1, jd1] - source_z) < limit else _ZERO
                total = c00 + c01 + c10 + c11
                if total > _F(1e-3):
                    w00, w01, w10, w11 = c00 / total, c01 / total, c10 / total, c11 / total
            for channel in range(3):
                colours[row, column, channel] = np.uint8(
                    w00 * _F(frame[i0, j0, channel]) + w01 * _F(frame[i0, j1, channel])
                    + w10 * _F(frame[i1, j0, channel]) + w11 * _F(frame[i1, j1, channel]) + _HALF
                )  # fmt: skip
            px = z * (rays[0, 0] * x + rays[0, 1] * y + rays[0, 2])
            py = z * (rays[1, 0] * x + rays[1, 1] * y + rays[1, 2])
            view = _view_quality(px, py, z, ox, oy, oz, footprint, tuning)
            sure = confidence[i, j]
            quality[row, column] = view * sure
            rim = min(min(u, _F(columns) - u), min(v, _F(rows) - v)) * rim_scale
            rim = min(max(rim, _F(1e-2)), _ONE) * (tuning.edge if edge else _ONE)
            # Steep in quality, so that the best views prevail and pictures stay sharp.
            sharp = view * view
            weight = sharp * sharp * rim
            weights[row, column] = weight * sure + _F(1e-12) if weight > tuning.known else _ZERO


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def blend(inverse, colours, quality, weights, tuning, picture, known, depth, confidence, shown):
    """Blend what C candidates show by a soft z-buffer.

    Args:
        inverse, colours, quality, weights: [C, H, W, ...] of `look_up`.
        tuning: see `rendering.Tuning`.
        picture, known, depth, confidence: [H, W, ...] set.
        shown: [C, H, W] set: by how much each candidate shows the surface that the target sees, 0 to 1.
    """
    count, height, width = inverse.shape
    for row in range(height):
        for column in range(width):
            front, strongest = _ZERO, _ZERO
            for view in range(count):
                strongest = max(strongest, weights[view, row, column])
            for view in range(count):
                if weights[view, row, column] >= tuning.says * strongest and weights[view, row, column] > _ZERO:
                    front = max(front, inverse[view, row, column])
            total, red, green, blue, near, sure = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
            for view in range(count):
                value = inverse[view, row, column]
                shown[view, row, column] = _ZERO
                if weights[view, row, column] <= _ZERO:
                    continue
                behind = max(front / value - _ONE, _ZERO) / tuning.thickness
                if behind > _F(6):
                    continue
                soft = np.exp(-behind)
                shown[view, row, column] = soft
                weight = soft * weights[view, row, column]
                total += weight
                red += weight * _F(colours[view, row, column, 0])
                green += weight * _F(colours[view, row, column, 1])
                blue += weight * _F(colours[view, row, column, 2])
                near += weight * value
                sure += weight * quality[view, row, column]
            if total > _ZERO:
                scale = _ONE / total
                picture[row, column, 0] = np.uint8(red * scale + _HALF)
                picture[row, column, 1] = np.uint8(green * scale + _HALF)
                picture[row, column, 2] = np.uint8(blue * scale + _HALF)
                known[row, column], depth[row, column], confidence[row, column] = True, total / near, sure * scale


@njit(cache=True, nogil=True, error_model="numpy")
def choose_views(shown, quality, wanted):
    """Choose candidates greedily: what is not shown yet counts most, better quality next; sets `wanted` [K], -1 where none is left."""
    count, height, width = shown.shape
    best_shown, best_quality = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    free = np.ones(count, np.bool_)
    for place in range(len(wanted)):
        best, most = -1, _ZERO
        for view in range(count):
            if free[view]:
                gain = _ZERO
                for row in range(0, height, 2):
                    for column in range(0, width, 2):
                        value = shown[view, row, column]
                        if value > _ZERO:
                            gain += max(value - best_shown[row, column], _ZERO)
                            gain += _HALF * max(value * quality[view, row, column] - best_quality[row, column], _ZERO)
                            gain += _F(1e-4)
                if gain > most:
                    best, most = view, gain
        wanted[place] = best
        if best >= 0:
            free[best] = False
            for row in range(0, height, 2):
                for column in range(0, width, 2):
                    value = shown[best, row, column]
                    best_shown[row, column] = max(best_shown[row, column], value)
                    best_quality[row, column] = max(best_quality[row, column], value * quality[best, row, column])


@njit(cache=True, nogil=True, error_model="numpy")
def render_targets(first, last, sources, relations, candidates, tuning, out):
    """Render targets `first` to `last` - 1 into `out`; see the named tuples of `rendering`."""
    height, width = out.depth.shape[1:]
    count, rows, columns = sources.depth.shape
    places = min(candidates, count)
    x, y = np.empty((rows, columns), np.float32), np.empty((rows, columns), np.float32)
    near, corners = np.empty((rows, columns), np.float32), np.empty((4, 3), np.float32)
    inverse, shown = np.empty((places, height, width), np.float32), np.empty((places, height, width), np.float32)
    quality, weights = np.empty((places, height, width), np.float32), np.empty((places, height, width), np.float32)
    colours = np.empty((places, height, width, 3), np.uint8)
    chosen, wanted = np.empty(places, np.int64), np.empty(out.sources.shape[1], np.int64)
    for target in range(first, last):
        forward, backward, rays = relations.forward[target], relations.backward[target], relations.rays[target]
        origins, footprints = relations.origins[target], relations.footprints[target]
        found = choose_candidates(
            sources.depth, sources.confidence, forward, rays, origins, footprints, height, width, tuning, chosen
        )
        for place in range(found):
            source = chosen[place]
            depth, marks = sources.depth[source], sources.marks[source]
            rasterise(depth, marks, forward[source], x, y, near, corners, inverse[place])
            look_up(
                inverse[place], backward[source], rays, origins[source], footprints[source], depth, sources.confidence[source],
                marks, sources.frames[source], tuning, colours[place], quality[place], weights[place],
            )  # fmt: skip
        blend(
            inverse[:found], colours[:found], quality[:found], weights[:found], tuning,
            out.pictures[target], out.known[target], out.depth[target], out.confidence[target], shown[:found],
        )  # fmt: skip
        choose_views(shown[:found], quality[:found], wanted)
        for place in range(len(wanted)):
            view = wanted[place]
            if view >= 0:
                out.sources[target, place] = chosen[view]
                for row in range(height):
                    for column in range(width):
                        if inverse[view, row, column] > _ZERO:
                            out.view_depth[target, place, row, column] = _ONE / inverse[view, row, column]
                            out.view_confidence[target, place, row, column] = quality[view, row, column]
                            for channel in range(3):
                                value = colours[view, row, column, channel]
                                out.view_pictures[target, place, row, column, channel] = value

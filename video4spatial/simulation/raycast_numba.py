"""The fast CPU renderer: a tiled ray caster compiled by numba, the twin of `raycast_torch`.

A frame is cut into tiles of 8 x 8 pixels. Primitives outside a tile's frustum are skipped, the others are visited
from near to far until the tile is closed. Compiled code holds no interpreter lock; frames are shared among plain
threads, which also works in forked workers.
"""

from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit

from video4spatial.simulation.scene import ARRAYS

TILE = 8
_RAYS_PER_THREAD = 2**17  # less work than this is not worth another thread
_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(0.5)
_EPSILON, _FAR = _F(1e-4), _F(1e9)


# The arrays of a `Scene` in a form that compiled code takes, with cosine and sine for yaw.
_Arrays = namedtuple("_Arrays", ["cosine", "sine", *(name for name in ARRAYS if name != "yaw")])


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _fetch(texels, layers, layer, u, v, out):
    """Bilinear texture lookup with mirrored borders into out[3]."""
    offset, height, width = layers[layer, 0], layers[layer, 1], layers[layer, 2]
    u = abs(u - _F(2) * np.floor(u * _HALF + _HALF))
    v = abs(v - _F(2) * np.floor(v * _HALF + _HALF))
    x = min(max(u * _F(width) - _HALF, _ZERO), _F(width - 1))
    y = min(max(v * _F(height) - _HALF, _ZERO), _F(height - 1))
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    a, b = x - _F(x0), y - _F(y0)
    i00, i01, i10, i11 = (
        offset + y0 * width + x0,
        offset + y0 * width + x1,
        offset + y1 * width + x0,
        offset + y1 * width + x1,
    )
    for channel in range(3):
        top = texels[i00, channel] + a * (texels[i01, channel] - texels[i00, channel])
        bottom = texels[i10, channel] + a * (texels[i11, channel] - texels[i10, channel])
        out[channel] = top + b * (bottom - top)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _largest(values):
    """Maximum of an array; the flags allow vector code and cannot change the result, as nothing is calculated."""
    result = values[0]
    for i in range(1, len(values)):
        result = max(result, values[i])
    return result


@njit(cache=True, nogil=True, error_model="numpy")
def _trace(members, near, kind, origin, axes, x, y, nearest, winner):
    """Nearest hits of the n rays of a tile: fills nearest [n] (z-depth) and winner [n] (primitive, -1: none).

    x and y [n] are the rays' slopes to the right and down. origin [P, 3] is the camera in each primitive's unit
    frame, axes [P, 3, 3] are its right, down and forward axes there. One flat loop per primitive without branches, so
    that the compiler makes vector code.
    """
    nearest[:] = _FAR
    winner[:] = -1
    for p in members:
        if near[p] > _largest(nearest):
            break
        ox, oy, oz = origin[p, 0], origin[p, 1], origin[p, 2]
        rx, ry, rz = axes[p, 0, 0], axes[p, 0, 1], axes[p, 0, 2]
        bx, by, bz = axes[p, 1, 0], axes[p, 1, 1], axes[p, 1, 2]
        fx, fy, fz = axes[p, 2, 0], axes[p, 2, 1], axes[p, 2, 2]
        if kind[p] == 0:
            for i in range(len(x)):
                ix, iy, iz = (
                    _ONE / (rx * x[i] + bx * y[i] + fx),
                    _ONE / (ry * x[i] + by * y[i] + fy),
                    _ONE / (rz * x[i] + bz * y[i] + fz),
                )
                ax, cx = (-_ONE - ox) * ix, (_ONE - ox) * ix
                ay, cy = (-_ONE - oy) * iy, (_ONE - oy) * iy
                az, cz = (-_ONE - oz) * iz, (_ONE - oz) * iz
                lx, hx = (ax if ax < cx else cx), (cx if ax < cx else ax)
                ly, hy = (ay if ay < cy else cy), (cy if ay < cy else ay)
                lz, hz = (az if az < cz else cz), (cz if az < cz else az)
                enter = lx if lx > ly else ly
                enter = enter if enter > lz else lz
                leave = hx if hx < hy else hy
                leave = leave if leave < hz else hz
                hit = (enter < leave) & (enter > _EPSILON) & (enter < nearest[i])
                nearest[i] = enter if hit else nearest[i]
                winner[i] = p if hit else winner[i]
        elif kind[p] == 1:
            c = ox * ox + oy * oy - _ONE
            for i in range(len(x)):
                dx, dy, dz = rx * x[i] + bx * y[i] + fx, ry * x[i] + by * y[i] + fy, rz * x[i] + bz * y[i] + fz
                a, b = dx * dx + dy * dy, ox * dx + oy * dy
                square = b * b - a * c
                root = np.sqrt(square if square > _ZERO else _ZERO)
                iz = _ONE / dz
                az, cz = (-_ONE - oz) * iz, (_ONE - oz) * iz
                lz, hz = (az if az < cz else cz), (cz if az < cz else az)
                ls, hs = (-b - root) / a, (-b + root) / a
                enter, leave = (ls if ls > lz else lz), (hs if hs < hz else hz)
                hit = (square > _ZERO) & (enter < leave) & (enter > _EPSILON) & (enter < nearest[i])
                nearest[i] = enter if hit else nearest[i]
                winner[i] = p if hit else winner[i]
        else:
            c = ox * ox + oy * oy + oz * oz - _ONE
            for i in range(len(x)):
                dx, dy, dz = rx * x[i] + bx * y[i] + fx, ry * x[i] + by * y[i] + fy, rz * x[i] + bz * y[i] + fz
                a, b = dx * dx + dy * dy + dz * dz, ox * dx + oy * dy + oz * dz
                square = b * b - a * c
                enter = (-b - np.sqrt(square if square > _ZERO else _ZERO)) / a
                hit = (square > _ZERO) & (enter > _EPSILON) & (enter < nearest[i])
                nearest[i] = enter if hit else nearest[i]
                winner[i] = p if hit else winner[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _tile_rays(i0, i1, j0, j1, right, down, x, y):
    """Slopes of the rays of rows i0..i1 and columns j0..j1, row by row, into x and y; returns their number."""
    n = 0
    for i in range(i0, i1):
        for j in range(j0, j1):
            x[n], y[n] = right[j], down[i]
            n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def _slopes(pixels, principal, focal, out):
    for i in range(pixels):
        out[i] = (_F(i + 0.5) / _F(pixels) - principal) / focal


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(winner, nearest, x, y, origin, axes, scene, texel, colour):
    """Colours [n, 3] in 0..1 of the hits of n rays: texture times ambient light, glow and point lights; black where
    nothing is hit.
    """
    kind, center, half, cosine, sine = scene.kind, scene.center, scene.half, scene.cosine, scene.sine
    uv_scale, uv_offset, light_gain = scene.uv_scale, scene.uv_offset, scene.light_gain
    light_position, light_colour, ambient, emission = (
        scene.light_position,
        scene.light_colour,
        scene.ambient,
        scene.emission,
    )
    texels, layers, face_layers = scene.texels, scene.layers, scene.face_layers
    for ray in range(len(winner)):
        p, t = winner[ray], nearest[ray]
        if p < 0:
            colour[ray, 0], colour[ray, 1], colour[ray, 2] = _ZERO, _ZERO, _ZERO
            continue
        lx = origin[p, 0] + t * (axes[p, 0, 0] * x[ray] + axes[p, 1, 0] * y[ray] + axes[p, 2, 0])
        ly = origin[p, 1] + t * (axes[p, 0, 1] * x[ray] + axes[p, 1, 1] * y[ray] + axes[p, 2, 1])
        lz = origin[p, 2] + t * (axes[p, 0, 2] * x[ray] + axes[p, 1, 2] * y[ray] + axes[p, 2, 2])
        mx, my, mz = abs(lx), abs(ly), abs(lz)
        nx, ny, nz = _ZERO, _ZERO, _ZERO
        face = 0
        u, v = ly, lz
        if kind[p] == 0:
            if mx >= my and mx >= mz:
                nx, face = (_ONE if lx > _ZERO else -_ONE), (1 if lx > _ZERO else 0)
            elif my >= mz:
                ny, face = (_ONE if ly > _ZERO else -_ONE), (3 if ly > _ZERO else 2)
            else:
                nz, face = (_ONE if lz > _ZERO else -_ONE), (5 if lz > _ZERO else 4)
        else:
            if kind[p] == 1 and mz > np.sqrt(lx * lx + ly * ly):
                nz, face = (_ONE if lz > _ZERO else -_ONE), (5 if lz > _ZERO else 4)
            else:
                nx, ny, nz = lx / half[p, 0], ly / half[p, 1], (lz / half[p, 2] if kind[p] == 2 else _ZERO)
                length = np.sqrt(nx * nx + ny * ny + nz * nz)
                nx, ny, nz = nx / length, ny / length, nz / length
        if kind[p] != 0 and face < 4:
            u = abs(np.arctan2(ly, lx)) * _F(1 / np.pi)
            v = _ONE - (lz * uv_scale[p, 2] + uv_offset[p, 2])
        elif face < 2:
            u = ly * uv_scale[p, 1] + uv_offset[p, 1]
            v = _ONE - (lz * uv_scale[p, 2] + uv_offset[p, 2])
        elif face < 4:
            u = lx * uv_scale[p, 0] + uv_offset[p, 0]
            v = _ONE - (lz * uv_scale[p, 2] + uv_offset[p, 2])
        else:
            u = lx * uv_scale[p, 0] + uv_offset[p, 0]
            v = _ONE - (ly * uv_scale[p, 1] + uv_offset[p, 1])
        _fetch(texels, layers, face_layers[p, face], u, v, texel)
        wx, wy = cosine[p] * nx - sine[p] * ny, sine[p] * nx + cosine[p] * ny
        sx, sy, sz = lx * half[p, 0], ly * half[p, 1], lz * half[p, 2]
        px, py, pz = (
            cosine[p] * sx - sine[p] * sy + center[p, 0],
            sine[p] * sx + cosine[p] * sy + center[p, 1],
            sz + center[p, 2],
        )
        sky = _ONE + _F(0.12) * nz + _F(0.06) * wx + _F(0.03) * wy
        red, green, blue = (
            ambient[0] * sky + emission[p],
            ambient[1] * sky + emission[p],
            ambient[2] * sky + emission[p],
        )
        for light in range(light_position.shape[0]):
            gain = light_gain[p, light]
            if gain > _ZERO:
                tx, ty, tz = light_position[light, 0] - px, light_position[light, 1] - py, light_position[light, 2] - pz
                square = tx * tx + ty * ty + tz * tz
                facing = (tx * wx + ty * wy + tz * nz) / np.sqrt(square + _F(1e-6))
                strength = gain * max(facing, _ZERO) / (_ONE + square * _F(0.09))
                red += strength * light_colour[light, 0]
                green += strength * light_colour[light, 1]
                blue += strength * light_colour[light, 2]
        colour[ray, 0] = min(red * texel[0], _ONE)
        colour[ray, 1] = min(green * texel[1], _ONE)
        colour[ray, 2] = min(blue * texel[2], _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _render_frames(first, last, poses, focal, principal, height, width, supersample, scene, rgb, depth, instances):
    kind, center, half, cosine, sine = scene.kind, scene.center, scene.half, scene.cosine, scene.sine
    count = len(kind)
    origin, axes = np.empty((count, 3), np.float32), np.empty((count, 3, 3), np.float32)
    view, spread = np.empty((count, 3), np.float32), np.empty((count, 3, 3), np.float32)
    near, far = np.empty(count, np.float32), np.empty(count, np.float32)
    members = np.empty(count, np.int32)
    row_span, column_span = np.empty((count, 2), np.int64), np.empty((count, 2), np.int64)
    rays = TILE * supersample * TILE * supersample
    x, y = np.empty(rays, np.float32), np.empty(rays, np.float32)
    nearest, winner = np.empty(rays, np.float32), np.empty(rays, np.int32)
    total, colour, texel = (
        np.empty((TILE, TILE, 3), np.float32),
        np.empty((rays, 3), np.float32),
        np.empty(3, np.float32),
    )
    tile_rows, tile_columns = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    fine_right, fine_down = np.empty(width * supersample, np.float32), np.empty(height * supersample, np.float32)
    right, down = np.empty(width, np.float32), np.empty(height, np.float32)
    for frame in range(first, last):
        pose = poses[frame]
        camera = pose[:, 3]
        for pixels, out, axis in (
            (width * supersample, fine_right, 0),
            (height * supersample, fine_down, 1),
            (width, right, 0),
            (height, down, 1),
        ):
            _slopes(pixels, principal[frame, axis], focal[frame, axis], out)
        for p in range(count):
            tx, ty, tz = camera[0] - center[p, 0], camera[1] - center[p, 1], camera[2] - center[p, 2]
            origin[p, 0] = (cosine[p] * tx + sine[p] * ty) / half[p, 0]
            origin[p, 1] = (cosine[p] * ty - sine[p] * tx) / half[p, 1]
            origin[p, 2] = tz / half[p, 2]
            extent = _ZERO
            for axis in range(3):
                ax, ay, az = pose[0, axis], pose[1, axis], pose[2, axis]
                view[p, axis] = -(ax * tx + ay * ty + az * tz)
                local_x, local_y = cosine[p] * ax + sine[p] * ay, cosine[p] * ay - sine[p] * ax
                axes[p, axis, 0], axes[p, axis, 1], axes[p, axis, 2] = (
                    local_x / half[p, 0],
                    local_y / half[p, 1],
                    az / half[p, 2],
                )
                spread[p, axis, 0], spread[p, axis, 1], spread[p, axis, 2] = (
                    local_x * half[p, 0],
                    local_y * half[p, 1],
                    az * half[p, 2],
                )
            for axis in range(3):
                extent += abs(spread[p, 2, axis])
            near[p], far[p] = view[p, 2] - extent, view[p, 2] + extent
            _span(p, 0, tile_columns, width, principal[frame, 0], focal[frame, 0], view, spread, column_span)
            _span(p, 1, tile_rows, height, principal[frame, 1], focal[frame, 1], view, spread, row_span)
        order = np.argsort(near)
        for tile_row in range(tile_rows):
            i0, i1 = tile_row * TILE, min(tile_row * TILE + TILE, height)
            for tile_column in range(tile_columns):
                j0, j1 = tile_column * TILE, min(tile_column * TILE + TILE, width)
                found = 0
                for index in range(count):
                    p = order[index]
                    if (
                        far[p] > _ZERO
                        and row_span[p, 0] <= tile_row
                        and tile_row <= row_span[p, 1]
                        and column_span[p, 0] <= tile_column
                        and tile_column <= column_span[p, 1]
                    ):
                        members[found] = p
                        found += 1
                n = _tile_rays(
                    i0 * supersample, i1 * supersample, j0 * supersample, j1 * supersample, fine_right, fine_down, x, y
                )
                _trace(members[:found], near, kind, origin, axes, x[:n], y[:n], nearest[:n], winner[:n])
                total[:] = _ZERO
                columns = (j1 - j0) * supersample
                _shade(winner[:n], nearest[:n], x, y, origin, axes, scene, texel, colour)
                for ray in range(n):
                    i, j = ray // columns // supersample, ray % columns // supersample
                    for channel in range(3):
                        total[i, j, channel] += colour[ray, channel]
                if supersample > 1:
                    n = _tile_rays(i0, i1, j0, j1, right, down, x, y)
                    _trace(members[:found], near, kind, origin, axes, x[:n], y[:n], nearest[:n], winner[:n])
                scale = _F(255) / _F(supersample * supersample)
                for i in range(i1 - i0):
                    for j in range(j1 - j0):
                        for channel in range(3):
                            rgb[frame, i0 + i, j0 + j, channel] = np.uint8(total[i, j, channel] * scale + _HALF)
                        ray = i * (j1 - j0) + j
                        p = winner[ray]
                        depth[frame, i0 + i, j0 + j] = nearest[ray] if p >= 0 else _ZERO
                        instances[frame, i0 + i, j0 + j] = scene.instance[p] if p >= 0 else 0


@njit(cache=True, nogil=True, error_model="numpy")
def _span(p, axis, tiles, pixels, principal, focal, view, spread, span):
    """First and last tile column (axis 0) or row (axis 1) whose frustum a primitive's box may touch."""
    first, last = tiles, -1
    for tile in range(tiles):
        low = (_F(tile * TILE) / _F(pixels) - principal) / focal
        high = (_F(min(tile * TILE + TILE, pixels)) / _F(pixels) - principal) / focal
        beyond = view[p, axis] - low * view[p, 2]
        before = high * view[p, 2] - view[p, axis]
        for k in range(3):
            beyond += abs(spread[p, axis, k] - low * spread[p, 2, k])
            before += abs(high * spread[p, 2, k] - spread[p, axis, k])
        if beyond >= _ZERO and before >= _ZERO:
            first, last = min(first, tile), max(last, tile)
    span[p, 0], span[p, 1] = first, last


def render_frames(scene, poses, focal, principal, height: int, width: int, supersample: int):
    """Render frames of a scene on the CPU; see `renderer.render`.

    Args:
        scene: what to render.
        poses: camera to world [T, 3, 4] float32.
        focal, principal: [T, 2] float32, normalised by width and height.
        height, width: of the pictures in pixels.
        supersample: rays per pixel side, for colour.

    Returns:
        rgb uint8 [T, H, W, 3], depth float32 [T, H, W], instances int32 [T, H, W].
    """
    count = len(poses)
    rgb = np.empty((count, height, width, 3), np.uint8)
    depth, instances = np.empty((count, height, width), np.float32), np.empty((count, height, width), np.int32)
    turned = {"cosine": np.cos(scene.yaw), "sine": np.sin(scene.yaw)}
    arrays = _Arrays(**{name: turned[name] if name in turned else getattr(scene, name) for name in _Arrays._fields})
    arguments = (poses, focal, principal, height, width, supersample, arrays, rgb, depth, instances)
    threads = min(torch.get_num_threads(), count, 1 + count * height * width * supersample**2 // _RAYS_PER_THREAD)
    if threads <= 1:
        _render_frames(0, count, *arguments)
        return rgb, depth, instances
    pieces = np.array_split(np.arange(count), min(4 * threads, count))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda piece: _render_frames(piece[0], piece[-1] + 1, *arguments), pieces))
    return rgb, depth, instances

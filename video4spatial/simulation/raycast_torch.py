"""The plain-torch renderer for any device: the readable reference that `raycast_numba` must equal.

Frames are cut into tiles. Every (tile, primitive) pair whose frustum and box may touch is one row of a batch in which
all rays of the tile are tested at once; the nearest hit per ray is found by a scattered minimum over integers that
hold (z-depth, primitive).
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from video4spatial.simulation.scene import ARRAYS

TILE = 16
NO_HIT = torch.iinfo(torch.int64).max
_EPSILON = 1e-4
_RAYS_PER_CHUNK = {"cpu": 2**16, "cuda": 2**21}
_TESTS_PER_BATCH = {"cpu": 2**18, "cuda": 2**24}


class _Primitives:
    """The arrays of a scene as tensors on one device."""

    def __init__(self, scene, device):
        for name in ARRAYS:
            setattr(self, name, torch.from_numpy(getattr(scene, name)).to(device))
        # by numpy on the host, so that both renderers turn boxes by the same numbers
        self.cosine, self.sine = (torch.from_numpy(turn(scene.yaw)).to(device) for turn in (np.cos, np.sin))
        self.kind_members = [torch.nonzero(self.kind == kind)[:, 0] for kind in range(3)]

    def to_local(self, vectors: Tensor) -> Tensor:
        """World vectors [..., P, 3] in the turned, unscaled frame of each primitive."""
        x, y, z = vectors.unbind(-1)
        return torch.stack([self.cosine * x + self.sine * y, self.cosine * y - self.sine * x, z], -1)


def render_frames(
    scene, poses: Tensor, focal: Tensor, principal: Tensor, height: int, width: int, supersample: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Render frames of a scene on the device of `poses`; see `renderer.render`.

    Args:
        scene: what to render.
        poses: camera to world [T, 3, 4] float32.
        focal, principal: [T, 2] float32, normalised by width and height.
        height, width: of the pictures in pixels.
        supersample: rays per pixel side, for colour.

    Returns:
        rgb uint8 [T, H, W, 3], depth float32 [T, H, W], instances int32 [T, H, W].
    """
    primitives = _Primitives(scene, poses.device)
    chunk = max(1, _RAYS_PER_CHUNK.get(poses.device.type, 2**20) // (height * width * supersample**2))
    parts = [
        _render_chunk(
            primitives, poses[i : i + chunk], focal[i : i + chunk], principal[i : i + chunk], height, width, supersample
        )
        for i in range(0, len(poses), chunk)
    ]
    return tuple(torch.cat(column) for column in zip(*parts))


def _render_chunk(primitives, poses, focal, principal, height, width, supersample):
    frames = len(poses)
    toward = poses[:, None, :, 3] - primitives.center  # [F, P, 3] from primitive to camera
    origin = primitives.to_local(toward) / primitives.half
    directions = primitives.to_local(
        poses[:, :, :3].transpose(1, 2)[:, :, None].expand(-1, -1, len(primitives.kind), -1)
    )  # [F, axis, P, 3]
    axes = (directions / primitives.half).transpose(1, 2)  # [F, P, axis, 3]
    spread = (directions * primitives.half).transpose(1, 2)
    view = -torch.einsum("fca,fpc->fpa", poses[:, :, :3], toward)  # primitive centres in camera coordinates

    def trace(scale: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = _slopes(width * scale, principal[:, 0], focal[:, 0])
        y = _slopes(height * scale, principal[:, 1], focal[:, 1])
        best = _trace(primitives, origin, axes, view, spread, x, y)
        return best, x, y, best != NO_HIT

    best, x, y, hit = trace(supersample)
    t, p = _unpack(best)
    frame = torch.arange(frames, device=poses.device)[:, None, None].expand_as(p)
    colour = _shade(primitives, origin, axes, frame, p, t, x[:, None, :], y[:, :, None]) * hit[..., None]
    if supersample > 1:
        colour = colour.view(frames, height, supersample, width, supersample, 3).sum((2, 4))
        best, _, _, hit = trace(1)
        t, p = _unpack(best)
    rgb = (colour * (255 / supersample**2) + 0.5).to(torch.uint8)
    return rgb, torch.where(hit, t, 0.0), torch.where(hit, primitives.instance[p], 0)


def _slopes(pixels: int, principal: Tensor, focal: Tensor) -> Tensor:
    """Slopes [F, pixels] of the rays through pixel centres along one picture axis."""
    position = (torch.arange(pixels, device=principal.device, dtype=torch.float32) + 0.5) / pixels
    return (position - principal[:, None]) / focal[:, None]


def _unpack(best: Tensor) -> tuple[Tensor, Tensor]:
    """z-depth and primitive number of packed hits; misses give primitive 0 and must be masked."""
    best = torch.where(best == NO_HIT, 0, best)
    return (best >> 32).to(torch.int32).view(torch.float32), best & 0xFFFFFFFF


def _touches(view: Tensor, spread: Tensor, axis: int, slopes: Tensor) -> Tensor:
    """Whether boxes [F, P] may touch the wedge of each tile column (axis 0) or row (axis 1): [F, P, tiles]; slopes
    [F, tiles, TILE].
    """
    low, high = slopes[:, None, :, 0], slopes[:, None, :, -1]
    center, forward = view[..., axis, None], view[..., 2, None]
    across, along = spread[:, :, None, axis], spread[:, :, None, 2]  # [F, P, 1, 3]
    beyond = center - low * forward + (across - low[..., None] * along).abs().sum(-1)
    before = high * forward - center + (high[..., None] * along - across).abs().sum(-1)
    return (beyond >= 0) & (before >= 0)


def _trace(primitives, origin, axes, view, spread, x, y) -> Tensor:
    """Packed nearest hits [F, H, W] int64 of the rays with slopes x [F, W], y [F, H]; NO_HIT where nothing is hit."""
    frames, height, width = len(x), y.shape[1], x.shape[1]
    x_tiles, y_tiles = _tiled(x), _tiled(y)
    rows, columns = y_tiles.shape[1], x_tiles.shape[1]
    in_front = view[..., 2] + spread[:, :, 2].abs().sum(-1) > 0
    column_mask = _touches(view, spread, 0, x_tiles) & in_front[..., None]
    row_mask = _touches(view, spread, 1, y_tiles)
    best = torch.full((frames * rows * columns, TILE * TILE), NO_HIT, dtype=torch.int64, device=x.device)
    batch = max(1, _TESTS_PER_BATCH.get(x.device.type, 2**22) // TILE**2)
    for members, intersect in zip(primitives.kind_members, (_enter_box, _enter_cylinder, _enter_ball)):
        pairs = (row_mask[:, members, :, None] & column_mask[:, members, None, :]).nonzero()
        for f, m, row, column in (part.unbind(1) for part in pairs.split(batch)):
            p = members[m]
            slope_x, slope_y = x_tiles[f, column][:, None, :], y_tiles[f, row][:, :, None]
            right, down, forward = (axis[:, None, None, :] for axis in axes[f, p].unbind(1))
            start = origin[f, p][:, None, None, :]
            direction = [right[..., k] * slope_x + down[..., k] * slope_y + forward[..., k] for k in range(3)]
            enter, hit = intersect([start[..., k] for k in range(3)], direction)
            packed = (enter.contiguous().view(torch.int32).to(torch.int64) << 32) | p[:, None, None]
            packed = torch.where(hit & (enter > _EPSILON), packed, NO_HIT).view(-1, TILE * TILE)
            tile = (f * rows + row) * columns + column
            best.scatter_reduce_(0, tile[:, None].expand_as(packed), packed, "amin")
    best = best.view(frames, rows, columns, TILE, TILE).transpose(2, 3).reshape(frames, rows * TILE, columns * TILE)
    return best[:, :height, :width]


def _tiled(slopes: Tensor) -> Tensor:
    """Slopes [F, n] as [F, tiles, TILE], the last one repeated to fill up."""
    missing = -slopes.shape[1] % TILE
    return F.pad(slopes[:, None], (0, missing), mode="replicate")[:, 0].unflatten(1, (-1, TILE))


def _enter_slab(start: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    inverse = 1.0 / direction
    first, second = (-1.0 - start) * inverse, (1.0 - start) * inverse
    return torch.minimum(first, second), torch.maximum(first, second)


def _enter_box(start, direction) -> tuple[Tensor, Tensor]:
    """Where rays enter the cube -1..1, and whether they do (slab method, Kay and Kajiya 1986)."""
    slabs = [_enter_slab(s, d) for s, d in zip(start, direction)]
    enter = torch.maximum(torch.maximum(slabs[0][0], slabs[1][0]), slabs[2][0])
    leave = torch.minimum(torch.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])
    return enter, enter < leave


def _enter_cylinder(start, direction) -> tuple[Tensor, Tensor]:
    """Where rays enter the upright cylinder of radius 1 and height -1..1."""
    a = direction[0] * direction[0] + direction[1] * direction[1]
    b = start[0] * direction[0] + start[1] * direction[1]
    c = start[0] * start[0] + start[1] * start[1] - 1.0
    square = b * b - a * c
    root = square.clamp(min=0).sqrt()
    low, high = _enter_slab(start[2], direction[2])
    enter, leave = torch.maximum((-b - root) / a, low), torch.minimum((-b + root) / a, high)
    return enter, (square > 0) & (enter < leave)


def _enter_ball(start, direction) -> tuple[Tensor, Tensor]:
    """Where rays enter the unit ball."""
    a = sum(d * d for d in direction)
    b = sum(s * d for s, d in zip(start, direction))
    c = sum(s * s for s in start) - 1.0
    square = b * b - a * c
    return (-b - square.clamp(min=0).sqrt()) / a, square > 0


def _shade(primitives, origin, axes, frame, p, t, x, y) -> Tensor:
    """Colours [F, H, W, 3] in 0..1: texture times ambient light, glow and point lights."""
    s = primitives
    start, right, down, forward = origin[frame, p], axes[frame, p, 0], axes[frame, p, 1], axes[frame, p, 2]
    local = start + t[..., None] * (right * x[..., None] + down * y[..., None] + forward)
    kind, half, cosine, sine = s.kind[p], s.half[p], s.cosine[p], s.sine[p]
    face, normal = _face_and_normal(local, kind, half)
    scaled = local * s.uv_scale[p] + s.uv_offset[p]
    u = torch.where(face < 2, scaled[..., 1], scaled[..., 0])
    v = 1.0 - torch.where(face < 4, scaled[..., 2], scaled[..., 1])
    around = torch.atan2(local[..., 1], local[..., 0]).abs() * (1 / torch.pi)
    texel = _fetch(s, s.face_layers[p, face], torch.where((kind != 0) & (face < 4), around, u), v)

    def to_world(vector: Tensor) -> Tensor:
        vx, vy, vz = vector.unbind(-1)
        return torch.stack([cosine * vx - sine * vy, sine * vx + cosine * vy, vz], -1)

    normal, point = to_world(normal), to_world(local * half) + s.center[p]
    sky = 1.0 + 0.12 * normal[..., 2] + 0.06 * normal[..., 0] + 0.03 * normal[..., 1]
    light = s.ambient * sky[..., None] + s.emission[p][..., None]
    for position, colour, gain in zip(s.light_position, s.light_colour, s.light_gain.unbind(1)):
        offset = position - point
        square = (offset * offset).sum(-1)
        facing = (offset * normal).sum(-1) / (square + 1e-6).sqrt()
        light = light + (gain[p] * facing.clamp(min=0) / (1.0 + square * 0.09))[..., None] * colour
    return (light * texel).clamp(max=1.0)


def _face_and_normal(local: Tensor, kind: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Face number (-x +x -y +y -z +z; 0 for round surfaces) and unit normal, in the primitive's turned frame."""
    size = local.abs()
    box_axis = torch.where(
        (size[..., 0] >= size[..., 1]) & (size[..., 0] >= size[..., 2]),
        0,
        torch.where(size[..., 1] >= size[..., 2], 1, 2),
    )
    on_cap = (kind == 1) & (size[..., 2] > local[..., :2].square().sum(-1).sqrt())
    axis = torch.where(on_cap, 2, box_axis)
    flat = (kind == 0) | on_cap
    positive = torch.gather(local, -1, axis[..., None])[..., 0] > 0
    sign = torch.where(positive, 1.0, -1.0)
    flat_normal = torch.stack([torch.where(axis == k, sign, 0.0) for k in range(3)], -1)
    round_normal = local / half
    round_normal = torch.cat([round_normal[..., :2], torch.where(kind == 2, round_normal[..., 2], 0.0)[..., None]], -1)
    length = round_normal.square().sum(-1, keepdim=True).sqrt()
    return torch.where(flat, 2 * axis + positive, 0), torch.where(flat[..., None], flat_normal, round_normal / length)


def _fetch(primitives, layer: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Bilinear texture lookup with mirrored borders."""
    offset, height, width = primitives.layers[layer].unbind(-1)
    u, v = ((w - 2.0 * torch.floor(w * 0.5 + 0.5)).abs() for w in (u, v))
    x = torch.minimum((u * width - 0.5).clamp(min=0), width - 1.0)
    y = torch.minimum((v * height - 0.5).clamp(min=0), height - 1.0)
    x0, y0 = x.int(), y.int()
    x1, y1 = torch.minimum(x0 + 1, width - 1), torch.minimum(y0 + 1, height - 1)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    corners = [primitives.texels[offset + row * width + column] for row in (y0, y1) for column in (x0, x1)]
    top = corners[0] + a * (corners[1] - corners[0])
    bottom = corners[2] + a * (corners[3] - corners[2])
    return top + b * (bottom - top)

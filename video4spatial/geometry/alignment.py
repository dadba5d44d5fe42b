"""Cameras and depth of a video made to fit its pictures: all frames are warped onto each other through their depth until they agree.

Dense bundle adjustment of small pictures, coarse to fine (as in direct sparse odometry, Engel et al., TPAMI 2018, over all pairs of a
graph at once). Unknown are the motion of every frame, a smooth correction of its log depth, and the depth of every pixel, which is
believed as far as an estimator of depth can be. Taken as they are, errors of depth would make every shift too short and the turn
beside it too long, frame after frame: regression with errors in its variables.

Small and smooth pictures, in which there is no feature to be found, suit it. It needs cameras that are off by no more than a few
pixels, or places that were matched, to start from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid, matrices_from_vectors
from video4spatial.geometry import alignment_kernels
from video4spatial.geometry.pose_graph import MeasuredMotions, motion_equations

KNOTS = 4
"""Rows and columns of the grid on which a frame's smooth correction of log depth is given; bilinear between."""

LONGEST_STEP = (0.1, 0.3, 0.2)
"""Radians, units of length, and log depth by which one step moves things at most: far from the solution it may point astray."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How pictures are aligned.

    Args:
        sides: pixels of the longer side, from coarse to fine.
        iterations: at each of them.
        points: places along the longer side at which pictures are compared, at most. Finer pictures say better where things are, and more
            places in them little more.
        smooth_spread: deviation of the smooth error of the estimator's log depth.
        pixel_spread: deviation of the error of single pixels beside it.
        hidden: difference of log depth beyond which a point counts less and less, as hidden by another.
        noise: deviation of pictures (from 0 to 1) that is to be expected at least.
        damping: share of the curvature by which steps are kept short. More than this and long valleys are never walked to their end.
    """

    sides: tuple[int, ...] = (16, 32, 64)
    iterations: tuple[int, ...] = (8, 12, 8)
    points: int = 64
    smooth_spread: float = 0.2
    pixel_spread: float = 0.2
    hidden: float = 0.4
    noise: float = 0.01
    damping: float = 1e-7


@dataclass(frozen=True)
class Alignment:
    """What came out.

    Args:
        cameras: N cameras; the fixed one stays where it was.
        log_depth: [N, h, w] float32 as corrected, at the places that were compared last.
        misfit: [N, N] median difference of the pictures of each pair, in shares of their contrast; NaN where they are no pair.
        overlap: [N, N] share of the first picture that was found in the second.
    """

    cameras: Cameras
    log_depth: np.ndarray
    misfit: np.ndarray
    overlap: np.ndarray


def align_pictures(
    frames: np.ndarray,
    cameras: Cameras,
    depth: np.ndarray,
    pairs: np.ndarray,
    fixed: int = 0,
    motions: MeasuredMotions | None = None,
    settings: AlignmentSettings = AlignmentSettings(),
) -> Alignment:
    """Cameras under which pictures, warped through their depth, agree best.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: N cameras to start from, in the unit of the depth.
        depth: [N, h, w] along the optical axis, all known.
        pairs: [E, 2] of frames that overlap; each is used both ways.
        fixed: frame whose camera stays.
        motions: what is known of motions between frames beside the pictures, which decides where pictures say little.
        settings: how.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    log_depth = torch.from_numpy(np.asarray(depth, dtype=np.float32)).clamp(min=1e-3).log()[:, None]
    state = _State(cameras.camera_to_world.clone(), np.zeros((len(frames), KNOTS**2)), np.zeros((len(frames), 0)))
    with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), os.cpu_count() or 1))) as pool:
        for side, iterations in zip(settings.sides, settings.iterations, strict=True):
            level = _Level(pictures, log_depth, cameras.intrinsics, side, both, settings)
            state = state.with_pixels(level)
            for _ in range(iterations):
                level.correct_depth(state)
                state = _stepped(level, state, fixed, motions, settings, pool.map)
        level.correct_depth(state)
        misfit, overlap = level.fit(state)
    found = Cameras(state.poses, cameras.intrinsics, metric=cameras.metric, times=cameras.times, convention=cameras.convention)
    return Alignment(found, level.depth_maps(state), misfit, overlap)


@dataclass(frozen=True)
class _State:
    """Poses [N, 4, 4], knots [N, K] and pixels [N, P] of log depth."""

    poses: Tensor
    knots: np.ndarray
    pixels: np.ndarray

    def with_pixels(self, level: _Level) -> _State:
        """The same for the pixels of another level, of which nothing is known yet."""
        return _State(self.poses, self.knots, np.zeros(level.log_depth.shape))


class _Level:
    """Pictures at one size, and what is believed of the depth of the P pixels that are compared.

    Args:
        pictures: [N, 3, H, W] from 0 to 1.
        log_depth: [N, 1, h, w] as estimated.
        lenses: [N, 3, 3] normalised.
        side: pixels of the longer side.
        pairs: [E, 2] first and second frame, in both orders.
        settings: how pictures are compared.
    """

    def __init__(
        self, pictures: Tensor, log_depth: Tensor, lenses: Tensor, side: int, pairs: np.ndarray, settings: AlignmentSettings
    ):
        scale = side / max(pictures.shape[-2:])
        height, width = (max(4, round(length * scale)) for length in pictures.shape[-2:])
        step = max(1, round(side / settings.points))
        every = slice(step // 2, None, step)
        columns, rows = ((torch.arange(length)[every] + 0.5) / length for length in (width, height))
        centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)
        small = F.interpolate(pictures, (height, width), mode="bilinear", antialias=True, align_corners=False)
        depth = F.interpolate(log_depth, (height, width), mode="bilinear", align_corners=False)
        padded = F.pad(small, (1, 1, 1, 1), mode="replicate")
        across, down = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        self.maps = torch.cat([small, across, down, depth], dim=1).permute(0, 2, 3, 1).contiguous().numpy()  # [N, h, w, 10]
        self.values = small[..., every, every].flatten(2).mT.contiguous().numpy()  # [N, P, 3]
        self.log_depth = depth[..., every, every].flatten(1).double().numpy()
        self.rays = (F.pad(centres.double(), (0, 1), value=1.0) @ torch.linalg.inv(lenses).mT).numpy()  # [N, P, 3]
        self.spread = _knot_weights(centres).double().numpy()  # [P, K]
        self.neighbours = [pairs[pairs[:, 0] == frame, 1] for frame in range(len(pictures))]
        in_pixels = lenses.numpy() * np.array([width, height, 1.0])[:, None]
        self.lenses = np.ascontiguousarray(in_pixels[:, [0, 1, 0, 1], [0, 1, 2, 2]])  # [N, 4]
        self.size, self.grid, self.settings = (height, width), (len(rows), len(columns)), settings

    def projected(self, state: _State, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Depth [P] of a frame's pixels, the motions [E, 3, 4] to its neighbours, and the pixels' places and inverse depth there."""
        depth = np.exp(self.log_depth[frame] + self.spread @ state.knots[frame] + state.pixels[frame])
        others = self.neighbours[frame]
        motions = (invert_rigid(state.poses[others]) @ state.poses[frame])[:, :3].numpy()
        flat, inverse = np.empty((len(others), len(depth), 2)), np.empty((len(others), len(depth)))
        alignment_kernels.project(self.rays[frame], depth, motions, flat, inverse)
        return depth, motions, flat, inverse

    def correct_depth(self, state: _State) -> None:
        """Let the depth that hides what is behind it be that of the state."""
        height, width = self.size
        maps = self.depth_maps(state)
        self.maps[..., -1] = maps if self.grid == self.size else [cv2.resize(depth, (width, height)) for depth in maps]

    def depth_maps(self, state: _State) -> np.ndarray:
        """Log depth of the places that are compared [N, h, w] float32."""
        corrected = self.log_depth + state.knots @ self.spread.T + state.pixels
        return corrected.reshape(len(corrected), *self.grid).astype(np.float32)

    def compared(self, frame: int, flat: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stiffness [E, P, 3] and force [E, P, 2] by which the pictures hold the places of a frame's pixels."""
        looked, weight, means, sizes, medians = self._differences(frame, flat, inverse)
        stiffness, force = np.empty((*inverse.shape, 3), np.float32), np.empty((*inverse.shape, 2), np.float32)
        scales = 2 * np.maximum(medians, self.settings.noise)
        lenses = self.lenses[self.neighbours[frame]]
        alignment_kernels.hold(looked, self.values[frame], weight, means, sizes, scales, lenses, stiffness, force)
        return stiffness, force

    def _differences(self, frame: int, flat: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, ...]:
        """What is looked up for a frame's pixels [E, P, 9], how much they count [E, P], and how far they are from the frame: means
        [E, 3], mean squares about them [E, P], and medians of their roots [E]."""
        others = self.neighbours[frame]
        looked, weight = np.empty((*inverse.shape, 9), np.float32), np.empty(inverse.shape, np.float32)
        alignment_kernels.look_up(
            self.maps, others, self.lenses[others], flat, inverse, self.settings.hidden, looked, weight
        )
        means, sizes = np.empty((len(others), 3)), np.empty(inverse.shape, np.float32)
        alignment_kernels.compare(looked, self.values[frame], weight, means, sizes)
        step = 1 if inverse.shape[1] < 2000 else 3  # a share of many pixels tells the median as well
        medians = [
            math.sqrt(np.median(row[kept])) if kept.any() else 1.0
            for row, kept in zip(sizes[:, ::step], weight[:, ::step] > 0.1, strict=True)
        ]
        return looked, weight, means, sizes, np.array(medians)

    def fit(self, state: _State) -> tuple[np.ndarray, np.ndarray]:
        """How well the pictures of pairs fit: `misfit` and `overlap` of an `Alignment`."""
        count = len(self.values)
        misfit, overlap = np.full((count, count), np.nan), np.zeros((count, count))
        for frame, others in enumerate(self.neighbours):
            _, _, flat, inverse = self.projected(state, frame)
            _, weight, _, _, medians = self._differences(frame, flat, inverse)
            own, total = self.values[frame], np.maximum(weight.sum(1), 1)[:, None]
            mean = weight @ own / total
            contrast = np.sqrt(np.maximum(weight @ (own**2) / total - mean**2, 0).mean(-1))
            misfit[frame, others] = medians / np.maximum(contrast, self.settings.noise)
            overlap[frame, others] = weight.mean(1)
        return misfit, overlap


@dataclass(frozen=True)
class _Told:
    """What the pixels of one frame say, their depths eliminated, since each stands in the equations of its own frame alone (Schur
    complement).

    Args:
        place: [S] which of all unknowns (6 N motions, then N K knots) it is about.
        matrix, right: [S, S] and [S].
        mixed: [P, S] how the pixels' log depth depends on them; curvature, pull: [P].
    """

    place: np.ndarray
    matrix: np.ndarray
    right: np.ndarray
    mixed: np.ndarray
    curvature: np.ndarray
    pull: np.ndarray


def _told(level: _Level, state: _State, frame: int, settings: AlignmentSettings) -> _Told:
    """What a frame's pixels say of the motions of its neighbours, of its own, and of its knots."""
    depth, motions, flat, inverse = level.projected(state, frame)
    stiffness, force = level.compared(frame, flat, inverse)
    others, count, inner = level.neighbours[frame], len(state.poses), KNOTS**2
    edges = len(others)
    curvature, pull, mixed = np.zeros((edges, 6, 6)), np.zeros((edges, 6)), np.empty((edges, 6, len(depth)))
    deep, deep_pull = np.zeros(len(depth)), np.zeros(len(depth))
    alignment_kernels.accumulate(
        level.rays[frame], depth, motions, flat, inverse, stiffness, force, curvature, pull, mixed, deep, deep_pull
    )
    # A motion of the frame itself is the opposite one of all the others, in their axes.
    carried = _carried(motions)
    size = 6 * edges + 6 + inner
    own, knots = slice(6 * edges, 6 * edges + 6), slice(6 * edges + 6, size)
    matrix, right, columns = np.zeros((size, size)), np.zeros(size), np.zeros((size, len(depth)))
    for edge in range(edges):
        there, back = slice(6 * edge, 6 * edge + 6), curvature[edge] @ carried[edge]
        matrix[there, there], matrix[there, own], matrix[own, there] = curvature[edge], -back, -back.T
        matrix[own, own] += carried[edge].T @ back
        right[there], columns[there] = pull[edge], mixed[edge]
        right[own] -= carried[edge].T @ pull[edge]
        columns[own] -= carried[edge].T @ mixed[edge]
    # The knots move all pixels of the frame.
    spread = level.spread
    matrix[: knots.start, knots] = columns[: knots.start] @ spread
    matrix[knots, : knots.start] = matrix[: knots.start, knots].T
    matrix[knots, knots] = spread.T @ (spread * deep[:, None])
    right[knots], columns[knots] = spread.T @ deep_pull, (spread * deep[:, None]).T
    belief = 1 / settings.pixel_spread**2
    deep, deep_pull = deep + belief, deep_pull + belief * state.pixels[frame]
    root = deep**-0.5
    scaled = columns * root
    motions_place = (6 * np.concatenate([others, [frame]])[:, None] + np.arange(6)).ravel()
    place = np.concatenate([motions_place, 6 * count + inner * frame + np.arange(inner)])
    return _Told(place, matrix - scaled @ scaled.T, right - scaled @ (root * deep_pull), columns.T, deep, deep_pull)


def _stepped(
    level: _Level, state: _State, fixed: int, motions: MeasuredMotions | None, settings: AlignmentSettings, each: Callable
) -> _State:
    """The state after one step of Gauss and Newton over all frames, whose equations `each` collects."""
    count, inner = len(state.poses), KNOTS**2
    told = list(each(lambda frame: _told(level, state, frame, settings), range(count)))
    matrix, right = np.zeros(((6 + inner) * count,) * 2), np.zeros((6 + inner) * count)
    for one in told:
        matrix[np.ix_(one.place, one.place)] += one.matrix
        right[one.place] += one.right
    if motions is not None:
        curvature, pull = motion_equations(motions, state.poses)
        matrix[: 6 * count, : 6 * count] += curvature.numpy()
        right[: 6 * count] += pull.numpy()
    diagonal = np.einsum("ii->i", matrix)
    diagonal[6 * count :] += 1 / settings.smooth_spread**2
    right[6 * count :] += state.knots.ravel() / settings.smooth_spread**2
    diagonal += settings.damping * diagonal + 1e-6
    kept = np.ones(len(right), bool)
    kept[6 * fixed : 6 * fixed + 6] = False
    step = np.zeros(len(right))
    step[kept] = -np.linalg.solve(matrix[np.ix_(kept, kept)], right[kept])
    pixels = np.stack([-(one.pull + one.mixed @ step[one.place]) / one.curvature for one in told])
    turn, shift, deeper = LONGEST_STEP
    moves = torch.from_numpy(step[: 6 * count].reshape(count, 6))
    poses = state.poses.clone()
    poses[:, :3, 3] += (poses[:, :3, :3] @ moves[:, 3:, None].clamp(-shift, shift))[..., 0]
    poses[:, :3, :3] = poses[:, :3, :3] @ matrices_from_vectors(moves[:, :3].clamp(-turn, turn))
    knots = step[6 * count :].reshape(count, inner)
    return _State(poses, state.knots + knots.clip(-deeper, deeper), state.pixels + pixels.clip(-deeper, deeper))


def _carried(motions: np.ndarray) -> np.ndarray:
    """What a motion (turn, shift) of the first camera in its own axes is in those of the others: [E, 6, 6] (the adjoint)."""
    turn, (x, y, z) = motions[:, :, :3], motions[:, :, 3].T
    zero = np.zeros_like(x)
    across = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(-1, 3, 3)
    return np.concatenate([np.concatenate([turn, np.zeros_like(turn)], 2), np.concatenate([across @ turn, turn], 2)], 1)


def _knot_weights(centres: Tensor) -> Tensor:
    """Bilinear weights [P, K] of the knots at places [P, 2] of a picture."""
    along = (centres * (KNOTS - 1)).clamp(0, KNOTS - 1)
    hats = (1 - (along[:, None] - torch.arange(KNOTS)[:, None]).abs()).clamp(min=0)  # [P, KNOTS, 2]
    return (hats[:, :, None, 1] * hats[:, None, :, 0]).flatten(1)

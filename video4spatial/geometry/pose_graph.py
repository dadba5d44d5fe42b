"""Cameras in metres from motions between pairs of frames, each of which says how far it may be off: one robust graph of poses.

Rotations come first, since they do not depend on positions, then positions, then both together on SE(3). Pairs that contradict the
others lose their weight (Geman and McClure).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from torch import Tensor

from video4spatial.cameras.rotations import matrices_from_vectors, quaternions_from_matrices

GAPS = (1, 2, 4, 8)
"""Frames between the two of a pair."""

ALIKE = 2
"""Further frames that each frame is paired with because they look like it."""

MOST_TURN_ERROR = np.radians(20.0)
"""Pairs whose turn is to be expected to be off by more than this say nothing."""

CONTRADICTION = 3.0
"""Errors beyond so many times the expected one count less and less."""


@dataclass(frozen=True)
class MeasuredMotions:
    """Motions between pairs of frames.

    Args:
        pairs: [P, 2].
        rotation: [P, 3, 3] float64, second camera to first.
        translation: [P, 3] metres, the second camera in the axes of the first.
        rotation_error: [P] radians, to be expected.
        translation_error: [P] metres, to be expected.
    """

    pairs: np.ndarray
    rotation: Tensor
    translation: Tensor
    rotation_error: Tensor
    translation_error: Tensor

    def __getitem__(self, chosen: np.ndarray) -> MeasuredMotions:
        """Those of some of the pairs, given as indices or as a mask."""
        index = torch.from_numpy(np.asarray(chosen))
        values = (self.rotation, self.translation, self.rotation_error, self.translation_error)
        return MeasuredMotions(self.pairs[chosen], *(value[index] for value in values))

    @classmethod
    def concatenate(cls, parts: Sequence[MeasuredMotions]) -> MeasuredMotions:
        """All motions of several."""
        names = ("rotation", "translation", "rotation_error", "translation_error")
        return cls(np.concatenate([part.pairs for part in parts]), *(torch.cat([getattr(part, name) for part in parts]) for name in names))


class MotionEstimator(Protocol):
    """What reads motions in metres from pairs of pictures.

    Attributes:
        name: in words, for reports.
        licence: of its weights, in words.
    """

    name: str
    licence: str

    def likeness(self, frames: np.ndarray, intrinsics: Tensor) -> np.ndarray:
        """How much of each frame is surely found in each other one: [N, N] from 0 to 1.

        Args:
            frames: [N, H, W, 3] uint8.
            intrinsics: [N, 3, 3] normalised.
        """
        ...

    def __call__(self, frames: np.ndarray, intrinsics: Tensor, pairs: np.ndarray) -> MeasuredMotions:
        """Motions between frames.

        Args:
            frames: [N, H, W, 3] uint8.
            intrinsics: [N, 3, 3] normalised.
            pairs: [P, 2].
        """
        ...


@dataclass(frozen=True)
class PoseGraph:
    """Poses that fit motions.

    Args:
        poses: camera_to_world [N, 4, 4]; the anchor's is the identity. Those of frames outside of `members` mean nothing.
        members: [N] bool: frames that pairs connect with the anchor.
        agreement: [N] largest weight from 0 to 1 of a frame's pairs once all fit: low where its pairs contradict the rest.
    """

    poses: Tensor
    members: np.ndarray
    agreement: np.ndarray


def chosen_pairs(count: int, likeness: np.ndarray, least: float = 0.3) -> np.ndarray:
    """Pairs [P, 2] of frames at `GAPS`, and of those that look most alike.

    Args:
        count: of frames.
        likeness: [N, N] from 0 to 1.
        least: likeness of the latter.
    """
    pairs = {(index - gap, index) for gap in GAPS for index in range(gap, count)}
    for index in range(count):
        apart = np.where(np.abs(np.arange(count) - index) > GAPS[-1] // 2, likeness[index], 0.0)
        pairs |= {tuple(sorted((index, int(other)))) for other in np.argsort(-apart)[:ALIKE] if apart[other] >= least}
    return np.array(sorted(pairs)).reshape(-1, 2)


def solve_pose_graph(motions: MeasuredMotions, count: int, anchor: int | None = None) -> PoseGraph:
    """Poses of all frames that motions connect with the anchor.

    Args:
        motions: of pairs of frames.
        count: N frames.
        anchor: frame whose pose is the identity; None, or a frame that no pair connects with any other, takes the first of the largest
            group.
    """
    motions = motions[(motions.rotation_error < MOST_TURN_ERROR).numpy()]
    _, groups = connected_components(_graph(motions, count), directed=False)
    sizes = np.bincount(groups)[groups]
    if anchor is None or (sizes[anchor] == 1 and count > 1):
        anchor = int(np.argmax(sizes))
    members = groups == groups[anchor]
    place = np.full(count, -1)
    place[members] = np.arange(members.sum())
    inside = motions[members[motions.pairs[:, 0]]] if len(motions.pairs) else motions
    first, second = (torch.from_numpy(place[inside.pairs[:, side]]) for side in (0, 1))
    rotations, positions = _spanned(inside, place, int(members.sum()), int(place[anchor]))
    problem = _Problem(inside, first, second, int(place[anchor]))
    for _ in range(15):
        rotations = problem.turned(rotations)
    for _ in range(15):
        positions = problem.shifted(rotations, positions)
    for _ in range(15):
        rotations, positions = problem.moved(rotations, positions)
    turn_weight, shift_weight = problem.weights(rotations, positions)
    agreement = np.zeros(count)
    for pair, weight in zip(inside.pairs, torch.minimum(turn_weight, shift_weight).tolist(), strict=True):
        agreement[pair] = np.maximum(agreement[pair], weight)
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    index = torch.from_numpy(np.flatnonzero(members))
    poses[index, :3, :3], poses[index, :3, 3] = rotations, positions
    return PoseGraph(poses, members, agreement)


def _graph(motions: MeasuredMotions, count: int) -> coo_matrix:
    return coo_matrix((motions.rotation_error.numpy(), motions.pairs.T), shape=(count, count))


def _spanned(motions: MeasuredMotions, place: np.ndarray, count: int, anchor: int) -> tuple[Tensor, Tensor]:
    """Rotations and positions along the tree of the surest pairs: [M, 3, 3] and [M, 3]."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    positions = torch.zeros(count, 3, dtype=torch.float64)
    best = {}
    for number, (pair, error) in enumerate(zip(motions.pairs, motions.rotation_error.tolist(), strict=True)):
        ends = tuple(int(place[frame]) for frame in pair)
        key = tuple(sorted(ends))
        if key not in best or error < best[key][0]:
            best[key] = (error, number, ends)
    if not best:
        return rotations, positions
    rows, columns = zip(*best, strict=True)
    tree = minimum_spanning_tree(coo_matrix(([value[0] for value in best.values()], (rows, columns)), shape=(count, count)))
    neighbours: dict[int, list] = {index: [] for index in range(count)}
    for row, column in zip(*tree.nonzero(), strict=True):
        _, number, (first, second) = best[min(row, column), max(row, column)]
        neighbours[first].append((second, number, True)), neighbours[second].append((first, number, False))
    reached, waiting = {anchor}, [anchor]
    while waiting:
        here = waiting.pop()
        for there, number, forward in neighbours[here]:
            if there in reached:
                continue
            turn, shift = motions.rotation[number], motions.translation[number]
            if not forward:
                turn, shift = turn.T, -(turn.T @ shift)
            rotations[there] = rotations[here] @ turn
            positions[there] = positions[here] + rotations[here] @ shift
            reached.add(there), waiting.append(there)
    return rotations, positions


@dataclass(frozen=True)
class _Problem:
    """Motions between M cameras by their places [P] among them, and which camera stays."""

    motions: MeasuredMotions
    first: Tensor
    second: Tensor
    anchor: int

    def weights(self, rotations: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """How much turns and shifts [P] count, from 0 to 1."""
        turn, shift = self._turn_misfit(rotations), self._shift_misfit(rotations, positions)[0]
        limits = CONTRADICTION * self.motions.rotation_error, CONTRADICTION * self.motions.translation_error
        return tuple(1 / (1 + (misfit.square().sum(-1) / limit**2)) ** 2 for misfit, limit in zip((turn, shift), limits, strict=True))

    def _turn_misfit(self, rotations: Tensor) -> Tensor:
        expected = rotations[self.first].mT @ rotations[self.second]
        return rotation_vectors(self.motions.rotation.mT @ expected)

    def _shift_misfit(self, rotations: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Misfits [P, 3] in the axes of the first cameras, and the expected shifts."""
        expected = (rotations[self.first].mT @ (positions[self.second] - positions[self.first])[..., None])[..., 0]
        return expected - self.motions.translation, expected

    def turned(self, rotations: Tensor) -> Tensor:
        """Rotations after one reweighted step of Gauss and Newton on turns alone."""
        misfit = self._turn_misfit(rotations)
        limit = CONTRADICTION * self.motions.rotation_error
        weight = 1 / (1 + misfit.square().sum(-1) / limit**2) ** 2 / self.motions.rotation_error**2
        back = rotations[self.second].mT @ rotations[self.first]
        step = self._solved(-back, torch.eye(3, dtype=torch.float64).expand_as(back), misfit, weight, len(rotations))
        return rotations @ matrices_from_vectors(step)

    def shifted(self, rotations: Tensor, positions: Tensor) -> Tensor:
        """Positions after one reweighted least-squares solution for given rotations."""
        misfit, _ = self._shift_misfit(rotations, positions)
        limit = CONTRADICTION * self.motions.translation_error
        weight = 1 / (1 + misfit.square().sum(-1) / limit**2) ** 2 / self.motions.translation_error**2
        to_first = rotations[self.first].mT
        return positions + self._solved(-to_first, to_first, misfit, weight, len(positions))

    def moved(self, rotations: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Both after one reweighted step on SE(3), in the cameras' own axes."""
        own, other, misfit, weight = self.slopes(rotations, positions)
        step = self._solved(own, other, misfit, weight, len(rotations))
        shift = (rotations @ step[:, 3:, None])[..., 0]
        return rotations @ matrices_from_vectors(step[:, :3]), positions + shift

    def slopes(self, rotations: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """How misfits depend on turn and shift of the first and of the second cameras [P, 6, 6], the misfits and their weights [P, 6]."""
        turn = self._turn_misfit(rotations)
        shift, expected = self._shift_misfit(rotations, positions)
        weights = self.weights(rotations, positions)
        scales = weights[0] / self.motions.rotation_error**2, weights[1] / self.motions.translation_error**2
        between = rotations[self.first].mT @ rotations[self.second]
        zero, eye = torch.zeros_like(between), torch.eye(3, dtype=torch.float64).expand_as(between)
        own = torch.cat([torch.cat([-between.mT, zero], 2), torch.cat([_cross(expected), -eye], 2)], 1)
        other = torch.cat([torch.cat([eye, zero], 2), torch.cat([zero, between], 2)], 1)
        weight = torch.cat([scales[0][:, None].expand(-1, 3), scales[1][:, None].expand(-1, 3)], 1)
        return own, other, torch.cat([turn, shift], 1), weight

    def _solved(self, own: Tensor, other: Tensor, misfit: Tensor, weight: Tensor, count: int) -> Tensor:
        """Least-squares step [M, D] for misfits [P, D] that depend on their first camera by [P, D, D] and on their second."""
        size = own.shape[-1]
        weight = weight if weight.ndim == 2 else weight[:, None].expand(-1, size)
        matrix, right = _normal_equations(self.first, self.second, own, other, misfit, weight, count)
        diagonal = matrix.diagonal()
        diagonal += 1e-6 * diagonal + 1e-9
        kept = torch.ones(count * size, dtype=torch.bool)
        kept[self.anchor * size : (self.anchor + 1) * size] = False
        step = torch.zeros(count * size, dtype=torch.float64)
        if kept.any():
            step[kept] = -torch.linalg.solve(matrix[kept][:, kept], right[kept])
        return step.view(count, size)


def motion_equations(motions: MeasuredMotions, poses: Tensor) -> tuple[Tensor, Tensor]:
    """What measured motions say of poses: half the curvature and half the slope of their robust cost.

    Args:
        motions: of P pairs of N cameras.
        poses: camera_to_world [N, 4, 4].

    Returns:
        [6 N, 6 N] and [6 N], in turn and shift of every camera in its own axes.
    """
    first, second = torch.from_numpy(motions.pairs.astype(np.int64)).unbind(1)
    slopes = _Problem(motions, first, second, 0).slopes(poses[:, :3, :3], poses[:, :3, 3])
    return _normal_equations(first, second, *slopes, len(poses))


def _normal_equations(
    first: Tensor, second: Tensor, own: Tensor, other: Tensor, misfit: Tensor, weight: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Matrix [M D, M D] and right side [M D] for weighted misfits [P, D] of pairs."""
    size = own.shape[-1]
    matrix = torch.zeros(count, count, size, size, dtype=torch.float64)
    right = torch.zeros(count, size, dtype=torch.float64)
    ends = ((first, own), (second, other))
    for one, slope in ends:
        right.index_add_(0, one, (slope.mT @ (weight * misfit)[..., None])[..., 0])
        for two, other_slope in ends:
            matrix.index_put_((one, two), slope.mT @ (weight[..., None] * other_slope), accumulate=True)
    return matrix.transpose(1, 2).reshape(count * size, count * size), right.flatten()


def rotation_vectors(rotations: Tensor) -> Tensor:
    """Axis times angle [..., 3] of rotations [..., 3, 3], the inverse of `matrices_from_vectors`."""
    quaternions = quaternions_from_matrices(rotations)  # w >= 0
    axis = quaternions[..., 1:]
    sine = torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternions[..., :1])
    return axis * torch.where(sine > 1e-9, angle / sine.clamp(min=1e-9), torch.full_like(sine, 2.0))


def _cross(vectors: Tensor) -> Tensor:
    """Matrices [..., 3, 3] of the cross product with vectors [..., 3]."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))

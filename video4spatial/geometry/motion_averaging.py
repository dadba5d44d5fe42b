"""The path of a camera from the motions between pairs of frames (motion averaging); it needs neither context nor depth.

Each pair gives a rotation and the direction of a motion. All rotations come from averaging over pairs of several gaps.
Lengths of motions are tied together by points that two pairs share: each pair gives their depth in units of its own
motion, so that the ratio of depths is the ratio of motions (Cui and Tan, ICCV 2015). Where the chain breaks, positions
stay unknown, never guessed.
"""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.features import find_features
from video4spatial.geometry.two_views import FEWEST_INLIERS, PairMotion, pair_motion

SIDE = 512
"""Pixels. Frames are enlarged further than in `pnp`, which has a whole context to get through."""

GAPS = (1, 2, 4, 8)
"""Frames between the two of a pair; every frame is also paired with the anchor if at most `ANCHOR_REACH` away."""

ANCHOR_REACH = 16

ERROR_SHARE = 1 / 512
"""Inliers lie within this share of the longer side from their epipolar lines, but at least `LEAST_ERROR` pixels."""

LEAST_ERROR = 0.2

FEWEST_SHARED = 6
"""Points that two pairs must share for their lengths to be compared."""


def cameras_by_pairs(frames: np.ndarray, intrinsics: Tensor, anchor: Cameras) -> EstimatedCameras:
    """Rotations by averaging, positions where lengths can be chained.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised.
        anchor: camera of frame 0 (T = 1).

    Returns:
        Cameras of unknown scale; the confidence is the inliers of a frame's best pair.

    Raises:
        GeometryError: where no two frames agree on a motion.
    """
    motions = _pair_motions(frames, intrinsics.numpy())
    if not motions:
        raise GeometryError(f"no two frames have {FEWEST_INLIERS} matches that agree on a motion")
    rotations = _averaged_rotations(motions, len(frames))
    positions = _chained_positions(motions, rotations)
    poses, without_position = {}, {}
    for index, rotation in rotations.items():
        local = np.eye(4)
        local[:3, :3] = rotation
        if index in positions:
            local[:3, 3] = positions[index]
        elif index > 0:
            without_position[index] = "no chain of motions with a length leads to the frame"
        poses[index] = anchor.camera_to_world[0] @ torch.from_numpy(local)
    confidence = {
        index: float(max((len(motion.inliers) for pair, motion in motions.items() if index in pair), default=0))
        for index in rotations
    }
    return EstimatedCameras.from_poses(
        poses, intrinsics, anchor, metric=False, confidence=confidence, without_position=without_position,
        reasons="no chain of matching frames leads from the anchor to the frame",
        convention="estimated by essential matrices",
    )  # fmt: skip


def _pair_motions(frames: np.ndarray, intrinsics: np.ndarray) -> dict[tuple[int, int], PairMotion]:
    """Motions by pair (first, second) of those pairs that agree on one; intrinsics [T, 3, 3] normalised."""
    count, height, width = frames.shape[:3]
    intrinsics = intrinsics * np.array([width, height, 1.0])[:, None]
    error = max(LEAST_ERROR, ERROR_SHARE * max(height, width))
    features = [find_features(frame, SIDE) for frame in frames]
    pairs = {(index - gap, index) for gap in GAPS for index in range(gap, count)}
    pairs |= {(0, index) for index in range(1, min(ANCHOR_REACH + 1, count))}
    motions = {
        (first, second): pair_motion(features[first], features[second], intrinsics[first], intrinsics[second], error)
        for first, second in sorted(pairs)
    }
    return {pair: motion for pair, motion in motions.items() if motion is not None}


def _averaged_rotations(motions: dict[tuple[int, int], PairMotion], count: int) -> dict[int, np.ndarray]:
    """Rotations to frame 0 of all frames that pairs connect with it.

    The eigenvectors of the matrix of relative rotations (Arie-Nachimson et al., 3DPVT 2012), weighted by inliers; then
    once more with pairs that do not fit weighing less.
    """
    edges = np.array(list(motions))
    _, parts = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)), directed=False)
    members = np.flatnonzero(parts == parts[0])
    place = {int(frame): number for number, frame in enumerate(members)}
    motions = {pair: motion for pair, motion in motions.items() if pair[0] in place}
    residual = {pair: 0.0 for pair in motions}
    absolute = np.tile(np.eye(3), (len(members), 1, 1))
    for _ in range(3 if motions else 0):
        matrix = np.zeros((len(members), 3, len(members), 3))
        degree = np.zeros(len(members))
        for (first, second), motion in motions.items():
            weight = np.sqrt(len(motion.inliers)) / (1 + (residual[first, second] / np.radians(1.0)) ** 2)
            i, j = place[first], place[second]
            matrix[i, :, j], matrix[j, :, i] = weight * motion.rotation, weight * motion.rotation.T
            degree[[i, j]] += weight
        scale = 1 / np.sqrt(degree)
        matrix = matrix * scale[:, None, None, None] * scale[None, None, :, None]
        _, vectors = np.linalg.eigh(matrix.reshape(3 * len(members), -1))
        blocks = vectors[:, -3:].reshape(len(members), 3, 3)
        blocks = blocks * np.sign(np.linalg.det(blocks[0]))
        # A block is the rotation world-to-camera up to one common factor; made relative to the first, camera-to-first.
        absolute = nearest_rotation(torch.from_numpy(blocks)).numpy()
        absolute = absolute[0] @ absolute.transpose(0, 2, 1)
        for (first, second), motion in motions.items():
            expected = absolute[place[first]].T @ absolute[place[second]]
            residual[first, second] = Rotation.from_matrix(expected.T @ motion.rotation).magnitude()
    return {frame: absolute[number] for frame, number in place.items()}


def _chained_positions(
    motions: dict[tuple[int, int], PairMotion], rotations: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """Positions in the axes of frame 0 and in one unknown unit, of the frames that can be reached from it."""
    moving = {pair: m for pair, m in motions.items() if m.direction is not None and pair[0] in rotations}
    lengths = _lengths(moving)
    reached = {0}
    chosen = [pair for pair in moving if pair in lengths]
    while grown := {index for pair in chosen if set(pair) & reached for index in pair} - reached:
        reached |= grown
    chosen = [pair for pair in chosen if pair[0] in reached]
    if not chosen:
        return {0: np.zeros(3)}
    order = {index: number for number, index in enumerate(sorted(reached - {0}))}
    matrix, steps = np.zeros((len(chosen), len(order))), np.zeros((len(chosen), 3))
    for row, (first, second) in enumerate(chosen):
        motion = moving[first, second]
        steps[row] = lengths[first, second] * (rotations[first] @ motion.direction)
        matrix[row, order[second]] = 1
        if first > 0:
            matrix[row, order[first]] = -1
    weights = np.sqrt([len(moving[pair].inliers) for pair in chosen])
    for _ in range(10):  # iteratively reweighted towards the sum of distances, so that single wrong pairs do not pull
        solution = np.linalg.lstsq(matrix * weights[:, None], steps * weights[:, None], rcond=None)[0]
        misfit = np.linalg.norm(matrix @ solution - steps, axis=1)
        weights = 1 / np.sqrt(np.maximum(misfit, 0.02 * np.median(np.linalg.norm(steps, axis=1))))
    return {0: np.zeros(3)} | {index: solution[number] for index, number in order.items()}


def _lengths(motions: dict[tuple[int, int], PairMotion]) -> dict[tuple[int, int], float]:
    """Lengths of motions in one common unit, of those pairs that are tied to each other by shared points.

    Of several groups of pairs that are tied among themselves, the one that reaches most frames is kept.
    """
    names = list(motions)
    rows, columns, ratios = [], [], []
    for one in range(len(names)):
        for other in range(one + 1, len(names)):
            for frame in set(names[one]) & set(names[other]):
                ratio = _log_ratio(motions[names[one]], names[one], motions[names[other]], names[other], frame)
                if ratio is not None:
                    rows.append(one), columns.append(other), ratios.append(ratio)
    if not names:
        return {}
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(names), len(names)))
    _, groups = connected_components(graph, directed=False)
    with_anchor = {groups[number] for number, pair in enumerate(names) if 0 in pair}
    if not with_anchor:
        return {}
    group = max(sorted(with_anchor), key=lambda g: len({i for n, pair in enumerate(names) if groups[n] == g for i in pair}))
    members = np.flatnonzero(groups == group)
    place = {int(number): row for row, number in enumerate(members)}
    ties = [tie for tie in zip(rows, columns, ratios, strict=True) if tie[0] in place]
    matrix, values = np.zeros((len(ties) + 1, len(members))), np.zeros(len(ties) + 1)
    for row, (one, other, ratio) in enumerate(ties):
        matrix[row, place[one]], matrix[row, place[other]], values[row] = 1, -1, ratio
    matrix[-1, 0] = 1  # the first pair's motion is the unit
    weights = np.ones(len(values))
    for _ in range(10):
        logarithms = np.linalg.lstsq(matrix * weights[:, None], values * weights, rcond=None)[0]
        weights = 1 / np.sqrt(np.maximum(np.abs(matrix @ logarithms - values), 0.02))
    return {names[int(number)]: float(np.exp(logarithms[row])) for row, number in enumerate(members)}


def _log_ratio(
    one: PairMotion, first_pair: tuple[int, int], other: PairMotion, second_pair: tuple[int, int], frame: int
) -> float | None:
    """Logarithm of the ratio of two motions' lengths, from the depths of the points they share in a frame."""
    side, other_side = first_pair.index(frame), second_pair.index(frame)
    _, left, right = np.intersect1d(one.inliers[:, side], other.inliers[:, other_side], return_indices=True)
    ratios = np.log(other.depths[right, other_side]) - np.log(one.depths[left, side])
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) >= FEWEST_SHARED else None

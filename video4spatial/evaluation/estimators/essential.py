"""Estimator `essential`: motions between pairs of generated frames, joined to a path. It needs neither context nor depth.

Each pair gives a rotation and the direction of a motion. All rotations come from averaging over pairs of several gaps.
Lengths of motions are tied together by points that two pairs share: each pair gives their depth in units of its own
motion, so that the ratio of depths is the ratio of motions (Cui and Tan, ICCV 2015). Where the chain breaks, positions
stay unknown, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.evaluation.estimators.base import EstimationError, Evidence, assembled
from video4spatial.geometry.features import Features, find_features, match, rays
from video4spatial.evaluation.measurement import EstimatedCameras

SIDE = 512
"""Frames are enlarged further than other estimators do, which have a whole context to get through."""

GAPS = (1, 2, 4, 8)
"""Frames between the two of a pair; every frame is also paired with the anchor if at most `ANCHOR_REACH` away."""

ANCHOR_REACH = 16

FEWEST_INLIERS = 15
"""Fewer matches that agree on a motion say nothing."""

ERROR_SHARE = 1 / 512
"""Inliers lie within this share of the longer side from their epipolar lines, but at least `LEAST_ERROR` pixels."""

LEAST_ERROR = 0.2

HOMOGRAPHY_SHARE = 0.8
"""A homography that explains this share of the inliers leaves the direction of the motion open."""

TURN_SLACK = 2.0
"""A turn alone must only explain the matches this much less closely: an essential matrix fits any of them better, because
it leaves them a line to lie on."""

LEAST_PARALLAX = 1.0
"""Degrees between the two rays of a point, below which its depth says nothing."""

FEWEST_SHARED = 6
"""Points that two pairs must share for their lengths to be compared."""


@dataclass(frozen=True)
class PairMotion:
    """How the camera moved between two frames.

    Args:
        rotation: [3, 3] second camera to first.
        direction: [3] unit motion of the camera in the axes of the first, or None where it is undefined.
        inliers: [M, 2] indices of the points that agree.
        depths: [M, 2] depth of the inliers in both cameras in units of the motion, NaN where there is too little parallax;
            None without a direction.
    """

    rotation: np.ndarray
    direction: np.ndarray | None
    inliers: np.ndarray
    depths: np.ndarray | None


def estimate(evidence: Evidence) -> EstimatedCameras:
    """Rotations by averaging, positions where lengths can be chained; the confidence is the inliers of the best pair."""
    frames = evidence.frames
    height, width = frames.shape[1:3]
    size = np.array([width, height, 1.0])[:, None]
    intrinsics = evidence.intrinsics.numpy() * size
    features = [find_features(frame, SIDE) for frame in frames]
    pairs = sorted(
        {(index - gap, index) for gap in GAPS for index in range(gap, len(frames))}
        | {(0, index) for index in range(1, min(ANCHOR_REACH + 1, len(frames)))}
    )
    motions = {}
    for first, second in pairs:
        motion = pair_motion(
            features[first], features[second], intrinsics[first], intrinsics[second],
            max(LEAST_ERROR, ERROR_SHARE * max(height, width)),
        )  # fmt: skip
        if motion is not None:
            motions[first, second] = motion
    if not motions:
        raise EstimationError(f"no two frames have {FEWEST_INLIERS} matches that agree on a motion")
    rotations = _averaged_rotations(motions, len(frames))
    positions = _chained_positions(motions, rotations)
    anchor = evidence.anchor.camera_to_world[0]
    poses, without_position = {}, {}
    for index, rotation in rotations.items():
        local = np.eye(4)
        local[:3, :3] = rotation
        if index in positions:
            local[:3, 3] = positions[index]
        elif index > 0:
            without_position[index] = "no chain of motions with a length leads to the frame"
        poses[index] = anchor @ torch.from_numpy(local)
    confidence = {
        index: float(max((len(motion.inliers) for pair, motion in motions.items() if index in pair), default=0))
        for index in rotations
    }
    return assembled(
        evidence, poses, metric=False, confidence=confidence, without_position=without_position,
        reasons="no chain of matching frames leads from the anchor to the frame",
        convention="estimated by essential matrices",
    )  # fmt: skip


def pair_motion(
    first: Features, second: Features, first_intrinsics: np.ndarray, second_intrinsics: np.ndarray, error: float
) -> PairMotion | None:
    """The motion between two frames by the essential matrix (MAGSAC++, fixed seed).

    Args:
        first, second: points of the frames.
        first_intrinsics, second_intrinsics: [3, 3] in pixels.
        error: pixels within which a match agrees.

    Returns:
        The motion; without direction where a turn alone, or a homography, explains the matches; None where too few
        matches agree.
    """
    pairs = match(first, second)
    if len(pairs) < FEWEST_INLIERS:
        return None
    left = rays(first.points[pairs[:, 0]], first_intrinsics)
    right = rays(second.points[pairs[:, 1]], second_intrinsics)
    angle = error / float(np.mean([first_intrinsics[0, 0], second_intrinsics[0, 0]]))  # on the plane at depth 1
    turn, turned = _turn(left, right, TURN_SLACK * angle)
    matrix, mask = cv2.findEssentialMat(left, right, np.eye(3), cv2.USAC_MAGSAC, 0.9999, angle)
    agreed = np.zeros(len(pairs), dtype=bool)
    if matrix is not None and matrix.shape == (3, 3):
        agreed = mask[:, 0].astype(bool)
        _, rotation, direction, _ = cv2.recoverPose(matrix, left[agreed], right[agreed], np.eye(3))
    count = int(agreed.sum())
    if turned.sum() >= max(FEWEST_INLIERS, HOMOGRAPHY_SHARE * count):
        return PairMotion(turn, None, pairs[turned], None)
    if count < FEWEST_INLIERS:
        return None
    # recoverPose takes the first camera's points into the second.
    rotation, direction = rotation.T, -(rotation.T @ direction)[:, 0]
    _, flat = cv2.findHomography(left[agreed], right[agreed], cv2.USAC_MAGSAC, angle, maxIters=2000, confidence=0.999)
    if flat is not None and flat.sum() >= HOMOGRAPHY_SHARE * count:
        return PairMotion(rotation, None, pairs[agreed], None)
    rotation, direction = _refined(left[agreed], right[agreed], rotation, direction, angle)
    depths = _depths(left[agreed], right[agreed], rotation, direction)
    return PairMotion(rotation, direction, pairs[agreed], depths)


def _refined(
    left: np.ndarray, right: np.ndarray, rotation: np.ndarray, direction: np.ndarray, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and direction that make the Sampson distances of all inliers small: minimal samples are far from best."""
    first, second = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (left, right))
    across = np.linalg.svd(direction[None])[2][1:]  # [2, 3] the ways in which the direction can change

    def motion(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rotation @ Rotation.from_rotvec(step[:3]).as_matrix(), _unit(direction + step[3:] @ across)

    def distances(step: np.ndarray) -> np.ndarray:
        turned, moved = motion(step)
        matrix = np.cross(moved, turned.T).T  # first @ matrix @ second = 0
        to_first, to_second = second @ matrix.T, first @ matrix
        slopes = (to_first[:, :2] ** 2).sum(1) + (to_second[:, :2] ** 2).sum(1)
        return (first * to_first).sum(1) / np.sqrt(slopes + 1e-18) / angle

    found = least_squares(distances, np.zeros(5), loss="soft_l1", f_scale=0.5, max_nfev=20)
    return motion(found.x)


def _turn(left: np.ndarray, right: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """The turn [3, 3] (second camera to first) that explains most matches on its own, and which [M] those are."""
    first, second = (_unit(np.concatenate([points, np.ones((len(points), 1))], axis=1)) for points in (left, right))
    generator = np.random.default_rng(0)
    best = np.zeros(len(left), dtype=bool)
    rotation = np.eye(3)
    for _ in range(100):
        chosen = generator.choice(len(left), 2, replace=False)
        trial = _aligned(first[chosen], second[chosen])
        agreed = np.linalg.norm(first - second @ trial.T, axis=1) < angle
        if agreed.sum() > best.sum():
            best = agreed
    for _ in range(3):
        if best.sum() < 2:
            break
        rotation = _aligned(first[best], second[best])
        best = np.linalg.norm(first - second @ rotation.T, axis=1) < angle
    return rotation, best


def _aligned(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] that takes unit vectors `second` [M, 3] closest to `first` (Kabsch)."""
    return nearest_rotation(torch.from_numpy(first.T @ second)).numpy()


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _depths(left: np.ndarray, right: np.ndarray, rotation: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Depth [M, 2] of matches in both cameras, for a motion of length 1; NaN where the rays hardly differ."""
    first = np.concatenate([left, np.ones((len(left), 1))], axis=1)
    second = np.concatenate([right, np.ones((len(right), 1))], axis=1) @ rotation.T
    # first * a = direction + second * b, in least squares.
    ff, ss, fs = (first**2).sum(1), (second**2).sum(1), (first * second).sum(1)
    fd, sd = first @ direction, second @ direction
    determinant = ff * ss - fs**2
    parallax = np.degrees(np.arctan2(np.sqrt(np.maximum(determinant, 0)), fs))
    with np.errstate(divide="ignore", invalid="ignore"):
        depths = np.stack([(ss * fd - fs * sd) / determinant, (fs * fd - ff * sd) / determinant], axis=1)
    return np.where((parallax > LEAST_PARALLAX)[:, None] & (depths > 0).all(1, keepdims=True), depths, np.nan)


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

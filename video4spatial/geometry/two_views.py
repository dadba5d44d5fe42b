"""Two views of one scene: fundamental matrices, epipolar distances, and the motion of the camera between two frames."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from kornia.geometry.epipolar import (
    essential_from_Rt,
    fundamental_from_essential,
    left_to_right_epipolar_distance,
    right_to_left_epipolar_distance,
    sampson_epipolar_distance,
)
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import nearest_rotation
from video4spatial.geometry.features import Features, match, rays

FEWEST_INLIERS = 15
"""Fewer matches that agree on a motion say nothing."""

HOMOGRAPHY_SHARE = 0.8
"""A homography that explains this share of the inliers leaves the direction of the motion open."""

TURN_SLACK = 2.0
"""How much less closely a turn alone must explain the matches. An essential matrix fits any of them better, because it
leaves them a whole line to lie on."""

LEAST_PARALLAX = 1.0
"""Degrees between the two rays of a point, below which its depth says nothing."""


def fundamental_matrix(cameras: Cameras, height: int, width: int) -> np.ndarray:
    """F [3, 3] float64 with x_second^T F x_first = 0 in pixels.

    Args:
        cameras: two.
        height, width: of the pictures.

    Raises:
        ValueError: if the cameras are not two, or stand in one place: then there are no epipolar lines.
    """
    if len(cameras) != 2 or float(cameras.path_length()) <= 0:
        length = float(cameras.path_length())
        raise ValueError(f"epipolar lines need two cameras in different places, got {cameras} of length {length:g}.")
    poses, intrinsics = cameras.world_to_camera, cameras.pixel_intrinsics(height, width)
    essential = essential_from_Rt(poses[:1, :3, :3], poses[:1, :3, 3:], poses[1:, :3, :3], poses[1:, :3, 3:])
    return fundamental_from_essential(essential, intrinsics[:1], intrinsics[1:])[0].numpy()


def fitted_fundamental(first: np.ndarray, second: np.ndarray, error: float) -> np.ndarray | None:
    """The fundamental matrix that explains most matches, by MAGSAC++ (Barath et al., CVPR 2020).

    Args:
        first, second: [M, 2] pixels of matches, at least 7.
        error: pixels within which a match agrees.

    Returns:
        F [3, 3] as in `fundamental_matrix`, or None where none fits.
    """
    try:
        matrix, _ = cv2.findFundamentalMat(first, second, cv2.USAC_MAGSAC, error, 0.999, 10000)
    except cv2.error:  # what it raises where no sample of the matches gives a matrix
        return None
    return matrix if matrix is not None and matrix.shape == (3, 3) else None


def epipolar_distances(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Symmetric epipolar distances ½ (d(p2, F p1) + d(p1, Fᵀ p2)) (TSED, Yu et al., ICCV 2023, eq. 3).

    Args:
        first, second: [M, 2] pixels of matches.
        matrix: F [3, 3].

    Returns:
        [M] pixels.
    """
    given = _float64(first, second, matrix)
    return 0.5 * (left_to_right_epipolar_distance(*given) + right_to_left_epipolar_distance(*given)).numpy()


def sampson_distances(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """First-order distances of matches from the nearest pair of points that obeys F (Sampson, CGIP 1982).

    Args:
        first, second: [M, 2] pixels of matches.
        matrix: F [3, 3].

    Returns:
        [M] pixels.
    """
    return sampson_epipolar_distance(*_float64(first, second, matrix), squared=False).numpy()


def _float64(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in arrays]


@dataclass(frozen=True)
class PairMotion:
    """How the camera moved between two frames, up to the length of the motion.

    Args:
        rotation: [3, 3] second camera to first.
        direction: [3] unit motion of the camera in the axes of the first, or None where it is undefined.
        inliers: [M, 2] indices of the points that agree.
        depths: [M, 2] depth of the inliers in both cameras, in units of the motion; NaN where there is too little
            parallax. None without a direction.
    """

    rotation: np.ndarray
    direction: np.ndarray | None
    inliers: np.ndarray
    depths: np.ndarray | None


def pair_motion(
    first: Features, second: Features, first_intrinsics: np.ndarray, second_intrinsics: np.ndarray, error: float
) -> PairMotion | None:
    """The motion between two frames by the essential matrix (MAGSAC++, Barath et al., CVPR 2020; fixed seed).

    Args:
        first, second: points of the frames.
        first_intrinsics, second_intrinsics: [3, 3] in pixels.
        error: pixels within which a match agrees.

    Returns:
        The motion, or None where too few matches agree. Where a turn alone or a homography explains the matches, it has
        no direction.
    """
    pairs = match(first, second)
    if len(pairs) < FEWEST_INLIERS:
        return None
    left = rays(first.points[pairs[:, 0]], first_intrinsics)
    right = rays(second.points[pairs[:, 1]], second_intrinsics)
    angle = error / float(np.mean([first_intrinsics[0, 0], second_intrinsics[0, 0]]))  # on the plane at depth 1
    turn, turned = _turn(left, right, TURN_SLACK * angle)
    essential = essential_motion(left, right, angle)
    count = 0 if essential is None else int(essential[2].sum())
    if turned.sum() >= max(FEWEST_INLIERS, HOMOGRAPHY_SHARE * count):
        return PairMotion(turn, None, pairs[turned], None)
    if count < FEWEST_INLIERS:
        return None
    rotation, direction, agreed = essential
    _, flat = cv2.findHomography(left[agreed], right[agreed], cv2.USAC_MAGSAC, angle, maxIters=2000, confidence=0.999)
    if flat is not None and flat.sum() >= HOMOGRAPHY_SHARE * count:
        return PairMotion(rotation, None, pairs[agreed], None)
    rotation, direction = _refined(left[agreed], right[agreed], rotation, direction, angle)
    depths = _depths(left[agreed], right[agreed], rotation, direction)
    return PairMotion(rotation, direction, pairs[agreed], depths)


def essential_motion(left: np.ndarray, right: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The motion by the essential matrix that explains most matches (MAGSAC++; fixed seed).

    Args:
        left, right: [M, 2] matching points on the planes at depth 1.
        error: on these planes, within which a match agrees.

    Returns:
        Rotation [3, 3] second camera to first, unit direction [3] of the motion in the axes of the first, and which matches agree [M];
        None where no matrix fits.
    """
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    matrix, mask = cv2.findEssentialMat(left, right, np.eye(3), cv2.USAC_MAGSAC, 0.9999, error)
    if matrix is None or matrix.shape != (3, 3):
        return None
    agreed = mask[:, 0].astype(bool)
    _, rotation, direction, _ = cv2.recoverPose(matrix, left[agreed], right[agreed], np.eye(3))
    # recoverPose takes the first camera's points into the second.
    return rotation.T, -(rotation.T @ direction)[:, 0], agreed


def ray_distances(first: np.ndarray, second: np.ndarray, rotation: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Signed Sampson distances [M] of matching rays [M, 3] on the planes at depth 1, for a motion as of `essential_motion`."""
    matrix = np.cross(direction, rotation.T).T  # first @ matrix @ second = 0
    to_first, to_second = second @ matrix.T, first @ matrix
    slopes = (to_first[:, :2] ** 2).sum(1) + (to_second[:, :2] ** 2).sum(1)
    return (first * to_first).sum(1) / np.sqrt(slopes + 1e-18)


def _refined(
    left: np.ndarray, right: np.ndarray, rotation: np.ndarray, direction: np.ndarray, angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and direction that make the Sampson distances of all inliers small: minimal samples are far from best."""
    first, second = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (left, right))
    across = np.linalg.svd(direction[None])[2][1:]  # [2, 3] the ways in which the direction can change

    def motion(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return rotation @ Rotation.from_rotvec(step[:3]).as_matrix(), _unit(direction + step[3:] @ across)

    def distances(step: np.ndarray) -> np.ndarray:
        return ray_distances(first, second, *motion(step)) / angle

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

"""Frames placed among context frames whose cameras and depth are known (perspective-n-point).

Matches give points of the frame whose place in the scene is known; the pose that explains them is absolute and in the
unit of the context's cameras.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.features import Features, find_features, match

SEED = 0

ERROR_SHARE = 1 / 128
"""`error_share` where depth is known."""

LEAST_ERROR = 1.0

FEWEST_INLIERS = 12
"""Distinct points of a frame that must agree."""

DEPTH_JUMP = 1.1
"""Points are left out where depth within a pixel differs by more than this factor: they may belong to either side."""


def cameras_by_points(
    frames: np.ndarray,
    intrinsics: Tensor,
    anchor: Cameras,
    context_frames: np.ndarray,
    context_cameras: Cameras,
    context_depth: np.ndarray,
    error_share: float = ERROR_SHARE,
) -> EstimatedCameras:
    """The absolute pose of each frame.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor and is not looked at.
        intrinsics: [T, 3, 3] normalised.
        anchor: camera of frame 0 (T = 1).
        context_frames: [N, h, w, 3] uint8.
        context_cameras: N cameras in the anchor's world.
        context_depth: [N, h', w'] along the optical axis in the unit of the cameras; 0 or not finite where unknown.
        error_share: inliers lie within this share of the longer side of the picture, but at least `LEAST_ERROR` pixels.

    Returns:
        Cameras in the unit of the context's; the confidence is the number of distinct points that agree.

    Raises:
        GeometryError: where no frame has enough features, or nothing in the context has depth.
    """
    generated = [find_features(frame) for frame in frames[1:]]
    if all(len(features) < FEWEST_INLIERS for features in generated):
        raise GeometryError(f"no frame has {FEWEST_INLIERS} features")
    context = [find_features(picture) for picture in context_frames]
    places = [
        _places(features, context_cameras[index], context_depth[index], context_frames.shape[1:3])
        for index, features in enumerate(context)
    ]
    if not any(np.isfinite(place).all(1).any() for place in places):
        raise GeometryError("no point of the context has known depth")
    height, width = frames.shape[1:3]
    error = max(LEAST_ERROR, error_share * max(height, width))
    in_pixels = intrinsics.numpy() * np.array([width, height, 1.0])[:, None]
    poses, confidence, reasons = {}, {}, {}
    for index, features in enumerate(generated, start=1):
        pixels, points, owners = _correspondences(features, context, places)
        if len(np.unique(owners)) < FEWEST_INLIERS:
            reasons[index] = f"fewer than {FEWEST_INLIERS} points match the context"
            continue
        pose, inliers = absolute_pose(pixels, points, in_pixels[index], (height, width), error)
        agreeing = len(np.unique(owners[inliers]))
        if agreeing < FEWEST_INLIERS:
            reasons[index] = f"fewer than {FEWEST_INLIERS} points agree on a pose"
            continue
        poses[index], confidence[index] = pose, agreeing
    return EstimatedCameras.from_poses(
        poses, intrinsics, anchor, metric=context_cameras.metric, confidence=confidence, reasons=reasons,
        convention="estimated by points of the context",
    )  # fmt: skip


LEAST_SPREAD = 1e-6
"""Points that are nearer to each other, as a share of their distance, are one point, from which no pose follows."""


def absolute_pose(
    pixels: np.ndarray, points: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int], error: float
) -> tuple[Tensor, np.ndarray]:
    """The camera that sees points of the world at given pixels, by RANSAC and refinement with a fixed seed.

    Args:
        pixels: [M, 2] counted from the corner of the first pixel.
        points: [M, 3].
        intrinsics: [3, 3] in pixels.
        size: height and width of the picture.
        error: pixels within which a point agrees.

    Returns:
        camera_to_world [4, 4] float64 and [M] bool inliers, none where there is no pose.
    """
    try:
        import pycolmap
    except ImportError:
        motion, inliers = _pose_by_opencv(pixels, points, intrinsics, error)
    else:
        camera = pycolmap.Camera(
            model="PINHOLE", width=size[1], height=size[0],
            params=[intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]],
        )  # fmt: skip
        options = pycolmap.AbsolutePoseEstimationOptions()
        options.ransac.max_error, options.ransac.random_seed = error, SEED
        found = pycolmap.estimate_and_refine_absolute_pose(pixels, points, camera, options)
        motion = None if found is None else found["cam_from_world"].matrix()
        inliers = None if found is None else found["inlier_mask"]
        if motion is not None and np.ptp(points[inliers], axis=0).max(initial=0) <= LEAST_SPREAD * np.abs(points).max():
            motion = None
    if motion is None:
        return torch.eye(4, dtype=torch.float64), np.zeros(len(pixels), dtype=bool)
    world_to_camera = torch.eye(4, dtype=torch.float64)
    world_to_camera[:3] = torch.from_numpy(np.asarray(motion))
    return invert_rigid(world_to_camera), np.asarray(inliers, dtype=bool)


def _pose_by_opencv(
    pixels: np.ndarray, points: np.ndarray, intrinsics: np.ndarray, error: float
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """[3, 4] world-to-camera and [M] inliers without pycolmap."""
    cv2.setRNGSeed(SEED)
    try:
        found, vector, shift, kept = cv2.solvePnPRansac(
            points, pixels, intrinsics, None, reprojectionError=error, iterationsCount=2000, confidence=0.9999,
            flags=cv2.SOLVEPNP_SQPNP,
        )  # fmt: skip
    except cv2.error:  # points that all but coincide say nothing about a pose: the solver refuses them
        return None, None
    if not found or kept is None or len(kept) < 6:
        return None, None
    kept = kept[:, 0]
    vector, shift = cv2.solvePnPRefineLM(points[kept], pixels[kept], intrinsics, None, vector, shift)
    inliers = np.zeros(len(pixels), dtype=bool)
    inliers[kept] = True
    return np.concatenate([cv2.Rodrigues(vector)[0], shift], axis=1), inliers


def _places(features: Features, camera: Cameras, depth: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Where in the world the points of a picture lie: [P, 3], NaN where depth is unknown or jumps.

    Args:
        features: P points of a picture of this `size` (height, width).
        camera: of the picture (T = 1).
        depth: [h, w], of any size.
    """
    depth = np.nan_to_num(np.asarray(depth, dtype=np.float32), posinf=0, neginf=0)
    height, width = depth.shape
    if not len(features) or not (depth > 0).any():
        return np.full((len(features), 3), np.nan)
    pixels = features.points * (np.array([width, height]) / np.array(size[::-1]))  # of the depth map
    kernel = np.ones((3, 3), np.uint8)
    smooth = (cv2.erode(depth, kernel) > 0) & (cv2.dilate(depth, kernel) < DEPTH_JUMP * cv2.erode(depth, kernel))
    columns, rows = np.clip(pixels.astype(int), 0, [width - 1, height - 1]).T
    # remap counts from the centre of the first pixel.
    maps = (pixels - 0.5).astype(np.float32)
    z = cv2.remap(depth, maps[:, :1], maps[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
    intrinsics = camera.pixel_intrinsics(height, width)[0].numpy()
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    local = homogeneous @ np.linalg.inv(intrinsics).T * z[:, None]
    pose = camera.camera_to_world[0].numpy()
    return np.where(smooth[rows, columns, None], local @ pose[:3, :3].T + pose[:3, 3], np.nan)


def _correspondences(
    features: Features, context: list[Features], places: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [M, 2] of a frame, the points [M, 3] of the world they show, and which of its features [M] they are."""
    owners, points = [np.zeros(0, dtype=int)], [np.zeros((0, 3))]
    for others, place in zip(context, places, strict=True):
        pairs = match(features, others)
        pairs = pairs[np.isfinite(place[pairs[:, 1]]).all(1)]
        owners.append(pairs[:, 0])
        points.append(place[pairs[:, 1]])
    owners = np.concatenate(owners)
    return features.points[owners], np.concatenate(points), owners

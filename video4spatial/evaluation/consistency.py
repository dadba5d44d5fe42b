"""Consistency of the generated frames with the scene and with each other; most of it needs no ground truth."""

import functools

import kornia.feature
import numpy as np
import torch
from kornia.geometry.epipolar import (
    essential_from_Rt,
    fundamental_from_essential,
    left_to_right_epipolar_distance,
    right_to_left_epipolar_distance,
)
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.evaluation.image import MINIMUM_COVISIBLE_SHARE, psnr
from video4spatial.evaluation.measurement import Measurement, Sample
from video4spatial.cameras.visibility import warp_context

FROZEN_CHANGE = 0.5
"""Grey levels of mean absolute change below which a frame repeats the one before it."""

MINIMUM_MATCHES = 10
"""T_m of TSED (Yu et al., ICCV 2023, "Photoconsistent novel view synthesis")."""

ERROR_THRESHOLD = 2.0
"""T_e of TSED: pixels at a height of 256; scaled with the height of the pictures."""


def depth_reprojection_psnr(
    frames: np.ndarray,
    cameras: Cameras,
    depth: np.ndarray,
    context_frames: np.ndarray,
    context_cameras: Cameras,
    context_depth: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare generated frames with the context's own pixels, moved to where the commanded camera should see them.

    Args:
        frames: [T, H, W, 3] uint8.
        cameras: T commanded cameras.
        depth: [T, H, W] metres, what these cameras see in the true scene.
        context_frames, context_cameras, context_depth: N of each, [N, h, w, 3] uint8 and [N, h, w] metres.

    Returns:
        PSNR [T] in dB over the covered pixels (NaN where fewer than 5 % are covered) and the covered share [T].

    Raises:
        ValueError: for sizes or numbers that do not fit.
    """
    warped, covered = warp_context(cameras, depth, context_cameras, context_depth, context_frames)
    share = covered.mean((1, 2))
    return np.where(share >= MINIMUM_COVISIBLE_SHARE, psnr(frames, warped, covered), np.nan), share


def frame_changes(frames: np.ndarray) -> np.ndarray:
    """Mean absolute change from frame to frame.

    Args:
        frames: [T, H, W, 3] uint8.

    Returns:
        [T - 1] grey levels of 255.
    """
    return np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))


def flicker(frames: np.ndarray) -> np.ndarray:
    """Mean absolute second difference over time: brightness that comes and goes within three frames.

    Args:
        frames: [T, H, W, 3] uint8, T at least 3.

    Returns:
        [T - 2] grey levels of 255.
    """
    values = frames.astype(np.float32)
    return np.abs(values[1:-1] - 0.5 * (values[:-2] + values[2:])).mean((1, 2, 3))


def epipolar_distances(first: np.ndarray, second: np.ndarray, cameras: Cameras) -> Tensor:
    """Symmetric epipolar distances of SIFT matches between two frames under given cameras.

    ½ (d(p2, F p1) + d(p1, Fᵀ p2)) with F from the cameras (TSED, Yu et al., ICCV 2023).

    Args:
        first, second: [H, W, 3] uint8.
        cameras: the two cameras.

    Returns:
        [M] pixels, one per match; empty where nothing matches.

    Raises:
        ValueError: if the cameras are not two, or stand in one place: then there are no epipolar lines.
    """
    if len(cameras) != 2 or float(cameras.path_length()) <= 0:
        length = float(cameras.path_length())
        raise ValueError(f"epipolar lines need two cameras in different places, got {cameras} of length {length:g}.")
    return _distances(_features(first), _features(second), _fundamental(cameras, *first.shape[:2]))


def _distances(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], matrix: Tensor) -> Tensor:
    (points_first, features_first), (points_second, features_second) = first, second
    if min(len(points_first), len(points_second)) < 2:
        return torch.zeros(0, dtype=torch.float64)
    _, matches = kornia.feature.match_smnn(features_first, features_second, 0.8)
    left, right = points_first[matches[:, 0]].double(), points_second[matches[:, 1]].double()
    to_right = left_to_right_epipolar_distance(left, right, matrix)
    to_left = right_to_left_epipolar_distance(left, right, matrix)
    return 0.5 * (to_right + to_left)


def _fundamental(cameras: Cameras, height: int, width: int) -> Tensor:
    poses, intrinsics = cameras.world_to_camera, cameras.pixel_intrinsics(height, width)
    essential = essential_from_Rt(poses[:1, :3, :3], poses[:1, :3, 3:], poses[1:, :3, :3], poses[1:, :3, 3:])
    return fundamental_from_essential(essential, intrinsics[:1], intrinsics[1:])[0]


@functools.cache
def _sift() -> kornia.feature.SIFTFeature:
    options = {"upright": True, "descriptor_backend": "pyramid"}  # the other backend takes ten times as long
    return kornia.feature.SIFTFeature(num_features=1000, device=torch.device("cpu"), **options).eval()


@torch.no_grad()
def _features(frame: np.ndarray) -> tuple[Tensor, Tensor]:
    """SIFT points [P, 2] in pixels with centres at +0.5, and their descriptors [P, 128]."""
    grey = torch.from_numpy(frame.astype(np.float32) / 255.0) @ torch.tensor([0.299, 0.587, 0.114])
    if min(frame.shape[:2]) < 32 or float(grey.std()) < 1e-3:
        return torch.zeros(0, 2), torch.zeros(0, 128)
    frames, responses, descriptors = _sift()(grey[None, None])
    found = responses[0] > 0
    # kornia puts pixel centres at whole numbers.
    return frames[0, found, :, 2] + 0.5, descriptors[0, found]


def measure_depth_reprojection(sample: Sample) -> Measurement:
    """PSNR of the generated frames against context pixels warped by true depth and commanded camera."""
    clip = sample.clip
    values, share = depth_reprojection_psnr(
        sample.frames[1:], clip.instruction.cameras[1:], clip.target_depth[1:],
        clip.context_frames, clip.context_cameras, clip.context_depth,
    )  # fmt: skip
    return Measurement.over_frames(
        values, "the context sees nothing of the target", {"covered_share": round(float(share.mean()), 4)}
    )


def measure_motion(sample: Sample) -> Measurement:
    """Mean change from frame to frame."""
    return Measurement.over_frames(frame_changes(sample.frames), "no frame")


def measure_frozen_share(sample: Sample) -> Measurement:
    """Share of frames that repeat the one before."""
    frozen = frame_changes(sample.frames) < FROZEN_CHANGE
    return Measurement.over_frames(frozen.astype(np.float64), "no frame")


def measure_flicker(sample: Sample) -> Measurement:
    """Mean second difference over time."""
    if len(sample.frames) < 3:
        return Measurement(None, "not_applicable", "needs at least 3 frames")
    values = flicker(sample.frames)
    return Measurement.over_frames(np.append(values, np.nan), "no frame")


def measure_epipolar_error(sample: Sample) -> Measurement:
    """Median symmetric epipolar distance of consecutive generated frames under the commanded cameras."""
    medians, diagnostics = sample.once(_epipolar_pairs)
    if diagnostics["pairs"] == 0:
        return Measurement(None, "not_applicable", "the commanded camera only turns: there are no epipolar lines")
    return Measurement.over_frames(
        medians, f"fewer than {MINIMUM_MATCHES} matches in every pair of frames", diagnostics
    )


def measure_epipolar_consistency(sample: Sample) -> Measurement:
    """TSED: share of consecutive pairs with enough matches and a small median distance; no match is inconsistent."""
    medians, diagnostics = sample.once(_epipolar_pairs)
    if diagnostics["pairs"] == 0:
        return Measurement(None, "not_applicable", "the commanded camera only turns: there are no epipolar lines")
    if diagnostics["pairs_without_matches"] == diagnostics["pairs"]:
        reason = f"fewer than {MINIMUM_MATCHES} matches in every pair of frames"
        return Measurement.missing(reason, diagnostics=diagnostics)
    threshold = ERROR_THRESHOLD * sample.frames.shape[1] / 256
    consistent = int(np.sum(medians < threshold))
    return Measurement(consistent / diagnostics["pairs"], diagnostics=diagnostics | {"threshold_pixels": threshold})


def _epipolar_pairs(sample: Sample) -> tuple[np.ndarray, dict]:
    """Median distance in pixels of each pair of consecutive frames (NaN where unknown), and counts."""
    cameras = sample.clip.instruction.cameras
    medians = np.full(len(cameras) - 1, np.nan)
    pairs = without = 0
    height, width = sample.frames.shape[1:3]
    features: dict[int, tuple[Tensor, Tensor]] = {}
    for index in range(len(cameras) - 1):
        pair = cameras[index : index + 2]
        if float(pair.path_length()) < 1e-6:
            continue
        pairs += 1
        features |= {i: _features(sample.frames[i]) for i in (index, index + 1) if i not in features}
        distances = _distances(features[index], features[index + 1], _fundamental(pair, height, width))
        if len(distances) < MINIMUM_MATCHES:
            without += 1
        else:
            medians[index] = float(distances.median())
    return medians, {"pairs": pairs, "pairs_without_matches": without}

"""Consistency of the generated frames with the scene and with each other; most of it needs no ground truth."""

from collections.abc import Callable, Sequence

import numpy as np

from video4spatial.evaluation.measurement import Measurement, Sample, by_parts
from video4spatial.evaluation.metrics.image import MINIMUM_COVISIBLE_SHARE, psnr
from video4spatial.geometry import GeometryError
from video4spatial.geometry.features import find_features, match
from video4spatial.geometry.structure_from_motion import cameras_by_mapping, pycolmap_missing
from video4spatial.geometry.two_views import epipolar_distances, fitted_fundamental, fundamental_matrix, sampson_distances
from video4spatial.geometry.visibility import warp_context

FROZEN_CHANGE = 0.5
"""Grey levels of mean absolute change below which a frame repeats the one before it."""

MINIMUM_MATCHES = 10
"""T_m of TSED (Yu et al., ICCV 2023, "Photoconsistent novel view synthesis")."""

ERROR_THRESHOLD = 2.0
"""T_e of TSED: pixels at a height of 256; scaled with the height of the pictures."""

MINIMUM_ESTIMATION = 15
"""Matches from which a fundamental matrix is estimated: 7 of them always fit."""

INLIER_THRESHOLD = 1.0
"""Pixels at a height of 256 within which a match agrees with an estimated fundamental matrix."""

STANDING = 0.5
"""Median displacement of matches in pixels at a height of 256 below which a pair stands still: any matrix fits it."""

SMALLEST_SFM = 96
"""Pixels; in smaller pictures structure from motion finds too little even in true videos."""


def frame_changes(frames: np.ndarray) -> np.ndarray:
    """Mean absolute change from frame to frame.

    Args:
        frames: [T, H, W, 3] uint8.

    Returns:
        [T - 1] grey levels of 255.
    """
    return by_parts(_changes, frames, neighbours=1)


def _changes(frames: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3))


def flicker(frames: np.ndarray) -> np.ndarray:
    """Mean absolute second difference over time: brightness that comes and goes within three frames.

    Args:
        frames: [T, H, W, 3] uint8, T at least 3.

    Returns:
        [T - 2] grey levels of 255.
    """
    return by_parts(_second_changes, frames, neighbours=2)


def _second_changes(frames: np.ndarray) -> np.ndarray:
    values = frames.astype(np.float32)
    return np.abs(values[1:-1] - 0.5 * (values[:-2] + values[2:])).mean((1, 2, 3))


def tsed(distances: Sequence[np.ndarray], height: int) -> float:
    """Thresholded symmetric epipolar distance (Yu et al., ICCV 2023): the share of consistent pairs.

    A pair is consistent if it has at least 10 matches whose median distance is below 2 pixels at a height of 256; a pair
    without matches is not.

    Args:
        distances: [M] pixels of each pair.
        height: of the pictures in pixels; the threshold is scaled with it.
    """
    threshold = ERROR_THRESHOLD * height / 256
    return float(np.mean([len(d) >= MINIMUM_MATCHES and np.median(d) < threshold for d in distances]))


def agreement(first: np.ndarray, second: np.ndarray, height: int) -> tuple[float, float] | None:
    """How well matches agree with one rigid scene, whatever the cameras: with a fundamental matrix fitted to them.

    Args:
        first, second: [M, 2] pixels of matches.
        height: of the pictures.

    Returns:
        Share of matches within 1 pixel (at a height of 256) of the matrix by MAGSAC (Barath et al., CVPR 2020), and the
        median Sampson distance of all; None for fewer than 15 matches, for points that stand still, and where no matrix
        fits.
    """
    if len(first) < MINIMUM_ESTIMATION or np.median(np.linalg.norm(second - first, axis=1)) < STANDING * height / 256:
        return None
    threshold = INLIER_THRESHOLD * height / 256
    matrix = fitted_fundamental(first, second, threshold)
    if matrix is None:
        return None
    distances = sampson_distances(first, second, matrix)
    return float((distances < threshold).mean()), float(np.median(distances))


def measure_depth_reprojection(sample: Sample) -> Measurement:
    """PSNR of the generated frames against the context's own pixels, moved by true depth to where the commanded camera should see
    them; frames of which fewer than 5 % are covered do not count."""
    clip = sample.clip
    warped, covered = warp_context(
        clip.target_cameras[1:], clip.target_depth[1:], clip.context_cameras, clip.context_depth, clip.context_frames
    )
    share = covered.mean((1, 2))
    values = np.where(share >= MINIMUM_COVISIBLE_SHARE, psnr(sample.frames[1:], warped, covered), np.nan)
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


def measure_epipolar_error(sample: Sample, distances: Callable[..., np.ndarray]) -> Measurement:
    """Median distance of matches in consecutive generated frames from the epipolar geometry of the commanded cameras.

    Args:
        sample: with commanded cameras.
        distances: `epipolar_distances` or `sampson_distances`.
    """
    matrices = sample.once(_matrices)
    if not matrices:
        return _only_turning()
    matches = sample.once(_matches)
    medians, expected = np.full(len(matches), np.nan), np.zeros(len(matches), dtype=bool)
    for index, matrix in matrices.items():
        expected[index] = True
        if len(matches[index][0]) >= MINIMUM_MATCHES:
            medians[index] = np.median(distances(*matches[index], matrix))
    diagnostics = {"pairs": len(matrices), "pairs_without_matches": int(np.isnan(medians[expected]).sum())}
    if np.isnan(medians).all():
        return _too_few_matches(diagnostics)
    return Measurement.over_frames(medians, "no frame", diagnostics, expected)


def measure_epipolar_consistency(sample: Sample) -> Measurement:
    """TSED of consecutive generated frames under the commanded cameras."""
    height = sample.frames.shape[1]
    matrices = sample.once(_matrices)
    if not matrices:
        return _only_turning()
    matches = sample.once(_matches)
    distances = [epipolar_distances(*matches[index], matrix) for index, matrix in matrices.items()]
    without = sum(len(values) < MINIMUM_MATCHES for values in distances)
    diagnostics = {"pairs": len(distances), "pairs_without_matches": without}
    if without == len(distances):
        return _too_few_matches(diagnostics)
    return Measurement(tsed(distances, height), diagnostics=diagnostics | {"threshold_pixels": ERROR_THRESHOLD * height / 256})


def measure_rigidity(sample: Sample, figure: int) -> Measurement:
    """How well matches of consecutive frames agree with a fundamental matrix estimated from them.

    Args:
        sample: a generated video.
        figure: of `agreement`: 0 for the share of matches that agree, 1 for their median Sampson distance.
    """
    values = sample.once(_agreements)[:, figure]
    reason = f"fewer than {MINIMUM_ESTIMATION} matches in every pair of frames, or nothing moves"
    return Measurement.over_frames(values, reason, expected=np.ones(len(values), dtype=bool))


def measure_registered_share(sample: Sample) -> Measurement:
    """Share of generated frames that structure from motion registers in one model with the anchor.

    COLMAP sees the generated frames and the lens alone. A video that it can make nothing of scores 0, not missing.
    """
    cameras = sample.clip.target_cameras
    reason = pycolmap_missing()
    if reason:
        return Measurement.missing(reason)
    if min(sample.frames.shape[1:3]) < SMALLEST_SFM or len(sample.frames) < 3:
        reason = f"needs at least 3 frames of at least {SMALLEST_SFM}x{SMALLEST_SFM} pixels"
        return Measurement(None, "not_applicable", reason)
    if not sample.once(_matrices):
        return _only_turning()
    try:
        estimate = cameras_by_mapping(sample.frames, cameras.intrinsics, cameras[0])
    except GeometryError as error:
        return Measurement(0.0, diagnostics={"reason": str(error)})
    return Measurement(estimate.coverage, diagnostics={"reason": estimate.reason} if estimate.reason else None)


def _matches(sample: Sample) -> list[tuple[np.ndarray, np.ndarray]]:
    """Matched points of each pair of consecutive frames."""
    features = [find_features(frame) for frame in sample.frames]
    pairs = [(first, second, match(first, second)) for first, second in zip(features, features[1:])]
    return [(first.points[found[:, 0]], second.points[found[:, 1]]) for first, second, found in pairs]


def _matrices(sample: Sample) -> dict[int, np.ndarray]:
    """Fundamental matrices of the commanded cameras, by the pair's first frame; none where they only turn."""
    cameras = sample.clip.target_cameras
    pairs = {index: cameras[index : index + 2] for index in range(len(cameras) - 1)}
    return {
        index: fundamental_matrix(pair, *sample.frames.shape[1:3])
        for index, pair in pairs.items()
        if float(pair.path_length()) >= 1e-6
    }


def _agreements(sample: Sample) -> np.ndarray:
    """[T - 1, 2] share of inliers and median distance of each pair, NaN where no matrix can be estimated."""
    found = [agreement(*points, sample.frames.shape[1]) for points in sample.once(_matches)]
    return np.array([(np.nan, np.nan) if values is None else values for values in found])


def _only_turning() -> Measurement:
    return Measurement(None, "not_applicable", "the commanded camera only turns: there are no epipolar lines")


def _too_few_matches(diagnostics: dict) -> Measurement:
    return Measurement.missing(f"fewer than {MINIMUM_MATCHES} matches in every pair of frames", diagnostics=diagnostics)

"""Camera control: how far the cameras of the generated frames are from the commanded ones.

Both trajectories are made relative to their own frame 0, the anchor. Aligning positions with a free similarity
transform instead would hide wrong directions: a clip that flies backwards in a plane then has no error at all.
"""

from dataclasses import dataclass, replace

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.evaluation.measurement import Measurement, Sample

STATIC_SCALE = 0.05
"""A best scale below this says that the estimated path has nothing in common with the commanded one."""

STATIC_SHARE = 0.01
"""An estimated path shorter than this share of the scene's depth (or of the commanded path) did not move."""

MINIMUM_STEP = 0.02
"""Shorter displacements, as a share of the commanded path, have no direction worth comparing."""


def rotation_errors_degrees(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Angle between the rotations made since frame 0 (RotErr of CameraCtrl, eq. 4, per frame and in degrees).

    Args:
        estimated: T cameras measured from the frames.
        commanded: T cameras that were asked for.

    Returns:
        [T - 1] degrees for frames 1..T-1.

    Raises:
        ValueError: for different numbers of cameras.
    """
    estimated, commanded = _relative(estimated, commanded)
    return _rotation_angles(estimated.camera_to_world.numpy(), commanded.camera_to_world.numpy())[1:]


@dataclass(frozen=True)
class TranslationErrors:
    """Anchored translation errors.

    Args:
        errors: [T - 1] distances as a share of the commanded path length.
        scale: the non-negative scale that fits the estimated positions best.
        static_generation: the estimated path stands still or points away; then errors are those of standing still.
        path_length: of the commanded cameras, in their unit.
        estimated_path_length: of the estimated cameras, in theirs.
    """

    errors: np.ndarray
    scale: float
    static_generation: bool
    path_length: float
    estimated_path_length: float


def translation_errors(
    estimated: Cameras, commanded: Cameras, median_depth: float | None = None, known: np.ndarray | None = None
) -> TranslationErrors:
    """Anchored translation errors with one non-negative scale, over the commanded path length.

    With positions p (estimated) and g (commanded) relative to frame 0, s = max(0, <p, g> / <p, p>) minimises the squared distances,
    and the error of frame t is |s p_t - g_t| / length(g). Where s < 0.05, or the estimated path is shorter than 1 % of the depth of
    the scene, the scale would make noise look like motion: the error is then that of standing still, |g_t| / length(g).

    Args:
        estimated, commanded: T cameras each.
        median_depth: of the scene in units of the estimated cameras, if known; otherwise the commanded path stands in
            for it.
        known: [T] bool frames whose position was measured, frame 0 included; the errors of the others are NaN, and they
            take no part in the scale. Default all.

    Raises:
        ValueError: for different numbers of cameras, or a commanded path without length.
    """
    estimated_relative, commanded_relative = _relative(estimated, commanded)
    positions, goals = estimated_relative.positions.numpy(), commanded_relative.positions.numpy()
    known = np.ones(len(positions), dtype=bool) if known is None else known
    length, estimated_length = float(commanded.path_length()), float(estimated[np.flatnonzero(known)].path_length())
    if length < 1e-9:
        raise ValueError("the commanded path has no length, so its translation error is undefined.")
    squared = float((positions[known] ** 2).sum())
    scale = max(0.0, float((positions * goals)[known].sum()) / squared) if squared > 0 else 0.0
    yardstick = length if median_depth is None else median_depth
    static = scale < STATIC_SCALE or estimated_length < STATIC_SHARE * yardstick
    distances = np.linalg.norm((0.0 if static else scale) * positions - goals, axis=1)
    distances = np.where(known, distances, np.nan)
    return TranslationErrors(distances[1:] / length, scale, static, length, estimated_length)


def metric_translation_errors(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Distances of the positions relative to frame 0, without any scale.

    Args:
        estimated, commanded: T cameras each.

    Returns:
        [T - 1] in the cameras' unit (metres for metric ones).

    Raises:
        ValueError: for different numbers of cameras.
    """
    estimated, commanded = _relative(estimated, commanded)
    return estimated.distance_to(commanded)[1:].numpy()


def direction_errors_degrees(estimated: Cameras, commanded: Cameras) -> np.ndarray:
    """Angle between the displacements since frame 0, which sees that a camera went backwards.

    Args:
        estimated, commanded: T cameras each.

    Returns:
        [T - 1] degrees, NaN where the commanded displacement is below 2 % of the path; a camera that stands still where
        it should move counts 90.

    Raises:
        ValueError: for different numbers of cameras.
    """
    length = float(commanded.path_length())
    estimated, commanded = _relative(estimated, commanded)
    return _direction_angles(estimated.positions.numpy()[1:], commanded.positions.numpy()[1:], length)


def pairwise_errors_degrees(estimated: Cameras, commanded: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the relative pose of every pair of frames, which no choice of world or scale can change.

    Args:
        estimated, commanded: T cameras each.

    Returns:
        Rotation errors [P] in degrees of the pairs i < j in the order of `numpy.triu_indices`, and angles [P] between
        the directions of translation, NaN where the commanded camera moves by less than 2 % of its path; a camera that
        stands still where it should move counts 90. Opposite directions count 180, not 0 as where the sign of an
        essential matrix is unknown.

    Raises:
        ValueError: for different numbers of cameras.
    """
    first, second = np.triu_indices(len(commanded), 1)
    poses, goals = (_steps(cameras, first, second) for cameras in _relative(estimated, commanded))
    length = float(commanded.path_length())
    return _rotation_angles(poses, goals), _direction_angles(poses[:, :3, 3], goals[:, :3, 3], length)


def area_under_recall(errors: np.ndarray, threshold: float) -> float:
    """Area under the curve of recall over the error, from 0 to `threshold`, as a share: 1 where all errors are 0.

    This is the exact area; VGGT and PoseDiffusion add up steps of one degree.

    Args:
        errors: [P] degrees.
        threshold: degrees.
    """
    return float(np.clip(1 - errors / threshold, 0, None).mean())


def relative_pose_errors(estimated: Cameras, commanded: Cameras, delta: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Relative pose error (Sturm et al., IROS 2012): (Q_i⁻¹ Q_j)⁻¹ (P_i⁻¹ P_j) with j = i + delta.

    Args:
        estimated, commanded: T cameras each (P and Q), in one unit.
        delta: frames per step.

    Returns:
        Angles [T - delta] in degrees and lengths [T - delta] in the cameras' unit, without any alignment.

    Raises:
        ValueError: for different numbers of cameras.
    """
    second = np.arange(delta, len(commanded))
    poses, goals = (_steps(cameras, second - delta, second) for cameras in _relative(estimated, commanded))
    # The goal's rotation is left out: it does not change the length.
    return _rotation_angles(poses, goals), np.linalg.norm(poses[:, :3, 3] - goals[:, :3, 3], axis=1)


def summed_errors(estimated: Cameras, commanded: Cameras, self_normalised: bool) -> dict[str, float]:
    """Errors relative to frame 0, added up over the frames, as CameraCtrl, MotionCtrl and CamI2V print them.

    Args:
        estimated, commanded: T cameras each.
        self_normalised: whether each trajectory is divided by its own largest distance from frame 0 (CamI2V's
            `TransErr_rel` and `CamMC_rel`). That hides any wrong scale, and makes noise of a static camera look like
            motion.

    Returns:
        `rotation` in radians (RotErr), `translation` in the cameras' unit, or in largest distances from the anchor (TransErr), and
        `camera_motion`, Frobenius norms of the differences of [R | t] (CamMC), which mix radians and metres.

    Raises:
        ValueError: for different numbers of cameras.
    """
    poses, goals = (cameras.camera_to_world[:, :3].numpy().copy() for cameras in _relative(estimated, commanded))
    if self_normalised:
        for trajectory in (poses, goals):
            trajectory[..., 3] /= np.linalg.norm(trajectory[..., 3], axis=1).max() + 1e-9
    return {
        "rotation": float(np.radians(rotation_errors_degrees(estimated, commanded)).sum()),
        "translation": float(np.linalg.norm(poses[..., 3] - goals[..., 3], axis=1).sum()),
        "camera_motion": float(np.linalg.norm(poses - goals, axis=(1, 2)).sum()),
    }


def similarity_error(estimated: Cameras, commanded: Cameras) -> tuple[float, float]:
    """Absolute trajectory error after the similarity transform of positions that fits best (Umeyama, PAMI 1991).

    Only for comparison with others' figures: a path in a plane may fly backwards or turn the wrong way at an error of
    exactly 0. Unlike evo it does not give up on straight lines, whose rotation is undefined but whose error is not.

    Args:
        estimated, commanded: T cameras each.

    Returns:
        Root mean square distance in the unit of the commanded cameras, and the scale; 0 for a camera that stands still.

    Raises:
        ValueError: for different numbers of cameras.
    """
    estimated, commanded = _relative(estimated, commanded)
    positions, goals = (x - x.mean(0) for x in (estimated.positions.numpy(), commanded.positions.numpy()))
    left, strengths, right = np.linalg.svd(goals.T @ positions)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    squared = float((positions**2).sum())
    scale = float((strengths * signs).sum()) / squared if squared > 0 else 0.0
    aligned = scale * positions @ (left * signs @ right).T
    return float(np.sqrt(((aligned - goals) ** 2).sum(1).mean())), scale


def _relative(estimated: Cameras, commanded: Cameras) -> tuple[Cameras, Cameras]:
    if len(estimated) != len(commanded):
        raise ValueError(f"{len(estimated)} estimated cameras and {len(commanded)} commanded ones: expected as many.")
    return estimated.relative_to(0), commanded.relative_to(0)


def _steps(cameras: Cameras, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[P, 4, 4] poses of the `second` cameras seen from the `first`."""
    poses = cameras.camera_to_world
    return (invert_rigid(poses[first]) @ poses[second]).numpy()


def _rotation_angles(poses: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """[P] degrees between the rotations of poses [P, 4, 4]."""
    difference = poses[:, :3, :3].swapaxes(1, 2) @ goals[:, :3, :3]
    # atan2 of sine and cosine is accurate both near 0 and near 180 degrees, where acos of the trace is not.
    sine = np.linalg.norm(difference - difference.swapaxes(1, 2), axis=(1, 2)) / (2 * np.sqrt(2.0))
    return np.degrees(np.arctan2(sine, (np.trace(difference, axis1=1, axis2=2) - 1) / 2))


def _direction_angles(positions: np.ndarray, goals: np.ndarray, path_length: float) -> np.ndarray:
    """[P] degrees between displacements [P, 3]; NaN where the goal has none to speak of, 90 where only it has."""
    angles = np.degrees(np.arctan2(np.linalg.norm(np.cross(positions, goals), axis=1), (positions * goals).sum(1)))
    angles = np.where(np.linalg.norm(positions, axis=1) < 1e-9, 90.0, angles)
    return np.where(np.linalg.norm(goals, axis=1) >= max(MINIMUM_STEP * path_length, 1e-9), angles, np.nan)


def measure_rotation_error(sample: Sample) -> Measurement:
    """Mean rotation error over frames 1..T-1, with median and final among the diagnostics."""
    errors = _known_rotation_errors(sample)
    return _over_estimated_frames(sample, errors, {"median": _rounded(_median(errors)), "final": _rounded(errors[-1])})


def measure_translation_error(sample: Sample) -> Measurement:
    """Mean anchored translation error over frames 1..T-1, as a share of the commanded path."""
    commanded = sample.clip.target_cameras
    if float(commanded.path_length()) < 1e-9:
        return _standing()
    if not sample.estimate.position_known[1:].any():
        return _over_estimated_frames(sample, np.full(len(commanded) - 1, np.nan))
    result = sample.once(_translation_errors)
    diagnostics = {
        "scale": round(result.scale, 4),
        "static_generation": result.static_generation,
        "path_length": round(result.path_length, 4),
        "estimated_path_length": round(result.estimated_path_length, 4),
        "final": _rounded(result.errors[-1]),
    }
    return _over_estimated_frames(sample, result.errors, diagnostics)


def measure_metric_translation_error(sample: Sample) -> Measurement:
    """Mean distance in metres between estimated and commanded positions, without scaling."""
    errors = metric_translation_errors(sample.estimated_cameras, sample.clip.target_cameras)
    return _over_estimated_frames(sample, np.where(sample.estimate.position_known[1:], errors, np.nan))


def measure_direction_error(sample: Sample) -> Measurement:
    """Mean angle between estimated and commanded displacement."""
    errors = direction_errors_degrees(sample.estimated_cameras, sample.clip.target_cameras)
    expected = np.isfinite(errors)
    if not expected.any():
        return Measurement(None, "not_applicable", "the commanded camera hardly moves: it has no direction")
    errors = np.where(sample.estimate.position_known[1:], errors, np.nan)
    return _over_estimated_frames(sample, errors, expected=expected)


def measure_median_rotation_error(sample: Sample) -> Measurement:
    """Median rotation error over frames 1..T-1: what a single lost frame does not spoil."""
    errors = _known_rotation_errors(sample)
    measured = _over_estimated_frames(sample, errors)
    return measured if measured.status != "ok" else replace(measured, value=_median(errors), per_frame=None)


def measure_final_rotation_error(sample: Sample) -> Measurement:
    """Rotation error of the last frame, where drift has added up."""
    error = float(_known_rotation_errors(sample)[-1])
    if not np.isfinite(error):
        return Measurement.missing(sample.estimate.reasons[-1] or "the last frame's camera could not be measured")
    return Measurement(error)


def measure_pose_auc(sample: Sample, threshold: float) -> Measurement:
    """Area under the recall curve of pairs of frames.

    A pair's error is the larger of those of rotation and direction of translation, or that of the rotation where the commanded
    camera only turns.

    Args:
        sample: with estimated cameras.
        threshold: degrees, where the curve ends.
    """
    estimate = sample.estimate
    rotations, directions = pairwise_errors_degrees(estimate.cameras, sample.clip.target_cameras)
    known = np.where(np.isfinite(directions), _of_pairs(estimate.position_known), _of_pairs(estimate.rotation_known))
    if not known.any():
        return Measurement.missing(sample.estimate.reason or "no pair of cameras could be measured")
    value = area_under_recall(np.fmax(rotations, directions)[known], threshold)
    return Measurement(value, diagnostics={"pairs": int(known.sum())}, share=float(known.mean()))


def measure_relative_rotation_error(sample: Sample) -> Measurement:
    """Mean rotation error of single steps."""
    errors, _ = relative_pose_errors(sample.estimated_cameras, sample.clip.target_cameras)
    known = sample.estimate.rotation_known
    return _over_estimated_frames(sample, np.where(known[1:] & known[:-1], errors, np.nan))


def measure_relative_translation_error(sample: Sample) -> Measurement:
    """Mean translation error of single steps after one non-negative scale, as a share of the mean commanded step."""
    commanded, known = sample.clip.target_cameras, sample.estimate.position_known
    length = float(commanded.path_length())
    if length < 1e-9:
        return _standing()
    fit = sample.once(_translation_errors)
    poses = sample.estimated_cameras.relative_to(0).camera_to_world.clone()
    poses[:, :3, 3] *= 0.0 if fit.static_generation else fit.scale
    scaled = Cameras(poses, sample.estimated_cameras.intrinsics)
    errors = relative_pose_errors(scaled, commanded)[1] * (len(commanded) - 1) / length
    return _over_estimated_frames(sample, np.where(known[1:] & known[:-1], errors, np.nan))


def measure_similarity_error(sample: Sample) -> Measurement:
    """Absolute trajectory error after Sim(3) alignment, as a share of the commanded path; see `similarity_error`."""
    commanded, known = sample.clip.target_cameras, np.flatnonzero(sample.estimate.position_known)
    length = float(commanded.path_length())
    if length < 1e-9:
        return _standing()
    if len(known) < 3:
        return Measurement.missing(sample.estimate.reason or "fewer than 3 frames to align")
    error, scale = similarity_error(sample.estimated_cameras[known], commanded[known])
    share = float(sample.estimate.position_known[1:].mean())
    return Measurement(error / length, diagnostics={"scale": round(scale, 4)}, share=share)


def measure_summed(sample: Sample, part: str, self_normalised: bool) -> Measurement:
    """One of the sums over frames that other papers print.

    Args:
        sample: with estimated cameras.
        part: of `summed_errors`.
        self_normalised: as in `summed_errors`.
    """
    known = sample.estimate.rotation_known if part == "rotation" else sample.estimate.position_known
    if not known.all():
        return Measurement.missing(sample.estimate.reason or "a sum over frames needs the cameras of all of them")
    return Measurement(summed_errors(sample.estimated_cameras, sample.clip.target_cameras, self_normalised)[part])


def _translation_errors(sample: Sample) -> TranslationErrors:
    depth, commanded = sample.clip.target_depth, sample.clip.target_cameras
    median_depth = None
    # The depth is in the unit of the commanded cameras, so it is a yardstick only where the estimate shares that unit.
    if depth is not None and sample.estimated_cameras.metric and commanded.metric:
        known = depth[np.isfinite(depth) & (depth > 0)]
        median_depth = float(np.median(known)) if known.size else None
    return translation_errors(sample.estimated_cameras, commanded, median_depth, sample.estimate.position_known)


def _known_rotation_errors(sample: Sample) -> np.ndarray:
    errors = rotation_errors_degrees(sample.estimated_cameras, sample.clip.target_cameras)
    return np.where(sample.estimate.rotation_known[1:], errors, np.nan)


def _of_pairs(known: np.ndarray) -> np.ndarray:
    """[P] whether both frames of each pair i < j are known."""
    first, second = np.triu_indices(len(known), 1)
    return known[first] & known[second]


def _standing() -> Measurement:
    return Measurement(None, "not_applicable", "the commanded path has no length")


def _over_estimated_frames(
    sample: Sample, errors: np.ndarray, diagnostics: dict | None = None, expected: np.ndarray | None = None
) -> Measurement:
    """The mean over frames whose camera could be measured; the others lower the share (default: all are expected)."""
    expected = np.ones(len(errors), dtype=bool) if expected is None else expected
    reason = sample.estimate.reason or "no frame's camera could be measured"
    if sample.estimate.reason:
        diagnostics = (diagnostics or {}) | {"not_estimated": sample.estimate.reason}
    return Measurement.over_frames(errors, reason, diagnostics, expected)


def _median(errors: np.ndarray) -> float:
    known = errors[np.isfinite(errors)]
    return float(np.median(known)) if len(known) else float("nan")


def _rounded(value: float) -> float | None:
    """For a JSON file, which knows no NaN."""
    return round(float(value), 4) if np.isfinite(value) else None

"""The formulas against those of other libraries: evo for trajectories, kornia and OpenCV for epipolar geometry.

evo is GPL and only ever used here; its tests are skipped where it is not installed (`pip install -e .[oracle]`).
"""

import cv2
import numpy as np
import pytest
import torch
from kornia.geometry.epipolar import symmetrical_epipolar_distance
from scipy.spatial.transform import Rotation

from video4spatial.cameras import Cameras
from video4spatial.evaluation.metrics.camera import (
    metric_translation_errors,
    relative_pose_errors,
    rotation_errors_degrees,
    similarity_error,
    summed_errors,
    translation_errors,
)
from video4spatial.evaluation.metrics.consistency import agreement, tsed
from video4spatial.geometry.two_views import epipolar_distances, fundamental_matrix, sampson_distances


def trajectory(seed: int, count: int = 24, noise: float = 0.0) -> Cameras:
    """A smooth path through space, and `noise` on it in radians and metres."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    turns, steps = rng.normal(0, 0.06, (2, 3)), rng.normal(0, 0.1, (2, 3))
    along = np.linspace(0, 1, count)[:, None]
    vectors = np.cumsum(turns[0] * (1 - along) + turns[1] * along, 0)
    rng = np.random.default_rng(seed + 1000)
    poses[:, :3, :3] = Rotation.from_rotvec(vectors + noise * rng.normal(0, 1, (count, 3))).as_matrix()
    poses[:, :3, 3] = np.cumsum(steps[0] * (1 - along) + steps[1] * along, 0) + noise * rng.normal(0, 1, (count, 3))
    return Cameras.from_fov(torch.from_numpy(poses), 70.0)


def as_evo(cameras: Cameras):
    evo_trajectory = pytest.importorskip("evo.core.trajectory", reason="evo is an oracle for development")
    return evo_trajectory.PosePath3D(poses_se3=list(cameras.relative_to(0).camera_to_world.numpy()))


@pytest.mark.parametrize("seed", range(5))
def test_camera_errors_agree_with_evo(seed):
    commanded, estimated = trajectory(seed), trajectory(seed, noise=0.05)
    metrics = pytest.importorskip("evo.core.metrics", reason="evo is an oracle for development")
    relation, unit = metrics.PoseRelation, metrics.Unit.frames
    paths = (as_evo(commanded), as_evo(estimated))

    def errors(measure):
        measure.process_data(paths)
        return measure.error

    absolute = errors(metrics.APE(relation.rotation_angle_deg))
    assert rotation_errors_degrees(estimated, commanded) == pytest.approx(absolute[1:], abs=1e-6)
    absolute = errors(metrics.APE(relation.translation_part))
    assert metric_translation_errors(estimated, commanded) == pytest.approx(absolute[1:], abs=1e-6)
    for delta in (1, 5):
        rotations, translations = relative_pose_errors(estimated, commanded, delta)
        options = dict(delta=delta, delta_unit=unit, all_pairs=True)
        assert rotations == pytest.approx(errors(metrics.RPE(relation.rotation_angle_deg, **options)), abs=1e-6)
        assert translations == pytest.approx(errors(metrics.RPE(relation.translation_part, **options)), abs=1e-6)
    motion = errors(metrics.APE(relation.full_transformation))
    assert summed_errors(estimated, commanded, self_normalised=False)["camera_motion"] == pytest.approx(motion.sum(), abs=1e-6)

    # The anchored scale is ours, evo applies it.
    fit = translation_errors(estimated, commanded)
    paths[1].scale(fit.scale)
    scaled = errors(metrics.APE(relation.translation_part))
    assert fit.errors * fit.path_length == pytest.approx(scaled[1:], abs=1e-6)

    _, _, scale = paths[1].align(paths[0], correct_scale=True)
    measure = metrics.APE(relation.translation_part)
    measure.process_data(paths)
    error, own_scale = similarity_error(estimated, commanded)
    assert error == pytest.approx(measure.get_statistic(metrics.StatisticsType.rmse), abs=1e-6)
    assert own_scale == pytest.approx(scale * fit.scale, abs=1e-6)


def test_section_6_similarity_alignment_hides_wrong_trajectories_and_ours_does_not():
    """The alignment experiment: constant forward steps of 3 cm while yawing from 0 to 40 degrees, 49 frames."""
    count = 49
    poses = np.tile(np.eye(4), (count, 1, 1))
    yaw = np.linspace(0, np.radians(40), count)
    poses[:, :3, :3] = Rotation.from_rotvec(yaw[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()
    poses[1:, :3, 3] = 0.03 * np.cumsum(poses[1:, :3, 2], axis=0)

    def cameras(positions, rotations=poses[:, :3, :3]):
        changed = poses.copy()
        changed[:, :3, :3], changed[:, :3, 3] = rotations, positions
        return Cameras.from_fov(torch.from_numpy(changed), 70.0)

    positions, truth = poses[:, :3, 3], cameras(poses[:, :3, 3])
    noise = np.random.default_rng(0).normal(0, 1e-3, positions.shape)
    noise[0] = 0
    predictions = {  # similarity error, its scale, anchored error in metres, rotation error in degrees
        "exact x 0.37": (cameras(0.37 * positions), 0.0, 1 / 0.37, 0.0, 0.0),
        "static": (cameras(noise), 0.4172, None, 0.7126, 0.0),
        "backwards": (cameras(-positions), 0.0, 1.0, 0.7126, 0.0),
        "opposite turn": (cameras(positions * [-1, 1, 1], poses[:, :3, :3].swapaxes(1, 2)), 0.0, 1.0, 0.3345, 40.0),
    }
    for name, (predicted, similar, scale, anchored, turned) in predictions.items():
        tolerance = 0.02 if name == "static" else 1e-9  # its noise is drawn anew
        error, found = similarity_error(predicted, truth)
        assert error == pytest.approx(similar, abs=tolerance), name
        assert scale is None or found == pytest.approx(scale), name
        fit = translation_errors(predicted, truth)
        # The table's mean is over all frames, ours leaves out the anchor, whose error is 0.
        assert fit.errors.sum() * fit.path_length / count == pytest.approx(anchored, abs=tolerance + 5e-4), name
        assert rotation_errors_degrees(predicted, truth).mean() == pytest.approx(turned * count / (count - 1)), name


def matches(seed: int = 0, noise: float = 0.5):
    """Points of a rigid scene in two views of 256x256 pixels, with noise in pixels, and the cameras."""
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, :3] = Rotation.from_rotvec([0.05, -0.1, 0.02]).as_matrix()
    poses[1, :3, 3] = [0.3, -0.1, 0.2]
    cameras = Cameras.from_fov(torch.from_numpy(poses), 60.0)
    points = rng.uniform([-1.5, -1.5, 3, 1], [1.5, 1.5, 7, 1], (200, 4))
    pixels = cameras.pixel_intrinsics(256, 256).numpy() @ (cameras.world_to_camera.numpy()[:, :3] @ points.T)
    pixels = (pixels[:, :2] / pixels[:, 2:]).swapaxes(1, 2) + rng.normal(0, noise, (2, 200, 2))
    return pixels[0], pixels[1], cameras


def test_epipolar_distances_agree_with_opencv_and_kornia():
    first, second, cameras = matches()
    matrix = fundamental_matrix(cameras, 256, 256)
    ours = epipolar_distances(first, second, matrix)

    def to_lines(points, others, image):
        lines = cv2.computeCorrespondEpilines(points[:, None], image, matrix)[:, 0]
        return np.abs((lines[:, :2] * others).sum(1) + lines[:, 2])

    assert ours == pytest.approx(0.5 * (to_lines(first, second, 1) + to_lines(second, first, 2)), rel=1e-4, abs=1e-4)
    tensors = (torch.from_numpy(x)[None] for x in (first, second, matrix))
    squares = symmetrical_epipolar_distance(*tensors)[0].numpy()  # the sum of both squared
    both = np.stack([to_lines(first, second, 1), to_lines(second, first, 2)])
    assert (both**2).sum(0) == pytest.approx(squares, rel=1e-3, abs=1e-3)

    homogeneous = [np.append(points, np.ones((200, 1)), axis=1) for points in (first, second)]
    expected = [cv2.sampsonDistance(one, other, matrix) for one, other in zip(*homogeneous)]  # squared
    assert sampson_distances(first, second, matrix) == pytest.approx(np.sqrt(expected), rel=1e-6)

    exact = epipolar_distances(*matches(noise=0)[:2], matrix)
    assert exact.max() < 1e-9


def reference_tsed(pairs, height):
    """The paper's code in our coordinates: distances to lines in pixels, strict threshold, too few matches inconsistent."""
    consistent = 0
    for first, second, matrix in pairs:
        distances = []
        for p, q in zip(first, second):
            lines = matrix @ [*p, 1], matrix.T @ [*q, 1]
            to_lines = [abs(line @ [*point, 1]) / np.hypot(*line[:2]) for line, point in zip(lines, (q, p))]
            distances.append(0.5 * sum(to_lines))
        consistent += len(distances) >= 10 and np.median(distances) < 2.0 * height / 256
    return consistent / len(pairs)


@pytest.mark.parametrize("height", [256, 128, 512])
def test_tsed_is_the_papers_at_256_pixels_and_scaled(height):
    pairs = []
    for seed, (noise, count) in enumerate([(0.3, 200), (1.5, 200), (2.4, 200), (6.0, 200), (0.3, 10), (0.3, 9), (0.3, 0)]):
        first, second, cameras = matches(seed, noise)
        scale = height / 256
        pairs.append((scale * first[:count], scale * second[:count], fundamental_matrix(cameras, height, height)))
    score = tsed([epipolar_distances(*pair) for pair in pairs], height)
    # Of Gaussian noise the median distance is 0.95 times its strength; the same pictures score the same at any size.
    assert score == reference_tsed(pairs, height) == pytest.approx(3 / 7)


def test_agreement_needs_no_camera():
    first, second, _ = matches(noise=0.1)
    inliers, error = agreement(first, second, 256)
    assert inliers > 0.95 and error < 0.3
    broken = second.copy()
    broken[:80] += np.random.default_rng(0).normal(0, 15, (80, 2))
    assert agreement(first, broken, 256)[0] == pytest.approx(0.6, abs=0.08)
    assert agreement(first[:14], second[:14], 256) is None
    assert agreement(first, first, 256) is None  # what does not move fits any matrix

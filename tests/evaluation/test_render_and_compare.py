"""The camera estimator on frames whose cameras are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from video4spatial.evaluation.estimators import Evidence
from video4spatial.evaluation.estimators.render_and_compare import cameras_by_rendering
from video4spatial.evaluation.metrics.camera import metric_translation_errors, rotation_errors_degrees
from video4spatial.simulation.scenes import generate_scene


@pytest.fixture(scope="module")
def scene(clip):
    return generate_scene(clip.provenance["scene_seed"])


def test_true_and_blurred_frames(scene, clip):
    commanded = clip.instruction.cameras
    estimate = cameras_by_rendering(clip.target_frames, commanded.intrinsics, commanded[0], scene)
    assert np.median(rotation_errors_degrees(estimate.cameras, commanded)) < 1.5
    assert np.median(metric_translation_errors(estimate.cameras, commanded)) < 0.1
    assert estimate.coverage == 1 and estimate.confidence.min() > 0.95
    assert estimate.cameras[0].allclose(commanded[0])
    blurred = gaussian_filter(clip.target_frames.astype(float), (0, 2, 2, 0)).astype(np.uint8)
    estimate = cameras_by_rendering(blurred, commanded.intrinsics, commanded[0], scene)
    assert np.median(rotation_errors_degrees(estimate.cameras, commanded)) < 5


def test_a_frozen_video_has_a_frozen_camera(scene, clip):
    frames = np.repeat(clip.target_frames[:1], 3, axis=0)
    estimate = cameras_by_rendering(frames, clip.instruction.cameras.intrinsics[:3], clip.instruction.cameras[0], scene)
    assert estimate.coverage == 1 and float(estimate.cameras.path_length()) < 0.02
    assert float(estimate.cameras[2].rotation_to(clip.instruction.cameras[0])[0]) < 0.5


def test_grey_frames_have_no_camera(scene, clip):
    frames = np.full_like(clip.target_frames[:3], 127)
    estimate = cameras_by_rendering(frames, clip.instruction.cameras.intrinsics[:3], clip.instruction.cameras[0], scene)
    assert estimate.coverage == 0 and "resembles no view" in estimate.reason and not estimate.confidence.any()


def test_bad_input_is_named(clip):
    with pytest.raises(ValueError, match="uint8.*one camera"):
        Evidence(clip.target_frames / 255.0, clip.instruction.cameras.intrinsics, clip.instruction.cameras)

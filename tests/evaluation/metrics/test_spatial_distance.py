"""Spatial distance: low on the truth, higher for another scene, a moved and an invented object; never a number out of nothing."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.cameras import Cameras
from video4spatial.clips import Navigate
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.evaluation.measurement import Sample
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.plane_sweep import plane_sweep
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.metrics.spatial_distance import SpatialDistanceSettings, measure_spatial_distance, unprojected
from video4spatial.geometry.visibility import nearest_points
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene

METRIC = METRICS["spatial_distance_v1"]


@pytest.fixture(scope="module")
def clip():
    return load_test_set(limit=6)[5].load(64)


@pytest.fixture(scope="module")
def true_value(clip):
    return METRIC(Sample(clip, clip.target_frames, clip.target_cameras)).value


def _film(clip, scene, cameras=None):
    return render(scene, clip.target_cameras if cameras is None else cameras, 64, 64, supersample=2).rgb


def _shown_objects(clip, scene):
    """Objects by the share of the target's pixels they fill."""
    instances = render(scene, clip.target_cameras, 64, 64).instance
    return sorted(((float((instances == item.instance_id).mean()), item) for item in scene.objects), key=lambda pair: -pair[0])


def test_plane_sweep_finds_true_depth(clip):
    radius = float(np.median(clip.context_depth))
    swept = plane_sweep(clip.target_frames, clip.target_cameras, radius, list(range(1, 9)))
    found = swept.depth > 0
    sure = found & (swept.confidence >= np.quantile(swept.confidence[found], 0.3))
    errors = np.abs(swept.depth - clip.target_depth[1:]) / clip.target_depth[1:]
    assert found.mean() > 0.3 and np.median(errors[sure]) < 0.08
    assert errors[sure].mean() < errors[found].mean()  # the confidence means something


def test_the_truth_is_near_and_another_scene_far(clip, true_value):
    assert true_value < 0.15
    other = simulated_navigation_clip(2_050_101, walk_frames=8, context_size=2)
    frames = _film(clip, generate_scene(2_050_101), clip.target_cameras.relative_to(0).placed_at(other.target_cameras[0]))
    swapped = METRIC(Sample(clip, frames, clip.target_cameras))
    assert swapped.value > 0.2 and swapped.value > 2 * true_value
    assert swapped.diagnostics["f_score_0.1"] < 0.6


def test_a_moved_object_is_farther(clip, true_value):
    scene = generate_scene(clip.provenance["scene_seed"])
    share, item = next((share, item) for share, item in _shown_objects(clip, scene) if share < 0.35)
    assert share > 0.03
    values = []
    for sign in (-1, 1):
        step = np.float32(0.5 * sign * clip.target_cameras.right[4].numpy() * (1, 1, 0))
        moved = replace(scene, center=scene.center + step * (scene.instance == item.instance_id)[:, None])
        values.append(METRIC(Sample(clip, _film(clip, moved), clip.target_cameras)).value)
    assert max(values) > 1.2 * true_value


def test_an_invented_object_is_farther(clip, true_value):
    scene = generate_scene(clip.provenance["scene_seed"])
    middle = clip.target_depth[5, 32, 32] * 0.55
    place = (clip.target_cameras.positions[5] + float(middle) * clip.target_cameras.forward[5]).numpy()
    item = max((part for part in scene.objects if part.movable), key=lambda part: part.size[2])
    own = np.flatnonzero(scene.instance == item.instance_id)
    rows = np.concatenate([np.arange(len(scene.kind)), own])
    names = ("kind", "center", "half", "yaw", "instance", "face_layers", "uv_scale", "uv_offset", "light_gain", "emission")
    doubled = replace(scene, **{name: getattr(scene, name)[rows] for name in names})
    doubled.center[-len(own) :] += np.float32(place - item.center)
    value = METRIC(Sample(clip, _film(clip, doubled), clip.target_cameras)).value
    assert value > 1.2 * true_value


def test_the_measure_does_not_depend_on_the_unit(clip, true_value):
    half = replace(
        clip, context_cameras=clip.context_cameras.scaled(0.5, False), context_depth=clip.context_depth / 2,
        instruction=Navigate(clip.target_cameras.scaled(0.5, False)), target_cameras=None, target_depth=None,
    )  # fmt: skip
    value = METRIC(Sample(half, clip.target_frames, half.target_cameras)).value
    assert value == pytest.approx(true_value, rel=0.02)


def test_without_known_depth_the_context_is_swept(clip):
    few = clip.with_context(sorted({*range(0, len(clip.context_frames), 3), clip.anchor}))
    blind = replace(few, context_depth=None, target_depth=None)
    assert METRIC(Sample(blind, clip.target_frames, clip.target_cameras)).value < 0.2


def test_points_from_another_estimator(clip, true_value):
    def true_depth(frames, cameras, references):
        depth = clip.target_depth[references]
        return DepthMaps(depth, np.ones_like(depth), ("",) * len(depth))

    sample = Sample(clip, clip.target_frames, clip.target_cameras)
    assert measure_spatial_distance(sample, depth_estimator=true_depth).value < true_value


def test_what_cannot_be_measured_says_why(clip):
    frames, cameras = clip.target_frames, clip.target_cameras
    still = cameras[[0] * 9]
    cases = {
        "texture": Sample(clip, np.full_like(frames, 120), cameras),
        "hardly moves": Sample(clip, np.repeat(frames[:1], 9, 0), still),
        "not known": Sample(clip, frames, EstimatedCameras(cameras, np.arange(9) == 0)),
        "shows nothing": Sample(clip, frames, Cameras(_turned_away(cameras), cameras.intrinsics)),
    }
    for word, sample in cases.items():
        measurement = METRIC(sample)
        assert measurement.status == "missing" and word in measurement.reason, word
    assert METRIC(Sample(clip, frames)).status == "not_applicable"
    assert METRIC(Sample(replace(clip, context_cameras=None), frames, cameras)).status == "not_applicable"
    turning = replace(clip, instruction=Navigate(still), target_cameras=None)
    assert METRIC(Sample(turning, frames, still)).status == "not_applicable"


def _turned_away(cameras):
    poses = cameras.camera_to_world.clone()
    poses[:, 2, 3] += 50.0  # far above the room, in which the context's points lie behind the camera or too low
    return poses


def test_frames_without_camera_lower_the_share(clip):
    known = np.arange(9) != 4
    measurement = METRIC(Sample(clip, clip.target_frames, EstimatedCameras(clip.target_cameras, known)))
    assert measurement.value < 0.15 and measurement.per_frame[3] is None and measurement.share == pytest.approx(7 / 8)


def test_settings_are_checked_and_used(clip, true_value):
    with pytest.raises(ValueError, match="drop.*colour"):
        SpatialDistanceSettings(drop=1.0, colour=0.0)
    commanded = SpatialDistanceSettings(cameras="commanded")
    sample = Sample(clip, clip.target_frames)
    assert measure_spatial_distance(sample, commanded).value == pytest.approx(true_value)


def test_nearest_points_hide_what_lies_behind(clip):
    cameras, depth = clip.context_cameras[:1], clip.context_depth[:1]
    near = unprojected(cameras, depth).reshape(-1, 3)
    far = unprojected(cameras, depth * 1.5).reshape(-1, 3)
    index, distance = nearest_points(np.concatenate([far, near]), cameras, 64, 64)
    assert (index >= len(far)).mean() > 0.99
    np.testing.assert_allclose(distance[index >= 0], depth[index >= 0], rtol=1e-4)

"""Grounding: the truth follows the instruction; missing, replaced or invented objects, jumps and standing still do not."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.clips.augmentation import mirrored
from video4spatial.clips.shards import clip_from_members, clip_members
from video4spatial.clips.simulated import simulated_grounding_clip, simulated_navigation_clip
from video4spatial.grounding.detectors import DETECTORS, Detector
from video4spatial.evaluation.metrics.grounding import (
    SETTINGS, box_ious, measure_if_at_sd, measure_instruction_followed, projected_boxes,
)  # fmt: skip
from video4spatial.evaluation.measurement import Sample
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.evaluation.metrics import GROUNDING_METRICS, METRICS
from video4spatial.simulation.pieces import BOX
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene

PACKED = ("kind", "center", "half", "yaw", "instance", "face_layers", "uv_scale", "uv_offset", "light_gain", "emission")


@pytest.fixture(scope="module")
def clip():
    return simulated_grounding_clip(2_050_002, walk_frames=32, context_size=24)


@pytest.fixture(scope="module")
def scene(clip):
    return generate_scene(clip.provenance["scene_seed"])


def _film(clip, scene):
    return render(scene, clip.target_cameras, 64, 64, supersample=2).rgb


def _without(scene, instance):
    return replace(scene, **{name: getattr(scene, name)[scene.instance != instance] for name in PACKED})


def _with_copy(scene, instance, place):
    """The scene with an object a second time, its middle at a place [3]."""
    own = np.flatnonzero(scene.instance == instance)
    rows = np.concatenate([np.arange(len(scene.kind)), own])
    doubled = replace(scene, **{name: getattr(scene, name)[rows] for name in PACKED})
    doubled.center[-len(own) :] += np.float32(np.asarray(place) - scene.object(instance).center)
    return doubled


def test_the_truth_scores_best(clip):
    sample = Sample(clip, clip.target_frames, clip.target_cameras)
    names = (*GROUNDING_METRICS, "visible_at_end", "centred_at_end", "right_size_at_end")
    values = {name: METRICS[name](sample).value for name in names}
    assert values.pop("spatial_distance_v1") < 0.15
    assert values.pop("path_efficiency") > 0.9
    assert values.pop("collisions") == 0
    assert set(values.values()) == {1.0}


def test_cameras_outside_all_rooms_are_counted(clip):
    outside = clip.target_cameras.camera_to_world.clone()
    outside[5:, :2, 3] += 100.0
    assert METRICS["collisions"](Sample(clip, clip.target_frames, replace(clip.target_cameras, camera_to_world=outside))).value == 0.5


def test_truth_of_several_scenes_is_followed():
    for seed in (2_050_000, 2_050_003, 2_050_004):
        other = simulated_grounding_clip(seed, walk_frames=32, context_size=24)
        measurement = METRICS["instruction_followed"](Sample(other, other.target_frames, other.target_cameras))
        assert measurement.value == 1.0, measurement.diagnostics


def test_the_object_taken_away_is_not_found(clip, scene):
    sample = Sample(clip, _film(clip, _without(scene, clip.target_object.instance_id)), clip.target_cameras)
    measurement = METRICS["instruction_followed"](sample)
    assert measurement.value == 0.0 and "not seen" in measurement.diagnostics["problem"]
    assert METRICS["box_iou"](sample).value == 0.0 and METRICS["box_persistence"](sample).value == 0.0


def test_an_object_in_front_hides_it(clip, scene):
    rows = np.append(np.arange(len(scene.kind)), 0)
    hidden = replace(scene, **{name: getattr(scene, name)[rows] for name in PACKED})
    hidden.kind[-1], hidden.half[-1], hidden.instance[-1] = BOX, 0.3, len(scene.labels) + 1
    hidden.center[-1] = (clip.target_cameras.positions[-1].numpy() + np.array(clip.target_object.center)) / 2
    context = render(hidden, clip.context_cameras, 64, 64, supersample=2)
    known = replace(clip, context_frames=context.rgb, context_depth=context.depth)
    measurement = METRICS["visible_at_end"](Sample(known, _film(clip, hidden), clip.target_cameras))
    assert measurement.value == 0.0 and measurement.diagnostics["unhidden"][-1] < SETTINGS.visible


class _FoundByPixels(Detector):
    """A detector that sees an object in the middle of every frame, wherever it comes from."""

    def lacking(self):
        return ""

    def boxes(self, frames, label):
        return np.tile([0.3, 0.3, 0.7, 0.7], (len(frames), 1))


def test_an_invented_object_is_found_but_not_in_the_scene(clip, scene):
    eager = _FoundByPixels("eager", "none", "none", "none", "{}")
    truth = Sample(clip, clip.target_frames, clip.target_cameras)
    assert measure_instruction_followed(truth, eager).value == measure_if_at_sd(truth, eager).value == 1.0
    end = clip.target_cameras.positions[-1].numpy()
    place = 0.5 * end + 0.5 * np.array(clip.target_object.center)
    part = max((item for item in scene.objects if item.movable and max(item.size) < 1.0), key=lambda item: np.prod(item.size))
    invented = Sample(clip, _film(clip, _with_copy(scene, part.instance_id, place)), clip.target_cameras)
    assert measure_instruction_followed(invented, eager).value == 1.0
    gated = measure_if_at_sd(invented, eager)
    assert gated.value == 0.0 and "object is not below" in gated.diagnostics["problem"]
    assert METRICS["instruction_followed"](invented).value == 0.0  # it hides the real one, or shows other colours


def test_a_static_video_has_not_followed(clip):
    frames = np.repeat(clip.target_frames[:1], 9, 0)
    sample = Sample(clip, frames, clip.target_cameras[[0] * 9])
    for name in ("instruction_followed", "if_at_sd"):
        measurement = METRICS[name](sample)
        assert measurement.value == 0.0 and measurement.diagnostics["problem"]
    assert "does not move" in METRICS["instruction_followed"](sample).diagnostics["problem"]
    assert METRICS["path_efficiency"](sample).status == "missing"


def test_a_jump_is_not_continuous(clip):
    poses = clip.target_cameras.camera_to_world
    jump = Cameras(poses[[0, 8, 8, 8, 8, 8, 8, 8, 8]], clip.target_cameras.intrinsics)
    frames = clip.target_frames[[0, 8, 8, 8, 8, 8, 8, 8, 8]]
    sample = Sample(clip, frames, jump)
    assert METRICS["continuity"](sample).value == 0.0 and METRICS["visible_at_end"](sample).value == 1.0
    assert METRICS["instruction_followed"](sample).value == 0.0
    late = Cameras(poses[[0, 1, 2, 3, 3, 8, 8, 8, 8]], clip.target_cameras.intrinsics)
    assert METRICS["continuity"](Sample(clip, clip.target_frames, late)).diagnostics["problem"].endswith("are allowed")


def test_a_detour_is_less_efficient(clip):
    poses = clip.target_cameras.camera_to_world.clone()
    poses[4, 2, 3] += 0.5
    sample = Sample(clip, clip.target_frames, Cameras(poses, clip.target_cameras.intrinsics))
    assert METRICS["path_efficiency"](sample).value < 0.8 * METRICS["path_efficiency"](
        Sample(clip, clip.target_frames, clip.target_cameras)
    ).value


def test_what_cannot_be_measured_is_missing(clip):
    blank = Sample(clip, np.full_like(clip.target_frames, 90), clip.target_cameras)
    nowhere = EstimatedCameras(clip.target_cameras, np.arange(9) == 0, reasons=("",) + ("no match",) * 8)
    lost = Sample(clip, clip.target_frames, nowhere)
    for name in ("instruction_followed", "if_at_sd", "box_iou", "visible_at_end", "box_persistence"):
        assert METRICS[name](blank).status == "missing" and "blank" in METRICS[name](blank).reason
        assert METRICS[name](lost).status == "missing" and "no match" in METRICS[name](lost).reason
    unknown = Sample(replace(clip, target_object=None), clip.target_frames, clip.target_cameras)
    assert METRICS["instruction_followed"](unknown).status == "not_applicable"
    assert METRICS["instruction_followed"](Sample(clip, clip.target_frames)).status == "not_applicable"


def test_detectors_declare_themselves_and_never_download(clip):
    sample = Sample(clip, clip.target_frames, clip.target_cameras)
    for name, detector in DETECTORS.items():
        assert detector.model and detector.revision and detector.licence
        if detector.lacking():
            measurement = METRICS[f"instruction_followed_{name}"](sample)
            assert measurement.status == "missing" and detector.model in measurement.reason
    nobody = Detector("nobody", "nobody/nothing", "main", "none", "{}")
    assert "not installed" in nobody.lacking() or "not on disk" in nobody.lacking()


def test_navigation_clips_have_nothing_to_find():
    other = simulated_navigation_clip(2_050_000, num_frames=5, walk_frames=24, context_size=4)
    for name in ("instruction_followed", "if_at_sd", "continuity", "path_efficiency", "box_iou"):
        assert METRICS[name](Sample(other, other.target_frames, other.target_cameras)).status == "not_applicable"


def test_projected_boxes_hold_the_pixels_of_the_object(clip):
    boxes = projected_boxes(clip.target_object, clip.target_cameras)
    for projected, seen in zip(boxes[-5:], clip.target_boxes[-5:], strict=True):
        assert (projected[:2] <= seen[:2] + 0.02).all() and (projected[2:] >= seen[2:] - 0.02).all()
        assert box_ious(projected[None], seen[None].astype(np.float64))[0] > 0.5
    behind = clip.target_cameras.positions[0] - 2 * clip.target_cameras.forward[0]
    away = SceneObject("lamp", 1, tuple(behind.tolist()), (0.2, 0.2, 0.2))
    assert np.isnan(projected_boxes(away, clip.target_cameras[:1])).all()
    around = SceneObject("room", 1, tuple(clip.target_cameras.positions[0].tolist()), (4.0, 4.0, 4.0))
    np.testing.assert_allclose(projected_boxes(around, clip.target_cameras[:1]), [[0, 0, 1, 1]], atol=0.05)


def test_box_ious():
    whole, left, none = np.array([[0, 0, 1, 1.0]]), np.array([[0, 0, 0.5, 1.0]]), np.full((1, 4), np.nan)
    assert box_ious(whole, left) == 0.5 and box_ious(whole, none) == 0 and np.isnan(box_ious(none, none)).all()


def test_the_object_travels_with_its_clip(clip):
    stored = clip_from_members(clip_members(clip))
    assert stored.target_object == clip.target_object
    swapped = mirrored(clip)
    boxes = projected_boxes(clip.target_object, clip.target_cameras)
    flipped = projected_boxes(swapped.target_object, swapped.target_cameras)
    np.testing.assert_allclose(flipped, np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1), atol=1e-9)

"""Regions lifted into space and followed, on a simulated flat whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.clips import Ground, Region
from video4spatial.clips.regions import mask_box
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.grounding import NotFound
from video4spatial.grounding.boxes import fitted_box, within
from video4spatial.grounding.detectors import Detection
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import locate_region, same_place
from video4spatial.grounding.phrases import RELATIONS, locate, parse_phrase
from video4spatial.simulation import generate_scene


def _best_frame(instance_pictures, item) -> int:
    return int((instance_pictures == item.instance_id).mean((1, 2)).argmax())


def _seen_from(cameras, frame: int, point) -> np.ndarray:
    world_to_camera = cameras.world_to_camera[frame].numpy()
    return world_to_camera[:3, :3] @ np.array(point) + world_to_camera[:3, 3]


def test_scenes_are_stood_upright_on_their_floor(true_scene, grounding_clip):
    up = true_scene.geometry.cameras.up.numpy()
    expected = grounding_clip.context_cameras.up.numpy()
    np.testing.assert_allclose(up[:, 2], expected[:, 2], atol=0.02)
    height = true_scene.height_above_floor(len(up) - 1)
    assert height == pytest.approx(float(grounding_clip.context_cameras.positions[-1, 2]), abs=0.08)


def test_cameras_that_all_look_one_way_are_levelled_by_surfaces(grounding_clip):
    clip = grounding_clip
    count = 2
    geometry = SceneGeometry(
        clip.context_frames[:count], clip.context_cameras[[0, 0]], np.ones(count, bool), clip.context_depth[[0, 0]],
        np.ones_like(clip.context_depth[:count]), ("",) * count,
    )  # fmt: skip
    up = LevelScene.of(geometry).geometry.cameras.up.numpy()
    np.testing.assert_allclose(up[0, 2], float(clip.context_cameras.up[0, 2]), atol=0.03)


@pytest.mark.parametrize("marked", ["box", "mask"])
def test_what_is_marked_is_found_in_space_and_in_the_other_frames(marked, true_scene, grounding_clip, instance_pictures):
    item = grounding_clip.target_object
    frame = _best_frame(instance_pictures, item)
    mask = instance_pictures[frame] == item.instance_id
    region = Region(frame, mask=mask) if marked == "mask" else Region(frame, mask_box(mask))
    found = locate_region(true_scene, region)
    apart = _seen_from(true_scene.geometry.cameras, frame, found.item.center)
    apart = apart - _seen_from(grounding_clip.context_cameras, frame, item.center)
    assert np.linalg.norm(apart) < 0.25 and found.confidence > 0.5
    assert all(size < 2 * true + 0.3 for size, true in zip(found.item.size, item.size))
    shown = [index for index, seen in enumerate(instance_pictures) if (seen == item.instance_id).mean() > 0.02]
    assert set(shown) <= set(found.frames) and frame in found.frames
    for index in shown:
        truth = instance_pictures[index] == item.instance_id
        assert (found.masks[index] & truth).sum() > 0.4 * (found.masks[index] | truth).sum()
    written = found.as_dict()
    assert [entry["frame"] for entry in written["frames"]] == found.frames and written["confidence"] > 0.5


def test_marking_other_frames_leads_to_the_same_place_and_other_objects_to_others(true_scene, grounding_clip, instance_pictures):
    item = grounding_clip.target_object
    frames = np.argsort(-(instance_pictures == item.instance_id).mean((1, 2)))[:3]
    found = [locate_region(true_scene, Region(int(f), mask_box(instance_pictures[f] == item.instance_id))) for f in frames]
    assert all(same_place(found[0].item, other.item) for other in found[1:])
    other = next(
        number for number in np.unique(instance_pictures[frames[0]])
        if number not in (0, item.instance_id) and (instance_pictures[frames[0]] == number).mean() > 0.03
    )  # fmt: skip
    elsewhere = locate_region(true_scene, Region(int(frames[0]), mask_box(instance_pictures[frames[0]] == other)))
    assert not same_place(found[0].item, elsewhere.item)


def test_several_draws_of_a_box_tell_how_sure_it_is(true_scene, grounding_clip, instance_pictures):
    item = grounding_clip.target_object
    frame = _best_frame(instance_pictures, item)
    region = Region(frame, mask_box(instance_pictures[frame] == item.instance_id))
    once, often = locate_region(true_scene, region), locate_region(true_scene, region, samples=4)
    assert often.item == once.item and 0.5 * once.confidence < often.confidence <= once.confidence
    assert "of 4 boxes" in often.words


def test_what_the_geometry_does_not_know_is_not_found(true_scene):
    geometry = true_scene.geometry
    depth, placed = geometry.depth.copy(), geometry.placed.copy()
    depth[3], placed[4] = 0, False
    reasons = tuple("too dark" if index == 4 else "" for index in range(len(geometry)))
    scene = replace(true_scene, geometry=replace(geometry, depth=depth, placed=placed, reasons=reasons))
    with pytest.raises(NotFound, match="no depth is known"):
        locate_region(scene, Region(3, (0.4, 0.4, 0.6, 0.6)))
    with pytest.raises(NotFound, match="could not be placed in the scene .too dark."):
        locate_region(scene, Region(4, (0.4, 0.4, 0.6, 0.6)))
    with pytest.raises(ValueError, match="frame 20 of 20: expected 0 to 19"):
        locate_region(scene, Region(20, (0.4, 0.4, 0.6, 0.6)))


def test_boxes_fit_their_points():
    corners = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 3)) * [2.0, 1.0, 0.6]
    cosine, sine = np.cos(0.4), np.sin(0.4)
    points = corners @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]]) + [3, -1, 0.5]
    item = fitted_box(points)
    np.testing.assert_allclose(item.center, [3, -1, 0.5], atol=0.05)
    assert sorted(item.size) == pytest.approx([0.6, 1.0, 2.0], rel=0.1)
    assert within(item, points, 0.05).mean() > 0.95 and not within(item, points + 3).any()
    assert fitted_box(points[:1]).center == pytest.approx(points[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red chair", ("red chair", "", "")), ("Go to the lamp.", ("lamp", "", "")),
        ("find the sofa and stop in front of it", ("sofa", "", "")),
        ("the chair next to the window", ("chair", "next to", "window")),
        ("walk up to the lamp on top of the desk", ("lamp", "on", "desk")),
        ("where is the ball? Go and look", ("ball", "", "")), ("the box to the left of a plant", ("box", "left of", "plant")),
        ("look around until you see the television, then go to it", ("television", "", "")), ("bedside table", ("bedside table", "", "")),
    ],
)  # fmt: skip
def test_phrases_are_read(text, expected):
    phrase = parse_phrase(text)
    assert (phrase.label, phrase.relation, phrase.other) == expected
    assert not phrase.relation or phrase.relation in RELATIONS


def test_words_without_a_detector_say_what_to_do(true_scene):
    with pytest.raises(ValueError, match="mark the object on a frame .`region`., or name a folder"):
        locate(true_scene, Ground("red chair"))
    with pytest.raises(ValueError, match="names no object"):
        parse_phrase("go to the")


class TrueBoxes:
    """A detector that knows which object each pixel shows."""

    name = "true boxes"

    def __init__(self, scene, instance_pictures):
        self.scene, self.pictures = scene, instance_pictures

    def detections(self, frames, label):
        found = []
        for item in self.scene.objects:
            if item.label == label:
                masks = [seen == item.instance_id for seen in self.pictures]
                found += [Detection(index, mask_box(mask), 0.9) for index, mask in enumerate(masks) if mask.mean() > 0.01]
        return found


def test_words_lead_to_the_instance_they_mean(true_scene, grounding_clip, instance_pictures):
    flat = generate_scene(2_050_000)
    detector = TrueBoxes(flat, instance_pictures)
    item, cameras = grounding_clip.target_object, grounding_clip.context_cameras

    def away(found, truth) -> float:
        frame = found.frames[0]
        return float(
            np.linalg.norm(_seen_from(true_scene.geometry.cameras, frame, found.item.center) - _seen_from(cameras, frame, truth.center))
        )

    found = locate(true_scene, Ground("go to the nightstand"), detector)
    assert away(found, item) < 0.3 and found.confidence > 0.3 and found.item.label == "nightstand"
    pictures = [other for other in flat.objects if other.label == "picture"]
    near = min(pictures, key=lambda other: np.linalg.norm(np.subtract(other.center, item.center)[:2]))
    beside = locate(true_scene, Ground("the picture next to the nightstand"), detector)
    assert away(beside, near) < 0.5 and "of" in beside.words
    with pytest.raises(NotFound, match="no frame of the scene shows 'unicorn'"):
        locate(true_scene, Ground("unicorn"), detector)
    with pytest.raises(NotFound, match="but no frame shows 'elephant'"):
        locate(true_scene, Ground("the nightstand behind the elephant"), detector)


def test_words_and_a_region_back_each_other(true_scene, grounding_clip, instance_pictures):
    detector = TrueBoxes(generate_scene(2_050_000), instance_pictures)
    item = grounding_clip.target_object
    frame = _best_frame(instance_pictures, item)
    region = Region(frame, mask_box(instance_pictures[frame] == item.instance_id))
    agreed = locate(true_scene, Ground("the nightstand", region), detector)
    doubted = locate(true_scene, Ground("the unicorn", region), detector)
    assert doubted.confidence == pytest.approx(agreed.confidence / 2) and doubted.item.center == agreed.item.center
    assert "agree" in agreed.words and "nowhere near" in doubted.words

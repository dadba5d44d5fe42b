"""Objects, visibility, approaches and words, checked against the simulator's own pictures and the trajectory language's own parser."""

import re
from dataclasses import replace

import numpy as np
import pytest

from data_curation.stages.approaches import ORIGINS, ApproachSettings, find_approaches
from data_curation.stages.grounding import GroundingContextSettings, grounding_context
from data_curation.stages.instructions import TEMPLATES, grounding_instructions, navigation_words
from data_curation.stages.objects import groundable_objects, normalised_label
from data_curation.stages.visibility import object_visibility
from video4spatial.cameras import parse_trajectory
from video4spatial.cameras.intrinsics import CropBox
from video4spatial.captures import SceneObject
from video4spatial.simulation import capture_walk, generate_scene, navigation_target, simulated_capture

COUNT = 96
ALL = np.ones(COUNT, bool)
UP = (0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def walk():
    capture = simulated_capture(6, COUNT, 160, 160)
    return capture, object_visibility(capture, groundable_objects(capture).kept)


@pytest.fixture(scope="module")
def found(walk):
    return find_approaches(*walk, ALL, [range(COUNT)])


def thing(label, size=(0.5, 0.5, 0.5), number=1):
    return SceneObject(label, number, (0.0, 0.0, 0.0), size)


def test_labels_have_one_spelling():
    assert normalised_label("TV_monitor") == normalised_label("Television") == "tv"
    assert normalised_label("Office-Chair 12") == "office chair" and normalised_label("couch") == "sofa"
    assert normalised_label(" 7 ") == ""


def test_objects_are_named_unique_things_of_a_size_to_walk_up_to():
    capture = simulated_capture(6, 2, 16, 16)
    things = [
        thing("wall"), thing("REMOVE"), thing(""), thing("Couch"), thing("chair"), thing("chair 2"), thing("lamp"), thing("table lamp"),
        thing("cup", (0.05, 0.05, 0.05)), thing("bunk bed", (4.0, 2.0, 2.0)), thing("fridge"),
    ]  # fmt: skip
    chosen = groundable_objects(replace(capture, objects=tuple(things)))
    assert chosen.labels == ("sofa", "table lamp", "fridge") and chosen.kept == (3, 7, 10)
    assert chosen.rejected == {"structure": 1, "unnamed": 2, "ambiguous": 3, "too_small": 1, "too_large": 1}
    unknown_scale = replace(capture, objects=tuple(things), cameras=replace(capture.cameras, metric=False))
    assert set(chosen.labels) | {"cup", "bunk bed"} == set(groundable_objects(unknown_scale).labels)


def test_visibility_counts_the_renderers_pixels(walk):
    capture, visibility = walk
    assert visibility.method == "instances"
    frames = range(0, COUNT, 7)
    pictures = capture.read_instances(frames)
    for row, index in enumerate(visibility.objects):
        masks = pictures == capture.objects[index].instance_id
        assert np.allclose(masks.mean(axis=(1, 2)), visibility.area[row, frames])
        for frame, mask in zip(frames, masks):
            box = visibility.boxes[row, frame]
            assert mask.any() == np.isfinite(box).all()
            if mask.any():
                rows, columns = np.nonzero(mask)
                assert np.allclose(box * 160, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert ((visibility.visible >= 0) & (visibility.visible <= 1)).all()
    # An object in the middle of the view, not cut off, is seen under a small angle.
    middle = np.abs(np.nan_to_num(visibility.offset, nan=1.0)).max(axis=-1) < 0.1
    assert (visibility.angle[middle & (visibility.visible > 0.9)] < 25).all()


def test_visibility_tells_hidden_and_cut_off_objects_from_whole_ones(walk):
    capture, visibility = walk
    cut = np.zeros_like(visibility.visible, dtype=bool)
    for side in range(4):
        edge = (visibility.boxes[..., side] > 0.999) if side > 1 else (visibility.boxes[..., side] < 0.001)
        cut |= edge & (visibility.area > 0.005)
    whole = (visibility.area > 0.01) & ~cut
    assert np.median(visibility.visible[whole]) > np.median(visibility.visible[cut]) + 0.15
    # A picture cropped to its left half shows no more of anything.
    half = replace(
        capture, width=80, cameras=capture.cameras.cropped(CropBox(0, 0, 160, 80), 160, 160),
        read_instances=lambda indices: capture.read_instances(indices)[:, :, :80],
    )  # fmt: skip
    less = object_visibility(half, visibility.objects)
    assert (less.area / 2 <= visibility.area + 1e-12).all() and (less.visible.mean() < 0.8 * visibility.visible.mean())


def test_depth_stands_in_for_instance_pictures_and_the_box_for_both(walk):
    capture, exact = walk
    frames = range(0, COUNT, 4)
    by_depth = object_visibility(replace(capture, read_instances=None), exact.objects, frames)
    by_box = object_visibility(replace(capture, read_instances=None, read_depth=None), exact.objects, frames)
    assert by_depth.method == "depth" and by_box.method == "box"
    area, boxes, visible = exact.area[:, frames], exact.boxes[:, frames], exact.visible[:, frames]
    seen = area > 0.01
    assert np.median(np.abs(by_depth.area - area)[seen] / area[seen]) < 0.15
    assert np.nanmedian(np.abs(by_depth.boxes - boxes)[seen]) < 0.02
    assert np.median(np.abs(by_depth.visible - visible)[seen]) < 0.1
    assert (by_depth.area[area == 0] > 0.005).mean() < 0.01
    assert (by_box.area >= area - 0.01).mean() > 0.97 and by_box.visible.mean() > visible.mean()


def test_every_approach_ends_at_the_object_and_starts_without_it(walk, found):
    capture, _ = walk
    assert {approach.origin for approach in found.kept} == set(ORIGINS)
    for approach in found.kept:
        mask = capture.read_instances(approach.frames) == capture.objects[approach.object].instance_id
        area = mask.mean(axis=(1, 2))
        rows, columns = np.nonzero(mask[-1])
        assert area[0] < 0.005 and 0.02 <= area[-1] <= 0.4
        assert abs((columns.min() + columns.max() + 1) / 320 - 0.5) <= 0.25 and abs((rows.min() + rows.max() + 1) / 320 - 0.5) <= 0.25
        assert (area[-5:] >= 0.02).sum() >= 3
        assert len(set(approach.frames)) == 9 and np.isfinite(approach.boxes[-1]).all() and approach.boxes.shape == (9, 4)
        # No leaps: steps of the captured kind, however the frames were put together.
        cameras = capture.cameras[list(approach.frames)]
        assert np.linalg.norm(cameras.positions.diff(dim=0).numpy(), axis=1).max() <= 0.5
        assert float(cameras[range(1, 9)].rotation_to(cameras[range(8)]).max()) <= 22.5
        steps = np.diff(approach.frames)
        if approach.origin != "graph":
            assert (steps == (1 if approach.origin == "captured" else -1)).all()
    per_object = np.bincount([approach.object for approach in found.kept])
    assert per_object.max() <= 3 and found.rejected["seen_at_start"] > 0


def test_approaches_keep_to_good_frames_unbroken_paths_and_wanted_origins(walk):
    capture, visibility = walk
    usable = ALL.copy()
    usable[40:50] = False
    some = find_approaches(capture, visibility, usable, [range(0, 20), range(22, COUNT)])
    assert some.kept and some.rejected["poor_frame"] > 0
    for approach in some.kept:
        frames = np.array(approach.frames)
        assert usable[frames].all() and not ((frames == 20) | (frames == 21)).any()
        assert approach.origin == "graph" or (frames < 20).all() or (frames >= 22).all()
    recorded = find_approaches(capture, visibility, ALL, [range(COUNT)], ApproachSettings(origins=("captured",)))
    assert recorded.kept and {approach.origin for approach in recorded.kept} == {"captured"}
    with pytest.raises(ValueError, match="expected all 96"):
        find_approaches(capture, replace(visibility, frames=visibility.frames[:9]), ALL, [range(COUNT)])


def test_the_unit_of_unknown_scale_changes_nothing(walk):
    capture, _ = walk

    def scaled(factor):
        objects = tuple(
            replace(item, center=tuple(factor * np.array(item.center)), size=tuple(factor * np.array(item.size)))
            for item in capture.objects
        )
        other = replace(capture, cameras=capture.cameras.scaled(factor, metric=False), objects=objects)
        visibility = object_visibility(other, groundable_objects(capture).kept[:4])
        return find_approaches(other, visibility, ALL, [range(COUNT)])

    one, other = scaled(1.0), scaled(37.0)
    assert one.kept and [approach.frames for approach in one.kept] == [approach.frames for approach in other.kept]


@pytest.mark.parametrize("most", [4, 24])
def test_contexts_show_the_object_outside_the_guard_band(walk, found, most):
    capture, visibility = walk
    settings = GroundingContextSettings(frames=most)
    for approach in found.kept:
        context = grounding_context(capture, visibility, approach.object, approach.frames, ALL, settings)
        assert approach.frames[0] in context.frames and len(context.frames) <= most and list(context.frames) == sorted(set(context.frames))
        others = np.array([frame for frame in context.frames if frame != approach.frames[0]])
        assert np.abs(capture.times[others][:, None] - capture.times[list(approach.frames)]).min() > 2.0
        shown = (capture.read_instances(context.views) == capture.objects[approach.object].instance_id).mean(axis=(1, 2))
        assert len(shown) >= 2 and (shown >= 0.005).all() and set(context.views) <= set(others.tolist())
        assert context.region_frame in context.views and np.isfinite(context.region_box).all()
    nowhere = ALL.copy()
    nowhere[list(context.views)] = False
    nowhere[visibility.area[visibility.objects.index(approach.object)] > 0] = False
    assert grounding_context(capture, visibility, approach.object, approach.frames, nowhere) == "not_in_context"


def test_instructions_are_many_different_and_well_spelled():
    every = grounding_instructions("armchair", 3, len(TEMPLATES))
    assert len(set(every)) == len(TEMPLATES) >= 20 and all("armchair" in text for text in every)
    assert not any(re.search(r"\ba armchair|[{}]", text) for text in every) and any("an armchair" in text for text in every)
    assert grounding_instructions("armchair", 3, 5) == every[:5] != grounding_instructions("armchair", 4, 5)
    plural = grounding_instructions("curtains", 0, len(TEMPLATES))
    assert not any(re.search(r"\bit\b|\bis\b|\ba\b", text.replace("a clear", "")) for text in plural)
    with pytest.raises(ValueError, match="27 different"):
        grounding_instructions("sofa", 0, len(TEMPLATES) + 1)
    with pytest.raises(ValueError, match="without a name"):
        grounding_instructions(" ", 0, 1)


@pytest.mark.parametrize("up", [None, UP])
def test_words_of_a_path_lead_to_its_end(up):
    for seed in (3, 4):
        scene = generate_scene(seed)
        camera = capture_walk(scene, 12)
        for start in (0, 11):
            path = navigation_target(scene, camera[start], 9, seed=start)
            words = navigation_words(path, up)
            parsed = parse_trajectory(words, 9, start=path[0], up=up)
            assert float(parsed[-1].distance_to(path[-1])) < 0.15 and float(parsed[-1].rotation_to(path[-1])) < 8, words
            assert 1 <= words.count(",") + 1 <= 3
        # A recorded walk, which sways, is described too.
        walked = parse_trajectory(navigation_words(camera, up), 9, start=camera[0], up=up)
        assert float(walked[-1].distance_to(camera[-1])) < 0.15 and float(walked[-1].rotation_to(camera[-1])) < 8


def test_words_that_were_parsed_come_back():
    for words in ("forward 0.6m", "turn left 30deg", "forward 0.4m + turn right 45deg", "forward 1m, turn left 45deg"):
        assert navigation_words(parse_trajectory(words, 9)) == words
    still = parse_trajectory("forward 1m", 5)[[0] * 5]
    assert navigation_words(still) == "static"
    unknown = replace(parse_trajectory("forward 0.4m + turn right 45deg", 9).scaled(7.0), metric=False)
    assert navigation_words(unknown) == "forward + turn right 45deg"
    with pytest.raises(ValueError, match="at least 2"):
        navigation_words(still[0])

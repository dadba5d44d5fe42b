"""Scenes: determinism, splits, variety, and objects that stand where they say."""

import dataclasses

import numpy as np
import pytest

from video4spatial.simulation import SEED_RANGES, generate_scene, split_of


@pytest.fixture(scope="module")
def scenes():
    return [generate_scene(seed) for seed in range(12)]


def test_same_seed_gives_the_same_scene(scenes):
    again = generate_scene(3)
    for field in dataclasses.fields(again):
        np.testing.assert_equal(getattr(again, field.name), getattr(scenes[3], field.name))
    assert scenes[4].texels.shape != again.texels.shape or not np.array_equal(scenes[4].texels, again.texels)


def test_seed_ranges_are_disjoint_and_named():
    ranges = sorted(SEED_RANGES.values(), key=lambda r: r.start)
    assert all(first.stop <= second.start for first, second in zip(ranges, ranges[1:]))
    for name, seeds in SEED_RANGES.items():
        assert split_of(seeds.start) == split_of(seeds.stop - 1) == name
        assert generate_scene(seeds.stop - 1).split == name


@pytest.mark.parametrize("seed", [-1, 1_100_000, 2_100_000])
def test_seed_outside_all_ranges_is_an_error(seed):
    with pytest.raises(ValueError, match="train 0..999999"):
        generate_scene(seed)


def test_scenes_are_varied(scenes):
    labels = {entry.label for scene in scenes for entry in scene.objects}
    assert len(labels - {"picture", "window", "door", "ceiling lamp"}) >= 15
    assert {len(scene.rooms) for scene in scenes} == {1, 2}
    for scene in scenes:
        assert all(2.4 <= room.height <= 3.0 for room in scene.rooms)
        assert 4.0 <= scene.rooms[0].x1 - scene.rooms[0].x0 <= 7.0
        assert len(scene.objects) >= 10


def test_every_surface_has_its_own_material(scenes):
    for scene in scenes:
        structure = [i for i, label in scene.labels.items() if label in ("wall", "floor", "ceiling")]
        layers = [set(scene.face_layers[scene.instance == i].ravel().tolist()) for i in structure]
        for index, first in enumerate(layers):
            assert all(first.isdisjoint(second) for second in layers[index + 1 :])
        assert scene.texels.min() >= 0.0 and scene.texels.max() <= 1.0


def test_objects_have_unique_instances_inside_rooms(scenes):
    for scene in scenes:
        ids = [entry.instance_id for entry in scene.objects]
        assert len(set(ids)) == len(ids)
        assert set(ids) < set(scene.labels) == set(scene.instance.tolist())
        for entry in scene.objects:
            assert scene.labels[entry.instance_id] == entry.label
            corners = entry.corners()
            inside = [
                (corners[:, 0] > room.x0 - 0.1)
                & (corners[:, 0] < room.x1 + 0.1)
                & (corners[:, 1] > room.y0 - 0.1)
                & (corners[:, 1] < room.y1 + 0.1)
                for room in scene.rooms
            ]
            assert any(room.all() for room in inside) or entry.label == "rug", entry
            assert corners[:, 2].min() > -0.01 and corners[:, 2].max() < 3.0


def test_an_unknown_object_is_an_error(scenes):
    assert scenes[0].object(scenes[0].objects[2].instance_id) is scenes[0].objects[2]
    with pytest.raises(ValueError, match="no object with instance id 999"):
        scenes[0].object(999)

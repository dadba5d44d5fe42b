"""Ways through simulated flats whose walls and furniture are known."""

from dataclasses import replace

import numpy as np
import pytest

from video4spatial.cameras.level_poses import look_angles, look_poses
from video4spatial.clips import Region
from video4spatial.clips.regions import mask_box
from video4spatial.geometry.grid_routes import along, routes_from, step_graph, traced
from video4spatial.grounding import NotFound
from video4spatial.grounding.free_space import SeenSpace
from video4spatial.grounding.locating import locate_region
from video4spatial.grounding.planning import plan_way
from video4spatial.simulation import generate_scene, render


@pytest.fixture(scope="module")
def space(true_scene):
    return SeenSpace.of(true_scene)


def _located(true_scene, instance_pictures, instance_id: int):
    frame = int((instance_pictures == instance_id).mean((1, 2)).argmax())
    return locate_region(true_scene, Region(frame, mask_box(instance_pictures[frame] == instance_id)))


def test_space_is_free_where_it_was_seen_to_be(true_scene, space, grounding_clip):
    flat, cameras = generate_scene(2_050_000), true_scene.geometry.cameras
    assert space.walking and space.at(space.free, cameras.positions.numpy()).all()
    # Cubes at the height of the cameras, in the flat's own world.
    height = float(cameras.positions[-1, 2])
    flat_indices = np.flatnonzero(space.free)
    middles = space.middles(flat_indices)
    middles = middles[np.abs(middles[:, 2] - height) < space.cell]
    local = (middles - cameras.positions[-1].numpy()) @ cameras.rotations[-1].numpy()
    true = grounding_clip.context_cameras
    clearance = flat.free_space.clearance(local @ true.rotations[-1].numpy().T + true.positions[-1].numpy())
    assert (clearance > -0.15).mean() > 0.9
    nowhere = space.origin + np.array(space.free.shape) * space.cell / 2 + [0, 0, 100.0]
    assert not space.at(space.free, nowhere[None]).any()


def test_ways_keep_clear_and_end_on_a_view_of_the_object(true_scene, space, grounding_clip, instance_pictures):
    flat, anchor = generate_scene(2_050_000), grounding_clip.anchor
    areas = {item.instance_id: (instance_pictures == item.instance_id).mean((1, 2)).max() for item in flat.objects}
    things = ("nightstand", "armchair", "desk", "pouf", "tv")
    wanted = [item for item in flat.objects if areas[item.instance_id] > 0.03 and item.label in things]
    assert len(wanted) >= 3
    shown = []
    for item in wanted:
        way = plan_way(true_scene, _located(true_scene, instance_pictures, item.instance_id), anchor, space=space)
        assert float(way.cameras[0].distance_to(true_scene.geometry.cameras[anchor])[0]) < 1e-9
        path = way.path.placed_at(grounding_clip.context_cameras[anchor])
        assert flat.free_space.clearance(path.positions.numpy()[1:]).min() > 0.1
        steps = path[:-1].distance_to(path[1:])
        assert float(steps.max()) < 0.3 and float(path[:-1].rotation_to(path[1:]).max()) < 25
        last = render(flat, path[-1], 64, 64).instance[0] == item.instance_id
        shown.append(last[16:48, 16:48].any() and 0.01 < last.mean() < 0.6)
    assert np.mean(shown) >= 0.75


def test_the_number_of_frames_can_be_asked_for(true_scene, space, grounding_clip, instance_pictures):
    target = _located(true_scene, instance_pictures, grounding_clip.target_object.instance_id)
    way = plan_way(true_scene, target, grounding_clip.anchor, num_frames=9, frame_rate=8.0, space=space)
    assert len(way.cameras) == 9 and way.cameras.times[-1] == 1.0
    with pytest.raises(ValueError, match="at least 2"):
        plan_way(true_scene, target, grounding_clip.anchor, num_frames=1, space=space)


def test_where_nothing_is_known_to_be_free_the_camera_turns_on_the_spot(true_scene, space, grounding_clip, instance_pictures):
    target = _located(true_scene, instance_pictures, grounding_clip.target_object.instance_id)
    walled = replace(space, free=np.zeros_like(space.free))
    way = plan_way(true_scene, target, grounding_clip.anchor, space=walled)
    assert float(way.cameras.path_length()) < 1e-9 and "no way that was seen to be free" in way.words
    toward = np.array(target.item.center) - way.cameras.positions[-1].numpy()
    assert way.cameras.forward[-1].numpy() @ toward / np.linalg.norm(toward) > 0.999


def test_a_start_that_is_not_in_the_scene_is_refused(true_scene, space, grounding_clip, instance_pictures):
    target = _located(true_scene, instance_pictures, grounding_clip.target_object.instance_id)
    placed = true_scene.geometry.placed.copy()
    placed[grounding_clip.anchor] = False
    scene = replace(true_scene, geometry=replace(true_scene.geometry, placed=placed))
    with pytest.raises(NotFound, match="the way starts from could not be placed"):
        plan_way(scene, target, grounding_clip.anchor, space=space)


def test_routes_go_around_what_is_in_the_way():
    room = np.full((5, 7, 1), 1.0)
    room[:4, 3] = 0.0
    places, graph = step_graph(room, 0.5, 1.0)
    start, end = (int(np.flatnonzero(places == np.ravel_multi_index(place, room.shape))[0]) for place in ((0, 0, 0), (0, 6, 0)))
    costs, previous = routes_from(graph, start)
    corners = np.stack(np.unravel_index(places[traced(previous, end, start)], room.shape), -1)
    assert np.isfinite(costs[end]) and [4, 3, 0] in corners.tolist()
    assert along(corners)[-1] == pytest.approx(2 * (3 * 2**0.5 + 1), abs=1.0)
    room[4, 3] = 0.0
    places, graph = step_graph(room, 0.5, 1.0)
    start, end = (int(np.flatnonzero(places == np.ravel_multi_index(place, room.shape))[0]) for place in ((0, 0, 0), (0, 6, 0)))
    assert np.isinf(routes_from(graph, start)[0][end])


def test_angles_and_poses_are_inverse():
    angles = np.array([0.7, -0.3, 0.1])
    pose = look_poses(np.zeros((1, 3)), *(np.array([angle]) for angle in angles))[0]
    np.testing.assert_allclose(look_angles(pose), angles, atol=1e-12)

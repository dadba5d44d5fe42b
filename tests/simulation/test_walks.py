"""Walks and targets: smooth, clear of obstacles, deterministic, and ending where they should."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.simulation import (
    NoPathError,
    approach_target,
    capture_walk,
    generate_scene,
    navigation_target,
    render,
)

CLEARANCE = 0.35


@pytest.fixture(scope="module", params=[0, 5, 2_000_011])
def scene(request):
    return generate_scene(request.param)


@pytest.fixture(scope="module")
def walk(scene):
    return capture_walk(scene, 48)


def dense_clearance(scene, cameras):
    """Least clearance on the straight lines between neighbouring cameras."""
    positions = cameras.positions.numpy()
    share = np.linspace(0, 1, 6)[:, None, None]
    return scene.free_space.clearance(positions[:-1] * (1 - share) + positions[1:] * share).min()


def test_capture_walk_is_smooth_and_clear(scene, walk):
    assert dense_clearance(scene, walk) >= CLEARANCE - 0.01
    steps = np.linalg.norm(np.diff(walk.positions.numpy(), axis=0), axis=1)
    assert 0.07 <= steps.mean() <= 0.16 and steps.max() < 0.25
    turns = walk[:-1].rotation_to(walk[1:]).numpy()
    assert 3.0 <= turns.mean() <= 10.0 and turns.max() < 14.0
    heights = walk.positions[:, 2].numpy()
    assert 1.1 < heights.min() and heights.max() < 1.7 and heights.std() > 0
    np.testing.assert_allclose(walk.times.numpy(), np.arange(48) / 4.0)
    assert walk.metric


def test_capture_walk_sees_most_of_the_scene(scene, walk):
    rendering = render(scene, walk, 32, 32)
    main = scene.rooms[0]
    visible = set(np.unique(rendering.instance).tolist())
    expected = [o.instance_id for o in scene.objects if main.contains(np.array(o.center)) and max(o.size) > 0.5]
    assert np.mean([instance in visible for instance in expected]) > 0.6
    assert (rendering.depth > 0).all()


@pytest.mark.parametrize("num_frames", [1, 2, 130])
def test_capture_walk_of_any_length(scene, num_frames):
    cameras = capture_walk(scene, num_frames, seed=3)
    assert len(cameras) == num_frames
    assert scene.free_space.clearance(cameras.positions.numpy()).min() >= CLEARANCE - 0.01


def test_capture_walk_is_deterministic(scene, walk):
    assert torch.equal(walk.camera_to_world, capture_walk(scene, 48).camera_to_world)
    assert not torch.equal(walk.camera_to_world, capture_walk(scene, 48, seed=1).camera_to_world)


def test_capture_walk_rejects_bad_arguments(scene):
    with pytest.raises(ValueError, match="num_frames is 0"):
        capture_walk(scene, 0)


@pytest.mark.parametrize(
    "rotation_range, path_range", [((20, 60), (0.3, 1.5)), ((2, 10), (0.05, 0.3)), ((0, 0), (0.2, 0.4))]
)
def test_navigation_target_keeps_its_ranges(scene, walk, rotation_range, path_range):
    for index in (0, 20, 40):
        start = walk[index]
        target = navigation_target(scene, start, 13, seed=index, rotation_range=rotation_range, path_range=path_range)
        assert torch.equal(target.camera_to_world[0], start.camera_to_world[0])
        assert torch.equal(target.intrinsics, start.intrinsics.expand(13, 3, 3))
        np.testing.assert_allclose(target.times.numpy(), float(start.times[0]) + np.arange(13) / 4.0)
        rotation = float(target[0].rotation_to(target[12]))
        assert rotation_range[0] - 1e-3 <= rotation <= rotation_range[1] + 1e-3
        assert path_range[0] - 1e-6 <= float(target.path_length()) <= path_range[1] + 1e-6
        assert dense_clearance(scene, target) >= CLEARANCE - 0.02
        steps = np.linalg.norm(np.diff(target.positions.numpy(), axis=0), axis=1)
        assert steps.max() < 2.0 * steps.mean() + 1e-9
        again = navigation_target(scene, start, 13, seed=index, rotation_range=rotation_range, path_range=path_range)
        assert torch.equal(target.camera_to_world, again.camera_to_world)


def test_navigation_target_moves_in_many_ways(scene, walk):
    targets = [navigation_target(scene, walk[24], 9, seed=seed) for seed in range(24)]
    forward = walk[24].forward[0]
    moves = torch.stack([t.positions[-1] - t.positions[0] for t in targets])
    share = (moves @ forward) / moves.norm(dim=-1)
    assert (share > 0.7).any() and (share.abs() < 0.5).any()
    right = walk[24].camera_to_world[0, :3, 0]
    turned = torch.stack([t.forward[-1] for t in targets]) @ right
    assert (turned > 0).any() and (turned < 0).any()


def test_navigation_target_explains_what_is_wrong(scene, walk):
    with pytest.raises(ValueError, match="num_frames is 1.*rotation_range"):
        navigation_target(scene, walk[0], 1, rotation_range=(30, 10))
    outside = walk[0].camera_to_world.clone()
    outside[0, :2, 3] = 99.0
    with pytest.raises(NoPathError, match="outside"):
        navigation_target(scene, Cameras.from_fov(outside), 5)
    with pytest.raises(NoPathError, match="widen the ranges"):
        navigation_target(scene, walk[0], 5, path_range=(80.0, 90.0))


def test_approach_target_ends_looking_at_the_object(scene):
    reached = 0
    for entry in scene.objects[::3]:
        try:
            cameras = approach_target(scene, entry, 13)
        except NoPathError:
            continue
        reached += 1
        assert len(cameras) == 13
        assert dense_clearance(scene, cameras) >= CLEARANCE - 0.02
        to_object = torch.tensor(entry.center) - cameras.positions[-1]
        horizontal = float(cameras.right[-1] @ to_object) / float(to_object.norm())
        assert abs(horizontal) < 0.05
        final = render(scene, cameras[12], 32, 32)
        assert (final.instance[0, 8:24, 8:24] == entry.instance_id).any()
    assert reached >= 0.8 * len(scene.objects[::3])


def test_some_walk_goes_through_a_doorway():
    scene = next(s for s in map(generate_scene, range(20)) if len(s.rooms) == 2)
    crossed = False
    for seed in range(6):
        points = capture_walk(scene, 100, seed=seed).positions.numpy()
        crossed |= scene.rooms[0].contains(points).any() and scene.rooms[1].contains(points).any()
    assert crossed

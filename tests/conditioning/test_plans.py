"""Plans on scenes whose views can be told apart, and on a simulated walk."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, parse_trajectory, viewpoint_distance
from video4spatial.conditioning.plan_registry import PLANS
from video4spatial.conditioning.plans import ContextMaterial, ContextPart, ContextPlan, plan_context
from video4spatial.geometry.visibility import seen_from
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene
from video4spatial.simulation.walks import capture_walk

BUDGETED = ("stride", "diverse", "frustum")


def looking(*degrees: float, at: float = 0.0) -> Cameras:
    """Cameras in one place (or `at` metres to its side) that look around the horizon."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    poses = torch.eye(4, dtype=torch.float64).repeat(len(degrees), 1, 1)
    poses[:, 0, 0], poses[:, 0, 2] = angles.cos(), angles.sin()
    poses[:, 2, 0], poses[:, 2, 2] = -angles.sin(), angles.cos()
    poses[:, 0, 3] = at
    return Cameras.from_fov(poses, 60.0)


def material(count=12, cameras=None, anchor=0, frames=None, chunk_length=1) -> ContextMaterial:
    if frames is None:
        frames = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return ContextMaterial(frames, np.arange(len(frames)) / 4, cameras, anchor, chunk_length)


@pytest.fixture(scope="module")
def walk():
    """A simulated walk of 24 frames: what is known of it, and its depth."""
    scene = generate_scene(3)
    cameras = capture_walk(scene, 24, frame_rate=2.0, seed=1)
    pictures = render(scene, cameras, 24, 24)
    return ContextMaterial(pictures.rgb, cameras.times.numpy(), cameras, anchor=5), pictures.depth


def test_all_shows_everything_at_once():
    plan = plan_context("all", material(5))
    assert plan.parts == (ContextPart((0, 1, 2, 3, 4)),) and plan.coarse_share == 0 and plan.tokens(64) == (320,)
    with pytest.raises(ValueError, match="keeps all 5 chunks, more than the budget of 3: leave the budget out"):
        plan_context("all", material(5), 3)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("anchor", [0, 5, -1])
@pytest.mark.parametrize("chunk_length", [1, 3])
def test_every_plan_keeps_the_anchor_and_its_budget(name, anchor, chunk_length):
    given = material(12, parse_trajectory("turn left 90deg, forward 2m", 12), anchor, chunk_length=chunk_length)
    for budget in (1, 3, given.num_chunks, 50):
        if name == "all" and budget < given.num_chunks:
            continue
        plan, again = (plan_context(name, given, budget) for _ in range(2))
        assert plan == again
        in_full = [chunk for part in plan.parts if part.pool == 1 for chunk in part.chunks]
        assert len(in_full) == len(set(in_full)) == min(budget, given.num_chunks)
        assert anchor % 12 // chunk_length in in_full and max(plan.chunks) < given.num_chunks
        if len(plan.parts) > 1:
            assert plan.chunks == tuple(range(given.num_chunks)) and plan.parts[0].pool == 4


def test_stride_spreads_evenly():
    assert plan_context("stride", material(13, anchor=6), 3).chunks == (0, 6, 12)
    assert plan_context("stride", material(13, anchor=7), 3).chunks == (0, 7, 12)


@pytest.mark.parametrize("anchor", [0, 4, 11])
def test_diverse_finds_all_views_that_look_different(anchor):
    """Four pictures, shown for different lengths with noise and changing light."""
    random = np.random.default_rng(1)
    views, owner = random.integers(0, 256, (4, 8, 8, 3)).repeat(4, 1).repeat(4, 2), [0] * 6 + [1] * 2 + [2] + [3] * 3
    frames = [views[view] * random.uniform(0.9, 1.0) + random.normal(0, 4, (32, 32, 3)) for view in owner]
    frames = np.clip(frames, 0, 255).astype(np.uint8)
    chosen = plan_context("diverse", material(frames=frames, anchor=anchor), 4).chunks
    assert {owner[chunk] for chunk in chosen} == {0, 1, 2, 3} and anchor in chosen
    # Where all look the same, the budget is still kept to.
    assert len(plan_context("diverse", material(frames=np.zeros((6, 16, 16, 3), np.uint8), anchor=2), 3).chunks) == 3


@pytest.mark.parametrize("anchor", [0, 3, 8])
def test_frustum_repeats_no_view_before_all_others(anchor):
    directions = (0, 0, 0, 70, 70, 180, 0, 250, 180, 70)
    cameras = looking(*directions)
    for budget, views in ((2, 2), (4, 4), (7, 4)):
        chosen = plan_context("frustum", material(10, cameras, anchor), budget).chunks
        assert len({directions[chunk] for chunk in chosen}) == views and anchor in chosen and len(chosen) == budget


def test_frustum_takes_what_lies_between_last():
    """30 degrees apart at 60 degrees of view: what the middle camera sees, the outer ones see too; it comes before a repeated one."""
    cameras = looking(0, 0, 30, 60)
    order = [set(plan_context("frustum", material(4, cameras), budget).chunks) for budget in (1, 2, 3, 4)]
    assert order[:3] == [{0}, {0, 3}, {0, 2, 3}]


def test_frustum_tells_the_two_sides_of_a_space_apart():
    """Two cameras that look at each other share the space between them, and see no common surface."""
    cameras = Cameras.concatenate([looking(90), looking(90), looking(-90, at=3.0)])
    assert plan_context("frustum", material(3, cameras), 2).chunks == (0, 2)


def test_frustum_covers_more_of_a_simulated_room_than_its_first_frames(walk):
    given, depth = walk

    def covered(chunks) -> float:
        chosen = list(chunks)
        return float(seen_from(given.cameras, depth, given.cameras[chosen], depth[chosen]).any(1).mean())

    chosen = plan_context("frustum", given, 4).chunks
    assert 5 in chosen and len(chosen) == 4
    assert covered(chosen) > covered(range(4, 8)) + 0.1
    # It does not depend on where the world's origin is, nor on its unit.
    moved = given.cameras.transformed(parse_trajectory("turn left 40deg, forward 3m", 2)[1].camera_to_world[0]).scaled(7.0, metric=False)
    assert plan_context("frustum", ContextMaterial(given.frames, given.times, moved, 5), 4).chunks == chosen


def test_far_pooled_keeps_the_nearest_viewpoints_in_full(walk):
    given, _ = walk
    far, near = plan_context("far_pooled", given, 6, pool=2).parts
    assert (far.pool, near.pool) == (2, 1) and sorted(far.chunks + near.chunks) == list(range(24)) and 5 in near.chunks
    distance = viewpoint_distance(given.cameras[5], given.cameras)[0]
    assert distance[list(near.chunks)].max() <= distance[list(far.chunks)].min()
    by_time = plan_context("far_pooled", material(9, anchor=4), 3)
    assert by_time.parts == (ContextPart((0, 1, 2, 6, 7, 8), 4), ContextPart((3, 4, 5)))
    # A camera that stands still: time decides, then the earlier frame.
    still = plan_context("far_pooled", material(9, looking(*[20.0] * 9), anchor=4), 2)
    assert still.parts[1].chunks == (3, 4)
    assert plan_context("far_pooled", material(4), 9).parts == (ContextPart((0, 1, 2, 3)),)
    assert by_time.tokens(64) == (6 * 4, 3 * 64)


def test_coarse_to_fine_shows_all_pooled_first():
    plan = plan_context("coarse_to_fine", material(6, anchor=1), pool=2)
    assert plan.parts == (ContextPart(tuple(range(6)), 2), ContextPart(tuple(range(6)))) and plan.coarse_share == 0.5
    plan = plan_context("coarse_to_fine", material(6, anchor=1), 2, coarse_share=0.25)
    assert plan.parts[1].chunks == (0, 1) and plan.coarse_share == 0.25 and plan.chunks == tuple(range(6))


@pytest.mark.parametrize(
    ("name", "budget", "options", "message"),
    [
        ("frustrum", 3, {}, "did you mean 'frustum'"),
        ("other", 3, {}, "choose one of all, stride, diverse, frustum, far_pooled, coarse_to_fine"),
        ("stride", 0, {}, "budget 0: expected a whole number of at least 1"),
        ("stride", 2.5, {}, "budget 2.5: expected a whole number"),
        ("diverse", None, {}, r"no budget: give the most chunks \(of 12\)"),
        ("frustum", 3, {}, r"cameras are unknown: give them, or choose a plan that needs none \(all, stride, diverse"),
        ("far_pooled", 3, {"pol": 2}, r"unknown option 'pol' \(did you mean 'pool'\?\); options: pool"),
        ("stride", 3, {"pool": 2}, "unknown option 'pool'; options: it has none"),
        ("far_pooled", 3, {"pool": 1}, "pool 1: expected a whole number of at least 2"),
        ("coarse_to_fine", None, {"coarse_share": 1.5}, "coarse_share 1.5: expected a number from 0 to 1"),
    ],
)
def test_mistakes_say_what_to_do(name, budget, options, message):
    with pytest.raises(ValueError, match=message):
        plan_context(name, material(), budget, **options)


def test_all_problems_are_named_at_once():
    with pytest.raises(ValueError, match="(?s)no budget.*cameras are unknown.*unknown option 'x'"):
        plan_context("frustum", material(), x=1)
    with pytest.raises(ValueError, match="depth_range 2 to 1: expected two positive numbers, the smaller first"):
        plan_context("frustum", material(2, looking(0, 90)), 1, depth_range=(2, 1))
    with pytest.raises(ValueError, match="(?s)3 times for 4 frames.*2 cameras for 4.*anchor 4 is outside.*divisor of 4"):
        ContextMaterial(np.zeros((4, 8, 8, 3), np.uint8), np.arange(3), looking(0, 1), 4, 3)


def test_impossible_plans_are_refused():
    with pytest.raises(ValueError, match="no parts"):
        ContextPlan(())
    with pytest.raises(ValueError, match="(?s)part 0 has no chunks.*part 1 has chunks .2, 1.*part 1 has pool 0.*coarse_share -1"):
        ContextPlan((ContextPart(()), ContextPart((2, 1), 0)), -1)
    with pytest.raises(ValueError, match="coarse_share 0.5 with one part"):
        ContextPlan((ContextPart((0,), 2),), 0.5)
    with pytest.raises(ValueError, match=r"36 tokens per chunk cannot be pooled by \[4\]"):
        ContextPlan((ContextPart((0,), 4), ContextPart((0,)))).tokens(36)

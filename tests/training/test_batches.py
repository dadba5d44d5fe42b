import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device

from video4spatial.cameras import Cameras, project_points
from video4spatial.training.bank import SceneBank, render_bank
from video4spatial.training.batches import Curriculum, EncodedClip, Segment, clip_batch, draw_batch


@pytest.fixture(scope="module")
def bank(tiny_vae) -> SceneBank:
    rendered = render_bank([3, 4], walk_frames=12, targets_per_scene=2, target_frames=5, height=32, width=32, latent_size=(4, 4))
    return rendered.encoded(tiny_vae, "cpu")


def test_a_bank_holds_walks_and_targets_that_start_on_them(bank):
    assert bank.frames.shape == (2, 12 + 2 * 4, 32, 32, 3) and bank.latents.shape == (2, 20, 4, 4, 4)
    assert bank.walk_frames == 12 and bank.anchors.shape == (2, 2)
    for scene in range(2):
        for target in range(2):
            anchor = bank.camera_to_world[scene, bank.anchors[scene, target]]
            first = bank.camera_to_world[scene, 12 + 4 * target]
            assert (first[:3, 3] - anchor[:3, 3]).norm() < 0.6  # one step away, not across the room


def test_a_bank_file_gives_the_bank_back(bank, tmp_path):
    bank.save(tmp_path / "bank.safetensors")
    again = SceneBank.load(tmp_path / "bank.safetensors")
    assert again.target_frames == 5 and again.latents is None
    assert torch.equal(again.frames, bank.frames) and torch.equal(again.camera_to_world, bank.camera_to_world)
    assert [p.name for p in tmp_path.iterdir()] == ["bank.safetensors"]


def test_rendering_is_deterministic_and_variants_differ():
    first, again = (
        render_bank([5], walk_frames=4, targets_per_scene=1, target_frames=3, height=16, width=16, latent_size=(2, 2), variants=2)
        for _ in range(2)
    )
    assert torch.equal(first.frames, again.frames) and len(first) == 2
    assert not torch.equal(first.camera_to_world[0], first.camera_to_world[1])


def test_a_batch_is_a_function_of_its_step(bank):
    first, again, other = (draw_batch(bank, 3, Curriculum((2, 5)), 0.5, seed=0, step=s) for s in (7, 7, 8))
    assert torch.equal(first.latents, again.latents) and torch.equal(first.rays, again.rays)
    assert first.segments == again.segments
    assert first.latents.shape != other.latents.shape or not torch.equal(first.latents, other.latents)


def latent_index(bank, latents):
    """Which (scene, frame) of the bank a latent [C, h, w] is."""
    matches = (bank.latents.float() == latents).flatten(2).all(-1).nonzero()
    assert len(matches) == 1
    return tuple(matches[0].tolist())


@pytest.mark.parametrize("step", range(8))
def test_contexts_hold_the_anchor_and_respect_the_guard_band(bank, step):
    curriculum = Curriculum((3, 3), walk_probability=1.0 if step % 2 else 0.0, guard_frames=2)
    batch = draw_batch(bank, 4, curriculum, 0.0, seed=1, step=step)
    assert batch.in_full == [0, 1, 2]
    for sample in range(4):
        context = [latent_index(bank, batch.context_latents[sample, :, i]) for i in range(3)]
        targets = [latent_index(bank, batch.latents[sample, :, i]) for i in range(5)]
        assert len({scene for scene, _ in context + targets}) == 1
        frames, anchor = [frame for _, frame in context], targets[0][1]
        assert frames == sorted(set(frames)) and anchor in frames and max(frames) < 12
        assert batch.context_positions[sample].tolist() == [float(frame) for frame in frames]
        assert batch.positions[sample, 0] > frames[-1]
        assert not {frame for _, frame in targets[1:]} & set(frames)
        if step % 2:
            assert [frame for _, frame in targets] == list(range(anchor, anchor + 5))


@pytest.mark.parametrize("step", range(4))
def test_targets_of_a_scene_share_a_context(bank, step):
    curriculum = Curriculum((4, 8), walk_probability=0.0, targets_per_context=2, drop_probability=0.0)
    batch = draw_batch(bank, 4, curriculum, 1.0, seed=3, step=step)
    assert batch.targets_per_context == 2 and len(batch.context_latents) == 2 == len(batch.points) == len(batch.context_poses)
    assert batch.num_tokens(4) == 4 * (4 * 5 + 2 * len(batch.in_full))
    for sample in range(4):
        scene, anchor = latent_index(bank, batch.latents[sample, :, 0])
        context = [latent_index(bank, latent) for latent in batch.context_latents[sample // 2].unbind(1)]
        assert (scene, anchor) in context and {s for s, _ in context} == {scene}
        # Rays of a target in the frame of the first context camera: the anchor's are those of its frame in the context.
        place = context.index((scene, anchor))
        torch.testing.assert_close(batch.scene_rays[sample, 0], batch.context_scene_rays[sample // 2, place])
    alone = Curriculum((4, 8), walk_probability=2.0, targets_per_context=2, guard_frames=0)
    alone = draw_batch(bank, 4, alone, 0.0, seed=3, step=step)
    assert alone.targets_per_context == 1 and len(alone.in_full) == 4
    with pytest.raises(ValueError, match="a multiple of targets_per_context 2"):
        draw_batch(bank, 3, curriculum, 1.0, seed=3, step=step)


def test_points_and_rays_agree_with_the_renderer(bank):
    """A context pixel's point projects back into its own camera at its own pixel and depth."""
    batch = draw_batch(bank, 2, Curriculum((4, 4)), 0.0, seed=2, step=0)
    for sample in range(2):
        scene, _ = latent_index(bank, batch.context_latents[sample, :, 0])
        cameras = Cameras(batch.context_poses[sample].double(), bank.intrinsics[scene])
        for frame in range(4):
            points = batch.points[sample, frame].flatten(1).T.double()
            pixels, depth = project_points(cameras[frame], points, 4, 4)
            grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="xy"), -1).flatten(0, 1) + 0.5
            torch.testing.assert_close(pixels[0], grid.double(), atol=1e-3, rtol=0)
            _, index = latent_index(bank, batch.context_latents[sample, :, frame])
            torch.testing.assert_close(depth[0].float(), bank.depth[scene, index].flatten().float(), atol=1e-2, rtol=1e-3)
    # target 0 looks through the anchor's camera: the ray through the picture's middle goes straight ahead
    middle = batch.rays[:, 0, 3:].mean((-1, -2))
    assert torch.all(middle[:, 2] > 0.8) and torch.all(batch.rays[:, 0, :3].abs() < 1e-6)


def test_the_curriculum_moves():
    curriculum = Curriculum((4, 8), known_cameras=(1.0, 0.1), anneal_until=0.5)
    assert curriculum.known_cameras_at(0) == 1.0
    assert np.isclose(curriculum.known_cameras_at(0.25), 0.55) and np.isclose(curriculum.known_cameras_at(0.9), 0.1)
    assert curriculum.context_frames_at(0) == (4, 4) and curriculum.context_frames_at(0.8) == (4, 8)


POOLED = Curriculum((3, 3), walk_probability=0.0, drop_probability=0.0, pooled_probability=1.0, pools=(2,), nearby_probability=0.0)


def clips_of(bank) -> list[EncodedClip]:
    """The bank's scenes as clips with the walk as context."""
    times = torch.arange(20) / 4
    return [
        EncodedClip(
            bank.latents[scene], bank.camera_to_world[scene], bank.intrinsics[scene].expand(20, 3, 3), bank.depth[scene, :12],
            times[:12], times[:8], anchor=3,
        )
        for scene in range(2)
    ]  # fmt: skip


def kind_of(batch) -> str:
    pools = tuple(segment.pool for segment in batch.segments)
    if pools == (2,):
        return "coarse"
    if pools == (2, 1):
        return "far_pooled" if len(batch.segments[0].latents) + len(batch.in_full) == len(batch.points[0]) else "coarse_to_fine"
    return "in_full"


@pytest.mark.parametrize("draw", ["bank", "clips"])
def test_pooled_steps_look_like_plans(bank, draw):
    """Far frames pooled before near ones, all pooled, or all pooled before the nearest (or all) in full; about as often."""
    kinds, sizes = [], {}
    for step in range(30):
        if draw == "bank":
            batch, again = (draw_batch(bank, 2, POOLED, 0.0, seed=1, step=step) for _ in range(2))
        else:
            batch, again = (clip_batch(clips_of(bank), POOLED, 0.0, seed=1, step=step, frame_rate=4.0) for _ in range(2))
        assert batch.segments == again.segments and torch.equal(batch.context_latents, again.context_latents)
        kinds.append(kind_of(batch))
        count, in_full = batch.context_latents.shape[2], batch.in_full
        sizes.setdefault(kinds[-1], []).append(count)
        every = tuple(range(count))
        expected = {
            "far_pooled": (Segment(every[:-3], 2), Segment(every[-3:])),
            "coarse": (Segment(every, 2),),
            "coarse_to_fine": (Segment(every, 2), Segment(every[-3:])),
        }
        assert batch.segments == expected[kinds[-1]]
        tokens = sum(len(segment.latents) * 16 // segment.pool**2 for segment in batch.segments)
        assert batch.num_tokens(16) == 2 * (16 * batch.latents.shape[2] + tokens)
        for scene in range(2):
            frames = [latent_index(bank, latent)[1] for latent in batch.context_latents[scene].unbind(1)]
            of, first_target = latent_index(bank, batch.latents[scene, :, 0])
            anchor = first_target if draw == "bank" else 3
            assert len(set(frames)) == count and max(frames) < 12 and anchor in frames
            # The scene clock and the frame of the scene rays start at the earliest, wherever it stands.
            torch.testing.assert_close(batch.context_poses[scene, np.argmin(frames)], torch.eye(4), atol=1e-6, rtol=0)
            steps = np.array(frames) - (0 if draw == "bank" else min(frames))
            assert batch.context_positions[scene].tolist() == steps.tolist()
            assert batch.positions[scene, 0] > batch.context_positions[scene].max()
            if kinds[-1] != "coarse":
                away = distance_to_path(bank, of, frames, batch.latents[scene])
                away[frames.index(anchor)] = 0
                assert frames.index(anchor) in in_full
                assert away[in_full].max() <= away[: count - 3].min(initial=np.inf) + 1e-6
    assert {kind: kinds.count(kind) >= 6 for kind in kinds} == dict.fromkeys(("far_pooled", "coarse", "coarse_to_fine"), True)
    assert min(sizes["far_pooled"]) > 3 and 9 <= max(sizes["far_pooled"]) <= 12  # up to four times three
    assert min(sizes["coarse_to_fine"]) == min(sizes["coarse"]) == 3 < max(sizes["coarse"])


def distance_to_path(bank, scene, frames, targets) -> np.ndarray:
    """Metres + degrees / 45 between viewing directions, of context frames to the nearest of the targets [C, T, h, w]."""
    poses = bank.camera_to_world[scene].numpy()
    path = [latent_index(bank, latent)[1] for latent in targets.unbind(1)]
    metres = np.linalg.norm(poses[frames][:, None, :3, 3] - poses[path][None, :, :3, 3], axis=-1)
    cosine = np.einsum("ci,ti->ct", poses[frames][:, :3, 2], poses[path][:, :3, 2]).clip(-1, 1)
    return (metres + np.degrees(np.arccos(cosine)) / 45).min(1)


def test_steps_without_pooled_parts_stay_what_they_were(bank):
    """No draw is made for what has probability zero, so that runs of older configurations go on exactly."""
    batch = draw_batch(bank, 4, Curriculum((2, 5)), 0.5, seed=0, step=7)
    assert kind_of(batch) == "in_full" and not batch.drop_instruction
    # Recorded before there were pooled parts: what the step draws next.
    assert float(torch.rand((), generator=batch.generator)) == pytest.approx(0.5070058703)
    some = [kind_of(draw_batch(bank, 2, Curriculum((2, 5), pooled_probability=0.5, pools=(2,)), 0.5, 0, step)) for step in range(30)]
    assert 8 < some.count("in_full") < 22


def test_the_instruction_alone_is_dropped_in_its_share_of_steps(bank):
    curriculum = Curriculum((2, 3), drop_probability=0.3, drop_instruction_probability=0.5)
    batches = [draw_batch(bank, 2, curriculum, 0.0, seed=0, step=step) for step in range(40)]
    assert not any(batch.drop_conditions and batch.drop_instruction for batch in batches)
    with_conditions = [batch for batch in batches if not batch.drop_conditions]
    assert 0.3 < sum(batch.drop_instruction for batch in with_conditions) / len(with_conditions) < 0.7


def test_a_batch_moves_to_a_device_with_its_segments(bank):
    batch = draw_batch(bank, 2, POOLED, 0.0, seed=1, step=0)
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.context_latents.is_meta and moved.segments == batch.segments and isinstance(moved.segments[0], Segment)


def test_impossible_curricula_are_refused():
    with pytest.raises(ValueError, match="(?s)pooled_probability 1.5: expected a number from 0 to 1; .*pools .1, 2.: expected whole"):
        Curriculum(pooled_probability=1.5, pools=(1, 2))

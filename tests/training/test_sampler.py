"""Batches: what is drawn, and that a step, its rank and its seed alone decide it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import move_data_to_device

from video4spatial.cameras import Cameras, plucker_rays, project_points, viewpoint_distance
from video4spatial.clips import Navigate
from video4spatial.conditioning.plans import ContextPart
from video4spatial.training.bank import SceneBank, render_bank
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import BankExamples, Example, Scene, encode_pictures
from video4spatial.training.latents import LatentStore
from video4spatial.training.losses.geometry import points_of_depth
from video4spatial.training.sampler import draw_batch


@pytest.fixture(scope="module")
def pictures() -> SceneBank:
    return render_bank([3, 4], walk_frames=12, targets_per_scene=2, target_frames=5, height=32, width=32, depth_size=(4, 4))


@pytest.fixture(scope="module")
def bank(pictures, tiny_vae, tmp_path_factory) -> BankExamples:
    return BankExamples(pictures, 4.0, 1, LatentStore(tmp_path_factory.mktemp("latents"), tiny_vae), tiny_vae, "bank")


@pytest.fixture(scope="module")
def latents(pictures, tiny_vae) -> torch.Tensor:
    """[S, N, C, h, w] of all pictures of the bank."""
    return encode_pictures(tiny_vae, pictures.frames.flatten(0, 1)).unflatten(0, pictures.frames.shape[:2])


def test_a_bank_holds_walks_and_targets_that_start_on_them(pictures):
    bank = pictures
    assert bank.frames.shape == (2, 12 + 2 * 4, 32, 32, 3) and bank.depth.shape == (2, 20, 4, 4)
    assert bank.walk_frames == 12 and bank.anchors.shape == (2, 2)
    for scene in range(2):
        for target in range(2):
            anchor = bank.camera_to_world[scene, bank.anchors[scene, target]]
            first = bank.camera_to_world[scene, 12 + 4 * target]
            assert (first[:3, 3] - anchor[:3, 3]).norm() < 0.6  # one step away, not across the room


def test_a_bank_file_gives_the_bank_back(pictures, tmp_path):
    bank = pictures
    bank.save(tmp_path / "bank.safetensors")
    again = SceneBank.load(tmp_path / "bank.safetensors")
    assert again.target_frames == 5
    assert torch.equal(again.frames, bank.frames) and torch.equal(again.camera_to_world, bank.camera_to_world)
    assert [p.name for p in tmp_path.iterdir()] == ["bank.safetensors"]


def test_rendering_is_deterministic_and_variants_differ():
    first, again = (
        render_bank([5], walk_frames=4, targets_per_scene=1, target_frames=3, height=16, width=16, depth_size=(2, 2), variants=2)
        for _ in range(2)
    )
    assert torch.equal(first.frames, again.frames) and len(first) == 2
    assert not torch.equal(first.camera_to_world[0], first.camera_to_world[1])


def test_a_batch_is_a_function_of_its_step(bank):
    first, again, other = (draw_batch(bank, 3, Curriculum((2, 5)), 0.5, seed=0, step=s) for s in (7, 7, 8))
    assert torch.equal(first.latents, again.latents) and first.cameras.allclose(again.cameras)
    assert first.parts == again.parts
    assert first.latents.shape != other.latents.shape or not torch.equal(first.latents, other.latents)


def test_every_rank_draws_batches_of_its_own(bank):
    first, other = (draw_batch(bank, 3, Curriculum((4, 4)), 0.5, seed=0, step=7, rank=rank) for rank in (0, 1))
    assert first.latents.shape != other.latents.shape or not torch.equal(first.latents, other.latents)


def latent_index(latents, latent):
    """Which (scene, frame) of latents [S, N, C, h, w] a latent [C, h, w] is."""
    matches = (latents.float() == latent).flatten(2).all(-1).nonzero()
    assert len(matches) == 1
    return tuple(matches[0].tolist())


@pytest.mark.parametrize("step", range(8))
def test_contexts_hold_the_anchor_and_respect_the_guard_band(bank, latents, step):
    curriculum = Curriculum((3, 3), walk_probability=1.0 if step % 2 else 0.0, guard_frames=2)
    batch = draw_batch(bank, 4, curriculum, 0.0, seed=1, step=step)
    assert batch.in_full == [0, 1, 2]
    for sample in range(4):
        context = [latent_index(latents, batch.context_latents[sample, :, i]) for i in range(3)]
        targets = [latent_index(latents, batch.latents[sample, :, i]) for i in range(5)]
        assert len({scene for scene, _ in context + targets}) == 1
        frames, anchor = [frame for _, frame in context], targets[0][1]
        assert frames == sorted(set(frames)) and anchor in frames and max(frames) < 12
        assert batch.context_seconds[sample].tolist() == [(frame - frames[0]) / 4 for frame in frames]
        assert batch.start[sample] > frames[-1] - frames[0] and batch.seconds[sample].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert not {frame for _, frame in targets[1:]} & set(frames)
        if step % 2:
            assert [frame for _, frame in targets] == list(range(anchor, anchor + 5))


@pytest.mark.parametrize("step", range(4))
def test_targets_of_a_scene_share_a_context(bank, latents, step):
    curriculum = Curriculum((4, 8), walk_probability=0.0, targets_per_context=2, drop_probability=0.0)
    batch = draw_batch(bank, 4, curriculum, 1.0, seed=3, step=step)
    assert batch.targets_per_context == 2 and len(batch.context_latents) == 2 == len(batch.context_depth) == batch.context_cameras.batch_shape[0]
    assert batch.num_tokens(4) == 4 * (4 * 5 + 2 * len(batch.in_full))
    for sample in range(4):
        scene, anchor = latent_index(latents, batch.latents[sample, :, 0])
        context = [latent_index(latents, one) for one in batch.context_latents[sample // 2].unbind(1)]
        assert (scene, anchor) in context and {s for s, _ in context} == {scene}
        # The anchor's camera is that of its frame in the context.
        place = context.index((scene, anchor))
        torch.testing.assert_close(batch.anchor_poses[sample], batch.context_cameras.camera_to_world[sample // 2, place])
    alone = Curriculum((4, 8), walk_probability=1.0, targets_per_context=2, guard_frames=0)
    alone = draw_batch(bank, 4, alone, 0.0, seed=3, step=step)
    assert alone.targets_per_context == 1 and len(alone.in_full) == 4
    with pytest.raises(ValueError, match="a multiple of targets_per_context 2"):
        draw_batch(bank, 3, curriculum, 1.0, seed=3, step=step)


def test_points_agree_with_the_renderer(bank, pictures, latents):
    """A context pixel's point projects back into its own camera at its own pixel and depth."""
    batch = draw_batch(bank, 2, Curriculum((4, 4)), 0.0, seed=2, step=0)
    points = points_of_depth(batch.context_depth, batch.context_cameras)
    for sample in range(2):
        for frame in range(4):
            camera = Cameras(batch.context_cameras.camera_to_world[sample, [frame]], batch.context_cameras.intrinsics[sample, [frame]])
            pixels, depth = project_points(camera, points[sample, frame].flatten(1).T.double(), 4, 4)
            grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="xy"), -1).flatten(0, 1) + 0.5
            torch.testing.assert_close(pixels[0], grid.double(), atol=1e-3, rtol=0)
            scene, index = latent_index(latents, batch.context_latents[sample, :, frame])
            torch.testing.assert_close(depth[0].float(), pictures.depth[scene, index].flatten().float(), atol=1e-2, rtol=1e-3)
    # Target 0 looks through the anchor's camera: the ray through the picture's middle goes straight ahead.
    middle = plucker_rays(batch.cameras.entry(0).relative_to(0), 4, 4)[0, 3:].mean((-1, -2))
    assert middle[2] > 0.8


def test_the_curriculum_moves():
    curriculum = Curriculum((4, 8), known_cameras=(1.0, 0.1), anneal_until=0.5)
    assert curriculum.known_cameras_at(0) == 1.0
    assert np.isclose(curriculum.known_cameras_at(0.25), 0.55) and np.isclose(curriculum.known_cameras_at(0.9), 0.1)
    assert curriculum.context_frames_at(0) == (4, 4) and curriculum.context_frames_at(0.8) == (4, 8)


POOLED = Curriculum((3, 3), walk_probability=0.0, drop_probability=0.0, pooled_probability=1.0, pools=(2,), nearby_probability=0.0)


@dataclass(frozen=True)
class Clips:
    """The bank's scenes as clips that bring the walk as their context, of different lengths."""

    pictures: SceneBank
    latents: torch.Tensor
    frame_rate: float = 4.0
    temporal_compression: int = 1

    def draw(self, count, curriculum, progress, generator):
        return [[self.example(index % 2)] for index in range(count)]

    def example(self, scene: int) -> Example:
        cameras = Cameras(self.pictures.camera_to_world[scene], self.pictures.intrinsics[scene])
        seconds, walk = torch.arange(20).double() / 4, 12
        return Example(
            Scene(cameras[:walk], seconds[:walk], lambda i: self.latents[scene, i], lambda i: self.pictures.depth[scene, i]),
            3, cameras[walk:], seconds[:8], lambda i: self.latents[scene, walk + i], Navigate(cameras[walk:]),
        )  # fmt: skip


def kind_of(batch) -> str:
    pools = tuple(part.pool for part in batch.parts)
    if pools == (2,):
        return "coarse"
    if pools == (2, 1):
        return "far_pooled" if len(batch.parts[0].chunks) + len(batch.in_full) == batch.context_latents.shape[2] else "coarse_to_fine"
    return "in_full"


@pytest.mark.parametrize("draw", ["bank", "clips"])
def test_pooled_steps_look_like_plans(bank, pictures, latents, draw):
    """Far frames pooled before near ones, all pooled, or all pooled before the nearest (or all) in full; about as often."""
    kinds, sizes = [], {}
    for step in range(40):
        source = bank if draw == "bank" else Clips(pictures, latents)
        batch, again = (draw_batch(source, 2, POOLED, 0.0, seed=1, step=step) for _ in range(2))
        assert batch.parts == again.parts and torch.equal(batch.context_latents, again.context_latents)
        kinds.append(kind_of(batch))
        count, in_full = batch.context_latents.shape[2], batch.in_full
        sizes.setdefault(kinds[-1], []).append(count)
        every = tuple(range(count))
        expected = {
            "far_pooled": (ContextPart(every[:-3], 2), ContextPart(every[-3:])),
            "coarse": (ContextPart(every, 2),),
            "coarse_to_fine": (ContextPart(every, 2), ContextPart(every[-3:])),
        }
        assert batch.parts == expected[kinds[-1]]
        tokens = sum(len(part.chunks) * 16 // part.pool**2 for part in batch.parts)
        assert batch.num_tokens(16) == 2 * (16 * batch.latents.shape[2] + tokens)
        for scene in range(2):
            frames = [latent_index(latents, one)[1] for one in batch.context_latents[scene].unbind(1)]
            of, first_target = latent_index(latents, batch.latents[scene, :, 0])
            anchor = first_target if draw == "bank" else 3
            assert len(set(frames)) == count and max(frames) < 12 and anchor in frames
            # The scene clock and the frame of the scene rays start at the earliest, wherever it stands.
            first = batch.context_cameras.camera_to_world[scene, np.argmin(frames)]
            torch.testing.assert_close(first, torch.eye(4).double(), atol=1e-6, rtol=0)
            assert (4 * batch.context_seconds[scene]).tolist() == (np.array(frames) - min(frames)).tolist()
            assert batch.start[scene] > 4 * batch.context_seconds[scene].max()
            if kinds[-1] != "coarse":
                cameras = Cameras(pictures.camera_to_world[of], pictures.intrinsics[of])
                path = [latent_index(latents, one)[1] for one in batch.latents[scene].unbind(1)]
                away = viewpoint_distance(cameras[frames], cameras[path]).amin(1).numpy()
                away[frames.index(anchor)] = 0
                assert frames.index(anchor) in in_full
                assert away[in_full].max() <= away[: count - 3].min(initial=np.inf) + 1e-6
    assert {kind: kinds.count(kind) >= 6 for kind in kinds} == dict.fromkeys(("far_pooled", "coarse", "coarse_to_fine"), True)
    assert min(sizes["far_pooled"]) > 3 and 9 <= max(sizes["far_pooled"]) <= 12  # up to four times three
    assert min(sizes["coarse_to_fine"]) == min(sizes["coarse"]) == 3 < max(sizes["coarse"])


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


def test_a_batch_moves_to_a_device_and_its_cameras_stay(bank):
    batch = draw_batch(bank, 2, POOLED, 0.0, seed=1, step=0)
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.context_latents.is_meta and moved.latents.is_meta and moved.parts == batch.parts
    assert not moved.cameras.camera_to_world.is_meta and moved.generator is batch.generator


def test_contexts_of_different_lengths_are_drawn_together(pictures, latents):
    """As many frames as the shortest has; none is drawn that a clip does not have."""

    @dataclass(frozen=True)
    class Uneven(Clips):
        def example(self, scene: int) -> Example:
            example = super().example(scene)
            if scene == 1:
                return example
            short = replace(example.scene, cameras=example.scene.cameras[:6], seconds=example.scene.seconds[:6])
            return replace(example, scene=short)

    for step in range(6):
        batch = draw_batch(Uneven(pictures, latents), 4, Curriculum((9, 9)), 1.0, seed=0, step=step)
        assert batch.context_latents.shape[2] == 6
        frames = [latent_index(latents, one) for one in batch.context_latents[0].unbind(1)]
        assert {scene for scene, _ in frames} == {0} and max(frame for _, frame in frames) < 6


def test_impossible_curricula_are_refused():
    with pytest.raises(ValueError, match="(?s)pooled_probability 1.5: expected a number from 0 to 1; .*pools .1, 2.: expected whole"):
        Curriculum(pooled_probability=1.5, pools=(1, 2))
    with pytest.raises(ValueError, match="(?s)known_cameras.0. 2.0: expected.*context_frames .6, 2.: expected.*targets_per_context 0"):
        Curriculum((6, 2), known_cameras=(2.0, 0.1), targets_per_context=0)

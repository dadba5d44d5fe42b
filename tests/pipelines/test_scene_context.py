import json
import threading

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.conftest import seeded_transformer
from tests.pipelines.test_pipeline import path, seed
from video4spatial.cameras import parse_trajectory, plucker_rays
from video4spatial.clips import Navigate
from video4spatial.diffusion import JointGuidance
from video4spatial.models import CacheStorage
from video4spatial.pipelines import ContextPart, ContextPlan, Video4SpatialPipeline


@pytest.fixture
def pipeline(tiny_vae):
    """Like `tiny_pipeline`, with a model that knows every null."""
    transformer = seeded_transformer(null_context=("absent", "noise"), null_instruction=True)
    pipeline = Video4SpatialPipeline(tiny_vae, transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), height=32, width=32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run(pipeline, context, **options):
    return pipeline(context, path(), **{"num_inference_steps": 2, "generator": seed(0), **options}).latents


def test_a_plan_shows_what_it_names(pipeline, random_frames):
    frames, cameras = random_frames(0, 6), parse_trajectory("turn right 90deg", 6)
    plan = ContextPlan((ContextPart((0, 2, 5)),))
    shown = pipeline.encode_context(frames, cameras=cameras, plan=plan)
    assert len(shown) == 6 and shown.shown == [0, 2, 5] and shown.cache.num_tokens == 12 == shown.context_tokens_computed
    chosen = pipeline.encode_context(frames[[0, 2, 5]], np.array([0, 2, 5]) / 4, cameras[[0, 2, 5]])
    torch.testing.assert_close(run(pipeline, shown), run(pipeline, chosen))
    hidden = run(pipeline, shown, anchor=3)  # an anchor that no part shows is encoded by itself
    assert torch.equal(hidden[:, :, 0], pipeline.encode_context(frames[3:4]).latents[:, :, 0])


def test_pooled_parts_stand_before_full_ones(pipeline, random_frames):
    frames = random_frames(0, 5)
    plan = ContextPlan((ContextPart((0, 1, 2), pool=2), ContextPart((3, 4))))
    context = pipeline.encode_context(frames, plan=plan)
    assert context.cache.segments == (3, 8) and context.context_tokens_computed == 11
    with torch.no_grad():
        cache, _ = pipeline.transformer.encode_context(context.latents[:, :, :3], context.positions[:, :3], pool=2)
        cache, _ = pipeline.transformer.encode_context(context.latents[:, :, 3:], context.positions[:, 3:], cache=cache)
    assert all(torch.equal(a, b) for one, other in zip(cache.layers, context.cache.layers) for a, b in zip(one, other))


def test_coarse_to_fine_shows_the_first_part_first(pipeline, random_frames):
    frames = random_frames(0, 4)
    parts = (ContextPart((0, 1, 2, 3), pool=2), ContextPart((0, 1, 2, 3)))
    coarse, fine, both = (
        pipeline.encode_context(frames, plan=ContextPlan(parts, coarse_share=share)) for share in (1.0, 0.0, 0.5)
    )
    results = [run(pipeline, context) for context in (coarse, fine, both)]
    assert all(not torch.equal(results[a], results[b]) for a, b in ((0, 1), (1, 2), (0, 2)))
    alone = pipeline.encode_context(frames, plan=ContextPlan(parts[:1]))
    torch.testing.assert_close(results[0], run(pipeline, alone))
    assert both.cache_at(0.49).num_tokens == 4 and both.cache_at(0.5).num_tokens == 20


def test_three_way_guidance_is_the_stated_combination(pipeline, random_frames):
    context = pipeline.encode_context(random_frames(0, 3))
    noise = torch.randn(1, 4, 4, 4, 4, generator=seed(3))
    guidance = JointGuidance.separate(3.0, 2.0)
    result = pipeline(context, path(), num_inference_steps=1, guidance=guidance, latents=noise).latents[:, :, 1:]
    model = pipeline.transformer
    positions = float(context.positions.max()) + 4.0 + torch.arange(5, dtype=torch.float64).unsqueeze(0)
    timesteps, rays = torch.tensor([[0.0] + [1000.0] * 4]), plucker_rays(path().cameras.relative_to(0), 4, 4).unsqueeze(0)
    given = torch.cat([context.latents[:, :, -1:], noise], dim=2)
    with torch.no_grad():
        v = model(given, timesteps, positions=positions, rays=rays, context=context.cache).sample[:, :, 1:]
        v_context = model(given, timesteps, positions=positions, context=context.cache).sample[:, :, 1:]
        v_null = model(noise, timesteps[:, 1:], positions=positions[:, 1:]).sample
    expected = v_null + 2.0 * (v_context - v_null) + 3.0 * (v - v_context)
    torch.testing.assert_close(result, noise - expected, atol=1e-5, rtol=1e-5)


def test_null_context_of_noise_is_drawn_once_and_equal_in_both_forms(tiny_vae, pipeline, random_frames):
    """The null branch sees one draw of noise labelled t = 1 in all steps: checked by hand."""
    context = pipeline.encode_context(random_frames(0, 3))
    seen = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda module, inputs, options: seen.append(options.get("context")), with_kwargs=True
    )
    start = torch.randn(1, 4, 4, 4, 4, generator=seed(3))
    result = pipeline(context, path(), num_inference_steps=2, guidance=JointGuidance.noise(2.0), latents=start, generator=seed(7))
    hook.remove()
    assert len(seen) == 4 and seen[0] is context.cache and seen[1] is seen[3] and seen[1] is not context.cache
    noise = torch.randn(context.latents.shape, generator=seed(7))
    with torch.no_grad():
        expected, _ = pipeline.transformer.encode_context(noise, context.positions, timestep=1000.0)
    assert torch.equal(expected.layers[1][0], seen[1].layers[1][0])
    assert not torch.equal(result.latents, pipeline(context, path(), num_inference_steps=2, guidance_scale=2.0, latents=start).latents)


def test_noise_that_has_no_weight_is_not_drawn(pipeline, random_frames):
    context = pipeline.encode_context(random_frames(0, 3))
    drawn = seed(7)
    start = torch.randn(1, 4, 4, 4, 4, generator=seed(3))
    guidance = JointGuidance.separate(2.0, 1.0, null_context="noise")  # instruction against context: nothing stands for the scene
    result = run(pipeline, context, guidance=guidance, latents=start, generator=drawn)
    assert torch.equal(drawn.get_state(), seed(7).get_state())
    assert torch.equal(result, run(pipeline, context, guidance=JointGuidance.separate(2.0, 1.0), latents=start))


def test_nulls_that_the_model_does_not_know_are_refused(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 2))
    for guidance, message in (
        (JointGuidance.noise(2.0), "null context 'noise' needs a model trained with it"),
        (JointGuidance.separate(2.0, 1.5), "separate scales for instruction"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny_pipeline(context, path(), guidance=guidance)
    with pytest.raises(ValueError, match="guidance_scale .2. or guidance, not both"):
        tiny_pipeline(context, path(), guidance_scale=2.0, guidance=JointGuidance.absent(2.0))
    with pytest.raises(ValueError, match="this model reads no text"):
        tiny_pipeline(context, Navigate(path().cameras, "a room"))


def test_saved_scenes_give_the_same_video(pipeline, random_frames, tmp_path):
    file = tmp_path / "scene.safetensors"
    frames, cameras = random_frames(0, 5), parse_trajectory("turn right 90deg", 5)
    plan = ContextPlan((ContextPart((0, 1, 2, 3, 4), pool=2), ContextPart((1, 3, 4))), coarse_share=0.5)
    context = pipeline.encode_context(frames, cameras=cameras, plan=plan)
    pipeline.save_context(context, file)
    again = pipeline.load_context(file)
    assert list(tmp_path.iterdir()) == [file]
    assert again.context_tokens_computed == 0 and again.parts == context.parts and again.cameras.allclose(context.cameras)
    assert torch.equal(run(pipeline, again), run(pipeline, context))
    more = [
        pipeline.append_context(scene, frames[:2], cameras=cameras[:2]) for scene in (context, again)
    ]  # a scene from a file can be lengthened
    assert torch.equal(run(pipeline, more[0]), run(pipeline, more[1]))
    narrow = context.stored(CacheStorage(torch.bfloat16))
    pipeline.save_context(narrow, file)
    assert pipeline.load_context(file).approximations == narrow.approximations
    assert torch.equal(run(pipeline, pipeline.load_context(file)), run(pipeline, narrow))


def rewritten(file, target, **metadata):
    """The same tensors under a changed header."""
    with safe_open(file, framework="pt") as opened:
        save_file(load_file(file), target, {**opened.metadata(), **metadata})


def test_files_that_do_not_fit_are_refused_with_the_reason(pipeline, tiny_vae, random_frames, tmp_path):
    file, other = tmp_path / "scene.safetensors", tmp_path / "other.safetensors"
    pipeline.save_context(pipeline.encode_context(random_frames(0, 3)), file)
    content = file.read_bytes()

    def refused(message: str, model=pipeline, at=other):
        with pytest.raises(ValueError, match=message):
            model.load_context(at)

    stranger = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(ffn_dim=48), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    refused("encoded with another model", stranger, file)
    trained = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(null_context=("absent", "noise"), null_instruction=True),
        FlowMatchEulerDiscreteScheduler(), height=32, width=32,
    )  # fmt: skip
    assert len(trained.load_context(file)) == 3
    with torch.no_grad():
        trained.transformer.blocks[1].ffn.net[2].bias += 1e-3
    refused("encoded with another model", trained, file)
    other.write_bytes(content[:-100])
    refused("truncated, or no encoded scene")
    other.write_bytes(b"not a file of ours")
    refused("truncated, or no encoded scene")
    changed = bytearray(content)
    changed[-5] ^= 1
    other.write_bytes(changed)
    refused("do not match their checksum")
    rewritten(file, other, version="0")
    refused("version 0 of the format; this one reads 1")
    rewritten(file, other, model_dtype="torch.bfloat16")
    refused("encoded by a model in torch.bfloat16")
    settings = json.loads(safe_open(file, framework="pt").metadata()["settings"])
    rewritten(file, other, settings=json.dumps({**settings, "start": 3.0}))
    refused("do not match their checksum")
    save_file({"x": torch.zeros(1)}, other)
    refused("no encoded scene")
    with pytest.raises(FileNotFoundError, match="no such file"):
        pipeline.load_context(tmp_path / "nothing.safetensors")


def test_bounded_scenes_forget_the_oldest_but_the_footage(pipeline, random_frames):
    cameras = parse_trajectory("turn right 120deg", 9)
    frames = random_frames(0, 9)
    context = pipeline.encode_context(frames[:3], cameras=cameras[:3])
    for start in (3, 5, 7):
        part = slice(start, start + 2)
        context = pipeline.append_context(context, frames[part], cameras=cameras[part])
    assert context.cache.segments == (12, 8, 8, 8) and not context.approximations
    bounded = context.within(28)
    assert bounded.cache.segments == (12, 8, 8) and "evicted" in bounded.approximations[0]
    assert np.array_equal(bounded.frames, frames[[0, 1, 2, 5, 6, 7, 8]]) and bounded.shown == list(range(7))
    assert torch.equal(bounded.latents, context.latents[:, :, [0, 1, 2, 5, 6, 7, 8]]) and len(bounded.cameras) == 7
    assert torch.equal(run(pipeline, bounded)[:, :, 0], context.latents[:, :, -1])
    assert context.within(36) is context
    more = pipeline.append_context(context, frames[:2], cameras=cameras[:2], max_tokens=28)
    assert more.cache.segments == (12, 8, 8) and np.array_equal(more.frames[-2:], frames[:2])
    with pytest.raises(ValueError, match="hold 20 tokens, more than max_tokens=10"):
        context.within(10)


def test_one_scene_serves_many_threads(pipeline, random_frames):
    context = pipeline.encode_context(random_frames(0, 4))
    serial = [run(pipeline, context, generator=seed(value), guidance_scale=2.0) for value in range(4)]
    results = [None] * 4

    def work(value: int) -> None:
        results[value] = run(pipeline, context, generator=seed(value), guidance_scale=2.0)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(torch.equal(one, other) for one, other in zip(serial, results))


def test_plans_that_do_not_fit_are_refused(pipeline, tiny_vae, random_frames):
    frames = random_frames(0, 3)
    with pytest.raises(ValueError, match="shows chunk 3 of 3"):
        pipeline.encode_context(frames, plan=ContextPlan((ContextPart((0, 3)),)))
    with pytest.raises(ValueError, match="2x2 tokens, which 3 does not divide"):
        pipeline.encode_context(frames, plan=ContextPlan((ContextPart((0,), pool=3),)))
    full = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(attention_mode="full"), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    with pytest.raises(ValueError, match="several or pooled parts"):
        full.encode_context(frames, plan=ContextPlan((ContextPart((0, 1), pool=2),)))
    with pytest.raises(ValueError, match="no cache to bound"):
        full.encode_context(frames).within(4)


def test_a_scene_serves_the_model_alone_that_encoded_it(pipeline, tiny_pipeline, random_frames):
    context = pipeline.encode_context(random_frames(0, 2))
    with pytest.raises(ValueError, match="a context that another model encoded"):
        run(tiny_pipeline, context)
    with pytest.raises(ValueError, match="encoded by another model"):
        tiny_pipeline.append_context(context, random_frames(1, 1))
    run(pipeline, pipeline.append_context(context, random_frames(1, 1)))
    with torch.no_grad():
        next(pipeline.transformer.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="this one before its weights changed"):
        run(pipeline, context)

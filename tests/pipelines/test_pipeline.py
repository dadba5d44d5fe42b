import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from video4spatial import Video4SpatialPipeline
from video4spatial.cameras import parse_trajectory, plucker_rays
from video4spatial.clips import Ground, Navigate


def path(frames: int = 5, expression: str = "forward 0.4m, turn left 30deg") -> Navigate:
    return Navigate(parse_trajectory(expression, frames))


def seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def test_save_and_load_give_the_same_video(tiny_pipeline, random_frames, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path)
    again = Video4SpatialPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert (again.config.height, again.config.frame_rate, again.config.domain) == (32, 4.0, "noise")
    videos = []
    for pipeline in (tiny_pipeline, again):
        context = pipeline.encode_context(random_frames(0, 3))
        videos.append(pipeline(context, path(), num_inference_steps=2, generator=seed(0)).frames)
    assert videos[0].shape == (5, 32, 32, 3) and videos[0].dtype == np.uint8
    assert np.array_equal(*videos)


def test_same_seed_same_result_other_seed_another(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    first, again, other = (
        tiny_pipeline(context, path(), num_inference_steps=2, generator=seed(s)).latents for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_one_scene_serves_many_calls(tiny_pipeline, random_frames):
    """Keys and values do not depend on anchor, trajectory, seed, steps or guidance: a used context equals a fresh one."""
    frames = random_frames(0, 4)
    used = tiny_pipeline.encode_context(frames)
    before = [key.clone() for key, _ in used.cache.layers]
    tiny_pipeline(used, path(3, "truck right 1m"), anchor=0, num_inference_steps=3, guidance_scale=2.0, generator=seed(5))
    assert all(torch.equal(key, old) for (key, _), old in zip(used.cache.layers, before))
    result = tiny_pipeline(used, path(), anchor=2, num_inference_steps=2, generator=seed(0)).latents
    fresh = tiny_pipeline.encode_context(frames)
    assert torch.equal(result, tiny_pipeline(fresh, path(), anchor=2, num_inference_steps=2, generator=seed(0)).latents)


def test_what_is_no_video_is_refused(tiny_pipeline, random_frames):
    scene = tiny_pipeline.encode_context(random_frames(0, 3))
    with pytest.raises(ValueError, match="lower `guidance_scale`"):
        tiny_pipeline(scene, path(), num_inference_steps=2, guidance_scale=1e308, generator=seed(0))


def test_appending_joins_the_scene(tiny_pipeline, random_frames):
    frames, cameras = random_frames(0, 4), parse_trajectory("turn right 60deg", 4)
    first = tiny_pipeline.encode_context(frames[:3], cameras=cameras[:3])
    joined = tiny_pipeline.append_context(first, frames[3:], cameras=cameras[3:])
    assert len(first) == 3 and len(joined) == 4
    assert joined.cache.segments == (3 * 4, 4) and joined.context_tokens_computed == 4
    whole = tiny_pipeline.encode_context(frames, cameras=cameras)
    for name in ("latents", "positions", "scene_rays"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name), atol=1e-5, rtol=1e-5)
    for old, new in zip(first.cache.layers, joined.cache.layers):
        assert torch.equal(new[0][:, :12], old[0])  # nothing encoded before changes


def test_a_moved_world_changes_nothing(tiny_pipeline, random_frames):
    """Only relative cameras enter: the same scene in another world frame gives the same video."""
    frames, cameras = random_frames(0, 3), parse_trajectory("turn right 60deg", 3)
    pose = parse_trajectory("forward 3m + up 1m, turn left 50deg", 3)[-1].camera_to_world[0]
    results = []
    for world in (torch.eye(4, dtype=torch.float64), pose):
        context = tiny_pipeline.encode_context(frames, cameras=cameras.transformed(world))
        results.append(tiny_pipeline(context, path(), anchor=1, num_inference_steps=2, generator=seed(0)).latents)
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)


def test_conditions_matter(tiny_pipeline, random_frames):
    frames = random_frames(0, 3)
    context = tiny_pipeline.encode_context(frames)

    def run(**changes):
        options = {"context": context, "instruction": path(), "num_inference_steps": 2, "generator": seed(0), **changes}
        return tiny_pipeline(**options).latents

    base = run()
    known = tiny_pipeline.encode_context(frames, cameras=parse_trajectory("turn right 60deg", 3))
    late = tiny_pipeline.encode_context(frames, times=np.array([0.0, 4.0, 4.5]))
    variants = [
        run(instruction=path(expression="truck right 1m")), run(anchor=0), run(guidance_scale=2.0), run(context=known),
        run(context=late), run(context=tiny_pipeline.encode_context(frames[1:])),
        run(context=None, anchor_frame=frames[-1]),
    ]  # fmt: skip
    assert all((variant - base).abs().max() > 1e-5 for variant in variants)


def test_guidance_is_the_stated_combination(tiny_pipeline, random_frames):
    """One step, by hand: v = v_null + w (v - v_null), the null without context, anchor and instruction."""
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    noise = torch.randn(1, 4, 4, 4, 4, generator=seed(3))
    result = tiny_pipeline(context, path(), num_inference_steps=1, guidance_scale=3.0, latents=noise).latents[:, :, 1:]
    model = tiny_pipeline.transformer
    positions = float(context.positions.max()) + 4.0 + torch.arange(5, dtype=torch.float64).unsqueeze(0)
    rays = plucker_rays(path().cameras.relative_to(0), 4, 4).unsqueeze(0)
    timesteps = torch.tensor([[0.0] + [1000.0] * 4])
    with torch.no_grad():
        given = torch.cat([context.latents[:, :, -1:], noise], dim=2)
        v = model(given, timesteps, positions=positions, rays=rays, context=context.cache).sample[:, :, 1:]
        v_null = model(noise, timesteps[:, 1:], positions=positions[:, 1:]).sample
    torch.testing.assert_close(result, noise - (v_null + 3.0 * (v - v_null)), atol=1e-5, rtol=1e-5)


def test_models_that_predict_the_sample_land_on_it(tiny_vae, random_frames):
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(prediction_type="sample"), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    pipeline.set_progress_bar_config(disable=True)
    seen = []
    context = pipeline.encode_context(random_frames(0, 2))
    hook = pipeline.transformer.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    result = pipeline(context, path(), num_inference_steps=3, generator=seed(0)).latents
    hook.remove()
    torch.testing.assert_close(result[:, :, 1:], seen[-1][:, :, 1:], atol=1e-5, rtol=1e-5)


def test_full_attention_runs_without_a_cache(tiny_vae, random_frames):
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(attention_mode="full"), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    pipeline.set_progress_bar_config(disable=True)
    context = pipeline.encode_context(random_frames(0, 2))
    assert context.cache is None
    assert pipeline(context, path(), num_inference_steps=2, generator=seed(0)).frames.shape == (5, 32, 32, 3)


@pytest.mark.parametrize("frames", [5, 7])
def test_a_video_autoencoder_pads_and_trims(tiny_wan_vae, random_frames, frames):
    """Temporal compression 4: 7 frames become 1 + 2 latents and come back as 7; context in chunks of 5."""
    pipeline = Video4SpatialPipeline(
        tiny_wan_vae, seeded_transformer(camera_channels=24), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    pipeline.set_progress_bar_config(disable=True)
    context = pipeline.encode_context(random_frames(0, 10), cameras=parse_trajectory("turn left 90deg", 10), chunk_length=5)
    assert context.positions.tolist() == [[0.0, 1.0, 1.25, 2.25]]  # seconds x 4 frames/s / 4, at each latent's last frame
    output = pipeline(context, path(frames), num_inference_steps=2, generator=seed(0))
    assert output.frames.shape == (frames, 32, 32, 3) and output.latents.shape[2] == 1 + -(-(frames - 1) // 4)


def test_a_path_of_a_video_or_words_are_told_what_they_should_be(tiny_pipeline, random_frames):
    with pytest.raises(ValueError, match=r"frames 'x.mp4': expected pictures, .*open_video\(path\).read"):
        tiny_pipeline.encode_context("x.mp4")
    context = tiny_pipeline.encode_context(random_frames(0, 2))
    with pytest.raises(ValueError, match=r"type str: .*Navigate\(parse_trajectory\(words, num_frames\)\)"):
        tiny_pipeline(context, "turn left 30deg")


def test_all_problems_of_a_context_are_named_at_once(tiny_pipeline):
    with pytest.raises(ValueError) as error:
        tiny_pipeline.encode_context(
            np.zeros((3, 20, 32, 3), np.uint8), times=np.array([0.0, 0.0]), cameras=path(2).cameras, chunk_length=2
        )
    for part in ("20x32: expected multiples of 16", "2 times for 3 frames", "2 cameras for 3 frames", "chunk_length 2"):
        assert part in str(error.value)


def test_bad_calls_are_refused(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    with pytest.raises(ValueError, match="anchor 3 is outside the context of 3 frames: expected -3 to 2"):
        tiny_pipeline(context, path(), anchor=3)
    with pytest.raises(ValueError, match="at least 2 cameras"):
        tiny_pipeline(context, Navigate(path().cameras[0]))
    with pytest.raises(ValueError, match="of type Cameras: expected Navigate.cameras. or Ground"):
        tiny_pipeline(context, path().cameras)
    both = "a path of type str: expected Cameras.*\n.*a context of type ndarray: expected what encode_context"
    with pytest.raises(ValueError, match=both):
        tiny_pipeline(random_frames(0, 3), Navigate("left 30deg"))
    with pytest.raises(ValueError, match="'go to the lamp': this model reads no text"):
        tiny_pipeline(context, Ground("go to the lamp"))
    with pytest.raises(ValueError, match="not both"):
        tiny_pipeline(context, path(), anchor_frame=random_frames(0, 1)[0])
    with pytest.raises(ValueError, match="not after the context's last"):
        tiny_pipeline.append_context(context, random_frames(1, 1), times=np.array([0.1]))


def test_a_null_the_model_was_not_trained_with_is_refused(tiny_vae, random_frames):
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(null_context=["noise"]), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    pipeline.set_progress_bar_config(disable=True)
    context = pipeline.encode_context(random_frames(0, 2))
    with pytest.raises(ValueError, match="trained with it; this one was trained with"):
        pipeline(context, path(), guidance_scale=2.0)
    assert pipeline(context, path(), num_inference_steps=1, guidance_scale=1.0).frames.shape[0] == 5

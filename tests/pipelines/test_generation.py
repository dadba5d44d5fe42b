"""From a clip to a video: the same as the calls it stands for, and refused in words of arguments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import seeded_transformer
from video4spatial.cameras import parse_trajectory
from video4spatial.clips import Clip, Ground, Navigate
from video4spatial.diffusion import JointGuidance
from video4spatial.models import CacheStorage
from video4spatial.pipelines import GenerationSettings, SceneSession, Video4SpatialPipeline, encode_scene, generate
from video4spatial.pipelines.generation import check_room, load_scene, plan_scene

QUICK = GenerationSettings(num_inference_steps=2, seed=3)


@pytest.fixture
def clip(random_frames) -> Clip:
    """Six frames with cameras, and a path of five from the second."""
    cameras = parse_trajectory("turn right 60deg", 6)
    path = Navigate(parse_trajectory("forward 0.4m, turn left 30deg", 5))
    return Clip("noise", "noise", random_frames(0, 6), np.arange(6) / 4, path, 1, context_cameras=cameras)


def seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


@pytest.mark.parametrize("told", [False, True])
def test_one_pass_is_the_pipeline_s_call(told, tiny_pipeline, clip):
    guidance, steps = JointGuidance.absent(1.5), []
    settings = replace(QUICK, context_cameras=told, guidance=guidance)
    made = generate(tiny_pipeline, clip, settings, on_step=lambda: steps.append(1))
    context = tiny_pipeline.encode_context(clip.context_frames, clip.context_times, clip.context_cameras if told else None)
    frames = tiny_pipeline(context, clip.instruction, 1, 2, guidance=guidance, generator=seed(3)).frames
    assert np.array_equal(made.frames, frames) and len(steps) == 2
    assert (made.context_frames, made.context_cameras, made.num_inference_steps) == (6, told, 2)
    assert (made.chunks, made.chunk_frames, made.approximations) == (1, 0, ())
    assert generate(tiny_pipeline, clip, replace(settings, num_inference_steps=None)).num_inference_steps == 16


def test_without_a_context_the_anchor_is_all_there_is(tiny_pipeline, clip):
    made = generate(tiny_pipeline, clip, replace(QUICK, show_context=False))
    frames = tiny_pipeline(None, clip.instruction, -1, 2, generator=seed(3), anchor_frame=clip.context_frames[1]).frames
    assert np.array_equal(made.frames, frames) and (made.context_frames, made.context_cameras) == (0, False)
    other = replace(clip, context_frames=np.where(np.arange(6)[:, None, None, None] == 1, clip.context_frames, 0))
    assert np.array_equal(generate(tiny_pipeline, other, replace(QUICK, show_context=False)).frames, frames)
    with pytest.raises(ValueError, match="`show_context` is off"):
        generate(tiny_pipeline, clip, replace(QUICK, show_context=False), encode_scene(tiny_pipeline, clip))


def test_long_paths_are_the_moves_of_a_session(tiny_pipeline, clip):
    done = []
    settings = replace(QUICK, context_cameras=True, chunk_frames=3, max_context_tokens=6 * 4 + 2 * 4)
    made = generate(tiny_pipeline, clip, settings, on_chunk=lambda: done.append(1))
    context = tiny_pipeline.encode_context(clip.context_frames, clip.context_times, clip.context_cameras)
    session = SceneSession(tiny_pipeline, context, 1, settings)
    session.move(clip.instruction.cameras)
    assert np.array_equal(made.frames, session.frames)
    assert (made.chunks, made.chunk_frames, len(done), made.context_frames) == (2, 3, 2, 6)
    assert made.approximations == session.context.approximations and "evicted" in made.approximations[0]


def test_one_scene_serves_many_clips(tiny_pipeline, clip):
    settings = replace(QUICK, plan="stride", plan_budget=3, cache=CacheStorage(torch.bfloat16))
    context = encode_scene(tiny_pipeline, clip, settings)
    assert len(context.shown) == 3 and 1 in context.shown and context.cameras is None
    for words in ("turn left 30deg", "forward 1m"):
        other = replace(clip, instruction=Navigate(parse_trajectory(words, 5)))
        made = generate(tiny_pipeline, other, settings, context)
        assert np.array_equal(made.frames, generate(tiny_pipeline, other, settings).frames)
        assert made.context_frames == 3 and "stored in bfloat16" in made.approximations[0]


def test_words_are_an_instruction_like_any_other(tiny_vae, clip):
    from diffusers import FlowMatchEulerDiscreteScheduler

    from tests.models.conditions.test_text import tiny_text_parts

    text_encoder, tokenizer = tiny_text_parts()
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(text_dim=32), FlowMatchEulerDiscreteScheduler(shift=3.0), text_encoder, tokenizer,
        height=32, width=32,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    found = generate(pipeline, replace(clip, instruction=Ground("go to the lamp")), QUICK)
    assert found.frames.shape == (9, 32, 32, 3) and found.chunks == 1
    for chunk in (0, 3):
        told, untold = (
            generate(pipeline, replace(clip, instruction=replace(clip.instruction, prompt=words)), replace(QUICK, chunk_frames=chunk))
            for words in ("a room with two chairs", "")
        )
        assert not np.array_equal(told.frames, untold.frames)


def test_a_scene_in_a_file_is_the_scene_or_refused(tiny_pipeline, clip, tmp_path):
    path = str(tmp_path / "scene.safetensors")
    context = encode_scene(tiny_pipeline, clip, QUICK)
    tiny_pipeline.save_context(context, path)
    read = load_scene(tiny_pipeline, path, clip, QUICK)
    assert np.array_equal(generate(tiny_pipeline, clip, QUICK, read).frames, generate(tiny_pipeline, clip, QUICK, context).frames)
    for other, settings, message in (
        (clip.with_context([0, 1, 2]), QUICK, "6 frames, other than the 3 of the context"),
        (replace(clip, context_times=clip.context_times + 1), QUICK, "the same frames at other times"),
        (clip, replace(QUICK, context_cameras=True), "frames without known cameras"),
        (clip, replace(QUICK, plan="stride", plan_budget=2), "frames chosen by another `plan`"),
    ):
        with pytest.raises(ValueError, match=f"`scene_cache` .*{message}"):
            load_scene(tiny_pipeline, path, other, settings)


def test_a_plan_sees_what_the_model_is_told(clip):
    by_time = plan_scene(clip, GenerationSettings(plan="far_pooled", plan_budget=3, plan_options={"pool": 2}))
    assert by_time.parts[-1].chunks == (0, 1, 2) and by_time.parts[0].pool == 2
    known = GenerationSettings(plan="frustum", plan_budget=3, context_cameras=True)
    assert len(plan_scene(clip, known).chunks) == 3
    with pytest.raises(ValueError, match="the cameras are unknown"):
        plan_scene(replace(clip, context_cameras=None), known)


def test_room_is_checked_before_the_first_chunk(tiny_pipeline, clip):
    settings = replace(QUICK, chunk_frames=3, max_context_tokens=31)
    context = encode_scene(tiny_pipeline, clip, settings)
    with pytest.raises(ValueError, match="`max_context_tokens` 31: the scene holds 24 tokens and a chunk adds 8; allow more"):
        check_room(tiny_pipeline, clip, settings, context)
    with pytest.raises(ValueError, match="the scene holds 24 tokens and a chunk adds 8"):
        generate(tiny_pipeline, clip, settings)
    check_room(tiny_pipeline, clip, replace(settings, max_context_tokens=32), context)
    check_room(tiny_pipeline, clip, replace(settings, chunk_frames=0, max_context_tokens=24), context)

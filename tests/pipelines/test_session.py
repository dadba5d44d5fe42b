import threading

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from video4spatial.cameras import parse_trajectory
from video4spatial.clips import Navigate, Region
from video4spatial.clips.regions import mask_box
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.pipelines import GenerationSettings, SceneSession, Video4SpatialPipeline
from video4spatial.simulation import generate_scene, render

QUICK = GenerationSettings(num_inference_steps=1, chunk_frames=3)


def test_each_move_starts_where_the_last_one_ended(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    session = SceneSession(tiny_pipeline, context, anchor=0, settings=QUICK)
    assert len(session.frames) == 0 and session.cameras is None
    first = session.move("forward 1m")
    second = session.move("turn left 90deg", frames=5)  # two chunks
    assert first.frames.shape == (3, 32, 32, 3) and second.frames.shape == (5, 32, 32, 3)
    assert torch.equal(first.latents[:, :, -1], second.latents[:, :, 0])
    assert np.array_equal(session.frames, np.concatenate([first.frames, second.frames[1:]]))
    assert session.context.cache.segments == (12, 8, 8, 8) and len(context) == 3  # the scene given stays as it is
    end = parse_trajectory("forward 1m, turn left 90deg", 3)[-1]
    assert len(session.cameras) == 7 and session.cameras[-1].allclose(end, 1e-6)
    assert torch.equal(session.context.latents[:, :, 3:5], first.latents[:, :, 1:])
    assert not session.context.approximations


def test_a_session_is_its_chunks_one_by_one(tiny_pipeline, random_frames):
    frames, cameras = random_frames(0, 3), parse_trajectory("turn right 60deg", 3)
    context = tiny_pipeline.encode_context(frames, cameras=cameras)
    path = parse_trajectory("forward 1m", 5)
    session = SceneSession(tiny_pipeline, context, settings=QUICK)
    video = session.move(path)
    generator = torch.Generator().manual_seed(0)
    first = tiny_pipeline(context, Navigate(path[:3]), num_inference_steps=1, generator=generator)
    world = path.placed_at(cameras[-1])
    longer = tiny_pipeline.append_context(context, first.frames[1:], cameras=world[1:3], latents=first.latents[:, :, 1:])
    second = tiny_pipeline(longer, Navigate(path[2:]), num_inference_steps=1, generator=generator)
    assert np.array_equal(video.frames, np.concatenate([first.frames, second.frames[1:]]))
    assert session.context.cameras[-2:].allclose(world[3:], 1e-9)


def test_memory_is_bounded_and_the_footage_stays(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    settings = GenerationSettings(num_inference_steps=1, chunk_frames=3, max_context_tokens=12 + 2 * 8)
    session = SceneSession(tiny_pipeline, context, settings=settings)
    session.move("turn left 360deg", frames=21)
    assert session.context.cache.num_tokens == 28 and "evicted" in session.context.approximations[0]
    assert np.array_equal(session.context.frames[:3], context.frames) and len(session.context) == 7
    assert len(session.frames) == 21


def test_a_move_happens_whole_or_not_at_all(tiny_pipeline, random_frames):
    """The second chunk does not fit any more: the first one is forgotten too."""
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    settings = GenerationSettings(num_inference_steps=1, chunk_frames=4, max_context_tokens=20)
    session = SceneSession(tiny_pipeline, context, settings=settings)
    session.move("forward 1m", frames=3)
    before = session.context
    with pytest.raises(ValueError, match="more than max_tokens=20"):
        session.move("left 90deg", frames=6)  # chunks of 4 and 3 frames, of which the first is too long
    assert session.context is before and len(session.frames) == 3
    assert session.move("left 30deg", frames=3).frames.shape[0] == 3


def test_sessions_share_a_scene_across_threads(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 3))
    settings = [GenerationSettings(num_inference_steps=2, chunk_frames=3, seed=value) for value in range(3)]

    def explored(setting):
        session = SceneSession(tiny_pipeline, context, settings=setting)
        session.move("forward 1m")
        session.move("left 90deg")
        return session.frames

    serial = [explored(setting) for setting in settings]
    results = [None] * 3

    def work(index: int) -> None:
        results[index] = explored(settings[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all(np.array_equal(one, other) for one, other in zip(serial, results))
    assert not np.array_equal(results[0], results[1])


def test_with_a_video_autoencoder_frames_are_encoded_anew(tiny_wan_vae, random_frames):
    pipeline = Video4SpatialPipeline(
        tiny_wan_vae, seeded_transformer(camera_channels=24), FlowMatchEulerDiscreteScheduler(), height=32, width=32
    )
    pipeline.set_progress_bar_config(disable=True)
    session = SceneSession(pipeline, pipeline.encode_context(random_frames(0, 5), chunk_length=5), settings=QUICK)
    video = session.move("forward 1m", frames=9)
    assert video.frames.shape == (9, 32, 32, 3)
    assert len(session.context) % 5 == 0 and len(session.context) > 5


def test_what_does_not_fit_is_refused(tiny_pipeline, random_frames):
    context = tiny_pipeline.encode_context(random_frames(0, 2))
    with pytest.raises(ValueError, match="anchor 5 is outside"):
        SceneSession(tiny_pipeline, context, anchor=5)
    session = SceneSession(tiny_pipeline, context, settings=QUICK)
    with pytest.raises(ValueError, match="frames=4 for a path of 3 cameras"):
        session.move(parse_trajectory("forward 1m", 3), frames=4)
    with pytest.raises(ValueError, match="sideway"):
        session.move("sideway 1m")
    assert len(session.frames) == 0 and session.context is context


@pytest.fixture(scope="module")
def pipeline_with_geometry(tiny_vae):
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(geometry_views=1), FlowMatchEulerDiscreteScheduler(shift=3.0), height=64, width=64
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_an_object_is_found_and_gone_to_from_where_the_camera_stands(pipeline_with_geometry, clip):
    scene = generate_scene(clip.provenance["scene_seed"])
    seen = render(scene, clip.context_cameras, 64, 64).instance
    usual = [item for item in scene.objects if item.label not in ("window", "door", "rug")]
    item = max(usual, key=lambda item: (seen == item.instance_id).mean((1, 2)).max())
    frame = int((seen == item.instance_id).mean((1, 2)).argmax())
    count = len(clip.context_frames)
    geometry = SceneGeometry(
        clip.context_frames, clip.context_cameras, np.ones(count, bool), clip.context_depth, np.ones_like(clip.context_depth), ("",) * count
    )
    context = pipeline_with_geometry.encode_context(clip.context_frames, cameras=clip.context_cameras, geometry=geometry)
    session = SceneSession(pipeline_with_geometry, context, anchor=clip.anchor, settings=GenerationSettings(num_inference_steps=1))
    found = session.find(Region(frame, mask_box(seen[frame] == item.instance_id)), frames=5)
    assert found.video.frames.shape == (5, 64, 64, 3) and len(session.frames) == 5 and found.answer.target.confidence > 0
    last = found.answer.way.path.placed_at(clip.context_cameras[clip.anchor])[-1]
    assert (render(scene, last, 64, 64).instance[0] == item.instance_id).any()
    before = session.context
    with pytest.raises(ValueError, match="needs something that reads them"):
        session.find("the lamp")
    assert session.context is before
    again = session.find(Region(frame, mask_box(seen[frame] == item.instance_id)), frames=3)
    assert len(session.frames) == 7 and again.answer.target.item.center == pytest.approx(found.answer.target.item.center, abs=0.5)


def test_a_scene_without_geometry_cannot_be_searched(tiny_pipeline, random_frames):
    session = SceneSession(tiny_pipeline, tiny_pipeline.encode_context(random_frames(0, 3)), settings=QUICK)
    with pytest.raises(ValueError, match="encoded without geometry"):
        session.find(Region(0, (0.2, 0.2, 0.8, 0.8)))

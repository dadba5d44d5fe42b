"""A scene's geometry on its way through the pipeline: read, shown, saved, lengthened, and left out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from video4spatial import Video4SpatialPipeline
from video4spatial.clips import Clip, Navigate
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.models.refiner import PictureRefiner
from video4spatial.pipelines import GenerationSettings, generate, generation
from video4spatial.pipelines.generation import SceneSession, encode_scene, load_scene, scene_geometry
from video4spatial.pipelines.scene_geometry import estimate_geometry

KNOWN = GenerationSettings(num_inference_steps=1, context_cameras=True)


@pytest.fixture(scope="module")
def walk() -> Clip:
    return simulated_navigation_clip(2_050_000, num_frames=4, walk_frames=24, context_size=6, height=32, width=32, anchor=12)


@pytest.fixture(scope="module")
def pipeline(tiny_vae) -> Video4SpatialPipeline:
    """A tiny pipeline that takes half of what it shows from the blend of the renderings."""
    transformer = seeded_transformer(geometry_views=2)
    torch.nn.init.constant_(transformer.geometry_encoder.weights.bias, 0.5)
    torch.manual_seed(0)
    refiner = PictureRefiner(views=3, widths=(8, 8, 8)).eval()
    pipeline = Video4SpatialPipeline(
        tiny_vae, transformer, FlowMatchEulerDiscreteScheduler(), refiner=refiner, height=32, width=32, target_frames=4, context_frames=3
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def truth(walk) -> SceneGeometry:
    depth = np.ascontiguousarray(walk.context_depth, np.float32)
    return SceneGeometry(walk.context_frames, walk.context_cameras, np.ones(6, bool), depth, np.ones_like(depth), ("",) * 6)


def test_geometry_is_shown_and_changes_the_video(pipeline, walk, truth):
    context = pipeline.encode_context(walk.context_frames, walk.context_times, geometry=truth)
    torch.testing.assert_close(context.cameras.camera_to_world, walk.context_cameras.camera_to_world)
    output = pipeline(context, walk.instruction, anchor=walk.anchor, num_inference_steps=1, generator=torch.Generator().manual_seed(0))
    assert output.rendering.known.shape == (4, 32, 32) and output.rendering.known.mean() > 0.3
    assert output.rendering.view_pictures.shape[1] == 3  # the refiner takes more views than the transformer
    blind = pipeline.encode_context(walk.context_frames, walk.context_times, walk.context_cameras)
    other = pipeline(blind, walk.instruction, anchor=walk.anchor, num_inference_steps=1, generator=torch.Generator().manual_seed(0))
    assert other.rendering is None and not np.array_equal(other.frames, output.frames)


def test_the_path_is_not_seen_when_geometry_is_read(walk):
    one = scene_geometry(walk, KNOWN)
    turned = replace(walk, instruction=Navigate(walk.instruction.cameras[[0, 0, 0, 0]]))
    other = scene_geometry(turned, KNOWN)
    assert np.array_equal(one.depth, other.depth) and (one.depth > 0).any()


def test_settings_choose_what_is_shown(pipeline, walk, truth):
    context = encode_scene(pipeline, walk, KNOWN)
    assert context.geometry is not None and len(context.geometry) == 6
    assert len(context.shown) == 3  # tokens of as many frames as it was trained with, geometry of all
    assert encode_scene(pipeline, walk, replace(KNOWN, geometry="none")).geometry is None
    assert encode_scene(pipeline, walk, KNOWN, geometry=truth).geometry is truth
    frames = generate(pipeline, walk, KNOWN).frames
    assert not np.array_equal(frames, generate(pipeline, walk, replace(KNOWN, geometry="none")).frames)


def test_models_without_a_prompt_refuse_geometry(tiny_pipeline, walk, truth, pipeline):
    with pytest.raises(ValueError, match="no geometry prompt"):
        tiny_pipeline.encode_context(walk.context_frames, geometry=truth)
    with pytest.raises(ValueError, match="`geometry` auto: this model has no geometry prompt"):
        generate(tiny_pipeline, walk, replace(KNOWN, geometry="auto"))
    with pytest.raises(ValueError, match="geometry of 5 frames for a context of 6"):
        pipeline.encode_context(walk.context_frames, geometry=truth.select(range(5)))


def test_an_anchor_without_a_camera_leaves_the_geometry_out(pipeline, walk, truth):
    placed = truth.placed.copy()
    placed[walk.anchor] = False
    context = pipeline.encode_context(walk.context_frames, geometry=replace(truth, placed=placed))
    assert context.cameras is None
    output = pipeline(context, walk.instruction, anchor=walk.anchor, num_inference_steps=1)
    assert output.rendering is None and output.frames.shape == (4, 32, 32, 3)


def test_scene_files_hold_the_geometry(pipeline, walk, truth, tmp_path):
    context = pipeline.encode_context(walk.context_frames, walk.context_times, geometry=truth)
    pipeline.save_context(context, tmp_path / "scene.safetensors")
    again = pipeline.load_context(tmp_path / "scene.safetensors").geometry
    assert np.array_equal(again.depth, truth.depth) and again.reasons == truth.reasons and again.placed.all()
    torch.testing.assert_close(again.cameras.camera_to_world, truth.cameras.camera_to_world)


def test_scene_files_fit_what_is_shown(pipeline, walk, truth, tmp_path):
    file = str(tmp_path / "scene.safetensors")
    unknown = replace(KNOWN, context_cameras=False)
    pipeline.save_context(encode_scene(pipeline, walk, unknown, geometry=truth), file)
    assert load_scene(pipeline, file, walk, unknown).geometry is not None
    with pytest.raises(ValueError, match="holds the scene with its geometry"):
        load_scene(pipeline, file, walk, replace(unknown, geometry="none"))


def test_sessions_lengthen_the_geometry(pipeline, walk, truth):
    context = pipeline.encode_context(walk.context_frames, walk.context_times, geometry=truth)
    session = SceneSession(pipeline, context, walk.anchor, GenerationSettings(num_inference_steps=1))
    session.move("left 10deg, forward 0.3", 4)
    geometry = session.context.geometry
    assert len(geometry) == len(session.context) == 9 and geometry.placed.all()
    assert (geometry.depth[6:] > 0).any() and geometry.confidence[6:].max() <= 0.5
    torch.testing.assert_close(geometry.cameras[6:].camera_to_world, session.context.cameras[6:].camera_to_world)
    assert session.move("forward 0.2", 3).rendering.known.any()


def test_one_picture_is_shown_as_far_as_it_reaches(walk):
    one = walk.with_context([walk.anchor])
    geometry = scene_geometry(one, GenerationSettings())
    assert geometry.placed.all() and geometry.cameras.metric and "one frame" in geometry.origin["cameras"]
    known = geometry.render(geometry.along(one.instruction.cameras, 0), 32, 32).known.mean((1, 2))
    assert known[0] > 0.9 and known[0] > known[-1] > 0


def test_an_anchor_that_is_lost_stands_alone(walk, monkeypatch):
    """A path cannot start from a geometry in which the anchor has no camera."""
    read = estimate_geometry(walk.context_frames, walk.context_cameras, walk.context_cameras.intrinsics[0], walk.anchor)
    placed = np.arange(len(read)) != walk.anchor
    monkeypatch.setattr(generation, "estimate_geometry", lambda *_, **options: replace(read, placed=placed))
    found = scene_geometry(walk, GenerationSettings())
    assert np.flatnonzero(found.placed).tolist() == [walk.anchor] and (found.depth[walk.anchor] > 0).any()


def test_pictures_that_tell_nothing_still_give_a_video(pipeline, walk):
    blank = replace(walk, context_frames=np.full_like(walk.context_frames, 128))
    geometry = estimate_geometry(blank.context_frames, None, walk.context_cameras.intrinsics[0], walk.anchor)
    others = [index for index in range(len(geometry)) if index != walk.anchor]
    assert all("blank" in geometry.reasons[index] for index in others) and "blank" in geometry.origin["cameras"]
    assert np.flatnonzero(geometry.placed).tolist() == [walk.anchor] and "picture alone" in geometry.reasons[walk.anchor]
    assert generate(pipeline, blank, GenerationSettings(num_inference_steps=1)).frames.shape == (4, 32, 32, 3)
    one = walk.with_context([walk.anchor])
    assert generate(pipeline, one, KNOWN).frames.shape == (4, 32, 32, 3)


def test_cameras_are_found_where_none_are_given():
    pytest.importorskip("pycolmap")
    seen = simulated_navigation_clip(2_050_003, height=192, width=192, num_frames=5, walk_frames=16, context_size=8)
    geometry = estimate_geometry(seen.context_frames, None, seen.context_cameras.intrinsics[0], seen.anchor)
    assert geometry.placed.mean() > 0.8 and geometry.cameras.metric and (geometry.depth > 0).any()
    assert geometry.origin["cameras"].startswith("cameras by") and "single pictures" in geometry.origin["scale"]
    torch.testing.assert_close(geometry.cameras.camera_to_world[seen.anchor], torch.eye(4, dtype=torch.float64))


def test_the_refiner_is_saved_and_loaded(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    again = Video4SpatialPipeline.from_pretrained(tmp_path)
    assert isinstance(again.refiner, PictureRefiner) and again.config.geometry_frames == 32
    for one, other in zip(pipeline.refiner.parameters(), again.refiner.parameters()):
        assert torch.equal(one, other)

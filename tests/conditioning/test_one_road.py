"""Training and sampling give the transformer the same inputs for the same clip, whatever the model."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import TINY, seeded_transformer
from tests.models.conditions.test_text import tiny_text_parts
from video4spatial import Video4SpatialPipeline
from video4spatial.cameras import parse_trajectory
from video4spatial.clips import Clip, Ground, Navigate
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.conditioning.inputs import Conditioner
from video4spatial.conditioning.plans import in_full
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.autoencoder import temporal_compression
from video4spatial.pipelines.pipeline import TARGET_GAP_SECONDS
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import Example, Scene, encode_clip
from video4spatial.training.module import DenoiserModule
from video4spatial.training.sampler import draw_batch

RATE = 4.0
EVERYTHING = Curriculum((4, 4), known_cameras=(1.0, 1.0), drop_probability=0.0, nearby_probability=0.0)


@dataclass(frozen=True)
class OneClip:
    """A source of examples that has a single clip."""

    clip: Clip
    autoencoder: torch.nn.Module
    frame_rate: float = RATE
    scene: SceneGeometry | None = None
    views: int = 2

    @property
    def temporal_compression(self) -> int:
        return temporal_compression(self.autoencoder)

    def draw(self, count, curriculum, progress, generator):
        tensors = encode_clip(self.clip, self.autoencoder)
        scene = Scene(
            self.clip.context_cameras, tensors["context_seconds"], tensors["context_latents"].__getitem__,
            tensors["context_depth"].__getitem__,
        )  # fmt: skip
        example = Example(
            scene, self.clip.anchor, self.clip.target_cameras, tensors["target_seconds"], tensors["target_latents"].__getitem__,
            self.clip.instruction, geometry=None if self.scene is None else self.rendered,
        )  # fmt: skip
        return [[example]] * count

    def rendered(self, frames, generator):
        return self.scene.render(self.clip.target_cameras[frames], *self.clip.context_frames.shape[1:3], views=self.views)


@pytest.fixture(scope="module")
def walk() -> Clip:
    """Five target frames and a context of four, the anchor in its middle."""
    clip = simulated_navigation_clip(2_050_000, num_frames=5, walk_frames=24, context_size=12, height=32, width=32, anchor=12)
    first = clip.anchor
    return clip.with_context([first - 2, first, first + 1, first + 4])


@dataclass
class Parts:
    """A model's parts."""

    vae: torch.nn.Module
    transformer: Video4SpatialTransformer3DModel
    text_encoder: torch.nn.Module | None
    tokenizer: object

    def pipeline(self) -> Video4SpatialPipeline:
        pipeline = Video4SpatialPipeline(
            self.vae, self.transformer, FlowMatchEulerDiscreteScheduler(), self.text_encoder, self.tokenizer, height=32, width=32,
            frame_rate=RATE, target_frames=5,
        )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def module(self) -> DenoiserModule:
        module = DenoiserModule({**TINY})
        module.transformer, module.text_encoder, module.tokenizer = self.transformer, self.text_encoder, self.tokenizer
        return module


@pytest.fixture
def parts(tiny_vae, tiny_wan_vae):
    """Function: what a model is made of, for a compression in time, whether it reads text, and options of its transformer."""

    def make(compression: int, text: bool, **options) -> Parts:
        encoder, tokenizer = tiny_text_parts() if text else (None, None)
        text_dim = encoder.config.d_model if text else None
        transformer = seeded_transformer(camera_channels=6 * compression, text_dim=text_dim, **options)
        return Parts(tiny_vae if compression == 1 else tiny_wan_vae, transformer, encoder, tokenizer)

    return make


def recorded(transformer, action) -> list[dict]:
    """What the transformer's passes are given while `action` runs: of the context, of the targets, and where these stand."""
    calls, places = [], []
    forward, encode, place = transformer.forward, transformer.encode_context, transformer._place

    def watched_forward(hidden_states, timestep, encoder_hidden_states=None, **options):
        calls.append({"targets": hidden_states, "timestep": timestep, "text": encoder_hidden_states, **options})
        return forward(hidden_states, timestep, encoder_hidden_states, **options)

    def watched_encode(latents, positions, scene_rays=None, cache=None, **options):
        calls.append({"context_latents": latents, "context_positions": positions, "context_scene_rays": scene_rays})
        return encode(latents, positions, scene_rays, cache, **options)

    def watched_place(positions, height, width, rays, scene_rays, geometry, device):
        shown = {} if geometry is None else {"geometry_latents": geometry.latents, "geometry_maps": geometry.maps}
        places.append({"positions": positions, "rays": rays, "scene_rays": scene_rays, **shown})
        return place(positions, height, width, rays, scene_rays, geometry, device)

    transformer.forward, transformer.encode_context, transformer._place = watched_forward, watched_encode, watched_place
    try:
        action()
    finally:
        transformer.forward, transformer.encode_context, transformer._place = forward, encode, place
    names = ("context_latents", "context_positions", "context_scene_rays", "targets", "timestep", "text")
    return [{name: call[name] for name in names if call.get(name) is not None} for call in calls] + places[:1]


@pytest.mark.parametrize("kind", ["navigate", "ground"])
@pytest.mark.parametrize("compression", [1, 4])
@pytest.mark.parametrize("text", [False, True], ids=["no_text", "text"])
@pytest.mark.parametrize("attention_mode", ["causal_context", "full"])
@pytest.mark.parametrize("camera_order", ["moment_direction", "direction_moment"])
def test_a_clip_takes_one_road(camera_order, attention_mode, text, compression, kind, parts, walk):
    if kind == "ground" and not text:
        pytest.skip("models that read no text follow the cameras of grounding clips")
    model = parts(compression, text, camera_order=camera_order, attention_mode=attention_mode)
    words = "go to the chair" if text else ""
    clip = replace(walk, instruction=Ground(words) if kind == "ground" else Navigate(walk.target_cameras, words))
    pipeline, module = model.pipeline(), model.module()

    def sample():
        context = pipeline.encode_context(clip.context_frames, clip.context_times, clip.context_cameras)
        pipeline(context, clip.instruction, anchor=clip.anchor, num_inference_steps=1)

    # What training draws at random is set to what sampling does: the gap before the targets, and segments.
    batch = draw_batch(OneClip(clip, model.vae), 1, EVERYTHING, 0.0, seed=0, step=0)
    start = (batch.context_seconds.amax(1) + TARGET_GAP_SECONDS) * RATE / compression
    batch = replace(batch, start=start, parts=in_full(range(4)).parts)
    with torch.no_grad():
        sampled, trained = recorded(model.transformer, sample), recorded(model.transformer, lambda: module.losses(batch))
    assert [set(call) for call in sampled] == [set(call) for call in trained]
    for one, other in zip(sampled, trained):
        for name in one:
            if one[name] is None:
                assert other[name] is None, name
            elif name == "targets":  # all but the anchor is noise
                torch.testing.assert_close(one[name][:, :, :1], other[name][:, :, :1], atol=2e-3, rtol=2e-3)
                assert one[name].shape == other[name].shape == (1, 4, 1 + 4 // compression, 4, 4)
            elif name == "timestep":
                assert not one[name][:, 0].any() and not other[name][:, 0].any() and one[name].shape == other[name].shape
            else:  # latents are kept in half precision for training
                torch.testing.assert_close(one[name], other[name], atol=2e-3 if "latents" in name else 1e-6, rtol=2e-3)
    told = {name for call in sampled for name, value in call.items() if value is not None}
    assert ("rays" in told) == ("scene_rays" in told) == (kind == "navigate") and ("text" in told) == text


@pytest.mark.parametrize("compression", [1, 4])
def test_geometry_takes_one_road(compression, parts, walk):
    """What is rendered for a clip in training is what is rendered in sampling, to the last latent and map."""
    model = parts(compression, False, geometry_views=2)
    depth = np.ascontiguousarray(walk.context_depth, np.float32)
    scene = SceneGeometry(walk.context_frames, walk.context_cameras, np.ones(4, bool), depth, 0.5 * np.ones_like(depth), ("",) * 4)
    pipeline, module = model.pipeline(), model.module()
    context = pipeline.encode_context(walk.context_frames, walk.context_times, walk.context_cameras, geometry=scene)
    shown = recorded(
        model.transformer, lambda: pipeline(context, walk.instruction, anchor=walk.anchor, num_inference_steps=1)
    )[-1]  # fmt: skip
    curriculum = replace(EVERYTHING, geometry_probability=1.0)
    batch = draw_batch(OneClip(walk, model.vae, scene=scene), 1, curriculum, 0.0, seed=0, step=0)
    told = module.conditions(batch)[1].geometry
    torch.testing.assert_close(told.latents, shown["geometry_latents"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(told.maps, shown["geometry_maps"])
    assert told.maps[:, :, 0, 0].mean() > 0.3
    dropped = replace(batch, drop_conditions=True)
    assert module.conditions(dropped)[1].geometry is None
    assert draw_batch(OneClip(walk, model.vae, scene=scene), 1, EVERYTHING, 0.0, seed=0, step=0).geometry is None


@pytest.mark.parametrize("attention_mode", ["causal_context", "full"])
def test_the_camera_order_is_that_of_the_configuration(attention_mode, parts, walk):
    model = parts(1, False, camera_order="direction_moment", attention_mode=attention_mode)
    batch = draw_batch(OneClip(walk, model.vae), 1, EVERYTHING, 0.0, seed=0, step=0)
    context, told = model.module().conditions(batch)
    # Direction first: the anchor's middle ray goes straight ahead, its moment is none.
    middle = told.rays[0, 0].mean((-1, -2))
    assert middle[2] > 0.8 and middle[3:].abs().max() < 1e-6 and context.scene_rays.shape == (1, 4, 6, 4, 4)


@pytest.mark.parametrize("compression", [1, 4])
@pytest.mark.parametrize("attention_mode", ["causal_context", "full"])
def test_every_model_trains(attention_mode, compression, parts, walk):
    """Context, cameras, words and geometry all reach the weights."""
    model = parts(compression, True, attention_mode=attention_mode)
    torch.nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
    module = model.module()
    source = OneClip(replace(walk, instruction=Navigate(walk.target_cameras, "a room with a chair")), model.vae)
    module.losses(draw_batch(source, 2, EVERYTHING, 0.0, seed=0, step=1))["loss"].backward()
    moved = {name for name, value in model.transformer.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    for part in ("camera_encoder.hidden", "scene_camera_encoder.hidden", "attn2.to_k", "text_embedder", "geometry.points"):
        assert any(part in name for name in moved), part
    assert any(value.grad.abs().sum() > 0 for value in model.text_encoder.parameters() if value.grad is not None)


def test_camera_channels_that_do_not_fit_are_refused():
    config = seeded_transformer(camera_channels=24).config
    with pytest.raises(ValueError, match="camera_channels 24: expected 6, 6 for each of the 1 frames"):
        Conditioner.of(config, 1, RATE)
    assert Conditioner.of(config, 4, RATE).camera_channels == 24


def test_positions_are_those_of_the_last_frame_of_each_latent():
    seconds = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1.0, 3.0, 3.25, 3.5, 3.75, 4.0]])
    assert Conditioner(RATE, 4, 24).positions(seconds, 5).tolist() == [[0.0, 1.0, 3.0, 4.0]]
    assert Conditioner(RATE, 1, 6).positions(seconds[:, :3], 1).tolist() == [[0.0, 1.0, 2.0]]


def test_instructions_of_two_kinds_are_refused():
    path = Navigate(parse_trajectory("forward 1", 5))
    with pytest.raises(ValueError, match="Ground, Navigate: expected Navigate.cameras. or Ground.text., one kind"):
        Conditioner(RATE, reads_text=True).check([path, Ground("the chair")])

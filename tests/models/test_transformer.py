import pytest
import torch
from diffusers import WanTransformer3DModel

from scipy.spatial.transform import Rotation

from tests.conftest import seeded_transformer
from video4spatial.cameras import Cameras, plucker_rays
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.rotary import rotate


def example(context_frames: int, seed: int = 0, batch: int = 1, size: int = 4):
    """Inputs of a call: context of `context_frames` latents, 3 targets."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=generator)

    context = {
        "context_latents": randn(batch, 4, context_frames, size, size),
        "context_positions": torch.arange(context_frames, dtype=torch.float64).expand(batch, -1) * 1.25,
        "context_scene_rays": randn(batch, context_frames, 6, size, size),
    }
    targets = {
        "hidden_states": randn(batch, 4, 3, size, size),
        "timestep": torch.tensor([[0.0, 700.0, 700.0]]).expand(batch, -1),
        "positions": torch.tensor([[300.0, 301.0, 302.0]], dtype=torch.float64).expand(batch, -1),
        "rays": randn(batch, 3, 6, size, size),
        "scene_rays": randn(batch, 3, 6, size, size),
    }
    return context, targets


@pytest.mark.parametrize("cross_attn_norm", [True, False])
def test_wan_weights_load_unchanged_and_compute_the_same(tmp_path, cross_attn_norm):
    torch.manual_seed(0)
    wan = WanTransformer3DModel(
        num_attention_heads=4, attention_head_dim=24, text_dim=32, freq_dim=64, ffn_dim=192, num_layers=2,
        cross_attn_norm=cross_attn_norm, rope_max_seq_len=256,
    ).eval()  # fmt: skip
    wan.save_pretrained(tmp_path)
    ours = Video4SpatialTransformer3DModel.from_pretrained(tmp_path).eval()
    assert set(ours.state_dict()) == set(wan.state_dict())
    latents, timestep, text = torch.randn(2, 16, 5, 16, 12), torch.tensor([500.0, 20.0]), torch.randn(2, 12, 32)
    with torch.no_grad():
        expected = wan(latents, timestep, text).sample
        torch.testing.assert_close(ours(latents, timestep, text).sample, expected, atol=1e-6, rtol=0)
        # per-frame timesteps of ours are per-token timesteps of Wan
        per_frame = torch.tensor([[0.0, 500.0, 500.0, 30.0, 999.0]]).expand(2, -1)
        expected = wan(latents, per_frame.repeat_interleave(8 * 6, 1), text).sample
        torch.testing.assert_close(ours(latents, per_frame, text).sample, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("context_frames", [1, 7, 200])
def test_cached_equals_uncached(context_frames):
    model = seeded_transformer()
    context, targets = example(context_frames)
    with torch.no_grad():
        uncached = model(**targets, **context).sample
        cache, _ = model.encode_context(
            context["context_latents"], context["context_positions"], context["context_scene_rays"]
        )
        torch.testing.assert_close(model(**targets, context=cache).sample, uncached, atol=2e-6, rtol=1e-5)
    assert cache.num_tokens == context_frames * 4
    assert cache.num_bytes == 2 * 2 * cache.num_tokens * 24 * 4  # layers, keys and values, tokens, width, float32


@pytest.mark.parametrize("spatial_positions", ["grid", "compass"])
@pytest.mark.parametrize("known", [("rays", "scene_rays"), ("rays",), ()])
def test_a_placement_stands_for_positions_and_cameras(spatial_positions, known):
    model = seeded_transformer(spatial_positions=spatial_positions)
    _, targets = example(1)
    noisy = {name: targets.pop(name) for name in ("hidden_states", "timestep")}
    placed = {name: value for name, value in targets.items() if name in ("positions", *known)}
    with torch.no_grad():
        placement = model.place(**placed, height=4, width=4)
        assert torch.equal(model(**noisy, placement=placement).sample, model(**noisy, **placed).sample)
        with pytest.raises(ValueError, match="give the placement alone"):
            model(**noisy, **placed, placement=placement)


def masked_reference(model, context, targets, segments):
    """Segment-causal attention written as one masked pass over all tokens: an independent twin of the cache."""
    tokens_per_latent = 4
    context_tokens, context_rotary = model._embed(context["context_latents"], context["context_positions"])
    context_tokens = context_tokens + model.scene_camera_encoder(context["context_scene_rays"], model.null_scene_camera)
    tokens, rotary = model._embed(targets["hidden_states"], targets["positions"])
    tokens = tokens + model.camera_encoder(targets["rays"], model.null_camera)
    tokens = tokens + model.scene_camera_encoder(targets["scene_rays"], model.null_scene_camera)
    num_context, num_targets = context_tokens.shape[1], tokens.shape[1]
    owner = sum(([i] * count for i, count in enumerate(segments)), []) + [len(segments)] * num_targets
    owner = torch.tensor(owner).repeat_interleave(tokens_per_latent)
    mask = owner[:, None] >= owner[None, :]
    hidden = torch.cat([context_tokens, tokens], dim=1)
    rotary = torch.cat([context_rotary, rotary], dim=1)
    timestep = torch.cat([torch.zeros(1, num_context), targets["timestep"]], dim=1)
    embedding, modulation = model.condition_embedder(timestep, hidden.dtype)
    for block in model.blocks:
        table = (block.scale_shift_table.unsqueeze(1) + modulation).unsqueeze(3).unbind(2)
        normed = (block.norm1(hidden) * (1 + table[1]) + table[0]).flatten(1, 2)
        query = block.attn1.query(normed, rotary)
        key, value = block.attn1.key_value(normed, rotary)
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        attended = torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2)
        hidden = hidden + block.attn1.to_out[0](attended).unflatten(1, (-1, tokens_per_latent)) * table[2]
        normed = block.norm3(hidden) * (1 + table[4]) + table[3]
        hidden = hidden + block.ffn(normed) * table[5]
    shift, scale = (model.scale_shift_table.unsqueeze(1) + embedding.unsqueeze(2)).unsqueeze(3).unbind(2)
    hidden = (model.norm_out(hidden) * (1 + scale) + shift)[:, num_context:]
    return model._unpatchify(model.proj_out(hidden), 4, 4)


@pytest.mark.parametrize("segments", [(7,), (4, 3), (1, 1, 5)])
def test_appending_segments_is_exact(segments):
    model = seeded_transformer()
    context, targets = example(sum(segments))
    cache, start = None, 0
    with torch.no_grad():
        for count in segments:
            part = slice(start, start + count)
            cache, _ = model.encode_context(
                context["context_latents"][:, :, part],
                context["context_positions"][:, part],
                context["context_scene_rays"][:, part],
                cache,
            )
            start += count
        appended = model(**targets, context=cache).sample
        torch.testing.assert_close(appended, masked_reference(model, context, targets, segments), atol=2e-6, rtol=1e-5)
    assert cache.segments == tuple(4 * count for count in segments)


def test_full_attention_sees_the_targets_from_the_context():
    full, causal = seeded_transformer(attention_mode="full"), seeded_transformer()
    context, targets = example(3)
    with torch.no_grad():
        difference = full(**targets, **context).sample - causal(**targets, **context).sample
    assert difference.abs().max() > 1e-4
    with pytest.raises(ValueError, match="nothing of it can be cached"):
        full.encode_context(context["context_latents"], context["context_positions"])


def test_new_modules_start_at_zero_effect():
    torch.manual_seed(0)
    model = Video4SpatialTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, num_layers=1, camera_channels=6
    ).eval()
    _, targets = example(1)
    with torch.no_grad():
        with_cameras = model(**targets).sample
        without = model(**{**targets, "rays": None, "scene_rays": None}).sample
    assert torch.equal(with_cameras, without)


def turned_rays(angles):
    """Rays [1, F, 6, 4, 4] of cameras turned about the vertical by angles in degrees."""
    turns = Rotation.from_rotvec([[0.0, angle, 0.0] for angle in angles], degrees=True).as_matrix()
    poses = torch.eye(4, dtype=torch.float64).repeat(len(angles), 1, 1)
    poses[:, :3, :3] = torch.from_numpy(turns)
    return plucker_rays(Cameras.from_fov(poses, 70.0), 4, 4).unsqueeze(0)


def test_on_the_compass_only_relative_directions_matter_and_a_full_turn_closes():
    model = seeded_transformer(spatial_positions="compass")
    latents, positions = torch.randn(1, 4, 2, 4, 4), torch.zeros(1, 2)

    def scores(angles):
        """Attention scores between all tokens of two frames, of one fixed content."""
        _, rotary = model._embed(latents, positions, turned_rays(angles))
        content = torch.ones(1, 8, 2, 12) * torch.linspace(-1, 1, 12)
        rotated = rotate(content, rotary)
        return torch.einsum("bqhd,bkhd->bhqk", rotated, rotated)

    torch.testing.assert_close(scores([0.0, 30.0]), scores([100.0, 130.0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores([0.0, 30.0]), scores([170.0, -160.0]), atol=1e-4, rtol=1e-4)
    assert (scores([0.0, 30.0]) - scores([0.0, 60.0])).abs().max() > 0.1
    # two cameras that look the same way put their tokens in the same places
    same = scores([20.0, 20.0])
    torch.testing.assert_close(same[..., :4, :4], same[..., :4, 4:], atol=1e-4, rtol=1e-4)


def test_on_the_compass_cached_equals_uncached():
    model = seeded_transformer(spatial_positions="compass")
    context, targets = example(5)
    with torch.no_grad():
        cache, _ = model.encode_context(*context.values())
        cached = model(**targets, context=cache).sample
        torch.testing.assert_close(cached, model(**targets, **context).sample, atol=2e-6, rtol=1e-5)
        unknown = model(**{**targets, "scene_rays": None, "rays": None}, context=cache).sample
    assert (unknown - cached).abs().max() > 1e-4


def test_positions_carry_the_gap_between_context_and_targets():
    model = seeded_transformer()
    context, targets = example(3)
    with torch.no_grad():
        near = model(**targets, **context).sample
        far = model(**{**targets, "positions": targets["positions"] + 1000.5}, **context).sample
        both = {**context, "context_positions": context["context_positions"] + 1000.5}
        moved = model(**{**targets, "positions": targets["positions"] + 1000.5}, **both).sample
    assert (far - near).abs().max() > 1e-4
    torch.testing.assert_close(moved, near, atol=1e-4, rtol=1e-3)  # only differences of times matter


def test_batch_members_do_not_see_each_other():
    model = seeded_transformer()
    context, targets = example(3, batch=2)
    with torch.no_grad():
        both = model(**targets, **context).sample
        one = model(**{k: v[1:] for k, v in targets.items()}, **{k: v[1:] for k, v in context.items()}).sample
    torch.testing.assert_close(both[1:], one, atol=1e-6, rtol=1e-5)


def test_geometry_heads_read_points_and_cameras():
    model = seeded_transformer()
    context, targets = example(3)
    geometry = model(**targets, **context, return_geometry=True).geometry
    scene = {name.removeprefix("context_"): value for name, value in context.items()}
    cache, states = model.encode_context(**scene, return_states=True)
    assert torch.equal(model.read_geometry(states, 4, 4).points, geometry.points)
    short, nothing = model.encode_context(**scene)  # leaves out what the cache does not need
    assert nothing is None and all(torch.equal(a, b) for one, other in zip(short.layers, cache.layers) for a, b in zip(one, other))
    assert geometry.points.shape == (1, 3, 3, 4, 4) and geometry.translation.shape == (1, 3, 3)
    identity = geometry.rotation @ geometry.rotation.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand(1, 3, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(geometry.rotation), torch.ones(1, 3), atol=1e-5, rtol=0)


def test_save_and_load(tmp_path):
    model = seeded_transformer(prediction_type="sample")
    model.save_pretrained(tmp_path)
    again = Video4SpatialTransformer3DModel.from_pretrained(tmp_path).eval()
    assert again.config.prediction_type == "sample"
    context, targets = example(2)
    with torch.no_grad():
        assert torch.equal(again(**targets, **context).sample, model(**targets, **context).sample)


def test_unsupported_configurations_are_named_together():
    with pytest.raises(ValueError) as error:
        Video4SpatialTransformer3DModel(patch_size=(2, 2, 2), attention_mode="window", prediction_type="noise")
    assert all(name in str(error.value) for name in ("patch_size", "attention_mode", "prediction_type"))

"""Predicted operations and memory against what tiny real models do."""

import weakref
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tests.conftest import seeded_transformer
from video4spatial.diffusion import JointGuidance
from video4spatial.models import CacheStorage, Video4SpatialTransformer3DModel
from video4spatial.models.attention import attention_backend
from video4spatial.models.autoencoder import decode, encode, frames_to_tensor, spatial_compression, tensor_to_frames
from video4spatial.models.autoencoder_cost import autoencoder_cost
from video4spatial.models.conditions.geometry import GeometryPrompt
from video4spatial.models.cost import CacheCost, RunFlops, Targets, TransformerCost, count_parameters, run_memory
from video4spatial.training.autoencoder import build_autoencoder

JOINT = JointGuidance.absent(2.0).weights
WIDER = {"num_attention_heads": 4, "attention_head_dim": 16, "ffn_dim": 256, "num_layers": 3, "text_dim": 20}
PER_LATENT, CONTEXT, TARGETS, TEXT = 64, 20, 5, 7
COUNTED = Targets(TARGETS, PER_LATENT, TEXT, rays=True, scene_rays=True)


def inputs(dtype=torch.float32):
    """Of a context, and of targets that read text and know all cameras."""
    randn = lambda *shape: torch.randn(shape, dtype=dtype)  # noqa: E731
    context = {
        "latents": randn(1, 4, CONTEXT, 16, 16),
        "positions": torch.arange(CONTEXT, dtype=torch.float64).unsqueeze(0),
        "scene_rays": randn(1, CONTEXT, 6, 16, 16),
    }
    targets = {
        "hidden_states": randn(1, 4, TARGETS, 16, 16),
        "timestep": torch.rand(1, TARGETS) * 1000,
        "encoder_hidden_states": randn(1, TEXT, 20),
        "rays": randn(1, TARGETS, 6, 16, 16),
        "scene_rays": randn(1, TARGETS, 6, 16, 16),
    }
    return context, targets


def uncached(context):
    """The context as the transformer's call takes it."""
    return {f"context_{name}": value for name, value in context.items()}


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is on, as long as each lives."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.alive = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)}
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in given or storage._cdata in self.alive:
                continue
            self.alive[storage._cdata] = weakref.ref(storage)
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
        return result

    def _gone(self, key, size):
        self.now -= size
        del self.alive[key]


def counted_flops(call):
    """Operations of a call; PyTorch counts those of attention only where it is written out."""
    with torch.no_grad(), attention_backend("_native_math", "cpu"), FlopCounterMode(display=False) as counter:
        result = call()
    return result, counter.get_total_flops()


def held_bytes(call):
    with torch.no_grad(), Held() as held:
        result = call()
    return result, held.peak


def test_operations_are_those_that_pytorch_counts():
    model, full = seeded_transformer(**WIDER), seeded_transformer(**WIDER, attention_mode="full")
    cost = TransformerCost.from_config(model.config)
    context, targets = inputs()
    tokens = CONTEXT * PER_LATENT
    (cache, _), prefill = counted_flops(lambda: model.encode_context(**context))
    assert cost.prefill_flops([tokens], scene_rays=True) == pytest.approx(prefill, rel=1e-3)
    _, appended = counted_flops(lambda: model.encode_context(**context, cache=cache))
    assert cost.prefill_flops([tokens, tokens], scene_rays=True) == pytest.approx(prefill + appended, rel=1e-3)
    _, step = counted_flops(lambda: model(**targets, context=cache))
    assert cost.step_flops(COUNTED, tokens) == pytest.approx(step, rel=1e-3)
    _, again = counted_flops(lambda: model(**targets, **uncached(context)))
    assert cost.causal_uncached_flops(COUNTED, tokens) == pytest.approx(again, rel=1e-3)
    _, joined = counted_flops(lambda: full(**targets, **uncached(context)))
    assert cost.full_flops(COUNTED, tokens) == pytest.approx(joined, rel=1e-3)
    shown = seeded_transformer(**WIDER, geometry_views=2)
    prompt = GeometryPrompt(torch.randn(1, TARGETS, 3, 4, 16, 16), torch.rand(1, TARGETS, 3, 3, 16, 16))
    _, led = counted_flops(lambda: shown(**targets, geometry=prompt))
    cost_of_shown = TransformerCost.from_config(shown.config)
    assert cost_of_shown.step_flops(replace(COUNTED, geometry=True), 0) == pytest.approx(led, rel=1e-3)
    assert cost_of_shown.step_flops(COUNTED, 0) == cost.step_flops(COUNTED, 0) == cost.step_flops(replace(COUNTED, geometry=True), 0)
    bare = {"hidden_states": targets["hidden_states"][:, :, 1:], "timestep": targets["timestep"][:, 1:]}
    _, null = counted_flops(lambda: model(**bare))
    assert cost.step_flops(Targets(TARGETS, PER_LATENT).null(), 0) == pytest.approx(null, rel=1e-3)


def test_a_step_is_linear_in_the_context_and_prefill_is_not():
    cost = TransformerCost()
    targets = Targets(5, 16)
    steps = [cost.step_flops(targets, n) for n in (0, 1000, 2000)]
    assert steps[2] - steps[1] == steps[1] - steps[0] == cost.attention_flops(80, 1000)
    one, two = cost.prefill_flops([1000]), cost.prefill_flops([2000])
    assert two > 2 * one
    # two segments save the older one's attention to the younger; the timestep is embedded once more
    saved = two - cost.prefill_flops([1000, 1000])
    assert saved == cost.attention_flops(1000, 1000) * 5 / 6 - cost.embedding_flops(0, 1)  # in the last of 6 blocks nothing attends


def test_guidance_branches_of_a_run():
    cost, targets, segments = TransformerCost(camera_channels=6), Targets(5, 16), [300, 100]
    prefill, null = cost.prefill_flops(segments), targets.null()
    step, context_only = cost.step_flops(targets, 400), cost.step_flops(targets.uninstructed(), 400)
    assert cost.run_flops(targets, segments, 10) == RunFlops(prefill, step, 10)
    assert cost.run_flops(targets, segments, 10).total == prefill + 10 * step
    assert cost.run_flops(targets, segments, 10, JOINT) == RunFlops(prefill, step + cost.step_flops(null, 0), 10)
    noise = RunFlops(2 * prefill, step + cost.step_flops(null, 400), 10)
    assert cost.run_flops(targets, segments, 10, JOINT, "noise") == noise
    separate = RunFlops(prefill, step + context_only + cost.step_flops(null, 0), 10)
    assert cost.run_flops(targets, segments, 10, JointGuidance.separate(2.0, 1.5).weights) == separate  # two branches, one cache
    instructed = RunFlops(prefill, step + context_only, 10)  # nothing stands for the scene: noise is not encoded
    assert cost.run_flops(targets, segments, 10, JointGuidance.separate(2.0, 1.0).weights, "noise") == instructed
    again = RunFlops(0, cost.causal_uncached_flops(targets, 400) + cost.causal_uncached_flops(null, 0), 10)
    assert cost.run_flops(targets, segments, 10, JOINT, scheme="uncached") == again
    full = RunFlops(0, cost.full_flops(targets, 400) + cost.full_flops(null, 400), 10)
    assert cost.run_flops(targets, segments, 10, JOINT, "noise", "full") == full
    coarse = cost.run_flops(targets, segments, 10, JOINT, coarse_share=0.35)  # steps 0 to 3 see the first segment
    first = cost.step_flops(targets, 300) + cost.step_flops(null, 0)
    assert coarse.total == prefill + 4 * first + 6 * (step + cost.step_flops(null, 0))


def test_for_long_runs_the_cache_saves_one_plus_the_ratio_of_tokens():
    """Full attention over a cached step tends to exactly (Nc + Nt) / Nt where only blocks count."""
    cost = TransformerCost(num_layers=30, num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, text_dim=None)
    targets = Targets(21, 1560)
    ratio = cost.full_flops(targets, 2 * targets.tokens) / cost.step_flops(targets, 2 * targets.tokens)
    assert ratio == pytest.approx(3, rel=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=("fp32", "bf16"))
@pytest.mark.filterwarnings("ignore")
def test_memory_of_the_transformer_is_what_its_tensors_hold(dtype):
    model, full = (seeded_transformer(**WIDER, attention_mode=mode).to(dtype) for mode in ("causal_context", "full"))
    cost, size, tokens = TransformerCost.from_config(model.config), dtype.itemsize, CONTEXT * PER_LATENT
    context, targets = inputs(dtype)
    (cache, _), prefill = held_bytes(lambda: model.encode_context(**context))
    assert cache.num_bytes == cost.context_cache_bytes(tokens, size)
    assert cost.prefill_bytes([tokens], size) == pytest.approx(prefill, rel=0.1)
    _, appended = held_bytes(lambda: model.encode_context(**context, cache=cache))
    assert cost.prefill_bytes([tokens, tokens], size) == pytest.approx(cache.num_bytes + appended, rel=0.1)
    _, step = held_bytes(lambda: model(**targets, context=cache))
    assert cost.step_bytes(COUNTED, tokens, size) == pytest.approx(step, rel=0.15)
    narrow, storage = CacheStorage(torch.bfloat16), CacheCost(itemsize=2)
    (rounded, _), prefill = held_bytes(lambda: model.encode_context(**context, storage=narrow))
    assert cost.prefill_bytes([tokens], size, storage) == pytest.approx(prefill, rel=0.1)
    _, appended = held_bytes(lambda: model.encode_context(**context, cache=rounded))
    assert cost.prefill_bytes([tokens, tokens], size, storage) == pytest.approx(rounded.num_bytes + appended, rel=0.1)
    _, step = held_bytes(lambda: model(**targets, context=rounded))
    assert cost.step_bytes(COUNTED, tokens, size, storage) == pytest.approx(step, rel=0.15)
    _, joined = held_bytes(lambda: full(**targets, **uncached(context)))
    assert TransformerCost.from_config(full.config).step_bytes(COUNTED, tokens, size) == pytest.approx(joined, rel=0.15)


AUTOENCODERS = {
    "rooms": lambda: build_autoencoder(),
    "pictures": lambda: AutoencoderKL(
        block_out_channels=(16, 32, 64), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2, latent_channels=4, norm_num_groups=4,
    ),
    "wan 2.1": lambda: AutoencoderKLWan(base_dim=12, z_dim=4),
    "wan 2.2": lambda: AutoencoderKLWan(
        base_dim=8, decoder_base_dim=16, z_dim=4, in_channels=12, out_channels=12, patch_size=2, is_residual=True,
        scale_factor_spatial=16, temperal_downsample=[False, True, True],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_memory_of_autoencoders_is_estimated(name):
    autoencoder = AUTOENCODERS[name]().eval()
    cost = autoencoder_cost(autoencoder.config)
    assert cost.spatial_compression == spatial_compression(autoencoder)
    channels = cost.latent_channels
    autoencoder.register_to_config(latents_mean=[0.0] * channels, latents_std=[1.0] * channels)
    for frames in (1, 9):
        pictures = torch.zeros(frames, 64, 96, 3, dtype=torch.uint8)
        latents, encoding = held_bytes(lambda: encode(autoencoder, frames_to_tensor(pictures)))
        assert latents.shape[1:3] == (channels, cost.latent_count(frames))
        assert cost.encode_bytes(frames, 64, 96, 4) == pytest.approx(encoding, rel=0.35)
        _, decoding = held_bytes(lambda: tensor_to_frames(decode(autoencoder, latents)))
        assert cost.decode_bytes(frames, 64, 96, 4) == pytest.approx(decoding, rel=0.25)


def test_another_autoencoder_is_refused():
    with pytest.raises(ValueError, match="autoencoder of AutoencoderDC: expected .* AutoencoderKL"):
        autoencoder_cost({"_class_name": "AutoencoderDC"})


def test_parameters_are_counted_without_memory_for_them():
    model = seeded_transformer()
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(Video4SpatialTransformer3DModel, model.config) == expected


def test_memory_of_a_run(tiny_vae):
    model = seeded_transformer()
    parts = TransformerCost.from_config(model.config), autoencoder_cost(tiny_vae.config), 1000, Targets(3, 4)
    memory = run_memory(*parts, [28, 12], 10, 32, 32, itemsize=4)
    assert memory.cache == 2 * 2 * 40 * 24 * 4 and memory.context_pixels == 10 * 32 * 32 * 3
    assert memory.latents == 13 * 4 * 4 * 4 * 4 and memory.weights == 1000
    assert memory.device_peak == max(memory.context_encoding, memory.denoising, memory.decoding) > 1000 + memory.cache
    assert memory.process_peak > memory.device_peak + memory.context_pixels
    noise = run_memory(*parts, [28, 12], 10, 32, 32, itemsize=4, noise_context=True)
    assert noise.cache == 2 * memory.cache and noise.denoising > memory.denoising
    away = run_memory(*parts, [28, 12], 10, 32, 32, itemsize=4, storage=CacheCost(offloaded=True))
    assert away.offloaded == away.cache == memory.cache and away.device_peak < memory.device_peak
    # on a CPU it is in the same memory after all, with the layer that is fetched ahead
    assert away.process_peak >= memory.process_peak
    chosen = run_memory(*parts, [28, 12], 10, 32, 32, itemsize=4, context_latents=4)
    assert chosen.latents == 7 * 4 * 4 * 4 * 4 and chosen.context_pixels == memory.context_pixels
    led = TransformerCost.from_config(seeded_transformer(geometry_views=2).config)
    led = run_memory(led, *parts[1:3], replace(parts[3], geometry=True), [28, 12], 10, 32, 32, itemsize=4)
    assert led.latents - memory.latents == 3 * 3 * (4 + 3) * 4 * 4 * 4  # latents and maps of three renderings
    full = TransformerCost.from_config(seeded_transformer(attention_mode="full").config)
    assert run_memory(full, *parts[1:], [40], 10, 32, 32, itemsize=4).cache == 0

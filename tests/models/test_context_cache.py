import pytest
import torch

from tests.conftest import seeded_transformer
from tests.models.test_transformer import example, masked_reference
from video4spatial.models import CacheStorage, ContextCache


def encoded(model, segments, **options):
    """The example's context encoded in segments of so many latents, with the example's targets."""
    context, targets = example(sum(segments))
    cache, start = None, 0
    with torch.no_grad():
        for count in segments:
            part = slice(start, start + count)
            cache, _ = model.encode_context(
                context["context_latents"][:, :, part], context["context_positions"][:, part],
                context["context_scene_rays"][:, part], cache, **options,
            )  # fmt: skip
            start += count
    return cache, context, targets


def sample(model, targets, cache):
    with torch.no_grad():
        return model(**targets, context=cache).sample


def test_the_first_segments_alone_are_what_encoding_them_alone_gives():
    model = seeded_transformer()
    cache, _, targets = encoded(model, (3, 2, 2))
    alone, _, _ = encoded(model, (3, 2))
    part = cache.first(2)
    assert part.segments == alone.segments and part.num_tokens == 20 and not part.approximations
    assert part.layers[0][0].data_ptr() == cache.layers[0][0].data_ptr()  # a view
    # the example of 5 frames has other random context than that of 7, so compare the keys of the same encoding
    again, _, _ = encoded(model, (3, 2, 2))
    assert all(torch.equal(a[:, :20], b) for one, other in zip(again.layers, part.layers) for a, b in zip(one, other))
    assert sample(model, targets, part).shape == (1, 4, 3, 4, 4)


def test_evicting_what_others_have_seen_is_approximate_and_says_so():
    model = seeded_transformer()
    cache, context, targets = encoded(model, (3, 2, 2))
    youngest = cache.without([2])
    assert youngest.segments == (12, 8) and not youngest.approximations
    evicted = cache.without([1])
    assert evicted.segments == (12, 8) and "evicted" in evicted.approximations[0]
    keys = torch.cat([cache.layers[1][0][:, :12], cache.layers[1][0][:, 20:]], dim=1)
    assert torch.equal(evicted.layers[1][0], keys)
    kept = [0, 1, 2, 5, 6]
    reference = {name: x[:, :, kept] if name == "context_latents" else x[:, kept] for name, x in context.items()}
    exact = masked_reference(model, reference, targets, (3, 2))
    difference = (sample(model, targets, evicted) - exact).abs().max()
    assert 1e-5 < difference < 0.5  # not the same, but near
    assert evicted.extended(evicted.layers).approximations == evicted.approximations  # said once, and kept


@pytest.mark.parametrize("offload", [False, True])
def test_narrower_storage_halves_the_memory_and_says_that_it_rounds(offload):
    model = seeded_transformer()
    exact, _, targets = encoded(model, (4, 3))
    storage = CacheStorage(torch.bfloat16, "cpu" if offload else None)
    narrow, _, _ = encoded(model, (4, 3), storage=storage)
    assert narrow.dtype == torch.bfloat16 and 2 * narrow.num_bytes == exact.num_bytes
    assert narrow.approximations == ("keys and values of float32 are stored in bfloat16",)
    assert exact.stored(storage).approximations == narrow.approximations
    difference = (sample(model, targets, narrow) - sample(model, targets, exact)).abs().max()
    assert 0 < difference < 0.05


def test_offloading_and_wider_storage_change_nothing():
    model = seeded_transformer()
    exact, _, targets = encoded(model, (4,))
    for storage in (CacheStorage(device="cpu"), CacheStorage(torch.float64)):
        kept = exact.stored(storage)
        assert not kept.approximations
        assert torch.equal(sample(model, targets, kept), sample(model, targets, exact))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_layers_come_from_the_cpu_while_the_gpu_works():
    model = seeded_transformer().cuda()
    context, targets = example(7)
    context, targets = ({name: x.cuda() for name, x in part.items()} for part in (context, targets))
    with torch.no_grad():
        exact, _ = model.encode_context(*context.values())
        offloaded, _ = model.encode_context(*context.values(), storage=CacheStorage(device="cpu"))
    assert offloaded.device.type == "cpu" and offloaded.layers[0][0].is_pinned() and not offloaded.approximations
    assert torch.equal(sample(model, targets, offloaded), sample(model, targets, exact))


def test_pooled_latents_are_fewer_tokens_in_the_middle_of_what_they_stand_for():
    model = seeded_transformer(spatial_positions="compass")
    context, targets = example(3)
    with torch.no_grad():
        full, _ = model.encode_context(*context.values())
        pooled, states = model.encode_context(*context.values(), pool=2, return_states=True)
        joined, _ = model.encode_context(*context.values(), pooled)
    assert (full.num_tokens, pooled.num_tokens) == (12, 3) and states.shape[2] == 1
    assert joined.segments == (3, 12)
    outputs = [sample(model, targets, cache) for cache in (full, pooled, joined)]
    assert all((outputs[a] - outputs[b]).abs().max() > 1e-5 for a, b in ((0, 1), (1, 2), (0, 2)))
    with pytest.raises(ValueError, match="4x4 cannot be pooled by 4: expected multiples of 8x8"):
        model.encode_context(context["context_latents"], context["context_positions"], pool=4)


def test_pooling_on_the_grid_keeps_places():
    """A picture of one colour, pooled: its one token turns as the mean place of the four that it stands for."""
    from video4spatial.models.rotary import scene_rotary

    positions = torch.zeros(1, 1, dtype=torch.float64)
    pooled = scene_rotary(positions, 1, 1, 12, torch.device("cpu"), pool=2)[0, 0, 0]
    fine = scene_rotary(positions, 2, 2, 12, torch.device("cpu"))[0, :, 0]
    torch.testing.assert_close(pooled.angle(), fine.angle().mean(0), atol=1e-6, rtol=0)


def test_noise_in_place_of_the_context_is_the_same_cached_and_uncached():
    model = seeded_transformer(null_context=("absent", "noise"))
    context, targets = example(3)
    noise = torch.randn(context["context_latents"].shape, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        cache, _ = model.encode_context(noise, context["context_positions"], timestep=1000.0)
        clean, _ = model.encode_context(noise, context["context_positions"])
        uncached = model(
            **targets, context_latents=noise, context_positions=context["context_positions"], context_timestep=1000.0
        ).sample
    torch.testing.assert_close(sample(model, targets, cache), uncached, atol=2e-6, rtol=1e-5)
    assert (sample(model, targets, clean) - uncached).abs().max() > 1e-4


def test_a_cache_serves_many_samples_without_copies():
    model = seeded_transformer()
    cache, _, _ = encoded(model, (2,))
    wide = cache.expanded(3)
    assert isinstance(wide, ContextCache) and wide.layers[0][0].shape[0] == 3
    assert wide.layers[0][0].data_ptr() == cache.layers[0][0].data_ptr()

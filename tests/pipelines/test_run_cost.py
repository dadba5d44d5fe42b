"""Costs of a run agree with what the same settings then hold; `tests/cli/test_plan.py` has the figures."""

from dataclasses import replace

import pytest
import torch

from video4spatial.clips import Clip
from video4spatial.models import CacheStorage
from video4spatial.pipelines import GenerationSettings, encode_scene
from video4spatial.pipelines.run_cost import RunCost
from video4spatial.pretrained import PUBLIC_MODELS, read_model_shape

WAN = PUBLIC_MODELS["wan-2.1-14b"]


@pytest.mark.parametrize(
    "settings",
    [
        GenerationSettings(),
        GenerationSettings(plan="diverse", plan_budget=3, cache=CacheStorage(torch.bfloat16)),
        GenerationSettings(plan="coarse_to_fine", plan_budget=2, plan_options={"pool": 2, "coarse_share": 0.25}),
    ],
)
def test_a_scene_holds_what_was_foretold(settings, tiny_model_folder, tiny_pipeline, random_frames):
    cost = RunCost(read_model_shape(str(tiny_model_folder)), 32, 32, 9, 7, dtype="float32", settings=settings)
    clip = Clip("noise", "noise", random_frames(0, 7), torch.arange(7).numpy() / 4, None, 6)
    context = encode_scene(tiny_pipeline, clip, settings)
    assert cost.segments == context.cache.segments and cost.memory.cache == context.cache.num_bytes
    assert cost.flops[next(iter(cost.flops))].coarse_steps == round(context.coarse_share * cost.steps)


def test_the_longest_context_that_fits_is_the_longest():
    cost = RunCost(WAN, 480, 832, 81, 337, chunk_length=337)
    frames, chunk = cost.longest_context(80e9)
    assert frames == chunk < 337 and (frames - 1) % 4 == 0

    def peak(length: int) -> int:
        return replace(cost, context_frames=length, chunk_length=length).memory.device_peak

    assert peak(frames) <= 80e9 < peak(frames + 4)
    assert replace(cost, context_frames=9, chunk_length=1).longest_context(8e9) is None


def test_what_the_pipeline_would_refuse_is_refused():
    for run, settings, message in (
        ((480, 830, 81, 81), {}, "size 830x480: this model takes multiples of 16x16 pixels; try `size` 832x480"),
        ((480, 832, 81, 81, 5), {}, "`chunk_length` 5: expected 1 . 4 . k, and a divisor of 81"),
        ((480, 832, 81, 81), {"plan": "coarse_to_fine"}, "`plan` coarse_to_fine: .* choose another `plan_options.pool`"),
    ):
        with pytest.raises(ValueError, match=message):
            RunCost(WAN, *run, settings=GenerationSettings(**settings))
    full = replace(WAN, transformer={**WAN.transformer, "attention_mode": "full"})
    with pytest.raises(ValueError, match="full attention, which takes all frames alike"):
        RunCost(full, 480, 832, 81, 81, settings=GenerationSettings(plan="coarse_to_fine"))

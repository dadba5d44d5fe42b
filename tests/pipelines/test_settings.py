"""Settings of generation: what is impossible by itself, and for a model."""

import pytest
import torch

from video4spatial.diffusion import JointGuidance
from video4spatial.models import CacheStorage
from video4spatial.pipelines import ContextPart, ContextPlan, GenerationSettings
from video4spatial.pipelines.settings import check_pools, check_settings


def test_passes_of_a_path():
    def lengths(settings, frames):
        return [each.stop - each.start for each in settings.passes(frames, 9)]

    assert lengths(GenerationSettings(), 9) == [9] and lengths(GenerationSettings(), 10) == [9, 2]
    assert lengths(GenerationSettings(chunk_frames=5), 13) == [5, 5, 5] and lengths(GenerationSettings(chunk_frames=0), 99) == [99]
    assert [(each.start, each.stop) for each in GenerationSettings(chunk_frames=5).passes(8, 9)] == [(0, 5), (4, 8)]
    assert lengths(GenerationSettings(show_context=False), 99) == [99]


@pytest.mark.parametrize(
    ("settings", "messages"),
    [
        ({"num_inference_steps": 0, "seed": -1, "plan_budget": True}, ["`num_inference_steps` 0", "`seed` -1", "`plan_budget` True"]),
        ({"chunk_frames": 1}, ["`chunk_frames` 1: expected 0 (one pass) or at least 2"]),
        ({"plan": "strid"}, ["unknown context plan 'strid' (did you mean 'stride'?)"]),
        ({"plan": "stride"}, ["`plan` stride needs `plan_budget`"]),
        ({"plan": "frustum", "plan_budget": 2}, ["needs the cameras of the context: add `context_cameras`"]),
        ({"plan": "stride", "plan_budget": 2, "plan_options": {"pool": 2, "poll": 1}}, ["`plan_options.pool` 2 without", "'poll'"]),
        ({"show_context": False, "plan": "all", "max_context_tokens": 9}, ["`plan` without a context", "`max_context_tokens` without"]),
    ],
)
def test_impossible_settings_name_every_problem(settings, messages):
    with pytest.raises(ValueError) as error:
        GenerationSettings(**settings)
    assert all(message in str(error.value) for message in messages)


def test_settings_that_a_model_cannot_follow():
    full, causal = {"attention_mode": "full"}, {"null_context": ["absent", "noise"]}
    narrow = GenerationSettings(cache=CacheStorage(torch.bfloat16), max_context_tokens=9, plan="coarse_to_fine")
    with pytest.raises(ValueError, match="`plan` coarse_to_fine: .*`cache.dtype`: .*`max_context_tokens`: "):
        check_settings(narrow, full)
    check_settings(narrow, causal)
    noise = GenerationSettings(guidance=JointGuidance.noise(2.0))
    with pytest.raises(ValueError, match="null context 'noise' needs a model trained with it"):
        check_settings(noise, full)
    check_settings(noise, causal)
    separate = GenerationSettings(guidance=JointGuidance.separate(2.0, 1.5))
    with pytest.raises(ValueError, match="separate scales"):
        check_settings(separate, causal)
    check_settings(separate, {**causal, "null_instruction": True})


def test_averaging_must_divide_the_tokens_of_the_pictures():
    plan = ContextPlan((ContextPart((0, 1), pool=3), ContextPart((2,))))
    check_pools(plan, 16, 96, 144)
    with pytest.raises(ValueError, match="frames of 128x128 are 8x8 tokens, which cannot be averaged over squares of 3x3"):
        check_pools(plan, 16, 128, 128)

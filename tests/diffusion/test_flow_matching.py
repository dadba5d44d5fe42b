import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from video4spatial.diffusion import JointGuidance, add_noise, draw_sigmas, flow_matching_loss, to_flow


def tensors():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(3, 4, 2, 4, 4, generator=generator) for _ in range(2))


def test_noise_levels_follow_the_schedulers_shift():
    generator = torch.Generator().manual_seed(0)
    sigmas = draw_sigmas(20_000, 3.0, generator)
    assert 0 < sigmas.min() and sigmas.max() < 1
    # the median of u is 1/2: sigma = 3 * 0.5 / (1 + 2 * 0.5)
    assert abs(sigmas.median() - 0.75) < 0.01
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=[0.5])
    assert abs(scheduler.sigmas[0] - 0.75) < 1e-6


@pytest.mark.parametrize("prediction_type", ["flow", "sample"])
def test_the_true_prediction_has_no_loss_and_gives_the_true_flow(prediction_type):
    latents, noise = tensors()
    sigmas = torch.tensor([0.05, 0.5, 0.95])
    noisy = add_noise(latents, noise, sigmas)
    perfect = noise - latents if prediction_type == "flow" else latents
    assert flow_matching_loss(perfect, latents, noise, sigmas, prediction_type) == 0
    flow = to_flow(perfect, noisy, sigmas.view(-1, 1, 1, 1, 1), prediction_type)
    torch.testing.assert_close(flow, noise - latents, atol=1e-4, rtol=1e-4)


def test_one_euler_step_with_the_true_flow_recovers_the_latents():
    latents, noise = tensors()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(5)
    sample = noise.clone()
    for timestep in scheduler.timesteps:
        sample = scheduler.step(noise - latents, timestep, sample).prev_sample
    torch.testing.assert_close(sample, latents, atol=1e-5, rtol=1e-5)


def test_predicting_the_sample_is_weighted_as_predicting_the_flow():
    latents, noise = tensors()
    sigmas = torch.tensor([0.4, 0.6, 0.9])
    sample = latents + 0.1
    flow = to_flow(sample, add_noise(latents, noise, sigmas), sigmas.view(-1, 1, 1, 1, 1), "sample")
    torch.testing.assert_close(
        flow_matching_loss(sample, latents, noise, sigmas, "sample"),
        flow_matching_loss(flow, latents, noise, sigmas, "flow"),
    )


def test_guidance():
    conditional, unconditional = (x for x in tensors())
    guided = JointGuidance.absent(2.5).forward(conditional, unconditional).pred
    torch.testing.assert_close(guided, unconditional + 2.5 * (conditional - unconditional))
    assert JointGuidance.absent(1.0).num_conditions == 1 and JointGuidance.absent(1.5).num_conditions == 2
    context = 0.5 * (conditional + unconditional) ** 2
    three = JointGuidance.separate(3.0, 2.0)
    expected = unconditional + 2.0 * (context - unconditional) + 3.0 * (conditional - context)
    torch.testing.assert_close(three.forward(conditional, unconditional, context).pred, expected)
    # branches without weight are not asked for
    assert set(JointGuidance.separate(3.0, 1.0).weights) == {"instruction", "context"}
    assert set(JointGuidance.separate(0.0, 2.0).weights) == {"context", "null"}
    with pytest.raises(ValueError, match="expected 'absent' or 'noise'"):
        JointGuidance(null_context="zero")

"""The geometry prompt in the transformer: nothing at first, then tokens and a way of its own to the result."""

import pytest
import torch

from tests.conftest import seeded_transformer
from video4spatial.models.conditions.geometry import GeometryEncoder, GeometryPrompt


def prompt(batch: int = 1, frames: int = 3, views: int = 2, channels: int = 4, size: int = 4) -> GeometryPrompt:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(batch, frames, 1 + views, channels, size, size, generator=generator)
    return GeometryPrompt(latents, torch.rand(batch, frames, 1 + views, 3, size, size, generator=generator))


@pytest.fixture
def targets():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 4, 3, 4, 4, generator=generator), torch.full((1, 3), 500.0)


def test_a_new_prompt_changes_nothing(targets):
    with_prompt = seeded_transformer(geometry_views=2).eval()
    without = seeded_transformer().eval()
    without.load_state_dict({name: value for name, value in with_prompt.state_dict().items() if "geometry_encoder" not in name})
    expected = without(*targets).sample
    assert torch.equal(with_prompt(*targets).sample, expected)
    assert torch.equal(with_prompt(*targets, geometry=prompt()).sample, expected)


def test_a_placement_holds_the_prompt(targets):
    model = seeded_transformer(geometry_views=2).eval()
    for layer in (model.geometry_encoder.proj_out, model.geometry_encoder.weights):
        torch.nn.init.normal_(layer.weight, std=0.3)
    whole = model(*targets, geometry=prompt()).sample
    placement = model.place(torch.arange(3).double()[None], 4, 4, geometry=prompt())
    torch.testing.assert_close(model(*targets, placement=placement).sample, whole)
    assert not torch.allclose(model(*targets).sample, whole)
    with pytest.raises(ValueError, match="give the placement alone"):
        model(*targets, placement=placement, geometry=prompt())


def test_a_model_without_the_modules_refuses_a_prompt(targets):
    with pytest.raises(ValueError, match="built without a geometry prompt"):
        seeded_transformer()(*targets, geometry=prompt())


@pytest.mark.parametrize("patch", [(1, 1), (2, 2)])
def test_what_is_known_reaches_the_result_directly(patch):
    """With weights of 1 on the blend the result is the blend where it is known, and nothing elsewhere."""
    encoder, shown = GeometryEncoder(4, 2, 8, patch), prompt()
    shown = GeometryPrompt(shown.latents, (shown.maps > 0.5).float())
    area = patch[0] * patch[1]
    weights = encoder.weights.bias.data.view(3, 4, *patch)  # of renderings, channels, rows and columns
    weights[0] = 1.0
    tokens = torch.zeros(1, 3, 16 // area, 8)
    expected = (shown.latents[:, :, 0] * shown.maps[:, :, 0, :1]).transpose(1, 2)
    torch.testing.assert_close(encoder.direct(shown, tokens), expected)
    weights[:, 2] = 0.0  # one channel is not believed
    direct = encoder.direct(shown, tokens)
    assert not direct[:, 2].any() and torch.equal(direct[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    weights[0] = 0.0
    weights[0, :, 0, 0] = 1.0  # of one pixel of each patch alone
    direct = encoder.direct(shown, tokens)
    torch.testing.assert_close(direct[..., :: patch[0], :: patch[1]], expected[..., :: patch[0], :: patch[1]])
    if area > 1:
        assert not direct[..., 1::2, 1::2].any()


def test_both_ways_learn(targets):
    model = seeded_transformer(geometry_views=2)
    torch.nn.init.normal_(model.proj_out.weight, std=0.1)
    for _ in range(2):  # the first step moves what starts at zero, which lets gradients pass
        model(*targets, geometry=prompt()).sample.square().mean().backward()
        with torch.no_grad():
            for value in model.geometry_encoder.parameters():
                value -= 0.1 * (0.0 if value.grad is None else value.grad)
    encoder = model.geometry_encoder
    for value in (encoder.patch_embedding.weight, encoder.hidden.weight, encoder.proj_out.weight, encoder.weights.weight):
        assert value.grad.abs().sum() > 0

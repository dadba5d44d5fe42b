import pytest
import torch

from tests.conftest import TINY
from video4spatial.models.autoencoder import decode_pictures, encode, measure_latent_statistics, picture_posterior
from video4spatial.training.autoencoder import AutoencoderModule, build_autoencoder, start_linear
from video4spatial.training.bank import render_bank
from video4spatial.training.batches import Curriculum, draw_batch
from video4spatial.training.navigation import NavigationModule


@pytest.fixture(scope="module")
def bank(tiny_vae):
    rendered = render_bank([3], walk_frames=10, targets_per_scene=2, target_frames=3, height=32, width=32, latent_size=(4, 4))
    return rendered.encoded(tiny_vae, "cpu")


@pytest.mark.parametrize("prediction_type", ["flow", "sample"])
def test_a_small_model_overfits_a_batch(bank, prediction_type):
    torch.manual_seed(0)
    module = NavigationModule({**TINY, "prediction_type": prediction_type}, points_weight=0.1, camera_weight=0.1)
    curriculum = Curriculum((3, 3), drop_probability=0.0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    history = []
    for _ in range(60):
        losses = module.losses(draw_batch(bank, 4, curriculum, 0.0, seed=0, step=0))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: float(value) for name, value in losses.items()})
    assert set(history[0]) == {"loss", "flow", "points", "camera"}
    assert history[-1]["flow"] < 0.7 * history[0]["flow"]
    assert history[-1]["points"] < 0.5 * history[0]["points"]
    assert history[-1]["camera"] < 0.5 * history[0]["camera"]


def test_every_parameter_learns(bank):
    module = NavigationModule(TINY)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    curriculum = Curriculum((3, 3), known_cameras=(0.5, 0.5), drop_probability=0.3)
    touched = set()
    for step in range(12):
        optimizer.zero_grad()
        module.losses(draw_batch(bank, 2, curriculum, 0.0, seed=0, step=step))["loss"].backward()
        touched |= {n for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()  # opens the outputs that start at zero
    # keys of softmax attention do not feel a bias that all of them share
    silent = {n for n, _ in module.named_parameters()} - touched
    assert all("to_k.bias" in name for name in silent), silent


def test_the_null_branch_sees_no_condition(bank):
    module = NavigationModule(TINY).eval()
    batches = [draw_batch(bank, 2, Curriculum((3, 3), drop_probability=1.0), 0.0, seed=0, step=0) for _ in range(2)]
    object.__setattr__(batches[1], "context_latents", torch.full_like(batches[1].context_latents, torch.nan))
    object.__setattr__(batches[1], "rays", torch.full_like(batches[1].rays, torch.nan))
    first, second = (module.losses(batch) for batch in batches)
    assert set(first) == {"loss", "flow"} and torch.equal(first["loss"], second["loss"])


def test_restart_takes_the_weights(bank, tmp_path):
    torch.manual_seed(1)
    module = NavigationModule(TINY)
    module.transformer.save_pretrained(tmp_path)
    again = NavigationModule({}, init_from=str(tmp_path))
    for a, b in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_autoencoder_starts_as_principal_components():
    """Before any descent it reconstructs as well as the singular value decomposition of its pixel squares says it can."""
    torch.manual_seed(0)
    frames = render_bank([3], walk_frames=24, targets_per_scene=1, target_frames=2, height=32, width=32).frames[0]
    pictures = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    autoencoder = build_autoencoder((32,), latent_channels=12)
    start_linear(autoencoder, pictures)
    with torch.no_grad():
        decoded = decode_pictures(autoencoder, picture_posterior(autoencoder, pictures).mode())
    squares = torch.nn.functional.pixel_unshuffle(pictures, 8).permute(0, 2, 3, 1).flatten(0, 2)
    singular = torch.linalg.svdvals(squares - squares.mean(0))
    best = singular[12:].square().sum() / squares.numel()
    assert (decoded - pictures).square().mean() < 1.05 * best + 1e-5

    measure_latent_statistics(autoencoder, [pictures.unsqueeze(2)])
    latents = encode(autoencoder, pictures.unsqueeze(2))
    assert latents.mean((0, 2, 3, 4)).abs().max() < 1e-4 and abs(latents.square().mean() - 1) < 1e-3


def test_refining_leaves_the_encoder_as_it_was():
    torch.manual_seed(0)
    module = AutoencoderModule((16,), latent_channels=4, learning_rate=1e-3)
    pictures = torch.rand(4, 3, 32, 32) * 2 - 1
    start_linear(module.autoencoder, pictures)
    encoder = {n: p.clone() for n, p in module.autoencoder.encoder.named_parameters()}
    decoder = {n: p.clone() for n, p in module.autoencoder.decoder.named_parameters()}
    optimizer = module.configure_optimizers()
    module.losses(pictures)["loss"].backward()
    optimizer.step()
    assert all(torch.equal(p, encoder[n]) for n, p in module.autoencoder.encoder.named_parameters())
    assert any(not torch.equal(p, decoder[n]) for n, p in module.autoencoder.decoder.named_parameters())

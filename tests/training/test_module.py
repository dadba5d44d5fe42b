from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from video4spatial.clips import Navigate
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.autoencoder import (
    decode_pictures,
    encode,
    encode_raw,
    fold_encoder,
    measure_latent_statistics,
    picture_posterior,
)
from video4spatial.models.cost import TransformerCost
from video4spatial.training.autoencoder import AutoencoderModule, build_autoencoder, start_linear
from video4spatial.training.bank import render_bank
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import BankExamples
from video4spatial.training.latents import LatentStore
from video4spatial.training.losses import CameraLoss, FlowLoss, PointsLoss
from video4spatial.training.module import DenoiserModule
from video4spatial.training.sampler import draw_batch


@pytest.fixture(scope="module")
def bank(tiny_vae, tmp_path_factory):
    rendered = render_bank([3], walk_frames=10, targets_per_scene=2, target_frames=3, height=32, width=32, depth_size=(4, 4))
    return BankExamples(rendered, 4.0, 1, LatentStore(tmp_path_factory.mktemp("latents"), tiny_vae), tiny_vae, "bank")


@pytest.mark.parametrize("prediction_type", ["flow", "sample"])
def test_a_small_model_overfits_a_batch(bank, prediction_type):
    torch.manual_seed(0)
    module = DenoiserModule({**TINY, "prediction_type": prediction_type}, losses=[FlowLoss(), PointsLoss(0.1), CameraLoss(0.1)])
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
    module = DenoiserModule(TINY)
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


def test_what_a_step_keeps_is_foretold(bank):
    module = DenoiserModule(TINY)
    batch = draw_batch(bank, 4, Curriculum((3, 3), drop_probability=0.0), 0.0, seed=0, step=0)
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        module.losses(batch)
    measured = sum(storage.nbytes() for address, storage in kept.items() if address not in weights)
    cost = TransformerCost.from_config(module.transformer.config)
    foretold = cost.training_bytes(batch.num_tokens(cost.tokens_per_latent(*batch.latents.shape[-2:])), 4)
    assert 0.6 * measured < foretold < 1.6 * measured


def test_the_null_branch_sees_no_condition(bank):
    module = DenoiserModule(TINY).eval()
    batches = [draw_batch(bank, 2, Curriculum((3, 3), drop_probability=1.0), 0.0, seed=0, step=0) for _ in range(2)]
    batches[1].context_latents.fill_(torch.nan)
    batches[1].latents[:, :, 0].fill_(torch.nan)
    first, second = (module.losses(batch) for batch in batches)
    assert set(first) == {"loss", "flow"} and torch.equal(first["loss"], second["loss"])


def test_restart_takes_the_weights(bank, tmp_path):
    torch.manual_seed(1)
    module = DenoiserModule(TINY)
    module.transformer.save_pretrained(tmp_path)
    again = DenoiserModule({}, init_from=str(tmp_path))
    for a, b in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_restart_may_learn_other_nulls(tmp_path):
    """They are saved with the model; the rest of its configuration stays its own."""
    DenoiserModule(TINY).transformer.save_pretrained(tmp_path / "first")
    nulls = {"null_context": ["absent", "noise"], "null_instruction": True}
    again = DenoiserModule({"num_layers": 7, **nulls}, init_from=str(tmp_path / "first"))
    again.transformer.save_pretrained(tmp_path / "second")
    config = Video4SpatialTransformer3DModel.from_pretrained(tmp_path / "second").config
    assert config.num_layers == TINY["num_layers"]
    assert list(config.null_context) == ["absent", "noise"] and config.null_instruction
    kept = DenoiserModule({}, init_from=str(tmp_path / "second")).transformer.config
    assert list(kept.null_context) == ["absent", "noise"] and kept.null_instruction
    with pytest.raises(ValueError, match="null_context=.'nothing'.*expected 'absent', 'noise' or both"):
        DenoiserModule({"null_context": ["nothing"]}, init_from=str(tmp_path / "first"))


FULL_POOLS = {**TINY, "patch_size": (1, 1, 1)}  # tokens of one latent pixel, so that 4 x 4 of them can be pooled by 2 and by 4


def gradients(module, batch) -> tuple[dict, set]:
    """Losses of one step, and the names of the parameters that it moves."""
    module.zero_grad()
    losses = module.losses(batch)
    losses["loss"].backward()
    moved = {n: p.grad for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert all(value.isfinite() for value in losses.values()) and all(grad.isfinite().all() for grad in moved.values())
    return losses, set(moved)


@pytest.mark.parametrize("spatial_positions", ["grid", "compass"])
def test_pooled_steps_train(bank, spatial_positions):
    torch.manual_seed(0)
    module = DenoiserModule({**FULL_POOLS, "spatial_positions": spatial_positions})
    torch.nn.init.normal_(module.transformer.proj_out.weight, std=0.1)
    curriculum = Curriculum((2, 3), drop_probability=0.0, pooled_probability=1.0, targets_per_context=2)
    seen = {}
    for step in range(24):
        batch = draw_batch(bank, 2, curriculum, 1.0, seed=0, step=step)
        pools = tuple(part.pool for part in batch.parts)
        if pools not in seen:
            seen[pools] = gradients(module, batch)
    assert set(seen) == {(2, 1), (4, 1), (2,), (4,)}  # (p, 1) is far-pooled or coarse-to-fine
    for pools, (losses, moved) in seen.items():
        # Geometry is read from tokens in full: where there are none, nothing teaches its heads.
        assert set(losses) == ({"loss", "flow"} if len(pools) == 1 else {"loss", "flow", "points", "camera"})
        assert any("geometry" in name for name in moved) == (len(pools) == 2)
        assert "transformer.patch_embedding.weight" in moved


def test_geometry_of_a_far_pooled_step_is_that_of_its_near_frames(bank):
    torch.manual_seed(0)
    module = DenoiserModule(FULL_POOLS).eval()
    curriculum = Curriculum((2, 2), drop_probability=0.0, pooled_probability=1.0, pools=(2,), walk_probability=0.0)
    batches = (draw_batch(bank, 2, curriculum, 0.0, seed=0, step=step) for step in range(20))
    batch = next(b for b in batches if len(b.parts) == 2 and len(b.in_full) < b.context_latents.shape[2])
    far = [latent for latent in range(batch.context_latents.shape[2]) if latent not in batch.in_full]
    state = batch.generator.get_state()
    before = module.losses(batch)
    batch.context_depth[:, far] = torch.nan
    batch.generator.set_state(state)
    after = module.losses(batch)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_null_contexts_are_drawn_from_the_configuration(bank):
    """Absent or noise, about as often; neither sees scene, anchor or instruction."""
    curriculum = Curriculum((2, 3), drop_probability=1.0)
    context_only = "transformer.null_scene_camera"
    moved = {}
    for kinds in (("absent",), ("noise",), ("absent", "noise")):
        torch.manual_seed(0)
        module = DenoiserModule({**TINY, "null_context": kinds})
        torch.nn.init.normal_(module.transformer.proj_out.weight, std=0.1)
        seen = {}
        module.transformer.encode_context = watched(module.transformer.encode_context, seen)
        noises = 0
        for step in range(20):
            batch = draw_batch(bank, 2, curriculum, 0.0, seed=0, step=step)
            batch.context_latents.fill_(torch.nan)
            seen.clear()
            losses, moved[kinds] = gradients(module, batch)
            assert set(losses) == {"loss", "flow"} and context_only in moved[kinds]
            if seen:
                noises += 1
                assert seen["timestep"] == 1000.0 and seen["scene_rays"] is None and seen["latents"].std() > 0.5
        assert noises == {("absent",): 0, ("noise",): 20}.get(kinds, noises) and (len(kinds) == 1 or 4 < noises < 16)


def watched(method, seen: dict):
    """The method itself, which notes what it is given."""

    def call(latents, positions, scene_rays, cache, **options):
        seen.update(latents=latents, scene_rays=scene_rays, **options)
        return method(latents, positions, scene_rays, cache, **options)

    return call


def test_without_an_instruction_the_scene_stays(bank):
    torch.manual_seed(0)
    module = DenoiserModule({**TINY, "null_instruction": True}).eval()
    for name, parameter in module.named_parameters():
        if "camera" in name or "proj_out" in name:  # some start at zero effect
            torch.nn.init.normal_(parameter, std=0.2)
    curriculum = Curriculum(
        (2, 2), known_cameras=(1.0, 1.0), drop_probability=0.0, drop_instruction_probability=1.0, walk_probability=0.0
    )

    def flow(**changes) -> float:
        batch = draw_batch(bank, 2, curriculum, 0.0, seed=0, step=0)
        assert batch.drop_instruction and batch.context_cameras_known
        return float(module.losses(replace(batch, **changes))["flow"])

    batch = draw_batch(bank, 2, curriculum, 0.0, seed=0, step=0)
    other = batch.cameras[[0, *[1] * (len(batch.cameras) - 1)]]
    assert flow() == flow(cameras=other, instructions=tuple(Navigate(other) for _ in batch.instructions))
    assert flow() != flow(context_latents=2 * batch.context_latents)
    assert flow() != flow(context_cameras=batch.context_cameras.scaled(2.0))
    losses, moved = gradients(module, draw_batch(bank, 2, curriculum, 0.0, seed=0, step=0))
    assert "transformer.null_camera" in moved and "points" in losses


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


def test_an_affine_encoder_is_folded_and_computes_the_same(tiny_vae):
    torch.manual_seed(0)
    frames = render_bank([3], walk_frames=24, targets_per_scene=1, target_frames=2, height=32, width=32).frames[0]
    pictures = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    autoencoder = build_autoencoder((32,), latent_channels=12)
    autoencoder.requires_grad_(False)
    written = autoencoder.encoder
    assert fold_encoder(autoencoder) is autoencoder and autoencoder.encoder is written  # as initialised it is not affine
    start_linear(autoencoder, pictures)
    exact = encode_raw(autoencoder, pictures.unsqueeze(2))
    assert fold_encoder(autoencoder).encoder is not written
    torch.testing.assert_close(encode_raw(autoencoder, pictures.unsqueeze(2)), exact, atol=1e-2 * float(exact.std()), rtol=0)
    written = tiny_vae.encoder
    assert fold_encoder(tiny_vae).encoder is written


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


REFUSED = {
    "learning_rate": ({"learning_rate": -1.0}, "learning_rate -1.0: expected at least 0"),
    "noise_shift": ({"noise_shift": 0.0}, "noise_shift 0.0: expected more than 0"),
    "warmup_steps": ({"warmup_steps": -3}, "warmup_steps -3: expected at least 0"),
    "losses": ({"losses": []}, "expected at least one with a weight above 0"),
    "train_text": ({"train_text": True}, "train_text True: expected false without model.text"),
    "init_from": ({"init_from": "roms"}, "there is no model 'roms' .did you mean 'rooms'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_train_is_refused_before_it_starts(name):
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        DenoiserModule(TINY, **options)


def test_words_need_a_text_encoder():
    with pytest.raises(ValueError, match="text_dim 32 without model.text"):
        DenoiserModule({**TINY, "text_dim": 32})

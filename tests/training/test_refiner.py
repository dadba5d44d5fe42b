"""Training of the refiner: its examples, from files and imitated, and what it learns from them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from tests.models.test_refiner import TINY, rendering
from video4spatial import Video4SpatialPipeline
from video4spatial.models.autoencoder import decode, encode
from video4spatial.models.refiner import guidance_from_rendering
from video4spatial.training.guided_pictures import GuidedPictures, render_guided
from video4spatial.training.latent_spoiling import LatentSpoiling
from video4spatial.training.picture_variation import PictureVariation
from video4spatial.training.refiner import PictureBatch, RefinerModule
from video4spatial.training.refiner_data import RefinerData
from video4spatial.training.shown_geometry import GeometrySettings
from video4spatial.training.source_spoiling import SourceSpoiling
from video4spatial.training.spoiling import Spoiling

GEOMETRY = GeometrySettings(views=2)


def guided(count: int = 6, decoded: bool = False) -> GuidedPictures:
    random = np.random.default_rng(1)
    truth, spoiled = random.integers(0, 256, (2, count, 16, 24, 3), dtype=np.uint8)
    return GuidedPictures.of(truth, rendering(count, views=2), spoiled if decoded else None)


@pytest.fixture
def data(tiny_vae, tmp_path):
    """Function: options to the data of a few random pictures, attached to a trainer."""

    def make(decoded: bool = False, **options) -> RefinerData:
        guided(decoded=decoded).save(tmp_path / f"{decoded}.safetensors")
        tiny_vae.save_pretrained(tmp_path / "vae")
        vae = None if decoded else str(tmp_path / "vae")
        made = RefinerData(str(tmp_path / f"{decoded}.safetensors"), vae, geometry=GEOMETRY, **options)
        made.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))
        made.setup("fit")
        return made

    return make


def test_a_file_gives_back_what_was_kept(tmp_path):
    kept, shown = guided(decoded=True), rendering(6, views=2)
    GuidedPictures.concatenate([kept, kept]).save(tmp_path / "file.safetensors")
    again = GuidedPictures.load(tmp_path / "file.safetensors")
    assert len(again) == 12 and again.views == 2 and torch.equal(again.decoded[6:], kept.decoded)
    torch.testing.assert_close(again.guidance(torch.arange(6)), guidance_from_rendering(shown, views=2), atol=0.005, rtol=0)


def test_rooms_are_rendered_with_what_their_scene_shows():
    settings = GeometrySettings(views=2, spoiling=Spoiling(exact_probability=1.0))
    made = render_guided([3], 32, settings, pictures_per_scene=3, context_frames=(24, 48))
    assert len(made) == 3 and made.views == 2 and made.decoded is None
    guidance, truth = made.guidance(torch.arange(3)), made.truth.permute(0, 3, 1, 2) / 127.5 - 1
    known = guidance[:, 0, 3] > 0
    error = (guidance[:, 0, :3] - truth).abs().mean(1)[known].mean()
    assert known.float().mean() > 0.5 and error < 0.15  # the geometry is true


def test_rooms_are_made_by_a_model_that_sees_their_geometry(tiny_vae, tmp_path):
    transformer = seeded_transformer(geometry_views=2)
    torch.nn.init.constant_(transformer.geometry_encoder.weights.bias, 0.5)
    options = {"height": 32, "width": 32, "target_frames": 4, "context_frames": 3, "num_inference_steps": 1}
    pipeline = Video4SpatialPipeline(tiny_vae, transformer, FlowMatchEulerDiscreteScheduler(), **options)
    pipeline.save_pretrained(tmp_path / "model")
    frames = {"context_frames": (6, 6), "scenes": 1}
    made = RefinerData(str(tmp_path / "made.safetensors"), model=str(tmp_path / "model"), geometry=GEOMETRY, **frames)
    made.setup("fit")
    file = GuidedPictures.load(tmp_path / "made.safetensors")  # the frames after the anchor, and what was shown of each
    assert file.truth.shape == file.decoded.shape == (3, 32, 32, 3) and file.views == 2
    assert file.known.float().mean() > 0.2 and not torch.equal(file.truth, file.decoded)
    assert not made.draw(0).decoded.isnan().any()


def test_batches_are_led_by_the_scene_or_by_nothing(data):
    batch = data(batch_size=32, guided=0.5, anchors=0.5).draw(3)
    assert batch.decoded.shape == batch.truth.shape == (32, 3, 16, 24) and batch.guidance.shape == (32, 3, 6, 16, 24)
    led = batch.guidance[:, :, 3].flatten(1).any(1)
    assert 6 < led.sum() < 26 and not led[led.sum() :].any()
    own = (batch.guidance[:, 0, :3] == batch.truth).flatten(1).all(1)
    assert 0 < own.sum() < led.sum()
    again = data(batch_size=32, guided=0.5, anchors=0.5).draw(3)
    assert torch.equal(batch.decoded, again.decoded) and torch.equal(batch.guidance, again.guidance)


def test_pictures_that_nothing_leads_are_decoded_from_their_own_latents(data):
    made = data(batch_size=8, guided=0.0, latents=LatentSpoiling(exact_probability=0.0))
    batch = made.draw(0)
    with torch.no_grad():
        own = decode(made.autoencoder, encode(made.autoencoder, batch.truth.unsqueeze(2))).squeeze(2)
    torch.testing.assert_close(batch.decoded, own)


def test_pictures_of_a_model_are_taken_as_they_are(data, tiny_vae):
    made = data(decoded=True, batch_size=8, guided=1.0)
    batch = made.draw(0)
    known = {tuple(picture.flatten().tolist()) for picture in made.file.decoded.permute(0, 3, 1, 2).float() / 127.5 - 1}
    assert all(tuple(picture.flatten().tolist()) in known for picture in batch.decoded)
    made.autoencoder = tiny_vae  # decodes those that nothing leads
    made.hparams.guided = 0.5
    batch = made.draw(0)
    of_the_model = [tuple(picture.flatten().tolist()) in known for picture in batch.decoded]
    assert of_the_model == batch.guidance[:, :, 3].flatten(1).any(1).tolist() and 0 < sum(of_the_model) < 8


def test_what_belongs_together_is_varied_together(data):
    """Where decoded picture, truth and sources are one picture, they still are after they were varied."""
    made = data(decoded=True, batch_size=8, guided=1.0, anchors=1.0, variation=PictureVariation(8, 8, zoom=(0.5, 2.0)))
    made.file = GuidedPictures(**{**vars(made.file), "decoded": made.file.truth})
    batch = made.draw(0)
    assert batch.truth.shape == (8, 3, 8, 8) and not torch.equal(batch.truth, made.draw(1).truth)
    torch.testing.assert_close(batch.decoded, batch.truth)
    torch.testing.assert_close(batch.guidance[:, 0, :3], batch.truth)
    assert data(batch_size=2, guided=1.0, variation=PictureVariation(8, 8, zoom=(0.5, 2.0))).draw(0).decoded.shape == (2, 3, 8, 8)
    free = data(batch_size=8, guided=0.0, variation=PictureVariation(8, 8, zoom=(0.5, 2.0))).draw(0)
    assert free.decoded.shape == (8, 3, 8, 8) and free.guidance.abs().max() == 0


def test_spoiling_bounds(tiny_vae):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(4, 3, 16, 24, generator=generator) * 2 - 1
    nothing = torch.zeros(4, 3, 6, 16, 24)
    exact = LatentSpoiling(exact_probability=1.0).decoded(tiny_vae, pictures, nothing, generator)
    none = LatentSpoiling(0.0, 0.0, 0.0, 0.0, 0.0).decoded(tiny_vae, pictures, nothing, generator)
    torch.testing.assert_close(none, exact)
    spoiled = LatentSpoiling(exact_probability=0.0).decoded(tiny_vae, pictures, nothing, generator)
    assert (spoiled - exact).abs().mean() > 0.01


def test_sources_are_spoiled_where_they_show_something():
    guidance = guided(8).guidance(torch.arange(8))
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(SourceSpoiling(0.0, 0.0, 0.0, 0.0)(guidance, generator), guidance)
    spoiled = SourceSpoiling(specks=0.5)(guidance, generator)
    known, before = spoiled[:, :, 3:4], guidance[:, :, 3:4]
    assert set(known.unique().tolist()) == {0.0, 1.0} and (known <= before).all() and known.sum() < before.sum()
    assert (spoiled * (1 - known)).abs().max() == 0 and spoiled[:, :, :5].abs().max() <= 1
    same = ((spoiled - guidance * known).abs() < 1e-5)[:, :, :3].flatten(1).all(1)
    assert same.any() and not same.all()  # the colours of half of the examples


def test_a_refiner_learns_whom_to_believe(data):
    """The truth is a single view, the decoded picture is grey."""
    torch.manual_seed(0)
    module = RefinerModule(**TINY, learning_rate=5e-3)
    made = data(batch_size=6, guided=1.0, anchors=0.0)
    guidance = made.draw(0).guidance
    guidance[:, 1, 3] = 1
    truth = guidance[:, 1, :3]
    batch = PictureBatch(torch.zeros_like(truth), guidance, truth)
    optimizer = module.configure_optimizers()
    first = module.losses(batch)
    for _ in range(30):
        optimizer.zero_grad()
        losses = module.losses(batch)
        losses["loss"].backward()
        optimizer.step()
    assert set(losses) == {"loss", "psnr", "decoded"} and float(first["psnr"]) == pytest.approx(float(first["decoded"]))
    assert losses["psnr"] > first["psnr"] + 1.5


def test_nearly_right_pictures_count_as_much_as_bad_ones():
    """With the relative term, one and the same relative change of the error of a good and of a bad picture is worth the same."""
    module = RefinerModule(**TINY, gradient_weight=0.0, relative_weight=0.1)
    truth = torch.zeros(2, 3, 16, 16)

    def loss(good: float, bad: float) -> float:
        decoded = torch.stack([truth[0] + good, truth[1] + bad])
        return float(module.losses(PictureBatch(decoded, None, truth))["loss"])

    absolute = RefinerModule(**TINY, gradient_weight=0.0)
    base = {pair: float(absolute.losses(PictureBatch(torch.stack([truth[0] + pair[0], truth[1] + pair[1]]), None, truth))["loss"])
            for pair in ((0.1, 0.4), (0.05, 0.4), (0.1, 0.2))}  # fmt: skip
    gains = [(loss(0.1, 0.4) - base[0.1, 0.4]) - (loss(*pair) - base[pair]) for pair in ((0.05, 0.4), (0.1, 0.2))]
    assert gains[0] == pytest.approx(gains[1], rel=0.05) and gains[0] == pytest.approx(0.1 * np.log(4) / 2, rel=0.05)


REFUSED = {
    "batch_size": ({"batch_size": 0}, "batch_size 0: expected at least 1"),
    "guided": ({"guided": 1.5}, "guided 1.5: give a share from 0 to 1"),
    "context_frames": ({"context_frames": (8, 4)}, r"context_frames \[8, 4\]: give a range"),
    "autoencoder": ({"autoencoder": "nowhere"}, "data.autoencoder: nowhere is not the folder of an autoencoder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        RefinerData("", **options)


def test_impossible_settings_are_named():
    with pytest.raises(ValueError, match=r"zoom \[2, 1\]: give a range.*mirror_probability 2: give a number"):
        PictureVariation(zoom=(2, 1), mirror_probability=2)
    with pytest.raises(ValueError, match=r"blur -1: expected at least 0.*exact_probability 3: expected at most 1"):
        LatentSpoiling(exact_probability=3, blur=-1)
    with pytest.raises(ValueError, match=r"tint -1: expected at least 0; specks 2: expected at most 1"):
        SourceSpoiling(tint=-1, specks=2)


def test_data_must_fit(data, tmp_path):
    with pytest.raises(ValueError, match="data.geometry.views 2: the refiner takes 3"):
        RefinerModule(views=3, widths=(8, 8, 16)).check_data(data())
    with pytest.raises(ValueError, match="data.variation of 32 x 8 pixels: .* holds 16 x 24"):
        data(variation=PictureVariation(32, 8))
    with pytest.raises(ValueError, match="is not the folder of a refiner"):
        RefinerModule(init_from=str(tmp_path / "none"))


def test_a_refiner_goes_on_from_a_folder(tmp_path):
    module = RefinerModule(**TINY)
    module.network.half().save_pretrained(tmp_path)
    again = RefinerModule(init_from=str(tmp_path)).network
    assert again.config.views == 2 and again.dtype == torch.float32
    for one, other in zip(module.network.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.float(), other)

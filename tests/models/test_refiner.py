"""The refiner: no effect before training, the same without guidance as with one that shows nothing, and a video in pieces."""

import numpy as np
import pytest
import torch

from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.autoencoder import decode
from video4spatial.models.refiner import PictureRefiner, decode_frames, guidance_from_picture, guidance_from_rendering, refine

TINY = {"views": 2, "widths": (8, 8, 16), "blocks": 1}


def refiner(trained: bool = True) -> PictureRefiner:
    """A tiny one; `trained` stands for random weights where training starts at zero."""
    torch.manual_seed(0)
    model = PictureRefiner(**TINY).eval()
    if trained:
        torch.nn.init.normal_(model.project_out.weight, std=0.1)
        torch.nn.init.normal_(model.project_out.bias, std=0.1)
    return model


def sources(batch: int = 2, height: int = 16, width: int = 24) -> torch.Tensor:
    """Guidance of which about half is known."""
    generator = torch.Generator().manual_seed(1)
    guidance = torch.rand(batch, 3, 6, height, width, generator=generator) * 2 - 1
    guidance[:, :, 3] = (guidance[:, :, 3] > 0).float()
    return guidance


def rendering(frames: int = 5, views: int = 3, height: int = 16, width: int = 24) -> GeometryRendering:
    """Of random content; the blend is 2 m away, the views from 1 to 3 m, or unknown."""
    random = np.random.default_rng(0)
    view_depth = random.uniform(1, 3, (frames, views, height, width)).astype(np.float32)
    view_depth *= random.random(view_depth.shape) < 0.7
    known = random.random((frames, height, width)) < 0.8
    return GeometryRendering(
        pictures=random.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), known=known,
        depth=np.where(known, 2, 0).astype(np.float32),
        confidence=random.random((frames, height, width), dtype=np.float32) * known,
        view_pictures=random.integers(0, 256, (*view_depth.shape, 3), dtype=np.uint8), view_depth=view_depth,
        view_confidence=random.random(view_depth.shape, dtype=np.float32), sources=np.zeros((frames, views), dtype=np.int64),
    )  # fmt: skip


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_a_new_refiner_changes_nothing(pictures):
    model = refiner(trained=False)
    for guidance in (None, sources()):
        assert torch.equal(model(pictures, guidance), pictures)


def test_nothing_known_is_no_guidance(pictures):
    model, guidance = refiner(), sources()
    guidance[:, :, 3] = 0
    alone = model(pictures)
    assert torch.equal(model(pictures, guidance), alone) and not torch.allclose(alone, pictures, atol=1e-3)
    assert not torch.allclose(model(pictures, sources()), alone, atol=1e-3)


def test_every_parameter_learns(pictures):
    model = refiner()
    (model(pictures, sources()) - 1).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    new = refiner(trained=False)
    (new(pictures, sources()) - 1).square().mean().backward()
    assert (new.project_out.weight.grad.flatten(1).norm(dim=1) > 0).all()  # residual and every gate


def test_a_gate_lets_a_source_pass(pictures):
    model, guidance = refiner(trained=False), sources()
    torch.nn.init.ones_(model.project_out.bias.data[4 * 4 : 4 * 5])  # of the first single view, at 2 x 2 places
    known = guidance[:, 1, 3:4] > 0
    torch.testing.assert_close(model(pictures, guidance), torch.where(known, guidance[:, 1, :3], pictures))


def test_any_size_is_taken(pictures):
    model, guidance = refiner(), sources()
    odd = model(pictures[..., :13, :21], guidance[..., :13, :21])
    assert odd.shape == (2, 3, 13, 21) and odd.isfinite().all()


def test_guidance_of_another_shape_is_named(pictures):
    with pytest.raises(ValueError, match=r"`guidance` of shape \[2, 2, 6, 16, 24\]: expected \[2, 3, 6, 16, 24\]"):
        refiner()(pictures, sources()[:, :2])


def test_a_folder_keeps_it_in_half_precision(pictures, tmp_path):
    model = refiner()
    model.half().save_pretrained(tmp_path)
    again = PictureRefiner.from_pretrained(tmp_path, torch_dtype=torch.float32)
    torch.testing.assert_close(again(pictures, sources()), model.float()(pictures, sources()))
    assert sum(p.numel() for p in PictureRefiner().parameters()) < 1_000_000


def test_a_rendering_becomes_sources():
    shown = rendering()
    guidance = guidance_from_rendering(shown, views=2, frames=slice(1, 3))
    assert guidance.shape == (2, 3, 6, 16, 24)
    known = shown.view_depth[1:3, :2] > 0
    assert torch.equal(guidance[:, 1:, 3].bool(), torch.from_numpy(known)) and (guidance[:, 1:, 3] > 0).any()
    assert (guidance * (guidance[:, :, 3:4] == 0)).abs().max() == 0
    blend = torch.from_numpy(shown.pictures[1:3]).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(guidance[:, 0, :3], blend * torch.from_numpy(shown.known[1:3, None]))
    both = known & shown.known[1:3, None]
    expected = np.log(shown.view_depth[1:3, :2][both] / 2)
    np.testing.assert_allclose(guidance[:, 1:, 5].numpy()[both], expected, atol=1e-6)
    more = guidance_from_rendering(shown, views=4)
    assert more.shape[1] == 5 and more[:, 4].abs().max() == 0 and more[:, 3].abs().max() > 0


def test_a_video_is_refined_in_pieces(tiny_vae):
    model, shown = refiner(), rendering()
    latents = torch.randn(1, 4, 5, 2, 3, generator=torch.Generator().manual_seed(3))
    anchor = np.full((16, 24, 3), 200, dtype=np.uint8)
    whole = decode_frames(tiny_vae, latents, model, shown, anchor, chunk_frames=5)
    pieces = decode_frames(tiny_vae, latents, model, shown, anchor, chunk_frames=2)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=0)
    assert whole.shape == (1, 3, 5, 16, 24) and whole.abs().max() <= 1
    plain = decode(tiny_vae, latents)
    torch.testing.assert_close(decode_frames(tiny_vae, latents, chunk_frames=2), plain)
    alone = guidance_from_rendering(shown, views=2)
    alone[:1] = guidance_from_picture(torch.full((3, 16, 24), 200 / 127.5 - 1), views=2)
    torch.testing.assert_close(whole[0].transpose(0, 1), model(plain[0].transpose(0, 1), alone).clamp(-1, 1), atol=1e-5, rtol=0)


def test_a_video_autoencoder_is_refined_too(tiny_wan_vae):
    latents = torch.randn(1, 4, 2, 2, 3, generator=torch.Generator().manual_seed(3))
    assert decode_frames(tiny_wan_vae, latents, refiner(), rendering(), chunk_frames=4).shape == (1, 3, 5, 16, 24)


def test_renderings_that_do_not_fit_are_named():
    frames = torch.zeros(1, 3, 4, 16, 24)
    with pytest.raises(ValueError, match=r"`rendering` of shape \[5, 16, 24\]: expected \[4, 16, 24\]"):
        refine(refiner(), frames, rendering())
    with pytest.raises(ValueError, match=r"`anchor` of shape \[24, 16, 3\]: expected \[16, 24, 3\]"):
        refine(refiner(), frames, anchor=np.zeros((24, 16, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="`frames` of 2 videos"):
        refine(refiner(), frames.expand(2, -1, -1, -1, -1), rendering(4))


def test_the_shipped_refiner_passes_on_what_is_known():
    """A blurred picture whose scene is known comes out nearly as the scene is."""
    from video4spatial.pretrained import FOLDER
    from video4spatial.simulation import capture_walk, generate_scene, render

    refiner = PictureRefiner.from_pretrained(FOLDER / "refiner", torch_dtype=torch.float32)
    scene = generate_scene(1_000_001)
    frame = torch.from_numpy(render(scene, capture_walk(scene, 2, seed=1), 128, 128, 2).rgb[1]).permute(2, 0, 1).float() / 127.5 - 1
    blurred = torch.nn.functional.avg_pool2d(frame[None], 5, 1, 2, count_include_pad=False)
    with torch.no_grad():
        led = refiner(blurred, guidance_from_picture(frame, refiner.config.views))
    assert (led - frame).square().mean() < 0.3 * (blurred - frame).square().mean()

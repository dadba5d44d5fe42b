"""Renderings of a scene become latents and maps, alike for autoencoders of pictures and of video."""

import numpy as np
import pytest
import torch

from video4spatial.conditioning.geometry_prompt import geometry_prompt
from video4spatial.geometry.scene_geometry import GeometryRendering
from video4spatial.models.autoencoder import encode, frames_to_tensor


def rendering(frames: int, views: int = 3, size: int = 32, known: float = 1.0) -> GeometryRendering:
    """Colours that change from frame to frame, known on the left part of the blend and in the first view alone."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (frames, size, size, 3), dtype=np.uint8)
    mask = np.broadcast_to(np.arange(size) < known * size, (frames, size, size))
    depth = np.where(mask, 2.0, 0).astype(np.float32)
    view_depth = np.zeros((frames, views, size, size), np.float32)
    view_depth[:, 0] = depth
    view_pictures = np.zeros((frames, views, size, size, 3), np.uint8)
    view_pictures[:, 0] = pictures * mask[..., None]
    confidence = np.where(mask, 0.5, 0).astype(np.float32)
    view_confidence = np.where(view_depth > 0, 0.25, 0).astype(np.float32)
    sources = np.tile([4, -1, -1][:views], (frames, 1))
    return GeometryRendering(
        pictures * mask[..., None], mask.copy(), depth, confidence, view_pictures, view_depth, view_confidence, sources
    )


def test_a_fully_known_blend_is_encoded_as_it_is(tiny_vae):
    shown = rendering(3)
    prompt = geometry_prompt(tiny_vae, [shown, shown], views=2)
    assert prompt.latents.shape == (2, 3, 3, 4, 4, 4) and prompt.maps.shape == (2, 3, 3, 3, 4, 4)
    expected = encode(tiny_vae, frames_to_tensor(shown.pictures))[0].transpose(0, 1)
    torch.testing.assert_close(prompt.latents[1, :, 0], expected, atol=1e-4, rtol=1e-4)
    share, log_depth, sure = prompt.maps[0, :, 0].unbind(1)
    torch.testing.assert_close(share, torch.ones_like(share))
    torch.testing.assert_close(log_depth, torch.full_like(log_depth, float(np.log(2.0))))
    torch.testing.assert_close(sure, torch.full_like(sure, 0.5))


def test_maps_say_what_is_known_and_views_that_show_nothing_are_empty(tiny_vae):
    prompt = geometry_prompt(tiny_vae, [rendering(1, known=0.5)], views=3)
    blend, first, second = prompt.maps[0, 0, 0], prompt.maps[0, 0, 1], prompt.maps[0, 0, 2]
    assert blend[0, :, :2].eq(1).all() and not blend[:, :, 2:].any()
    assert first[2, :, :2].eq(0.25).all() and not second.any()
    # What a view does not show is filled as the blend is, so that latents are alike.
    torch.testing.assert_close(prompt.latents[0, 0, 2], prompt.latents[0, 0, 0], atol=1e-4, rtol=1e-4)


def test_nothing_known_is_grey_with_empty_maps(tiny_vae):
    prompt = geometry_prompt(tiny_vae, [rendering(1, known=0.0)], views=1)
    grey = encode(tiny_vae, torch.zeros(1, 3, 1, 32, 32))[0, :, 0]
    torch.testing.assert_close(prompt.latents[0, 0, 0], grey, atol=1e-4, rtol=1e-4)
    assert not prompt.maps.any()


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_latents_of_video_autoencoders_hold_several_frames(tiny_wan_vae, frames):
    prompt = geometry_prompt(tiny_wan_vae, [rendering(frames, known=0.5)], views=1)
    assert prompt.latents.shape[1] == prompt.maps.shape[1] == 1 + (frames - 1) // 4
    assert prompt.maps[..., 0, :, 0].eq(1).all()

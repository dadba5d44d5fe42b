"""Unknown pixels filled from around them."""

import torch

from video4spatial.geometry.filling import filled


def test_known_pixels_stay_and_holes_lie_between_their_surroundings():
    pictures = torch.linspace(0, 1, 24).expand(1, 3, 17, 24).clone()
    known = torch.ones(1, 1, 17, 24)
    known[..., 5:11, 8:15] = 0
    damaged = torch.where(known > 0, pictures, torch.tensor(-9.0))
    result = filled(damaged, known)
    assert torch.equal(result[known.expand_as(result) > 0], pictures[known.expand_as(result) > 0])
    assert (result - pictures).abs().max() < 0.25


def test_a_picture_of_which_nothing_is_known_takes_the_fallback():
    result = filled(torch.full((2, 3, 8, 8), 7.0), torch.zeros(2, 1, 8, 8), fallback=0.5)
    assert torch.equal(result, torch.full((2, 3, 8, 8), 0.5))


def test_one_known_pixel_fills_all():
    known = torch.zeros(1, 1, 5, 6)
    known[..., 2, 3] = 1
    result = filled(torch.full((1, 1, 5, 6), 0.3), known)
    torch.testing.assert_close(result, torch.full((1, 1, 5, 6), 0.3))

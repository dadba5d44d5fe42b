"""Depth maps seen by other cameras: on a scene worked out by hand (a wall, and a panel in front of it), and on a clip."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, project_points
from video4spatial.geometry.visibility import covisible_mask, nearest_points, seen_from, warp_context, world_points

SIZE = 48


def camera_at(*xs: float) -> Cameras:
    poses = torch.eye(4, dtype=torch.float64).repeat(len(xs), 1, 1)
    poses[:, 0, 3] = torch.tensor(xs, dtype=torch.float64)
    return Cameras.from_fov(poses, 90.0)  # half the width at depth 1 is 1


def look(x: float, panel: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Depth [1, H, W] and colours [1, H, W, 3] of a wall at depth 4 and a panel |x| < 0.5 at depth 2."""
    across = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    on_panel = panel & (np.abs(x + 2 * across) < 0.5)
    depth = np.where(on_panel, 2.0, 4.0)
    place = x + 4 * across
    wall = np.stack([127 + 100 * np.sin(place), 127 + 100 * np.cos(1.3 * place), 100 + 0 * place], -1)
    colour = np.where(on_panel[:, None], 255, wall).astype(np.uint8)
    shape = (1, SIZE, SIZE)
    return np.broadcast_to(depth, shape).astype(np.float32), np.broadcast_to(colour, (*shape, 3)).copy()


def test_everything_is_seen_from_the_same_place():
    depth, colour = look(0)
    assert covisible_mask(camera_at(0), depth, camera_at(0), depth).all()
    frames, seen = warp_context(camera_at(0), depth, camera_at(0), depth, colour)
    assert seen.all() and np.abs(frames.astype(int) - colour).max() <= 1


def test_occlusion_and_field_of_view():
    target, context = look(0, panel=False)[0], look(1)[0]
    seen = covisible_mask(camera_at(0), target, camera_at(1), context)[0, SIZE // 2]
    place = 4 * ((np.arange(SIZE) + 0.5) / SIZE * 2 - 1)
    # From x = 1 the panel hides wall points between 1 + 2 (-0.5 - 1) = -2 and 1 + 2 (0.5 - 1) = 0.
    # The view starts at 1 - 4 = -3.
    pixel = 8 / SIZE
    expected = (place > -3) & ~((place > -2) & (place < 0))
    clear = np.min([np.abs(place - edge) for edge in (-3, -2, 0)], axis=0) > pixel
    assert (seen == expected)[clear].all()


def test_warp_takes_the_nearest_view_and_its_colours():
    depth, colour = look(0, panel=False)
    contexts = [look(x, panel=False) for x in (3.0, 0.4)]
    depths, colours = (np.concatenate(parts) for parts in zip(*contexts))
    colours[0] = 0  # the far view is black where both see the wall
    frames, seen = warp_context(camera_at(0), depth, camera_at(3.0, 0.4), depths, colours)
    inside = np.zeros(SIZE, dtype=bool)
    inside[6:-1] = True
    both = seen[0] & inside
    assert both[:, 6:-1].all()
    assert np.abs(frames[0].astype(int) - colour[0])[both].max() < 12


def test_unknown_depth_is_not_seen():
    depth = look(0)[0].copy()
    depth[0, 0, 0], depth[0, 0, 1] = 0, np.nan
    seen = covisible_mask(camera_at(0), depth, camera_at(0), look(0)[0])
    assert not seen[0, 0, :2].any() and seen.sum() == SIZE * SIZE - 2


def test_each_view_on_its_own():
    depths = np.concatenate([look(0, panel=False)[0], look(50, panel=False)[0]])
    seen = seen_from(camera_at(0), depths[:1], camera_at(0, 50), depths)
    assert seen.shape == (1, 2, SIZE, SIZE) and seen[:, 0].all() and not seen[:, 1].any()


def test_the_mask_is_the_union_of_the_views(clip):
    cameras, depth = clip.instruction.cameras, clip.target_depth
    context = (clip.context_cameras, clip.context_depth)
    mask = covisible_mask(cameras, depth, *context)
    assert np.array_equal(mask, seen_from(cameras, depth, *context).any(1)) and 0.2 < mask.mean() < 1
    assert np.array_equal(mask, warp_context(cameras, depth, *context, clip.context_frames)[1])


def test_numbers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="context: 2 cameras"):
        covisible_mask(camera_at(0), look(0)[0], camera_at(0, 1), look(0)[0])


def test_points_of_a_view_project_back_onto_their_pixels(clip):
    cameras, depth = clip.context_cameras[:2], torch.from_numpy(clip.context_depth[:2]).double()
    height, width = depth.shape[1:]
    points = world_points(cameras, depth)
    assert points.dtype == torch.float64 and world_points(cameras, depth.float()).dtype == torch.float32
    rows, columns = np.divmod(np.arange(height * width), width)
    for view in range(2):
        pixels, found = project_points(cameras[view], points[view], height, width)
        assert np.allclose(pixels[0], np.stack([columns + 0.5, rows + 0.5], -1), atol=1e-6)
        assert np.allclose(found[0], depth[view].flatten())


def test_nearest_points_agree_with_a_plain_search(clip):
    points = world_points(clip.context_cameras, torch.from_numpy(clip.context_depth)).reshape(-1, 3).numpy()
    points = np.concatenate([points, points[:500]])  # twice at one place: the last counts
    cameras = clip.target_cameras[:2]
    index, depth = nearest_points(points, cameras, 24, 32)
    pixels, depths = (values.numpy() for values in project_points(cameras, torch.from_numpy(points).double(), 24, 32))
    for view in range(2):
        best = {}
        for number, ((x, y), z) in enumerate(zip(pixels[view], depths[view])):
            if z > 1e-3 and 0 <= x < 32 and 0 <= y < 24 and z <= best.get((int(y), int(x)), (np.inf,))[0]:
                best[int(y), int(x)] = z, number
        assert (index[view] >= 0).sum() == len(best) and np.isinf(depth[view][index[view] < 0]).all()
        assert all(index[view][place] == number and depth[view][place] == z for place, (z, number) in best.items())

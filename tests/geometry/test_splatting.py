"""Points of depth maps, and what other cameras see of them."""

import numpy as np
import torch

from video4spatial.cameras import project_points
from video4spatial.geometry.splatting import nearest_points, splatted_depth, world_points


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


def test_splatted_depth_is_what_the_other_camera_sees(clip):
    height, width = clip.target_frames.shape[1:3]
    found = splatted_depth(clip.context_cameras, clip.context_depth, clip.target_cameras, height, width)
    assert found.shape == clip.target_depth.shape and found.dtype == np.float32
    known = found > 0
    error = np.abs(found / clip.target_depth - 1)[known]
    assert known.mean() > 0.5 and np.median(error) < 0.02
    nothing = splatted_depth(clip.context_cameras, np.zeros_like(clip.context_depth), clip.target_cameras[:1], height, width)
    assert not nothing.any()

"""Depth that is about right made exact by other frames: on a slanted wall of noise, and in a simulated room."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.polishing import PolishSettings, polished
from video4spatial.geometry.rendering import sampled
from video4spatial.geometry.scene_geometry import DepthMaps, SceneGeometry

SIZE = 64


@pytest.fixture(scope="module")
def slanted_wall() -> tuple[np.ndarray, Cameras, np.ndarray]:
    """Three frames of a wall of smooth noise, 2 m away on the left and 4 on the right, and their depth."""
    places = torch.tensor([-0.3, 0.0, 0.3], dtype=torch.float64)
    poses = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    poses[:, 0, 3] = places
    cameras = Cameras.from_fov(poses, 60.0)
    across = ((torch.arange(SIZE) + 0.5) / SIZE - 0.5) / float(cameras.intrinsics[0, 0, 0])  # slopes of rays
    # On the wall z = 3 + 1.3 x, seen from x0: z = (3 + 1.3 x0) / (1 - 1.3 slope).
    depth = ((3 + 1.3 * places)[:, None] / (1 - 1.3 * across))[:, None].expand(3, SIZE, SIZE).numpy()
    right = places.numpy()[:, None, None] + across.numpy() * depth
    down = across.numpy()[None, :, None] * depth
    colours = [127 + 60 * np.sin(9 * right + 2 * k) + 60 * np.cos(8 * down - right + k) for k in range(3)]
    return np.stack(colours, -1).round().astype(np.uint8), cameras, depth.astype(np.float32)


def test_a_slanted_wall_becomes_exact(slanted_wall):
    frames, cameras, truth = slanted_wall
    rough = truth * np.linspace(0.85, 1.15, SIZE, dtype=np.float32)[:, None]
    found = polished(frames, cameras, DepthMaps(rough, np.full_like(rough, 0.5), ("",) * 3), [0, 1, 2])
    inner = (1, slice(6, -6), slice(10, -10))
    before, after = (np.abs(depth / truth - 1)[inner] for depth in (rough, found.depth))
    assert np.median(after) < 0.015 and np.median(after) < 0.3 * np.median(before)
    assert found.confidence[inner].mean() > 0.8 and found.reasons == ("",) * 3


def test_a_room_becomes_more_exact_and_confidence_stays_a_probability(clip):
    generator = np.random.default_rng(0)
    truth = clip.context_depth
    rough = (truth * np.exp(0.1 * generator.standard_normal((len(truth), 1, 1)))).astype(np.float32)
    maps = DepthMaps(rough, np.full_like(rough, 0.6), ("",) * len(rough))
    chosen = [1, 4, 8]
    found = polished(
        clip.context_frames, clip.context_cameras, DepthMaps(rough[chosen], maps.confidence[chosen], ("",) * 3), chosen
    )
    before, after = (np.abs(depth / truth[chosen] - 1) for depth in (rough[chosen], found.depth))
    assert np.median(after) < 0.7 * np.median(before)
    sure = found.confidence > 0.8
    assert 0.05 < sure.mean() < 0.98 and after[sure].mean() < 0.8 * after[~sure].mean()
    assert abs((after < 0.1).mean() - found.confidence.mean()) < 0.2


def test_what_cannot_be_compared_stays(clip):
    frames, cameras, truth = clip.context_frames, clip.context_cameras, clip.context_depth
    half = np.full_like(truth, 0.5)
    alone = polished(frames[:1], cameras[:1], DepthMaps(truth[:1], half[:1], ("alone",)), [0])
    assert np.array_equal(alone.depth, truth[:1]) and np.array_equal(alone.confidence, half[:1]) and alone.reasons == ("alone",)
    blank = polished(np.full_like(frames, 128), cameras, DepthMaps(truth, half, ("",) * len(truth)), list(range(len(truth))))
    assert np.allclose(blank.depth, truth, rtol=1e-3)  # every depth looks the same: none is better than what was estimated
    holes = truth[:2].copy()
    holes[:, :10] = 0
    found = polished(frames, cameras, DepthMaps(holes, half[:2] * (holes > 0), ("",) * 2), [0, 1])
    assert np.array_equal(found.depth > 0, holes > 0) and not found.confidence[holes == 0].any()


def test_smaller_maps_than_frames_and_large_ones(clip):
    frames, cameras = clip.context_frames, clip.context_cameras
    small = sampled(clip.context_depth, 32, 32) * np.float32(1.1)
    maps = DepthMaps(small, np.full_like(small, 0.5), ("",) * len(small))
    found = polished(frames, cameras, maps, list(range(len(small))), PolishSettings(steps=9, apart=2))
    truth = sampled(clip.context_depth, 32, 32)
    assert found.depth.shape == small.shape and np.median(np.abs(found.depth / truth - 1)) < 0.06
    large = DepthMaps(*np.ones((2, 1, 300, 300), np.float32), ("",))
    assert polished(frames, cameras, large, [0]) is large
    scene = SceneGeometry(frames, cameras, np.ones(len(frames), bool), found.depth, found.confidence, found.reasons)
    assert scene.render(clip.target_cameras, 32, 32).known.mean() > 0.7


def test_the_unit_does_not_matter(clip):
    chosen = [2, 6]
    maps = DepthMaps(clip.context_depth[chosen] * np.float32(1.08), np.full((2, 64, 64), 0.5, np.float32), ("",) * 2)
    metres = polished(clip.context_frames, clip.context_cameras, maps, chosen)
    other = replace(maps, depth=maps.depth * np.float32(7))
    sevenfold = polished(clip.context_frames, clip.context_cameras.scaled(7.0, metric=False), other, chosen)
    assert (np.abs(sevenfold.depth / 7 / metres.depth - 1) < 1e-3).mean() > 0.99

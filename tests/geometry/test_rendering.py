"""Frames with depth seen from other cameras: exact on planes, in the right order, without seams, tears and surprises."""

from dataclasses import replace
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.scene_geometry import SceneGeometry

SIZE = 48


def camera_at(*places: tuple[float, float, float], fov: float = 90.0) -> Cameras:
    poses = torch.eye(4, dtype=torch.float64).repeat(len(places), 1, 1)
    poses[:, :3, 3] = torch.tensor(places, dtype=torch.float64)
    return Cameras.from_fov(poses, fov)


def pattern(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth colours of a place on a wall."""
    return np.stack([127 + 100 * np.sin(x), 127 + 100 * np.cos(1.3 * y), 127 + 60 * np.sin(x + y)], -1)


def look(camera: Cameras, size: int = SIZE, panel: bool = False, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Depth [N, H, W] and colours of a wall z = 4 + slope x and, if asked for, a white panel |x| < 0.5 at z = 2."""
    across = (np.arange(size) + 0.5) / size
    depths, colours = [], []
    for index in range(len(camera)):
        lens, place = camera.intrinsics[index].numpy(), camera.positions[index].numpy()
        right = ((across - lens[0, 2]) / lens[0, 0])[None, :].repeat(size, 0)
        down = ((across - lens[1, 2]) / lens[1, 1])[:, None].repeat(size, 1)
        depth = (4 + slope * place[0] - place[2]) / (1 - slope * right)
        colour = pattern(place[0] + right * depth, place[1] + down * depth)
        nearer = 2 - place[2]
        if panel:
            on = np.abs(place[0] + right * nearer) < 0.5
            depth, colour = np.where(on, nearer, depth), np.where(on[..., None], 255, colour)
        depths.append(depth)
        colours.append(colour)
    return np.stack(depths).astype(np.float32), np.stack(colours).round().astype(np.uint8)


def geometry_of(cameras: Cameras, depth: np.ndarray, frames: np.ndarray, **changes) -> SceneGeometry:
    count = len(cameras)
    known = (depth > 0).astype(np.float32)
    return replace(SceneGeometry(frames, cameras, np.ones(count, bool), depth, known, ("",) * count), **changes)


@pytest.mark.parametrize("slope", [0.0, 0.6])
@pytest.mark.parametrize("target", [(0.3, -0.2, 0.0), (0.1, 0.1, 1.5)])
def test_a_plane_is_exact(slope, target):
    sources, target = camera_at((-0.4, 0, 0), (0.5, 0.1, 0)), camera_at(target)
    shown = geometry_of(sources, *look(sources, slope=slope)).render(target, SIZE, SIZE)
    depth, truth = look(target, slope=slope)
    inner = (0, slice(4, -4), slice(8, -8))
    assert shown.known[inner].all()
    assert np.abs(shown.depth / depth - 1)[inner].max() < 0.004
    assert np.abs(shown.pictures.astype(int) - truth)[inner].max() < 12


def test_the_same_place_shows_the_same_picture():
    cameras = camera_at((0, 0, 0), (0.3, 0, 0), (0, 0.3, 0))
    depth, frames = look(cameras, panel=True)
    shown = geometry_of(cameras, depth, frames).render(cameras[0], SIZE, SIZE)
    assert shown.known.all() and shown.sources[0, 0] == 0
    assert np.array_equal(shown.view_pictures[0, 0], frames[0]) and np.allclose(shown.view_depth[0, 0], depth[0], rtol=1e-4)
    assert np.abs(shown.pictures[0].astype(int) - frames[0])[:, 4:-4].max() < 40  # the sides of the panel
    away = (depth[0] > 3) & (np.roll(depth[0], 2, 1) > 3) & (np.roll(depth[0], -2, 1) > 3)
    assert np.abs(shown.pictures[0].astype(int) - frames[0])[away].max() < 10
    assert shown.view_confidence[0, 0].min() > 0.99 > shown.view_confidence[0, 1].max()


def test_what_is_nearer_hides_what_is_behind():
    sources, target = camera_at((-0.8, 0, 0), (0.8, 0, 0)), camera_at((0, 0, 0))
    shown = geometry_of(sources, *look(sources, panel=True)).render(target, SIZE, SIZE)
    depth, _ = look(target, panel=True)
    across = 2 * ((np.arange(SIZE) + 0.5) / SIZE * 2 - 1)  # where rays meet the panel's plane
    clear = np.abs(np.abs(across) - 0.5) > 3 / SIZE * 4
    assert (np.abs(shown.depth[0] / depth[0] - 1) < 0.03)[:, clear & (np.abs(across) < 1.5)].all()
    assert (shown.pictures[0][:, np.abs(across) < 0.3] == 255).all()


def test_a_gap_behind_an_edge_is_not_smeared_over():
    source, target = camera_at((0, 0, 0)), camera_at((0.5, 0, 0))
    shown = geometry_of(source, *look(source, panel=True)).render(target, SIZE, SIZE)
    # From x = 0.5 the panel's right side is seen at (0.5 - 0.5) / 2 = 0, and behind it wall that the source sees from x = 1 on.
    across = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    gap = (across > 0.03) & (0.5 + 4 * across < 0.92)
    assert gap.sum() > 1 and not shown.known[0][:, gap].any()
    assert not shown.pictures[0][:, gap].any() and not shown.depth[0][:, gap].any()
    values = shown.depth[shown.known]
    assert (np.minimum(np.abs(values - 2), np.abs(values - 4)) < 0.02).all()


def test_moving_forward_leaves_no_pinholes():
    source, target = camera_at((0, 0, 0)), camera_at((0.05, 0.02, 2.6))
    shown = geometry_of(source, *look(source, slope=0.2)).render(target, SIZE, SIZE)
    assert shown.known.all()


def test_two_views_that_agree_leave_no_seam():
    sources, target = camera_at((-1.2, 0, 0), (1.2, 0, 0)), camera_at((0, 0, 0))
    shown = geometry_of(sources, *look(sources)).render(target, SIZE, SIZE)
    steps = np.abs(np.diff(shown.pictures[0].astype(int), axis=1)).max(-1)
    smooth = np.abs(np.diff(look(target)[1][0].astype(int), axis=1)).max(-1)
    assert steps.max() <= smooth.max() + 6


def test_wrong_depth_blends_and_does_not_tear():
    generator = np.random.default_rng(0)
    places = [(x, y, 0) for x in (-0.5, 0, 0.5) for y in (-0.3, 0.3)]
    sources, target = camera_at(*places), camera_at((0.2, 0, 0.3))
    depth, frames = look(sources)
    spoiled = depth * generator.uniform(0.93, 1.07, (len(places), 1, 1)).astype(np.float32)
    shown = geometry_of(sources, spoiled, frames).render(target, SIZE, SIZE)
    error = np.abs(shown.pictures[0].astype(int) - look(target)[1][0])[4:-4, 4:-4]
    assert shown.known[0, 4:-4, 4:-4].all() and error.mean() < 8


def test_frames_without_a_camera_are_left_out():
    cameras = camera_at((0, 0, 0), (0.2, 0, 0))
    depth, frames = look(cameras)
    frames[1] = 0
    shown = geometry_of(cameras, depth, frames, placed=np.array([True, False])).render(cameras[1], SIZE, SIZE)
    assert shown.sources.tolist() == [[0, -1, -1]] and shown.pictures[shown.known].mean() > 60
    assert not shown.view_pictures[0, 1:].any() and not shown.view_depth[0, 1:].any()


def test_nothing_known_shows_nothing():
    cameras = camera_at((0, 0, 0), (0.2, 0, 0))
    depth, frames = look(cameras)
    away = cameras.camera_to_world.clone()
    away[:, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    for geometry, target in (
        (geometry_of(cameras, 0 * depth, frames), cameras),
        (geometry_of(cameras, depth, frames, placed=np.zeros(2, bool)), cameras),
        (geometry_of(cameras, depth, frames), replace(cameras, camera_to_world=away)),
    ):
        shown = geometry.render(target, SIZE, SIZE)
        assert not shown.known.any() and not shown.pictures.any() and not shown.depth.any() and (shown.sources == -1).all()


@pytest.mark.parametrize("height, width, views", [(32, 48, 1), (48, 64, 3), (20, 20, 5), (96, 96, 0)])
def test_any_size_and_number_of_views(height, width, views):
    sources = camera_at((-0.3, 0, 0), (0, 0, 0), (0.3, 0, 0))
    depth, frames = look(sources)
    small = np.ascontiguousarray(depth[:, 1::2, 1::2])  # a wall at one depth: any sampling of it is right
    target = camera_at((0.1, 0, 0), (0.1, 0, 1))
    target = replace(target, intrinsics=Cameras.from_fov(target.camera_to_world, 70.0, width / height).intrinsics)
    for depths in (depth, small):
        shown = geometry_of(sources, depths, frames).render(target, height, width, views)
        assert shown.pictures.shape == (2, height, width, 3) and shown.view_pictures.shape == (2, views, height, width, 3)
        assert shown.known[:, :, 2:-2].mean() > 0.95
        truth = np.array([4.0, 3.0])[:, None, None]
        assert np.abs(shown.depth / truth - 1)[shown.known].max() < 0.01


def test_smaller_targets_are_shown_smaller_pictures():
    camera = camera_at((0, 0, 0))
    depth, frames = look(camera)
    checks = (np.indices((SIZE, SIZE)).sum(0) % 2 * 255).astype(np.uint8)
    frames = np.repeat(checks[None, ..., None], 3, -1)
    shown = geometry_of(camera, depth, frames).render(camera, SIZE // 4, SIZE // 4)
    assert shown.known.all() and np.abs(shown.pictures.astype(int) - 128).max() < 20  # grey, not black or white


def test_views_show_what_the_others_do_not(clip):
    geometry = geometry_of(clip.context_cameras, clip.context_depth, clip.context_frames)
    shown = geometry.render(clip.target_cameras, 64, 64, views=4)
    apart = shown.view_depth > 0
    assert (apart[:, 0].mean((1, 2)) >= apart[:, 1:].mean((2, 3)).max(1) - 0.3).all()
    assert (apart.any(1).mean() >= 0.9 * shown.known.mean()) and all(len(set(row)) == 4 for row in shown.sources.tolist())
    assert shown.known.mean() > 0.8 and not shown.pictures[~shown.known].any()
    error = np.abs(shown.pictures.astype(int) - clip.target_frames).mean(-1)
    assert np.median(error[shown.known]) < 4 and (shown.confidence[shown.known] > 0).all()
    assert np.median(np.abs(shown.depth / clip.target_depth - 1)[shown.known]) < 0.01


def test_threads_render_the_same(clip):
    geometry = geometry_of(clip.context_cameras, clip.context_depth, clip.context_frames)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: geometry.render(clip.target_cameras, 40, 40).pictures, range(3)))
    one = geometry_of(clip.context_cameras, clip.context_depth, clip.context_frames).render(clip.target_cameras[2], 40, 40)
    assert all(np.array_equal(found[0], pictures) for pictures in found) and np.array_equal(one.pictures[0], found[0][2])


def test_wrong_input_is_named():
    cameras = camera_at((0, 0, 0), (0.2, 0, 0))
    depth, frames = look(cameras)
    with pytest.raises(ValueError, match="`placed` has 3 entries for 2 frames; `reasons` has 1"):
        geometry_of(cameras, depth, frames, placed=np.ones(3, bool), reasons=("",))
    with pytest.raises(ValueError, match=r"`frames` must be uint8 \[N, H, W, 3\], given float32"):
        geometry_of(cameras, depth, frames.astype(np.float32))
    with pytest.raises(ValueError, match="expected at least 1 x 1 pixels"):
        geometry_of(cameras, depth, frames).render(cameras, 0, 8)

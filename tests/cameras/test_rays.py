"""Rays and Plücker maps for every batch shape, and the packing of cameras into latents."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import CameraError, Cameras, camera_rays, plucker_rays, poses_to_latent, project_points


def random_cameras(seed: int, *shape: int) -> Cameras:
    count = int(np.prod(shape))
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    poses[:, :3, 3] = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return Cameras.from_fov(poses.reshape(*shape, 4, 4), 65.0, aspect=1.25)


SHAPES = [(1,), (3,), (3, 3), (1, 3), (3, 1), (2, 3, 5), (3, 3, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("height, width", [(4, 5), (3, 3), (1, 2)])
def test_points_on_rays_project_back_to_pixel_centres(shape, height, width):
    cameras = random_cameras(0, *shape)
    origins, directions = camera_rays(cameras, height, width, dtype=torch.float64)
    assert directions.shape == origins.shape == (*shape, height, width, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(*shape, height, width, dtype=torch.float64))
    single = Cameras(cameras.camera_to_world.reshape(-1, 1, 4, 4), cameras.intrinsics.reshape(-1, 1, 3, 3))
    points = (origins + 1.7 * directions).reshape(-1, height * width, 3)
    pixels, depth = project_points(single, points, height, width)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    expected = torch.from_numpy(np.stack([columns, rows], -1).reshape(-1, 2))
    assert torch.allclose(pixels, expected.expand_as(pixels))
    assert (depth > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_plucker_agrees_with_numpy_whatever_axis_has_size_three(shape):
    cameras = random_cameras(1, *shape)
    plucker = plucker_rays(cameras, 3, 3)
    assert plucker.shape == (*shape, 6, 3, 3)
    assert plucker.dtype == torch.float32
    origins, directions = (rays.numpy() for rays in camera_rays(cameras, 3, 3, dtype=torch.float64))
    expected = np.moveaxis(np.concatenate([np.cross(origins, directions), directions], -1), -1, -3)
    assert np.allclose(plucker.numpy(), expected, atol=1e-5)
    swapped = plucker_rays(cameras, 3, 3, order="direction_moment")
    assert torch.equal(swapped, torch.cat([plucker[..., 3:, :, :], plucker[..., :3, :, :]], dim=-3))


def test_three_frames_alone_or_among_others_get_the_same_rays():
    cameras = random_cameras(2, 3, 7)
    assert torch.equal(plucker_rays(cameras, 4, 4)[:, :3], plucker_rays(cameras[:3], 4, 4))


def test_a_known_ray():
    # 90 degrees wide and one pixel: straight ahead, from 2 m to the right; o x d = (2, 0, 0) x (0, 0, 1).
    pose = torch.eye(4)
    pose[0, 3] = 2.0
    plucker = plucker_rays(Cameras.from_fov(pose[None], 90.0), 1, 1)[0, :, 0, 0]
    assert torch.allclose(plucker, torch.tensor([0.0, -2.0, 0.0, 0.0, 0.0, 1.0]))
    _, directions = camera_rays(Cameras.from_fov(pose[None], 90.0), 2, 2)
    assert torch.allclose(directions[0, 0, 1], torch.tensor([0.5, -0.5, 1.0]) / 1.5**0.5)


def test_rays_are_float32_on_any_device_and_float64_never_leaves_the_cpu():
    # The meta device, like some accelerators, shows where a tensor was made without holding values.
    plucker = plucker_rays(random_cameras(0, 3), 2, 2, device="meta")
    assert plucker.device.type == "meta" and plucker.dtype == torch.float32


def test_bad_requests_are_refused():
    cameras = random_cameras(0, 2)
    with pytest.raises(CameraError, match="moment_direction, direction_moment"):
        plucker_rays(cameras, 2, 2, order="origin_direction")
    with pytest.raises(CameraError, match="at least one pixel"):
        camera_rays(cameras, 0, 2)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("compression", [1, 2, 3, 4])
@pytest.mark.parametrize("latents", [1, 3, 4])
def test_latents_hold_their_cameras_in_order(leading, compression, latents):
    frames = 1 + compression * (latents - 1)
    plucker = torch.randn(*leading, frames, 6, 2, 3, generator=torch.Generator().manual_seed(0))
    packed = poses_to_latent(plucker, compression)
    assert packed.shape == (*leading, latents, 6 * compression, 2, 3)
    for latent in range(latents):
        for slot in range(compression):
            frame = 0 if latent == 0 else compression * (latent - 1) + 1 + slot
            assert torch.equal(packed[..., latent, 6 * slot:6 * slot + 6, :, :], plucker[..., frame, :, :, :])
    if compression == 1:
        assert torch.equal(packed, plucker)


@pytest.mark.parametrize("frames", [2, 4, 8, 16])
def test_frames_that_do_not_fill_latents_are_refused(frames):
    with pytest.raises(CameraError, match=rf"{frames} cameras do not fill latents of 4 frames.*1 \+ 4 k"):
        poses_to_latent(torch.zeros(frames, 6, 2, 2), 4)
    with pytest.raises(CameraError, match="compression of at least 1"):
        poses_to_latent(torch.zeros(5, 6, 2, 2), 0)

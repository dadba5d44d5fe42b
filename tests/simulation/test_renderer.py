"""The renderer: two independent implementations agree, and both agree with plain geometry."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras, camera_rays
from video4spatial.simulation import capture_walk, generate_scene, render


@pytest.fixture(scope="module", params=[7, 1_000_003])
def scene(request):
    return generate_scene(request.param)


@pytest.fixture(scope="module")
def cameras(scene):
    return capture_walk(scene, 5, frame_rate=0.5, aspect=1.25)


@pytest.mark.parametrize("height, width, supersample", [(40, 50, 1), (21, 27, 2), (3, 2, 3)])
def test_numba_equals_torch(scene, cameras, height, width, supersample):
    fast = render(scene, cameras, height, width, supersample, backend="numba")
    plain = render(scene, cameras, height, width, supersample, backend="torch")
    assert fast.rgb.dtype == plain.rgb.dtype == np.uint8
    assert fast.rgb.shape == plain.rgb.shape == (5, height, width, 3)
    assert fast.depth.dtype == np.float32 and fast.instance.dtype == np.int32
    same = fast.instance == plain.instance
    assert same.mean() > 0.995
    assert (np.abs(fast.depth - plain.depth)[same] > 1e-4).mean() < 0.005
    assert (np.abs(fast.rgb.astype(int) - plain.rgb).max(-1) > 2).mean() < 0.005


def local_size(scene, points):
    """How far points [N, 3] lie in the unit frame of every primitive [N, P]: below 1 means inside."""
    offset = points[:, None].astype(np.float64) - scene.center
    cosine, sine = np.cos(scene.yaw), np.sin(scene.yaw)
    turned = [
        cosine * offset[..., 0] + sine * offset[..., 1],
        cosine * offset[..., 1] - sine * offset[..., 0],
        offset[..., 2],
    ]
    x, y, z = (np.abs(t) / h for t, h in zip(turned, scene.half.T))
    box = np.maximum(np.maximum(x, y), z)
    cylinder = np.maximum(np.hypot(x, y), z)
    ball = np.sqrt(x * x + y * y + z * z)
    return np.choose(scene.kind, [box, cylinder, ball])


def test_depth_is_the_first_surface_along_the_ray(scene, cameras):
    rendering = render(scene, cameras, 12, 15)
    origins, directions = camera_rays(cameras, 12, 15)
    # z-depth grows by one per unit of the ray's share along the camera's forward axis
    forward = (directions * cameras.forward[:, None, None]).sum(-1).numpy()
    origins, directions = origins.expand_as(directions).reshape(-1, 3).numpy(), directions.reshape(-1, 3).numpy()
    distance = rendering.depth.reshape(-1) / forward.reshape(-1)
    assert (distance > 0).all(), "a closed room leaves no ray without a hit"
    just_behind = local_size(scene, origins + (distance + 2e-3)[:, None] * directions)
    own = scene.instance[None] == rendering.instance.reshape(-1, 1)
    grazing = np.where(own, just_behind, np.inf).min(1) > 1.0
    assert grazing.mean() < 0.02
    for share in np.linspace(0.02, 0.995, 60):
        before = local_size(scene, origins + (share * distance)[:, None] * directions)
        assert (before > 1.0 - 1e-3).all()


def test_object_boxes_hold_their_pixels(scene, cameras):
    rendering = render(scene, cameras, 60, 75)
    origins, directions = camera_rays(cameras, 60, 75)
    forward = (directions * cameras.forward[:, None, None]).sum(-1)
    points = (origins + directions * (torch.from_numpy(rendering.depth) / forward)[..., None]).numpy()
    checked = 0
    for entry in scene.objects:
        offset = points[rendering.instance == entry.instance_id] - entry.center
        if len(offset) == 0:
            continue
        cosine, sine = np.cos(entry.yaw), np.sin(entry.yaw)
        local = np.stack(
            [cosine * offset[:, 0] + sine * offset[:, 1], cosine * offset[:, 1] - sine * offset[:, 0], offset[:, 2]], -1
        )
        assert (np.abs(local) <= np.array(entry.size) / 2 + 0.09).all(), entry
        checked += 1
    assert checked >= 5


def test_supersampling_is_a_box_filter_and_leaves_geometry_alone(scene, cameras):
    single, double = render(scene, cameras, 24, 30), render(scene, cameras, 24, 30, supersample=2)
    fine = render(scene, cameras, 48, 60).rgb.reshape(5, 24, 2, 30, 2, 3).mean((2, 4))
    np.testing.assert_allclose(double.rgb, fine, atol=1.01)
    np.testing.assert_array_equal(double.depth, single.depth)
    np.testing.assert_array_equal(double.instance, single.instance)


def test_threads_do_not_change_pictures(scene, cameras):
    many = Cameras.concatenate([cameras] * 8)
    count = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = render(scene, many, 90, 96)
        torch.set_num_threads(3)
        shared = render(scene, many, 90, 96)
    finally:
        torch.set_num_threads(count)
    np.testing.assert_array_equal(alone.rgb, shared.rgb)
    np.testing.assert_array_equal(alone.depth, shared.depth)


def test_looking_out_of_the_world_gives_no_surface(scene):
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.0, 0.0, 50.0])  # above the ceiling, looking up (OpenCV forward is world z)
    for backend in ("numba", "torch"):
        rendering = render(scene, Cameras.from_fov(pose[None]), 8, 8, backend=backend)
        assert not rendering.rgb.any() and not rendering.depth.any() and not rendering.instance.any()


def test_bad_requests_name_all_problems(scene, cameras):
    with pytest.raises(ValueError, match="backend is 'opengl'.*must be at least 1"):
        render(scene, cameras, 0, 8, backend="opengl")
    with pytest.raises(ValueError, match="CPU only"):
        render(scene, cameras, 8, 8, backend="numba", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(scene, cameras):
    host, device = render(scene, cameras, 64, 80, 2), render(scene, cameras, 64, 80, 2, device="cuda")
    assert (host.instance == device.instance).mean() > 0.995
    assert (np.abs(host.rgb.astype(int) - device.rgb).max(-1) > 2).mean() < 0.005

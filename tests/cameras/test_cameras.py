"""The algebra of `Cameras`, against scipy, kornia and sums done by hand."""

import kornia
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from video4spatial.cameras import (
    CameraError, Cameras, CropBox, centre_crop_box, intrinsics_from_fov, parse_trajectory, project_points, viewpoint_distance,
)  # fmt: skip
from video4spatial.cameras.rotations import (
    matrices_from_quaternions,
    matrices_from_vectors,
    nearest_rotation,
    quaternions_from_matrices,
    rotation_angle_degrees,
)


def random_cameras(seed: int, *shape: int, fov_degrees: float = 70.0) -> Cameras:
    count = int(np.prod(shape))
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    poses[:, :3, 3] = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return Cameras.from_fov(poses.reshape(*shape, 4, 4), fov_degrees, aspect=1.5)


@pytest.mark.parametrize("seed", range(5))
def test_quaternions_agree_with_scipy_and_kornia(seed):
    rotation = Rotation.random(20, random_state=seed)
    matrices = torch.from_numpy(rotation.as_matrix())
    # Half turns make three of the four formulas singular.
    matrices = torch.cat([matrices, torch.diag_embed(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1]]))])
    ours = quaternions_from_matrices(matrices)
    theirs = kornia.geometry.conversions.rotation_matrix_to_quaternion(matrices)
    assert torch.allclose((ours * theirs).sum(-1).abs(), torch.ones(23, dtype=torch.float64))
    assert torch.allclose(matrices_from_quaternions(ours), matrices)
    vectors = torch.from_numpy(rotation.as_rotvec())
    assert torch.allclose(matrices_from_vectors(vectors), matrices[:20])
    assert torch.equal(matrices_from_vectors(torch.zeros(3, dtype=torch.float64)), torch.eye(3, dtype=torch.float64))


def test_nearest_rotation_is_a_rotation_and_leaves_rotations_alone():
    matrices = torch.from_numpy(Rotation.random(10, random_state=0).as_matrix())
    assert torch.allclose(nearest_rotation(matrices), matrices)
    projected = nearest_rotation(matrices + 0.01 * torch.randn(10, 3, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(projected.mT @ projected, torch.eye(3, dtype=torch.float64).expand(10, 3, 3))
    assert torch.allclose(torch.linalg.det(projected), torch.ones(10, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(1,), (4,), (3, 3), (2, 1, 5)])
def test_relative_and_placed_are_inverse(seed, shape):
    cameras, anchor = random_cameras(seed, *shape), random_cameras(seed + 100, 1)
    relative = cameras.relative_to(anchor)
    assert relative.placed_at(anchor).allclose(cameras)
    assert anchor.relative_to(anchor).allclose(Cameras.from_fov(torch.eye(4)[None], 70.0, 1.5))
    # Compose: seen from b, then from a, is the same as seen from a.
    other = random_cameras(seed + 200, 1)
    assert cameras.relative_to(other).relative_to(anchor.relative_to(other)).allclose(relative)
    assert torch.allclose(relative.rotation_to(relative[0]), cameras.rotation_to(cameras[0]))
    assert torch.allclose(relative.path_length(), cameras.path_length())


def test_relative_to_an_index_makes_that_frame_the_identity():
    cameras = random_cameras(1, 2, 5).relative_to(3)
    assert torch.allclose(cameras[3].camera_to_world, torch.eye(4, dtype=torch.float64).expand(2, 1, 4, 4))
    with pytest.raises(IndexError, match="camera 5 of 5"):
        cameras.relative_to(5)


def test_world_to_camera_is_the_inverse():
    cameras = random_cameras(2, 6)
    assert torch.allclose(cameras.world_to_camera, torch.linalg.inv(cameras.camera_to_world))


def test_directions_of_the_identity_are_opencv():
    camera = Cameras.from_fov(torch.eye(4)[None])
    assert camera.forward.tolist() == [[0, 0, 1]]
    assert camera.up.tolist() == [[0, -1, 0]]
    assert camera.right.tolist() == [[1, 0, 0]]


def test_a_known_point_lands_on_the_known_pixel():
    # 90 degrees wide, 200 x 100 pixels: focal length 100 px. Point 2 m ahead, 1 m right, 0.5 m down.
    camera = Cameras.from_fov(torch.eye(4)[None], 90.0, aspect=2.0)
    pixels, depth = project_points(camera, torch.tensor([[1.0, 0.5, 2.0]]), height=100, width=200)
    assert torch.allclose(pixels[0, 0], torch.tensor([150.0, 75.0], dtype=torch.float64))
    assert depth.tolist() == [[2.0]]
    # The same camera one metre to the right, turned by 90 degrees to the left, sees x = 0 at 1 m.
    pose = torch.tensor([[0.0, 0, -1, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    pixels, depth = project_points(Cameras.from_fov(pose[None], 90.0, 2.0), torch.tensor([[0.0, 0, 0.25]]), 100, 200)
    assert torch.allclose(pixels[0, 0], torch.tensor([125.0, 50.0], dtype=torch.float64))
    assert torch.allclose(depth, torch.ones(1, 1, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_projection_agrees_with_kornia(seed):
    cameras = random_cameras(seed, 4)
    points = torch.from_numpy(np.random.default_rng(seed).normal(size=(7, 3)))
    pixels, depth = project_points(cameras, points, 40, 60)
    intrinsics = torch.eye(4, dtype=torch.float64).repeat(4, 1, 1)
    intrinsics[:, :3, :3] = cameras.pixel_intrinsics(40, 60)
    size = torch.full((4,), 40.0), torch.full((4,), 60.0)
    pinhole = kornia.geometry.camera.PinholeCamera(intrinsics, cameras.world_to_camera, *size)
    theirs = torch.stack([pinhole.project(point.expand(4, 1, 3)) for point in points], dim=1)
    ahead = depth > 0.1
    assert ahead.any()
    assert torch.allclose(pixels[ahead], theirs.reshape(4, 7, 2)[ahead])


@pytest.mark.parametrize("seed", range(3))
def test_interpolation_agrees_with_scipy(seed):
    cameras = random_cameras(seed, 5)
    frames = np.linspace(0, 4, 13)
    ours = cameras.interpolated(13)
    rotations = Slerp(np.arange(5), Rotation.from_matrix(cameras.rotations.numpy()))(frames)
    assert np.allclose(ours.rotations.numpy(), rotations.as_matrix())
    assert np.allclose(ours.positions[:, 1], np.interp(frames, np.arange(5), cameras.positions[:, 1]))
    assert ours[[0, 3, 12]].allclose(cameras[[0, 1, 4]])


def test_interpolation_of_equal_batched_and_single_cameras():
    batch = random_cameras(0, 3, 3)
    assert torch.allclose(batch.interpolated(7).camera_to_world[1],
                          Cameras(batch.camera_to_world[1], batch.intrinsics[1]).interpolated(7).camera_to_world)
    single = random_cameras(0, 1)
    assert single.interpolated(3).allclose(single[[0, 0, 0]])


def test_at_times_follows_uneven_times():
    cameras = random_cameras(0, 3)
    timed = Cameras(cameras.camera_to_world, cameras.intrinsics, times=torch.tensor([0.0, 1.0, 4.0]))
    assert timed.at_times([0.0, 2.5]).allclose(cameras.at([0.0, 1.5]))
    with pytest.raises(CameraError, match="between 0 and 4 s"):
        timed.at_times([5.0])
    with pytest.raises(CameraError, match="needs cameras with times"):
        cameras.at_times([0.0])


def test_indexing_and_concatenation():
    cameras = random_cameras(0, 2, 5).with_frame_rate(2.0)
    assert cameras[1].camera_to_world.shape == (2, 1, 4, 4)
    assert cameras[-1].times.tolist() == [[2.0], [2.0]]
    assert cameras[1:4].times[0].tolist() == [0.5, 1.0, 1.5]
    assert len(list(cameras)) == 5
    assert Cameras.concatenate([cameras[:2], cameras[2:]]).allclose(cameras)
    assert Cameras.concatenate([cameras[:2], cameras[2:]]).times.shape == (2, 5)
    with pytest.raises(IndexError, match="no camera is left"):
        cameras[3:3]
    with pytest.raises(CameraError, match="metric and non-metric"):
        Cameras.concatenate([cameras, cameras.scaled(2.0, metric=False)])


def test_scale_moves_positions_only():
    cameras = random_cameras(3, 4)
    scaled = cameras.scaled(2.5, metric=False)
    assert torch.allclose(scaled.positions, 2.5 * cameras.positions)
    assert torch.equal(scaled.rotations, cameras.rotations)
    assert not scaled.metric
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(CameraError, match="positive"):
            cameras.scaled(factor)


def test_rotation_angle_is_accurate_when_small():
    tiny = matrices_from_vectors(torch.tensor([0.0, np.deg2rad(1e-6), 0.0], dtype=torch.float64))
    assert float(rotation_angle_degrees(torch.eye(3, dtype=torch.float64), tiny)) == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize("height, width, aspect", [(540, 360, 1.0), (256, 384, 1.0), (101, 57, 16 / 9), (1, 1, 3.0)])
def test_cropping_keeps_points_where_they_are(height, width, aspect):
    camera = Cameras.from_fov(torch.eye(4)[None], 75.0, width / height)
    box = centre_crop_box(height, width, 1, aspect)
    cropped = camera.cropped(box, height, width)
    points = torch.tensor([[0.2, -0.1, 1.0], [-0.3, 0.4, 2.0]])
    before, _ = project_points(camera, points, height, width)
    after, _ = project_points(cropped, points, box.height, box.width)
    assert torch.allclose(after + torch.tensor([box.left, box.top]), before)
    assert box.top + box.height <= height and box.left + box.width <= width
    assert box.height == height or box.width == width


def test_crop_boxes():
    for source, size, box in [
        ((540, 360), (1, 1.0), CropBox(90, 0, 360, 360)),
        ((256, 384), (1, 1.5), CropBox(0, 0, 256, 384)),
        ((480, 640), (128, 128), CropBox(top=0, left=80, height=480, width=480)),
        ((640, 480), (128, 128), CropBox(top=80, left=0, height=480, width=480)),
        ((480, 640), (240, 320), CropBox(top=0, left=0, height=480, width=640)),
        ((90, 161), (45, 80), CropBox(top=0, left=0, height=90, width=160)),
        ((1, 1000), (100, 1), CropBox(top=0, left=499, height=1, width=1)),
    ]:
        assert centre_crop_box(*source, *size) == box
    camera = Cameras.from_fov(torch.eye(4)[None])
    with pytest.raises(CameraError, match="does not lie in a picture"):
        camera.cropped(CropBox(0, 0, 20, 10), height=10, width=10)
    with pytest.raises(CameraError, match="must be positive, got source width 0, height nan, width 0.0"):
        centre_crop_box(10, 0, float("nan"), 0.0)


@pytest.mark.parametrize("fov_degrees, aspect", [(60.0, 1.0), (90.0, 16 / 9), (20.0, 0.5)])
def test_field_of_view_round_trip(fov_degrees, aspect):
    camera = Cameras.from_fov(torch.eye(4)[None], fov_degrees, aspect)
    assert float(camera.fov_degrees) == pytest.approx(fov_degrees)
    assert float(camera.aspect) == pytest.approx(aspect)
    with pytest.raises(CameraError, match="field of view 180.*aspect -1"):
        intrinsics_from_fov(180, -1)


def test_everything_is_float64_and_nobody_changes_it_from_outside():
    poses = np.eye(4, dtype=np.float64)[None]
    cameras = Cameras(poses, np.eye(3, dtype=np.float32))
    poses[0, 0, 3] = 5.0
    assert cameras.camera_to_world.dtype == cameras.intrinsics.dtype == torch.float64
    assert float(cameras.positions[0, 0]) == 0.0


def _poses(**changes) -> torch.Tensor:
    poses = torch.eye(4).repeat(3, 1, 1)
    for (row, column), value in changes.get("entries", {}).items():
        poses[1, row, column] = value
    return poses


@pytest.mark.parametrize("entries, message", [
    ({(0, 3): float("nan")}, r"NaN or infinity \(frame 1\)"),
    ({(0, 3): float("inf")}, r"NaN or infinity \(frame 1\)"),
    ({(0, 0): 2.0}, r"not a rotation.*\(frame 1\)"),
    ({(0, 0): -1.0}, r"mirrored.*\(frame 1\)"),
    ({(3, 0): 1.0}, r"last row.*\(frame 1\)"),
])
def test_impossible_poses_are_refused(entries, message):
    with pytest.raises(CameraError, match=message):
        Cameras.from_fov(_poses(entries=entries))


def test_impossible_shapes_and_intrinsics_are_refused():
    with pytest.raises(CameraError, match=r"\[..., T, 4, 4\]"):
        Cameras.from_fov(torch.eye(4))
    with pytest.raises(CameraError, match=r"intrinsics must fit \[3, 3, 3\], given \[2, 3, 3\]; times must fit"):
        Cameras(_poses(), torch.eye(3).repeat(2, 1, 1), times=torch.zeros(4))
    with pytest.raises(CameraError, match="look like pixels"):
        Cameras(_poses(), torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]))
    with pytest.raises(CameraError, match="positive focal"):
        Cameras(_poses(), torch.diag(torch.tensor([-1.0, 1, 1])))
    with pytest.raises(CameraError, match="times hold NaN"):
        Cameras(_poses(), torch.eye(3), times=torch.tensor([0.0, float("nan"), 1]))
    with pytest.raises(CameraError, match="an anchor is one camera, given 3"):
        Cameras.from_fov(_poses()).relative_to(Cameras.from_fov(_poses()))


def test_a_metre_counts_as_much_as_45_degrees_about_any_axis():
    poses = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    poses[1, 0, 3] = 3.0
    poses[2:, :3, :3] = matrices_from_vectors(torch.eye(3, dtype=torch.float64) * torch.pi / 2)  # the last rolls
    cameras = Cameras.from_fov(poses)
    assert viewpoint_distance(cameras[0], cameras).tolist() == [pytest.approx([0.0, 3.0, 2.0, 2.0, 2.0], abs=1e-6)]


def test_it_is_symmetric_and_agrees_with_pairs():
    first, second = random_cameras(0, 4), random_cameras(1, 30)
    distance = viewpoint_distance(first, second)
    assert distance.shape == (4, 30) and distance.dtype == torch.float64
    torch.testing.assert_close(distance, viewpoint_distance(second, first).mT)
    expected = [[float(a.distance_to(b)[0] + a.rotation_to(b)[0] / 45) for b in map(second.__getitem__, range(30))]
                for a in map(first.__getitem__, range(4))]  # fmt: skip
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_batches_are_measured_entry_by_entry_and_broadcast():
    first, second = random_cameras(0, 2, 3, 4), random_cameras(1, 3, 5)
    distance = viewpoint_distance(first, second)
    assert distance.shape == (2, 3, 4, 5)
    for i in range(2):
        for j in range(3):
            alone = viewpoint_distance(Cameras.from_fov(first.camera_to_world[i, j]), Cameras.from_fov(second.camera_to_world[j]))
            torch.testing.assert_close(distance[i, j], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, -1])
def test_cameras_of_turned_pictures_see_the_same(turns):
    intrinsics = torch.tensor([[0.8, 0, 0.55], [0, 1.3, 0.4], [0, 0, 1]], dtype=torch.float64)
    pose = parse_trajectory("forward 1, left 30deg + up 0.2", 3).camera_to_world[-1:]
    cameras = Cameras(pose, intrinsics[None])
    points = torch.tensor([[0.3, -0.2, 3.0], [-0.5, 0.4, 2.5]], dtype=torch.float64)

    def seen(cameras: Cameras) -> torch.Tensor:
        local = (points - cameras.positions[0]) @ cameras.rotations[0]
        return (local @ cameras.intrinsics[0].mT)[:, :2] / local[:, 2:]

    x, y = seen(cameras).unbind(-1)
    expected = {0: (x, y), 1: (y, 1 - x), 2: (1 - x, 1 - y), 3: (1 - y, x)}[turns % 4]
    assert torch.allclose(seen(cameras.quarter_turned(turns)), torch.stack(expected, -1))
    assert cameras.quarter_turned(turns).quarter_turned(-turns).allclose(cameras, 1e-12)

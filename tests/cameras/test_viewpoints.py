"""The distance between viewpoints: metres + degrees / 45."""

import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.cameras.viewpoints import viewpoint_distance


def random_cameras(*shape: int, seed: int) -> Cameras:
    generator = torch.Generator().manual_seed(seed)
    poses = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    poses[..., :3, :3] = matrices_from_vectors(torch.randn(*shape, 3, dtype=torch.float64, generator=generator))
    poses[..., :3, 3] = torch.randn(*shape, 3, dtype=torch.float64, generator=generator)
    return Cameras.from_fov(poses)


def test_a_metre_counts_as_much_as_45_degrees_about_any_axis():
    poses = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    poses[1, 0, 3] = 3.0
    poses[2:, :3, :3] = matrices_from_vectors(torch.eye(3, dtype=torch.float64) * torch.pi / 2)  # the last rolls
    cameras = Cameras.from_fov(poses)
    assert viewpoint_distance(cameras[0], cameras).tolist() == [pytest.approx([0.0, 3.0, 2.0, 2.0, 2.0], abs=1e-6)]


def test_it_is_symmetric_and_agrees_with_pairs():
    first, second = random_cameras(4, seed=0), random_cameras(30, seed=1)
    distance = viewpoint_distance(first, second)
    assert distance.shape == (4, 30) and distance.dtype == torch.float64
    torch.testing.assert_close(distance, viewpoint_distance(second, first).mT)
    expected = [[float(a.distance_to(b)[0] + a.rotation_to(b)[0] / 45) for b in map(second.__getitem__, range(30))]
                for a in map(first.__getitem__, range(4))]  # fmt: skip
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_batches_are_measured_entry_by_entry_and_broadcast():
    first, second = random_cameras(2, 3, 4, seed=0), random_cameras(3, 5, seed=1)
    distance = viewpoint_distance(first, second)
    assert distance.shape == (2, 3, 4, 5)
    for i in range(2):
        for j in range(3):
            alone = viewpoint_distance(Cameras.from_fov(first.camera_to_world[i, j]), Cameras.from_fov(second.camera_to_world[j]))
            torch.testing.assert_close(distance[i, j], alone, atol=1e-12, rtol=0)

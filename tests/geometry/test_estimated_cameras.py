"""What is known of estimated cameras, and a model with a world and unit of its own laid over known cameras."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras, aligned_poses


@pytest.fixture
def walk() -> Cameras:
    poses = torch.eye(4, dtype=torch.float64).repeat(5, 1, 1)
    poses[:, 0, 3] = torch.arange(5) + 1.0
    return Cameras.from_fov(poses)


def test_masks_must_fit(walk):
    with pytest.raises(ValueError, match="frame 0 is the anchor"):
        EstimatedCameras(walk, np.zeros(5, dtype=bool))
    with pytest.raises(ValueError, match="positions without rotations"):
        EstimatedCameras(walk, np.arange(5) < 1, np.arange(5) < 3)
    with pytest.raises(ValueError, match="4 entries of confidence.*2 entries of reasons"):
        EstimatedCameras(walk, confidence=np.zeros(4), reasons=("", ""))


def test_poses_by_frame_leave_the_anchor_where_nothing_is_known(walk):
    poses = dict(enumerate(walk.camera_to_world))
    found = EstimatedCameras.from_poses(
        {0: poses[4], 1: poses[1], 3: poses[3]}, walk.intrinsics, walk[0], metric=True,
        confidence={1: 20.0, 3: 5.0}, without_position={3: "only turns"}, reasons={2: "blank"},
    )  # fmt: skip
    assert found.cameras.positions[:, 0].tolist() == [1, 2, 1, 4, 1]  # frame 0 is never replaced
    assert found.rotation_known.tolist() == [True, True, False, True, False]
    assert found.position_known.tolist() == [True, True, False, False, False]
    assert found.confidence.tolist() == [0, 20, 0, 5, 0] and found.coverage == 0.5
    assert found.reasons == ("", "", "blank", "only turns", "not found")


def test_reasons_are_counted_the_most_frequent_first(walk):
    found = EstimatedCameras(walk, np.arange(5) < 1, reasons=("", "dark", "blank", "blank", "blank"))
    assert found.reason == "blank (3 of 4 frames); dark (1 of 4 frames)"
    assert EstimatedCameras(walk).reason == "" and EstimatedCameras(walk[0]).coverage == 1


def moved(cameras) -> dict[int, torch.Tensor]:
    """The same cameras in another world and unit."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    pose[:3, :3] *= torch.linalg.det(pose[:3, :3])
    pose[:3, 3] = torch.tensor([1.0, -2.0, 0.5])
    return dict(enumerate(cameras.transformed(pose).scaled(0.3).camera_to_world))


@pytest.mark.parametrize("anchor_registered", [True, False])
def test_the_true_cameras_come_back(clip, anchor_registered):
    target, frames = clip.target_cameras, moved(clip.target_cameras)
    if not anchor_registered:
        del frames[0]
    placed, metric = aligned_poses(frames, moved(clip.context_cameras), target[0], clip.context_cameras)
    assert metric and set(placed) == set(frames)
    assert all(torch.allclose(placed[index], target.camera_to_world[index]) for index in frames)


def test_without_known_cameras_the_scale_stays_open(clip):
    target = clip.target_cameras
    placed, metric = aligned_poses(moved(target), {}, target[0], None)
    assert not metric and torch.allclose(placed[0], target.camera_to_world[0])
    true, found = target.positions[-1] - target.positions[0], placed[len(target) - 1][:3, 3] - placed[0][:3, 3]
    torch.testing.assert_close(found, 0.3 * true)


def test_known_cameras_that_disagree_give_no_scale(clip):
    context = moved(clip.context_cameras)
    generator = torch.Generator().manual_seed(0)
    for pose in context.values():
        pose[:3, 3] = torch.randn(3, dtype=torch.float64, generator=generator)
    assert not aligned_poses(moved(clip.target_cameras), context, clip.target_cameras[0], clip.context_cameras)[1]


def test_a_model_without_known_cameras_is_refused(clip):
    frames = moved(clip.target_cameras)
    del frames[0]
    with pytest.raises(GeometryError, match="neither the anchor"):
        aligned_poses(frames, {}, clip.target_cameras[0], clip.context_cameras)

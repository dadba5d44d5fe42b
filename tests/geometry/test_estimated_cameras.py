"""Cameras that were found, and what is said of those that were not."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry.estimated_cameras import EstimatedCameras


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

"""What is prepared for COLMAP and read back; whole reconstructions are tested where they are used."""

import cv2
import numpy as np
import pytest
import torch

from video4spatial.geometry import GeometryError
from video4spatial.geometry.structure_from_motion import (
    SMALL_PICTURES,
    MappingSettings,
    _write,
    cameras_by_mapping,
    map_pictures,
)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (MappingSettings(), (40, 60)),
        (MappingSettings(largest=30), (20, 30)),
        (MappingSettings(largest=90), (40, 60)),
        (SMALL_PICTURES, (171, 256)),
    ],
)  # fmt: skip
def test_pictures_are_written_in_the_size_that_is_asked_for(settings, size, tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0] = 200  # red stays red
    assert _write(picture, tmp_path / "0.png", settings) == size[::-1]
    written = cv2.imread(str(tmp_path / "0.png"))
    assert written.shape[:2] == size and (written[..., 2] == 200).all() and not written[..., :2].any()


def test_what_cannot_be_mapped_says_why(clip):
    cameras, frames = clip.target_cameras, clip.target_frames
    with pytest.raises(GeometryError, match="at least 3 frames"):
        cameras_by_mapping(frames[:2], cameras.intrinsics[:2], cameras[0])
    with pytest.raises(GeometryError, match="no frame has a feature"):
        cameras_by_mapping(np.full_like(frames, 90), cameras.intrinsics, cameras[0])


def test_a_model_keeps_the_lenses_that_are_given_and_finds_the_one_that_is_not():
    pytest.importorskip("pycolmap")
    from video4spatial.clips.simulated import simulated_navigation_clip

    clip = simulated_navigation_clip(2_050_003, height=256, width=256, num_frames=5, walk_frames=24, context_size=16)
    given = map_pictures(clip.context_frames, SMALL_PICTURES, clip.context_cameras.intrinsics)
    assert given.intrinsics is None and len(given.poses) >= 12 and set(given.points_seen) == set(given.poses)
    assert given.points > 50 and given.error_pixels < 2
    found = map_pictures(clip.context_frames, MappingSettings(smallest=256, fov_degrees=70.0))
    assert found.intrinsics.shape == (3, 3) and found.intrinsics.dtype == torch.float64

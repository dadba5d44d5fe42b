"""Cameras made to fit their pictures through depth."""

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors, rotation_angle_degrees
from video4spatial.geometry.alignment import Alignment, AlignmentSettings, align_pictures
from video4spatial.simulation import capture_walk, generate_scene, render


def test_wrong_cameras_are_brought_back():
    scene = generate_scene(3)
    cameras = capture_walk(scene, 8, seed=1)
    rendering = render(scene, cameras, 48, 48, 2)
    generator = torch.Generator().manual_seed(0)
    wrong = cameras.camera_to_world.clone()
    wrong[1:, :3, :3] = wrong[1:, :3, :3] @ matrices_from_vectors(torch.deg2rad(1.5 * torch.randn(7, 3, generator=generator).double()))
    wrong[1:, :3, 3] += 0.08 * torch.randn(7, 3, generator=generator).double()
    pairs = np.array([(index, index + gap) for gap in (1, 2) for index in range(8 - gap)])
    start = Cameras(wrong, cameras.intrinsics)

    def aligned(start: Cameras, *schedule, **settings) -> Alignment:
        return align_pictures(rendering.rgb, start, rendering.depth, pairs, settings=AlignmentSettings(*schedule, **settings))

    found = aligned(start, (24, 48), (6, 6))

    def errors(estimate: Cameras) -> tuple[float, float]:
        turned = rotation_angle_degrees(estimate.rotations, cameras.rotations)[1:]
        moved = torch.linalg.vector_norm(estimate.positions - cameras.positions, dim=-1)[1:]
        return float(turned.median()), float(moved.median())

    before, after = errors(start), errors(found.cameras)
    assert after[0] < 0.5 * before[0] and after[1] < 0.8 * before[1]
    assert torch.equal(found.cameras.camera_to_world[0], cameras.camera_to_world[0])
    # Finer pictures, compared at as many places, say better where they were taken.
    coarse, fine = aligned(found.cameras, (24,), (3,)), aligned(found.cameras, (96,), (3,), points=24)
    assert coarse.log_depth.shape == fine.log_depth.shape == (8, 24, 24)
    assert errors(fine.cameras)[0] < errors(coarse.cameras)[0]

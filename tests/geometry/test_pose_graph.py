"""Motions between pairs of frames joined to poses."""

import numpy as np
import torch

from video4spatial.cameras.rotations import matrices_from_vectors, rotation_angle_degrees
from video4spatial.geometry.pose_graph import MeasuredMotions, chosen_pairs, solve_pose_graph
from video4spatial.simulation import capture_walk, generate_scene


def measured(poses: torch.Tensor, pairs: np.ndarray, degrees: float, metres: float, seed: int = 0) -> MeasuredMotions:
    """True motions of pairs of poses [N, 4, 4] with errors."""
    generator = torch.Generator().manual_seed(seed)
    motion = torch.linalg.inv(poses[pairs[:, 0]]) @ poses[pairs[:, 1]]
    turns = torch.deg2rad(degrees * torch.randn(len(pairs), 3, generator=generator).double() / 3**0.5)
    shifts = metres * torch.randn(len(pairs), 3, generator=generator).double() / 3**0.5
    errors = torch.full((len(pairs),), np.radians(max(degrees, 0.1))).double(), torch.full((len(pairs),), max(metres, 0.01)).double()
    return MeasuredMotions(pairs, motion[:, :3, :3] @ matrices_from_vectors(turns), motion[:, :3, 3] + shifts, *errors)


def walk(count: int = 24) -> torch.Tensor:
    return capture_walk(generate_scene(3), count, seed=1).relative_to(0).camera_to_world


def test_exact_motions_give_exact_poses():
    poses = walk()
    graph = solve_pose_graph(measured(poses, chosen_pairs(24, np.zeros((24, 24))), 0, 0), 24, anchor=0)
    torch.testing.assert_close(graph.poses, poses, atol=1e-6, rtol=1e-6)
    assert graph.members.all() and (graph.agreement > 0.9).all()


def test_errors_are_averaged_and_wrong_pairs_lose_their_weight():
    poses = walk()
    motions = measured(poses, chosen_pairs(24, np.zeros((24, 24))), 1.5, 0.05)
    spoiled = torch.arange(0, len(motions.pairs), 9)
    motions.rotation[spoiled] = motions.rotation[spoiled] @ matrices_from_vectors(torch.tensor([0.0, 1.2, 0.0]).double())
    motions.translation[spoiled] += 1.0
    motions.rotation_error[spoiled] *= 2  # a little less sure than the others, far from as wrong as they are
    graph = solve_pose_graph(motions, 24, anchor=0)
    turned = rotation_angle_degrees(graph.poses[:, :3, :3], poses[:, :3, :3])
    moved = torch.linalg.vector_norm(graph.poses[:, :3, 3] - poses[:, :3, 3], dim=-1)
    assert turned.median() < 2.5 and moved.median() < 0.15


def test_frames_that_nothing_connects_are_no_members():
    poses = walk(6)
    pairs = np.array([[0, 1], [1, 2], [3, 4]])
    graph = solve_pose_graph(measured(poses, pairs, 0, 0), 6, anchor=0)
    assert graph.members.tolist() == [True, True, True, False, False, False]


def test_pairs_are_those_at_the_gaps_and_those_that_look_alike():
    likeness = np.zeros((20, 20))
    likeness[2, 15] = likeness[15, 2] = 0.9
    pairs = {tuple(pair) for pair in chosen_pairs(20, likeness).tolist()}
    assert (2, 15) in pairs and (0, 8) in pairs and (0, 3) not in pairs

"""The network of motions between pairs of pictures, and the estimator around it."""

import numpy as np
import torch

from video4spatial.models.pair_motion import PairMotionNetwork
from video4spatial.models.pair_pose import PairPoseNetwork
from video4spatial.simulation import capture_walk, generate_scene, render

TINY = {"size": 32, "widths": (8, 8, 16), "descriptor_dim": 8, "context_dim": 8, "motion_widths": (8, 16, 16)}


def test_an_untrained_network_has_not_moved_and_says_how_unsure_it_is(tmp_path):
    torch.manual_seed(0)
    network = PairPoseNetwork(**TINY)
    cameras = capture_walk(generate_scene(3), 4, seed=1)
    frames = render(generate_scene(3), cameras, 40, 56).rgb
    network.save_pretrained(tmp_path)
    estimator = PairMotionNetwork.from_pretrained(tmp_path)
    pairs = np.array([[0, 1], [1, 3]])
    motions = estimator(frames, cameras.intrinsics, pairs)
    assert motions.pairs.tolist() == [[0, 1], [1, 3], [1, 0], [3, 1]]
    assert motions.rotation.shape == (4, 3, 3) and torch.isfinite(motions.translation).all()
    identity = torch.eye(3).double().expand(4, 3, 3)
    torch.testing.assert_close(motions.rotation @ motions.rotation.mT, identity, atol=1e-5, rtol=1e-5)
    assert (motions.rotation_error > 0.05).all() and (motions.translation_error > 0.1).all()
    likeness = estimator.likeness(frames, cameras.intrinsics)
    assert likeness.shape == (4, 4) and np.array_equal(likeness, likeness.T) and (likeness.diagonal() == 1).all()

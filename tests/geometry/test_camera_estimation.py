"""Cameras of a video from its frames alone, by either way, and the test that chooses between them."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors, rotation_angle_degrees
from video4spatial.evaluation.grounding_set import load_grounding_set
from video4spatial.geometry import GeometryError
from video4spatial.geometry.camera_estimation import aligned_video, estimate_cameras
from video4spatial.geometry.metric_scale import SHORT, MetricScale, scale_by_depth, scale_by_motions
from video4spatial.geometry.pose_graph import MeasuredMotions
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.models.pair_motion import PairMotionNetwork
from video4spatial.models.pair_pose import PairPoseNetwork
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pretrained import FOLDER
from video4spatial.simulation import capture_walk, generate_scene, render

COUNT = 6


@dataclass
class TrueMotions:
    """True motions with errors of a size that it says, in the place of a network."""

    cameras: Cameras
    degrees: float
    metres: float
    name: str = "true motions with errors"
    licence: str = "none"

    def likeness(self, frames: np.ndarray, intrinsics: torch.Tensor) -> np.ndarray:
        return np.eye(len(frames))

    def __call__(self, frames: np.ndarray, intrinsics: torch.Tensor, pairs: np.ndarray) -> MeasuredMotions:
        generator = torch.Generator().manual_seed(0)
        motion = self.cameras.world_to_camera[pairs[:, 0]] @ self.cameras.camera_to_world[pairs[:, 1]]
        turns = torch.deg2rad(self.degrees * torch.randn(len(pairs), 3, generator=generator).double() / 3**0.5)
        shifts = self.metres * torch.randn(len(pairs), 3, generator=generator).double() / 3**0.5
        errors = torch.full((len(pairs),), np.radians(self.degrees)).double(), torch.full((len(pairs),), self.metres).double()
        return MeasuredMotions(pairs, motion[:, :3, :3] @ matrices_from_vectors(turns), motion[:, :3, 3] + shifts, *errors)


@pytest.fixture(scope="module")
def room() -> tuple[np.ndarray, Cameras]:
    cameras = capture_walk(generate_scene(3), COUNT, seed=1)
    return render(generate_scene(3), cameras, 64, 64, 2).rgb, cameras


@pytest.fixture(scope="module")
def stereo() -> StereoDepth:
    return StereoDepth.from_pretrained(FOLDER / "stereo")


@pytest.fixture(scope="module")
def untrained() -> PairMotionNetwork:
    torch.manual_seed(0)
    return PairMotionNetwork(
        PairPoseNetwork(size=32, widths=(8, 8, 16), descriptor_dim=8, context_dim=8, motion_widths=(8, 16, 16))
    )


def errors(found: Cameras, cameras: Cameras, anchor: int) -> tuple[float, float]:
    """Median errors in degrees and metres, beside the anchor."""
    found, cameras = found.relative_to(anchor), cameras.relative_to(anchor)
    others = [index for index in range(len(cameras)) if index != anchor % len(cameras)]
    turned = rotation_angle_degrees(found.rotations, cameras.rotations)[others]
    moved = torch.linalg.vector_norm(found.positions - cameras.positions, dim=-1)[others]
    return float(turned.median()), float(moved.median())


def test_rough_motions_become_cameras_that_fit_the_pictures(room, stereo):
    frames, cameras = room
    motions = TrueMotions(cameras, 3.0, 0.2)
    rough = estimate_cameras(frames, cameras.intrinsics, "network", motions=motions, anchor=-1)
    assert rough.anchor == COUNT - 1 and rough.position_known.all() and "there is no estimator of depth" in rough.notes[0]
    found = estimate_cameras(frames, cameras.intrinsics[0], "network", motions=motions, depth=stereo, anchor=-1)
    assert found.position_known.all() and found.cameras.metric and found.confidence.min() > 0.3
    assert "lengths in metres from motions between 6 frames and the depth of 6 single pictures" in found.notes[0]
    before, after = errors(rough.cameras, cameras, -1), errors(found.cameras, cameras, -1)
    assert after[0] < min(1.0, 0.5 * before[0]) and after[1] < 0.15
    torch.testing.assert_close(found.cameras.camera_to_world[-1], torch.eye(4).double())


def test_a_camera_that_only_turns_does_not_move(room, stereo):
    _, cameras = room
    turns = torch.zeros(COUNT, 3).double()
    turns[:, 1] = torch.deg2rad(6.0 * torch.arange(COUNT))
    poses = cameras.camera_to_world[:1].repeat(COUNT, 1, 1)
    poses[:, :3, :3] = poses[:, :3, :3] @ matrices_from_vectors(turns)
    turned = Cameras(poses, cameras.intrinsics)
    frames = render(generate_scene(3), turned, 64, 64, 2).rgb
    found = estimate_cameras(frames, cameras.intrinsics, "network", motions=TrueMotions(turned, 2.0, 0.1), depth=stereo)
    assert found.position_known.all() and found.cameras.positions.abs().max() < 0.15
    assert errors(found.cameras, turned, 0)[0] < 3.0
    # Without anything that knows motions of pairs, features may or may not tell.
    alone = estimate_cameras(frames, cameras.intrinsics)
    assert all(known or reason for known, reason in zip(alone.position_known, alone.reasons, strict=True)) and alone.notes
    placed = alone.position_known.nonzero()[0].tolist()
    assert len(placed) == 1 or errors(alone.cameras[placed], turned[placed], 0)[0] < 2.0


def test_what_shows_nothing_has_a_reason(room, stereo, untrained):
    frames, cameras = room
    one = estimate_cameras(frames[:1], cameras.intrinsics[:1], motions=untrained)
    assert one.position_known.all() and "one frame" in one.notes[0]
    blank = np.full_like(frames, 128)
    nothing = estimate_cameras(blank, cameras.intrinsics, motions=untrained, depth=stereo, anchor=2)
    assert nothing.position_known.nonzero()[0].tolist() == [2] and "blank" in nothing.reasons[0]
    partly = frames.copy()
    partly[[0, 4]] = 128
    found = estimate_cameras(partly, cameras.intrinsics, motions=TrueMotions(cameras[[1, 2, 3, 5]], 2.0, 0.05))
    assert found.anchor == 1 and found.position_known.tolist() == [index not in (0, 4) for index in range(COUNT)]
    assert "blank" in found.reasons[0] and "blank" in found.reasons[4]


def test_frames_of_another_place_are_left_out(room, stereo):
    frames, cameras = room
    other = frames.copy()
    other[4] = render(generate_scene(11), capture_walk(generate_scene(11), 2, seed=2), 64, 64, 2).rgb[0]
    motions = TrueMotions(cameras, 2.0, 0.05)

    class Unsure(TrueMotions):
        """Knows nothing of pairs with frame 4."""

        def __call__(self, *given) -> MeasuredMotions:
            told = super().__call__(*given)
            return told[~(told.pairs == 4).any(1)]

    found = estimate_cameras(other, cameras.intrinsics, "network", motions=Unsure(cameras, 2.0, 0.05), depth=stereo)
    assert found.position_known.tolist() == [index != 4 for index in range(COUNT)] and "no pair of pictures" in found.reason
    # Motions that are made up do not make the picture fit.
    found = estimate_cameras(other, cameras.intrinsics, "network", motions=motions, depth=stereo)
    assert found.confidence[4] < 0.6 * found.confidence[found.position_known].max() or not found.position_known[4]


def test_a_frame_after_a_cut_is_found_among_frames_of_other_times(stereo):
    clip = load_grounding_set(limit=1)[0].load(size=128, supersample=1)
    chosen = [*range(7, 14), clip.anchor]  # the way begins elsewhere, a second after the walk
    frames, cameras = clip.context_frames[chosen], clip.context_cameras[chosen]
    last, walk = len(chosen) - 1, np.array([(index, index + 1) for index in range(6)])
    poses = cameras.camera_to_world.clone()
    poses[last, :3, 3] = (poses[last, :3, 3] + poses[3, :3, 3]) / 2  # motions over a long way are read far too short
    wrong = Cameras(poses, cameras.intrinsics, metric=True)
    motions = TrueMotions(cameras, 0.5, 0.01)(frames, cameras.intrinsics, walk)
    shared = np.array([80.0] * last + [4.0])
    found = aligned_video(frames, wrong, stereo, walk, 3, motions, shared)[0].cameras
    start, end = (float(those[last].distance_to(cameras[last])) for those in (wrong, found))
    assert end < 0.15 < 0.3 < start, (start, end)


def test_a_subject_that_moves_does_no_harm(room, stereo):
    frames, cameras = room
    generator = np.random.default_rng(0)
    subject = generator.integers(0, 255, (18, 12, 3), dtype=np.uint8)
    moving = frames.copy()
    for index in range(COUNT):
        moving[index, 30:48, 4 + 6 * index : 16 + 6 * index] = subject[:, : 64 - 4 - 6 * index]
    found = estimate_cameras(moving, cameras.intrinsics, "network", motions=TrueMotions(cameras, 2.0, 0.08), depth=stereo)
    assert all(known or reason for known, reason in zip(found.position_known, found.reasons, strict=True))
    turned, moved = errors(found.cameras, cameras, 0)
    assert found.position_known.mean() > 0.7 and turned < 2.0 and moved < 0.15


def test_the_better_one_is_taken(room):
    pytest.importorskip("pycolmap")
    _, cameras = room
    frames = render(generate_scene(3), cameras, 192, 192).rgb
    wrong = TrueMotions(cameras[[3, 0, 5, 2, 4, 1]], 2.0, 0.05)
    found = estimate_cameras(frames, cameras.intrinsics, motions=wrong)  # without depth, by which pictures would be aligned
    assert found.notes[0].startswith("cameras by structure from motion; matches that bear cameras out")
    assert not found.cameras.metric and errors(found.cameras, cameras, 0)[0] < 1.0


def test_what_is_lacking_is_named(room):
    frames, cameras = room
    for given, message in (
        (("colmap",), "unknown `method` 'colmap'.*expected one of auto, structure_from_motion, network"),
        (("network",), "needs `motions`"),
    ):
        with pytest.raises(ValueError, match=message):
            estimate_cameras(frames, cameras.intrinsics, *given)
    with pytest.raises(ValueError, match="one lens per frame"):
        estimate_cameras(frames, cameras.intrinsics[:3])


def test_a_reconstruction_in_units_of_two_metres_is_seen_through():
    class Wall:
        name, licence = "a wall 3 m away", "none"

        def __call__(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
            depth = np.full((len(references), 8, 8), 3.0, np.float32)
            return DepthMaps(depth, np.ones_like(depth), ("",) * len(references))

    places = np.random.default_rng(0).random((40, 3))
    places[:, 2] = 1.5
    scale = scale_by_depth({0: places, 2: places}, np.zeros((3, 8, 8, 3), np.uint8), torch.eye(3).double().expand(3, 3, 3), Wall())
    assert abs(scale.factor - 2) < 1e-3 and  "metres" in scale.in_words()


def test_lengths_follow_the_motions_that_are_read(room):
    _, cameras = room
    pairs = np.array([(first, second) for first in range(COUNT) for second in range(COUNT) if 0 < abs(first - second) <= 4])
    read = TrueMotions(cameras, 0.1, 0.003)(None, None, pairs)
    halved = cameras.camera_to_world.clone()
    halved[:, :3, 3] /= 2
    half = Cameras(halved, cameras.intrinsics)
    scale = scale_by_motions(half, np.ones(COUNT, bool), read)
    assert 1.95 < scale.factor * np.exp(-SHORT) < 2.05 and scale.error < 0.1
    with pytest.raises(GeometryError, match="0 motions between frames are known, 10 are needed"):
        scale_by_motions(half, np.arange(COUNT) == 0, read)
    surer, unsure = MetricScale(2.0, 0.0, 0.1, "a"), MetricScale(4.0, 0.0, 0.2, "b")
    both = MetricScale.joined([surer, unsure])
    assert 2 < both.factor < 2.4 and both.error < 0.1 and both.in_words() == "lengths in metres from a and b, sure to about 9 %"

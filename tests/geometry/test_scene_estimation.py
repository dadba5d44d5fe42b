"""Depth maps that bear each other out or do not, and scenes of which less is known than could be."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.scene_estimation import agreement, estimate_scene
from video4spatial.geometry.scene_geometry import DepthMaps, SceneGeometry
from video4spatial.simulation import capture_walk, generate_scene, render


class Known:
    """An estimator that gives the depth it was made with."""

    name, licence = "known depth", "none"

    def __init__(self, depth: np.ndarray):
        self.depth = depth

    def __call__(self, frames, cameras, references) -> DepthMaps:
        chosen = self.depth[: len(frames)][references]
        return DepthMaps(chosen.copy(), np.where(chosen > 0, 0.8, 0).astype(np.float32), ("",) * len(references))


class Failing(Known):
    """An estimator for which nothing matches."""

    def __call__(self, frames, cameras, references) -> DepthMaps:
        raise GeometryError("blank walls")


@pytest.fixture(scope="module")
def walk():
    scene = generate_scene(5)
    cameras = capture_walk(scene, 10, seed=2)
    return render(scene, cameras, 40, 48), cameras


def test_true_depth_is_borne_out_and_wrong_depth_is_not(walk):
    rendering, cameras = walk
    factor = agreement(cameras, rendering.depth)
    assert factor.shape == rendering.depth.shape and np.median(factor) == 1.0
    wrong = rendering.depth.copy()
    wrong[4] *= 0.5  # nearer than it is: the others see through it
    factors = agreement(cameras, wrong)
    assert factors[4].mean() < 0.6 * factor[4].mean()
    assert not agreement(cameras, np.zeros_like(wrong)).any()


def test_a_scene_holds_what_is_known_and_why_the_rest_is_not(walk):
    rendering, cameras = walk
    placed = np.ones(10, bool)
    placed[3] = False
    reasons = ["too few matches" if index == 3 else "" for index in range(10)]
    estimator = Known(np.delete(rendering.depth, 3, axis=0))
    geometry = estimate_scene(rendering.rgb, cameras, estimator, [0, 2, 3, 4, 6, 9], placed, reasons, {"cameras": "somewhere"})
    assert geometry.reasons[3] == "too few matches" and not geometry.depth[3].any() and not geometry.placed[3]
    assert geometry.reasons[0] == "" and (geometry.depth[0] > 0).mean() > 0.9 and geometry.confidence[0].max() <= 0.8
    np.testing.assert_allclose(geometry.depth[4][geometry.depth[4] > 0], rendering.depth[4][geometry.depth[4] > 0])
    assert "was not read" in geometry.reasons[1] and not geometry.depth[1].any()
    assert geometry.origin == {"cameras": "somewhere", "scale": "given", "depth": "known depth"}


def test_where_nothing_can_be_read_there_is_a_reason_for_every_frame(walk):
    rendering, cameras = walk
    geometry = estimate_scene(rendering.rgb, cameras, Failing(rendering.depth))
    assert set(geometry.reasons) == {"blank walls"} and not geometry.depth.any() and geometry.placed.all()
    shown = geometry.render(cameras[:2], 20, 24)
    assert not shown.known.any() and not shown.pictures.any()
    nowhere = estimate_scene(rendering.rgb, cameras, Known(rendering.depth), placed=np.zeros(10, bool))
    assert set(nowhere.reasons) == {"its camera is not known"}
    one = estimate_scene(rendering.rgb[:1], cameras[:1], Known(rendering.depth))
    assert one.reasons == ("",) and one.depth.any()


def test_what_does_not_fit_is_refused(walk):
    rendering, cameras = walk
    with pytest.raises(ValueError, match="9 cameras, 10 marks and 10 reasons for 10 frames"):
        estimate_scene(rendering.rgb, cameras[:9], Known(rendering.depth))


def test_geometries_are_selected_and_joined(walk):
    rendering, cameras = walk
    geometry = estimate_scene(rendering.rgb, cameras, Known(rendering.depth))
    first, second = geometry.select(range(6)), geometry.select([6, 7, 8, 9])
    joined = first.joined(second)
    assert len(joined) == 10 and np.array_equal(joined.depth, geometry.depth) and joined.reasons == geometry.reasons
    torch.testing.assert_close(joined.cameras.camera_to_world, cameras.camera_to_world)
    more = first.joined(SceneGeometry.unknown(rendering.rgb[6:], cameras[6:]))
    assert more.placed.all() and not more.depth[6:].any() and more.reasons[6] == "nothing is known of it"
    blind = SceneGeometry.unknown(rendering.rgb, reason="no lens")
    assert not blind.placed.any() and not blind.render(cameras[:1], 8, 8).known.any()
    with pytest.raises(ValueError, match="expected one size"):
        first.joined(SceneGeometry.unknown(rendering.rgb[:, :20]))
    small = Known(rendering.depth[:, ::2, ::2].copy())
    mixed = first.joined(estimate_scene(rendering.rgb[6:], cameras[6:], small))
    assert mixed.depth.shape == (10, 40, 48)
    assert isinstance(mixed.cameras, Cameras)

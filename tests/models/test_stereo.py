"""The stereo network: its projections, its depth, and the estimator around it."""

import numpy as np
import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.models.stereo import PlaneProjections, StereoNetwork
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pretrained import FOLDER
from video4spatial.simulation import capture_walk, generate_scene, render

TINY = {"planes": 8, "match_channels": 4, "channels": 8, "widths": (8, 16, 16, 16)}


@pytest.fixture(scope="module")
def walk():
    scene = generate_scene(3)
    cameras = capture_walk(scene, 8, seed=1)
    return render(scene, cameras, 48, 64), cameras


@pytest.fixture
def network() -> StereoNetwork:
    torch.manual_seed(0)
    return StereoNetwork(**TINY).eval()


def test_projections_take_points_to_the_neighbours_pixels(walk):
    rendering, cameras = walk
    projections = PlaneProjections.between(Cameras.stacked([cameras[:1]]), Cameras.stacked([cameras[1:3]]))
    pixel, depth = torch.tensor([0.3, 0.6, 1.0], dtype=torch.float64), 2.0
    point = torch.linalg.inv(cameras.intrinsics[0]) @ pixel * depth
    world = cameras.camera_to_world[0, :3, :3] @ point + cameras.positions[0]
    for place, other in enumerate((1, 2)):
        seen = cameras.world_to_camera[other, :3, :3] @ world + cameras.world_to_camera[other, :3, 3]
        expected = cameras.intrinsics[other] @ seen
        found = depth * projections.turn[0, place].double() @ pixel + projections.shift[0, place].double()
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_volume_is_highest_at_the_true_depth(walk):
    """With features that are the picture itself, the right plane agrees best: warping and planes fit each other."""
    rendering, cameras = walk
    network = StereoNetwork(**TINY | {"planes": 32, "match_channels": 3})
    pictures = torch.from_numpy(rendering.rgb).movedim(-1, 1).float()
    pictures = torch.nn.functional.avg_pool2d(pictures, 2)
    features = pictures - torch.nn.functional.avg_pool2d(pictures, 9, 1, 4)
    features = torch.nn.functional.normalize(features, dim=1)
    reference, others = 3, [1, 5]
    projections = PlaneProjections.between(Cameras.stacked([cameras[[reference]]]), Cameras.stacked([cameras[others]]))
    volume = network._volume(features[[reference]], features[others][None], projections)[0, :32]
    truth = torch.from_numpy(rendering.depth[reference][::2, ::2]).log()
    right = (network.levels[:, None, None] - truth).abs().argmin(0)

    def agreement(shift: int) -> float:
        return float(volume.gather(0, (right + shift).clamp(0, 31)[None]).mean())

    assert agreement(0) > 1.1 * max(agreement(shift) for shift in (-6, -4, 4, 6))


def test_depth_has_the_size_of_the_pictures_and_needs_multiples(network):
    pictures = torch.rand(2, 3, 32, 48)
    output = network(pictures)
    assert output.log_depth.shape == (2, 32, 48) and output.coarse_log_depth.shape == output.log_error.shape == (2, 16, 24)
    assert (output.log_depth.exp() > 0.2).all() and (output.log_depth.exp() < 15).all()
    with pytest.raises(ValueError, match="20x48: expected multiples of 16"):
        network(torch.rand(1, 3, 20, 48))


def test_pictures_marked_alone_are_read_without_their_neighbours(network, walk):
    rendering, cameras = walk
    views = torch.from_numpy(rendering.rgb).movedim(-1, 1).float() / 127.5 - 1
    projections = PlaneProjections.between(Cameras.stacked([cameras[:1]] * 2), Cameras.stacked([cameras[1:3]] * 2))
    neighbours = views[1:3].expand(2, -1, -1, -1, -1)
    both = network(views[[0, 0]], neighbours, projections, torch.tensor([True, False]))
    alone = network(views[:1])
    torch.testing.assert_close(both.log_depth[:1], alone.log_depth)
    assert not torch.allclose(both.log_depth[1], alone.log_depth[0])


def test_features_at_hand_give_the_same_depth(network, walk):
    rendering, cameras = walk
    views = torch.from_numpy(rendering.rgb).movedim(-1, 1).float() / 127.5 - 1
    projections = PlaneProjections.between(Cameras.stacked([cameras[:1]]), Cameras.stacked([cameras[1:3]]))
    whole = network(views[:1], views[None, 1:3], projections)
    parts = network.from_features(network.features(views), torch.tensor([0]), torch.tensor([[1, 2]]), projections)
    torch.testing.assert_close(whole.log_depth, parts.log_depth)


def test_the_estimator_says_what_it_read_from_one_picture(network, walk):
    rendering, cameras = walk
    still = Cameras.concatenate([cameras, cameras[:1].scaled(1.0)])
    far = still.camera_to_world.clone()
    far[-1, :3, 3] += 500.0  # a frame that nothing else looks at from nearby
    maps = StereoDepth(network)(
        np.concatenate([rendering.rgb, rendering.rgb[:1]]), Cameras(far, still.intrinsics), [0, 3, len(far) - 1]
    )
    assert maps.depth.shape == maps.confidence.shape == (3, 64, 80) and maps.depth.dtype == np.float32
    assert (maps.depth > 0).all() and (maps.confidence > 0).all() and (maps.confidence < 1).all()
    assert maps.reasons[0] == maps.reasons[1] == "" and "this picture alone" in maps.reasons[2]


def test_scenes_of_any_unit_are_read(walk):
    """The shipped network knows rooms in metres; a room in another unit has the same depth in that unit."""
    rendering, cameras = walk
    stereo = StereoDepth.from_pretrained(FOLDER / "stereo")
    metric = stereo(rendering.rgb, cameras, [2, 4])
    truth = rendering.depth[[2, 4]]
    found = np.stack([resized_depth(depth, *truth.shape[1:]) for depth in metric.depth])
    assert np.median(np.abs(np.log(found / truth))) < 0.12
    small = stereo(rendering.rgb, Cameras(cameras.scaled(0.1).camera_to_world, cameras.intrinsics, metric=False), [2, 4])
    assert np.median(np.abs(np.log(10 * small.depth / metric.depth))) < 0.15
    still = Cameras(cameras.camera_to_world[[0] * 8], cameras.intrinsics, metric=False)
    assert stereo.unit(rendering.rgb, still) == 1.0


def resized_depth(depth: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in ((height, depth.shape[0]), (width, depth.shape[1])))
    return depth[rows[:, None], columns]


def test_large_pictures_are_looked_at_small(network):
    stereo = StereoDepth(network, working_pixels=64 * 64)
    assert StereoDepth(network).working_size(48, 64) == (64, 80)  # 64 pixels are the least
    height, width = stereo.working_size(360, 540)
    assert height % 16 == width % 16 == 0 and 0.7 < height * width / 64**2 < 1.3
    assert StereoDepth(network, working_pixels=128 * 128).working_size(64, 64) == (64, 64)
    maps = stereo.alone(np.zeros((1, 96, 160, 3), np.uint8))
    assert maps.depth.shape == (1, *stereo.working_size(96, 160))


def test_a_saved_network_is_read_again(network, tmp_path):
    network.half().save_pretrained(tmp_path)
    again = StereoDepth.from_pretrained(tmp_path)
    assert again.network.dtype == torch.float32 and again.network.config.planes == 8
    assert torch.equal(again.network.levels, StereoNetwork(**TINY).levels)

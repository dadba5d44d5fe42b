"""Training of the stereo network: what its batches hold, and that it learns."""

import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.training.stereo import StereoData, StereoModule, _mirrored, stereo_losses

NETWORK = {"planes": 8, "match_channels": 4, "channels": 8, "widths": (8, 16, 16, 16)}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> StereoData:
    data = StereoData(
        str(tmp_path_factory.mktemp("stereo") / "bank.safetensors"), scenes=1, size=48, sizes=((32, 32), (32, 48)), shares=(0.5, 0.5), batch_size=4
    )
    data.setup("fit")
    return data


def test_batches_are_functions_of_the_step(data):
    one, again, other = data.draw(3), data.draw(3), data.draw(4)
    assert torch.equal(one.pictures, again.pictures) and torch.equal(one.depth, again.depth)
    assert torch.equal(one.projections.shift, again.projections.shift)
    assert one.pictures.shape != other.pictures.shape or not torch.equal(one.pictures, other.pictures)


def test_depth_and_projections_fit_the_pictures(data):
    """A pixel's point, taken to a neighbour by its depth, has about the colour that it has in the reference."""
    errors, shuffled = [], []
    for step in range(6):
        batch = data.draw(step)
        height, width = batch.depth.shape[1:]
        rows, columns = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        pixels = torch.stack([columns, rows, torch.ones_like(rows)]).flatten(1)
        ahead = batch.projections.turn @ pixels
        for depth, kept in ((batch.depth, errors), (batch.depth * 1.7, shuffled)):
            points = depth.flatten(1)[:, None, None] * ahead + batch.projections.shift[..., None]
            grid = (points[:, :, :2] / points[:, :, 2:].clamp(min=1e-3) * 2 - 1).unflatten(-1, (height, width))
            warped = torch.nn.functional.grid_sample(
                batch.neighbours.flatten(0, 1), grid.flatten(0, 1).permute(0, 2, 3, 1), align_corners=False
            ).unflatten(0, batch.neighbours.shape[:2])
            inside = (grid.abs() < 1).all(2) & (points[:, :, 2] > 0).unflatten(-1, (height, width))
            kept.append((warped - batch.pictures[:, None]).abs().mean(2)[inside].median())
    assert torch.stack(errors).mean() < 0.75 * torch.stack(shuffled).mean()


def test_mirrored_cameras_see_mirrored_pictures():
    pose = torch.eye(4, dtype=torch.float64)[None].clone()
    pose[0, :3, 3] = torch.tensor([0.3, 0.1, -0.2])
    cameras = Cameras(pose, torch.tensor([[0.8, 0, 0.45], [0, 0.9, 0.5], [0, 0, 1]], dtype=torch.float64))
    flipped, point = _mirrored(cameras), torch.tensor([0.4, -0.2, 3.0, 1.0], dtype=torch.float64)

    def seen(camera, place):
        projected = camera.intrinsics[0] @ (camera.world_to_camera[0] @ place)[:3]
        return projected[:2] / projected[2]

    mirror = torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64)
    one, other = seen(cameras, point), seen(flipped, point * mirror)
    torch.testing.assert_close(other, torch.stack([1 - one[0], one[1]]))


def test_losses_ignore_pixels_of_unknown_depth(data):
    module, batch = StereoModule(NETWORK), data.draw(0)
    output = module.network(batch.pictures, batch.neighbours, batch.projections, batch.alone)
    depth = batch.depth.clone()
    depth[:, :8] = 0
    known = stereo_losses(output, depth, batch.alone, 0.5, 0.1)
    changed = output._replace(log_depth=output.log_depth.clone())
    changed.log_depth[:, :7] += 5.0
    again = stereo_losses(changed, depth, batch.alone, 0.5, 0.1)
    torch.testing.assert_close(known["edges"], again["edges"])
    torch.testing.assert_close(known["loss"], again["loss"])


def test_it_learns_a_batch(data):
    torch.manual_seed(0)
    module, batch = StereoModule(NETWORK), data.draw(1)
    optimiser = torch.optim.AdamW(module.parameters(), lr=3e-3)
    first = None
    for _ in range(40):
        loss = module.losses(batch)["loss"]
        first = float(loss) if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss) < 0.7 * first


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(40, 40\).*multiples of 16"):
        StereoData("bank", sizes=((40, 40),), shares=(1.0,))
    with pytest.raises(ValueError, match="as many shares as sizes"):
        StereoData("bank", sizes=((48, 48),), shares=(0.5, 0.5))

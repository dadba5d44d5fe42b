"""Inspection judges directions and axes of made-up walks, and the drawings are written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import Cameras, parse_trajectory, write_cameras
from video4spatial.cameras.formats import WRITABLE
from video4spatial.cameras.inspection import inspect_cameras
from video4spatial.cameras.plotting import draw_frustums, level_basis, plot_trajectories

FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1], dtype=torch.float64))


def walk() -> Cameras:
    """A walk round a corner in a world with z up, away from its origin."""
    pose = torch.tensor([[1.0, 0, 0, 4], [0, 0, 1, 3], [0, -1, 0, 1.5], [0, 0, 0, 1]], dtype=torch.float64)
    start = Cameras.from_fov(pose[None])
    return parse_trajectory("forward 2, forward 1 + left 100deg, forward 1.5 + tilt down 15", 33, start=start)


@pytest.mark.parametrize("name", WRITABLE)
def test_a_walk_is_what_its_format_says(tmp_path, name):
    write_cameras(tmp_path / "a", walk(), name)
    report = inspect_cameras(tmp_path / "a")
    assert report.consistent and report.format == name
    assert report.readings[0].name == "as read"
    assert report.verdict.count("as the format says") == 2
    text = str(report)
    assert "+y of the world" in text and "+z of the world" in text and "frames        33" in text


@pytest.mark.parametrize("wrong, expected", [
    ("axes", "direction of the matrices: as the format says; axes of the camera: rather the other"),
    ("direction", "direction of the matrices: rather inverted"),
    ("both", "direction of the matrices: rather inverted"),
])
def test_a_wrong_convention_is_noticed(tmp_path, wrong, expected):
    cameras = walk()
    if wrong in ("axes", "both"):
        cameras = replace(cameras, camera_to_world=cameras.camera_to_world @ FLIP)
    if wrong in ("direction", "both"):
        cameras = replace(cameras, camera_to_world=cameras.world_to_camera)
    write_cameras(tmp_path / "a.json", cameras)
    report = inspect_cameras(tmp_path / "a.json")
    assert not report.consistent
    assert expected in report.verdict
    assert report.readings[0].score > report.readings[1].score


@pytest.mark.parametrize("expression", ["left 1m", "turn left 40", "forward 1 + left 60deg"])
def test_what_cannot_be_told_is_said(tmp_path, expression):
    write_cameras(tmp_path / "a.json", parse_trajectory(expression, 9))
    report = inspect_cameras(tmp_path / "a.json")
    assert report.consistent and report.verdict.count("undecided") == 2


def test_one_camera_can_be_inspected_and_drawn(tmp_path):
    write_cameras(tmp_path / "a.json", walk()[0])
    report = inspect_cameras(tmp_path / "a.json")
    assert "undecided" in str(report)
    report.draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_drawings_are_written(tmp_path):
    draw_frustums(walk(), tmp_path / "frustums.png", title="walk")
    figure = plot_trajectories({"asked": walk(), "followed": walk()[::2]}, tmp_path / "paths.png")
    assert (tmp_path / "frustums.png").stat().st_size > 10_000 and (tmp_path / "paths.png").stat().st_size > 5_000
    line = figure.axes[0].lines[0].get_xydata()
    # The page is level with the first camera: 2 m up the page, then round to the left.
    assert np.allclose(line[0], 0) and line[-1, 0] < -1 and line[-1, 1] > 2
    with pytest.raises(ValueError, match="no camera paths"):
        plot_trajectories({})
    with pytest.raises(ValueError, match="one path is drawn at a time"):
        draw_frustums(Cameras.from_fov(torch.eye(4).repeat(2, 3, 1, 1)))


@pytest.mark.parametrize("expression", ["tilt down 90", "tilt up 90", "roll left 180", "orbit left 360deg"])
def test_the_level_basis_is_a_rotation_for_any_camera(expression):
    _, basis = level_basis(parse_trajectory(expression, 9)[-1])
    assert torch.allclose(basis @ basis.T, torch.eye(3, dtype=torch.float64), atol=1e-9)
    assert float(torch.linalg.det(basis)) == pytest.approx(1)


@pytest.mark.parametrize("count", [4, 40])
def test_photographs_in_no_order_are_not_called_inverted(tmp_path, count):
    """A good model of a facade, its photographs taken from here and there: the way from one to the next says nothing."""
    generator = np.random.default_rng(count)
    pose = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    for seed in range(6):
        pose[:, :3, 3] = torch.from_numpy(generator.uniform([-6, -1, -2], [6, 1, 2], (count, 3)))
        turns = np.stack([generator.uniform(-15, 15, count), generator.uniform(-35, 35, count), generator.uniform(-5, 5, count)], axis=1)
        pose[:, :3, :3] = torch.from_numpy(Rotation.from_euler("xyz", turns, degrees=True).as_matrix())
        write_cameras(tmp_path / f"model{seed}", Cameras.from_fov(pose), "colmap")
        assert "inverted" not in inspect_cameras(tmp_path / f"model{seed}").verdict

"""`v4s cameras`: what it says, in the words of the command line."""

import json

import numpy as np
import pytest

from video4spatial.cameras import parse_trajectory, read_camera_file, read_cameras, write_cameras
from video4spatial.cli.errors import exit_code
from video4spatial.cli.main import run


@pytest.fixture
def walk():
    return parse_trajectory("forward 1, forward 1 + left 60deg", 13, fov_degrees=70, aspect=1.5)


def said_by(capsys, *arguments, code=0):
    assert exit_code(run, ["cameras", *map(str, arguments)]) == code
    said = capsys.readouterr()
    return said.out + said.err


def test_convert_takes_the_times_that_a_format_needs(tmp_path, walk, capsys):
    write_cameras(tmp_path / "model", walk, "colmap", image_size=(64, 96))
    refused = said_by(capsys, "convert", tmp_path / "model", tmp_path / "a.tum", code=2)
    assert "TUM needs a time per frame: give them a --frame-rate" not in refused and "--fps" in refused
    assert not (tmp_path / "a.tum").exists()
    said_by(capsys, "convert", tmp_path / "model", tmp_path / "a.tum", "--fps", 8)
    assert read_cameras(tmp_path / "a.tum").times.tolist() == pytest.approx(np.arange(13) / 8)
    assert "has times of its own" in said_by(capsys, "convert", tmp_path / "a.tum", tmp_path / "b.tum", "--fps", 8, code=2)


def test_convert_keeps_the_names_of_pictures_and_says_what_is_left_out(tmp_path, walk, capsys):
    names = [f"photo {index}.jpg" for index in range(13)]
    write_cameras(tmp_path / "model", walk, "colmap", image_size=(64, 96), image_names=names)
    (tmp_path / "model" / "cameras.txt").write_text("1 SIMPLE_RADIAL 96 64 70 48 32 -0.1\n")
    said = said_by(capsys, "convert", tmp_path / "model", tmp_path / "t.json")
    assert "note: " in said and "(OPENCV" not in said and "SIMPLE_RADIAL" in said
    assert read_camera_file(tmp_path / "t.json").image_names == tuple(names)


def test_a_field_of_view_is_asked_for_by_its_flag(tmp_path, walk, capsys):
    for name in ("a.json", "b.json"):
        write_cameras(tmp_path / name, walk, "recammaster")
    for action in (["inspect", tmp_path / "a.json"], ["convert", tmp_path / "b.json", tmp_path / "b.npz"]):
        said = said_by(capsys, *action)
        assert "--fov gives the true, horizontal one" in said and "fov_degrees" not in said
    said = said_by(capsys, "inspect", tmp_path / "a.json", "--fov", 70)
    assert "field of view 70 degrees" in said and "note:" not in said


def test_inspect_says_which_pictures_and_which_lens(tmp_path, walk, capsys):
    write_cameras(tmp_path / "t.json", walk, image_size=(64, 96), image_names=[f"{index}.jpg" for index in range(13)])
    content = json.loads((tmp_path / "t.json").read_text()) | {"is_fisheye": True}
    (tmp_path / "t.json").write_text(json.dumps(content))
    said = said_by(capsys, "inspect", tmp_path / "t.json")
    assert "pictures      0.jpg to 12.jpg" in said and "lens          OPENCV_FISHEYE" in said


def test_what_is_no_camera_file_is_told_in_one_readable_line(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("hello\n")
    said = said_by(capsys, "inspect", tmp_path / "a.txt", code=2)
    assert len(said.replace(str(tmp_path), "")) < 320 and "docs/formats.md" in said

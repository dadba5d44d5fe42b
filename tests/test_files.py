"""Writing aside and renaming."""

import os

import pytest

from video4spatial.files import LEFTOVER, remove_leftovers, write_whole, written_aside
from video4spatial.naming import did_you_mean, unknown


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "made" / "a.json"
    write_whole(path, "old")
    with written_aside(path) as aside:
        assert aside.suffix == ".json" and aside.parent == path.parent
        aside.write_text("half")
        assert path.read_text() == "old"
    assert path.read_text() == "half" and os.listdir(path.parent) == ["a.json"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_leaves_the_old_one_and_nothing_else(tmp_path, kind):
    path = tmp_path / "x"
    path.mkdir() if kind == "folder" else path.write_text("old")
    before = path.stat()
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        if kind == "folder":
            aside.mkdir()
            (aside / "part").write_text("half")
        else:
            aside.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["x"] and path.stat().st_ino == before.st_ino


def test_a_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "folder"
    for text in ("one", "two"):
        with written_aside(path) as aside:
            aside.mkdir()
            (aside / text).write_text(text)
    assert os.listdir(path) == ["two"] and os.listdir(tmp_path) == ["folder"]


def test_nothing_written_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), written_aside(tmp_path / "x"):
        pass


def test_leftovers_of_killed_writers_go(tmp_path):
    (tmp_path / f"{LEFTOVER}1-a.txt").write_text("half")
    (tmp_path / f"{LEFTOVER}1-b").mkdir()
    (tmp_path / "c.txt").write_text("whole")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["c.txt"]


def test_the_closest_name_is_offered():
    assert unknown("metric", "psrn", ["psnr", "ssim"]) == "unknown metric 'psrn' (did you mean 'psnr'?)"
    assert did_you_mean("something else", ["psnr"]) == ""

import pytest

from video4spatial.cli.errors import UserError
from video4spatial.cli.output_folder import MARK, check_file, output_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_at_the_end(tmp_path):
    with output_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert names(tmp_path / "a") == ["b"] and names(tmp_path / "a" / "b") == ["file"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x")
        1 / 0
    assert names(tmp_path) == []


def test_a_failure_keeps_the_earlier_result(tmp_path):
    earlier = tmp_path / "out"
    earlier.mkdir()
    (earlier / MARK).write_text("{}")
    with pytest.raises(ZeroDivisionError), output_folder(earlier, overwrite=True):
        1 / 0
    assert names(tmp_path) == ["out"] and names(earlier) == [MARK]


def test_an_earlier_result_is_replaced_only_when_told(tmp_path):
    earlier = tmp_path / "out"
    earlier.mkdir()
    (earlier / MARK).write_text("{}")
    with pytest.raises(UserError, match="add --overwrite"), output_folder(earlier):
        pass
    with output_folder(earlier, overwrite=True) as folder:
        (folder / "new").write_text("x")
    assert names(tmp_path) == ["out"] and names(earlier) == ["new"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(UserError, match="leaves it alone"), output_folder(tmp_path / "photos", overwrite=True):
        pass
    assert names(tmp_path / "photos") == ["cat.jpg"]


def test_an_empty_folder_may_be_used(tmp_path):
    (tmp_path / "out").mkdir()
    with output_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("x")
    assert names(tmp_path / "out") == ["file"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write to .*file/out"), output_folder(tmp_path / "file" / "out"):
        pass
    with pytest.raises(UserError, match="is a file"), output_folder(tmp_path / "file"):
        pass


def test_files_are_checked_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    check_file(None, "--json")
    check_file(tmp_path / "new" / "deep.json", "--json")
    with pytest.raises(ValueError, match="--json .* is a folder"):
        check_file(tmp_path, "--json")
    with pytest.raises(ValueError, match="cannot write in"):
        check_file(tmp_path / "file" / "x.json", "--json")

import unicodedata

import pytest

from video4spatial.media.picture_names import cameras_of_pictures, find_file


@pytest.mark.parametrize("names, pictures, expected", [
    (["b.png", "a.png"], ["x/a.png", "x/b.png"], [1, 0]),
    (["images\\A_1.JPG", "images\\A_2.JPG"], ["in/a_2.jpg", "in/a_1.jpg"], [1, 0]),
    ([unicodedata.normalize("NFD", "Küche 1.png")], [unicodedata.normalize("NFC", "Küche 1.png")], [0]),
    (["./train/r_0", "./train/r_10"], ["train/r_10.png", "train/r_0.png"], [1, 0]),
    (["left/1.png", "right/1.png"], ["a/right/1.png", "a/left/1.png"], [1, 0]),
    (["a.png", "b.png", "c.png"], ["c.png"], [2]),
    (["a.png"], ["a.png", "b.png"], [0, None]),
    (["a.jpg"], ["a.png", "a.jpg"], [None, 0]),
    (["frame-000003"], ["frame-000003.color.png"], [0]),
    (["A.png", "a.png"], ["a.png", "A.png"], [1, 0]),
    (["frame_1.png"], ["frame_10.png", "frame_01.png"], [None, None]),
])  # fmt: skip
def test_names_in_any_spelling(names, pictures, expected):
    assert cameras_of_pictures(names, pictures) == expected


def test_names_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match=r"several cameras fit 1 pictures equally well: x/1.png \(right/1.png or left/1.png\)"):
        cameras_of_pictures(["left/1.png", "right/1.png"], ["x/1.png"])


def test_files_under_names_of_other_systems(tmp_path):
    (tmp_path / "Images").mkdir()
    for name in ("Frame_1.JPG", unicodedata.normalize("NFD", "é.png"), "same.png", "SAME.png"):
        (tmp_path / "Images" / name).write_bytes(b"")
    assert find_file(tmp_path, "images\\frame_1.jpg") == tmp_path / "Images" / "Frame_1.JPG"
    assert find_file(tmp_path, "./images/" + unicodedata.normalize("NFC", "é.png")) is not None
    assert find_file(tmp_path, "Images/same.png") == tmp_path / "Images" / "same.png"
    assert find_file(tmp_path, "images/Same.png") is None  # two are meant
    assert find_file(tmp_path, "images/none.png") is None and find_file(tmp_path, "none/a.png") is None
    (tmp_path / "Images" / "none.png").write_bytes(b"")
    assert find_file(tmp_path, "images/NONE.png") == tmp_path / "Images" / "none.png"

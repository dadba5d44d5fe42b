"""JSON that people bring."""

import pytest

from video4spatial.parsing import read_object

MISTAKES = {"{": "not valid JSON", "[1]": "expected a JSON object, found a list", '"a"': "found 'a'", "\xff": "not valid JSON"}


@pytest.mark.parametrize("text", MISTAKES)
def test_files_without_an_object_are_refused(text, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=MISTAKES[text].replace("[", r"\[")):
        read_object(path)
    path.write_text('{"a": 1}')
    assert read_object(path) == {"a": 1}

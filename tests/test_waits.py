"""What is told of waits without a terminal."""

import re

import pytest

from video4spatial import waits


def test_short_waits_are_told_once(capsys):
    assert list(waits.track([1, 2, 3], "counting")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "counting (3) ...\n")


def test_long_waits_tell_how_long_they_will_take(capsys, monkeypatch):
    monkeypatch.setattr(waits, "SOON", 0.0)
    with waits.counted("counting", 4) as wait:
        for step in range(4):
            wait.describe(f"now {step}")
            wait.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3  # the next one is due half a minute later
    assert re.fullmatch(r"counting: 1 of 4, now 0, about 1 s left", lines[1]) and lines[2] == "counting: done in 1 s"


def test_nothing_is_told_where_it_is_not_asked_for(capsys):
    with waits.counted("counting", 4, shown=False) as wait:
        wait.advance()
    assert capsys.readouterr() == ("", "")


def test_an_unknown_end_is_not_made_up(capsys, monkeypatch):
    monkeypatch.setattr(waits, "SOON", 0.0)
    with waits.counted("training", None) as wait:
        wait.advance()
    assert capsys.readouterr().err.splitlines()[1] == "training: 1, after 1 s"


@pytest.mark.parametrize(
    "given, told", [(0.2, "1 s"), (40, "40 s"), (180, "3 min"), (9000, "2.5 h")]
)
def test_times_in_words(given, told):
    assert waits.in_words(given) == told


@pytest.mark.parametrize("given, told", [(400_000, "0.4 MB"), (40e6, "40 MB"), (2.5e9, "2.5 GB")])
def test_sizes_in_words(given, told):
    assert waits.size_in_words(given) == told

"""A few damaged inputs of every kind; benchmarks/robustness.py reads thousands of them, in processes of their own."""

import pytest

from benchmarks.trials.kinds import KINDS
from benchmarks.trials.reading import UNWANTED, run_cases


@pytest.mark.parametrize("name", KINDS)
def test_damaged_inputs_are_read_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []

    def report(outcome: str, words: str, drawn) -> None:
        if outcome in UNWANTED:
            found.append((outcome, words, drawn))

    run_cases(name, 12, 100, tmp_path, report)
    assert not found

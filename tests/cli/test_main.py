import subprocess
import sys
from importlib import import_module

import pytest

from video4spatial.cli.errors import UserError
from video4spatial.cli.main import VERBS, run


def test_every_verb_has_a_module():
    for verb in VERBS:
        assert callable(import_module(f"video4spatial.cli.{verb}").main)


def test_help_lists_every_verb(capsys):
    run([])
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


def test_help_and_mistakes_answer_without_torch():
    """They must be instant, so what takes seconds to import stays out."""
    program = """
import sys
from video4spatial.cli.errors import exit_code
from video4spatial.cli.main import run
for arguments in (["sample", "--help"], ["train", "--help"], ["cameras", "--help"], ["benchmark", "--help"]):
    assert exit_code(run, arguments) == 0
for arguments in (["sample", "navigate", "--help"], ["sample", "demo", "--help"], ["score", "--help"],
                  ["cameras", "inspect", "--help"], ["benchmark", "navigation", "--help"], ["plan", "--help"]):
    try:
        run(arguments)
    except SystemExit as end:
        assert end.code == 0
for arguments in (["sampel"], ["sample", "navigat"], ["sample", "navigate", "--contxt", "x"], ["train", "fti"],
                  ["train", "fit", "--config", "nowhere.yaml"], ["cameras", "inspekt"], ["benchmark", "navigatoin"],
                  ["sample", "demo", "--model", "nowhere"], ["score"], ["plan", "--model", "nowhere"]):
    assert exit_code(run, arguments) == 2, arguments
assert not {"torch", "diffusers", "lightning"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 10 and all(line.startswith("error: ") for line in lines)
    assert "unknown verb 'sampel' (did you mean 'sample'?)" in lines[0]


def test_an_unknown_verb_is_named():
    with pytest.raises(UserError, match="unknown verb 'scroe' .did you mean 'score'"):
        run(["scroe"])

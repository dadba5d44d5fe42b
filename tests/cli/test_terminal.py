"""What the commands say while they work."""

from video4spatial import waits
from video4spatial.cli.terminal import stage


def test_a_stage_tells_its_steps_and_how_long_it_took(capsys, monkeypatch):
    with stage("reading") as tell:
        tell("step 1 of 2")
    assert capsys.readouterr().out.splitlines() == ["reading ...", "reading: step 1 of 2 ..."]
    monkeypatch.setattr(waits, "SOON", 0.0)
    with stage("reading"):
        pass
    assert capsys.readouterr().out.splitlines() == ["reading ...", "reading: done in 1 s"]


def test_a_long_step_says_how_much_is_left(capsys, monkeypatch):
    clock = iter([0.0, 0.0, 1.0, 10.0, 20.0, 45.0, 100.0])
    monkeypatch.setattr("video4spatial.cli.terminal.time.monotonic", lambda: next(clock))
    with stage("reading") as tell:
        tell("cameras")  # at 0 s
        tell("cameras", 0.0)  # what came before does not count: from 1 s on
        tell("cameras", 0.25)
        tell("cameras", 0.5)  # only ten seconds later
        tell("cameras", 0.75)
    assert capsys.readouterr().out.splitlines() == [
        "reading ...",
        "reading: cameras ...",
        "reading: cameras, about 27 s left ...",
        "reading: cameras, about 15 s left ...",
        "reading: done in 2 min",
    ]

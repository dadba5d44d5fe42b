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

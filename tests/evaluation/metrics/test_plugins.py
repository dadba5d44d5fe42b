"""Learned metrics: declared, never downloaded, missing with the reason."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.evaluation.measurement import Sample
from video4spatial.evaluation.metrics.plugins import MET3R, PLUGINS, run_command
from video4spatial.evaluation.metrics import METRICS, SET_METRICS

COMMAND = """
import json, sys
from pathlib import Path
from PIL import Image
folder = Path(sys.argv[1]) / "000"
count = len(list((folder / "generated").glob("*.png")))
assert Image.open(folder / "reference" / "000.png").mode == "RGB" and (folder / "cameras.json").is_file()
print("working ...")
print(json.dumps({"value": count / 10}))
"""


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for plugin in PLUGINS.values():
        if plugin.command:
            monkeypatch.delenv(plugin.command, raising=False)


def test_without_weights_every_plugin_is_missing_and_says_why(clip, tmp_path):
    sample = Sample(clip, clip.target_frames)
    for name, plugin in PLUGINS.items():
        measurement = METRICS[name](sample) if name in METRICS else SET_METRICS[name]([sample])
        assert measurement.status == "missing", name
        assert plugin.model and plugin.revision and plugin.url.startswith("https://")
        assert plugin.licence in measurement.reason and plugin.revision in measurement.reason, name
    assert not (tmp_path / "torch").exists()  # nothing was downloaded


def test_weights_other_than_declared_are_refused():
    plugin = next(p for p in PLUGINS.values() if p.file)
    path = plugin.path
    assert str(path).startswith(torch.hub.get_dir())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    only_weights = replace(plugin, libraries=())
    assert "SHA-256" in only_weights.lacking()


def test_a_command_of_the_user(clip, tmp_path, monkeypatch):
    sample = Sample(clip, clip.target_frames)
    script = tmp_path / "met3r.py"
    monkeypatch.setenv(MET3R.command, f"{sys.executable} {script}")
    script.write_text(COMMAND)
    assert METRICS["met3r"](sample).value == 0.5
    for broken, words in [("raise SystemExit('no weights here')", "no weights here"), ("print('nan')", "value"), ("", "value"),
                          ("print('{\"value\": NaN}')", "value")]:  # fmt: skip
        script.write_text(broken)
        measurement = run_command(MET3R, [sample])
        assert measurement.status == "failed" and words in measurement.reason
    monkeypatch.setenv(MET3R.command, str(tmp_path / "nothing"))
    assert run_command(MET3R, [sample]).status == "failed"


def test_metrics_of_sets_need_what_they_declare(clip):
    sample = Sample(clip, np.ascontiguousarray(clip.target_frames))
    assert SET_METRICS["fid"]([]).status == "not_applicable"
    assert all(metric([sample]).status == "missing" for metric in SET_METRICS.values())

"""`sample.py many`: one scene, many paths, some of which fail, in one process and in several."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from video4spatial.cli.errors import UserError
from video4spatial.cli.sample import main
from video4spatial.media import open_video

ROOT = Path(__file__).parents[2]
JOBS = """
- {name: first, trajectory: turn left 20, anchor: 0}
- {name: last, trajectory: forward 0.5, seed: 3}
"""


def frames_of(folder):
    with open_video(folder / "frames") as video:
        return video.read(range(len(video)))


def settings_of(folder):
    return json.loads((folder / "scores.json").read_text())["settings"]


@pytest.fixture
def run(footage, tiny_model_folder, tmp_path, monkeypatch):
    """Function: more arguments to `sample.py many`, in a folder of its own with a jobs file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.yaml").write_text(JOBS)
    usual = ["--context", footage / "video.mp4", "--jobs", "jobs.yaml", "--model", tiny_model_folder, "--steps", 1, "--frames", 3,
             "--output", "out", "--device", "cpu"]  # fmt: skip
    return lambda *arguments: main(["many", *map(str, [*usual, *arguments])])


def test_one_scene_serves_all_jobs_and_a_run_can_be_taken_up_again(run, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "last").mkdir(parents=True)
    (out / "last" / "photo.jpg").write_text("x")
    with pytest.raises(UserError, match="1 of 2 jobs failed .*last: out/last exists and is not empty"):
        run()
    assert sorted(path.name for path in out.iterdir()) == ["first", "last"]
    assert [path.name for path in (out / "last").iterdir()] == ["photo.jpg"]
    (out / "last" / "photo.jpg").unlink()
    written = (out / "first" / "scores.json").stat().st_mtime_ns
    capsys.readouterr()
    run()
    said = capsys.readouterr().out
    assert "1 of 2 jobs are finished already and left alone: first" in said and "1 new results in out" in said
    assert (out / "first" / "scores.json").stat().st_mtime_ns == written
    first, last = (settings_of(out / name) for name in ("first", "last"))
    assert first["provenance"]["frames"] == last["provenance"]["frames"] and {0, 11} <= set(first["provenance"]["frames"])
    assert (first["seed"], last["seed"]) == (0, 3)
    capsys.readouterr()
    run("--overwrite", "--save-scene", "scene.safetensors")
    said = capsys.readouterr().out
    assert said.count("encoding 8 context frames") == 1 and "2 new results" in said
    assert (tmp_path / "scene.safetensors").exists()


def test_a_job_is_what_navigate_generates(run, footage, tiny_model_folder, tmp_path):
    (tmp_path / "jobs.yaml").write_text("- {name: only, trajectory: turn left 20, anchor: 4, seed: 2}")
    run()
    main(["navigate", "--context", str(footage / "video.mp4"), "--trajectory", "turn left 20", "--anchor", "4", "--seed", "2",
          "--frames", "3", "--steps", "1", "--model", str(tiny_model_folder), "--output", "alone", "--device", "cpu"])  # fmt: skip
    assert np.array_equal(frames_of(tmp_path / "out" / "only"), frames_of(tmp_path / "alone"))
    assert {path.name for path in (tmp_path / "out" / "only").iterdir()} == {path.name for path in (tmp_path / "alone").iterdir()}


def test_more_anchors_than_context_frames_take_several_scenes(run, tmp_path, capsys):
    jobs = [f"- {{name: from{n}, trajectory: turn left 5, anchor: {n}}}\n" for n in (0, 5, 11)]
    (tmp_path / "jobs.yaml").write_text("".join(jobs))
    run("--context-frames", 2)
    assert capsys.readouterr().out.count("encoding 2 context frames") == 2  # the first and the last frame make the same choice
    with pytest.raises(UserError, match="need 2 choices of context"):
        run("--context-frames", 2, "--save-scene", "scene.safetensors", "--overwrite")


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("- {name: a, trajectory: forwards of}\n- {name: b, trajectory: left 5deg, anchor: 12}", "job 'b': anchor 12.*job 'a'"),
        ("- {name: in, trajectory: forward 1, prompt: a room}", "job 'in' has a prompt, but this model reads no text"),
        ("- {name: in, trajektory: forward 1}", "unknown key 'trajektory'"),
    ],
)
def test_mistakes_in_any_job_are_told_before_anything_is_written(jobs, message, run, tmp_path):
    (tmp_path / "jobs.yaml").write_text(jobs)
    with pytest.raises(UserError, match=message):
        run()
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.yaml"]


@pytest.mark.slow
def test_processes_share_the_jobs_out(footage, tiny_model_folder, tmp_path):
    """Also where the first process fails at once: the other one finishes."""
    (tmp_path / "jobs.yaml").write_text("".join(f"- {{name: job{n}, trajectory: turn left {5 + n}}}\n" for n in range(3)))
    (tmp_path / "out" / "job0").mkdir(parents=True)
    (tmp_path / "out" / "job0" / "photo.jpg").write_text("x")
    launch = [Path(sys.executable).with_name("accelerate"), "launch", "--multi_gpu", "--num_processes", 2, "--num_machines", 1,
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", 0]  # fmt: skip
    options = ["--context", footage / "video.mp4", "--jobs", "jobs.yaml", "--model", tiny_model_folder, "--steps", 1, "--frames", 3,
               "--output", "out", "--device", "cpu"]  # fmt: skip
    done = subprocess.run(
        [str(part) for part in (*launch, ROOT / "sample.py", "many", *options)], cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("error: 1 of 3 jobs failed") == 1 and "job0: out/job0 exists and is not empty" in done.stderr
    assert "2 new results in out" in done.stdout
    begun = [line for line in done.stdout.splitlines() if line.startswith("loading the model") and line.endswith("...")]
    assert len(begun) == 2
    for name in ("job1", "job2"):
        assert frames_of(tmp_path / "out" / name).shape == (3, 32, 32, 3)

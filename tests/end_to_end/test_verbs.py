"""The other verbs of `v4s` on real files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from video4spatial.cameras import parse_trajectory, read_cameras, write_cameras
from video4spatial.cli.errors import exit_code
from video4spatial.cli.main import run
from video4spatial.evaluation.benchmark import NAVIGATION_ROWS
from video4spatial.media import write_images, write_video


@pytest.fixture
def videos(tmp_path):
    """A true video and a worse one, as folders of images of different sizes; their frames."""
    truth = np.random.default_rng(0).integers(0, 200, (4, 32, 32, 3), dtype=np.uint8)
    worse = truth + np.random.default_rng(1).integers(0, 50, truth.shape, dtype=np.uint8)
    write_images(tmp_path / "truth", truth)
    write_images(tmp_path / "worse", worse)
    write_images(tmp_path / "wide", np.pad(truth, ((0, 0), (0, 0), (8, 8), (0, 0))))
    return truth, worse


def test_v4s_is_installed():
    v4s = Path(sys.executable).with_name("v4s")
    done = subprocess.run([v4s, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("v4s ")


def test_score_measures_against_the_reference(videos, tmp_path, capsys):
    truth, worse = videos
    files = ["--generated", str(tmp_path / "worse"), "--context", str(tmp_path / "truth"), "--anchor", "0"]
    run(["score", *files, "--reference", str(tmp_path / "wide"), "--json", str(tmp_path / "new" / "scores.json")])
    assert "cropped centrally" in capsys.readouterr().out
    scores = json.loads((tmp_path / "new" / "scores.json").read_text())
    rows = {row["name"]: row["metrics"] for row in scores["rows"]}
    expected = np.mean([peak_signal_noise_ratio(a, b) for a, b in zip(truth[1:], worse[1:])])
    assert rows["generated"]["psnr"]["value"] == pytest.approx(expected, abs=1e-3)
    assert rows["static"]["frozen_share"]["value"] == 1.0 and "mean_colour" in rows


def test_score_with_the_commanded_cameras(videos, tmp_path, capsys):
    write_cameras(tmp_path / "cameras.json", parse_trajectory("forward 1", 4))
    run(["score", "--generated", str(tmp_path / "worse"), "--reference", str(tmp_path / "truth"),
         "--cameras", str(tmp_path / "cameras.json")])  # fmt: skip
    assert "epipolar_error_px" in capsys.readouterr().out


def test_score_refuses_videos_of_different_lengths(videos, tmp_path, capsys):
    write_images(tmp_path / "short", videos[0][:3])
    files = ["--generated", str(tmp_path / "worse"), "--reference", str(tmp_path / "short")]
    assert exit_code(run, ["score", *files]) == 2
    assert "has 4 frames and" in capsys.readouterr().err


def test_cameras_inspect_prints_and_draws(tmp_path, capsys):
    write_cameras(tmp_path / "cameras.json", parse_trajectory("forward 1, left 30deg", 8))
    run(["cameras", "inspect", str(tmp_path / "cameras.json"), "--output", str(tmp_path / "cameras.png")])
    said = capsys.readouterr().out
    assert "OpenGL camera-to-world" in said and "8" in said
    assert (tmp_path / "cameras.png").stat().st_size > 1000


def test_cameras_convert_between_formats(tmp_path, capsys):
    cameras = parse_trajectory("forward 1, left 30deg", 8)
    write_cameras(tmp_path / "cameras.json", cameras)
    run(["cameras", "convert", str(tmp_path / "cameras.json"), str(tmp_path / "model"), "--to", "colmap", "--size", "64x64"])
    run(["cameras", "convert", str(tmp_path / "model"), str(tmp_path / "back.npz")])
    assert read_cameras(tmp_path / "back.npz").allclose(cameras, 1e-9)
    assert "8 cameras read as COLMAP: OpenCV world-to-camera" in capsys.readouterr().out
    for arguments, message in (
        (["back.npz", "a.json", "--to", "transform"], "unknown camera format 'transform' (did you mean 'transforms'?)"),
        (["back.npz", "a.json", "--size", "64"], "expected width x height in pixels"),
        (["back.npz", "a.txt"], "does not say which format to write"),
        (["nothing.npz", "a.json"], "no such camera file"),
    ):
        source, target, *options = arguments
        assert exit_code(run, ["cameras", "convert", str(tmp_path / source), str(tmp_path / target), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line and not (tmp_path / target).exists()


def test_score_takes_any_metric_by_name(videos, tmp_path, capsys):
    paths = ["score", "--generated", str(tmp_path / "worse"), "--reference", str(tmp_path / "truth")]
    run([*paths, "--metrics", "psnr, rigidity,fid", "--json", str(tmp_path / "scores.json")])
    (row,) = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert set(row["metrics"]) == {"psnr", "rigidity", "fid"} and row["metrics"]["psnr"]["status"] == "ok"
    assert row["metrics"]["fid"]["status"] == "missing" and "fid" in capsys.readouterr().out
    assert exit_code(run, [*paths, "--metrics", "psnrr"]) == 2
    assert "unknown metric 'psnrr' (did you mean 'psnr'?)" in capsys.readouterr().err


def test_curate_inspect_says_what_a_source_holds(tmp_path, capsys):
    run(["curate", "inspect", "train:0-1", "--scenes", "1", "--pairs", "3"])
    said = capsys.readouterr().out
    assert "2 scenes read by rooms" in said and "epipolar      " in said and "1 more (--scenes)" in said
    broken = tmp_path / "scene"
    (broken / "images").mkdir(parents=True)
    (broken / "poses.txt").write_text("1 2 3\n")
    (broken / "K.txt").write_text("")
    assert exit_code(run, ["curate", "inspect", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert "expected 16 numbers per line" in output.out and "1 of 1 scenes could not be read" in output.err
    assert exit_code(run, ["curate", "inspect", str(tmp_path), "--reader", "scanet"]) == 2
    assert "did you mean 'scannetpp'" in capsys.readouterr().err


def test_curate_builds_a_data_set_and_says_what_failed(tmp_path, capsys):
    """From a configuration and the command line; a broken capture fails by name, and the build above its allowed share."""
    broken = tmp_path / "captures" / "broken scene"
    (broken / "images").mkdir(parents=True)
    (broken / "poses.txt").write_text("1 2 3\n")
    (broken / "K.txt").write_text("")
    rooms = "{path: train:3, options: {num_frames: 40, size: 48}}"
    (tmp_path / "config.yaml").write_text(
        f"sources:\n- {rooms}\n- {{path: {broken}}}\nstages: {{epipolar: {{pairs: 0}}}}\nwork: {{executor: serial}}\n"
    )
    output = tmp_path / "data"
    arguments = ["curate", "build", "--config", str(tmp_path / "config.yaml"), "--output", str(output), "--shards.height", "32"]
    assert exit_code(run, arguments) == 2
    said = capsys.readouterr()
    assert "1 of 2 scenes failed (allowed: 5%); the rest is in place" in said.err
    assert "broken-scene" in said.out and "expected 16 numbers per line" in said.out and "navigation" in said.out
    files = ["manifest.parquet", "report.html", "summary.json", "shards/index.parquet", "shards/train-00000.tar"]
    assert all((output / name).is_file() for name in files)
    run([*arguments, "--work.most_failed", "0.5"])
    assert "report.html" in capsys.readouterr().out
    (output / "report.html").unlink()
    run(["curate", "report", str(output)])
    assert (output / "report.html").is_file()


MISTAKES_IN_BUILDS = {
    "--stages.windows.framez=3": "did you mean",
    "--work.executor=threads": "work.executor",
    "--shards.quality=100": "quality 100",
    "--dataset.test=0.99": "validation 0.05 and test 0.99 are shares",
    "--sources=[{path: nowhere}]": "nowhere: no such folder or file, nor a range of simulated rooms",
    "--work.num_shards=2": "num_shards and shard_index together",
}


@pytest.mark.parametrize("argument", MISTAKES_IN_BUILDS)
def test_mistakes_in_builds_are_told_in_one_line(argument, tmp_path, capsys):
    arguments = ["curate", "build", "--sources=[{path: train:0}]", "--output", str(tmp_path / "out"), argument]
    assert exit_code(run, arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and MISTAKES_IN_BUILDS[argument] in error, error
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_a_build_needs_sources_and_an_output(capsys):
    assert exit_code(run, ["curate", "build"]) == 2
    assert "--sources and --output missing" in capsys.readouterr().err


def test_cameras_inspect_refuses_other_files(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("Dear all\n")
    assert exit_code(run, ["cameras", "inspect", str(tmp_path / "letter.txt")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "letter.txt: not a camera file" in line


@pytest.mark.timeout(1200)  # all rows on a busy machine
@pytest.mark.parametrize("rows", ["model,seen_scenes", pytest.param("", marks=pytest.mark.slow)], ids=["two", "all"])
def test_benchmark_writes_rows_beside_references(rows, tiny_model_folder, tmp_path, capsys):
    run(["benchmark", "navigation", "--model", str(tiny_model_folder), "--scenes", "2", "--steps", "1",
         "--rows", rows, "--validation-scenes", "1", "--seen-model", str(tiny_model_folder), "--seen-scenes", "1",
         "--json", str(tmp_path / "result.json")])  # fmt: skip
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["benchmark"] == "navigation_rooms" and result["settings"]["scenes"] == 2
    found = {row["name"]: row["metrics"] for row in result["rows"]}
    assert list(found) == (rows.split(",") if rows else list(NAVIGATION_ROWS))
    # There is no --peer, and the tiny model is never shown geometry.
    without = ("image_to_video", "model_without_geometry", "model_without_geometry_with_context_cameras")
    assert all(row["psnr"]["status"] == ("not_applicable" if name in without else "ok") for name, row in found.items())
    assert "seen_scenes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "model,statik"], "unknown row 'statik' (did you mean 'static'?)"),
        (["--test-set", "rooms_nav_v9"], "there is no test set 'rooms_nav_v9'"),
        (["--json", "."], "is a folder"),
        (["--windows", "3"], "--windows without use: they are about --captures, which are not given"),
        (["--captures", "nowhere"], "nowhere: no such folder or file"),
        (["--captures", "vae"], "no captures with cameras found; looked for what scannetpp"),
        (["--captures", "vae", "--test-set", "a.json", "--windows", "2"], "--test-set says how the captures are cut"),
    ],
)
def test_benchmark_mistakes(arguments, message, tiny_model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(tiny_model_folder, tmp_path / "here"))
    given = ["--model", str(tiny_model_folder), "--json", "result.json", *arguments]
    assert exit_code(run, ["benchmark", "navigation", *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_benchmark_on_captures(tiny_model_folder, posed_captures, tmp_path, capsys):
    """Cut anew, then again from the frozen set: the same figures, with and without depth, beside captures that cannot be read."""
    folder = shutil.copytree(posed_captures, tmp_path / "captures")
    (folder / "broken" / "images").mkdir(parents=True)
    (folder / "broken" / "poses.txt").write_text("1 2 3\n")
    (folder / "broken" / "K.txt").write_text("")
    given = ["benchmark", "navigation", "--model", str(tiny_model_folder), "--captures", str(folder), "--steps", "1",
             "--processes", "1", "--rows"]  # fmt: skip
    run([*given, "model,context_32,other_scene_context,oracle_render", "--windows", "1", "--context-frames", "9",
         "--write-test-set", str(tmp_path / "set.json"), "--json", str(tmp_path / "one.json"),
         "--report", str(tmp_path / "page.html")])  # fmt: skip
    said = capsys.readouterr().out
    assert "left out:" in said and "expected 16 numbers per line" in said
    assert "kitchen: 64 frames of 60x40 read by pose_table, metres; 1 window; the context sees" in said
    assert "abc: 16 frames of 48x40 read by realestate10k, unknown scale" in said and "depth unknown" in said
    assert (tmp_path / "page.html").is_file()
    result = json.loads((tmp_path / "one.json").read_text())
    assert result["benchmark"] == "navigation_real" and result["settings"]["scenes"] == 3
    windows = {window["capture"]: window for window in result["settings"]["windows"]}
    assert windows["kitchen"]["context_sees"]["status"] == "ok" and windows["abc"]["context_sees"]["status"] == "missing"
    cells = {row["name"]: row["metrics"] for row in result["rows"]}
    assert cells["model"]["psnr"]["n"] == 3 and cells["model"]["psnr"]["low"] is None
    assert cells["model"]["covisible_psnr"]["n"] == 1 == cells["oracle_render"]["psnr"]["n"]
    assert cells["other_scene_context"]["psnr"]["status"] == "ok"
    assert cells["context_32"]["psnr"]["status"] == "not_applicable" and "fewer than 32" in cells["context_32"]["psnr"]["reason"]
    assert str(tmp_path) not in json.dumps(result["settings"])
    run([*given, "oracle_render", "--test-set", str(tmp_path / "set.json"), "--json", str(tmp_path / "two.json")])
    again = json.loads((tmp_path / "two.json").read_text())
    assert again["rows"] == [row for row in result["rows"] if row["name"] == "oracle_render"]
    assert again["settings"]["windows"] == result["settings"]["windows"]


@pytest.fixture
def many_videos(tmp_path):
    """Three true clips in two scenes; of the generated ones the third is missing."""
    rng = np.random.default_rng(0)
    for name in ("hall/one", "hall/two", "attic/one"):
        truth = rng.integers(0, 200, (4, 32, 32, 3), dtype=np.uint8)
        write_images(tmp_path / "truth" / name, truth)
        for folder, noise in (("worse", 50), ("better", 20)):
            if name != "attic/one":
                write_images(tmp_path / folder / name, truth + rng.integers(0, noise, truth.shape, dtype=np.uint8))
        (tmp_path / "cameras" / name).parent.mkdir(parents=True, exist_ok=True)
        write_cameras(tmp_path / "cameras" / f"{name}.json", parse_trajectory("forward 1", 4))
    return tmp_path


def test_score_many_clips_and_compare(many_videos, capsys):
    for name, more in (("worse", ["--cameras", str(many_videos / "cameras")]), ("better", ["--report", str(many_videos / "page.html")])):
        run(["score", "--generated", str(many_videos / name), "--reference", str(many_videos / "truth"),
             "--json", str(many_videos / f"{name}.json"), *more])  # fmt: skip
    assert "1 of 3 clips have no generated video and count as failures: attic/one" in capsys.readouterr().out
    result = json.loads((many_videos / "worse.json").read_text())
    (row,) = result["rows"]
    cell = row["metrics"]["psnr"]
    assert cell["coverage"] == pytest.approx(2 / 3) and cell["penalised"] == pytest.approx(cell["value"] / 2)
    assert [entry["scene"] for entry in result["clips"]["generated"]] == ["attic", "hall", "hall"]
    assert "Leaderboard" in (many_videos / "page.html").read_text()
    files = [str(many_videos / f"{name}.json") for name in ("worse", "better")]
    run(["compare", *files, "--json", str(many_videos / "difference.json")])
    said = capsys.readouterr().out
    assert "3 clips, pair by pair" in said and "undecided" in said  # one scene decides nothing
    assert json.loads((many_videos / "difference.json").read_text())["settings"]["paired"] is True
    (many_videos / "worse.json").write_text("[]")
    assert exit_code(run, ["compare", *files]) == 2
    assert "worse.json: not a results file" in capsys.readouterr().err


def test_score_refuses_what_does_not_compare(many_videos, capsys):
    worse, truth = many_videos / "worse", many_videos / "truth"
    frames = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)
    write_video(many_videos / "slow.mp4", frames, 4.0)
    write_video(many_videos / "fast.mp4", frames, 8.0)
    write_images(many_videos / "single", frames[:1])
    (many_videos / "cameras" / "hall" / "one.json").unlink()
    (many_videos / "empty").mkdir()
    for generated, reference, options, message in (
        (truth, worse, [], "no reference for attic/one"),
        (worse, truth / "hall" / "one", [], "one video and the other side holds several"),
        (worse, truth, ["--cameras", str(many_videos / "cameras")], "no cameras for hall/one"),
        (worse, truth, ["--context", str(worse)], "no context for attic/one"),
        (many_videos / "slow.mp4", many_videos / "fast.mp4", [], "4 frames per second and"),
        (many_videos / "single", many_videos / "single", [], "at least 2 are needed"),
        (many_videos / "empty", truth, [], "no images, videos, or folders"),
    ):
        assert exit_code(run, ["score", "--generated", str(generated), "--reference", str(reference), *options]) == 2
        assert message in capsys.readouterr().err


def test_score_says_what_is_odd_about_frames(many_videos, capsys):
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 255, (4, 32, 32, 1), dtype=np.uint8), 3, axis=-1)
    grey[2] = 7
    write_images(many_videos / "grey", grey)
    run(["score", "--generated", str(many_videos / "grey"), "--reference", str(many_videos / "truth" / "hall" / "one")])
    said = capsys.readouterr().out
    assert "1 of 4 frames are blank (one colour all over): 2." in said and "is grey" in said


def test_benchmark_details_compare_and_report(tiny_model_folder, tmp_path, capsys):
    run(["benchmark", "navigation", "--model", str(tiny_model_folder), "--scenes", "2", "--steps", "1", "--processes", "1",
         "--rows", "model,static", "--json", str(tmp_path / "means.json"),
         "--details", str(tmp_path / "clips.json"), "--report", str(tmp_path / "page.html")])  # fmt: skip
    assert "clips" not in json.loads((tmp_path / "means.json").read_text())
    assert len(json.loads((tmp_path / "clips.json").read_text())["clips"]["model"]) == 2
    assert "Path from above" in (tmp_path / "page.html").read_text()
    run(["compare", str(tmp_path / "clips.json"), str(tmp_path / "clips.json"), "--row", "model", "--against", "static"])
    assert "pair by pair" in capsys.readouterr().out
    run(["compare", str(tmp_path / "means.json"), str(tmp_path / "clips.json")])
    assert "means, not pair by pair" in capsys.readouterr().out

"""The navigation benchmark with a tiny model: every row, every cell, reproducible, ready for a results file."""

import json
import re

import pytest

from video4spatial import waits
from video4spatial.evaluation.benchmark import NAVIGATION_ROWS, SEEN_ROWS, Recording, benchmark_navigation
from video4spatial.evaluation.results import write_results
from video4spatial.evaluation.rows import ROWS, Row
from video4spatial.evaluation.rows.inputs import NotApplicable
from video4spatial.evaluation.rows.inputs import PeerError
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.pipelines import GenerationSettings

METRICS = ("psnr", "covisible_psnr", "gradient_correlation")


@pytest.fixture(scope="module")
def clips():
    return [entry.load(size=32, supersample=1) for entry in load_test_set(limit=2)]


def test_all_rows(tiny_pipeline, clips, tmp_path):
    options = dict(metrics=METRICS, generation=GenerationSettings(num_inference_steps=1), validation_clips=clips, progress=False)
    rows, settings = benchmark_navigation(tiny_pipeline, clips, **options)
    assert [row["name"] for row in rows] == list(NAVIGATION_ROWS)
    cells = {row["name"]: row["metrics"] for row in rows}
    assert cells["seen_scenes"]["psnr"]["status"] == "not_applicable"
    # This model has no geometry prompt to do without, and nothing is read of cameras in pictures this small.
    without = ("model_without_geometry", "model_without_geometry_with_context_cameras")
    apart = (*SEEN_ROWS, "image_to_video", *without, "reconstruct_and_render")
    assert all(cells[name][m]["n"] == 2 for name in cells if name not in apart for m in METRICS)
    assert cells["model_without_geometry"]["psnr"]["status"] == "not_applicable"
    assert cells["ground_truth"]["psnr"]["value"] == 100
    assert cells["static"]["gradient_correlation"]["value"] < 0.9
    assert cells["context_32"]["psnr"] != cells["context_2"]["psnr"]
    difference = settings["paired_differences"]["ground_truth"]["psnr"]
    assert difference["value"] < 0 and difference["better"] == "undecided" and difference["low"] is None  # of two scenes
    assert "no second model" in cells["seen_scenes"]["psnr"]["reason"]
    assert "model" not in settings["paired_differences"]
    write_results(tmp_path / "navigation_rooms.json", "navigation", settings, rows)
    json.loads((tmp_path / "navigation_rooms.json").read_text())


def test_how_long_it_takes_is_said_without_a_terminal_too(tiny_pipeline, clips, monkeypatch, capsys):
    monkeypatch.setattr(waits, "SECONDS_BETWEEN_LINES", 0)
    benchmark_navigation(tiny_pipeline, clips, ["static", "mean_colour"], metrics=["psnr"], generation=GenerationSettings(1))
    assert re.search(r"^scoring videos: 2 of 4, \w+, about \d+ s left$", capsys.readouterr().err, re.MULTILINE)


def test_seen_scenes_use_their_own_model(tiny_pipeline, clips):
    rows, settings = benchmark_navigation(
        tiny_pipeline, clips[:1], ["seen_scenes", "static"], metrics=["psnr"], generation=GenerationSettings(1), progress=False,
        seen_pipeline=tiny_pipeline, seen_clips=clips,
    )  # fmt: skip
    assert rows[0]["metrics"]["psnr"]["n"] == 2 and rows[1]["metrics"]["psnr"]["n"] == 1
    assert settings["seen_clips"] == 2 and settings["paired_differences"] == {}


def test_more_processes_give_the_same_figures(tiny_pipeline, clips):
    options = dict(rows=["model", "static"], metrics=["psnr"], generation=GenerationSettings(1), progress=False)
    alone, _ = benchmark_navigation(tiny_pipeline, clips, **options)
    together, _ = benchmark_navigation(tiny_pipeline, clips, **options, processes=2)
    assert alone == together
    # the clips sent away are still whole: no tensor of theirs was moved to shared memory
    assert not any(clip.context_cameras.times.is_shared() for clip in clips)


def test_a_row_without_a_video_of_a_clip_is_missing_there(tiny_pipeline, clips):
    def peer(clip, noise):
        if noise:
            raise PeerError("no second one")
        return clip.target_frames

    recording = Recording(keep_frames=["image_to_video"])
    (row,), _ = benchmark_navigation(
        tiny_pipeline, clips, ["image_to_video"], metrics=["psnr"], peer=peer, recording=recording, progress=False
    )
    cell = row["metrics"]["psnr"]
    assert (cell["value"], cell["n"], cell["coverage"], cell["penalised"]) == (100, 1, 0.5, 50)
    first, second = recording.clips["image_to_video"]
    assert second.measurements["psnr"].reason == "no second one"
    assert list(recording.frames["image_to_video"]) == [first.clip]


def test_a_row_that_does_not_apply_to_a_clip_counts_neither_for_it_nor_against_it(tiny_pipeline, clips, monkeypatch):
    def frames(inputs):
        if inputs.noise:
            raise NotApplicable("it has no depth")
        return inputs.clip.target_frames

    monkeypatch.setitem(ROWS, "image_to_video", Row("image_to_video", frames))
    recording = Recording()
    rows, settings = benchmark_navigation(
        tiny_pipeline, clips, ["model", "image_to_video"], metrics=["psnr"], generation=GenerationSettings(1),
        recording=recording, progress=False,
    )  # fmt: skip
    cell = rows[1]["metrics"]["psnr"]
    assert (cell["value"], cell["n"], cell["coverage"], cell["penalised"]) == (100, 1, 1, 100)
    assert settings["paired_differences"]["image_to_video"]["psnr"]["n"] == 1
    second = recording.clips["image_to_video"][1].measurements["psnr"]
    assert second.status == "not_applicable" and second.reason == "it has no depth"


def test_a_single_scene_has_no_other_to_borrow_from(tiny_pipeline, clips):
    names = ["other_scene_context", "static"]
    rows, _ = benchmark_navigation(tiny_pipeline, clips[:1], names, metrics=["psnr"], progress=False)
    cell = rows[0]["metrics"]["psnr"]
    assert cell["status"] == "not_applicable" and cell["reason"] == "there is no clip of another scene"
    assert rows[1]["metrics"]["psnr"]["status"] == "ok"


def test_all_mistakes_at_once(tiny_pipeline, clips):
    with pytest.raises(ValueError, match="unknown row 'modle'.*unknown metric 'pnsr'.*no clips"):
        benchmark_navigation(tiny_pipeline, [], ["modle"], metrics=["pnsr"])

"""The page about many videos: self-contained, sorted, every row and clip on it; and the clips it shows."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from video4spatial.evaluation.aggregation import rows_over_clips
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.reports.benchmark_page import chosen_clips, shown_clips, write_benchmark_page
from video4spatial.evaluation.rows.references import ground_truth_blurred, static
from video4spatial.evaluation.scoring import ScoredClip, measured_cameras, score_clip


@pytest.fixture(scope="module")
def benchmarked(clip):
    """Scores and videos of two rows on one clip, and the rows of their results file."""
    metrics = ("gradient_correlation", "psnr")
    videos = {"model": ground_truth_blurred(clip), "static": static(clip)}
    clips = {row: [ScoredClip.of(clip, score_clip(clip, video, metrics))] for row, video in videos.items()}
    return metrics, videos, clips, rows_over_clips(clips, metrics)


def test_the_benchmark_page_is_whole_and_self_contained(clip, benchmarked, tmp_path):
    metrics, videos, clips, rows = benchmarked
    frames = {"model": {clip.name: videos["model"]}}
    shown = shown_clips(lambda name: clip, clips, frames, METRICS["gradient_correlation"])
    page = write_benchmark_page(
        tmp_path / "new" / "page.html", title="<rooms>", rows=rows, clips=clips, shown=shown, frame_rate=4.0, metrics=metrics,
        settings={"seed": 3}, warnings=["Look out."],
    ).read_text()  # fmt: skip
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", page) and "@import" not in page and "<script" not in page
    sections = ("ground truth", "context", "reprojection error", "Path from above", "Epipolar lines")
    for text in ("&lt;rooms&gt;", "Look out.", *sections, clip.name):
        assert text in page, text
    assert "No camera in" not in page
    assert page.index(">model<") < page.index(">static<")  # sorted by the first metric
    videos_in_page = re.findall(r"data:image/webp;base64,([^\"]+)", page)
    assert len(videos_in_page) == 4
    for video in videos_in_page:  # all of one length, so that they stay in step
        assert Image.open(io.BytesIO(base64.b64decode(video))).n_frames == len(clip.target_frames)


def test_a_benchmark_page_without_videos(benchmarked, tmp_path):
    metrics, _, clips, rows = benchmarked
    page = write_benchmark_page(
        tmp_path / "page.html", title="x", rows=rows, clips=clips, shown=[], frame_rate=4.0, metrics=metrics
    ).read_text()
    assert "Leaderboard" in page and "Path from above" not in page


def test_the_benchmark_page_says_how_many_frames_have_no_camera(clip, tmp_path):
    frames = clip.target_frames.copy()
    frames[2:] = np.random.default_rng(0).integers(0, 255, frames[2:].shape, dtype=np.uint8)
    clips = {"model": [ScoredClip.of(clip, score_clip(clip, frames, ["psnr"]))]}
    shown = shown_clips(lambda name: clip, clips, {"model": {clip.name: frames}}, METRICS["psnr"])
    page = write_benchmark_page(
        tmp_path / "page.html", title="x", rows=rows_over_clips(clips, ["psnr"]), clips=clips, shown=shown, frame_rate=4.0,
        metrics=["psnr"],
    ).read_text()  # fmt: skip
    assert "No camera in model, 3 of 4 frames: the frame resembles no view of the scene" in page


def test_chosen_clips_are_the_worst_and_best_and_each_once():
    entries = [ScoredClip(f"clip-{i}", "s", "", {"psnr": Measurement(float(i))}) for i in range(8)]
    entries.append(ScoredClip("lost", "s", "", {"psnr": Measurement.missing("blank")}))
    chosen = [(why, entry.clip) for why, entry in chosen_clips(entries, METRICS["psnr"], 2, 2, 2)]
    assert chosen[:4] == [("worst", "lost"), ("worst", "clip-0"), ("best", "clip-7"), ("best", "clip-6")]
    assert len(set(chosen)) == 6 and [why for why, _ in chosen[4:]] == ["random"] * 2
    assert len(chosen_clips(entries[:1], METRICS["psnr"])) == 1


def test_shown_clips_have_the_cameras_that_scores_take(clip):
    frames = clip.target_frames.copy()
    frames[2:] = np.random.default_rng(0).integers(0, 255, frames[2:].shape, dtype=np.uint8)
    entry = ScoredClip.of(clip, {"psnr": Measurement(20.0)})
    (shown,) = shown_clips(lambda name: clip, {"model": [entry]}, {"model": {clip.name: frames}}, METRICS["psnr"])
    (cameras,) = shown.estimated_cameras.values()
    expected = measured_cameras(clip, frames)
    assert cameras.cameras.allclose(expected.cameras)
    assert cameras.position_known.tolist() == expected.position_known.tolist() == [True, True, False, False, False]

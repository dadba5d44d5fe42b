"""The report: one page, nothing loaded from elsewhere, every score and warning on it."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from video4spatial.evaluation.comparison import ScoredClip
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.reports.plots import HOTTEST, epipolar_lines, reprojection_heat, side_by_side
from video4spatial.evaluation.rows.references import FRAME_REFERENCES
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.reports.report import chosen_clips, shown_clips, write_benchmark_report, write_report
from video4spatial.evaluation.scorecard import aggregate, score_clip


def test_the_page_is_whole_and_self_contained(clip, tmp_path):
    path = write_report(
        tmp_path / "result",
        title="A <room>",
        generated=clip.target_frames,
        cameras=clip.instruction.cameras,
        frame_rate=4.0,
        context_frames=clip.context_frames,
        anchor=clip.anchor,
        truth=clip.target_frames,
        estimated_cameras=clip.instruction.cameras,
        measurements={
            "psnr": Measurement(21.5, per_frame=(20.0, None, 23.0)),
            "epipolar_error_px": Measurement.missing("too few matches"),
        },
        settings={"seed": 3},
        warnings=["Not a simulated room."],
    )
    page = path.read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", page) and "@import" not in page
    texts = ("A &lt;room&gt;", "21.5", "too few matches", "Not a simulated room.", "ground truth", "· anchor", "<svg")
    for text in texts:
        assert text in page
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_page_without_truth_or_scores(clip, tmp_path):
    page = write_report(
        tmp_path, title="x", generated=clip.target_frames, cameras=clip.instruction.cameras, frame_rate=4.0
    ).read_text()
    assert "ground truth" not in page and "Nothing was measured." in page


def test_frames_and_cameras_must_fit(clip, tmp_path):
    with pytest.raises(ValueError, match="cameras: 4"):
        cameras = clip.instruction.cameras[:4]
        write_report(tmp_path, title="x", generated=clip.target_frames, cameras=cameras, frame_rate=4.0)


def test_side_by_side(clip):
    videos = [("context", clip.context_frames), ("a very long name that cannot fit", clip.target_frames)]
    frames = side_by_side(videos, height=100)
    assert frames.dtype == np.uint8 and len(frames) == len(clip.context_frames)
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    with pytest.raises(ValueError, match="none"):
        side_by_side([])


@pytest.fixture(scope="module")
def benchmarked(clip):
    """Scores and videos of two rows on one clip, and the rows of their results file."""
    metrics = ("gradient_correlation", "psnr")
    videos = {"model": FRAME_REFERENCES["ground_truth_blurred"](clip), "static": FRAME_REFERENCES["static"](clip)}
    clips = {row: [ScoredClip.of(clip, score_clip(clip, video, metrics))] for row, video in videos.items()}
    rows = [
        {"name": row, "metrics": {m: aggregate(METRICS[m], [(e.scene, e.measurements[m]) for e in entries]).cell() for m in metrics}}
        for row, entries in clips.items()
    ]
    return metrics, videos, clips, rows


def test_the_benchmark_page_is_whole_and_self_contained(clip, benchmarked, tmp_path):
    metrics, videos, clips, rows = benchmarked
    frames = {"model": {clip.name: videos["model"]}}
    shown = shown_clips(lambda name: clip, clips, frames, METRICS["gradient_correlation"])
    page = write_benchmark_report(
        tmp_path / "new" / "page.html", title="<rooms>", rows=rows, clips=clips, shown=shown, frame_rate=4.0, metrics=metrics,
        settings={"seed": 3}, warnings=["Look out."],
    ).read_text()  # fmt: skip
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", page) and "@import" not in page and "<script" not in page
    texts = ("&lt;rooms&gt;", "Look out.", "ground truth", "context", "reprojection error", "Path from above", "Epipolar lines", clip.name)
    for text in texts:
        assert text in page, text
    assert page.index(">model<") < page.index(">static<")  # sorted by the first metric
    videos_in_page = re.findall(r"data:image/webp;base64,([^\"]+)", page)
    assert len(videos_in_page) == 4
    for video in videos_in_page:  # all of one length, so that they stay in step
        assert Image.open(io.BytesIO(base64.b64decode(video))).n_frames == len(clip.target_frames)


def test_a_benchmark_page_without_videos(benchmarked, tmp_path):
    metrics, _, clips, rows = benchmarked
    page = write_benchmark_report(
        tmp_path / "page.html", title="x", rows=rows, clips=clips, shown=[], frame_rate=4.0, metrics=metrics
    ).read_text()
    assert "Leaderboard" in page and "Path from above" not in page


def test_chosen_clips_are_the_worst_and_best_and_each_once():
    entries = [ScoredClip(f"clip-{i}", "s", "", {"psnr": Measurement(float(i))}) for i in range(8)]
    entries.append(ScoredClip("lost", "s", "", {"psnr": Measurement.missing("blank")}))
    chosen = [(why, entry.clip) for why, entry in chosen_clips(entries, METRICS["psnr"], 2, 2, 2)]
    assert chosen[:4] == [("worst", "lost"), ("worst", "clip-0"), ("best", "clip-7"), ("best", "clip-6")]
    assert len(set(chosen)) == 6 and [why for why, _ in chosen[4:]] == ["random"] * 2
    assert len(chosen_clips(entries[:1], METRICS["psnr"])) == 1


def test_heat_is_dark_for_the_truth_and_bright_for_a_wrong_video(clip):
    heat, truth = reprojection_heat(clip, clip.target_frames)
    assert heat.shape == clip.target_frames.shape and np.nanmean(truth) < HOTTEST / 8
    assert np.nanmean(reprojection_heat(clip, 255 - clip.target_frames)[1]) > 4 * np.nanmean(truth)


def test_epipolar_lines_of_the_truth_meet_their_points(clip):
    cameras, frames = clip.target_cameras, clip.target_frames
    picture, caption = epipolar_lines(frames[0], frames[2], cameras[[0, 2]])
    assert picture.dtype == np.uint8 and picture.shape[0] == 300
    found = re.search(r"median ([0-9.]+) px", caption)
    assert found is None or float(found[1]) < 2.0
    assert epipolar_lines(frames[0], frames[0], cameras[[0, 0]]) is None
    assert epipolar_lines(np.zeros_like(frames[0]), frames[0], cameras[[0, 2]]) is None

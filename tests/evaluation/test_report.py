"""The report: one page, nothing loaded from elsewhere, every score and warning on it."""

import re

import numpy as np
import pytest

from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.plots import side_by_side
from video4spatial.evaluation.report import write_report


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

"""The page about one sampled video: self-contained, every score and warning on it."""

import re

import numpy as np
import pytest

from video4spatial.cameras import parse_trajectory
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.reports.sample_page import write_sample_page
from video4spatial.geometry.estimated_cameras import EstimatedCameras


def test_the_page_is_whole_and_self_contained(clip, tmp_path):
    path = write_sample_page(
        tmp_path / "result",
        title="A <room>",
        generated=clip.target_frames,
        cameras=clip.instruction.cameras,
        frame_rate=4.0,
        context_frames=clip.context_frames,
        anchor=clip.anchor,
        truth=clip.target_frames,
        estimated_cameras=EstimatedCameras(clip.instruction.cameras),
        measurements={
            "psnr": Measurement(21.5, per_frame=(20.0, None, 23.0)),
            "epipolar_error_px": Measurement.missing("too few matches"),
        },
        settings={"seed": 3},
        warnings=["Not a simulated room."],
    )
    page = path.read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", page) and "@import" not in page
    assert "without a camera" not in page
    texts = ("A &lt;room&gt;", "21.5", "too few matches", "Not a simulated room.", "ground truth", "· anchor", "<svg")
    for text in texts:
        assert text in page
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_a_page_without_truth_or_scores(clip, tmp_path):
    page = write_sample_page(
        tmp_path, title="x", generated=clip.target_frames, cameras=clip.instruction.cameras, frame_rate=4.0
    ).read_text()
    assert "ground truth" not in page and "Nothing was measured." in page


def test_frames_and_cameras_must_fit(clip, tmp_path):
    with pytest.raises(ValueError, match="cameras: 4"):
        cameras = clip.instruction.cameras[:4]
        write_sample_page(tmp_path, title="x", generated=clip.target_frames, cameras=cameras, frame_rate=4.0)


def test_frames_without_a_camera_are_counted_and_not_drawn(clip, tmp_path):
    lost = ("", "", "the frame resembles no view of the scene", "", "the frame resembles no view of the scene")
    known = np.array([not reason for reason in lost])
    elsewhere = clip.target_cameras.camera_to_world.clone()
    elsewhere[~known, :3, 3] += 100
    pages = []
    for poses in (clip.target_cameras.camera_to_world, elsewhere):
        cameras = EstimatedCameras(type(clip.target_cameras)(poses, clip.target_cameras.intrinsics), known, reasons=lost)
        page = write_sample_page(
            tmp_path, title="x", generated=clip.target_frames, cameras=clip.target_cameras, frame_rate=4.0,
            estimated_cameras=cameras,
        ).read_text()  # fmt: skip
        assert "2 of 4 frames: the frame resembles no view of the scene" in page
        pages.append(re.findall(r"<t[hd][^>]*>([^<]*)", page))
    assert pages[0] == pages[1] and "seen in the frames" in pages[0]


def test_what_standing_still_would_score_stands_beside_the_path(clip, tmp_path):
    path = parse_trajectory("forward 1", len(clip.target_frames))
    page = write_sample_page(tmp_path, title="x", generated=clip.target_frames, cameras=path, frame_rate=4.0).read_text()
    away = np.linspace(0, 1, len(path))[1:].mean()
    assert f"errors of {away:.2f} m and 0.0°" in page

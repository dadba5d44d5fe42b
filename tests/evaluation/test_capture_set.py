"""Clips cut out of captures: the same again from a frozen set, depth between the frames that have it, and what the context sees."""

from dataclasses import replace

import numpy as np
import pytest

from data_curation.readers import find_posed_scenes, read_scene
from video4spatial.evaluation.capture_set import (
    capture_set,
    cut_captures,
    described,
    load_capture_set,
    seen_shares,
)
from video4spatial.evaluation.capture_windows import CutSettings
from video4spatial.evaluation.scoring import ScoredClip, usual_estimator
from video4spatial.evaluation.test_set import StaleTestSetError, load_test_set, write_test_set
from video4spatial.simulation.capture import simulated_capture

SETTINGS = CutSettings(windows=2, context_frames=10)


@pytest.fixture(scope="module")
def captures(posed_captures):
    return [read_scene(reader, scene) for reader, scene in find_posed_scenes(posed_captures)]


@pytest.fixture(scope="module")
def entries(captures):
    entries, notes = cut_captures(captures, SETTINGS)
    assert not notes
    return entries


@pytest.fixture(scope="module")
def kitchen(entries):
    return next(entry for entry in entries if entry.capture.name == "kitchen")


def test_clips_are_cropped_and_begin_at_the_anchor(entries):
    assert [entry.capture.name for entry in entries] == ["hall-seq-01", "hall-seq-01", "kitchen", "kitchen", "abc"]
    for entry in entries:
        clip = entry.load(32)
        assert clip.target_frames.shape == (9, 32, 32, 3) and clip.scene == entry.capture.space
        assert np.array_equal(clip.target_frames[0], clip.context_frames[clip.anchor])
        assert clip.target_cameras[0].allclose(clip.context_cameras[clip.anchor])
        fx, fy = (float(clip.target_cameras.intrinsics[0][axis, axis]) for axis in (0, 1))
        # The video has 48 columns for what was seen in 72.
        assert fx / fy == pytest.approx(48 / 72 if entry.capture.name == "abc" else 1.0)
        assert entry.load(32, 48).target_frames.shape == (9, 32, 48, 3)


def test_a_frozen_set_gives_the_same_clips(entries, captures, tmp_path):
    path = tmp_path / "real.json"
    write_test_set(path, capture_set(entries, SETTINGS, "mine"))
    again = load_capture_set(path, captures[::-1])
    assert [entry.name for entry in again] == [entry.name for entry in entries]
    for one, other in zip(entries, again, strict=True):
        first, second = one.load(16), other.load(16)
        assert np.array_equal(first.context_frames, second.context_frames) and described(one) == described(other)
        assert ScoredClip.of(first, {}) == ScoredClip.of(second, {})
    with pytest.raises(ValueError, match="cut out of abc, hall-seq-01, not among `captures`: there are kitchen"):
        load_capture_set(path, [capture for capture in captures if capture.name == "kitchen"])
    with pytest.raises(ValueError, match="of captures: give the folder that holds them"):
        load_test_set(str(path))
    write_test_set(path, {"name": "x", "settings": {}, "clips": []})
    with pytest.raises(ValueError, match="simulated rooms: leave `captures` out"):
        load_capture_set(path, captures)
    write_test_set(path, {"name": "x", "kind": "captures", "settings": {}, "clips": [{"capture": "kitchen", "scene": "kitchen"}]})
    with pytest.raises(ValueError, match="clips without anchor_sees, context_frames, .*: expected a file"):
        load_capture_set(path, captures)
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a test set"):
        load_capture_set(path, captures)


def test_another_recording_of_the_same_name_is_noticed(kitchen):
    other = simulated_capture(2_050_003, 64, 40, 60, frame_rate=8.0)
    with pytest.raises(StaleTestSetError, match="context positions were"):
        replace(kitchen, capture=replace(other, name="kitchen")).check()
    short = simulated_capture(2_050_003, 12, 40, 60)
    with pytest.raises(StaleTestSetError, match="it has 12 frames"):
        replace(kitchen, capture=short).load(16)


def test_depth_between_frames_is_that_of_their_neighbours(kitchen):
    """Every fourth frame has depth on disk; the simulator knows that of all."""
    clip = kitchen.load(40, 60)
    measured = sum(frame % 4 == 0 for frame in kitchen.recipe["target_frames"])
    assert clip.provenance["depth"]["target"] == {"measured": measured, "moved": 9 - measured}
    truth = simulated_capture(2_050_000, 64, 40, 60, frame_rate=8.0).read_depth(kitchen.recipe["target_frames"])
    known = clip.target_depth > 0
    assert known.mean() > 0.8
    error = np.abs(clip.target_depth - truth)[known] / truth[known]
    assert np.median(error) < 0.01 and (error < 0.05).mean() > 0.9


def test_what_the_context_sees_is_stated(kitchen, captures):
    shares = kitchen.recipe["context_sees"]
    assert shares["status"] == "ok" and 0.8 < shares["depth_known"] <= 1
    assert kitchen.recipe["anchor_sees"]["value"] < shares["value"]
    # As depth of every frame says.
    dense = simulated_capture(2_050_000, 64, 40, 60, frame_rate=8.0)
    entry = cut_captures([dense], SETTINGS)[0][0]
    assert entry.recipe["target_frames"] == kitchen.recipe["target_frames"]
    assert entry.recipe["depth"]["target"] == {"measured": 9, "moved": 0}
    assert shares["value"] == pytest.approx(entry.recipe["context_sees"]["value"], abs=0.1)


def test_unknown_depth_is_said(entries):
    hall = next(entry for entry in entries if entry.capture.name == "hall-seq-01")
    clip = hall.load(16)
    assert clip.context_depth is None and clip.target_depth is None
    for name, cell in seen_shares(clip).items():
        assert cell == hall.recipe[name] and (cell["value"], cell["status"]) == (None, "missing") and "has depth" in cell["reason"]


def test_cameras_are_measured_by_what_is_known(entries):
    estimators = {entry.capture.name: usual_estimator(entry.load(16)) for entry in entries}
    assert estimators == {"hall-seq-01": "essential", "kitchen": "pnp", "abc": "essential"}


def test_captures_without_a_clip_are_told_apart(captures):
    short = simulated_capture(2_050_003, 9, 16, 16)
    blind = replace(simulated_capture(2_050_003, 20, 16, 16), name="blind", cameras=None)
    entries, (first, second) = cut_captures([short, blind], SETTINGS)
    assert not entries and "has 9 frames, and a target of 9 leaves none" in first
    assert "blind is left out: it has no cameras" in second
    with pytest.raises(ValueError, match="two captures are named kitchen"):
        cut_captures([captures[1], captures[1]])

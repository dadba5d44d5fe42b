"""Detectors from a folder: tiny ones of random weights, of the real classes."""

import json
import shutil

import numpy as np
import pytest

from video4spatial.grounding.detectors import Detector


@pytest.mark.parametrize("kind", ["owlv2", "grounding-dino", "clipseg"])
def test_every_kind_finds_boxes_within_the_picture(kind, detector_folders, random_frames):
    frames = random_frames(0, 2)[:, :24]
    found = Detector.from_folder(detector_folders[kind], threshold=0.0).detections(frames, "red chair")
    assert found and {seen.frame for seen in found} == {0, 1}
    for seen in found:
        left, top, right, bottom = seen.box
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1 and 0 <= seen.score <= 1
        assert (seen.mask is None) == (kind != "clipseg")
        assert seen.mask is None or seen.mask.shape == (24, 32)


def test_a_threshold_that_nothing_meets_finds_nothing(detector_folders, random_frames):
    detector = Detector.from_folder(detector_folders["owlv2"], threshold=1.0)
    assert detector.detections(random_frames(0, 1), "red chair") == []
    assert np.isnan(detector.boxes(random_frames(0, 1), "red chair")).all()


def test_folders_without_a_detector_are_refused_in_one_sentence(tmp_path, detector_folders):
    with pytest.raises(FileNotFoundError, match="no config.json"):
        Detector.from_folder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="finds nothing by words: expected one of owlv2"):
        Detector.from_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not the configuration of a model"):
        Detector.from_folder(tmp_path)
    broken = shutil.copytree(detector_folders["owlv2"], tmp_path / "broken")
    (broken / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot be loaded"):
        Detector.from_folder(broken)

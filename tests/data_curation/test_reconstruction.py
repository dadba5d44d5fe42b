"""Cameras of footage: those of a simulated walk are found again from its pictures; what cannot be found says why."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from scipy.spatial.transform import Rotation

from data_curation.readers import read_scene
from data_curation.scene import with_cameras
from data_curation.stages.cameras import ReconstructionError, ReconstructionSettings, epipolar_check, reconstruct, starting_fov
from video4spatial.simulation import generate_scene, render, simulated_capture

COUNT, HEIGHT, WIDTH = 24, 192, 256


@pytest.fixture(scope="module")
def walk():
    capture = simulated_capture(12, COUNT, HEIGHT, WIDTH, frame_rate=8.0)
    frames = capture.read_frames(range(COUNT))
    return replace(capture, read_frames=lambda indices: frames[list(indices)])


def footage(capture, **fields):
    plain = {"cameras": None, "read_depth": None, "objects": (), "up_axis": None}
    return replace(capture, **plain, **fields)


def aligned_errors(found, true):
    """Degrees [T] between rotations and distances [T] between positions after the best similarity transform."""
    turn = Rotation.from_matrix((true.rotations @ found.rotations.mT).numpy()).mean()
    rotations, right = (Rotation.from_matrix(cameras.rotations.numpy()) for cameras in (found, true))
    degrees = np.degrees((turn * rotations * right.inv()).magnitude())
    positions, wanted = ((cameras.positions - cameras.positions.mean(0)).numpy() for cameras in (found, true))
    turned = Rotation.align_vectors(wanted, positions)[0].apply(positions)
    return degrees, np.linalg.norm((turned * wanted).sum() / (turned**2).sum() * turned - wanted, axis=1)


def test_the_cameras_of_a_walk_are_found_again(walk):
    pytest.importorskip("pycolmap")
    found = reconstruct(footage(walk))
    assert len(found.frames) >= 0.8 * COUNT and found.tried == tuple(range(COUNT))
    assert found.points > 50 and found.error_pixels < 1
    true = walk.cameras[list(found.frames)]
    degrees, distances = aligned_errors(found.cameras, true)
    assert np.median(degrees) < 1 and degrees.max() < 3
    assert np.sqrt((distances**2).mean()) < 0.03 * float(true.path_length())
    assert abs(float(found.cameras.fov_degrees[0]) - 75) < 5 and not found.cameras.metric
    check = epipolar_check(with_cameras(footage(walk), found.cameras, vars(found)), gap=2, pairs=6)
    assert check.median_pixels < 0.7 and check.inverted_pixels > 4 * check.median_pixels


def test_the_search_starts_from_the_lens_that_the_file_names(walk, tmp_path):
    settings = ReconstructionSettings()
    assert starting_fov(footage(walk), settings) == 60
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    for index in range(2):
        Image.new("RGB", (48, 64)).save(tmp_path / f"{index}.jpg", exif=exif)
    capture = read_scene("footage", str(tmp_path))
    # 26 mm before the diagonal of 43.3 mm: 4/5 of it are the longer side.
    assert starting_fov(capture, settings) == pytest.approx(np.degrees(2 * np.arctan(0.5 * 43.27 * 0.8 / 26)), abs=0.05)
    assert starting_fov(capture, replace(settings, fov_degrees=90.0)) == 90


def test_registered_frames_are_read_under_new_numbers(walk):
    frames = (3, 4, 9)
    found = {"frames": frames, "tried": (3, 4, 6, 9), "points": 100, "error_pixels": 0.5}
    source = replace(walk, provenance={"source": "here", "left_out": {"blank": [1]}})
    capture = with_cameras(source, walk.cameras[list(frames)].scaled(2.0, metric=False), found)
    assert len(capture) == len(capture.cameras) == 3 and np.array_equal(capture.times, walk.times[[3, 4, 9]])
    assert np.array_equal(capture.read_frames([2, 0]), walk.read_frames([9, 3]))
    assert np.array_equal(capture.read_instances([1]), walk.read_instances([4]))
    assert capture.provenance["left_out"] == {"blank": [1], "not_registered": [6]} and capture.provenance["source"] == "here"
    assert capture.read_depth is None and not capture.objects and capture.up_axis is None


def test_what_cannot_be_found_says_why(walk):
    pytest.importorskip("pycolmap")
    blank = footage(walk, read_frames=lambda indices: np.full((len(indices), HEIGHT, WIDTH, 3), 90, np.uint8))
    with pytest.raises(ReconstructionError, match="simulated-.*no two frames show enough of the same features"):
        reconstruct(blank, ReconstructionSettings(frames=4))
    with pytest.raises(ReconstructionError, match="has 2 frames"):
        reconstruct(footage(walk, frame_count=2, times=walk.times[:2]))


def test_a_camera_that_only_turns_is_named(walk):
    pytest.importorskip("pycolmap")
    poses = walk.cameras.camera_to_world[:1].repeat(6, 1, 1)
    turns = Rotation.from_euler("y", 4 * np.arange(6)[:, None], degrees=True).as_matrix()
    poses[:, :3, :3] = poses[:, :3, :3] @ torch.from_numpy(turns)
    frames = render(generate_scene(12), replace(walk.cameras[:6], camera_to_world=poses), HEIGHT, WIDTH, 2).rgb
    turning = footage(walk, frame_count=6, times=walk.times[:6], read_frames=lambda indices: frames[list(indices)])
    with pytest.raises(ReconstructionError, match="homography explains all .* the camera only turns"):
        reconstruct(turning, ReconstructionSettings(least_frames=6))


def test_the_missing_library_is_named(walk, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ImportError, match="pip install 'pycolmap>=4.0'"):
        reconstruct(footage(walk))


def test_long_footage_is_thinned_and_matched_in_order(walk):
    pytest.importorskip("pycolmap")
    settings = ReconstructionSettings(frames=12, exhaustive=4, overlap=4)
    first, second = (reconstruct(footage(walk), settings) for _ in range(2))
    assert len(first.tried) == 12 and set(first.frames) <= set(first.tried) and first.tried[-1] == COUNT - 1
    assert torch.equal(first.cameras.camera_to_world, second.cameras.camera_to_world)

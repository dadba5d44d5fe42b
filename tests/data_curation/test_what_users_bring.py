"""Folders as people bring them: other spellings, turned photographs, several lenses, parts and formats, files of their system."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from data_curation.readers import ReaderError, find_scenes, read_scene, unread_files
from tests.data_curation.test_readers import (
    COUNT,
    HEADER,
    HEIGHT,
    MATRIX,
    NAMES,
    PINHOLE,
    WIDTH,
    assert_point_lands,
    fisheye,
    only_scene,
    painted,
    poses,
    project,
    radial,
    write_colmap,
    write_transforms,
)
from video4spatial.cameras import parse_trajectory, write_cameras
from video4spatial.media import write_video

PIXELS = {"fl_x": 110, "fl_y": 105, "cx": 60.5, "cy": 50.25}
LISTED = [f"images/{name}" for name in NAMES]


def pictures(folder, pixels=None, names=NAMES, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for picture, name in zip(painted(project(poses()) if pixels is None else pixels), names):
        Image.fromarray(picture).save(folder / name, **options)


@pytest.mark.parametrize("spelled", [lambda n: n.replace("/", "\\"), lambda n: n.upper(), lambda n: ".\\Images\\" + n[7:-4]])
def test_names_of_other_systems(tmp_path, spelled):
    write_transforms(tmp_path / "a", poses(), [spelled(name) for name in LISTED], **HEADER)
    pictures(tmp_path / "a" / "images")
    assert len(assert_point_lands(read_scene("transforms", str(tmp_path / "a")))) == COUNT
    if "Images" not in spelled("x"):  # COLMAP's names have their endings
        write_colmap(tmp_path / "b" / "sparse", poses(), [spelled(f"x/{name}") for name in NAMES], PINHOLE)
        pictures(tmp_path / "b" / "images" / "X")
        assert len(assert_point_lands(read_scene("colmap", str(tmp_path / "b")))) == COUNT


def test_many_missing_pictures_are_counted_not_listed(tmp_path):
    write_transforms(tmp_path, np.tile(poses()[:1], (50, 1, 1)), [f"images/none_{index}.png" for index in range(50)], **HEADER)
    pictures(tmp_path / "images")
    with pytest.raises(ReaderError, match=r"none of its 50 frames .*: 50 image_missing \(.*none_2.png and 47 more\)$"):
        read_scene("transforms", str(tmp_path))


def test_frames_that_name_no_picture_are_named_by_their_numbers(tmp_path):
    write_cameras(tmp_path / "transforms.json", parse_trajectory("forward 1", 3))
    with pytest.raises(ReaderError, match=r"3 image_missing \(frame 0 without a file_path, "):
        read_scene("transforms", str(tmp_path))


ANGLE = {"camera_angle_x": 2 * np.arctan(WIDTH / 2 / 110), "cx": 60.5, "cy": 50.25}


@pytest.mark.parametrize("header", [PIXELS, ANGLE], ids=["pixels", "angle"])
def test_the_size_is_that_of_the_pictures_where_the_file_has_none(tmp_path, header):
    matrix = MATRIX.copy()
    matrix[1, 1] = 105 if "fl_y" in header else 110  # an angle alone means square pixels
    write_transforms(tmp_path, poses(), LISTED, **header)
    pictures(tmp_path / "images", project(poses(), matrix))
    capture = assert_point_lands(read_scene("transforms", str(tmp_path)))
    assert not capture.provenance["notes"]
    (tmp_path / "images").rename(tmp_path / "images_4")
    if "fl_x" in header:
        with pytest.raises(ReaderError, match="only smaller copies are there"):
            read_scene("transforms", str(tmp_path))


def test_sizes_of_another_shape_are_refused(tmp_path):
    write_transforms(tmp_path, poses(), LISTED, **{**PIXELS, "w": HEIGHT, "h": WIDTH})
    pictures(tmp_path / "images")
    with pytest.raises(ReaderError, match="of 96x128 for pictures of 128x96, which have another shape"):
        read_scene("transforms", str(tmp_path))
    np.savetxt(tmp_path / "poses.txt", poses().reshape(COUNT, 16))
    np.savetxt(tmp_path / "K.txt", MATRIX * [[4], [8], [1]])
    with pytest.raises(ReaderError, match="principal point .242, 402. is that of pictures of about 484x804"):
        read_scene("pose_table", str(tmp_path))
    np.savetxt(tmp_path / "K.txt", MATRIX * [[4], [4], [1]])  # of pictures four times the size
    capture = read_scene("pose_table", str(tmp_path))
    assert float(capture.cameras.fov_degrees[0]) == pytest.approx(2 * np.degrees(np.arctan(60.5 / 110)))
    assert "about 484x402: the principal point is taken as their middle" in " ".join(capture.provenance["notes"])


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("reader", ["colmap", "transforms", "pose_table", "realestate10k"])
def test_cameras_are_of_the_stored_pixels(tmp_path, orientation, reader):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pictures(tmp_path / "images", exif=exif)
    scene = tmp_path
    if reader == "colmap":
        write_colmap(tmp_path / "sparse", poses(), NAMES, PINHOLE)
    elif reader == "transforms":
        write_transforms(tmp_path, poses(), LISTED, **PIXELS)
    elif reader == "pose_table":
        np.savetxt(tmp_path / "poses.txt", poses().reshape(COUNT, 16))
        np.savetxt(tmp_path / "K.txt", MATRIX)
    else:
        rows = [np.linalg.inv(pose)[:3].flatten() for pose in poses()]
        k = f"{110 / WIDTH} {105 / HEIGHT} {60.5 / WIDTH} {50.25 / HEIGHT} 0 0"
        scene = tmp_path / "images.txt"
        scene.write_text("\n".join(f"{500000 * i} {k} " + " ".join(map(str, row)) for i, row in enumerate(rows)))
    capture = assert_point_lands(read_scene(reader, str(scene)))
    assert (capture.width, capture.height) == (WIDTH, HEIGHT) and "as stored" in " ".join(capture.provenance["notes"])


def test_cameras_of_upright_pictures_take_these(tmp_path):
    """A tool turned the photographs by their orientation before it found the cameras."""
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right
    upright = painted(project(poses()))
    (tmp_path / "images").mkdir()
    for picture, name in zip(upright, NAMES):
        Image.fromarray(np.rot90(picture)).save(tmp_path / "images" / name, exif=exif)
    write_transforms(tmp_path, poses(), LISTED, **HEADER)
    assert_point_lands(read_scene("transforms", str(tmp_path)))


def test_a_camera_for_each_image(tmp_path):
    """COLMAP without single_camera: lenses that differ a little, straight and bent."""
    write_colmap(tmp_path / "sparse", poses(), NAMES, PINHOLE)
    focals = 110 + np.arange(COUNT)
    for model in ("PINHOLE", "OPENCV"):
        rest = "" if model == "PINHOLE" else " -0.25 0.05 0 0"
        lenses = [f"{i + 1} {model} {WIDTH} {HEIGHT} {focal} 105 60.5 50.25{rest}" for i, focal in enumerate(focals)]
        (tmp_path / "sparse" / "cameras.txt").write_text("\n".join(lenses))
        lines = (tmp_path / "sparse" / "images.txt").read_text().splitlines()
        numbered = [" ".join([*line.split()[:8], line.split()[0], line.split()[9]]) if line else "" for line in lines]
        (tmp_path / "sparse" / "images.txt").write_text("\n".join(numbered) + "\n")
        pixels = []
        for pose, focal in zip(poses(), focals):
            matrix = MATRIX.copy()
            matrix[0, 0] = focal
            pixels.append(project(pose[None], matrix, radial if rest else None)[0])
        pictures(tmp_path / "images", np.stack(pixels))
        capture = assert_point_lands(read_scene("colmap", str(tmp_path)))
        assert torch.allclose(capture.cameras.intrinsics[:, 0, 0] * WIDTH, torch.from_numpy(focals).double())
        assert_point_lands(capture.__class__(**{**vars(capture), "read_frames": lambda frames: capture.read_frames(frames)}))
        assert np.array_equal(capture.read_frames([4, 1]), capture.read_frames(range(COUNT))[[4, 1]])


@pytest.mark.parametrize("flags, distort", [
    ({"is_fisheye": True, "k1": 0.05, "k2": -0.01, "k3": 0.0, "k4": 0.0}, fisheye),
    ({"camera_model": "OPENCV_FISHEYE", "k1": 0.05, "k2": -0.01}, fisheye),
    ({"k1": -0.25, "k2": 0.05, "k3": 0.1}, lambda p: radial(p) + p * 0.1 * (p**2).sum(1, keepdims=True) ** 3),
])  # fmt: skip
@pytest.mark.parametrize("place", ["header", "frames"])
def test_every_lens_flag_is_used(tmp_path, flags, distort, place):
    write_transforms(tmp_path, poses(), LISTED, **HEADER, **(flags if place == "header" else {}))
    if place == "frames":  # every second picture was taken with another, straight lens
        content = json.loads((tmp_path / "transforms.json").read_text())
        for frame in content["frames"][::2]:
            frame.update(flags)
        (tmp_path / "transforms.json").write_text(json.dumps(content))
    bent, straight = project(poses(), distort=distort), project(poses())
    if place == "frames":
        bent[1::2] = straight[1::2]
    pictures(tmp_path / "images", bent)
    assert_point_lands(read_scene("transforms", str(tmp_path)))


def test_a_lens_that_cannot_be_undistorted_is_refused(tmp_path):
    write_transforms(tmp_path, poses(), LISTED, **HEADER, camera_model="EQUIRECTANGULAR")
    pictures(tmp_path / "images")
    with pytest.raises(ReaderError, match="'EQUIRECTANGULAR' is not a pinhole or fisheye"):
        read_scene("transforms", str(tmp_path))
    write_colmap(tmp_path / "sparse", poses(), NAMES, f"FOV {WIDTH} {HEIGHT} 110 105 60.5 50.25 0.9")
    with pytest.raises(ReaderError, match="lens FOV: cannot be undistorted here"):
        read_scene("colmap", str(tmp_path))


def test_every_image_of_a_model_without_lines_of_points(tmp_path):
    write_colmap(tmp_path / "sparse" / "0", poses(), NAMES, PINHOLE)
    path = tmp_path / "sparse" / "0" / "images.txt"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if line))
    pictures(tmp_path / "images")
    assert len(assert_point_lands(read_scene("colmap", only_scene(tmp_path, "colmap")))) == COUNT


def test_the_largest_part_of_a_model_is_read_and_the_rest_named(tmp_path):
    write_colmap(tmp_path / "sparse" / "0", poses()[:2], NAMES[:2], PINHOLE)
    write_colmap(tmp_path / "sparse" / "1", poses()[2:], NAMES[2:], PINHOLE)
    pictures(tmp_path / "images")
    capture = assert_point_lands(read_scene("colmap", only_scene(tmp_path, "colmap")))
    assert len(capture) == COUNT - 2 and capture.provenance["left_out"] == {"no_camera": NAMES[:2]}
    assert "2 parts" in " ".join(capture.provenance["notes"])


@pytest.mark.parametrize("splits, names", [
    ("train test", [[f"r_{2 * i}" for i in range(3)], [f"r_{2 * i + 1}" for i in range(3)]]),
    ("val train", [["r_0", "r_1", "r_2"], ["r_0", "r_1", "r_2"]]),
])  # fmt: skip
def test_blenders_files_are_one_capture(tmp_path, splits, names):
    """One recording shared out by number goes on from frame to frame; sets of their own follow each other, training first."""
    angle = {"camera_angle_x": 2 * np.arctan(WIDTH / 2 / 110)}
    matrix = np.array([[110.0, 0, WIDTH / 2], [0, 110, HEIGHT / 2], [0, 0, 1]])
    shared = [[0, 2, 4], [1, 3, 5]] if splits == "train test" else [[3, 4, 5], [0, 1, 2]]
    for split, own, which in zip(splits.split(), names, shared):
        write_transforms(tmp_path, poses()[which], [f"./{split}/{name}" for name in own], **angle)
        (tmp_path / "transforms.json").rename(tmp_path / f"transforms_{split}.json")
        pictures(tmp_path / split, project(poses()[which], matrix), [f"{name}.png" for name in own])
    capture = assert_point_lands(read_scene("transforms", only_scene(tmp_path, "transforms")))
    assert np.allclose(capture.cameras.positions.numpy(), poses()[:, :3, 3])


def test_all_scenes_of_a_folder_of_several_formats(tmp_path):
    write_transforms(tmp_path / "loft", poses(), LISTED, **HEADER)
    pictures(tmp_path / "loft" / "images")
    write_colmap(tmp_path / "attic" / "sparse" / "0", poses(), NAMES, PINHOLE)
    pictures(tmp_path / "attic" / "images")
    write_video(tmp_path / "hall.mp4", painted(project(poses())), frame_rate=10)
    write_video(tmp_path / "loft" / "raw.mp4", painted(project(poses())), frame_rate=10)
    pictures(tmp_path / "holiday")
    pictures(tmp_path / "holiday" / "more")
    found = [("colmap", "attic"), ("footage", "hall.mp4"), ("footage", "holiday"), ("footage", "holiday/more"), ("transforms", "loft")]
    assert find_scenes(tmp_path) == [(reader, str(tmp_path / name)) for reader, name in found]
    assert find_scenes(tmp_path, "colmap") == [("colmap", str(tmp_path / "attic"))]
    (said,) = unread_files(tmp_path, find_scenes(tmp_path))
    assert said == "1 videos inside of scenes with cameras are not read: loft/raw.mp4"


def test_a_video_that_belongs_to_cameras_is_not_taken_twice(tmp_path):
    rows = [np.linalg.inv(pose)[:3].flatten() for pose in poses()]
    lines = [f"{500000 * i} 0.9 1.1 0.5 0.5 0 0 " + " ".join(map(str, row)) for i, row in enumerate(rows)]
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.txt").write_text("\n".join(lines))
    (tmp_path / "train" / "b.txt").write_text("\n".join(lines))
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", painted(project(poses())), frame_rate=2)
    pictures(tmp_path / "videos" / "b")
    assert [reader for reader, _ in find_scenes(tmp_path)] == ["realestate10k"] * 2 and unread_files(tmp_path, find_scenes(tmp_path)) == []


def test_files_of_the_system_are_no_scenes(tmp_path):
    write_video(tmp_path / "loft.mp4", painted(project(poses())), frame_rate=10)
    pictures(tmp_path / "photos")
    for name in ("._loft.mp4", ".Trashes/old.mp4", "__MACOSX/._loft.mp4", "@eaDir/loft.mp4", "photos/._frame_000000.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "loft.mp4", tmp_path / name)
    (tmp_path / "@eaDir" / "a.txt").write_text("0 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n")
    scenes = find_scenes(tmp_path)
    assert [scene.removeprefix(f"{tmp_path}/") for _, scene in scenes] == ["loft.mp4", "photos"]
    (said,) = unread_files(tmp_path, scenes)
    assert said.startswith("3 hidden files are left out: ") and "._loft.mp4" in said


def test_pictures_and_cameras_that_nobody_reads_are_named(tmp_path):
    pictures(tmp_path / "mixed")
    for index in (0, 3):
        (tmp_path / "mixed" / NAMES[index]).rename(tmp_path / "mixed" / f"{NAMES[index][:-4]}.HEIC")
    (tmp_path / "raw").mkdir()
    for name in ("IMG_1.DNG", "IMG_2.DNG"):
        (tmp_path / "raw" / name).write_bytes(b"")
    (tmp_path / "clip.insv").write_bytes(b"")
    (tmp_path / "keyframes" / "cameras").mkdir(parents=True)
    for index in range(5):
        (tmp_path / "keyframes" / "cameras" / f"{index}.json").write_text(json.dumps({"t_00": 1}))
    (tmp_path / "notes.txt").write_text("mine")
    scenes = find_scenes(tmp_path)
    assert scenes == [("footage", str(tmp_path / "mixed"))]
    capture = read_scene(*scenes[0])
    assert capture.provenance["left_out"] == {"ending_not_read": ["frame_000000.HEIC", "frame_000003.HEIC"]}
    assert unread_files(tmp_path, scenes) == [
        "1 videos have an ending that is not looked for: clip.insv",
        "2 pictures cannot be read (.DNG): raw/IMG_1.DNG, raw/IMG_2.DNG",
        "5 files that may hold cameras are not read by any reader: keyframes/cameras/0.json, keyframes/cameras/1.json, "
        "keyframes/cameras/2.json and 2 more",
    ]


def test_times_of_others_are_not_taken_for_seconds(tmp_path):
    write_transforms(tmp_path, poses(), LISTED, **HEADER)
    content = json.loads((tmp_path / "transforms.json").read_text())
    for index, frame in enumerate(content["frames"]):
        frame["time"] = index / (COUNT - 1)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    pictures(tmp_path / "images")
    capture = assert_point_lands(read_scene("transforms", str(tmp_path)))
    assert np.allclose(capture.times, np.arange(COUNT) / 4) and "share of the whole" in " ".join(capture.provenance["notes"])

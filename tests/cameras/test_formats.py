"""Camera files: round trips, files written by hand in each format's own terms, and errors that name the place."""

import json
import warnings

import kornia
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import FORMATS, CameraFileError, Cameras, detect_format, read_cameras, write_cameras


def random_cameras(seed: int = 0, count: int = 4, **fields) -> Cameras:
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    poses[:, :3, 3] = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return Cameras.from_fov(poses, 70.0, 1.6, **fields).with_frame_rate(8.0)


def write_json(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


IDENTITY = np.eye(4).tolist()


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("count", [1, 3, 20])
def test_round_trip_through_every_format(tmp_path, name, count):
    cameras = random_cameras(count, count)
    write_cameras(tmp_path / "file", cameras, name)
    assert detect_format(tmp_path / "file") == name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = read_cameras(tmp_path / "file")
    assert back.allclose(cameras, 1e-12)
    assert torch.allclose(back.times, cameras.times)
    assert back.metric == (name != "realestate10k")
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "nothing is left beside the file"


def test_save_and_load_follow_the_ending(tmp_path):
    cameras = random_cameras(metric=False)
    cameras.save(tmp_path / "cameras.json")
    assert Cameras.load(tmp_path / "cameras.json").allclose(cameras, 1e-12)
    assert not Cameras.load(tmp_path / "cameras.json").metric
    cameras.save(tmp_path / "cameras.tum")
    assert detect_format(tmp_path / "cameras.tum") == "tum"


def test_transforms_json_keeps_intrinsics_that_change_and_missing_times(tmp_path):
    poses = random_cameras(count=2).camera_to_world
    focal = torch.tensor([[[1.0, 0, 0.4], [0, 1.5, 0.6], [0, 0, 1]], [[2.0, 0, 0.5], [0, 3, 0.5], [0, 0, 1]]])
    cameras = Cameras(poses, focal)
    write_cameras(tmp_path / "a.json", cameras, image_size=(480, 640))
    content = json.loads((tmp_path / "a.json").read_text())
    assert (content["w"], content["h"], content["frames"][1]["fl_x"]) == (640, 480, 1280)
    back = read_cameras(tmp_path / "a.json")
    assert back.allclose(cameras, 1e-12) and back.times is None and back.metric


def test_transforms_json_is_opengl_unless_it_says_opencv(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    content = {"fl_x": 50, "w": 100, "h": 80, "frames": [{"transform_matrix": pose.tolist()}]}
    opengl = read_cameras(write_json(tmp_path / "gl.json", content))
    # An OpenGL camera at identity looks along -z with +y up; y up of the picture stays y up of the world.
    assert opengl.forward.tolist() == [[0, 0, -1]] and opengl.up.tolist() == [[0, 1, 0]]
    assert opengl.positions.tolist() == [[1, 2, 3]]
    assert torch.allclose(opengl.intrinsics[0], torch.tensor([[0.5, 0, 0.5], [0, 0.625, 0.5], [0, 0, 1]]).double())
    opencv = read_cameras(write_json(tmp_path / "cv.json", {**content, "camera_convention": "opencv"}))
    assert opencv.forward.tolist() == [[0, 0, 1]] and opencv.up.tolist() == [[0, -1, 0]]
    assert "OpenGL" in opengl.convention and "OpenCV" in opencv.convention
    assert not opengl.metric


def test_transforms_json_written_is_what_kornia_calls_opengl(tmp_path):
    cameras = random_cameras(5)
    write_cameras(tmp_path / "a.json", cameras)
    frames = json.loads((tmp_path / "a.json").read_text())["frames"]
    written = torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float64)
    theirs = kornia.geometry.conversions.camtoworld_vision_to_graphics_4x4(cameras.camera_to_world)
    assert torch.allclose(written, theirs)


def test_camera_angle_with_and_without_size(tmp_path):
    content = {"camera_angle_x": np.pi / 2, "w": 200, "h": 100, "frames": [{"transform_matrix": IDENTITY}]}
    cameras = read_cameras(write_json(tmp_path / "a.json", content))
    assert float(cameras.fov_degrees) == pytest.approx(90) and float(cameras.aspect) == pytest.approx(2)
    del content["w"], content["h"]
    with pytest.warns(UserWarning, match="taken to be square"):
        assert float(read_cameras(write_json(tmp_path / "b.json", content)).aspect) == pytest.approx(1)
    assert float(read_cameras(tmp_path / "b.json", aspect=1.5).aspect) == pytest.approx(1.5)


def test_realestate10k_by_hand(tmp_path):
    # World-to-camera of a camera 2 m along +x that looks along +x: camera z is world x, camera x is world -z.
    matrix = "0 0 -1 0 0 1 0 0 1 0 0 -2"
    (tmp_path / "a.txt").write_text(
        f"https://example.org/watch\n500000 0.5 0.9 0.5 0.5 0 0 {matrix}\n1500000 0.5 0.9 0.5 0.5 0 0 {matrix}\n"
    )
    cameras = read_cameras(tmp_path / "a.txt")
    assert torch.allclose(cameras.positions, torch.tensor([[2.0, 0, 0]] * 2).double())
    assert torch.allclose(cameras.forward, torch.tensor([[1.0, 0, 0]] * 2).double())
    assert cameras.times.tolist() == [0.5, 1.5]
    assert float(cameras.fov_degrees[0]) == pytest.approx(90)
    assert not cameras.metric


def test_tum_by_hand_with_scipy_quaternions(tmp_path):
    quaternion = Rotation.from_euler("y", 90, degrees=True).as_quat()  # xyzw, turns z into x
    (tmp_path / "a.txt").write_text("# comment\n\n10.5 1 2 3 " + " ".join(map(str, quaternion)) + "\n")
    with pytest.warns(UserWarning, match="60 degrees is assumed"):
        cameras = read_cameras(tmp_path / "a.txt")
    assert torch.allclose(cameras.forward, torch.tensor([[1.0, 0, 0]]).double())
    assert cameras.positions.tolist() == [[1, 2, 3]] and cameras.times.tolist() == [10.5]
    assert float(read_cameras(tmp_path / "a.txt", fov_degrees=80).fov_degrees) == pytest.approx(80)


def test_digits_lost_in_text_do_not_bend_rotations(tmp_path):
    poses = random_cameras(3).world_to_camera[:, :3].flatten(1).tolist()
    lines = ["0 0.5 0.9 0.5 0.5 0 0 " + " ".join(f"{value:.4f}" for value in pose) for pose in poses]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    rotations = read_cameras(tmp_path / "a.txt").rotations
    assert torch.allclose(rotations.mT @ rotations, torch.eye(3).double().expand(4, 3, 3), atol=1e-12)


ROW = "0 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0"


@pytest.mark.parametrize("text, message", [
    ("", "the file is empty"),
    ("hello\nworld\n", r"Known formats:\n  transforms: .*\n  realestate10k: .*\n  tum: "),
    (f"url\n{ROW}\n{ROW} 7\n", "line 3: expected 19 numbers .*found 20"),
    (f"url\n{ROW}\n{ROW[:-2]}\nx\n", "line 3: expected 19 numbers.*found 18.*; line 4: not only numbers: 'x'"),
    (f"url\n{ROW[:-1]}nan\n", "line 2: holds NaN or infinity"),
    (f"{ROW}\n" + ROW.replace("1 0 0 0 0 1", "2 0 0 0 0 1"), r"not a rotation.*\(frame 1\)"),
    ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0\n", "line 2: expected 8 numbers .*found 7"),
    ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 0\n", "line 2: the quaternion has length 0 instead of 1"),
    ("0 inf 0 0 0 0 0 1\n", "line 1: holds NaN or infinity"),
    ('{"frames": [{"transform_matrix": [[1, 0', "not valid JSON"),
    ('{"frames": [], "transform_matrix": 0}', 'a list "frames" of at least one frame'),
])
def test_broken_files_are_named_with_the_place(tmp_path, text, message):
    path = tmp_path / "broken.txt"
    path.write_text(text)
    with pytest.raises(CameraFileError, match=message) as error:
        read_cameras(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("change, message", [
    ({"frames": [{"transform_matrix": IDENTITY}, {}]}, 'frame 1 has no "transform_matrix"'),
    ({"frames": [{"transform_matrix": [[1, 0], [0, 1]]}]}, r"must be 4x4, given \[2, 2\]"),
    ({"frames": [{"transform_matrix": [["a"] * 4] * 4}]}, "something other than numbers"),
    ({"frames": [{"transform_matrix": [[float("nan")] * 4] * 4}]}, r"NaN or infinity \(frame 0\)"),
    ({"frames": [{"transform_matrix": (2 * np.eye(4)).tolist()}]}, "not a rotation"),
    ({"w": None}, '"w" is None'),
    ({"fl_x": -5}, '"fl_x" is -5, expected a positive number'),
    ({"camera_model": "OPENCV_FISHEYE"}, "not a pinhole"),
    ({"camera_convention": "unreal"}, '"camera_convention" is \'unreal\''),
])
def test_broken_transforms_json(tmp_path, change, message):
    content = {"fl_x": 50, "w": 100, "h": 80, "frames": [{"transform_matrix": IDENTITY}], **change}
    with pytest.raises(CameraFileError, match=message):
        read_cameras(write_json(tmp_path / "a.json", content), "transforms")


def test_missing_files_folders_and_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such camera file"):
        read_cameras(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_cameras(tmp_path / "none" / "a.json", random_cameras())
    with pytest.raises(CameraFileError, match="'realestate'. Did you mean 'realestate10k'"):
        write_cameras(tmp_path / "a.txt", random_cameras(), "realestate")
    with pytest.raises(CameraFileError, match="ending '.txt' does not say"):
        write_cameras(tmp_path / "a.txt", random_cameras())
    with pytest.raises(CameraFileError, match="not a camera file that is recognised"):
        read_cameras(tmp_path)
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(CameraFileError, match="not a camera file that is recognised"):
        read_cameras(tmp_path / "binary")


@pytest.mark.parametrize("name", ["tum", "realestate10k"])
def test_a_refused_write_leaves_the_old_file_alone(tmp_path, name):
    path = tmp_path / "a.txt"
    path.write_text("old")
    without_times = Cameras.from_fov(torch.eye(4)[None])
    with pytest.raises(CameraFileError, match="needs a time per frame"):
        write_cameras(path, without_times, name)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(CameraFileError, match="a file holds one path"):
        write_cameras(path, Cameras.from_fov(torch.eye(4).repeat(2, 3, 1, 1)).with_frame_rate(1), name)


def test_what_is_left_out_is_said(tmp_path):
    poses = torch.eye(4).repeat(2, 1, 1)
    zoom = Cameras(poses, torch.stack([torch.eye(3), torch.diag(torch.tensor([2.0, 2, 1]))])).with_frame_rate(1)
    with pytest.warns(UserWarning, match="left out"):
        write_cameras(tmp_path / "a.tum", zoom)
    content = {"fl_x": 50, "w": 100, "h": 80, "k1": 0.1, "frames": [{"transform_matrix": IDENTITY}]}
    with pytest.warns(UserWarning, match="distortion is ignored"):
        read_cameras(write_json(tmp_path / "a.json", content))

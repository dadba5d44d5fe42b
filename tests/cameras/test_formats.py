"""Camera files: round trips, files written by hand in each format's own terms, and errors that name the place."""

import json
import struct
import warnings

import kornia
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import CameraFileError, Cameras, detect_format, parse_trajectory, read_cameras, write_cameras
from video4spatial.cameras.formats import WRITABLE, colmap, read_camera_file, recammaster


def random_cameras(seed: int = 0, count: int = 4, **fields) -> Cameras:
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    poses[:, :3, :3] = torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())
    poses[:, :3, 3] = torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 3)))
    return Cameras.from_fov(poses, 70.0, 1.6, **fields).with_frame_rate(8.0)


def write_json(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


IDENTITY = np.eye(4).tolist()


# What each format has no place for; it says so when it writes.
NO_TIMES = {"kitti", "colmap", "recammaster", "worldplay"}
NO_SCALE = {"realestate10k", "colmap", "worldplay", "camera_path"}
NO_INTRINSICS = {"recammaster"}


@pytest.mark.parametrize("name", WRITABLE)
@pytest.mark.parametrize("count", [1, 3, 20])
def test_round_trip_through_every_format(tmp_path, name, count):
    cameras = random_cameras(count, count)
    with warnings.catch_warnings(record=True) as said:
        write_cameras(tmp_path / "file", cameras, name)
    assert bool(said) == (name in (NO_TIMES | NO_INTRINSICS) - {"colmap"})
    assert detect_format(tmp_path / "file") == name
    stated = {"fov_degrees": 70.0, "aspect": 1.6} if name in NO_INTRINSICS else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = read_cameras(tmp_path / "file", **stated)
    assert back.allclose(cameras, 1e-12)
    assert back.times is None if name in NO_TIMES else torch.allclose(back.times, cameras.times)
    assert back.metric == (name not in NO_SCALE)
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
    ("hello\nworld\n", "not a camera file that is recognised; known are transforms, .*docs/formats.md"),
    (f"url\n{ROW}\n{ROW} 7\n", "line 3: expected 19 numbers .*found 20"),
    (f"url\n{ROW}\n{ROW[:-2]}\nx\n", "line 3: expected 19 numbers.*found 18.*; line 4: not only numbers: 'x'"),
    (f"url\n{ROW[:-1]}nan\n", "line 2: holds NaN or infinity"),
    (f"{ROW}\n" + ROW.replace("1 0 0 0 0 1", "2 0 0 0 0 1"), r"not a rotation.*\(frame 1\)"),
    ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0\n", "line 2: expected 8 numbers .*found 7"),
    ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0 0\n", "line 2: the quaternion has length 0 instead of 1"),
    ("0 inf 0 0 0 0 0 1\n", "line 1: holds NaN or infinity"),
    ("#timestamp\n1403715273262142976 0 0 0 1 0 0 0\n", "line 2: time 1403715273262142976 is not in seconds. Is this EuRoC"),
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
    ({"camera_model": "EQUIRECTANGULAR"}, "frame 0: camera_model 'EQUIRECTANGULAR' is not a pinhole"),
    ({"frames": [{"transform_matrix": IDENTITY, "camera_model": "FISHEYE624"}]}, "'FISHEYE624' is not a pinhole"),
    ({"ftheta_p0": 0.1}, '"ftheta_p0" is not a pinhole'),
    ({"latlong": True}, '"latlong" is not a pinhole'),
    ({"k1": 0.1, "k4": 0.01}, "distortion k4 is not part of the lens OPENCV"),
    ({"is_fisheye": True, "p1": 0.01}, "distortion p1 is not part of the lens OPENCV_FISHEYE"),
    ({"k1": "0.1"}, '"k1" is \'0.1\', expected a number'),
    ({"camera_convention": "unreal"}, '"camera_convention" is \'unreal\''),
])
def test_broken_transforms_json(tmp_path, change, message):
    content = {"fl_x": 50, "w": 100, "h": 80, "frames": [{"transform_matrix": IDENTITY}], **change}
    with pytest.raises(CameraFileError, match=message):
        read_cameras(write_json(tmp_path / "a.json", content), "transforms")


LEVEL = Rotation.from_euler("y", 90, degrees=True)  # a camera that looks along the world's x


def write_colmap_binary(folder, models, images):
    """The two files as COLMAP's documentation lays them out."""
    folder.mkdir()
    with (folder / "cameras.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(models)))
        for identity, model, width, height, parameters in models:
            file.write(struct.pack("<iiQQ", identity, model, width, height) + np.array(parameters, "<f8").tobytes())
    with (folder / "images.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(images)))
        for identity, quaternion, translation, camera, name, points in images:
            file.write(struct.pack("<i7di", identity, *quaternion, *translation, camera) + name.encode() + b"\0")
            file.write(struct.pack("<Q", points) + struct.pack("<ddq", 1.5, 2.5, -1) * points)


def test_colmap_text_and_binary_by_hand(tmp_path):
    # World-to-camera of a camera at (2, 0, 1) that looks along x.
    rotation = LEVEL.inv()
    quaternion = rotation.as_quat()[[3, 0, 1, 2]]
    translation = -rotation.as_matrix() @ [2, 0, 1]
    numbers = " ".join(map(str, [*quaternion, *translation]))
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "cameras.txt").write_text("# comment\n7 SIMPLE_RADIAL 640 480 320 320 240 0\n")
    # Names with blanks, an empty line of points, an order that is not that of the names.
    (tmp_path / "text" / "images.txt").write_text(
        f"# comment\n2 {numbers} 7 walk 10.png\n\n1 1 0 0 0 0 0 0 7 walk 9.png\n1.5 2.5 -1 3 4 -1\n"
    )
    images = [(2, quaternion, translation, 7, "walk 10.png", 3), (1, [1, 0, 0, 0], [0, 0, 0], 7, "walk 9.png", 0)]
    write_colmap_binary(tmp_path / "binary", [(7, 2, 640, 480, [320, 320, 240, 0])], images)
    for folder in (tmp_path / "text", tmp_path / "binary"):
        assert detect_format(folder) == "colmap"
        cameras = read_cameras(folder)
        assert torch.allclose(cameras.positions, torch.tensor([[0.0, 0, 0], [2, 0, 1]]).double())
        assert torch.allclose(cameras.forward, torch.tensor([[0.0, 0, 1], [1, 0, 0]]).double())
        # Both count from the corner of the first pixel: the middle of the picture is one half, without a shift.
        assert cameras.intrinsics[0, :2, 2].tolist() == [0.5, 0.5]
        assert float(cameras.fov_degrees[0]) == pytest.approx(90) and not cameras.metric
        assert [image.name for image in colmap.read_images(folder)] == ["walk 9.png", "walk 10.png"]


def test_colmap_agrees_with_pycolmap(tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    cameras = random_cameras(6, 5)
    write_cameras(tmp_path / "model", cameras, "colmap", image_size=(480, 768))
    model = pycolmap.Reconstruction(tmp_path / "model")
    for image in model.images.values():
        index = int(image.name[6:12])
        expected = image.cam_from_world().matrix()
        assert np.allclose(cameras.world_to_camera[index, :3].numpy(), expected)
        assert np.allclose(image.camera.calibration_matrix(), cameras.pixel_intrinsics(480, 768)[index].numpy())
    (tmp_path / "binary").mkdir()
    model.write_binary(tmp_path / "binary")
    assert read_cameras(tmp_path / "binary").allclose(cameras, 1e-9)


@pytest.mark.parametrize("model, parameters", [(2, [320, 320, 240, 0.1]), (5, [300, 300, 320, 240, 0, 0, 0, 0])])
def test_distorted_colmap_models_are_read_with_a_warning(tmp_path, model, parameters):
    image = (1, [1, 0, 0, 0], [0, 0, 0], 1, "a.png", 0)
    write_colmap_binary(tmp_path / "model", [(1, model, 640, 480, parameters)], [image])
    with pytest.warns(UserWarning, match="the pictures are distorted .* cameras of undistorted ones"):
        assert len(read_cameras(tmp_path / "model")) == 1
    assert colmap.read_images(tmp_path / "model")[0].lens.distorted


def test_damaged_colmap_models(tmp_path):
    image = (1, [1, 0, 0, 0], [0, 0, 0], 1, "a.png", 5)
    write_colmap_binary(tmp_path / "model", [(1, 1, 640, 480, [320, 320, 320, 240])], [image])
    whole = (tmp_path / "model" / "images.bin").read_bytes()
    for size in range(0, len(whole), 17):
        (tmp_path / "model" / "images.bin").write_bytes(whole[:size])
        with pytest.raises(CameraFileError, match="images.bin: damaged or cut short"):
            read_cameras(tmp_path / "model")
    (tmp_path / "model" / "images.bin").write_bytes(whole.replace(struct.pack("<i", 1) + b"a", struct.pack("<i", 4) + b"a"))
    with pytest.raises(CameraFileError, match="'a.png' has camera 4, which cameras.bin does not hold"):
        read_cameras(tmp_path / "model")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "cameras.txt").write_text("1 PINHOLE 640 480 320 320 320\n")
    (tmp_path / "text" / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    with pytest.raises(CameraFileError, match="line 1: PINHOLE .* with 3 parameters, expected 4"):
        read_cameras(tmp_path / "text")
    (tmp_path / "text" / "cameras.txt").write_text("1 PINHOLE 640 480 320 320 320 240\n")
    (tmp_path / "text" / "images.txt").write_text("1 1 0 0 0 0 0 1 a.png\n\n")
    with pytest.raises(CameraFileError, match="line 1: expected image, qw"):
        read_cameras(tmp_path / "text")


def test_kitti_by_hand(tmp_path):
    matrix = np.concatenate([LEVEL.as_matrix(), [[1], [2], [3]]], axis=1)
    (tmp_path / "00.txt").write_text(" ".join(map(str, matrix.flatten())) + "\n")
    with pytest.warns(UserWarning, match="60 degrees is assumed"):
        cameras = read_cameras(tmp_path / "00.txt")
    assert torch.allclose(cameras.forward, torch.tensor([[1.0, 0, 0]]).double()) and cameras.metric
    assert cameras.positions.tolist() == [[1, 2, 3]]


CAMERA_AT = np.block([[LEVEL.as_matrix(), np.array([[1.0], [2], [3]])], [np.array([[0.0, 0, 0, 1]])]])
PIXELS = np.array([[50.0, 0, 50], [0, 50, 40], [0, 0, 1]])
PLACES = np.stack([*np.meshgrid(np.arange(100) + 0.5, np.arange(80) + 0.5), np.ones((80, 100))], axis=-1)
LOCAL_POINTS = 3.0 * PLACES[None] @ np.linalg.inv(PIXELS).T  # on a wall 3 m away


@pytest.mark.parametrize("arrays", [
    {"c2w": CAMERA_AT[None], "intrinsics": PIXELS[None]},
    {"w2c": np.linalg.inv(CAMERA_AT)[None], "intrinsics": PIXELS[None], "image_height": 80, "image_width": 100},
    {"cam_c2w": CAMERA_AT[None], "intrinsic": PIXELS},
    {"extrinsic": np.linalg.inv(CAMERA_AT)[None, None, :3], "intrinsic": PIXELS[None, None],
     "images": np.zeros((1, 1, 3, 80, 100), np.float32)},
    {"extrinsics": np.linalg.inv(CAMERA_AT)[None], "intrinsics": PIXELS[None], "depth": np.zeros((1, 80, 100))},
    {"camera_poses": CAMERA_AT[None], "intrinsics": PIXELS[None], "depth_z": np.zeros((1, 80, 100, 1))},
    {"camera_poses": CAMERA_AT[None, None], "local_points": LOCAL_POINTS[None]},
], ids=["lyra_training", "lyra_inference", "megasam", "vggt", "depth_anything", "map_anything", "pi3"])  # fmt: skip
def test_npz_layouts(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    assert detect_format(tmp_path / "a.npz") == "npz"
    sized = bool({"images", "depth", "depth_z", "local_points", "image_height"} & set(arrays))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        file = read_camera_file(tmp_path / "a.npz")
    assert bool(said) == (not sized)
    if sized:
        with pytest.raises(CameraFileError, match="pictures of 100x80 for pictures of 80x100, which have another shape"):
            file.resized(100, 80)
    cameras = file.cameras
    assert torch.allclose(cameras.camera_to_world[0], torch.from_numpy(CAMERA_AT))
    assert torch.allclose(cameras.intrinsics[0], torch.tensor([[0.5, 0, 0.5], [0, 0.625, 0.5], [0, 0, 1]]).double())


def test_npz_of_vipe_finds_its_intrinsics(tmp_path):
    for name, data in (("pose", CAMERA_AT[None]), ("intrinsics", np.array([[50.0, 50, 50, 40]]))):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "clip.npz", data=data, inds=np.arange(1))
    with pytest.warns(UserWarning, match="taken as their middle"):
        cameras = read_cameras(tmp_path / "pose" / "clip.npz")
    assert torch.allclose(cameras.camera_to_world[0], torch.from_numpy(CAMERA_AT))
    assert float(cameras.fov_degrees) == pytest.approx(90)


@pytest.mark.parametrize("arrays, message", [
    ({"c2w": CAMERA_AT[None], "w2c": CAMERA_AT[None]}, "expected one array of poses .* found c2w, w2c"),
    ({"c2w": CAMERA_AT}, r"c2w has shape \[4, 4\], expected \[N, 3, 4\] or \[N, 4, 4\]"),
    ({"c2w": CAMERA_AT[None], "intrinsics": np.stack([PIXELS] * 3)}, "3 intrinsics for 1 poses"),
    ({"c2w": CAMERA_AT[None], "intrinsics": -PIXELS[None]}, "positive focal lengths"),
    ({"camera_poses": CAMERA_AT[None], "local_points": -LOCAL_POINTS}, "not lie on the rays of any lens"),
    ({"camera_poses": CAMERA_AT[None], "local_points": LOCAL_POINTS[0]}, r"local_points has shape \[80, 100, 3\], expected \[1, H, W, 3\]"),
    ({"c2w": np.array([["a"] * 4] * 4)}, "holds <U1, expected numbers"),
    ({"c2w": np.array([{"code": 1}])}, "damaged, or not plain arrays"),
])  # fmt: skip
def test_broken_npz(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(CameraFileError, match=message):
        read_cameras(tmp_path / "a.npz")


def test_recammaster_by_hand(tmp_path):
    # Unreal: x forward, y right, z up, centimetres, for row vectors. The camera at (100, 50, 20) looks along the world's y (right).
    turned = "[0 1 0 0] [-1 0 0 0] [0 0 1 0] [100 50 20 1] "
    still = "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1] "
    content = {"frame0": {"cam01": still, "cam02": turned}, "frame1": {"cam01": turned, "cam02": still}}
    path = write_json(tmp_path / "camera_extrinsics.json", content)
    assert detect_format(path) == "recammaster"
    with pytest.warns(UserWarning, match=r"2 cameras: cam01 is read \(the others: cam02\)"):
        cameras = read_cameras(path, fov_degrees=70)
    relative = cameras.relative_to(cameras[0]).camera_to_world[1]
    # Seen from the first camera in OpenCV axes: 0.5 m right, 0.2 m up, 1 m ahead, and turned right by 90 degrees.
    assert torch.allclose(relative[:3, 3], torch.tensor([0.5, -0.2, 1.0]).double())
    assert torch.allclose(relative[:3, 2], torch.tensor([1.0, 0, 0]).double())
    assert torch.allclose(torch.linalg.det(cameras.rotations), torch.ones(2).double()) and cameras.metric
    both = recammaster.read_all(path, 70.0)
    assert list(both) == ["cam01", "cam02"] and torch.allclose(both["cam02"].positions[1], torch.zeros(3).double())


@pytest.mark.parametrize("content, message", [
    ({"frame0": {"cam01": "[1 0 0 0]"}}, "frame0, cam01: expected four rows of four numbers"),
    ({"frame0": {"cam01": "[1 0 0 0]"}, "frame2": {}}, "frame1 is missing"),
])
def test_broken_recammaster(tmp_path, content, message):
    with pytest.raises(CameraFileError, match=message):
        read_cameras(write_json(tmp_path / "a.json", content))


def test_worldplay_by_hand(tmp_path):
    entry = {"extrinsic": CAMERA_AT.tolist(), "K": [[960, 0, 960], [0, 960, 540], [0, 0, 1]]}
    cameras = read_cameras(write_json(tmp_path / "a.json", {"0": entry, "1": entry}))
    assert detect_format(tmp_path / "a.json") == "worldplay"
    assert torch.allclose(cameras.camera_to_world[1], torch.from_numpy(CAMERA_AT))
    assert float(cameras.fov_degrees[0]) == pytest.approx(90)
    assert float(cameras.aspect[0]) == pytest.approx(16 / 9)
    with pytest.raises(CameraFileError, match='"1": "K" must be 3x3'):
        read_cameras(write_json(tmp_path / "b.json", {"0": entry, "1": {**entry, "K": [1, 2]}}))
    with pytest.raises(CameraFileError, match='"0" is missing'):
        read_cameras(write_json(tmp_path / "c.json", {"1": entry}))


def test_camera_path_by_hand(tmp_path):
    pose = np.eye(4)
    pose[:3, 3] = [1, 2, 3]
    camera = {"camera_to_world": pose.flatten().tolist(), "fov": 60, "aspect": 2}
    content = {"camera_type": "perspective", "render_height": 100, "render_width": 200, "fps": 4, "camera_path": [camera] * 2}
    cameras = read_cameras(write_json(tmp_path / "camera_path.json", content))
    assert detect_format(tmp_path / "camera_path.json") == "camera_path"
    assert cameras.forward[0].tolist() == [0, 0, -1] and cameras.positions[0].tolist() == [1, 2, 3]
    assert cameras.times.tolist() == [0, 0.25]
    # The field of view is the vertical one.
    assert float(2 * torch.atan(0.5 / cameras.intrinsics[0, 1, 1]).rad2deg()) == pytest.approx(60)
    assert float(cameras.aspect[0]) == pytest.approx(2)
    with pytest.raises(CameraFileError, match="camera_type 'equirectangular' is not a pinhole"):
        read_cameras(write_json(tmp_path / "b.json", {**content, "camera_type": "equirectangular"}))
    broken = {**content, "camera_path": [camera, {**camera, "camera_to_world": [1, 2]}]}
    with pytest.raises(CameraFileError, match="camera 1: expected 16 numbers"):
        read_cameras(write_json(tmp_path / "c.json", broken))


def test_a_folder_is_not_written_over(tmp_path):
    write_cameras(tmp_path / "model", random_cameras(), "colmap")
    before = (tmp_path / "model" / "images.txt").read_text()
    for name in ("colmap", "tum"):
        with pytest.raises(CameraFileError, match="a folder of that name already"):
            write_cameras(tmp_path / "model", random_cameras(1), name)
    assert (tmp_path / "model" / "images.txt").read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_missing_files_folders_and_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such camera file"):
        read_cameras(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_cameras(tmp_path / "none" / "a.json", random_cameras())
    with pytest.raises(CameraFileError, match="'realestate' .did you mean 'realestate10k'"):
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
    with pytest.warns(UserWarning, match="distorted .OPENCV.: these are the cameras of undistorted ones"):
        read_cameras(write_json(tmp_path / "a.json", content))


def test_pictures_are_named_where_a_format_names_them(tmp_path):
    cameras = random_cameras(count=2)
    names = ["a.png", "b.png"]
    write_cameras(tmp_path / "t.json", cameras, image_names=names)
    assert [frame["file_path"] for frame in json.loads((tmp_path / "t.json").read_text())["frames"]] == names
    write_cameras(tmp_path / "model", cameras, "colmap", image_names=names)
    assert [line.split()[-1] for line in (tmp_path / "model" / "images.txt").read_text().splitlines()[1::2]] == names
    with pytest.raises(CameraFileError, match="1 `image_names` for 2 cameras"):
        write_cameras(tmp_path / "u.json", cameras, image_names=names[:1])
    with pytest.raises(CameraFileError, match="tum does not name"):
        write_cameras(tmp_path / "u.tum", cameras, image_names=names)


def test_a_folder_with_camera_files_says_which_to_give(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear all\n")
    with pytest.raises(CameraFileError, match="not a camera file that is recognised"):
        read_cameras(tmp_path)
    for name in ("a.json", "b.json"):
        write_cameras(tmp_path / name, parse_trajectory("forward 1", 3))
    with pytest.raises(CameraFileError, match="a folder with camera files in it: give one of them, a.json, b.json$"):
        read_cameras(tmp_path)

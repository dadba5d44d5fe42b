"""What camera files of other programs say of their pictures: names, order, times, lenses, sizes, parts; and their axes."""

import json
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import CameraFileError, Cameras, detect_format, parse_trajectory, read_camera_file, read_cameras, write_cameras
from video4spatial.cameras.formats import Stated, colmap
from video4spatial.cameras.lenses import PictureShapeError
from video4spatial.cameras.motions import TrajectoryError

SHUFFLED = [5, 0, 11, 3, 9, 1, 7, 10, 2, 8, 4, 6]
TURN = Rotation.from_euler("y", 30, degrees=True)  # to the right, as y points down
AT = np.array([2.0, -0.5, 1.0])


def walk(count: int = 12) -> Cameras:
    """Half a metre per camera, at 90 degrees across."""
    return parse_trajectory(f"forward {0.5 * (count - 1)}", count, fov_degrees=90, aspect=1.5)


def quietly(read, *arguments, **options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = read(*arguments, **options)
    return result, [str(warning.message) for warning in said]


def transforms(path, frames, **header):
    path.write_text(json.dumps({**header, "frames": frames}))
    return path


def frames_of(cameras, names, **more):
    opengl = cameras.camera_to_world.numpy() * [1.0, -1, -1, 1]
    return [{"file_path": name, "transform_matrix": pose.tolist(), **more} for name, pose in zip(names, opengl)]


# ---- order -------------------------------------------------------------------------------------------------------


def test_frames_follow_the_names_of_their_pictures(tmp_path):
    names = [f"images/frame_{index}.png" for index in range(12)]  # 10 comes after 9
    listed = frames_of(walk(), names)
    path = transforms(tmp_path / "t.json", [listed[index] for index in SHUFFLED], fl_x=48, w=96, h=64)
    file = read_camera_file(path)
    assert file.image_names == tuple(names) and float(file.cameras.path_length()) == pytest.approx(5.5)
    assert float(parse_trajectory(path, 12).path_length()) == pytest.approx(5.5)


def tum_lines(cameras, times):
    quaternions = Rotation.from_matrix(cameras.rotations.numpy()).as_quat().tolist()
    return [" ".join(map(repr, [time, *at, *q])) for time, at, q in zip(times, cameras.positions.tolist(), quaternions)]


def write_tum(path, cameras, times):
    path.write_text("\n".join(tum_lines(cameras, times)))


def write_realestate10k(path, cameras, times):
    rows = cameras.world_to_camera[:, :3].flatten(1).tolist()
    path.write_text("\n".join(" ".join(map(repr, [time * 1e6, 0.5, 0.75, 0.5, 0.5, 0, 0, *row])) for time, row in zip(times, rows)))


def write_npz(path, cameras, times):
    with path.open("wb") as file:
        np.savez(file, camera_to_world=cameras.camera_to_world, intrinsics=cameras.intrinsics, times=np.array(times))


def write_transforms(path, cameras, times):
    frames = frames_of(cameras, [f"{index}.png" for index in range(len(cameras))])
    transforms(path, [{**frame, "time": time} for frame, time in zip(frames, times)], fl_x=48, w=96, h=64, metric=True)


WRITERS = [write_tum, write_realestate10k, write_npz, write_transforms]


@pytest.mark.parametrize("write", WRITERS)
def test_times_out_of_order_are_sorted_and_repetitions_left_out(tmp_path, write):
    times = [0.25 * index for index in SHUFFLED]
    write(tmp_path / "a", walk()[SHUFFLED], times)
    cameras, said = quietly(read_cameras, tmp_path / "a")
    assert float(cameras.path_length()) == pytest.approx(5.5) and (cameras.times.diff() > 0).all()
    assert any("not in order of time: they are sorted" in sentence for sentence in said)
    write(tmp_path / "b", walk()[[0, 1, 1, 2]], [0.0, 0.25, 0.25, 0.75])
    cameras, said = quietly(read_cameras, tmp_path / "b")
    assert cameras.times.tolist() == pytest.approx([0, 0.25, 0.75]) and any("1 repeated camera left out" in s for s in said)
    write(tmp_path / "c", walk()[[0, 1, 2, 3]], [0.0, 0.25, 0.25, 0.75])
    with pytest.raises(CameraFileError, match=r"(line 3|camera 2|frame 2): the time [\d.]+ is that of (line 2|camera 1|frame 1), with"):
        quietly(read_cameras, tmp_path / "c")


@pytest.mark.parametrize("write", WRITERS)
def test_two_recordings_one_behind_the_other_are_refused(tmp_path, write):
    write(tmp_path / "a", walk(), [0.25 * index for index in range(6)] + [0.1 + 0.25 * index for index in range(6)])
    with pytest.raises(CameraFileError, match=r"(line 7|camera 6|frame 6): time goes back to .* second recording"):
        quietly(read_cameras, tmp_path / "a")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("step", [1e-6, 1e4], ids=["frame numbers as microseconds", "milliseconds and more"])
def test_times_in_another_unit_are_left_out_with_a_word(tmp_path, write, step):
    write(tmp_path / "a", walk(), [step * index for index in range(12)])
    cameras, said = quietly(read_cameras, tmp_path / "a")
    assert cameras.times is None and any("are not seconds" in sentence for sentence in said)
    write(tmp_path / "b", walk(), [0.0] * 12)  # as tools write that know no times
    assert quietly(read_cameras, tmp_path / "b")[0].times is None


def test_shares_of_the_whole_are_not_seconds(tmp_path):
    shares = [index / 11 for index in range(12)]
    frames = [{**frame, "time": shares[index]} for index, frame in enumerate(frames_of(walk(), [f"{99 - i}.png" for i in range(12)]))]
    cameras, said = quietly(read_cameras, transforms(tmp_path / "t.json", [frames[i] for i in SHUFFLED], fl_x=48, w=96, h=64))
    assert cameras.times is None and float(cameras.path_length()) == pytest.approx(5.5)  # in the order of the shares
    assert any("a share of the whole, not seconds" in sentence for sentence in said)


# ---- which format ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["keyframes", "camera_type"])
def test_a_camera_path_is_followed_whatever_key_comes_first(tmp_path, first):
    path = tmp_path / "camera_path.json"
    write_cameras(path, walk().with_frame_rate(4), "camera_path")
    content = json.loads(path.read_text()) | {"keyframes": [{"matrix": [1.0] * 16, "fov": 50}]}
    path.write_text(json.dumps({first: content.pop(first), **content}, indent=1))
    assert len(read_cameras(path)) == 12
    assert float(parse_trajectory(path, 7).path_length()) == pytest.approx(5.5)


def test_a_keyframe_file_is_one_wherever_its_key_stands(tmp_path):
    keyframes = [{"time": 0}, {"time": 2, "position": [0, 0, 1.0]}]
    for name, content in [("a.json", {"keyframes": keyframes}), ("b.json", {"comment": "mine\n", "keyframes": keyframes})]:
        (tmp_path / name).write_text(json.dumps(content, indent=1))
        assert float(parse_trajectory(tmp_path / name, 5).path_length()) == pytest.approx(1)


def test_a_path_from_a_distorted_model_is_a_path(tmp_path):
    write_cameras(tmp_path / "model", walk(), "colmap", image_size=(64, 96))
    text = (tmp_path / "model" / "cameras.txt").read_text()
    (tmp_path / "model" / "cameras.txt").write_text("1 SIMPLE_RADIAL 96 64 48 48 32 -0.1\n")
    assert "PINHOLE" in text
    path, said = quietly(parse_trajectory, tmp_path / "model", 12)
    assert float(path.path_length()) == pytest.approx(5.5) and not said
    with pytest.raises(TrajectoryError, match="holds no motion"):
        write_cameras(tmp_path / "still", walk()[[0, 0]], "colmap")
        parse_trajectory(tmp_path / "still", 4)


# ---- COLMAP ------------------------------------------------------------------------------------------------------


def test_colmap_images_without_lines_of_points(tmp_path):
    write_cameras(tmp_path / "model", walk(), "colmap", image_size=(64, 96))
    path = tmp_path / "model" / "images.txt"
    lines = [line for line in path.read_text().splitlines() if line]
    path.write_text("\n".join(lines) + "\n")
    assert len(read_cameras(tmp_path / "model")) == 12
    # Some have points, some an empty line, some none: each image is still one.
    header, *images = lines
    path.write_text("\n".join([header, images[0], "1.5 2.5 -1 3 4 7", images[1], "", *images[2:]]) + "\n")
    assert len(read_cameras(tmp_path / "model")) == 12
    path.write_text("\n".join([header, images[0], "1.5 2.5 -1", "3 4 7", *images[1:]]) + "\n")
    with pytest.raises(CameraFileError, match="line 4: expected image, qw"):
        read_cameras(tmp_path / "model")


def test_a_model_of_several_parts(tmp_path):
    for name, count in (("0", 3), ("1", 7), ("10", 4)):
        (tmp_path / "sparse").mkdir(exist_ok=True)
        write_cameras(tmp_path / "sparse" / name, walk(count), "colmap")
    for place in (tmp_path, tmp_path / "sparse"):
        assert detect_format(place) == "colmap" and colmap.parts(place)[0] == tmp_path / "sparse" / "1"
        with pytest.warns(UserWarning, match=r"3 parts, each in a world of its own: 1 \(7 images\) is read, not 10 \(4\), 0 \(3\)"):
            assert len(read_cameras(place)) == 7
    with pytest.warns(UserWarning, match=r"0 \(3 images\) is read, not 1 \(7\)"):
        assert len(read_cameras(tmp_path / "sparse" / "0")) == 3
    (tmp_path / "scans").mkdir()
    for name in ("001", "002"):  # scenes, not parts
        write_cameras(tmp_path / "scans" / name, walk(3), "colmap")
    assert colmap.parts(tmp_path / "scans") == []


# ---- lenses and sizes --------------------------------------------------------------------------------------------

PIXELS = {"fl_x": 48, "fl_y": 48, "cx": 50, "cy": 33}


@pytest.mark.parametrize("flags, model, rest", [
    ({"is_fisheye": True, "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4}, "OPENCV_FISHEYE", (0.1, 0.2, 0.3, 0.4)),
    ({"camera_model": "OPENCV_FISHEYE", "k1": 0.1}, "OPENCV_FISHEYE", (0.1, 0, 0, 0)),
    ({"k1": 0.1, "k2": 0.2, "p1": 0.01, "p2": 0.02}, "OPENCV", (0.1, 0.2, 0.01, 0.02)),
    ({"k1": 0.1, "k3": 0.3, "is_fisheye": False}, "FULL_OPENCV", (0.1, 0, 0, 0, 0.3, 0, 0, 0)),
    ({"camera_model": "FULL_OPENCV", "k1": 0.1, "k4": 0.4, "k6": 0.6}, "FULL_OPENCV", (0.1, 0, 0, 0, 0, 0.4, 0, 0.6)),
    ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1, "k2": None}, "OPENCV", (0.1, 0, 0, 0)),
])  # fmt: skip
@pytest.mark.parametrize("place", ["header", "frames"])
def test_every_lens_flag_counts(tmp_path, flags, model, rest, place):
    header = {**PIXELS, "w": 96, "h": 64}
    frames = frames_of(walk(2), ["a.png", "b.png"], **(flags if place == "frames" else {}))
    path = transforms(tmp_path / "t.json", frames, **header, **(flags if place == "header" else {}))
    lens = read_camera_file(path).lenses[1]
    assert (lens.model, lens.width, lens.height) == (model, 96, 64) and lens.parameters == pytest.approx((48, 48, 50, 33, *rest))
    assert lens.resized(128, 192).parameters == pytest.approx((96, 96, 100, 66, *rest))


def test_a_rolling_shutter_is_said(tmp_path):
    path = transforms(tmp_path / "t.json", frames_of(walk(2), "ab"), **PIXELS, w=96, h=64, rolling_shutter=[0, 0, 0.03])
    assert any("rolling shutter is not modelled" in sentence for sentence in quietly(read_cameras, path)[1])


def test_what_a_header_leaves_to_the_size_of_the_pictures(tmp_path):
    frames = frames_of(walk(2), ["a.png", "b.png"])
    sized = Stated(image_size=(64, 96))
    k = read_camera_file(transforms(tmp_path / "pixels.json", frames, **PIXELS), stated=sized).cameras.intrinsics[0]
    assert torch.allclose(k, torch.tensor([[0.5, 0, 50 / 96], [0, 0.75, 33 / 64], [0, 0, 1]]).double())
    file, said = quietly(read_camera_file, transforms(tmp_path / "angle.json", frames, camera_angle_x=np.pi / 2), stated=sized)
    assert torch.allclose(file.cameras.pixel_intrinsics(64, 96)[0, [0, 1], [0, 1]], torch.tensor([48.0, 48]).double()) and not said
    with pytest.raises(CameraFileError, match="in pixels but not w and h, and no pictures tell their size"):
        read_camera_file(tmp_path / "pixels.json")
    with pytest.raises(PictureShapeError, match="pictures of about 100x66, not of 384x256"):
        read_camera_file(tmp_path / "pixels.json", stated=Stated(image_size=(256, 384)))
    np.savez(tmp_path / "a.npz", c2w=walk(2).camera_to_world, intrinsics=np.array([[48.0, 0, 48], [0, 48, 32], [0, 0, 1]]))
    for size in ((64, 96), (640, 960)):  # the second: cameras were found at a tenth of the size
        k = quietly(read_camera_file, tmp_path / "a.npz", stated=Stated(image_size=size))[0].cameras.intrinsics[0]
        assert torch.allclose(k, torch.tensor([[0.5, 0, 0.5], [0, 0.75, 0.5], [0, 0, 1]]).double())
    with pytest.raises(PictureShapeError, match="pictures of about 96x64, not of 64x96"):
        read_camera_file(tmp_path / "a.npz", stated=Stated(image_size=(96, 64)))


@pytest.mark.parametrize("size", [(96, 64), (64, 64)])
def test_cameras_of_pictures_of_another_shape(tmp_path, size):
    frames = frames_of(walk(2), ["a.png", "b.png"])
    transforms(tmp_path / "t.json", frames, **PIXELS, w=96, h=64)
    write_cameras(tmp_path / "model", walk(2), "colmap", image_size=(64, 96))
    np.savez(tmp_path / "a.npz", c2w=walk(2).camera_to_world, intrinsics=np.diag([48.0, 48, 1]) + [[0, 0, 48], [0, 0, 32], [0, 0, 0]],
             image_height=64, image_width=96)  # fmt: skip
    for name in ("t.json", "model", "a.npz"):
        file = read_camera_file(tmp_path / name)
        assert file.resized(33, 49).lenses[0].width == 49  # smaller copies have rounded sizes
        with pytest.raises(PictureShapeError, match="of 96x64 for pictures of .*another shape: they were cropped or turned"):
            file.resized(*size)


# ---- formats of other programs -----------------------------------------------------------------------------------


def assert_placed(cameras: Cameras, index: int = 1) -> None:
    """The camera stands at `AT` of the first one's axes and is turned 30 degrees to the right of it."""
    pose = cameras.relative_to(0)[index]
    assert np.allclose(pose.positions[0].numpy(), AT, atol=1e-6)
    assert np.allclose(pose.forward[0].numpy(), [0.5, 0, np.sqrt(0.75)], atol=1e-6)
    assert np.allclose(pose.up[0].numpy(), [0, -1, 0], atol=1e-6)


MOVED = np.block([[TURN.as_matrix(), AT[:, None]], [np.array([[0.0, 0, 0, 1]])]])
POSES = np.stack([np.eye(4), MOVED])


def write_table(folder):
    np.savetxt(folder / "poses.txt", POSES.reshape(2, 16))
    return folder / "poses.txt"


def write_stacked(folder):
    np.savetxt(folder / "stacked.txt", POSES.reshape(8, 4))
    return folder / "stacked.txt"


def write_pose_files(folder):
    for index, pose in enumerate(POSES):
        np.savetxt(folder / f"frame-{8 + index:06d}.pose.txt", pose)
    return folder


def write_numbered(folder):
    (folder / "pose").mkdir()
    for index, pose in zip((9, 10), POSES):
        np.savetxt(folder / "pose" / f"{index}.txt", pose)
    return folder / "pose"


def write_array(folder):
    np.save(folder / "a.npy", POSES[:, :3])
    return folder / "a.npy"


def write_motionctrl(folder):
    rows = np.linalg.inv(POSES)[:, :3].reshape(2, 12).tolist()
    (folder / "a.json").write_text(json.dumps(rows))
    return folder / "a.json"


def write_tartanair(folder):
    """North, east, down: ahead is x, to the right y; a turn to the right is about +z."""
    half = np.radians(15)
    (folder / "pose_left.txt").write_text(f"0 0 0 0 0 0 1\n{AT[2]} {AT[0]} {AT[1]} 0 0 {np.sin(half)} {np.cos(half)}\n")
    return folder / "pose_left.txt"


def write_opensfm(folder):
    world_to_camera = np.linalg.inv(POSES)
    shots = {
        name: {
            "rotation": Rotation.from_matrix(pose[:3, :3]).as_rotvec().tolist(), "translation": pose[:3, 3].tolist(), "camera": "v2",
        }
        for name, pose in reversed(list(zip(["9.jpg", "10.jpg"], world_to_camera)))
    }  # fmt: skip
    camera = {"projection_type": "perspective", "width": 96, "height": 64, "focal": 0.5, "k1": 0.1, "k2": 0.0}
    (folder / "reconstruction.json").write_text(json.dumps([{"cameras": {"v2": camera}, "shots": shots, "points": {}}]))
    return folder / "reconstruction.json"


def openmvg_content(data):
    views = [
        {"key": i, "value": {"ptr_wrapper": {"data": {"local_path": "", "filename": name, "width": 96, "height": 64, "id_view": i,
                                                      "id_intrinsic": 0, "id_pose": i}}}}
        for i, name in enumerate(["10.jpg", "9.jpg", "lost.jpg"])
    ]  # fmt: skip
    extrinsics = [{"key": i, "value": {"rotation": p[:3, :3].T.tolist(), "center": p[:3, 3].tolist()}} for i, p in enumerate(POSES[::-1])]
    intrinsics = [{"key": 0, "value": {"polymorphic_id": 1, "ptr_wrapper": {"data": data}}}]
    return {"sfm_data_version": "0.3", "root_path": "x", "views": views, "intrinsics": intrinsics, "extrinsics": extrinsics}


def write_openmvg(folder):
    data = {"width": 96, "height": 64, "focal_length": 48.0, "principal_point": [48.0, 32.0], "disto_k3": [0.1, 0.0, 0.0]}
    (folder / "sfm_data.json").write_text(json.dumps(openmvg_content(data)))
    return folder / "sfm_data.json"


@pytest.mark.parametrize("write, format, metric, names", [
    (write_table, "matrices", True, None),
    (write_stacked, "matrices", True, None),
    (write_pose_files, "matrices", True, ("frame-000008", "frame-000009")),
    (write_numbered, "matrices", True, ("9", "10")),
    (write_array, "matrices", True, None),
    (write_motionctrl, "motionctrl", False, None),
    (write_tartanair, "tartanair", True, None),
    (write_opensfm, "opensfm", False, ("9.jpg", "10.jpg")),
    (write_openmvg, "openmvg", False, ("9.jpg", "10.jpg")),
])  # fmt: skip
def test_axes_and_directions_of_formats_that_are_only_read(tmp_path, write, format, metric, names):
    path = write(tmp_path)
    assert detect_format(path) == format
    file, _ = quietly(read_camera_file, path)
    assert_placed(file.cameras)
    assert file.cameras.metric == metric and file.image_names == names
    with pytest.raises(CameraFileError, match=f"{format} is read, not written"):
        write_cameras(tmp_path / "new", file.cameras, format)


def test_motionctrl_moves_as_its_basic_files_are_called(tmp_path):
    """"I" goes in: the last number falls. "L" goes left: the fourth rises. "U" goes up: the eighth rises."""
    for place, change, axis, sign in ((11, -0.2, 2, 1), (3, 0.2, 0, -1), (7, 0.2, 1, -1)):
        rows = [np.eye(4)[:3].flatten().tolist() for _ in range(2)]
        rows[1][place] = change
        (tmp_path / "a.json").write_text(json.dumps(rows))
        moved = quietly(read_cameras, tmp_path / "a.json")[0].positions[1]
        assert float(moved[axis]) == pytest.approx(0.2 * sign)


def test_tartanair_sees_ninety_degrees_and_is_known_by_its_name(tmp_path):
    path = write_tartanair(tmp_path)
    cameras, said = quietly(read_cameras, path)
    assert float(cameras.fov_degrees[0]) == pytest.approx(90) and float(cameras.aspect[0]) == pytest.approx(4 / 3) and not said
    path.rename(tmp_path / "poses_of_mine.txt")
    with pytest.raises(CameraFileError, match="not a camera file that is recognised"):
        read_cameras(tmp_path / "poses_of_mine.txt")
    assert len(read_cameras(tmp_path / "poses_of_mine.txt", "tartanair")) == 2


def test_lost_frames_of_matrices_are_left_out_and_their_pictures_named(tmp_path):
    (tmp_path / "images").mkdir()
    for index in (2, 10, 30):
        (tmp_path / "images" / f"{index}.png").write_bytes(b"")
    np.savetxt(tmp_path / "poses.txt", np.stack([POSES[0], np.full((4, 4), np.nan), POSES[1]]).reshape(3, 16))
    np.savetxt(tmp_path / "K.txt", [[48.0, 0, 48], [0, 48, 32], [0, 0, 1]])
    for place in (tmp_path, tmp_path / "poses.txt"):
        file, said = quietly(read_camera_file, place, stated=Stated(image_size=(64, 96)))
        assert file.image_names == ("2.png", "30.png") and any("1 of 3 frames were lost" in s and "10.png" in s for s in said)
        assert float(file.cameras.fov_degrees[0]) == pytest.approx(90)
        assert_placed(file.cameras)


@pytest.mark.parametrize("camera, model, rest", [
    ({"projection_type": "brown", "focal_x": 0.5, "focal_y": 0.5, "c_x": 0.02, "c_y": -0.01, "k1": 0.1, "k2": 0.2, "k3": 0.3, "p1": 0.01,
      "p2": 0.02}, "FULL_OPENCV", (0.1, 0.2, 0.01, 0.02, 0.3, 0, 0, 0)),
    ({"projection_type": "fisheye", "focal": 0.5, "k1": 0.1, "k2": 0.2}, "OPENCV_FISHEYE", (0.1, 0.2, 0, 0)),
    ({"projection_type": "perspective", "focal": 0.5, "k1": 0.0, "k2": 0.0}, "OPENCV", (0, 0, 0, 0)),
])  # fmt: skip
def test_lenses_of_opensfm(tmp_path, camera, model, rest):
    path = write_opensfm(tmp_path)
    (content,) = json.loads(path.read_text())
    content["cameras"]["v2"] = {"width": 64, "height": 96, **camera}  # upright: the longer side is the height
    path.write_text(json.dumps([content]))
    lens = read_camera_file(path).lenses[0]
    center = (32 + 96 * camera.get("c_x", 0), 48 + 96 * camera.get("c_y", 0))
    assert lens.model == model and lens.parameters == pytest.approx((48, 48, *center, *rest))
    content["cameras"]["v2"]["projection_type"] = "spherical"
    path.write_text(json.dumps([content, {"cameras": {}, "shots": {"a": {}}}]))
    with pytest.warns(UserWarning, match="2 reconstructions"), pytest.raises(CameraFileError, match="'spherical' is not a pinhole"):
        read_camera_file(path)


@pytest.mark.parametrize("data, model, rest", [
    ({}, "PINHOLE", ()),
    ({"disto_k1": [0.1]}, "OPENCV", (0.1, 0, 0, 0)),
    ({"disto_k3": [0.1, 0.2, 0.3]}, "FULL_OPENCV", (0.1, 0.2, 0, 0, 0.3, 0, 0, 0)),
    ({"disto_t2": [0.1, 0.2, 0.3, 0.01, 0.02]}, "FULL_OPENCV", (0.1, 0.2, 0.01, 0.02, 0.3, 0, 0, 0)),
    ({"fisheye": [0.1, 0.2, 0.3, 0.4]}, "OPENCV_FISHEYE", (0.1, 0.2, 0.3, 0.4)),
])  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_lenses_of_openmvg(tmp_path, data, model, rest, nested):
    pinhole = {"width": 96, "height": 64, "focal_length": 48.0, "principal_point": [50.0, 33.0]}
    content = openmvg_content({"value0": {"value0": pinhole}, **data} if nested else pinhole | data)
    (tmp_path / "a.json").write_text(json.dumps(content))
    lens = read_camera_file(tmp_path / "a.json").lenses[0]
    assert lens.model == model and lens.parameters == pytest.approx((48, 48, 50, 33, *rest))
    (tmp_path / "a.json").write_text(json.dumps(openmvg_content({"width": 96, "height": 48})))
    with pytest.raises(CameraFileError, match="intrinsic 0 is not a pinhole"):
        read_camera_file(tmp_path / "a.json")


def changed_opensfm(folder, change):
    path = write_opensfm(folder)
    (content,) = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps([content]))
    return path


@pytest.mark.parametrize("change", [
    lambda part: part.update(cameras=0.5),
    lambda part: part.update(shots=2.5),
    lambda part: part["cameras"].update(v2=None),
    lambda part: part["cameras"]["v2"].update(width=float("inf")),
    lambda part: part["cameras"]["v2"].update(k1=float("nan")),
    lambda part: part["shots"].update({"9.jpg": [1, 2]}),
])  # fmt: skip
def test_opensfm_with_other_values_is_refused_by_name(tmp_path, change):
    path = changed_opensfm(tmp_path, change)
    with pytest.raises(CameraFileError, match="reconstruction.json: "):
        read_camera_file(path)


@pytest.mark.parametrize("change", [{"width": 0}, {"width": -96}, {"height": float("inf")}, {"disto_k3": 1}, {"disto_k1": [float("nan")]}])
def test_openmvg_with_other_values_is_refused_by_name(tmp_path, change):
    lens = {"width": 96, "height": 64, "focal_length": 48.0, "principal_point": [48.0, 32.0], **change}
    (tmp_path / "sfm_data.json").write_text(json.dumps(openmvg_content(lens)))
    with pytest.raises(CameraFileError, match="sfm_data.json: "):
        read_camera_file(tmp_path / "sfm_data.json")
    (tmp_path / "sfm_data.json").write_text(json.dumps(openmvg_content({}) | {"views": [{"value": {"ptr_wrapper": {"data": 3}}}]}))
    with pytest.raises(CameraFileError, match="sfm_data.json: "):
        read_camera_file(tmp_path / "sfm_data.json")


def test_damaged_arrays_of_matrices_are_refused_by_name(tmp_path):
    path = write_array(tmp_path)
    whole = path.read_bytes()
    for damaged in (whole[:-8], whole.replace(b"{'descr'", b"(({'desc"), b"PK\x05\x06" + bytes(18)):
        path.write_bytes(damaged)
        with pytest.raises(CameraFileError, match="a.npy: not a camera file"):
            read_cameras(path)
        with pytest.raises(CameraFileError, match="a.npy: damaged, or not a plain array"):
            read_cameras(path, "matrices")
    for other in (np.ones((2, 4)), np.ones((0, 4, 4)), np.full((2, 4, 4), "x")):
        np.save(path, other)
        with pytest.raises(CameraFileError, match="a.npy: holds .*, expected numbers"):
            read_cameras(path, "matrices")


@pytest.mark.parametrize("format", ["motionctrl", "opensfm", "openmvg"])
@pytest.mark.parametrize("content", ["3", "null", "{}", '"x"', "[3]", "[[true, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]"])
def test_json_of_another_kind_is_refused_where_the_format_is_named(tmp_path, format, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(CameraFileError, match="a.json: "):
        read_cameras(tmp_path / "a.json", format)

"""Readers of raw captures: faithful small fixtures of every layout with its traps. A known point of the world must land on the pixel
where it was painted, through the cameras and pictures that the reader gives."""

import json
import struct
import zlib

import av
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from data_curation.readers import READERS, ReaderError, find_posed_scenes, find_scenes, read_scene
from data_curation.readers.scannetpp import from_nerfstudio
from video4spatial.cameras import Cameras, write_cameras
from video4spatial.media import MediaError, write_video
from video4spatial.simulation import SEED_RANGES

HEIGHT, WIDTH = 96, 128
MATRIX = np.array([[110.0, 0, 60.5], [0, 105, 50.25], [0, 0, 1]])  # pixels from the corner of the first one
POINT = np.array([0.4, 3.0, 1.3])  # the world's z points up
COUNT = 6


def poses(count: int = COUNT, roll: float = 0.0) -> np.ndarray:
    """Camera-to-world matrices [count, 4, 4] with OpenCV axes: a person walks sideways before the point."""
    result = np.tile(np.eye(4), (count, 1, 1))
    for index in range(count):
        position = np.array([0.25 * index - 0.6, 0.1 * index, 1.2])
        forward = POINT + [0.15, 0, 0.1 * index - 0.2] - position
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward], axis=1)
        result[index, :3, :3] = axes @ Rotation.from_euler("z", roll, degrees=True).as_matrix()
        result[index, :3, 3] = position
    return result


def project(camera_to_world: np.ndarray, matrix: np.ndarray = MATRIX, distort=None) -> np.ndarray:
    """Pixels [N, 2] of the point, counted from the corner; `distort` maps points of the plane at depth 1."""
    local = np.einsum("nji,nj->ni", camera_to_world[:, :3, :3], POINT - camera_to_world[:, :3, 3])
    assert (local[:, 2] > 0).all()
    plane = local[:, :2] / local[:, 2:]
    plane = plane if distort is None else distort(plane)
    return plane * matrix[[0, 1], [0, 1]] + matrix[:2, 2]


def painted(pixels: np.ndarray, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Pictures with a soft dot at each pixel position."""
    y, x = np.mgrid[:height, :width] + 0.5
    distance = (x - pixels[:, 0, None, None]) ** 2 + (y - pixels[:, 1, None, None]) ** 2
    return np.repeat((255 * np.exp(-distance / 8))[..., None], 3, axis=3).round().astype(np.uint8)


def dots(pictures: np.ndarray) -> np.ndarray:
    """Where the dots are [N, 2], counted from the corner."""
    weight = pictures[..., 0].astype(float) * (pictures[..., 0] > 40)
    y, x = np.mgrid[: pictures.shape[1], : pictures.shape[2]] + 0.5
    return np.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], axis=1) / weight.sum((1, 2))[:, None]


def assert_point_lands(capture, tolerance: float = 0.3):
    """The point, through the capture's cameras, is where the capture's pictures show it; its depth too, where there is depth."""
    pictures = capture.read_frames(range(len(capture)))
    assert pictures.shape == (len(capture), capture.height, capture.width, 3) and pictures.dtype == np.uint8
    camera_to_world = capture.cameras.camera_to_world.numpy()
    pixels = capture.cameras.pixel_intrinsics(capture.height, capture.width).numpy()
    expected = np.concatenate([project(camera_to_world[i : i + 1], pixels[i]) for i in range(len(capture))])
    assert np.abs(dots(pictures) - expected).max() < tolerance
    if capture.read_depth is not None:
        local = np.einsum("nji,nj->ni", camera_to_world[:, :3, :3], POINT - camera_to_world[:, :3, 3])
        depth = capture.read_depth(range(len(capture)))
        assert depth.shape == pictures.shape[:3] and depth.dtype == np.float32
        found = [depth[i, int(y), int(x)] for i, (x, y) in enumerate(expected)]
        known = np.array(found) > 0
        assert known.any() and np.abs(np.array(found) - local[:, 2])[known].max() < 0.01
    return capture


def only_scene(source, reader):
    ((name, scene),) = find_scenes(source)
    assert name == reader
    return scene


def save(folder, pictures, names):
    folder.mkdir(parents=True, exist_ok=True)
    for picture, name in zip(pictures, names):
        Image.fromarray(picture).save(folder / name, **({"quality": 98} if name.endswith("jpg") else {}))


def depths(camera_to_world):
    return np.einsum("nji,nj->ni", camera_to_world[:, :3, :3], POINT - camera_to_world[:, :3, 3])[:, 2]


def save_depth(path, metres: float, units: float, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, round(metres * units), np.uint16)).save(path)


def write_colmap(folder, camera_to_world, names, lens: str):
    """A text model by scipy's quaternions; identities in another order than the names."""
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(f"1 {lens}\n")
    lines = []
    for index in np.random.default_rng(0).permutation(len(names)):
        inverse = np.linalg.inv(camera_to_world[index])
        x, y, z, w = Rotation.from_matrix(inverse[:3, :3]).as_quat()
        tx, ty, tz = inverse[:3, 3]
        lines += [f"{index + 1} {w} {x} {y} {z} {tx} {ty} {tz} 1 {names[index]}", ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")


NAMES = [f"frame_{index:06d}.png" for index in range(COUNT)]
PINHOLE = f"PINHOLE {WIDTH} {HEIGHT} 110 105 60.5 50.25"


def test_rooms_are_seeds_of_a_split():
    scenes = find_scenes("validation:3-5")
    assert scenes == [("rooms", "validation:3"), ("rooms", "validation:4"), ("rooms", "validation:5")]
    capture = read_scene(*scenes[0], num_frames=3, size=32)
    assert capture.provenance["seed"] == SEED_RANGES["validation"][3] and capture.read_frames([0, 2]).shape == (2, 32, 32, 3)
    for source, message in (("trian:0-5", "unknown split 'trian'"), ("train:5-2", "FIRST <= LAST")):
        with pytest.raises(ReaderError, match=message):
            find_scenes(source)


def test_colmap_counts_from_the_corner_and_orders_by_name(tmp_path):
    write_colmap(tmp_path / "hall" / "sparse" / "0", poses(), NAMES, PINHOLE)
    save(tmp_path / "hall" / "images", painted(project(poses())), NAMES)
    capture = assert_point_lands(read_scene("colmap", only_scene(tmp_path, "colmap")))
    assert capture.name == "hall" and not capture.cameras.metric
    assert np.allclose(capture.cameras.positions.numpy(), poses()[:, :3, 3])


def test_colmap_of_smaller_pictures_and_missing_ones(tmp_path):
    """The model was made at twice the size; one image is not there."""
    write_colmap(tmp_path / "sparse", poses(), NAMES, f"PINHOLE {2 * WIDTH} {2 * HEIGHT} 220 210 121 100.5")
    save(tmp_path / "images", painted(project(poses()))[1:], NAMES[1:])
    capture = assert_point_lands(read_scene("colmap", str(tmp_path)))
    assert capture.provenance["left_out"] == {"image_missing": [NAMES[0]]} and len(capture) == COUNT - 1


def radial(plane, k1=-0.25, k2=0.05):
    squared = (plane**2).sum(1, keepdims=True)
    return plane * (1 + k1 * squared + k2 * squared**2)


def fisheye(plane, k1=0.05, k2=-0.01):
    distance = np.linalg.norm(plane, axis=1, keepdims=True)
    angle = np.arctan(distance)
    return plane / distance * angle * (1 + k1 * angle**2 + k2 * angle**4)


@pytest.mark.parametrize("lens, distort", [
    (f"SIMPLE_RADIAL {WIDTH} {HEIGHT} 110 60.5 50.25 -0.25", lambda p: radial(p, k2=0)),
    (f"OPENCV {WIDTH} {HEIGHT} 110 105 60.5 50.25 -0.25 0.05 0 0", radial),
    (f"OPENCV_FISHEYE {WIDTH} {HEIGHT} 110 105 60.5 50.25 0.05 -0.01 0 0", fisheye),
], ids=["simple_radial", "opencv", "fisheye"])  # fmt: skip
def test_distorted_lenses_are_undistorted(tmp_path, lens, distort):
    matrix = MATRIX.copy()
    matrix[1, 1] = 110 if "SIMPLE" in lens else 105
    wide = poses()
    wide[:, :3, :3] = wide[:, :3, :3] @ Rotation.from_euler("yx", [14, 9], degrees=True).as_matrix()  # towards a corner
    bent, straight = project(wide, matrix, distort), project(wide, matrix)
    assert np.abs(bent - straight).max() > 1.0
    write_colmap(tmp_path / "sparse", wide, NAMES, lens)
    save(tmp_path / "images", painted(bent), NAMES)
    assert_point_lands(read_scene("colmap", str(tmp_path)))


def write_transforms(folder, camera_to_world, names, **header):
    opengl = camera_to_world * [1.0, -1, -1, 1]
    frames = [{"file_path": name, "transform_matrix": pose.tolist()} for name, pose in zip(names, opengl)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transforms.json").write_text(json.dumps({**header, "frames": frames}))


HEADER = {"w": 4 * WIDTH, "h": 4 * HEIGHT, "fl_x": 440, "fl_y": 420, "cx": 242, "cy": 201}


def test_dl3dv_has_intrinsics_of_the_full_size(tmp_path):
    """Pictures in images_4, listed as images; the last one does not exist; one pose is infinite."""
    listed = [f"images/{name}" for name in NAMES]
    broken = poses()
    broken[1] = np.inf
    write_transforms(tmp_path / "1K" / "abc", broken, listed, **HEADER)
    save(tmp_path / "1K" / "abc" / "images_4", painted(project(poses()))[:-1], NAMES[:-1])
    capture = assert_point_lands(read_scene("transforms", only_scene(tmp_path, "transforms"), licence="CC-BY-NC-4.0"))
    assert len(capture) == COUNT - 2 and capture.licence == "CC-BY-NC-4.0" and not capture.redistributable
    assert capture.provenance["left_out"] == {"pose_invalid": [listed[1]], "image_missing": [listed[-1]]}


def test_nerfstudio_distortion_is_taken_out(tmp_path):
    write_transforms(tmp_path, poses(), [f"./images/{name}" for name in NAMES], **HEADER, k1=-0.25, k2=0.05, camera_model="OPENCV")
    save(tmp_path / "images", painted(project(poses(), distort=radial)), NAMES)
    assert_point_lands(read_scene("transforms", str(tmp_path)))


def test_instant_ngp_lists_names_without_endings(tmp_path):
    write_transforms(tmp_path, poses(), [f"images/{name[:-4]}" for name in NAMES], **HEADER)
    save(tmp_path / "images", painted(project(poses())), NAMES)
    assert_point_lands(read_scene("transforms", str(tmp_path)))


def test_realestate10k_with_a_squashed_video(tmp_path):
    """Intrinsics are divided by width and height, so they hold in a video that was squashed to another aspect."""
    path = tmp_path / "clip.txt"
    rows = [np.linalg.inv(pose)[:3].flatten() for pose in poses()]
    k = f"{110 / WIDTH} {105 / HEIGHT} {60.5 / WIDTH} {50.25 / HEIGHT} 0 0"
    path.write_text("https://example.org\n" + "\n".join(f"{500000 * i} {k} " + " ".join(map(str, r)) for i, r in enumerate(rows)))
    matrix = MATRIX.copy()
    matrix[0] *= 96 / WIDTH
    write_video(tmp_path / "clip.mp4", painted(project(poses(), matrix), width=96), frame_rate=2)
    capture = assert_point_lands(read_scene("realestate10k", only_scene(tmp_path, "realestate10k")), tolerance=0.6)
    assert capture.width == 96 and capture.times[-1] == pytest.approx(2.5)
    (tmp_path / "clip.mp4").unlink()
    with pytest.raises(ReaderError, match="source_missing"):
        read_scene("realestate10k", str(path))


def test_tum_rgbd_is_joined_by_time(tmp_path):
    folder = tmp_path / "rgbd_dataset_freiburg3_office"
    times = 100 + 0.2 * np.arange(COUNT)
    large = np.array([[535.4, 0, 320.1 + 0.5], [0, 539.2, 247.6 + 0.5], [0, 0, 1]])
    names = [f"{time:.6f}.png" for time in times]
    save(folder / "rgb", painted(project(poses(), large), 480, 640), names)
    (folder / "rgb.txt").write_text("# time file\n" + "\n".join(f"{t:.6f} rgb/{n}" for t, n in zip(times, names)))
    for time, metres in zip(times, depths(poses())):
        save_depth(folder / "depth" / f"{time + 0.01:.6f}.png", metres, 5000, (480, 640))
    (folder / "depth.txt").write_text("\n".join(f"{t + 0.01:.6f} depth/{t + 0.01:.6f}.png" for t in times))
    # Poses at their own times: just before and after each picture, so that the middle is the picture's; none near the last one.
    lines = []
    for time, pose in list(zip(times, poses()))[:-1]:
        x, y, z, w = Rotation.from_matrix(pose[:3, :3]).as_quat()
        for shift in (-0.005, 0.005):
            lines.append(" ".join(map(str, [time + shift, *(pose[:3, 3] + [shift, 0, 0]), x, y, z, w])))
    (folder / "groundtruth.txt").write_text("# ground truth\n" + "\n".join(lines))
    capture = assert_point_lands(read_scene("tum_rgbd", only_scene(tmp_path, "tum_rgbd")))
    assert capture.provenance["left_out"] == {"pose_missing": [names[-1]]} and capture.cameras.metric
    folder.rename(tmp_path / "mine")
    with pytest.raises(ReaderError, match="give fov_degrees"):
        read_scene("tum_rgbd", str(tmp_path / "mine"))


def test_seven_scenes_leave_lost_frames_out(tmp_path):
    folder = tmp_path / "office" / "seq-01"
    folder.mkdir(parents=True)
    large = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
    for index, (pose, picture) in enumerate(zip(poses(), painted(project(poses(), large), 480, 640))):
        stem = folder / f"frame-{2 * index:06d}"
        Image.fromarray(picture).save(f"{stem}.color.png")
        np.savetxt(f"{stem}.pose.txt", np.full((4, 4), -np.inf) if index == 2 else pose)
        save_depth(folder / f"{stem.name}.depth.png", depths(poses())[index] if index != 3 else 65.535, 1000, (480, 640))
    capture = assert_point_lands(read_scene("seven_scenes", only_scene(tmp_path, "seven_scenes")))
    assert capture.name == "office-seq-01" and len(capture) == COUNT - 1
    assert capture.provenance["left_out"] == {"pose_invalid": ["frame-000004"]}
    # Frame numbers are the times: the frame that is left out leaves a gap.
    assert np.allclose(capture.times, np.array([0, 2, 6, 8, 10]) / 30)


def test_a_table_of_poses(tmp_path):
    save(tmp_path / "images", painted(project(poses())), [f"{10 * index}.png" for index in range(COUNT)])
    table = poses().reshape(COUNT, 16)
    table[1] = np.nan
    np.savetxt(tmp_path / "poses.txt", table)
    np.savetxt(tmp_path / "K.txt", MATRIX)
    save_depth(tmp_path / "depth" / "30.png", depths(poses())[3], 1000)
    capture = assert_point_lands(read_scene("pose_table", only_scene(tmp_path, "pose_table")))
    assert capture.provenance["left_out"] == {"pose_invalid": ["10.png"]}
    np.savetxt(tmp_path / "poses.txt", table[1:])
    with pytest.raises(ReaderError, match="5 poses for 6 pictures"):
        read_scene("pose_table", str(tmp_path))


def arkit_video(tmp_path, roll: float, names=None):
    """A raw ARKitScenes video, held sideways by `roll` degrees."""
    video = tmp_path / "Training" / "40753679"
    camera_to_world = poses(roll=roll)
    times = 6791.113 + 0.1 * np.arange(COUNT)
    stems = [f"40753679_{time:.3f}" for time in times]
    save(video / "lowres_wide", painted(project(camera_to_world)), [f"{stem}.png" for stem in stems])
    lines = []
    for time, pose in zip(times, camera_to_world):
        inverse = np.linalg.inv(pose)
        vector = Rotation.from_matrix(inverse[:3, :3]).as_rotvec()
        lines.append(" ".join(map(str, [time + 0.0004, *vector, *inverse[:3, 3]])))
    (video / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    (video / "lowres_wide_intrinsics").mkdir()
    for index, time in enumerate(times):
        if index != 4:  # names are rounded to the millisecond, either way
            name = f"40753679_{time + 0.001 * (index % 3 - 1):.3f}.pincam"
            (video / "lowres_wide_intrinsics" / name).write_text(f"{WIDTH} {HEIGHT} 110 105 60.5 50.25")
        save_depth(video / "lowres_depth" / f"{stems[index]}.png", depths(camera_to_world)[index], 1000)
    box = {"centroid": [1, 2, 0.5], "axesLengths": [0.4, 1.0, 0.6], "normalizedAxes": [0, 1, 0, 0, 0, 1, 1, 0, 0]}
    content = {"skipped": False, "data": [{"uid": "a", "label": "Chair", "segments": {"obbAligned": box}}]}
    (video / "40753679_3dod_annotation.json").write_text(json.dumps(content))
    return video


@pytest.mark.parametrize("roll, turns", [(0, 0), (-90, 1), (180, 2), (90, 3)])
def test_arkitscenes_are_turned_upright(tmp_path, roll, turns):
    arkit_video(tmp_path, roll)
    capture = assert_point_lands(read_scene("arkitscenes", only_scene(tmp_path, "arkitscenes")))
    assert capture.provenance["quarter_turns"] == turns
    assert (capture.height, capture.width) == ((WIDTH, HEIGHT) if turns % 2 else (HEIGHT, WIDTH))
    assert (capture.cameras.up[:, 2] > 0.9).all() and capture.cameras.metric
    assert list(capture.provenance["left_out"]) == ["intrinsics_missing"] and len(capture) == COUNT - 1
    (chair,) = capture.objects
    # The box's second axis is the vertical one, its first points along y.
    assert chair.label == "chair" and chair.size == (0.4, 0.6, 1.0) and chair.yaw == pytest.approx(np.pi / 2)


def test_arkitscenes_3dod_layout_and_a_device_that_is_turned(tmp_path):
    video = arkit_video(tmp_path, 90)
    frames = video / "40753679_frames"
    frames.mkdir()
    for name in ("lowres_wide", "lowres_wide.traj", "lowres_wide_intrinsics", "lowres_depth"):
        (video / name).rename(frames / name)
    assert_point_lands(read_scene("arkitscenes", only_scene(tmp_path, "arkitscenes")))
    lines = (frames / "lowres_wide.traj").read_text().splitlines()
    upright = [" ".join(map(str, [line.split()[0], *Rotation.from_matrix(np.linalg.inv(pose)[:3, :3]).as_rotvec(), 0, 0, 0]))
               for line, pose in zip(lines[3:], poses()[3:])]  # fmt: skip
    (frames / "lowres_wide.traj").write_text("\n".join([*lines[:3], *upright]))
    with pytest.raises(ReaderError, match="turned on the way"):
        read_scene("arkitscenes", str(video))


def matroska(source, target):
    """The same packets in another container; the source is removed."""
    with av.open(str(source)) as given, av.open(str(target), "w") as written:
        stream = written.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                written.mux(packet)
    source.unlink()


def scannetpp_iphone(tmp_path, model=True):
    """A scene of ScanNet++: the video has one frame more than the model, which has no third frame."""
    folder = tmp_path / "data" / "0a7cc12c0e" / "iphone"
    folder.mkdir(parents=True)
    camera_to_world = poses(COUNT + 1)
    write_video(folder / "rgb.mp4", painted(project(camera_to_world)), frame_rate=10)
    if not model:
        matroska(folder / "rgb.mp4", folder / "rgb.mkv")
    kept = [index for index in range(COUNT) if index != 2]
    if model:
        lens = f"OPENCV {WIDTH} {HEIGHT} 110 105 60.5 50.25 0 0 0 0"
        write_colmap(folder / "colmap", camera_to_world[kept], [f"frame_{index:06d}.jpg" for index in kept], lens)
    raw = np.linalg.inv(camera_to_world[0]) @ camera_to_world  # ARKit's own world: must not be used
    intrinsic = MATRIX - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    entries = {
        f"frame_{index:06d}": {
            "timestamp": index / 10, "pose": raw[index].tolist(), "aligned_pose": camera_to_world[index].tolist(),
            "intrinsic": intrinsic.tolist(),
        }
        for index in kept
    }  # fmt: skip
    (folder / "pose_intrinsic_imu.json").write_text(json.dumps(entries))
    return folder, camera_to_world, kept


@pytest.mark.parametrize("model", [True, False], ids=["colmap", "aligned_pose"])
@pytest.mark.parametrize("layout", ["whole", "frames"])
def test_scannetpp_iphone_is_joined_by_name(tmp_path, model, layout):
    folder, camera_to_world, kept = scannetpp_iphone(tmp_path, model)
    maps = [np.full((192, 256), metres, np.float32).tobytes() for metres in depths(camera_to_world)]
    if layout == "whole":
        (folder / "depth.bin").write_bytes(zlib.compress(b"".join(maps)))
    else:
        packed = [zlib.compress(one) for one in maps]
        (folder / "depth.bin").write_bytes(b"".join(struct.pack("<I", len(one)) + one for one in packed))
    capture = assert_point_lands(read_scene("scannetpp", only_scene(tmp_path, "scannetpp")), tolerance=0.8)
    assert capture.name == "0a7cc12c0e-iphone" and capture.cameras.metric
    assert np.allclose(capture.times * 10, np.array(kept) - kept[0], atol=0.02)
    assert capture.provenance["left_out"] == {"pose_missing": ["frame_000002", f"frame_{COUNT:06d}"]}
    assert "non-commercial" in capture.licence and not capture.redistributable


def test_scannetpp_dslr_is_a_fisheye_with_bad_frames_and_objects(tmp_path):
    scene = tmp_path / "data" / "0a7cc12c0e"
    names = [f"DSC{index:05d}.JPG" for index in range(COUNT)]
    lens = f"OPENCV_FISHEYE {2 * WIDTH} {2 * HEIGHT} 220 210 121 100.5 0.05 -0.01 0 0"
    write_colmap(scene / "dslr" / "colmap", poses(), names, lens)
    folder = scene / "dslr" / "resized_images"
    folder.mkdir()
    for name, picture in zip(names, painted(project(poses(), distort=fisheye))):
        Image.fromarray(picture).save(folder / name, "JPEG", quality=98)
    (scene / "dslr" / "nerfstudio").mkdir()
    frames = [{"file_path": name, "is_bad": index == 1} for index, name in enumerate(names)]
    (scene / "dslr" / "nerfstudio" / "transforms.json").write_text(json.dumps({"frames": frames}))
    (scene / "scans").mkdir()
    box = {"centroid": [0, 1, 0.4], "axesLengths": [1.0, 0.5, 0.8], "normalizedAxes": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
    group = {"id": 1, "objectId": 7, "label": "Coffee Table", "segments": [1], "obb": box}
    (scene / "scans" / "segments_anno.json").write_text(json.dumps({"segGroups": [group]}))
    capture = assert_point_lands(read_scene("scannetpp", only_scene(tmp_path, "scannetpp")))
    assert capture.provenance["left_out"]["marked_bad"] == [names[1]] and len(capture) == COUNT - 1
    assert (capture.objects[0].label, capture.objects[0].instance_id) == ("coffee table", 7)


def test_scannetpp_nerfstudio_poses_swap_rows():
    """As the toolkit writes them (its `c2w[:3, 1:3] *= -1; c2w = c2w[[1, 0, 2, 3]]; c2w[2] *= -1`), undone."""
    expected = poses()
    written = expected.copy()
    written[:, :3, 1:3] *= -1
    written = written[:, [1, 0, 2, 3]]
    written[:, 2] *= -1
    assert np.allclose(from_nerfstudio(torch.from_numpy(written)).numpy(), expected)


def test_footage_has_no_cameras(tmp_path):
    write_video(tmp_path / "a.b c ü.mp4", painted(project(poses())), frame_rate=10)
    save(tmp_path / "photos", painted(project(poses())), NAMES)
    scenes = find_scenes(tmp_path)
    assert [name for name, _ in scenes] == ["footage"] * 2
    captures = [read_scene(*scene) for scene in scenes]
    assert [capture.name for capture in captures] == ["a.b c ü", "photos"]
    assert all(capture.cameras is None and len(capture) == COUNT for capture in captures)


@pytest.mark.parametrize("reader", [name for name in READERS if name != "rooms"])
def test_a_scene_that_is_not_there_is_an_error_of_its_own(tmp_path, reader):
    with pytest.raises(ReaderError, match="no scenes found"):
        find_scenes(tmp_path, reader)
    (tmp_path / "empty").mkdir()
    with pytest.raises((ReaderError, MediaError)) as error:
        read_scene(reader, str(tmp_path / "empty"))
    assert "empty" in str(error.value)


def test_captures_of_several_formats_in_one_folder(posed_captures, tmp_path):
    found = find_posed_scenes(posed_captures)
    assert [reader for reader, _ in found] == ["seven_scenes", "pose_table", "realestate10k"]
    assert found == find_posed_scenes(posed_captures) and find_posed_scenes(posed_captures / "kitchen") == found[1:2]
    captures = [read_scene(reader, scene) for reader, scene in found]
    assert [capture.space for capture in captures] == ["hall", "kitchen", "https://example.org/tour"]
    assert [capture.cameras.metric for capture in captures] == [True, True, False]
    save(tmp_path / "holiday", painted(project(poses())), NAMES)
    with pytest.raises(ReaderError, match="1 videos or folders of images without cameras.*holiday; looked for what .*pose_table"):
        find_posed_scenes(tmp_path)
    with pytest.raises(ReaderError, match="nowhere: no such folder"):
        find_posed_scenes(tmp_path / "nowhere")


def test_what_two_readers_would_read_is_read_once(tmp_path):
    """A nerfstudio folder keeps the COLMAP model that it came from."""
    write_transforms(tmp_path / "hall", poses(), [f"images/{name}" for name in NAMES], **HEADER)
    write_colmap(tmp_path / "hall" / "colmap" / "sparse" / "0", poses(), NAMES, PINHOLE)
    save(tmp_path / "hall" / "images", painted(project(poses())), NAMES)
    assert find_posed_scenes(tmp_path) == [("transforms", str(tmp_path / "hall"))]


def test_folders_that_say_nothing_are_named_and_told_apart_by_their_parents(tmp_path):
    for name in ("shelf", "desk"):
        folder = tmp_path / name / "frames"
        folder.mkdir(parents=True)
        Image.fromarray(painted(project(poses()))[0]).save(folder / "frame-000000.color.png")
        np.savetxt(folder / "frame-000000.pose.txt", poses()[0])
        np.savetxt(folder / "intrinsics.K.txt", MATRIX)
    captures = [read_scene(reader, scene) for reader, scene in find_posed_scenes(tmp_path)]
    assert [capture.name for capture in captures] == ["desk-frames", "shelf-frames"] == [capture.space for capture in captures]


def test_unknown_readers_get_a_suggestion(tmp_path):
    with pytest.raises(ReaderError, match="'scannet'.*did you mean 'scannetpp'"):
        find_scenes(tmp_path, "scannet")


def test_own_cameras_of_a_capture_read_back(tmp_path):
    """A folder as `write_cameras` and `write_images` leave it is a scene."""
    k = torch.from_numpy(MATRIX / [[WIDTH], [HEIGHT], [1]])
    cameras = Cameras(torch.from_numpy(poses()), k, metric=True)
    write_cameras(tmp_path / "sparse", cameras, "colmap", image_size=(HEIGHT, WIDTH))
    save(tmp_path / "images", painted(project(poses())), NAMES)
    assert_point_lands(read_scene("colmap", str(tmp_path)))

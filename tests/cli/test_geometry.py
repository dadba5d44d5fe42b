"""`v4s geometry`: from a folder of images to files and a page."""

import json

import imageio.v3 as iio
import numpy as np
import pytest

from video4spatial.cameras import write_cameras
from video4spatial.cli.errors import UserError
from video4spatial.cli.main import run
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.simulation import capture_walk, generate_scene, render


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    cameras = capture_walk(generate_scene(7), 6, seed=1)
    for index, frame in enumerate(render(generate_scene(7), cameras, 64, 80).rgb):
        iio.imwrite(folder / f"{index:03d}.png", frame)
    write_cameras(folder.parent / "room.json", cameras, image_size=(64, 80))
    return folder


def test_a_video_with_cameras_becomes_a_folder(room, tmp_path, capsys):
    arguments = ["geometry", str(room), "--cameras", str(room.parent / "room.json"), "--output", str(tmp_path / "out"), "--frames", "4"]
    run(arguments)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    expected = {"geometry.safetensors", "geometry.json", "transforms.json", "colmap", "images", "depth", "confidence", "points.ply"}
    assert names == expected | {"above.png", "depth.png", "report.html"}
    geometry = SceneGeometry.load(tmp_path / "out")
    assert len(geometry) == 4 and geometry.frames.shape == (4, 64, 80, 3) and (geometry.depth > 0).mean() > 0.5
    printed = capsys.readouterr()
    assert "cameras of 4 of 4 frames (given)" in printed.out + printed.err
    page = (tmp_path / "out" / "report.html").read_text()
    assert "stereo network" in page and "`" not in page and "--fps" in page
    with pytest.raises(UserError, match="not empty"):
        run(arguments)
    run([*arguments, "--overwrite"])


def test_what_is_wrong_is_said_before_anything_is_written(room, tmp_path):
    for wrong, message in (
        ([str(tmp_path / "nothing.mp4")], "no such file"),
        ([str(room), "--cameras", str(tmp_path / "none.json")], "no such file"),
        ([str(room), "--cameras", str(room.parent / "room.json"), "--depth", str(tmp_path)], "no config.json"),
    ):
        with pytest.raises(UserError, match=message):
            run(["geometry", *wrong, "--output", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()


def test_cameras_and_depth_of_a_model_of_many_views_in_one_file(room, tmp_path):
    cameras = capture_walk(generate_scene(7), 6, seed=1)
    depth = render(generate_scene(7), cameras, 32, 40).depth
    found = tmp_path / "predictions.npz"
    unit = cameras.world_to_camera.clone()
    unit[:, :3, 3] *= 0.25  # such models leave the unit open
    np.savez(found, extrinsic=unit.numpy(), intrinsic=cameras.pixel_intrinsics(32, 40).numpy(), depth=0.25 * depth)
    arguments = ["geometry", str(room), "--depth", str(found), "--scale", "2.5", "--output", str(tmp_path / "out")]
    with pytest.raises(UserError, match="give it as --cameras too"):
        run([*arguments, "--cameras", str(room.parent / "room.json")])
    run([*arguments, "--cameras", str(found)])
    geometry = SceneGeometry.load(tmp_path / "out")
    assert geometry.known_share > 0.9 and geometry.origin["depth"].startswith("given")
    # Whatever unit was guessed, depth and cameras have the same.
    unit = float(geometry.cameras.path_length() / cameras.path_length())
    np.testing.assert_allclose(geometry.depth, unit * depth, rtol=1e-3)
    assert abs(np.log(unit / 2.5)) < 1


def test_depth_of_distorted_pictures_is_refused(room, tmp_path):
    content = json.loads((room.parent / "room.json").read_text())
    bent = room.parent / "bent.json"
    bent.write_text(json.dumps(content | {"k1": 0.1, "k2": 0.0, "p1": 0.0, "p2": 0.0, "camera_model": "OPENCV"}))
    folder = tmp_path / "depth"
    folder.mkdir()
    for index in range(6):
        np.save(folder / f"frame{index}.npy", np.ones((32, 40), np.float32))
    with pytest.raises(UserError, match="holds depth of distorted pictures"):
        run(["geometry", str(room), "--cameras", str(bent), "--depth", str(folder), "--output", str(tmp_path / "out")])


@pytest.mark.parametrize("source", ["plane-sweep", "folder"])
def test_depth_from_elsewhere(room, tmp_path, source):
    cameras = ["--cameras", str(room.parent / "room.json")]
    if source == "folder":
        folder = tmp_path / "depth"
        folder.mkdir()
        for index, depth in enumerate(render(generate_scene(7), capture_walk(generate_scene(7), 6, seed=1), 32, 40).depth):
            np.save(folder / f"frame{index}.npy", depth)
        with pytest.raises(UserError, match="add --cameras"):
            run(["geometry", str(room), "--depth", str(folder), "--output", str(tmp_path / "none")])
        source = str(folder)
    run(["geometry", str(room), *cameras, "--depth", source, "--output", str(tmp_path / "out")])
    geometry = SceneGeometry.load(tmp_path / "out")
    assert geometry.origin["depth"].startswith("given" if "/" in source else "plane sweep") and geometry.known_share > 0.5

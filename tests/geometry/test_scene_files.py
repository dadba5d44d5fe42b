"""A scene's geometry as files: read again as it was, refused where damaged, and opened by other readers."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from plyfile import PlyData

from video4spatial.cameras import read_cameras
from video4spatial.geometry.depth_files import holds_depth, read_depth_maps
from video4spatial.geometry.scene_files import export_geometry
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.simulation import capture_walk, generate_scene, render


@pytest.fixture(scope="module")
def geometry() -> SceneGeometry:
    cameras = capture_walk(generate_scene(5), 5, seed=2)
    rendering = render(generate_scene(5), cameras, 24, 32)
    placed = np.array([True, True, False, True, True])
    depth = rendering.depth * placed[:, None, None]
    confidence = np.where(depth > 0, 0.6, 0).astype(np.float32)
    reasons = tuple("" if known else "too few matches" for known in placed)
    return SceneGeometry(rendering.rgb, cameras, placed, depth, confidence, reasons, {"cameras": "given", "depth": "true"})


def test_a_saved_geometry_is_read_again(geometry, tmp_path):
    geometry.save(tmp_path / "scene")
    again = SceneGeometry.load(tmp_path / "scene")
    for name in ("frames", "placed", "depth", "confidence"):
        assert np.array_equal(getattr(again, name), getattr(geometry, name)), name
    assert torch.equal(again.cameras.camera_to_world, geometry.cameras.camera_to_world) and again.cameras.metric
    assert again.reasons == geometry.reasons and again.origin == geometry.origin
    geometry.select([0, 1]).save(tmp_path / "scene")  # in the place of the first
    assert len(SceneGeometry.load(tmp_path / "scene")) == 2


def test_folders_that_are_none_or_damaged_are_refused(geometry, tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks geometry.safetensors and geometry.json"):
        SceneGeometry.load(tmp_path)
    geometry.save(tmp_path / "scene")
    facts = json.loads((tmp_path / "scene" / "geometry.json").read_text())
    for broken in ({**facts, "version": "9"}, {**facts, "reasons": ["one"]}, {name: facts[name] for name in ("format", "version")}):
        (tmp_path / "scene" / "geometry.json").write_text(json.dumps(broken))
        with pytest.raises(ValueError, match="no geometry that can be read"):
            SceneGeometry.load(tmp_path / "scene")
    (tmp_path / "scene" / "geometry.json").write_text(json.dumps(facts))
    for name, value in (("depth", np.nan), ("confidence", -1.0)):
        replace(geometry, **{name: np.full_like(geometry.depth, value)}).save(tmp_path / "scene")
        with pytest.raises(ValueError, match=f"{name} holds values that are not finite or below 0"):
            SceneGeometry.load(tmp_path / "scene")
    geometry.save(tmp_path / "scene")
    tensors = tmp_path / "scene" / "geometry.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no geometry that can be read"):
        SceneGeometry.load(tmp_path / "scene")


def test_exports_hold_the_placed_frames_in_known_units(geometry, tmp_path):
    export_geometry(geometry, tmp_path)
    for name in ("transforms.json", "colmap"):
        cameras = read_cameras(tmp_path / name)
        expected = geometry.cameras[[0, 1, 3, 4]].relative_to(0)
        torch.testing.assert_close(cameras.relative_to(0).camera_to_world, expected.camera_to_world, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(cameras.intrinsics[0], geometry.cameras.intrinsics[0], atol=1e-6, rtol=1e-6)
    depth = cv2.imread(str(tmp_path / "depth" / "000003.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depth / 1000, geometry.depth[3], atol=6e-4)
    assert not (tmp_path / "depth" / "000002.png").exists()
    assert "1/1000 metre" in json.loads((tmp_path / "depth" / "README.json").read_text())["depth"]
    named = [frame["file_path"] for frame in json.loads((tmp_path / "transforms.json").read_text())["frames"]]
    assert named == [f"images/{index:06d}.png" for index in (0, 1, 3, 4)] and all((tmp_path / name).is_file() for name in named)
    assert " 000003.png" in (tmp_path / "colmap" / "images.txt").read_text()
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / named[2])), cv2.COLOR_BGR2RGB)
    assert np.array_equal(picture, geometry.frames[3])
    vertices = PlyData.read(str(tmp_path / "points.ply"))["vertex"]
    points = np.stack([vertices[axis] for axis in "xyz"], axis=1)
    # Every point lies on what the frame that it came from shows.
    seen = geometry.cameras.world_to_camera[0].numpy() @ np.c_[points[: 24 * 32], np.ones(24 * 32)].T
    np.testing.assert_allclose(seen[2], geometry.depth[0].ravel(), rtol=1e-4)
    assert {"red", "green", "blue"} <= {field.name for field in vertices.properties}


def test_depth_beyond_what_pictures_hold_is_unknown(geometry, tmp_path):
    far = geometry.depth.copy()
    far[0, 0, 0] = 70.0
    export_geometry(replace(geometry, depth=far), tmp_path)
    depth = cv2.imread(str(tmp_path / "depth" / "000000.png"), cv2.IMREAD_UNCHANGED)
    assert depth[0, 0] == 0 and (depth > 0).mean() > 0.9


def test_exported_depth_is_read_again(geometry, tmp_path):
    export_geometry(geometry, tmp_path)
    maps = read_depth_maps(tmp_path / "depth", 5, [0, 2, 3])
    np.testing.assert_allclose(maps.depth[[0, 2]], geometry.depth[[0, 3]], atol=6e-4)
    assert maps.reasons == ("", "it has no depth map", "") and not maps.depth[1].any() and maps.confidence[0].all()


def test_depth_maps_of_other_programs(geometry, tmp_path):
    for index, depth in enumerate(geometry.depth):
        depth = depth.copy()
        depth[0, 0] = np.nan
        np.savez(tmp_path / f"view-{index}.npz", depth=depth, confidence=np.full(depth.shape, 0.25))
    maps = read_depth_maps(tmp_path, 5, [1, 3])
    assert np.array_equal(maps.depth[0, 1:], geometry.depth[1, 1:]) and set(np.unique(maps.confidence)) == {0, np.float32(0.25)}
    with pytest.raises(ValueError, match="5 depth maps for 9 frames"):
        read_depth_maps(tmp_path, 9, [1])
    np.savez(tmp_path / "view-1.npz", depth=geometry.depth[1, ::2])
    with pytest.raises(ValueError, match="unlike sizes 12 x 32, 24 x 32"):
        read_depth_maps(tmp_path, 5, [1, 3])
    for name in ("depth", "confidence"):
        maps = {"depth": geometry.depth[1], "confidence": geometry.depth[1]}
        np.savez(tmp_path / "view-1.npz", **maps | {name: maps[name].astype(str)})
        with pytest.raises(ValueError, match=f"view-1.npz: not a depth map .{name} of <U"):
            read_depth_maps(tmp_path, 5, [1, 3])
    (tmp_path / "view-1.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="view-1.npz: not a depth map"):
        read_depth_maps(tmp_path, 5, [1, 3])
    with pytest.raises(FileNotFoundError, match="no depth maps there"):
        read_depth_maps(tmp_path / "none", 5, [1])


@pytest.mark.parametrize("layout", ["vggt", "pi3"])
def test_depth_of_a_model_of_many_views_comes_in_one_file(geometry, tmp_path, layout):
    sure = np.linspace(0, 0.75, geometry.depth.size).reshape(geometry.depth.shape)
    arrays = {
        "vggt": {"depth": geometry.depth[None, ..., None], "depth_conf": 1 / (1 - sure)},
        "pi3": {"local_points": np.stack([geometry.depth] * 3, axis=-1), "conf": sure},
    }[layout]
    np.savez(tmp_path / "predictions.npz", **arrays)
    assert holds_depth(tmp_path / "predictions.npz")
    maps = read_depth_maps(tmp_path / "predictions.npz", 5, [0, 3])
    assert np.array_equal(maps.depth, geometry.depth[[0, 3]]) and maps.reasons == ("", "")
    np.testing.assert_allclose(maps.confidence, (sure * (geometry.depth > 0))[[0, 3]], atol=1e-6)
    with pytest.raises(ValueError, match=r"expected numbers \[9, H, W\], a map for each frame"):
        read_depth_maps(tmp_path / "predictions.npz", 9, [0])


@pytest.mark.parametrize("arrays, message", [
    ({"points": np.zeros(3)}, "no depth maps in it: expected an array named depth, depths"),
    ({"depth": np.ones((5, 4, 6)), "conf": np.ones((5, 2, 3))}, r"conf holds float64 of shape \[5, 2, 3\]: expected numbers \[5, 4, 6\]"),
    ({"depth": np.array([{"code": 1}])}, "damaged, or not plain arrays"),
    ({"local_points": np.float64(1)}, r"local_points holds float64 of shape \[\]: expected points \[5, H, W, 3\]"),
])  # fmt: skip
def test_files_without_depth_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "predictions.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_depth_maps(tmp_path / "predictions.npz", 5, [0])


def test_nothing_known_is_exported_as_nothing(geometry, tmp_path):
    export_geometry(SceneGeometry.unknown(geometry.frames), tmp_path)
    assert not (tmp_path / "transforms.json").exists() and len(PlyData.read(str(tmp_path / "points.ply"))["vertex"]) == 0


def test_what_is_known_is_told(geometry):
    first, *others = geometry.in_words()
    assert "cameras of 4 of 5 frames (given), depth in 4 (true)" in first and others == ["of 1 frames: too few matches."]
    assert "cameras of 0 of 5" in SceneGeometry.unknown(geometry.frames).in_words()[0]
    assert replace(geometry, reasons=("",) * 5).in_words() == [first]


def test_depth_maps_named_like_the_pictures_belong_to_them(tmp_path):
    """Not to the frames of those numbers: a recording may begin at 00003."""
    names = [f"{number:05d}.jpg" for number in range(3, 13)]
    for number in (4, 6):
        np.save(tmp_path / f"{number:05d}.npy", np.full((2, 3), float(number)))
    maps = read_depth_maps(tmp_path, 10, [0, 1, 3, 4], names)
    assert maps.depth[:, 0, 0].tolist() == [0, 4, 6, 0] and maps.reasons[0] == "it has no depth map"
    assert read_depth_maps(tmp_path, 10, [4, 6]).depth[:, 0, 0].tolist() == [4, 6]

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from video4spatial.cameras import Cameras, parse_trajectory, write_cameras
from video4spatial.clips.footage import footage_clip, read_footage
from video4spatial.media import write_images, write_video

SIZE = {"height": 32, "width": 32, "num_frames": 5}


@pytest.fixture(scope="module")
def frames():
    """Twelve frames of 96 x 64, each of one brightness, so that a frame is known by its mean."""
    return np.stack([np.full((64, 96, 3), 20 * index, dtype=np.uint8) for index in range(12)])


@pytest.fixture(scope="module")
def folder(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("footage") / "images"
    write_images(path, frames)
    return path


@pytest.fixture
def walk():
    """Twelve cameras that advance by 0.5 each, at 90 degrees across."""
    cameras = parse_trajectory("forward 5.5", 12, fov_degrees=90, aspect=1.5)
    assert torch.allclose(cameras.positions.diff(dim=0).norm(dim=-1), torch.tensor(0.5, dtype=torch.float64))
    return cameras


def brightness(clip):
    return (clip.context_frames.mean((1, 2, 3)) / 20).round().astype(int).tolist()


def test_a_folder_becomes_a_clip_that_starts_at_the_anchor(folder):
    read = footage_clip(folder, "forward 1.0", **SIZE, image_rate=8.0)
    clip = read.clip
    assert clip.context_frames.shape == (12, 32, 32, 3) and clip.anchor == 11 and clip.context_cameras is None
    assert np.allclose(clip.context_times, np.arange(12) / 8)
    target = clip.instruction.cameras
    assert len(target) == 5 and torch.equal(target.camera_to_world[0], torch.eye(4, dtype=torch.float64))
    assert torch.allclose(target.positions[-1], torch.tensor([0, 0, 1.0], dtype=torch.float64))
    assert any("central 64x64" in note for note in read.notes)
    assert any("60 degrees" in note for note in read.notes)


def test_long_footage_is_thinned_evenly_with_the_anchor(folder):
    read = footage_clip(folder, "static", **SIZE, context_frames=4, anchor=5)
    assert 5 in brightness(read.clip) and len(brightness(read.clip)) == 4
    assert brightness(read.clip)[read.clip.anchor] == 5
    assert np.allclose(read.clip.context_times, (np.array(brightness(read.clip)) - brightness(read.clip)[0]) / 4)
    assert any("of 12 frames 4 are used" in note for note in read.notes)


def test_pictures_keep_their_own_aspect_within_bounds(folder):
    wide = footage_clip(folder, "static", **SIZE, aspects=(0.75, 1.8), grid=8, fov_degrees=90)
    assert wide.clip.context_frames.shape == (12, 24, 40, 3)  # 96 x 64, with about as many pixels as 32 x 32
    assert wide.clip.instruction.cameras.intrinsics[0, 0, 0] == pytest.approx(48 / 96, rel=0.15)
    square = footage_clip(folder, "static", **SIZE, aspects=(0.75, 1.0), grid=8).clip
    assert square.context_frames.shape == (12, 32, 32, 3)


def test_geometry_is_read_from_more_pixels(folder, frames):
    assert footage_clip(folder, "static", **SIZE).clip.context_detailed is None
    clip = footage_clip(folder, "static", **SIZE, detailed=True, context_frames=4).clip
    assert clip.context_detailed.shape == (4, 64, 64, 3)  # no more than the video has
    assert np.array_equal(clip.context_detailed.mean((1, 2, 3)), clip.context_frames.mean((1, 2, 3)))
    fewer = clip.with_context([0, clip.anchor])
    assert np.array_equal(fewer.context_detailed, clip.context_detailed[[0, clip.anchor]])


def test_intrinsics_follow_the_crop(folder):
    """A pixel at the edge of the central square is seen at the angle it has in the whole picture."""
    clip = footage_clip(folder, "static", **SIZE, fov_degrees=90).clip
    # 96 pixels across at 90 degrees: focal length 48 pixels; the square keeps 64 of them.
    assert np.isclose(float(clip.instruction.cameras.fov_degrees[0]), 2 * np.degrees(np.arctan(32 / 48)))
    assert np.isclose(float(clip.instruction.cameras.aspect[0]), 1.0)


@pytest.mark.parametrize("size, fov", [((96, 64), 60.0), ((64, 96), 42.1), ((64, 64), 60.0)])
def test_an_unknown_lens_has_60_degrees_along_the_longer_side(tmp_path, size, fov):
    Image.new("RGB", size).save(tmp_path / "0.png")
    read = read_footage(tmp_path, height=size[1], width=size[0])
    assert float(read.view.fov_degrees[0]) == pytest.approx(fov, abs=0.1)
    assert any("60 degrees along the longer side are assumed" in note for note in read.notes)
    write_cameras(tmp_path / "path.tum", Cameras.from_fov(torch.eye(4)[None], metric=False).with_frame_rate(1))
    lines = [line for line in (tmp_path / "path.tum").read_text().splitlines() if not line.startswith("#")]
    (tmp_path / "path.tum").write_text("\n".join(lines))
    posed = read_footage(tmp_path, height=size[1], width=size[0], context_cameras=tmp_path / "path.tum")
    assert torch.equal(posed.view.intrinsics, read.view.intrinsics)


@pytest.mark.parametrize("size", [(96, 72), (72, 96)])
def test_the_lens_that_the_file_names_is_used_and_said(tmp_path, size):
    """An equivalent focal length is that of the same view along the diagonal, however the picture is held."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 26
    Image.new("RGB", size).save(tmp_path / "0.jpg", exif=exif)
    read = read_footage(tmp_path, height=size[1], width=size[0])
    pixels = 26 / np.hypot(36, 24) * np.hypot(*size)
    assert float(read.view.intrinsics[0, 0, 0]) * size[0] == pytest.approx(pixels)
    assert float(read.view.intrinsics[0, 1, 1]) * size[1] == pytest.approx(pixels)
    assert any("the one that the file names, of 26 mm on 35 mm film" in note for note in read.notes)
    by_hand = read_footage(tmp_path, height=size[1], width=size[0], fov_degrees=90)
    assert float(by_hand.view.fov_degrees[0]) == pytest.approx(90) and not any("lens" in note for note in by_hand.notes)
    (tmp_path / "path.tum").write_text("0 0 0 0 0 0 0 1\n")  # cameras without intrinsics
    posed = read_footage(tmp_path, height=size[1], width=size[0], context_cameras=tmp_path / "path.tum")
    assert torch.equal(posed.view.intrinsics, read.view.intrinsics)
    assert any("holds no intrinsics: the lens is the one that the pictures name, of 26 mm" in note for note in posed.notes)


@pytest.mark.parametrize(
    "trajectory, doubt",
    [("forward 90", "the path is 90 m long"), ("turn left 720", "turns by up to 180 degrees from frame to frame"), ("forward 1", None)],
)
def test_paths_that_are_hardly_meant_are_said(folder, trajectory, doubt):
    notes = footage_clip(folder, trajectory, **SIZE).notes
    doubts = [note for note in notes if "the path is" in note or "the camera turns" in note]
    assert len(doubts) == (doubt is not None) and all(doubt in note for note in doubts)


def test_a_zoom_multiplies_the_focal_length_of_the_anchor(folder, walk, tmp_path):
    still = footage_clip(folder, "static", **SIZE, fov_degrees=90).clip.instruction.cameras
    factors = torch.tensor([1, 2**0.25, 2**0.5, 2**0.75, 2], dtype=torch.float64)
    write_cameras(tmp_path / "zoom.npz", parse_trajectory("zoom in 2", 5))
    write_cameras(tmp_path / "context.json", walk, image_size=(64, 96))
    for trajectory in ("zoom in 2", tmp_path / "zoom.npz"):
        for known in ({"fov_degrees": 90}, {"context_cameras": tmp_path / "context.json"}):
            read = footage_clip(folder, trajectory, **SIZE, **known)
            zoomed = read.clip.instruction.cameras
            # Words say it themselves; a file may come from a reconstruction that never fixed its focal length.
            assert any("to 1 to 2 times that of" in note for note in read.notes) == (trajectory != "zoom in 2")
            assert torch.allclose(zoomed.intrinsics[:, 0, 0], still.intrinsics[0, 0, 0] * factors, rtol=1e-6)
            assert torch.allclose(zoomed.intrinsics[:, 1, 1], still.intrinsics[0, 1, 1] * factors, rtol=1e-6)
            assert torch.allclose(zoomed.intrinsics[:, :2, 2], still.intrinsics[:, :2, 2], rtol=1e-6)
            assert float(zoomed.path_length()) == 0.0


def test_metric_context_cameras_are_kept_and_the_target_starts_at_the_anchors(folder, walk, tmp_path):
    write_cameras(tmp_path / "transforms.json", walk, image_size=(64, 96))
    clip = footage_clip(
        folder, "forward 1.0", **SIZE, context_cameras=tmp_path / "transforms.json", context_frames=4, anchor=3
    ).clip
    assert clip.context_cameras.metric
    first = clip.instruction.cameras[0]
    assert torch.allclose(first.camera_to_world, walk[3].camera_to_world, atol=1e-6)
    assert first.allclose(clip.context_cameras[clip.anchor])
    assert np.isclose(float(clip.instruction.cameras.positions[-1, 2]), 1.5 + 1.0)


def test_cameras_of_unknown_scale_get_a_median_step_of_a_tenth(folder, walk, tmp_path):
    path = tmp_path / "cameras.txt"
    write_cameras(path, walk.with_frame_rate(4.0), format="realestate10k")
    steps = {}
    for scale in (1.0, 3.0):
        read = footage_clip(folder, "forward 1.0", **SIZE, context_cameras=path, scale=scale)
        steps[scale] = float(read.clip.context_cameras.positions.diff(dim=0).norm(dim=-1).median())
        assert any("no known unit" in note for note in read.notes)
        assert not read.clip.instruction.cameras.metric
        # Words are metres whatever the cameras' unit was.
        assert np.isclose(float(read.clip.instruction.cameras.path_length()), 1.0)
    assert np.isclose(steps[1.0], 0.1) and np.isclose(steps[3.0], 0.3)


def test_a_trajectory_file_shares_the_scale_of_the_context(folder, walk, tmp_path):
    path = tmp_path / "cameras.txt"
    write_cameras(path, walk.with_frame_rate(4.0), format="realestate10k")
    read = footage_clip(folder, path, **SIZE, context_cameras=path)
    assert np.isclose(float(read.clip.instruction.cameras.path_length()), 1.1)  # 11 steps of 0.1


def test_a_video_file_brings_its_own_times(frames, tmp_path):
    write_video(tmp_path / "video.mp4", frames, 10.0)
    clip = footage_clip(tmp_path / "video.mp4", "static", **SIZE).clip
    assert np.allclose(np.diff(clip.context_times), 0.1)
    with pytest.raises(ValueError, match="for images only"):
        footage_clip(tmp_path / "video.mp4", "static", **SIZE, image_rate=4.0)


@pytest.mark.parametrize("anchor", [12, -13])
def test_an_anchor_out_of_range_is_refused(folder, anchor):
    with pytest.raises(ValueError, match=f"anchor {anchor} is outside the 12 frames .* expected -12 to 11"):
        footage_clip(folder, "static", **SIZE, anchor=anchor)


def test_the_number_of_cameras_must_be_that_of_the_frames(folder, walk, tmp_path):
    write_cameras(tmp_path / "transforms.json", walk[:7])
    with pytest.raises(ValueError, match="holds 7 cameras for 12 frames"):
        footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / "transforms.json")


def test_a_trajectory_file_with_nan_is_named(folder, tmp_path):
    (tmp_path / "path.tum").write_text("0 0 0 0 0 0 0 1\n1 nan 0 0 0 0 0 1\n2 0 0 1 0 0 0 1\n")
    with pytest.raises(ValueError, match="path.tum.*(nan|NaN)"):
        footage_clip(folder, tmp_path / "path.tum", **SIZE)


def test_cameras_that_do_not_move_keep_their_scale(folder, tmp_path):
    still = Cameras.from_fov(torch.eye(4).repeat(12, 1, 1), metric=False)
    write_cameras(tmp_path / "cameras.txt", still.with_frame_rate(4.0), format="realestate10k")
    read = footage_clip(folder, "forward 1", **SIZE, context_cameras=tmp_path / "cameras.txt")
    assert any("hardly move" in note for note in read.notes)


SHUFFLED = [5, 0, 11, 3, 9, 1, 7, 10, 2, 8, 4, 6]


def names_of(count=12):
    return [f"frame_{index:06d}.png" for index in range(count)]


def positions(clip):
    """How far along the walk each context camera stands, in its steps of 0.5."""
    return (clip.context_cameras.positions[:, 2] / 0.5).round().int().tolist()


@pytest.mark.parametrize("spelled", [str, str.upper, lambda name: f"images\\{name}", lambda name: f"../x/{name}", lambda name: name[:-4]])
@pytest.mark.parametrize("name", ["cameras.json", "model"])
def test_cameras_belong_to_the_pictures_that_they_name(folder, walk, tmp_path, spelled, name):
    format = "colmap" if name == "model" else None
    cameras, names = walk[SHUFFLED].scaled(1, metric=True), [spelled(name) for name in names_of()]
    names = [names[index] for index in SHUFFLED]
    write_cameras(tmp_path / name, cameras, format, image_size=(64, 96), image_names=names)
    if name == "cameras.json":  # as other programs leave it: without times
        content = json.loads((tmp_path / name).read_text())
        for frame in content["frames"]:
            del frame["time"]
        (tmp_path / name).write_text(json.dumps(content))
    read = footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / name)
    steps = read.clip.context_cameras.positions.diff(dim=0)
    assert torch.allclose(steps, steps[:1].expand_as(steps)) and float(steps[0, 2]) > 0
    assert brightness(read.clip) == list(range(12)) and not any("left out" in note for note in read.notes)


def test_pictures_without_a_camera_are_left_out_and_cameras_without_a_picture_not_used(folder, walk, tmp_path):
    names = names_of(11)[3:] + ["elsewhere_1.png", "elsewhere_2.png"]
    write_cameras(tmp_path / "part.json", walk[list(range(3, 11)) + [0, 1]], image_size=(64, 96), image_names=names)
    read = footage_clip(folder, "forward 1", **SIZE, context_cameras=tmp_path / "part.json", anchor=7)
    assert brightness(read.clip) == list(range(3, 11)) == positions(read.clip) and brightness(read.clip)[read.clip.anchor] == 7
    said = " ".join(read.notes)
    assert "4 of 12 pictures have no camera in" in said and "frame_000000.png, frame_000001.png" in said
    assert "2 of the 10 cameras of" in said
    thinned = footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / "part.json", anchor=5, context_frames=3).clip
    assert 5 in brightness(thinned) and len(brightness(thinned)) == 3 and brightness(thinned) == positions(thinned)
    with pytest.raises(ValueError, match="frame 11 of .* has no camera in .*part.json: choose another `anchor`"):
        footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / "part.json")


def test_names_that_no_picture_has_are_said(folder, frames, walk, tmp_path):
    path = tmp_path / "cameras.json"
    write_cameras(path, walk, image_size=(64, 96), image_names=[f"photo{index}.png" for index in range(12)])
    read = footage_clip(folder, "static", **SIZE, context_cameras=path)
    assert positions(read.clip) == list(range(12)) and any("names pictures, such as photo0.png, that" in note for note in read.notes)
    write_video(tmp_path / "video.mp4", frames, 10.0)
    notes = footage_clip(tmp_path / "video.mp4", "static", **SIZE, context_cameras=path).notes
    assert any("in order of the names" in note for note in notes)
    write_cameras(path, walk[:7], image_size=(64, 96), image_names=[f"photo{index}.png" for index in range(7)])
    with pytest.raises(ValueError, match="holds 7 cameras for 12 frames .* such as photo0.png, are those of no picture"):
        footage_clip(folder, "static", **SIZE, context_cameras=path)


def test_unreadable_pictures_are_said_and_do_not_shift_cameras(folder, walk, tmp_path):
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    for index in (0, 3, 6):
        (mixed / f"frame_{index:06d}.png").rename(mixed / f"frame_{index:06d}.HEIC")
    write_cameras(tmp_path / "named.json", walk, image_size=(64, 96), image_names=names_of())
    read = footage_clip(mixed, "static", **SIZE, context_cameras=tmp_path / "named.json")
    assert positions(read.clip) == brightness(read.clip) == [1, 2, 4, 5, 7, 8, 9, 10, 11]
    assert any("3 pictures cannot be read (.HEIC) and are left out: frame_000000.HEIC" in note for note in read.notes)
    write_cameras(tmp_path / "nameless.json", walk, image_size=(64, 96))
    with pytest.raises(ValueError, match=r"holds 12 cameras for 9 frames .*\(3 pictures cannot be read \(.HEIC\)\)"):
        footage_clip(mixed, "static", **SIZE, context_cameras=tmp_path / "nameless.json")


def test_the_size_of_the_pictures_stands_in_for_the_files(folder, walk, tmp_path):
    path = tmp_path / "cameras.json"
    write_cameras(path, walk, image_size=(64, 96), image_names=names_of())
    content = json.loads(path.read_text())
    whole = footage_clip(folder, "static", **SIZE, context_cameras=path).clip.context_cameras
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in ("w", "h")}))
    assert footage_clip(folder, "static", **SIZE, context_cameras=path).clip.context_cameras.allclose(whole)
    angle = {key: value for key, value in content.items() if key not in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
    angle["camera_angle_x"] = np.pi / 2
    path.write_text(json.dumps(angle))
    assert footage_clip(folder, "static", **SIZE, context_cameras=path).clip.context_cameras.allclose(whole, 1e-6)
    path.write_text(json.dumps(content | {"w": 64, "h": 96}))
    with pytest.raises(ValueError, match="cameras.json: cameras of pictures of 64x96 for pictures of 96x64.*another shape"):
        footage_clip(folder, "static", **SIZE, context_cameras=path)


@pytest.mark.parametrize("orientation, turns", [(3, 2), (6, 3), (8, 1)])
def test_turned_pictures_and_their_cameras_are_brought_upright_together(folder, walk, tmp_path, orientation, turns):
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in names_of():
        with Image.open(folder / name) as image:
            image.save(tmp_path / "photos" / name, exif=exif)
    write_cameras(tmp_path / "cameras.json", walk, image_size=(64, 96), image_names=names_of())
    clip = footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / "cameras.json").clip
    read = footage_clip(tmp_path / "photos", "static", **SIZE, context_cameras=tmp_path / "cameras.json")
    assert read.clip.context_cameras.allclose(clip.context_cameras.quarter_turned(turns))
    turned = np.rot90(clip.context_frames, turns, axes=(1, 2)).astype(int)
    assert np.abs(read.clip.context_frames - turned).max() <= 2
    assert any("both are turned upright together" in note for note in read.notes)
    upright = (64, 96) if orientation == 3 else (96, 64)
    assert read_footage(tmp_path / "photos", context_cameras=tmp_path / "cameras.json").frames.shape[1:3] == upright
    assert read_footage(tmp_path / "photos").frames.shape[1:3] == upright  # alone they are upright too
    # A path of the same reconstruction ends where it did, in other axes.
    write_cameras(tmp_path / "path.json", walk)
    paths = [
        footage_clip(pictures, tmp_path / "path.json", num_frames=3, height=32, width=32, context_cameras=tmp_path / "cameras.json")
        for pictures in (folder, tmp_path / "photos")
    ]
    ends = [read.clip.instruction.cameras for read in paths]
    assert ends[1].allclose(ends[0].quarter_turned(turns), 1e-6)


def test_pictures_of_several_orientations_stay_as_stored(folder, walk, tmp_path):
    (tmp_path / "photos").mkdir()
    for index, name in enumerate(names_of()):
        exif = Image.Exif()
        exif[0x0112] = 6 if index else 1
        with Image.open(folder / name) as image:
            image.save(tmp_path / "photos" / name, exif=exif)
    write_cameras(tmp_path / "cameras.json", walk, image_size=(64, 96), image_names=names_of())
    clip = footage_clip(folder, "static", **SIZE, context_cameras=tmp_path / "cameras.json").clip
    read = footage_clip(tmp_path / "photos", "static", **SIZE, context_cameras=tmp_path / "cameras.json")
    assert read.clip.context_cameras.allclose(clip.context_cameras) and np.array_equal(read.clip.context_frames, clip.context_frames)
    assert any("differs among them" in note for note in read.notes)


def test_lens_distortion_is_taken_out_of_the_context(folder, walk, tmp_path):
    bent = np.zeros((12, 64, 96, 3), np.uint8)
    bent[:, 20, 24] = 255
    write_images(tmp_path / "bent", bent)
    write_cameras(tmp_path / "cameras.json", walk, image_size=(64, 96), image_names=names_of())
    content = json.loads((tmp_path / "cameras.json").read_text())
    (tmp_path / "cameras.json").write_text(json.dumps(content | {"is_fisheye": True, "k1": 0.0}))
    read = read_footage(tmp_path / "bent", context_cameras=tmp_path / "cameras.json", context_frames=4)
    assert any("lens distortion" in note and "OPENCV_FISHEYE" in note for note in read.notes)
    spread = read.frames[0, ..., 0].astype(float)
    y, x = np.mgrid[:64, :96] + 0.5
    found = np.array([(spread * x).sum(), (spread * y).sum()]) / spread.sum()
    seen = (np.array([24.5, 20.5]) - [48, 32]) / 48  # an equidistant fisheye shows the angle, a pinhole its tangent
    angle = np.linalg.norm(seen)
    assert np.allclose(found, seen / angle * np.tan(angle) * 48 + [48, 32], atol=0.6)

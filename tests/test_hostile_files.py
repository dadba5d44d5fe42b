"""Files that are made to do harm: nothing in them is run, nothing is read or written outside, and memory stays bounded."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from tests.conftest import TINY
from video4spatial.cameras import CameraFileError, read_cameras
from video4spatial.cameras.keyframes import read_keyframes
from video4spatial.cli.arguments import read_yaml
from video4spatial.cli.errors import UserError
from video4spatial.cli.output_folder import MARK, output_folder
from video4spatial.clips.shards import INDEX, clip_from_members, clip_members, read_index, read_members, write_index, write_shard
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.reports import svg
from video4spatial.evaluation.reports.sample_page import write_sample_page
from video4spatial.geometry.depth_files import read_depth_maps
from video4spatial.media import MediaError, open_video
from video4spatial.models.autoencoder import load_autoencoder
from video4spatial.parsing import MOST_BYTES, parse_json, parse_yaml, read_array, read_arrays
from video4spatial.pretrained import ModelFolderError, read_model_folder
from video4spatial.training.module import DenoiserModule
from video4spatial.training.resumption import read_checkpoint


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def harm(tmp_path):
    """What must not run; afterwards it is seen whether it did."""
    folder = tmp_path / "ran"
    yield Harm(folder)
    assert not folder.exists()


def array_file(shape: tuple[int, ...], data: bytes = b"", dtype: str = "<f8") -> bytes:
    """A .npy file that claims a shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def picture_header(width: int, height: int) -> bytes:
    """A PNG of so many pixels in a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def test_pickles_are_never_run(harm, tmp_path):
    np.save(tmp_path / "poses.npy", np.array([harm, harm], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "poses.npz", camera_to_world=np.array([harm], dtype=object))
    (tmp_path / "depth").mkdir()
    (tmp_path / "poses.npy").rename(tmp_path / "depth" / "000.npy")
    torch.save({"state_dict": harm}, tmp_path / "last.ckpt")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    (tmp_path / "vae" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(harm))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.json").write_text(json.dumps({"_class_name": "Video4SpatialTransformer3DModel", **TINY}))
    (tmp_path / "old" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(harm))
    for read in (
        lambda: read_cameras(tmp_path / "poses.npz"),
        lambda: read_depth_maps(tmp_path / "depth", 1, [0]),
        lambda: read_checkpoint(tmp_path / "last.ckpt"),
        lambda: load_autoencoder(tmp_path / "vae"),
        lambda: DenoiserModule(TINY, init_from=str(tmp_path / "old")),
    ):
        with pytest.raises((ValueError, OSError)):
            read()


def test_parts_of_a_model_come_from_known_libraries_alone(tiny_model_folder, tmp_path, monkeypatch):
    (tmp_path / "harmful.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass Part: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    for part in tiny_model_folder.iterdir():
        (model / part.name).symlink_to(part)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").unlink()
    (model / "model_index.json").write_text(json.dumps(index | {"vae": ["harmful", "Part"]}))
    with pytest.raises(ModelFolderError, match="model_index.json takes vae from 'harmful'"):
        read_model_folder(str(model))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [ran]", "!!python/name:os.mkdir", "!unknown 3"])
def test_tags_of_yaml_are_refused(tag, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.yaml").write_text(f"keyframes: {tag}\n")
    with pytest.raises(CameraFileError, match="not valid YAML"):
        read_keyframes(tmp_path / "file.yaml")
    with pytest.raises(UserError, match="not valid YAML"):
        read_yaml(tmp_path / "file.yaml")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "parse, text",
    [
        (parse_json, "[" * 100_000), (parse_json, "1" + "0" * 400), (parse_json, b"\xff"), (parse_yaml, "[" * 1500),
        (parse_yaml, "a: !!int ''"),
    ],
)
def test_texts_that_break_parsers_are_value_errors(parse, text):
    with pytest.raises(ValueError):
        parse(text)


def test_an_index_cannot_name_files_outside_the_shards(clip, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"0123456789")
    for shard, offset, size in (("../secret", 0, 10), (str(tmp_path / "secret"), 0, 10), ("000.tar", -1, 10), ("000.tar", 0, -1)):
        write_index(folder, {shard: [["a", "json", offset, size]]})
        with pytest.raises(ValueError, match="no place of a clip in a shard of this folder"):
            read_index(folder)
    written = write_shard(folder / "000.tar", [clip])
    write_index(folder, {"000.tar": [[key, member, offset, 2**50] for key, member, offset, _ in written["members"]]})
    (places,) = read_index(folder).values()
    with pytest.raises(ValueError, match="cut short"):
        read_members(folder, places)
    (folder / INDEX).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable index"):
        read_index(folder)


def test_a_clip_of_another_makers_shard_is_checked(clip):
    members = clip_members(clip)
    plain = json.loads(members["json"])
    for changed in ({"anchor": 99}, {"context_times": [0.0]}, {"target_cameras": 3}, {"provenance": []}, {"instruction": None}):
        with pytest.raises(ValueError, match="a clip of a shard is incomplete or damaged"):
            clip_from_members(members | {"json": json.dumps(plain | changed).encode()})
    with pytest.raises(ValueError, match="a clip of a shard is incomplete or damaged"):
        clip_from_members(members | {"context-0000.jpg": picture_header(50_000, 50_000)})


def test_archives_that_unfold_without_end_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("camera_to_world.npy", array_file((2**40,)) + bytes(10**6))
    (tmp_path / "bomb.npy").write_bytes(array_file((2**40,), bytes(64)))
    with pytest.raises(CameraFileError, match="an array of float64"):
        read_cameras(tmp_path / "bomb.npz")
    with pytest.raises(ValueError, match="an array of float64"):
        read_array(tmp_path / "bomb.npy")
    claims = io.BytesIO()
    with zipfile.ZipFile(claims, "w") as archive:
        archive.writestr("x.npy", array_file((MOST_BYTES // 8 + 1,)))
    with pytest.raises(ValueError):
        read_arrays(claims.getvalue())


def test_pictures_of_too_many_pixels_are_refused(tmp_path):
    (tmp_path / "large.png").write_bytes(picture_header(50_000, 50_000))
    with pytest.raises(MediaError, match="large.png has too many pixels"):
        open_video(tmp_path / "large.png")
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "000.png").write_bytes(picture_header(50_000, 50_000))
    with pytest.raises(ValueError, match="not a depth map"):
        read_depth_maps(tmp_path / "depth", 1, [0])


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / MARK).write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with output_folder(tmp_path / "link", overwrite=True) as folder:
        (folder / MARK).write_text("new")
    assert (tmp_path / "mine" / MARK).read_text() == "{}" and (tmp_path / "link" / MARK).read_text() == "new"


def test_names_in_reports_are_text(clip, tmp_path):
    harmful = "<script>alert(1)</script>"
    page = write_sample_page(
        tmp_path, title=harmful, generated=clip.target_frames, cameras=clip.instruction.cameras, frame_rate=4.0,
        context_frames=clip.context_frames, anchor=clip.anchor, truth=None, estimated_cameras=None,
        measurements={"psnr": Measurement.missing(harmful)}, settings={harmful: harmful}, warnings=[harmful],
    ).read_text()  # fmt: skip
    assert page.count("&lt;script&gt;alert") >= 5 and "<script>alert" not in page
    figure = Figure()
    figure.subplots().plot([0, 1], label=harmful)
    figure.axes[0].set_title(harmful)
    figure.axes[0].legend()
    drawn = svg(figure)
    outside_comments = "".join(part.split("-->")[-1] for part in drawn.split("<!--"))
    assert "<script>alert" not in outside_comments

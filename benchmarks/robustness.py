"""What becomes of damaged and hostile inputs: over 10 000 of them, read as the commands read them, and counted by what happened.

    python benchmarks/robustness.py [--cases 12000] [--kinds a,b] [--kills 10] [--seed 0] [--keep FOLDER]

Every kind of input begins with one that is right, and hypothesis draws what is wrong with it: bytes and words that are lost, doubled or
replaced, values of other types, places and sizes. Each is read in a process with a limit on time and memory. The command line turns
`ValueError` and `OSError` of what a user gave into one line; every other exception would be a traceback there. A result counts as
silently changed where it breaks the rules of its own type, or differs although the file holds a checksum.

The rows `kills` start commands, kill them (SIGKILL) at random moments, and look at what is left.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from video4spatial.cameras import FORMATS, CameraFileError, Cameras, parse_trajectory, read_cameras, write_cameras
from video4spatial.cameras.formats import WRITABLE
from video4spatial.cameras.keyframes import read_keyframes
from video4spatial.cli.errors import UserError, describe
from video4spatial.cli.terminal import stage
from video4spatial.evaluation.results import merge_rows, metric, write_results
from video4spatial.files import LEFTOVER
from video4spatial.media import open_video, write_video
from video4spatial.waits import counted, track

ROOT = Path(__file__).parents[1]
SECONDS, BYTES = 20.0, 2 * 2**30
"""A case that takes longer hangs; one that needs more memory than this beside what was there before has too much."""

KILLED = ("kills_sample", "kills_geometry")
"""Rows of commands that are killed."""

OUTCOMES = ("right", "clear_error", "unclear_error", "traceback", "hang", "memory", "partial_output", "silent_change")
UNWANTED = ("unclear_error", "traceback", "hang", "memory", "partial_output", "silent_change")


class SilentChange(BaseException):
    """A result that nothing was said of is not what it must be."""


class PartialOutput(BaseException):
    """Something half-written was left."""


class Hang(BaseException):
    """A case took too long."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Args:
        strategy: draws inputs.
        use: reads one, as a command would; raises what the command would meet.
        names: whether its errors must name the file.
    """

    strategy: st.SearchStrategy
    use: Callable[[Any], None]
    names: str = ""


# ---- what is drawn ----------------------------------------------------------------------------------------------------------

TOKENS = [
    "nan", "inf", "-inf", "1e400", "-1", "0", "", "999999999999999999999", "1e-320", "0x10", "null", "true", "[]", "{}", "..", "/",
    "../../../etc/passwd", "é", "\x00", "﻿", "<script>", "!!python/object/apply:os.system ['true']", "%s", "1,5", "٣",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -0.5, 1e308, 1e-320, float("nan"), float("inf"), "", "x", "nan", "\x00", [],
    [[]], [1, 2, 3], [None], {}, {"x": 1}, [[0.0] * 4] * 4, [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], "../../x", "x" * 300,
]  # fmt: skip


def damaged_bytes(base: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with one to four things wrong."""
    place = st.one_of(st.integers(0, len(base)), st.integers(0, min(len(base), 256)), st.integers(max(0, len(base) - 256), len(base)))
    change = st.tuples(
        st.sampled_from(["flip", "cut", "lose", "double", "insert", "zero", "ones"]), place, st.integers(1, 64), st.binary(max_size=8)
    )

    def apply(changes: list[tuple]) -> bytes:
        data = bytearray(base)
        for what, at, count, new in changes:
            if what == "flip" and at < len(data):
                data[at] ^= 1 << (count % 8)
            elif what == "cut":
                del data[at:]
            elif what == "lose":
                del data[at : at + count]
            elif what == "double":
                data[at:at] = data[at : at + count]
            elif what == "insert":
                data[at:at] = new
            elif what in ("zero", "ones"):
                data[at : at + count] = (b"\0" if what == "zero" else b"\xff") * len(data[at : at + count])
        return bytes(data)

    return st.lists(change, min_size=1, max_size=4).map(apply)


def damaged_words(base: str) -> st.SearchStrategy[bytes]:
    """A text with one to four words or lines lost, doubled, swapped or replaced."""
    lines = [line.split(" ") for line in base.split("\n")]
    place = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
    change = st.tuples(st.sampled_from(["word", "lose", "double", "line", "lines", "swap", "blank"]), place, st.sampled_from(TOKENS))

    def apply(changes: list[tuple]) -> bytes:
        rows = [list(row) for row in lines]
        for what, (at, column), token in changes:
            if not rows:
                break
            row = rows[at % len(rows)]
            if what == "word":
                row[column % len(row)] = token
            elif what == "lose" and len(row) > 1:
                del row[column % len(row)]
            elif what == "double":
                row.insert(column % len(row), row[column % len(row)])
            elif what == "line":
                del rows[at % len(rows)]
            elif what == "lines":
                rows.insert(at % len(rows), list(row))
            elif what == "swap":
                other = column % len(rows)
                rows[at % len(rows)], rows[other] = rows[other], row
            elif what == "blank":
                rows.insert(at % len(rows), [token])
        return "\n".join(" ".join(row) for row in rows).encode("utf-8", "surrogatepass")

    return st.lists(change, min_size=1, max_size=4).map(apply)


def damaged_values(base: Any, dump: Callable[[Any], str] = json.dumps) -> st.SearchStrategy[bytes]:
    """A tree of values, of which one to three are lost, doubled or replaced by others."""
    change = st.tuples(st.sampled_from(["value", "value", "lose", "double", "key"]), st.integers(0, 10**6), st.sampled_from(VALUES))

    def apply(changes: list[tuple]) -> bytes:
        tree = json.loads(json.dumps(base))
        for what, at, value in changes:
            places = list(_places(tree))
            if not places:
                break
            holder, key = places[at % len(places)]
            if what == "value":
                holder[key] = value
            elif what == "lose":
                del holder[key]
            elif what == "double" and isinstance(holder, list):
                holder.insert(key, holder[key])
            elif what == "key" and isinstance(holder, dict):
                holder[str(value)[:40] if value is not None else "x"] = holder.pop(key)
        return dump(tree).encode("utf-8", "surrogatepass")

    return st.lists(change, min_size=1, max_size=3).map(apply)


def _places(tree: Any):
    """Every (holder, key) of a tree; of long lists the first few and the last."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in items if len(items) < 12 else [*items[:6], *items[-2:]]:
        yield tree, key
        yield from _places(value)


def damaged_text(base: str) -> st.SearchStrategy[bytes]:
    """A text file with wrong words or wrong bytes."""
    return st.one_of(damaged_words(base), damaged_words(base), damaged_bytes(base.encode()))


def damaged_json(base: Any) -> st.SearchStrategy[bytes]:
    """A JSON file with wrong values, words or bytes."""
    text = json.dumps(base, indent=1)
    deep = st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, text.encode()[:-1], b"\xff\xfe" + text.encode("utf-16-le")])
    return st.one_of(damaged_values(base), damaged_values(base), damaged_words(text), damaged_bytes(text.encode()), deep)


# ---- what reads it ----------------------------------------------------------------------------------------------------------


def a_path(count: int = 5) -> Cameras:
    """A short path with times."""
    return parse_trajectory("forward 1, left 30deg", count, frame_rate=4.0, fov_degrees=70.0, aspect=1.5)


def check_cameras(cameras: Cameras) -> None:
    """Cameras must be finite, rigid, and able to see."""
    poses, intrinsics = cameras.camera_to_world, cameras.intrinsics
    rotations = poses[..., :3, :3]
    rigid = (rotations.mT @ rotations - torch.eye(3, dtype=rotations.dtype)).abs().max() < 1e-3
    if not poses.isfinite().all() or not intrinsics.isfinite().all() or not rigid or not (intrinsics[..., [0, 1], [0, 1]] > 0).all():
        raise SilentChange("cameras that are none")
    if cameras.times is not None and not cameras.times.isfinite().all():
        raise SilentChange("times that are none")


def check_folder(folder: Path, allowed: set[str]) -> None:
    """Nothing half-written may lie in a folder."""
    left = {path.name for path in folder.iterdir()} - allowed
    if left:
        raise PartialOutput(f"left behind: {', '.join(sorted(left))}")


def camera_file(format: str) -> Callable[[Path], Kind]:
    """Camera files of a format: read, and written as transforms.json."""

    def kind(folder: Path) -> Kind:
        output = folder / "out"
        output.mkdir()

        def use_file(path: Path) -> None:
            shutil.rmtree(output)
            output.mkdir()
            try:
                cameras = _read_as_named(path, format)
                check_cameras(cameras)
                write_cameras(output / "cameras.json", cameras)
            finally:
                check_folder(output, {"cameras.json"})
            if not read_cameras(output / "cameras.json").allclose(cameras, 1e-6):
                raise SilentChange("written cameras are others than those that were read")

        if format not in WRITABLE:
            return Kind(*_one_of_layouts(folder, READ_ONLY[format](), use_file), names=folder.name)
        write_cameras(folder / "base", a_path(), format, image_size=(40, 60))
        base = folder / "base"
        if base.is_dir():  # a model of COLMAP
            contents = {file.name: file.read_bytes() for file in sorted(base.iterdir())}
            return Kind(*_one_of_files(folder, contents, use_file), names=folder.name)
        return Kind(_damaged_file("base.npz" if format == "npz" else "base", base.read_bytes()), _written(folder / "cameras", use_file),
                    names=folder.name)  # fmt: skip

    return kind


def _read_as_named(path: Path, format: str) -> Cameras:
    """Cameras of a file whose format is recognised; where it is not, it must be refused or read by its name too."""
    try:
        return read_cameras(path)
    except CameraFileError:
        check_cameras(read_cameras(path, format))
        raise


# Cameras that stand still, step aside and turn by a quarter about the vertical axis, as the formats write them that are only read.
QUARTER = [[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]
STEPS = [(np.eye(3).tolist(), [0.0, 0, 0]), (np.eye(3).tolist(), [0.5, 0, 0.25]), (QUARTER, [0.5, -0.125, 1])]


def _number_lines(rows: Iterable[Iterable[float]]) -> bytes:
    return "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in rows).encode()


def matrices_layouts() -> list[dict[str, bytes]]:
    """A table, a file per frame with intrinsics beside them, and an array."""
    poses = np.stack([np.block([[np.array(rotation), np.array(place)[:, None]], [np.eye(4)[3:]]]) for rotation, place in STEPS])
    frames = {f"frame-{index:06d}.pose.txt": _number_lines(pose) for index, pose in enumerate(poses)}
    array = io.BytesIO()
    np.save(array, poses)
    intrinsics = {"K.txt": _number_lines([[48, 0, 30], [0, 48, 20], [0, 0, 1]])}
    return [{"poses.txt": _number_lines(poses.reshape(-1, 16))}, frames | intrinsics, {"poses.npy": array.getvalue()}]


def motionctrl_layouts() -> list[dict[str, bytes]]:
    """Rows of 3x4 matrices."""
    rows = [[value for row, place in zip(rotation, places) for value in (*row, place)] for rotation, places in STEPS]
    return [{"poses.json": json.dumps(rows).encode()}]


def tartanair_layouts() -> list[dict[str, bytes]]:
    """Lines of places and quaternions."""
    turn = math.sqrt(0.5)
    return [{"pose_left.txt": _number_lines([[0, 0, 0, 0, 0, 0, 1], [0.25, 0.5, 0, 0, 0, 0, 1], [1, 0.5, -0.125, 0, 0, turn, turn]])}]


def opensfm_layouts() -> list[dict[str, bytes]]:
    """Two cameras, and two reconstructions."""
    cameras = {
        "v2": {"projection_type": "brown", "width": 60, "height": 40, "focal_x": 0.8, "focal_y": 0.8, "c_x": 0.01, "c_y": -0.01,
               "k1": 0.1, "k2": 0.0, "p1": 0.0, "p2": 0.0, "k3": 0.0},
        "wide": {"projection_type": "fisheye", "width": 60, "height": 40, "focal": 0.4, "k1": 0.1, "k2": 0.0},
    }  # fmt: skip
    turns = [[0.0, 0, 0], [0.0, 0.1, 0], [0, math.pi / 2, 0]]
    shots = {
        f"{index}.jpg": {"rotation": turn, "translation": place, "camera": key}
        for index, (turn, (_, place), key) in enumerate(zip(turns, STEPS, ("v2", "v2", "wide")))
    }
    small = {"cameras": cameras, "shots": {"alone.jpg": shots["0.jpg"]}, "points": {}}
    return [{"reconstruction.json": json.dumps([{"cameras": cameras, "shots": shots, "points": {}}, small]).encode()}]


def openmvg_layouts() -> list[dict[str, bytes]]:
    """Three views, one of which has no pose."""
    lens = {"width": 60, "height": 40, "focal_length": 48.0, "principal_point": [30.0, 20.0], "disto_k3": [0.1, 0.0, 0.0]}
    views = [
        {"filename": f"{index}.jpg", "local_path": "", "width": 60, "height": 40, "id_view": index, "id_intrinsic": 0, "id_pose": index}
        for index in range(3)
    ]
    content = {
        "sfm_data_version": "0.3", "root_path": "images",
        "views": [{"key": index, "value": {"ptr_wrapper": {"id": index, "data": view}}} for index, view in enumerate(views)],
        "intrinsics": [{"key": 0, "value": {"polymorphic_id": 1, "ptr_wrapper": {"id": 1, "data": lens}}}],
        "extrinsics": [{"key": index, "value": {"rotation": turn, "center": place}} for index, (turn, place) in enumerate(STEPS[1:])],
    }  # fmt: skip
    return [{"sfm_data.json": json.dumps(content).encode()}]


READ_ONLY: dict[str, Callable[[], list[dict[str, bytes]]]] = {
    "matrices": matrices_layouts, "motionctrl": motionctrl_layouts, "tartanair": tartanair_layouts, "opensfm": opensfm_layouts,
    "openmvg": openmvg_layouts,
}  # fmt: skip
"""Formats of cameras that are not written: in each of their layouts, the files and what stands in them."""


def _one_of_layouts(folder: Path, layouts: list[dict[str, bytes]], use: Callable[[Path], None]):
    """One of several folders, of which one file is damaged; of a folder with one file it is the file that is used."""
    drawing = []
    for contents in layouts:
        alone = next(iter(contents)) if len(contents) == 1 else ""
        drawing.append(_one_of_files(folder, contents, lambda target, alone=alone: use(target / alone)))
    strategies = [st.tuples(st.just(index), strategy) for index, (strategy, _) in enumerate(drawing)]
    return st.one_of(strategies), lambda drawn: drawing[drawn[0]][1](drawn[1])


def _written(path: Path, use: Callable[[Path], None]) -> Callable[[bytes], None]:
    """Use bytes as a file."""

    def use_bytes(data: bytes) -> None:
        path.write_bytes(data)
        use(path)

    return use_bytes


def _one_of_files(folder: Path, contents: dict[str, bytes], use: Callable[[Path], None]):
    """A folder of which one file is damaged: the strategy, and what uses it."""
    strategies = [st.tuples(st.just(name), _damaged_file(name, data)) for name, data in contents.items()]
    strategies.append(st.tuples(st.sampled_from(sorted(contents)), st.just(None)))  # a file is missing
    target = folder / "folder"

    def use_damaged(drawn: tuple[str, bytes | None]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name, data in contents.items():
            data = drawn[1] if name == drawn[0] else data
            if data is not None:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(data)
        use(target)

    return st.one_of(strategies), use_damaged


def _damaged_file(name: str, data: bytes) -> st.SearchStrategy[bytes]:
    """What a file holds, damaged as its kind allows."""
    if name.endswith((".npy", ".npz")):
        return st.one_of(damaged_bytes(data), _damaged_arrays(data))
    if data.lstrip()[:1] in (b"{", b"["):
        return damaged_json(json.loads(data))
    return damaged_text(data.decode()) if b"\0" not in data else damaged_bytes(data)


def _damaged_arrays(data: bytes) -> st.SearchStrategy[bytes]:
    """One array or an archive of them, of which one is of another shape, type or value, or missing."""
    read = np.load(io.BytesIO(data))
    alone = isinstance(read, np.ndarray)
    arrays = {"alone": read} if alone else dict(read)
    change = st.tuples(
        st.sampled_from(sorted(arrays)), st.sampled_from(["drop", "nan", "shape", "type", "object", "short", "huge", "zero"])
    )

    def apply(drawn: tuple[str, str]) -> bytes:
        name, what = drawn
        changed = dict(arrays)
        array = np.asarray(changed.pop(name))
        if what == "nan" and array.dtype.kind == "f":
            array = np.full_like(array, np.nan)
        elif what == "shape":
            array = array.reshape(-1)
        elif what == "type":
            array = array.astype(str)
        elif what == "object":
            array = np.array([{"a": 1}] * 2, dtype=object)
        elif what == "short":
            array = array[:1] if array.ndim else array
        elif what == "huge" and array.dtype.kind == "f":
            array = array * 1e300
        elif what == "zero" and array.dtype.kind == "f":
            array = array * 0
        buffer = io.BytesIO()
        if what != "drop":
            changed[name] = array
        if alone and changed:
            np.save(buffer, array)
        else:
            np.savez(buffer, **changed)
        return buffer.getvalue()

    return change.map(apply)


def keyframes(folder: Path) -> Kind:
    """Keyframe files."""
    base = {
        "keyframes": [
            {"time": 0, "position": [0, 0, 0], "look_at": [0, 0, 2]}, {"time": 1.5, "position": [0.5, 0, 1], "look_at": [0, 0, 3]},
            {"time": 3, "camera_to_world": np.eye(4).tolist()},
        ]
    }  # fmt: skip
    return Kind(damaged_json(base), _written(folder / "keys.json", lambda path: check_cameras(read_keyframes(path))), names=folder.name)


def trajectories(folder: Path) -> Kind:
    """Paths in words."""
    from video4spatial.cameras.motions import UNITS, VERBS

    numbers = ["1", "0.5", "-2", "30", "1e9", "1e308", "nan", "inf", "0", "-0", "1e-300", "7000", "360000", "99999999999999999999"]
    words = st.one_of(
        st.sampled_from(sorted(VERBS)), st.sampled_from(numbers), st.sampled_from(sorted(UNITS)),
        st.sampled_from([",", "+", "then", "and", ";", "\n", "=", "radius", "for", "distance", "over", "(", "forwrd", "é", "/", "~"]),
    )  # fmt: skip
    some = st.lists(st.sampled_from(numbers), max_size=2)
    motion = st.tuples(st.sampled_from(sorted(VERBS)), st.one_of(some, some, st.lists(words, max_size=4)))
    sentence = st.lists(motion, min_size=1, max_size=4).map(lambda parts: ", ".join(" ".join([verb, *rest]) for verb, rest in parts))
    texts = st.one_of(sentence, sentence, st.lists(words, max_size=10).map(" ".join), st.text(max_size=30))

    def use(drawn: tuple[str, int]) -> None:
        path = parse_trajectory(drawn[0], drawn[1])
        check_cameras(path)
        if len(path) != drawn[1]:
            raise SilentChange(f"{len(path)} cameras for {drawn[1]} frames")

    return Kind(st.tuples(texts, st.sampled_from([2, 9, 81])), use)


def _frames(count: int = 8) -> np.ndarray:
    y, x = np.mgrid[:32, :48]
    return np.stack([np.stack([5 * x + 9 * t, 7 * y, x + y], axis=-1) % 256 for t in range(count)]).astype(np.uint8)


def _read_all(path: Path) -> None:
    """All frames of a video, one by one, then some at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        video = open_video(path)
        count, size = len(video), (video.height, video.width)
        if count > 5000 or size[0] * size[1] > 10**8:
            raise SilentChange(f"{count} frames of {size}")
        frames = video.read(list(range(min(count, 16))))
    if frames.dtype != np.uint8 or frames.shape != (min(count, 16), *size, 3) or not math.isfinite(video.frame_rate):
        raise SilentChange(f"{frames.shape} for {count} frames of {size}")


def videos(folder: Path) -> Kind:
    """MP4 files."""
    write_video(folder / "base.mp4", _frames(), 4.0)
    return Kind(damaged_bytes((folder / "base.mp4").read_bytes()), _written(folder / "video.mp4", _read_all), names=folder.name)


def pictures(folder: Path) -> Kind:
    """Folders of pictures."""
    from PIL import Image

    contents = {}
    for index, ending in enumerate(["png", "jpg", "png", "webp"]):
        buffer = io.BytesIO()
        Image.fromarray(_frames(1)[0]).save(buffer, {"jpg": "JPEG"}.get(ending, ending.upper()))
        contents[f"{index:03d}.{ending}"] = buffer.getvalue()
    return Kind(*_one_of_files(folder, contents, _read_all), names=folder.name)


def _a_row():
    from video4spatial.clips.manifest import ClipRow

    poses, intrinsics = (getattr(a_path(4), name).numpy() for name in ("camera_to_world", "intrinsics"))
    return ClipRow(
        "a-1", "navigation", "train", "space", "capture", "rooms", "train:0", {"size": 32}, "abc", "OpenCV", "CC0", True, 32, 48, True,
        1.0, (0, 1), (0.0, 0.25), 1, (1, 2), (0.0, 0.25), poses, np.broadcast_to(intrinsics, (4, 3, 3)).copy(),
    )  # fmt: skip


def manifests(folder: Path) -> Kind:
    """Manifests of data sets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from video4spatial.clips.manifest import SCHEMA, read_manifest, write_manifest

    write_manifest(folder / "base.parquet", [_a_row(), _a_row()])
    base = pq.read_table(folder / "base.parquet").to_pylist()
    change = st.tuples(st.sampled_from(SCHEMA.names), st.sampled_from(VALUES), st.booleans())

    def changed(drawn: tuple[str, Any, bool]) -> bytes:
        name, value, keep_schema = drawn
        rows = [dict(row) for row in base]
        rows[0][name] = value
        buffer = io.BytesIO()
        try:
            table = pa.Table.from_pylist(rows, schema=SCHEMA if keep_schema else None)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            table = pa.Table.from_pylist([{key: kept for key, kept in row.items() if key != name} for row in rows])
        pq.write_table(table.replace_schema_metadata(SCHEMA.metadata), buffer)
        return buffer.getvalue()

    def use(path: Path) -> None:
        for row in read_manifest(path):
            for cameras in row.cameras:
                check_cameras(cameras)
            if len(row.camera_to_world) != len(row.context_frames) + len(row.target_frames):
                raise SilentChange("other cameras than frames")

    strategy = st.one_of(damaged_bytes((folder / "base.parquet").read_bytes()), change.map(changed))
    return Kind(strategy, _written(folder / "manifest.parquet", use), names=folder.name)


def shards(folder: Path) -> Kind:
    """Shards of clips, their index, and the clips in them."""
    from video4spatial.clips import Clip, Navigate
    from video4spatial.clips.shards import clip_from_members, clip_members, read_index, read_members, write_index, write_shard

    path, frames = a_path(3), _frames(3)
    depth = np.ones((3, 32, 48), np.float32)
    clip = Clip("a-1", "space", frames, np.arange(3) / 4, Navigate(path), 0, path, depth, None, frames, depth, path)
    base = folder / "base"
    written = write_shard(base / "000.tar", [clip])
    write_index(base, {"000.tar": written["members"]})
    contents = {file.name: file.read_bytes() for file in sorted(base.iterdir())}
    members = clip_members(clip)
    plain = json.loads(members["json"])

    def read(target: Path) -> None:
        for places in read_index(target).values():
            check_clip(clip_from_members(read_members(target, places)))

    def check_clip(read_clip: Clip) -> None:
        if read_clip.context_cameras is not None:
            check_cameras(read_clip.context_cameras)
        if len(read_clip.context_frames) != len(read_clip.context_times) or not 0 <= read_clip.anchor < len(read_clip.context_frames):
            raise SilentChange("frames, times and anchor of a clip do not fit")

    strategy, use_files = _one_of_files(folder, contents, read)

    def use(drawn: tuple[str, Any]) -> None:
        if drawn[0] == "member":
            check_clip(clip_from_members(members | {"json": drawn[1]}))
        else:
            use_files(drawn)

    return Kind(st.one_of(strategy, st.tuples(st.just("member"), damaged_json(plain))), use)


def _parsed(parse: Callable[[Path], object], folder: Path) -> Callable[[bytes], None]:
    return _written(folder / "config.yaml", parse)


def _damaged_yaml(path: Path) -> st.SearchStrategy[bytes]:
    import yaml

    text = "\n".join(line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))

    def dump(tree: Any) -> str:
        return yaml.safe_dump(tree, allow_unicode=True)

    return st.one_of(damaged_values(yaml.safe_load(text), dump), damaged_words(text), damaged_bytes(text.encode()))


def sampling_configurations(folder: Path) -> Kind:
    """Configurations of sample.py."""
    from video4spatial.cli.sample_options import navigate_parser

    parser, given = navigate_parser(), ["--context", "room.mp4", "--output", "out"]
    parse = _parsed(lambda path: parser.parse(["--config", str(path), *given]), folder)
    return Kind(_damaged_yaml(ROOT / "configs/sample/navigate.yaml"), parse)


def curation_configurations(folder: Path) -> Kind:
    """Configurations of data sets."""
    from video4spatial.cli.curate import build_parser, read_build_options

    parser, given = build_parser(), ["--output", str(folder / "out")]

    def parse(path: Path) -> None:
        read_build_options(parser, ["--config", str(path), *given])

    return Kind(_damaged_yaml(ROOT / "configs/curation/rooms.yaml"), _parsed(parse, folder))


def training_configurations(folder: Path) -> Kind:
    """Configurations of train.py, up to where models are built."""
    from lightning import LightningDataModule, LightningModule

    from video4spatial.cli.lightning_cli import TrainingCLI

    class Reading(TrainingCLI):
        def instantiate_classes(self) -> None:
            """Nothing is built."""

    rooms = ROOT / "configs/train/rooms.yaml"
    ways = {"subclass_mode_model": True, "subclass_mode_data": True, "auto_configure_optimizers": False, "seed_everything_default": 0}
    parser = Reading(LightningModule, LightningDataModule, args=["--config", str(rooms)], run=False, **ways).parser
    return Kind(_damaged_yaml(rooms), _parsed(lambda path: parser.parse_args(["--config", str(path)]), folder))


def checkpoints(folder: Path) -> Kind:
    """Checkpoints of trainings."""
    import lightning

    from video4spatial.training.resumption import check_same_training, read_checkpoint

    class Small(lightning.LightningModule):
        def __init__(self, width: int = 4):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, width)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    module = Small()
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    content = {
        "state_dict": module.state_dict(), "global_step": 2, "epoch": 0, "loops": {}, "hyper_parameters": {"width": 4},
        "optimizer_states": [module.configure_optimizers().state_dict()],
    }  # fmt: skip
    torch.save(content, folder / "base.ckpt")
    keys = st.tuples(st.sampled_from(sorted(content)), st.sampled_from([*VALUES, torch.zeros(3), {"layer.weight": torch.zeros(2)}]))

    def changed(drawn: tuple[str, Any]) -> bytes:
        buffer = io.BytesIO()
        torch.save(content | {drawn[0]: drawn[1]}, buffer)
        return buffer.getvalue()

    def use(path: Path) -> None:
        read = read_checkpoint(path)
        try:
            check_same_training(read, trainer, module)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    strategy = st.one_of(damaged_bytes((folder / "base.ckpt").read_bytes()), keys.map(changed))
    return Kind(strategy, _written(folder / "last.ckpt", use), names=folder.name)


def banks(folder: Path) -> Kind:
    """Files of rendered scenes."""
    from video4spatial.training.bank import SceneBank

    poses = a_path(9).camera_to_world
    SceneBank(
        torch.zeros(1, 9, 16, 16, 3, dtype=torch.uint8), torch.ones(1, 9, 2, 2).half(), poses[None], a_path().intrinsics[:1],
        torch.zeros(1, 2, dtype=torch.long), 3,
    ).save(folder / "base.safetensors")  # fmt: skip
    data = (folder / "base.safetensors").read_bytes()
    read = _written(folder / "bank.safetensors", lambda path: SceneBank.load(path).walk_frames)
    return Kind(_damaged_safetensors(data), read, names=folder.name)


def _damaged_safetensors(data: bytes) -> st.SearchStrategy[bytes]:
    """A safetensors file with wrong bytes, or with wrong values in its header."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])

    def joined(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return st.one_of(damaged_bytes(data), damaged_values(header).map(joined))


def model_folders(folder: Path) -> Kind:
    """Folders of models, before weights are loaded."""
    from video4spatial.pretrained import read_model_folder, read_model_shape, resolve_model

    model = resolve_model("rooms")
    files = {str(file.relative_to(model)): file for file in sorted(model.rglob("*")) if file.is_file()}
    configurations = {name: json.loads(file.read_text()) for name, file in files.items() if file.suffix == ".json"}
    damaged = [st.tuples(st.just(name), damaged_json(content)) for name, content in configurations.items()]
    weights = [name for name, file in files.items() if file.suffix == ".safetensors"]
    start = st.tuples(st.sampled_from(weights), damaged_bytes(files[weights[0]].read_bytes()[:512]))
    target = folder / "model"

    def use(drawn: tuple[str, bytes | None]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        for name, file in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if name != drawn[0]:
                (target / name).symlink_to(file)
            elif drawn[1] is not None:
                (target / name).write_bytes(drawn[1])
        read = read_model_folder(str(target))
        if not all(isinstance(value, int) and 0 < value < 10**5 for value in (read.height, read.width, read.target_frames, read.grid)):
            raise SilentChange("sizes that are none")
        read_model_shape(str(target))

    return Kind(st.one_of(*damaged, start, st.tuples(st.sampled_from(sorted(files)), st.just(None))), use, names=folder.name)


def scenes(folder: Path) -> Kind:
    """Encoded scenes."""
    from video4spatial.conditioning.plans import ContextPart
    from video4spatial.pipelines.context_files import read_context, write_context
    from video4spatial.pipelines.scene_context import SceneContext

    scene = SceneContext(
        _frames(2), np.array([0.0, 0.25]), a_path(2), 1, (ContextPart((0, 1), 1),), torch.ones(1, 4, 2, 4, 6),
        torch.tensor([[0.0, 1.0]], dtype=torch.float64), None, None, 0.0, a_path(2)[:1], 0.0, 0,
    )  # fmt: skip
    write_context(folder / "base.safetensors", scene, "model", torch.float32)

    def use(path: Path) -> None:
        read = read_context(path, "model", torch.float32)
        same = np.array_equal(read.frames, scene.frames) and torch.equal(read.latents, scene.latents) and read.parts == scene.parts
        if not same or not read.cameras.allclose(scene.cameras):
            raise SilentChange("another scene than was written, under its checksum")

    data = (folder / "base.safetensors").read_bytes()
    return Kind(_damaged_safetensors(data), _written(folder / "scene.safetensors", use), names=folder.name)


def geometries(folder: Path) -> Kind:
    """Folders that v4s geometry wrote."""
    from video4spatial.geometry.scene_files import read_geometry, save_geometry
    from video4spatial.geometry.scene_geometry import SceneGeometry

    ones = np.ones((2, 8, 12), np.float32)
    save_geometry(SceneGeometry(_frames(2), a_path(2), np.ones(2, bool), ones, ones, ("", ""), {"depth": "given"}), folder / "base")
    contents = {file.name: file.read_bytes() for file in sorted((folder / "base").iterdir())}

    def use(target: Path) -> None:
        geometry = read_geometry(target)
        if geometry.placed.any():
            check_cameras(geometry.cameras[np.flatnonzero(geometry.placed).tolist()])
        if not np.isfinite(geometry.depth).all() or len(geometry.reasons) != len(geometry.frames):
            raise SilentChange("geometry that is none")

    return Kind(*_one_of_files(folder, contents, use), names=folder.name)


def depth_maps(folder: Path) -> Kind:
    """Folders of depth maps, and files of all of them."""
    import cv2

    from video4spatial.geometry.depth_files import read_depth_maps

    depth = np.linspace(1, 3, 96).reshape(8, 12)
    array, arrays = io.BytesIO(), io.BytesIO()
    np.save(array, depth)
    np.savez(arrays, depth=depth, confidence=np.ones_like(depth))
    picture = cv2.imencode(".png", (1000 * depth).astype(np.uint16))[1].tobytes()
    layouts = [{"000.png": picture, "001.npy": array.getvalue(), "002.npz": arrays.getvalue()}]
    many = np.stack([depth] * 3)
    for named in ({"depth": many[None, ..., None], "depth_conf": 1 + many}, {"local_points": np.stack([many] * 3, -1), "conf": many / 4}):
        buffer = io.BytesIO()
        np.savez(buffer, **named)
        layouts.append({"predictions.npz": buffer.getvalue()})

    def use(target: Path) -> None:
        maps = read_depth_maps(target, 3, [0, 1, 2])
        if not np.isfinite(maps.depth).all() or (maps.depth < 0).any():
            raise SilentChange("depth that is none")

    return Kind(*_one_of_layouts(folder, layouts, use), names=folder.name)


KINDS: dict[str, tuple[Callable[[Path], Kind], float]] = {
    **{f"cameras_{name}": (camera_file(name), 4.0) for name in FORMATS},
    "keyframes": (keyframes, 5.0), "trajectories": (trajectories, 15.0), "videos": (videos, 8.0), "pictures": (pictures, 8.0),
    "manifests": (manifests, 6.0), "shards": (shards, 8.0), "configurations_sampling": (sampling_configurations, 5.0),
    "configurations_curation": (curation_configurations, 1.0), "configurations_training": (training_configurations, 0.4),
    "checkpoints": (checkpoints, 4.0), "banks": (banks, 3.0), "model_folders": (model_folders, 4.0), "scenes": (scenes, 4.0),
    "geometries": (geometries, 4.0), "depth_maps": (depth_maps, 4.0),
}  # fmt: skip
"""Kinds of inputs by name, and their share of the cases."""


# ---- running it -------------------------------------------------------------------------------------------------------------


def outcome_of(kind: Kind, drawn: Any) -> tuple[str, str]:
    """What becomes of one input, and in which words.

    Args:
        kind: of the input.
        drawn: the input.
    """
    try:
        kind.use(drawn)
        return "right", ""
    except (SilentChange, PartialOutput, Hang) as found:
        names = {SilentChange: "silent_change", PartialOutput: "partial_output", Hang: "hang"}
        return names[type(found)], str(found)
    except MemoryError as error:
        return "memory", str(error)
    except (ValueError, OSError, UserError) as error:
        told = describe(error)
        clear = kind.names in told and "\n" not in told and 0 < len(told) < 1500
        return "clear_error" if clear else "unclear_error", f"{type(error).__name__}: {told}"
    except Exception as error:
        too_much = "memory" in str(error).lower() and "alloc" in str(error).lower()
        return "memory" if too_much else "traceback", f"{type(error).__name__}: {error}"


def run_cases(name: str, count: int, first_seed: int, folder: Path, report: Callable[[str, str, Any], None]) -> None:
    """Draw and read inputs of a kind.

    Args:
        name: of the kind.
        count: of the inputs.
        first_seed: of the drawing.
        folder: to work in; it is empty.
        report: called before each input with ("begin", "", input), and with (outcome, words, input) afterwards.
    """
    kind = KINDS[name][0](folder)
    left, number = count, first_seed

    def case(drawn: Any) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            report("begin", "", drawn)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                outcome, words = outcome_of(kind, drawn)
            report(outcome, words, drawn)

    quiet = settings(
        max_examples=count, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    while left > 0:
        seed(number)(quiet(given(kind.strategy)(case)))()
        number += 1


def _alarm(number: int, frame: object) -> None:
    raise Hang(f"over {SECONDS:g} s")


def _work(name: str, count: int, first_seed: int, folder: str, pipe: Any) -> None:
    """A process that reads inputs of a kind under limits."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _alarm)
    limited = False

    def report(outcome: str, words: str, drawn: Any) -> None:
        nonlocal limited
        if not limited:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
            limited = True
        signal.setitimer(signal.ITIMER_REAL, SECONDS if outcome == "begin" else 0)
        pipe.send((outcome, words, drawn if outcome == "begin" else None))

    os.chdir(folder)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    run_cases(name, count, first_seed, Path(folder), report)


def run_kind(name: str, count: int, first_seed: int, keep: Path | None, advance: Callable[[], None]) -> tuple[Counter, list[str]]:
    """Read inputs of a kind in processes that may hang or die.

    Args:
        name: of the kind.
        count: of the inputs.
        first_seed: of the drawing.
        keep: folder for inputs with unwanted outcomes, or None.
        advance: called after each.

    Returns:
        How often each outcome came, and the words of unwanted ones.
    """
    outcomes, found = Counter(), []
    # Forked: what takes seconds to load is loaded already.
    context = multiprocessing.get_context("fork")
    while (left := count - outcomes.total()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(name, left, first_seed + outcomes.total(), folder, sender))
            process.start()
            sender.close()
            drawn, begun = None, False
            try:
                while receiver.poll(1.5 * SECONDS if begun else 600):
                    outcome, words, sent = receiver.recv()
                    if outcome == "begin":
                        drawn, begun = sent, True
                        continue
                    _count(outcomes, found, keep, name, outcome, words, drawn)
                    begun = False
                    advance()
                outcome, words = ("hang", "does not answer") if begun else ("", "")
            except EOFError:
                process.join()
                outcome, words = ("traceback", f"the process died ({process.exitcode})") if begun else ("", "")
            if outcome:
                _count(outcomes, found, keep, name, outcome, words, drawn)
                advance()
            elif outcomes.total() == 0:
                raise RuntimeError(f"{name}: its process ended with {process.exitcode} before the first input")
            process.kill()
            process.join()
    return outcomes, found


def _count(outcomes: Counter, found: list[str], keep: Path | None, name: str, outcome: str, words: str, drawn: Any) -> None:
    outcomes[outcome] += 1
    if outcome not in UNWANTED:
        return
    found.append(f"{outcome}: {words[:300]}")
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        place = keep / f"{name}-{outcome}-{len(found):04d}"
        place.write_bytes(drawn if isinstance(drawn, bytes) else repr(drawn).encode("utf-8", "backslashreplace"))
        place.with_suffix(".txt").write_text(words)


# ---- kills ------------------------------------------------------------------------------------------------------------------


def killed_runs(command: Sequence[str], output: Path, times: Iterable[float]) -> Counter:
    """Start a command again and again and kill it after so many seconds.

    Args:
        command: that writes a folder.
        output: the folder.
        times: seconds of each run.

    Returns:
        How often nothing, a whole folder, or a half one was left.
    """
    outcomes = Counter()
    for seconds in times:
        shutil.rmtree(output, ignore_errors=True)
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        left = sorted(path.name for path in output.parent.iterdir() if not path.name.startswith(LEFTOVER))
        if not left:
            outcomes["nothing_left"] += 1
        else:
            outcomes["whole" if left == [output.name] and _is_whole(output) else "partial_output"] += 1
    return outcomes


def _is_whole(folder: Path) -> bool:
    """Whether a folder holds what the command writes last, and no file in it is empty or an unfinished archive."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    finished = (folder / "scores.json").is_file() or (folder / "geometry.json").is_file()
    return finished and all(path.stat().st_size > 0 for path in files) and (folder / "report.html").is_file()


def kills(count: int, first_seed: int, names: Sequence[str]) -> Iterator[dict]:
    """Rows of commands that are killed while they work.

    Args:
        count: of the killed runs of each.
        first_seed: of the moments.
        names: of the rows.
    """
    if count == 0:
        return
    from video4spatial.simulation.capture import simulated_capture

    drawn = random.Random(first_seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        walk = simulated_capture(2_050_000, 8, 96, 128, frame_rate=4.0)
        write_video(root / "room.mp4", walk.read_frames(range(8)), 4.0)
        given = [sys.executable, "-c", "import sys; from video4spatial.cli.main import main; sys.exit(main())"]
        commands = {
            "kills_sample": [
                sys.executable, "sample.py", "navigate", "--context", str(root / "room.mp4"), "--trajectory", "forward 0.3", "--steps", "1",
                "--geometry", "none", "--output",
            ],
            "kills_geometry": [*given, "geometry", str(root / "room.mp4"), "--output"],
        }
        for name, command in commands.items():
            if name not in names:
                continue
            output = root / name / "out"
            output.parent.mkdir()
            begun = time.monotonic()
            subprocess.run([*command, str(output)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            whole = time.monotonic() - begun
            if not _is_whole(output):
                raise RuntimeError(f"{name}: not even the run that was not killed is whole")
            # More of the moments lie where files are written: near the end.
            times = [whole * (1 - drawn.random() ** 2 * 0.9) for _ in range(count)]
            outcomes = killed_runs([*command, str(output)], output, track(times, name))
            cells = {outcome: metric(outcomes[outcome], n=count) for outcome in ("nothing_left", "whole", "partial_output")}
            yield {"name": name, "metrics": cells}


def _write(path: Path, first_seed: int, measured: list[dict]) -> list[dict]:
    """Put rows in the place of a results file's old ones, and add up all kinds; returns all rows."""
    settings_of_all = {"seed": first_seed, "seconds_per_case": SECONDS, "bytes_per_case": BYTES}
    told, rows = merge_rows(path, settings_of_all, measured, ["all", *KINDS, *KILLED].index)
    rows = [row for row in rows if row["name"] != "all"]
    total = {name: sum(row["metrics"][name]["value"] for row in rows if row["name"] in KINDS) for name in OUTCOMES}
    cases = sum(total.values())
    rows.insert(0, {"name": "all", "metrics": {name: metric(value, n=cases) for name, value in total.items()}})
    write_results(path, "robustness", told | {"cases": cases}, rows)
    return rows


def main() -> None:
    """Run it and write benchmarks/results/robustness.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12_000, help="inputs of all kinds together (default %(default)s)")
    parser.add_argument(
        "--kinds",
        help="only these, separated by commas, kills_sample and kills_geometry too; the other rows of the results file stay (default: all)",
    )
    parser.add_argument("--kills", type=int, default=10, help="killed runs of each command (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for inputs with unwanted outcomes")
    parser.add_argument("--json", default=ROOT / "benchmarks" / "results" / "robustness.json", help="results file")
    options = parser.parse_args()
    asked = options.kinds.split(",") if options.kinds else [*KINDS, *KILLED]
    names = [name for name in asked if name in KINDS]
    shares = {name: KINDS[name][1] for name in names}
    counts = {name: math.ceil(options.cases * share / sum(shares.values())) for name, share in shares.items()}
    rows, words = [], {}
    with stage("loading what reads them"):
        for module in ("video4spatial.cli.lightning_cli", "video4spatial.clips.shards", "data_curation.build"):
            importlib.import_module(module)
        torch.set_num_threads(1)
    with counted("reading damaged inputs", sum(counts.values())) as wait:
        for name, count in counts.items():
            wait.describe(name)
            outcomes, words[name] = run_kind(name, count, options.seed, options.keep, wait.advance)
            row = {"name": name, "metrics": {outcome: metric(outcomes[outcome], n=count) for outcome in OUTCOMES}}
            rows = _write(options.json, options.seed, [row])
    for row in kills(options.kills, options.seed, asked):
        rows = _write(options.json, options.seed, [row])
    for row in rows:
        print(f"{row['name']:26}" + "  ".join(f"{name} {cell['value']}" for name, cell in row["metrics"].items() if cell["value"]))
    for name, found in words.items():
        for sentence, times in Counter(found).most_common(8):
            print(f"{name}: {times} x {sentence}")


if __name__ == "__main__":
    main()

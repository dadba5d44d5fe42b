"""Cameras: files of every format, keyframes, and paths in words."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from video4spatial.cameras import CameraFileError, Cameras, parse_trajectory, read_cameras, write_cameras
from video4spatial.cameras.formats import WRITABLE
from video4spatial.cameras.keyframes import read_keyframes
from video4spatial.cameras.motions import UNITS, VERBS, TrajectoryError

from .damage import damaged_file, damaged_json
from .inputs import Kind, RightRefused, SilentChange, a_path, check_cameras, check_folder, one_of_files, one_of_layouts, written
from .paths import Part, check_end, understood_paths


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
            return Kind(*one_of_layouts(folder, READ_ONLY[format](), use_file), names=folder.name)
        write_cameras(folder / "base", a_path(), format, image_size=(40, 60))
        base = folder / "base"
        if base.is_dir():  # a model of COLMAP
            contents = {file.name: file.read_bytes() for file in sorted(base.iterdir())}
            return Kind(*one_of_files(folder, contents, use_file), names=folder.name)
        return Kind(damaged_file("base.npz" if format == "npz" else "base", base.read_bytes()), written(folder / "cameras", use_file),
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


def keyframes(folder: Path) -> Kind:
    """Keyframe files."""
    base = {
        "keyframes": [
            {"time": 0, "position": [0, 0, 0], "look_at": [0, 0, 2]}, {"time": 1.5, "position": [0.5, 0, 1], "look_at": [0, 0, 3]},
            {"time": 3, "camera_to_world": np.eye(4).tolist()},
        ]
    }  # fmt: skip
    return Kind(damaged_json(base), written(folder / "keys.json", lambda path: check_cameras(read_keyframes(path))), names=folder.name)


def trajectories(folder: Path) -> Kind:
    """Paths in words: half of them of any words, half of them such as must be understood."""
    numbers = ["1", "0.5", "-2", "30", "1e9", "1e308", "nan", "inf", "0", "-0", "1e-300", "7000", "360000", "99999999999999999999"]
    words = st.one_of(
        st.sampled_from(sorted(VERBS)), st.sampled_from(numbers), st.sampled_from(sorted(UNITS)),
        st.sampled_from([",", "+", "then", "and", ";", "\n", "=", "radius", "for", "distance", "over", "(", "forwrd", "é", "/", "~"]),
    )  # fmt: skip
    some = st.lists(st.sampled_from(numbers), max_size=2)
    motion = st.tuples(st.sampled_from(sorted(VERBS)), st.one_of(some, some, st.lists(words, max_size=4)))
    sentence = st.lists(motion, min_size=1, max_size=4).map(lambda parts: ", ".join(" ".join([verb, *rest]) for verb, rest in parts))
    texts = st.one_of(sentence, sentence, st.lists(words, max_size=10).map(" ".join), st.text(max_size=30))

    def use(drawn: tuple[str, int, list[Part]]) -> None:
        words, count, parts = drawn
        try:
            path = parse_trajectory(words, count)
        except TrajectoryError as error:
            if parts:
                raise RightRefused(f"{words!r}: {error}") from error
            raise
        check_cameras(path)
        if len(path) != count:
            raise SilentChange(f"{len(path)} cameras for {count} frames")
        if parts:
            check_end(path, parts)

    wrong = st.tuples(texts, st.sampled_from([2, 9, 81]), st.just([]))
    return Kind(st.one_of(wrong, understood_paths()), use)

"""Footage: videos, folders of pictures, and the depth and geometry of them."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import numpy as np

from video4spatial.media import open_video, write_video

from .damage import damaged_bytes
from .inputs import Kind, SilentChange, a_path, check_cameras, one_of_files, one_of_layouts, some_frames, written


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
    write_video(folder / "base.mp4", some_frames(), 4.0)
    return Kind(damaged_bytes((folder / "base.mp4").read_bytes()), written(folder / "video.mp4", _read_all), names=folder.name)


def pictures(folder: Path) -> Kind:
    """Folders of pictures."""
    from PIL import Image

    contents = {}
    for index, ending in enumerate(["png", "jpg", "png", "webp"]):
        buffer = io.BytesIO()
        Image.fromarray(some_frames(1)[0]).save(buffer, {"jpg": "JPEG"}.get(ending, ending.upper()))
        contents[f"{index:03d}.{ending}"] = buffer.getvalue()
    return Kind(*one_of_files(folder, contents, _read_all), names=folder.name)


def geometries(folder: Path) -> Kind:
    """Folders that v4s geometry wrote."""
    from video4spatial.geometry.scene_files import read_geometry, save_geometry
    from video4spatial.geometry.scene_geometry import SceneGeometry

    ones = np.ones((2, 8, 12), np.float32)
    save_geometry(SceneGeometry(some_frames(2), a_path(2), np.ones(2, bool), ones, ones, ("", ""), {"depth": "given"}), folder / "base")
    contents = {file.name: file.read_bytes() for file in sorted((folder / "base").iterdir())}

    def use(target: Path) -> None:
        geometry = read_geometry(target)
        if geometry.placed.any():
            check_cameras(geometry.cameras[np.flatnonzero(geometry.placed).tolist()])
        if not np.isfinite(geometry.depth).all() or len(geometry.reasons) != len(geometry.frames):
            raise SilentChange("geometry that is none")

    return Kind(*one_of_files(folder, contents, use), names=folder.name)


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

    return Kind(*one_of_layouts(folder, layouts, use), names=folder.name)

"""A scene's geometry as a folder: to be read again, and to be opened by other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from plyfile import PlyData, PlyElement
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from video4spatial.cameras import Cameras, write_cameras
from video4spatial.files import written_aside
from video4spatial.geometry.visibility import world_points
from video4spatial.parsing import parse_json

if TYPE_CHECKING:
    from video4spatial.geometry.scene_geometry import SceneGeometry

FORMAT, VERSION = "video4spatial.scene_geometry", "1"
TENSORS, FACTS = "geometry.safetensors", "geometry.json"

MOST_POINTS = 400_000
"""Points of a cloud; more are thinned evenly."""

SURE = 0.3
"""Least confidence of a point in a cloud."""

MILLIMETRES = 1000.0
"""Values of depth pictures for each metre (or other unit of the cameras)."""


def write_geometry(geometry: SceneGeometry, folder: Path) -> None:
    """Write what `read_geometry` reads, into a folder that is there.

    Args:
        geometry: of the scene.
        folder: where to.
    """
    tensors = {
        "frames": geometry.frames, "placed": geometry.placed, "depth": geometry.depth, "confidence": geometry.confidence,
    }  # fmt: skip
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in tensors.items()}
    tensors |= {"camera_to_world": geometry.cameras.camera_to_world, "intrinsics": geometry.cameras.intrinsics.contiguous()}
    facts = {
        "format": FORMAT, "version": VERSION, "metric": geometry.cameras.metric, "convention": geometry.cameras.convention,
        "origin": geometry.origin, "reasons": list(geometry.reasons),
    }  # fmt: skip
    save_file({name: values.clone() for name, values in tensors.items()}, folder / TENSORS, {"format": FORMAT, "version": VERSION})
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_geometry(folder: str | Path) -> SceneGeometry:
    """Read a folder of `write_geometry`.

    Args:
        folder: with `geometry.safetensors` and `geometry.json`.

    Raises:
        FileNotFoundError: for a folder without them.
        ValueError: for files that are damaged, of another version, or do not fit each other.
    """
    from video4spatial.geometry.scene_geometry import SceneGeometry  # which is written by this module

    folder = Path(folder)
    missing = [name for name in (TENSORS, FACTS) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {' and '.join(missing)}: expected a folder that `v4s geometry` wrote.")
    try:
        facts = parse_json((folder / FACTS).read_text(encoding="utf-8"))
        with safe_open(folder / TENSORS, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if (facts["format"], facts["version"]) != (FORMAT, VERSION):
            raise ValueError(f"format {facts['format']} {facts['version']}, expected {FORMAT} {VERSION}")
        cameras = Cameras(tensors["camera_to_world"], tensors["intrinsics"], facts["metric"], convention=facts["convention"])
        placed, depth, confidence = (tensors[name].numpy() for name in ("placed", "depth", "confidence"))
        for name, values in (("depth", depth), ("confidence", confidence)):
            if not np.isfinite(values).all() or (values < 0).any():
                raise ValueError(f"{name} holds values that are not finite or below 0")
        return SceneGeometry(tensors["frames"].numpy(), cameras, placed, depth, confidence, tuple(facts["reasons"]), facts["origin"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} holds no geometry that can be read ({error}): run `v4s geometry` again.") from error


def save_geometry(geometry: SceneGeometry, folder: str | Path) -> None:
    """Write a folder for `read_geometry`, whole or not at all.

    Args:
        geometry: of the scene.
        folder: where to; a folder that stands there is replaced.
    """
    with written_aside(folder) as aside:
        aside.mkdir()
        write_geometry(geometry, aside)


def export_geometry(geometry: SceneGeometry, folder: Path) -> None:
    """Write what other programs open: the pictures of frames that have a camera (`images/`), their cameras (`transforms.json`, `colmap/`),
    depth and confidence (`write_depth_pictures`), and a cloud of points with colours (`points.ply`).

    All files have the number of their frame.

    Args:
        geometry: of the scene.
        folder: that is there.
    """
    placed = np.flatnonzero(geometry.placed).tolist()
    if placed:
        size = geometry.frames.shape[1:3]
        names = [f"{index:06d}.png" for index in placed]
        paths = [f"images/{name}" for name in names]
        write_cameras(folder / "transforms.json", geometry.cameras[placed], image_size=size, image_names=paths)
        write_cameras(folder / "colmap", geometry.cameras[placed], "colmap", image_size=size, image_names=names)
        (folder / "images").mkdir()
        for index, name in zip(placed, names, strict=True):
            cv2.imwrite(str(folder / "images" / name), cv2.cvtColor(geometry.frames[index], cv2.COLOR_RGB2BGR))
    write_depth_pictures(folder, geometry.depth, geometry.confidence, geometry.cameras.metric)
    points, colours = point_cloud(geometry)
    rows = np.empty(len(points), [*((axis, "f4") for axis in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))])
    for column, name in enumerate(rows.dtype.names):
        rows[name] = points[:, column] if column < 3 else colours[:, column - 3]
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(folder / "points.ply"))


def write_depth_pictures(folder: Path, depth: np.ndarray, confidence: np.ndarray, metric: bool) -> None:
    """Write `depth/NNNNNN.png` (16 bits) and `confidence/NNNNNN.png` (8 bits) of frames of which something is known, and their units.

    Args:
        folder: that is there.
        depth, confidence: [N, h, w]. Depth beyond what 16 bits hold counts as unknown.
        metric: whether depth is in metres.
    """
    stored = np.round(depth * MILLIMETRES)
    stored = np.where(stored <= np.iinfo(np.uint16).max, stored, 0).astype(np.uint16)
    facts = {
        "files": "by the number of their frame; frames of which nothing is known have none",
        "depth": f"16 bits, 1/{MILLIMETRES:g} {'metre' if metric else 'of the unit of the cameras'} along the optical axis; 0 is unknown",
        "confidence": "8 bits: 255 times the probability that depth is right to within 10 %; 0 is unknown",
    }
    for name, values in (("depth", stored), ("confidence", np.round(255 * confidence).astype(np.uint8))):
        (folder / name).mkdir()
        (folder / name / "README.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        for index in np.flatnonzero((depth > 0).any((1, 2))):
            cv2.imwrite(str(folder / name / f"{index:06d}.png"), values[index])


def point_cloud(geometry: SceneGeometry, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """The surface points of all frames that are believed.

    Args:
        geometry: of the scene.
        most: points, evenly thinned.

    Returns:
        [P, 3] float32 in the world and [P, 3] uint8 colours.
    """
    height, width = geometry.depth.shape[1:]
    points = world_points(geometry.cameras, torch.from_numpy(geometry.depth).double()).reshape(-1, 3)
    kept = np.flatnonzero((geometry.depth > 0) & (geometry.confidence >= SURE) & geometry.placed[:, None, None])
    kept = kept[:: max(1, -(-len(kept) // most))]
    frame, pixel = np.divmod(kept, height * width)
    row, column = np.divmod(pixel, width)
    rows, columns = ((place + 0.5) * full / small for place, full, small in zip((row, column), geometry.frames.shape[1:3], (height, width)))
    return points[kept].float().numpy(), geometry.frames[frame, rows.astype(int), columns.astype(int)]

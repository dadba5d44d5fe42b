"""The page about a scene's geometry, and the pictures on it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.evaluation.reports import picture_uri, write_page
from video4spatial.geometry.scene_files import point_cloud
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.spread import thinned

SHOWN = 12
"""Frames whose depth is shown."""

SHEET_WIDTH = 240
"""Pixels of a picture on the page."""

ABOVE_POINTS = 30_000
HEAD_ROOM = 0.4
"""Of the median distance of points: what is higher above the cameras than this is not drawn from above: ceilings hide the room."""


def write_geometry_page(folder: Path, geometry: SceneGeometry, title: str, notes: Sequence[str] = ()) -> Path:
    """Write `report.html`, `above.png` and `depth.png`.

    Args:
        folder: where to; it is there.
        geometry: of the scene.
        title: headline.
        notes: sentences on what was assumed.

    Returns:
        Path of the page.
    """
    shown = thinned(len(geometry), SHOWN)
    pictures = [depth_picture(geometry, index) for index in shown]
    _written(folder / "depth.png", np.concatenate(pictures))
    from_above(geometry).savefig(folder / "above.png", dpi=110)
    entries = [
        {"index": index, "picture": picture_uri(picture), "reason": geometry.reasons[index]}
        for index, picture in zip(shown, pictures)
    ]
    known = (geometry.depth > 0).mean((1, 2))
    rows = [
        (
            index, "yes" if geometry.placed[index] else "no", f"{known[index]:.0%}", f"{_mean(geometry.confidence[index]):.2f}",
            geometry.reasons[index],
        )
        for index in range(len(geometry))
    ]
    return write_page(
        folder / "report.html", "geometry.html.jinja", title=title, sentences=geometry.in_words(), notes=list(notes), entries=entries,
        origin=geometry.origin, rows=rows, above=picture_uri(cv2.cvtColor(cv2.imread(str(folder / "above.png")), cv2.COLOR_BGR2RGB)),
    )  # fmt: skip


def depth_picture(geometry: SceneGeometry, index: int) -> np.ndarray:
    """A frame, its depth (near is bright) and its confidence beside each other.

    Args:
        geometry: of the scene.
        index: of the frame.

    Returns:
        [h, 3 w, 3] uint8.
    """
    height, width = geometry.frames.shape[1:3]
    size = (SHEET_WIDTH, max(1, round(SHEET_WIDTH * height / width)))
    depth = geometry.depth
    low, high = np.quantile(np.log(depth[depth > 0]), (0.02, 0.98)) if (depth > 0).any() else (0.0, 1.0)
    nearness = 1 - (np.log(np.clip(depth[index], 1e-6, None)) - low) / max(high - low, 1e-6)
    painted = [
        np.where(depth[index][..., None] > 0, 255 * colormaps[name](np.clip(values, 0, 1))[..., :3], 40)
        for name, values in (("magma", nearness), ("viridis", geometry.confidence[index]))
    ]
    frame = cv2.resize(geometry.frames[index], size, interpolation=cv2.INTER_AREA)
    maps = [cv2.resize(values.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for values in painted]
    return np.concatenate([frame, *maps], axis=1)


def from_above(geometry: SceneGeometry, item: SceneObject | None = None, path: Cameras | None = None) -> Figure:
    """The points seen from above, up being where the cameras have it on average, and the way of the cameras.

    Args:
        geometry: of the scene.
        item: an object to mark, in its world, whose third axis must then point up.
        path: cameras of a way to draw, in its world.
    """
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    placed = np.flatnonzero(geometry.placed).tolist()
    points, colours = point_cloud(geometry, ABOVE_POINTS)
    unit = "m" if geometry.cameras.metric else "unit of the cameras"
    if not placed or not len(points):
        axes.text(0.5, 0.5, "nothing is known", ha="center", va="center", transform=axes.transAxes)
        return figure
    cameras = geometry.cameras[placed]
    up = torch.nn.functional.normalize(cameras.up.mean(0), dim=0).numpy()
    ahead = cameras.forward[0].numpy() - up * float(cameras.forward[0].numpy() @ up)
    ahead = ahead / max(np.linalg.norm(ahead), 1e-9)
    right = np.cross(ahead, up)
    positions = cameras.positions.numpy()
    middle = positions.mean(0)
    away = np.linalg.norm(points - middle, axis=1)
    kept = ((points - middle) @ up < HEAD_ROOM * np.median(away)) & (away < np.quantile(away, 0.98))
    order = np.argsort((points[kept] - middle) @ up)  # what is higher hides what is below
    flat = (points[kept] - middle)[order]
    axes.scatter(flat @ right, flat @ ahead, s=1.5, c=colours[kept][order] / 255.0, linewidths=0)
    way = positions - middle
    axes.plot(way @ right, way @ ahead, color="tab:red", linewidth=1.5, marker="o", markersize=3)
    if item is not None:
        corners = (item.corners()[[0, 2, 6, 4, 0]] - middle) @ np.stack([right, ahead], axis=1)
        axes.plot(*corners.T, color="black", linewidth=3.5)
        axes.plot(*corners.T, color="yellow", linewidth=1.5, label=item.label)
    if path is not None:
        planned = path.positions.numpy() - middle
        looks = path.forward.numpy()[-1]
        axes.plot(planned @ right, planned @ ahead, color="white", linewidth=4)
        axes.plot(planned @ right, planned @ ahead, color="tab:blue", linewidth=2, label="way")
        axes.quiver(planned[-1] @ right, planned[-1] @ ahead, looks @ right, looks @ ahead, color="tab:blue", width=0.012, zorder=4)
    if item is not None or path is not None:
        axes.legend(loc="lower right", fontsize=8)
    axes.set_xlabel(f"to the right of the first camera ({unit})")
    axes.set_ylabel(f"ahead of it ({unit})")
    return figure


def _mean(confidence: np.ndarray) -> float:
    known = confidence[confidence > 0]
    return float(known.mean()) if len(known) else 0.0


def _written(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

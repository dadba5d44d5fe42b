"""Captures from above: the path of the camera, its context and targets, and what stands around."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from data_curation.records import SCENES, read_record
from data_curation.report.plots import as_svg
from data_curation.report.scenes import Captures, ReportedScene, details_of, source_of, spread
from data_curation.stages.objects import STRUCTURE, normalised_label
from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import level_basis
from video4spatial.captures import SceneObject
from video4spatial.clips.manifest import ClipRow
from video4spatial.spread import thinned

PATHS_SHOWN = 6
TARGETS_DRAWN = 12  # in each of them
LABELS_DRAWN = 14
PATH_POINTS = 2000
TARGET_COLORS = {"navigation": ("#0072B2", "#009E73", "#56B4E9"), "grounding": ("#D55E00", "#CC79A7", "#E69F00")}
END_MARKERS = {"navigation": ("s", 5), "grounding": ("*", 10)}


def paths_from_above(folder: Path, scenes: list[ReportedScene], rows: list[ClipRow], captures: Captures) -> Iterator[dict]:
    """Drawings of captures from above, those with clips first.

    Args:
        folder: of the data set.
        scenes: all that the page tells of.
        rows: of the manifest.
        captures: for objects and the direction of up.

    Yields:
        {"name", "note", "drawing"}.
    """
    of_capture: dict[tuple, list[ClipRow]] = defaultdict(list)
    for row in rows:
        of_capture[source_of(row)].append(row)
    with_cameras = [scene for scene in scenes if scene.convention]
    chosen: list[ReportedScene] = []
    for has_clips in (True, False):
        group = [scene for scene in with_cameras if (scene.source in of_capture) == has_clips]
        chosen += spread(group, lambda scene: scene.reader, PATHS_SHOWN - len(chosen))
    for scene in chosen:
        record = read_record(folder / SCENES / f"{scene.key}.json")
        data = record["stages"]["cameras"]["data"]
        poses = torch.tensor(data["camera_to_world"], dtype=torch.float64)
        kept = thinned(len(poses), PATH_POINTS)
        intrinsics = torch.tensor(data["intrinsics"], dtype=torch.float64).expand(len(poses), 3, 3)
        cameras = Cameras(poses[kept], intrinsics[kept], metric=data["metric"])
        up, objects = captures.use(scene.source, scene.name, lambda capture: (capture.up_axis, capture.objects)) or (None, ())
        clips = of_capture.get(scene.source, [])
        drawn = [clips[place] for place in thinned(len(clips), TARGETS_DRAWN)]
        yield {
            "name": scene.name,
            "note": _path_note(scene, cameras, len(clips), len(drawn), up),
            "drawing": as_svg(_from_above(cameras, drawn, up, objects)),
        }


def _path_note(scene: ReportedScene, cameras: Cameras, clips: int, drawn: int, up: Sequence[float] | None) -> str:
    unit = "m" if cameras.metric else "units of unknown length"
    parts = [f"{float(cameras.path_length()):.1f} {unit}", f"{clips} clips" if clips else f"no clips: {details_of(scene)}"]
    parts += [f"{drawn} of them drawn"] if drawn < clips else []
    parts += ["up taken from the cameras"] if up is None else []
    return "; ".join(parts)


def _axes_from_above(cameras: Cameras, up: Sequence[float] | None) -> Tensor:
    """Rows [2, 3] that point right and up on the page: along the world's own axes where it says what is up."""
    if up is None:
        return level_basis(cameras)[1][:2]
    vertical = torch.tensor(up, dtype=torch.float64)
    right = torch.eye(3, dtype=torch.float64)[int(vertical.abs().argmin())]
    right = torch.nn.functional.normalize(right - (right @ vertical) * vertical, dim=0)
    return torch.stack([right, torch.linalg.cross(vertical, right)])


def _from_above(cameras: Cameras, rows: list[ClipRow], up: Sequence[float] | None, objects: Sequence[SceneObject]) -> Figure:
    axes_rows = _axes_from_above(cameras, up).numpy()

    def flat(points: np.ndarray) -> np.ndarray:
        return points @ axes_rows.T

    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    sought = {row.instance_id for row in rows if row.kind == "grounding"}
    # Boxes of objects stand upright on a third axis that points up.
    if up is not None and np.allclose(up, (0, 0, 1)):
        _draw_objects(axes, objects, sought, flat)
    axes.plot(*flat(cameras.positions.numpy()).T, color="#b4b8bf", linewidth=1.4, zorder=2, label="camera")
    context = [row.camera_to_world[: len(row.context_frames), :3, 3] for row in rows]
    if context:
        places = flat(np.unique(np.concatenate(context), axis=0))
        axes.scatter(*places.T, s=9, facecolor="white", edgecolor="#687080", linewidth=0.7, zorder=3, label="context")
    numbers: Counter[str] = Counter()
    for row in rows:
        color = TARGET_COLORS[row.kind][numbers[row.kind] % 3]
        path = flat(row.camera_to_world[len(row.context_frames) :, :3, 3])
        marker, size = END_MARKERS[row.kind]
        label = None if numbers[row.kind] else f"{row.kind} targets"
        axes.plot(*path.T, color=color, linewidth=2.2, zorder=4, label=label, marker=marker, markersize=size, markevery=[-1],
                  markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
        numbers[row.kind] += 1
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.06)
    axes.grid(color="#e8e9e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7.5, color="#bbbbbb")
    axes.spines[:].set_color("#cccccc")
    axes.set_xlabel("metres" if cameras.metric else "unknown unit", fontsize=7.5)
    figure.legend(loc="outside upper left", ncols=4, fontsize=7, frameon=False, handlelength=1.4, columnspacing=1.0, borderpad=0)
    return figure


def _draw_objects(axes, objects: Sequence[SceneObject], sought: set[int], flat: Callable[[np.ndarray], np.ndarray]) -> None:
    """Boxes of things; those that clips search for stand out. Names that would lie on those of larger things are left out."""
    things = [thing for thing in objects if normalised_label(thing.label) not in STRUCTURE]
    by_size = sorted(things, key=lambda thing: (thing.instance_id not in sought, -float(np.prod(thing.size))))
    centers = np.array([flat(np.array(thing.center)) for thing in by_size]).reshape(-1, 2)
    room = np.array([0.2, 0.05]) * np.ptp(centers, axis=0).max(initial=0)
    named: list[np.ndarray] = []
    for center, thing in zip(centers, by_size, strict=True):
        color = TARGET_COLORS["grounding"][0] if thing.instance_id in sought else "#9aa0a8"
        outline = flat(thing.corners()[[0, 2, 6, 4, 0]])
        axes.fill(*outline.T, facecolor=color, alpha=0.12, zorder=1)
        axes.plot(*outline.T, color=color, linewidth=0.8, zorder=1)
        if len(named) < LABELS_DRAWN and all((np.abs(center - other) > room).any() for other in named):
            ink = color if thing.instance_id in sought else "#687080"
            axes.text(*center, thing.label, fontsize=7, color=ink, ha="center", va="center", zorder=6, clip_on=True,
                      parse_math=False)  # fmt: skip
            named.append(center)

"""Histograms of what the stages measured."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from data_curation.pipeline import StageSettings
from data_curation.report.scenes import ReportedScene
from video4spatial.cameras.plotting import PATH_COLORS
from video4spatial.cameras.rotations import rotation_angle_degrees
from video4spatial.clips.manifest import KINDS, ClipRow

KEPT_COLOR, REJECTED_COLOR, INK = PATH_COLORS[0], PATH_COLORS[1], "#20242c"


def histograms(scenes: list[ReportedScene], rows: list[ClipRow], settings: StageSettings) -> Iterator[tuple[str, str, Figure]]:
    """Histograms of what the stages measured, where there is something to show.

    Args:
        scenes: all that the page tells of.
        rows: of the manifest.
        settings: that the build had; their limits are drawn.

    Yields:
        Title, note and figure.
    """
    quality, windows = settings.frame_quality, settings.windows
    scored = [scene for scene in scenes if scene.scores.shape[1] == len(scene.poor) > 0]
    scores = np.concatenate([scene.scores for scene in scored], axis=1) if scored else np.zeros((3, 0), np.float32)
    poor = np.concatenate([scene.poor for scene in scored]) if scored else np.zeros(0, bool)
    for values, title, note, limits, log in [
        (scores[0], "Sharpness", "variance of the Laplacian, of frames", (quality.absolute_sharpness,), True),
        (scores[1], "Brightness", "mean grey value, of frames", quality.brightness, False),
        (scores[2], "Change", "mean grey difference to the frame before, of frames", (quality.repeated_change,), True),
    ]:
        if len(values):
            yield title, note, _histogram({"kept": values[~poor], "rejected for any reason": values[poor]}, limits, log)
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in KINDS}
    coverage = {f"{kind} clips": [row.coverage for row in group] for kind, group in by_kind.items()}
    coverage["rejected windows"] = [value for scene in scenes for value in scene.rejected_coverage]
    limits = (settings.context.least_coverage,)
    yield from _if_any("Coverage", "share of a target's surfaces that its context shows", coverage, limits)
    paths = {kind: [(row, *_length_and_turn(row)) for row in group] for kind, group in by_kind.items()}
    for title, note, value, limits in [
        ("Path length", "of targets in metres (metric captures)", lambda row, length, _: length, (windows.farthest_metres,)),
        ("Speed", "of targets in metres per second (metric captures)", lambda row, length, _: length / row.target_times[-1], ()),
    ]:
        values = {kind: [value(*path) for path in group if path[0].metric] for kind, group in paths.items()}
        yield from _if_any(title, note, values, limits)
    turns = {kind: [turn for _, _, turn in group] for kind, group in paths.items()}
    yield from _if_any("Rotation", "summed over a target's steps, in degrees", turns)
    errors: dict[str, list[float]] = {"kept": [], "not kept": []}
    for scene in scenes:
        if scene.epipolar is not None:
            errors["kept" if scene.status == "kept" else "not kept"].append(scene.epipolar)
    note = "median distance of matches from their lines, in pixels, of captures"
    yield from _if_any("Epipolar error", note, errors, (settings.epipolar.most_pixels,))


def _if_any(
    title: str, note: str, groups: dict[str, Sequence[float]], limits: Sequence[float] = ()
) -> Iterator[tuple[str, str, Figure]]:
    """The histogram, where there is a figure to count."""
    if any(np.isfinite(values).any() for values in groups.values() if len(values)):
        yield title, note, _histogram(groups, limits)


def _length_and_turn(row: ClipRow) -> tuple[float, float]:
    """Length of a target's path, and degrees turned over all its steps."""
    poses = row.camera_to_world[len(row.context_frames) :]
    rotations = torch.from_numpy(poses[:, :3, :3])
    length = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    return float(length), float(rotation_angle_degrees(rotations[:-1], rotations[1:]).sum())


def _histogram(groups: dict[str, Sequence[float]], limits: Sequence[float] = (), log: bool = False) -> Figure:
    """Stacked bars of some groups, with limits as dashed lines where they are near."""
    colors = dict(zip(groups, (KEPT_COLOR, REJECTED_COLOR, "#999999")))
    finite = {name: np.asarray(values)[np.isfinite(values)] for name, values in groups.items()}
    finite = {name: np.maximum(values, 1e-2) if log else values for name, values in finite.items() if len(values)}
    everything = np.concatenate(list(finite.values()))
    low, high = float(everything.min()), float(everything.max())
    near = [limit for limit in limits if low - 0.6 * (high - low) <= limit <= high + 0.6 * (high - low)]
    low, high = min([low, *near]), max([high, *near])
    if high - low < 1e-9 * max(abs(high), 1):
        low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    bins = np.geomspace(low, high, 33) if log else np.linspace(low, high, 33)
    figure = Figure(figsize=(3.5, 2.1), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(list(finite.values()), bins=bins, stacked=True, color=[colors[name] for name in finite],
              label=[f"{name} ({len(values):,})" for name, values in finite.items()])  # fmt: skip
    for limit in near:
        axes.axvline(limit, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="limit" if limit == near[0] else None)
    if log:
        axes.set_xscale("log")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=7.5, color="#bbbbbb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    figure.legend(loc="outside upper left", ncols=3, fontsize=7, frameon=False, handlelength=1.2, columnspacing=1.2, borderpad=0)
    return figure


def as_svg(figure: Figure) -> str:
    """`figure` as an SVG element of a page."""
    buffer = io.StringIO()
    # Text stays text, in the reader's own fonts: smaller, and any script shows.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

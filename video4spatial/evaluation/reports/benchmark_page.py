"""The page about many videos: leaderboard, errors over time, and some clips to look at."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np

from video4spatial.cameras.plotting import plot_trajectories
from video4spatial.clips import Clip
from video4spatial.evaluation.aggregation import too_few_scenes
from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.evaluation.metrics.image import MAXIMUM_PSNR
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.reports import ARROWS, frames_without_camera, picture_uri, player, score_entry, svg, write_page
from video4spatial.evaluation.reports.pictures import HOTTEST, epipolar_lines, reprojection_heat, row_colors, rows_over_time
from video4spatial.evaluation.scoring import ScoredClip, measured_cameras
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.spread import thinned

REFERENCE_CURVES = ("reconstruct_and_render", "copy_nearest", "static")
"""Rows drawn beside the ones under test."""

LEADING_ROWS = ("model", "generated")
"""Rows that are about the model under test; the page sets them off from the rest."""


@dataclass(frozen=True)
class ShownClip:
    """A clip that is shown with its videos.

    Args:
        why: it was chosen, such as "worst".
        clip: with truth and context as far as they are known.
        videos: {row: [T, H, W, 3] uint8}; the first is the one under test.
        measurements: {row: {metric: measurement}} of these and of other rows.
        estimated_cameras: {row: T cameras measured from the frames}, of rows whose cameras can be measured.
    """

    why: str
    clip: Clip
    videos: Mapping[str, np.ndarray]
    measurements: Mapping[str, Mapping[str, Measurement]]
    estimated_cameras: Mapping[str, EstimatedCameras] = field(default_factory=dict)


def chosen_clips(
    entries: Sequence[ScoredClip], metric: Metric, worst: int = 3, best: int = 2, random: int = 2
) -> list[tuple[str, ScoredClip]]:
    """Clips worth looking at: the worst, those without a value first, the best, and some drawn from the rest.

    Args:
        entries: all clips of a row.
        metric: by which they are ranked.
        worst, best, random: how many of each.

    Returns:
        (why, clip), each clip once, in this order.
    """
    sign = 1 if metric.direction == "higher" else -1

    def goodness(entry: ScoredClip) -> float:
        value = entry.measurements[metric.name].value
        return -math.inf if value is None else sign * value

    ranked = sorted(entries, key=goodness)
    low = ranked[:worst]
    high = ranked[len(low) :][::-1][:best]
    rest = ranked[len(low) : len(ranked) - len(high)]
    drawn = np.random.default_rng(0).permutation(len(rest))[:random]
    return [
        *(("worst", entry) for entry in low), *(("best", entry) for entry in high),
        *(("random", rest[index]) for index in sorted(drawn)),
    ]  # fmt: skip


def shown_clips(
    load: Callable[[str], Clip],
    clips: Mapping[str, Sequence[ScoredClip]],
    frames: Mapping[str, Mapping[str, np.ndarray]],
    metric: Metric,
) -> list[ShownClip]:
    """The clips worth looking at, with all that is known of them.

    Args:
        load: clip name -> clip.
        clips: figures of single clips by row.
        frames: {row: {clip name: [T, H, W, 3] uint8}}; by the first row the clips are chosen.
        metric: by which they are ranked.

    Returns:
        The clips in the order of `chosen_clips`.
    """
    by_name = {row: {entry.clip: entry.measurements for entry in entries} for row, entries in clips.items()}
    subject = next(iter(frames))
    chosen = chosen_clips([entry for entry in clips[subject] if entry.clip in frames[subject]], metric)
    shown = []
    for why, entry in chosen:
        clip = load(entry.clip)
        videos = {row: videos[entry.clip] for row, videos in frames.items() if entry.clip in videos}
        estimated = {row: cameras for row, video in videos.items() if (cameras := measured_cameras(clip, video)) is not None}
        measurements = {row: of_clips[entry.clip] for row, of_clips in by_name.items() if entry.clip in of_clips}
        shown.append(ShownClip(why, clip, videos, measurements, estimated))
    return shown


def write_benchmark_page(
    path: str | os.PathLike,
    *,
    title: str,
    rows: Sequence[dict],
    clips: Mapping[str, Sequence[ScoredClip]],
    shown: Sequence[ShownClip],
    frame_rate: float,
    metrics: Sequence[str],
    settings: Mapping[str, object] | None = None,
    warnings: Sequence[str] = (),
) -> Path:
    """Write a page about many generated videos. It loads nothing from elsewhere.

    Args:
        path: HTML file; its folder is made.
        title: headline.
        rows: as in results files.
        clips: figures of single clips by row.
        shown: clips with their videos.
        frame_rate: frames per second of the players.
        metrics: names of the metrics on the leaderboard, the one it is sorted by first.
        settings: how the figures were made, for people; `paired_differences` gives the verdicts on the leaderboard.
        warnings: sentences to read first.

    Returns:
        `path`.
    """
    settings = dict(settings or {})
    paired = settings.pop("paired_differences", {})
    curve_rows = [name for name in clips if any(name in entry.videos for entry in shown)]
    curve_rows += [name for name in REFERENCE_CURVES if name in clips and name not in curve_rows]
    colors = row_colors(curve_rows)
    over_all = {
        metric: {row: values for row in curve_rows if (values := _mean_curve(clips[row], metric)) is not None} for metric in metrics
    }
    return write_page(
        Path(path),
        "benchmark.html.jinja",
        title=title,
        warnings=list(warnings),
        headings=[_heading(name) for name in metrics],
        leaderboard=_leaderboard(rows, metrics, paired),
        legend=colors,
        curves=_figures(over_all, colors),
        clips=[_shown_clip(entry, frame_rate, metrics, colors) for entry in shown],
        ramp=_ramp(),
        hottest=f"{HOTTEST:g}",
        settings={name: str(value) for name, value in settings.items()},
        count=max((len(entries) for entries in clips.values()), default=0),
        too_few=too_few_scenes(max((len({entry.scene for entry in entries}) for entries in clips.values()), default=0)),
    )


def _heading(name: str) -> dict:
    metric = METRICS[name]
    arrow = ARROWS[metric.direction]
    return {"name": name.replace("_", " "), "arrow": arrow, "unit": metric.unit, "explanation": metric.explanation}


def _leaderboard(rows: Sequence[dict], metrics: Sequence[str], paired: Mapping[str, dict]) -> list[dict]:
    """Rows with their cells, the best by the first metric on top; rows that were not run are left out."""
    run = [row for row in rows if any(row["metrics"][name]["status"] != "not_applicable" for name in metrics)]
    sign = 1 if METRICS[metrics[0]].direction == "lower" else -1

    def rank(row: dict) -> float:
        value = row["metrics"][metrics[0]]["value"]
        return math.inf if value is None else sign * value

    ranges = {}
    for name in metrics:
        cells = [row["metrics"][name] for row in run]
        ends = [cell[end] for cell in cells for end in ("value", "low", "high") if cell[end] is not None]
        # The truth's 100 dB would squeeze all others into a corner: bars end at the best of the rest.
        ends = [end for end in ends if name.endswith("psnr") is False or end < MAXIMUM_PSNR] or ends
        ranges[name] = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return [
        {
            "name": row["name"],
            "leading": row["name"] in LEADING_ROWS,
            "cells": [_board_cell(row, name, ranges[name], paired) for name in metrics],
        }
        for row in sorted(run, key=rank)
    ]


def _board_cell(row: dict, name: str, span: tuple[float, float], paired: Mapping[str, dict]) -> dict:
    cell = row["metrics"][name]
    low, high = span

    def place(value: float) -> float:
        return round(float(np.clip(100 * (value - low) / max(high - low, 1e-12), 0, 100)), 2)

    shown = {"status": cell["status"].replace("_", " "), "value": None, "note": "", "verdict": ""}
    coverage = cell.get("coverage")
    if coverage is not None and coverage < 0.9995:
        penalised = cell.get("penalised")
        shown["note"] = f"{100 * coverage:.0f} % measured" + ("" if penalised is None else f", penalised {penalised:.3g}")
    if cell["value"] is None:
        return shown
    shown |= {"value": f"{cell['value']:#.3g}".rstrip("."), "at": place(cell["value"])}
    if cell["low"] is not None:
        shown |= {"interval": f"{cell['low']:.3g} – {cell['high']:.3g}", "from": place(cell["low"]), "to": place(cell["high"])}
    better = paired.get(row["name"], {}).get(name, {}).get("better")
    # Differences are model - row.
    shown["verdict"] = {"first": "worse", "second": "better"}.get(better, "")
    return shown


def _mean_curve(entries: Sequence[ScoredClip], metric: str) -> list[float | None] | None:
    """Mean over clips for each frame; None without any curve."""
    curves = [entry.measurements[metric].per_frame for entry in entries if metric in entry.measurements]
    curves = [curve for curve in curves if curve]
    if not curves:
        return None
    by_frame = [[value for value in values if value is not None] for values in zip_longest(*curves)]
    return [float(np.mean(values)) if values else None for values in by_frame]


def _figures(curves: Mapping[str, Mapping[str, Sequence[float | None]]], colors: Mapping[str, str]) -> list[str]:
    return [svg(rows_over_time(metric, rows, colors)) for metric, rows in curves.items() if rows]


def _shown_clip(entry: ShownClip, frame_rate: float, metrics: Sequence[str], colors: Mapping[str, str]) -> dict:
    clip = entry.clip
    subject, frames = next(iter(entry.videos.items()))
    count = len(frames)
    panes = [player(row.replace("_", " "), "", video, frame_rate, colors.get(row)) for row, video in entry.videos.items()]
    if clip.target_frames is not None:
        panes.insert(1, player("ground truth", "", clip.target_frames, frame_rate))
    if len(clip.context_frames):
        # In as many frames as the others, so that all start again together.
        places = np.linspace(0, len(clip.context_frames) - 1, count).round().astype(int)
        panes.append(player("context", f"{len(clip.context_frames)} frames", clip.context_frames[places], frame_rate))
    heat = reprojection_heat(clip, frames)
    if heat is not None:
        known = heat[1][1:][np.isfinite(heat[1][1:])]
        note = f"{known.mean():.1f} grey levels" if len(known) else "nothing to compare"
        panes.append(player("reprojection error", note, heat[0], frame_rate))
    curves = {
        metric: {
            row: entry.measurements[row][metric].per_frame
            for row in colors
            if metric in entry.measurements.get(row, {}) and entry.measurements[row][metric].per_frame
        }
        for metric in metrics
    }
    return {
        "why": entry.why,
        "name": clip.name,
        "panes": panes,
        "scores": [score_entry(name, entry.measurements[subject][name]) for name in metrics if name in entry.measurements[subject]],
        "heat": None if heat is None else [picture_uri(picture) for picture in heat[0][thinned(len(heat[0]), 9)]],
        "curves": _figures(curves, colors),
        "path": _path(entry),
        "lost": {row.replace("_", " "): frames_without_camera(cameras) for row, cameras in entry.estimated_cameras.items()},
        "epipolar": _epipolar(clip, frames) if entry.why == "worst" else None,
    }


def _path(entry: ShownClip) -> str | None:
    """Commanded and measured paths from above."""
    cameras = entry.clip.target_cameras
    if cameras is None or not entry.estimated_cameras:
        return None
    seen = {f"seen in {row.replace('_', ' ')}": estimate.placed for row, estimate in entry.estimated_cameras.items()}
    return svg(plot_trajectories({name: path.relative_to(0) for name, path in {"commanded": cameras, **seen}.items()}))


def _epipolar(clip: Clip, frames: np.ndarray) -> dict | None:
    """Lines between the anchor and the frame in the middle, where the pictures still have much in common."""
    cameras = clip.target_cameras
    if cameras is None:
        return None
    middle = len(frames) // 2
    drawn = epipolar_lines(frames[0], frames[middle], cameras[[0, middle]])
    return None if drawn is None else {"picture": picture_uri(drawn[0]), "caption": f"frames 0 and {middle}: {drawn[1]}"}


def _ramp() -> str:
    """The colours of heat maps from none to hottest."""
    values = np.linspace(0, 1, 64)[None].repeat(4, 0)
    return picture_uri((matplotlib.colormaps["inferno"](values)[..., :3] * 255).astype(np.uint8))

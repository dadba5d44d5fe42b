"""Self-contained HTML pages: about one generated video (`write_report`) and about many (`write_benchmark_report`)."""

import base64
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import plot_trajectories
from video4spatial.clips import Clip
from video4spatial.evaluation.comparison import ScoredClip
from video4spatial.evaluation.metrics.image import MAXIMUM_PSNR
from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.evaluation.reports.plots import (
    HOTTEST, epipolar_lines, figures_over_time, reprojection_heat, row_colors, rows_over_time, strip,
)  # fmt: skip
from video4spatial.evaluation.metrics.registry import METRICS
from video4spatial.evaluation.estimators.render_and_compare import cameras_by_rendering as estimate_cameras
from video4spatial.simulation.scenes import generate_scene

LOSSLESS_HEIGHT = 160
"""Frames up to this height are embedded as PNG, larger ones as JPEG."""

SMALL_HEIGHT = 96
"""Players of videos up to this height are lossless."""

PLAYER_HEIGHT = 240
"""Larger videos are embedded at this height, so that a page of many clips stays a few megabytes."""

REFERENCE_CURVES = ("reconstruct_and_render", "copy_nearest", "static")
"""Rows drawn beside the ones under test."""

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}


def write_report(
    folder: str | os.PathLike,
    *,
    title: str,
    generated: np.ndarray,
    cameras: Cameras,
    frame_rate: float,
    context_frames: np.ndarray | None = None,
    anchor: int | None = None,
    truth: np.ndarray | None = None,
    estimated_cameras: Cameras | None = None,
    measurements: Mapping[str, Measurement] | None = None,
    settings: Mapping[str, object] | None = None,
    warnings: Sequence[str] = (),
) -> Path:
    """Write `report.html` about one sampled result. It loads nothing from elsewhere.

    Args:
        folder: where it goes; made if needed.
        title: headline.
        generated: [T, H, W, 3] uint8.
        cameras: the T commanded cameras.
        frame_rate: frames per second of the players.
        context_frames: [N, h, w, 3] uint8 that the model was shown.
        anchor: position of the anchor among them.
        truth: [T, H, W, 3] uint8, where known.
        estimated_cameras: T cameras measured from the generated frames, where known, in any world: both paths are drawn
            relative to their own frame 0.
        measurements: by metric name.
        settings: what the video was made with, for people.
        warnings: sentences to read first.

    Returns:
        Path of the page.

    Raises:
        ValueError: where frames and cameras differ in number.
    """
    problems = [
        f"{name}: {len(values)}"
        for name, values in [("cameras", cameras), ("truth", truth), ("estimated cameras", estimated_cameras)]
        if values is not None and len(values) != len(generated)
    ]
    if problems:
        raise ValueError(f"{len(generated)} generated frames do not fit: {', '.join(problems)}.")

    panes = []
    if context_frames is not None and len(context_frames):
        note = f"what the model was shown, {len(context_frames)} frame" + "s" * (len(context_frames) != 1)
        panes.append(_pane("context", note, context_frames))
    panes.append(_pane("generated", "frame 0 is the anchor", generated))
    if truth is not None:
        panes.append(_pane("ground truth", "what the camera would have seen", truth))
        difference = 255 - np.abs(generated.astype(int) - truth.astype(int)).clip(0, 255).astype(np.uint8)
        panes.append(_pane("difference", "white where both agree", difference))

    paths = {"commanded": cameras.relative_to(0)}
    if estimated_cameras is not None:
        paths["seen in the frames"] = estimated_cameras.relative_to(0)
    measurements = measurements or {}
    curves = figures_over_time(measurements)
    page = _environment().get_template("report.html.jinja").render(
        title=title,
        warnings=list(warnings),
        panes=panes,
        frame_count=len(generated),
        frame_rate=frame_rate,
        context_strip=_strip(context_frames, anchor),
        generated_strip=_strip(generated, 0),
        trajectory=_svg(plot_trajectories(paths)),
        facts=_facts(cameras, estimated_cameras),
        curves=None if curves is None else _svg(curves),
        scores=[_score(name, measurement) for name, measurement in measurements.items()],
        settings={name: str(value) for name, value in (settings or {}).items()},
    )
    return _written(Path(folder) / "report.html", page)


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
        estimated_cameras: {row: T cameras measured from the frames}.
    """

    why: str
    clip: Clip
    videos: Mapping[str, np.ndarray]
    measurements: Mapping[str, Mapping[str, Measurement]]
    estimated_cameras: Mapping[str, EstimatedCameras | Cameras] = field(default_factory=dict)


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
    """
    by_name = {row: {entry.clip: entry.measurements for entry in entries} for row, entries in clips.items()}
    subject = next(iter(frames))
    chosen = chosen_clips([entry for entry in clips[subject] if entry.clip in frames[subject]], metric)
    shown = []
    for why, entry in chosen:
        clip = load(entry.clip)
        videos = {row: videos[entry.clip] for row, videos in frames.items() if entry.clip in videos}
        estimated = {}
        if clip.provenance.get("source") == "simulation" and clip.target_cameras is not None:
            scene, cameras = generate_scene(clip.provenance["scene_seed"]), clip.target_cameras
            estimated = {row: estimate_cameras(scene, cameras[0], video, cameras.intrinsics).cameras for row, video in videos.items()}
        measurements = {row: of_clips[entry.clip] for row, of_clips in by_name.items() if entry.clip in of_clips}
        shown.append(ShownClip(why, clip, videos, measurements, estimated))
    return shown


def write_benchmark_report(
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
    """Write a page about many generated videos: leaderboard, errors over time, and some clips to look at.

    Args:
        path: HTML file; it loads nothing from elsewhere.
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
    page = _environment().get_template("benchmark.html.jinja").render(
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
    )
    return _written(Path(path), page)


def _written(path: Path, page: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
    return path


def _heading(name: str) -> dict:
    metric = METRICS[name]
    return {"name": name.replace("_", " "), "arrow": ARROWS[metric.direction], "unit": metric.unit, "explanation": metric.explanation}


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
    return [_svg(rows_over_time(metric, rows, colors)) for metric, rows in curves.items() if rows]


def _shown_clip(entry: ShownClip, frame_rate: float, metrics: Sequence[str], colors: Mapping[str, str]) -> dict:
    clip = entry.clip
    subject, frames = next(iter(entry.videos.items()))
    count = len(frames)
    panes = [_moving(row.replace("_", " "), "", video, frame_rate, colors.get(row)) for row, video in entry.videos.items()]
    if clip.target_frames is not None:
        panes.insert(1, _moving("ground truth", "", clip.target_frames, frame_rate))
    if len(clip.context_frames):
        # In as many frames as the others, so that all start again together.
        places = np.linspace(0, len(clip.context_frames) - 1, count).round().astype(int)
        panes.append(_moving("context", f"{len(clip.context_frames)} frames", clip.context_frames[places], frame_rate))
    heat = reprojection_heat(clip, frames)
    if heat is not None:
        known = heat[1][1:][np.isfinite(heat[1][1:])]
        note = f"{known.mean():.1f} grey levels" if len(known) else "nothing to compare"
        panes.append(_moving("reprojection error", note, heat[0], frame_rate))
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
        "scores": [_score(name, entry.measurements[subject][name]) for name in metrics if name in entry.measurements[subject]],
        "heat": None if heat is None else [_data_uri(picture) for picture in heat[0][strip(heat[0], 9)]],
        "curves": _figures(curves, colors),
        "path": _path(entry),
        "epipolar": _epipolar(clip, frames) if entry.why == "worst" else None,
    }


def _path(entry: ShownClip) -> str | None:
    """Commanded and estimated paths from above; frames whose camera could not be measured are left out."""
    cameras = entry.clip.target_cameras
    if cameras is None or not entry.estimated_cameras:
        return None
    paths = {"commanded": cameras.relative_to(0)}
    for row, estimate in entry.estimated_cameras.items():
        estimated = estimate if isinstance(estimate, Cameras) else estimate.cameras
        known = slice(None) if isinstance(estimate, Cameras) else np.flatnonzero(estimate.position_known).tolist()
        paths[f"seen in {row.replace('_', ' ')}"] = estimated.relative_to(0)[known]
    return _svg(plot_trajectories(paths))


def _epipolar(clip: Clip, frames: np.ndarray) -> dict | None:
    """Lines between the anchor and the frame in the middle, where the pictures still have much in common."""
    cameras = clip.target_cameras
    if cameras is None:
        return None
    middle = len(frames) // 2
    drawn = epipolar_lines(frames[0], frames[middle], cameras[[0, middle]])
    return None if drawn is None else {"picture": _data_uri(drawn[0]), "caption": f"frames 0 and {middle}: {drawn[1]}"}


def _moving(name: str, note: str, frames: np.ndarray, frame_rate: float, color: str | None = None) -> dict:
    """A video as an animated WebP that any browser plays in an img; lossless where it is small."""
    height, width = frames.shape[1:3]
    pictures = [Image.fromarray(frame) for frame in frames]
    if height > PLAYER_HEIGHT:
        size = (max(1, round(width * PLAYER_HEIGHT / height)), PLAYER_HEIGHT)
        pictures = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    buffer = io.BytesIO()
    # Each frame is kept even if it repeats the one before: players must stay in step.
    pictures[0].save(
        buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=round(1000 / frame_rate), loop=0,
        lossless=height <= SMALL_HEIGHT, quality=80, method=4,
    )  # fmt: skip
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"name": name, "note": note, "picture": uri, "color": color, "width": width, "height": height}


def _ramp() -> str:
    """The colours of heat maps from none to hottest."""
    values = np.linspace(0, 1, 64)[None].repeat(4, 0)
    return _data_uri((matplotlib.colormaps["inferno"](values)[..., :3] * 255).astype(np.uint8))


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("video4spatial.evaluation.reports"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _pane(name: str, note: str, frames: np.ndarray) -> dict:
    return {"name": name, "note": note, "frames": [_data_uri(frame) for frame in frames]}


def _data_uri(frame: np.ndarray) -> str:
    buffer = io.BytesIO()
    if frame.shape[0] <= LOSSLESS_HEIGHT:
        Image.fromarray(frame).save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    Image.fromarray(frame).save(buffer, "JPEG", quality=92, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _strip(frames: np.ndarray | None, anchor: int | None) -> list[dict]:
    """Up to twelve frames with their numbers, the anchor always among them and marked."""
    if frames is None or not len(frames):
        return []
    anchor = None if anchor is None else anchor % len(frames)
    shown = strip(frames)
    if anchor is not None and anchor not in shown:
        shown[int(np.argmin(np.abs(np.array(shown) - anchor)))] = anchor
    return [{"index": i, "picture": _data_uri(frames[i]), "anchor": i == anchor} for i in shown]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _facts(cameras: Cameras, estimated: Cameras | None) -> list[tuple[str, str]]:
    """Length and turn of the paths in words."""

    def described(path: Cameras) -> str:
        unit = "m" if path.metric else "units"
        return f"{float(path.path_length()):.2f} {unit}, turned {float(path[-1].rotation_to(path[0])):.1f}°"

    facts = [("commanded", described(cameras))]
    return facts if estimated is None else [*facts, ("seen in the frames", described(estimated))]


def _score(name: str, measurement: Measurement) -> dict:
    metric = METRICS.get(name)
    return {
        "name": name.replace("_", " "),
        "value": "–" if measurement.value is None else f"{measurement.value:#.4g}".rstrip("."),
        "unit": metric.unit if metric else "",
        "arrow": ARROWS[metric.direction] if metric else "",
        "status": measurement.status,
        "reason": measurement.reason,
        "explanation": metric.explanation if metric else "",
    }

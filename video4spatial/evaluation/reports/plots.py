"""Figures over time for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from video4spatial.cameras.plotting import PATH_COLORS
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics.registry import METRICS


def figures_over_time(measurements: Mapping[str, Measurement]) -> Figure | None:
    """One small curve per metric that has one value per frame.

    Args:
        measurements: by metric name.

    Returns:
        A Figure, or None where no metric has a curve.
    """
    curves = {name: m for name, m in measurements.items() if m.status == "ok" and m.per_frame is not None}
    if not curves:
        return None
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.0 * rows), dpi=110, layout="constrained")
    for index, (name, measurement) in enumerate(curves.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        _draw_over_time(axes, name, measurement.per_frame, color=PATH_COLORS[index % len(PATH_COLORS)])
    return figure


def row_colors(rows: Sequence[str]) -> dict[str, str]:
    """A colour for each row, the same in all figures of a page; the first is left to commanded paths."""
    return {row: PATH_COLORS[1:][index % (len(PATH_COLORS) - 1)] for index, row in enumerate(rows)}


def rows_over_time(metric: str, rows: Mapping[str, Sequence[float | None]], colors: Mapping[str, str]) -> Figure:
    """One metric of several rows in one small figure; the page says which colour is which row.

    Args:
        metric: its name.
        rows: one figure per frame 1..T-1 for each row.
        colors: by row.
    """
    figure = Figure(figsize=(3.1, 2.1), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for row, values in rows.items():
        _draw_over_time(axes, metric, values, color=colors[row])
    return figure


def _draw_over_time(axes, metric: str, per_frame: Sequence[float | None], color: str) -> None:
    values = np.array([np.nan if value is None else value for value in per_frame])
    axes.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, color=color)
    unit = METRICS[metric].unit if metric in METRICS else ""
    axes.set_title(metric.replace("_", " ") + (f" ({unit})" if unit else ""), fontsize=8.5, loc="left", color="#282c34")
    axes.tick_params(labelsize=7, color="#bbbbbb")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("frame", fontsize=7)

"""A self-contained HTML page about one generated video: players side by side, path, scores, settings, warnings."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import plot_trajectories
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.plots import figures_over_time, strip
from video4spatial.evaluation.registry import METRICS

LOSSLESS_HEIGHT = 160
"""Frames up to this height are embedded as PNG, larger ones as JPEG."""


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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    aside = folder / "report.html.part"
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
    return path


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("video4spatial.evaluation"), autoescape=True, undefined=jinja2.StrictUndefined,
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
    arrows = {"higher": "↑", "lower": "↓", "none": ""}
    return {
        "name": name.replace("_", " "),
        "value": "–" if measurement.value is None else f"{measurement.value:#.4g}".rstrip("."),
        "unit": metric.unit if metric else "",
        "arrow": arrows[metric.direction] if metric else "",
        "status": measurement.status,
        "reason": measurement.reason,
        "explanation": metric.explanation if metric else "",
    }

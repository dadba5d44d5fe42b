"""Self-contained HTML pages, and what they share: one file from a template, with pictures, videos, figures and scores in it."""

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import METRICS
from video4spatial.files import write_whole
from video4spatial.geometry.estimated_cameras import EstimatedCameras

LOSSLESS_HEIGHT = 160
"""Frames up to this height are embedded as PNG, larger ones as JPEG."""

SMALL_HEIGHT = 96
"""Players of videos up to this height are lossless."""

PLAYER_HEIGHT = 240
"""Larger videos are embedded at this height, so that a page of many clips stays a few megabytes."""

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
"""Which way a metric is better."""


def write_page(path: Path, template: str, **fields) -> Path:
    """Fill a template and write the page, whole or not at all.

    Args:
        path: HTML file; its folder is made.
        template: name of a file in `templates/`.
        fields: everything that the template names.

    Returns:
        `path`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("video4spatial.evaluation.reports"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return write_whole(path, environment.get_template(template).render(**fields))


def picture_uri(frame: np.ndarray) -> str:
    """A picture [H, W, 3] uint8 as a data URI."""
    if frame.shape[0] <= LOSSLESS_HEIGHT:
        return _data_uri([Image.fromarray(frame)], "PNG")
    return _data_uri([Image.fromarray(frame)], "JPEG", quality=92, subsampling=0)


def player(name: str, note: str, frames: np.ndarray, frame_rate: float, color: str | None = None) -> dict:
    """A video as an animated WebP that any browser plays in an img; lossless where it is small.

    Args:
        name, note: caption.
        frames: [T, H, W, 3] uint8.
        frame_rate: frames per second.
        color: of the dot beside the name.
    """
    height, width = frames.shape[1:3]
    pictures = [Image.fromarray(frame) for frame in frames]
    if height > PLAYER_HEIGHT:
        size = (max(1, round(width * PLAYER_HEIGHT / height)), PLAYER_HEIGHT)
        pictures = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    # Each frame is kept even if it repeats the one before: players must stay in step.
    uri = _data_uri(
        pictures, "WEBP", save_all=True, append_images=pictures[1:], duration=round(1000 / frame_rate), loop=0,
        lossless=height <= SMALL_HEIGHT, quality=80, method=4,
    )  # fmt: skip
    return {"name": name, "note": note, "picture": uri, "color": color, "width": width, "height": height}


def _data_uri(pictures: list[Image.Image], kind: str, **options) -> str:
    buffer = io.BytesIO()
    pictures[0].save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def svg(figure: Figure) -> str:
    """A figure as an SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def score_entry(name: str, measurement: Measurement) -> dict:
    """A measurement as text, with its metric's unit, direction and explanation.

    Args:
        name: of the metric; one that is not registered has no unit.
        measurement: on one clip.
    """
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


def frames_without_camera(estimated: EstimatedCameras) -> str:
    """How many frames of a video have no camera and are not drawn, and why; empty where all have one."""
    count = int((~estimated.position_known[1:]).sum())
    return f"{count} of {len(estimated) - 1} frames: {estimated.reason}" if count else ""

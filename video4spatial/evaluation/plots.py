"""Pictures for reports: labelled videos side by side, strips of frames, figures over time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from video4spatial.cameras.plotting import PATH_COLORS
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.registry import METRICS

BACKGROUND, INK = (250, 250, 248), (40, 44, 52)


def side_by_side(videos: Sequence[tuple[str, np.ndarray]], height: int = 256) -> np.ndarray:
    """Several videos in one, each under its name.

    Args:
        videos: (name, frames [T, H, W, 3] uint8); shorter ones hold their last frame.
        height: of the pictures in pixels, to which all are scaled.

    Returns:
        [T, H', W', 3] uint8 with even sides, so that any video codec takes them.

    Raises:
        ValueError: for no videos, or frames of another type.
    """
    bad = [f"{name}: {frames.dtype} {list(frames.shape)}" for name, frames in videos if not _are_frames(frames)]
    if not videos or bad:
        raise ValueError(f"side_by_side needs videos of uint8 frames [T, H, W, 3], got {'; '.join(bad) or 'none'}.")
    margin, label = max(6, height // 32), max(18, height // 9)
    label += label % 2
    widths = [round(frames.shape[2] * height / frames.shape[1]) for _, frames in videos]
    total = sum(widths) + margin * (len(videos) + 1)
    size = (total + total % 2, height + label + margin + (height + margin) % 2)
    font = ImageFont.load_default(size=label * 0.6)
    pictures = []
    for index in range(max(len(frames) for _, frames in videos)):
        canvas = Image.new("RGB", size, BACKGROUND)
        draw, left = ImageDraw.Draw(canvas), margin
        for (name, frames), width in zip(videos, widths, strict=True):
            frame = Image.fromarray(frames[min(index, len(frames) - 1)])
            canvas.paste(frame.resize((width, height), Image.Resampling.BICUBIC), (left, label))
            draw.text((left + width / 2, label / 2), _fitting(name, font, width), fill=INK, font=font, anchor="mm")
            left += width + margin
        pictures.append(np.asarray(canvas))
    return np.stack(pictures)


def strip(frames: np.ndarray, count: int = 12) -> list[int]:
    """Positions of up to `count` frames, evenly spread from the first to the last."""
    return sorted(set(np.round(np.linspace(0, len(frames) - 1, min(count, len(frames)))).astype(int).tolist()))


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
        values = np.array([np.nan if value is None else value for value in measurement.per_frame])
        color = PATH_COLORS[index % len(PATH_COLORS)]
        axes.plot(np.arange(1, len(values) + 1), values, marker="o", markersize=3, color=color)
        unit = METRICS[name].unit if name in METRICS else ""
        title = name.replace("_", " ") + (f" ({unit})" if unit else "")
        axes.set_title(title, fontsize=8.5, loc="left", color="#282c34")
        axes.tick_params(labelsize=7, color="#bbbbbb")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("frame", fontsize=7)
    return figure


def _are_frames(frames: np.ndarray) -> bool:
    return frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3 and len(frames) > 0


def _fitting(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The name, shortened to a width."""
    while len(name) > 1 and font.getlength(name) > width:
        name = name.rstrip("…")[:-1] + "…"
    return name

"""Pictures and figures for reports: videos side by side, strips of frames, errors as heat and over time, epipolar lines."""

from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from matplotlib.figure import Figure

from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import PATH_COLORS
from video4spatial.clips import Clip
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.metrics import METRICS
from video4spatial.geometry.features import matched_points
from video4spatial.geometry.two_views import fundamental_matrix
from video4spatial.geometry.visibility import warp_context

BACKGROUND, INK = (250, 250, 248), (40, 44, 52)

HOTTEST = 80.0
"""Grey levels of error that heat maps show as their brightest colour."""

UNSEEN = 205
"""Grey of heat maps where the context sees nothing and no error can be told."""

EPIPOLAR_LINES, DRAWING_HEIGHT = 12, 300
"""Most lines in one picture, and its height in pixels."""


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


def reprojection_heat(clip: Clip, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Where generated frames differ from the context's own pixels, moved into the true views by depth.

    Args:
        clip: whose context is compared with.
        frames: [T, H, W, 3] uint8 generated frames.

    Returns:
        Heat [T, H, W, 3] uint8 (black none, light `HOTTEST` grey levels or more, grey where the context sees nothing) and
        the mean error [T] in grey levels, NaN without a seen pixel; None where depth or cameras are unknown.
    """
    known = (clip.target_cameras, clip.target_depth, clip.context_cameras, clip.context_depth)
    if any(value is None for value in known):
        return None
    warped, seen = warp_context(*known, clip.context_frames)
    error = np.abs(frames.astype(np.float32) - warped).mean(-1)
    heat = (matplotlib.colormaps["inferno"](np.clip(error / HOTTEST, 0, 1))[..., :3] * 255).astype(np.uint8)
    means = [float(values[mask].mean()) if mask.any() else np.nan for values, mask in zip(error, seen, strict=True)]
    return np.where(seen[..., None], heat, UNSEEN).astype(np.uint8), np.array(means)


def epipolar_lines(first: np.ndarray, second: np.ndarray, cameras: Cameras) -> tuple[np.ndarray, str] | None:
    """Points of one frame and the lines on which the commanded cameras want them in another.

    Matched points are drawn in both frames; where too few match, corners of the first frame stand in, and the eye has to
    judge whether each line meets its corner in the second.

    Args:
        first, second: [H, W, 3] uint8.
        cameras: the two commanded cameras.

    Returns:
        The two frames beside each other [300, W', 3] uint8 and what is drawn, in words; None for cameras in one place,
        which have no epipolar lines, and frames that show nothing.
    """
    if float(cameras.path_length()) < 1e-6:
        return None
    points, partners = matched_points(first, second)
    if len(points) < 4:
        grey = cv2.cvtColor(first, cv2.COLOR_RGB2GRAY)
        corners = cv2.goodFeaturesToTrack(grey, EPIPOLAR_LINES, 0.02, min(first.shape[:2]) / 8)
        if corners is None:
            return None
        points, partners = corners[:, 0] + 0.5, None
    homogeneous = np.ones((len(points), 1))
    lines = np.hstack([points, homogeneous]) @ fundamental_matrix(cameras, *first.shape[:2]).T  # [M, 3] in the second frame
    if partners is None:
        caption = f"{len(points)} corners of the first frame, unmatched, and their epipolar lines"
        chosen = np.arange(len(points))[:EPIPOLAR_LINES]
    else:
        distance = np.abs((np.hstack([partners, homogeneous]) * lines).sum(1)) / np.linalg.norm(lines[:, :2], axis=1)
        worst = np.argsort(-distance, kind="stable")
        # Every so many from the worst to the best match, so that one cannot take the worst for all.
        chosen = worst[np.unique(np.linspace(0, len(worst) - 1, min(EPIPOLAR_LINES, len(worst))).astype(int))]
        caption = f"{len(points)} matches, median {np.median(distance):.2f} px beside their lines, worst {distance.max():.1f} px"
    partners = None if partners is None else partners[chosen]
    return _lines_drawn(first, second, points[chosen], partners, lines[chosen], DRAWING_HEIGHT), caption


def _lines_drawn(
    first: np.ndarray, second: np.ndarray, points: np.ndarray, partners: np.ndarray | None, lines: np.ndarray, height: int
) -> np.ndarray:
    """Two frames side by side [height, W', 3]: points [K, 2] in the first, lines [K, 3] and partners [K, 2] in the second."""
    factor = height / first.shape[0]
    width = round(first.shape[1] * factor)
    canvas = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC) for frame in (first, second)]
    for index, (a, b, c) in enumerate(lines * (1, 1, factor)):
        color = tuple(int(part * 255) for part in matplotlib.colormaps["turbo"](0.08 + 0.84 * index / max(1, len(lines) - 1))[:3])
        # Clipped by hand to the borders of the picture: OpenCV cuts off what lies far outside.
        across, along = [(0, -c / b), (width, -(c + a * width) / b)], [(-c / a, 0), (-(c + b * height) / a, height)]
        ends = across if abs(b) > abs(a) else along
        (x0, y0), (x1, y1) = np.clip(ends, -1e4, 1e4).round().astype(int).tolist()
        cv2.line(canvas[1], (x0, y0), (x1, y1), color, 1, cv2.LINE_AA)
        marked = [(canvas[0], points[index])] + ([] if partners is None else [(canvas[1], partners[index])])
        for picture, point in marked:
            centre = tuple((point * factor).round().astype(int).tolist())
            cv2.circle(picture, centre, 5, (255, 255, 255), -1, cv2.LINE_AA)
            cv2.circle(picture, centre, 4, color, -1, cv2.LINE_AA)
    gap = np.full((height, 8, 3), BACKGROUND, dtype=np.uint8)
    return np.concatenate([canvas[0], gap, canvas[1]], axis=1)


def _are_frames(frames: np.ndarray) -> bool:
    return frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1] == 3 and len(frames) > 0


def _fitting(name: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The name, shortened to a width."""
    while len(name) > 1 and font.getlength(name) > width:
        name = name.rstrip("…")[:-1] + "…"
    return name


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

"""Draws images/axes.png, the picture of docs/conventions.md: run `python docs/draw_axes.py`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

RED, GREEN, BLUE, GREY = "#D32F2F", "#2E7D32", "#1565C0", "#666666"
# An oblique view from behind, above and to the right of the camera: where right, down and forward appear on the page.
RIGHT, DOWN, FORWARD = np.array([1.0, -0.12]), np.array([0.0, -1.0]), np.array([0.62, 0.42])


def page(x: float, y: float, z: float) -> np.ndarray:
    """Where a point in OpenCV camera axes appears on the page."""
    return x * RIGHT + y * DOWN + z * FORWARD


def draw_camera(axes, title: str, directions: list[tuple[str, tuple[float, float, float], str]]) -> None:
    """A camera, its picture plane and its three axes."""
    corners = [page(x, y, 1.7) for x, y in [(-0.8, -0.55), (0.8, -0.55), (0.8, 0.55), (-0.8, 0.55)]]
    center = page(0, 0, 0)
    for corner in corners:
        axes.plot(*zip(center, corner), color=GREY, linewidth=0.8, zorder=1)
    axes.add_patch(Polygon(corners, closed=True, facecolor="#90CAF9", alpha=0.35, edgecolor=GREY, zorder=1))
    axes.plot(*zip(corners[0], corners[1]), color=GREY, linewidth=3, zorder=2)
    above_edge = (corners[0] + corners[1]) / 2 + [0.0, 0.12]
    axes.annotate("top of the picture", above_edge, ha="center", color=GREY, fontsize=9)
    for label, direction, color in directions:
        tip = page(*(1.25 * np.array(direction)))
        axes.annotate(
            "", tip, center, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2.6, "mutation_scale": 18,
                                         "shrinkA": 0, "shrinkB": 0}, zorder=4,
        )
        offset = tip / np.linalg.norm(tip) * (0.34 if abs(direction[0]) else 0.26)
        axes.text(*(tip + offset), label, color=color, ha="center", va="center", fontsize=11, weight="bold", zorder=5)
    axes.plot(*center, marker="o", color="black", markersize=8, zorder=5)
    axes.set_title(title, fontsize=11)
    axes.set(xlim=(-1.75, 2.2), ylim=(-1.75, 1.9), aspect="equal")
    axes.axis("off")


def draw_pixels(axes) -> None:
    """The pixel grid of a picture of 6 x 4 pixels."""
    width, height = 6, 4
    for column in range(width + 1):
        axes.plot([column, column], [0, height], color="#999999", linewidth=0.8)
    for row in range(height + 1):
        axes.plot([0, width], [row, row], color="#999999", linewidth=0.8)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    axes.plot(columns.ravel(), rows.ravel(), ".", color="#999999", markersize=4)
    axes.plot(0.5, 0.5, "o", color=RED, markersize=7)
    axes.annotate("centre of the first pixel\n(0.5, 0.5)", (0.5, 0.5), (1.15, 1.5), color=RED, fontsize=9, va="center",
                  arrowprops={"arrowstyle": "-", "color": RED}, backgroundcolor="white")
    axes.plot(width / 2, height / 2, "+", color=BLUE, markersize=14, markeredgewidth=2)
    axes.text(width / 2 + 0.15, height / 2 + 0.45, "middle: (0.5, 0.5) normalised", color=BLUE, fontsize=9,
              va="center", ha="center", backgroundcolor="white")
    for position, text, alignment in [((0, -0.15), "(0, 0)", "center"), ((width, height + 0.4), "(W, H)", "center")]:
        axes.text(*position, text, ha=alignment, fontsize=10)
    arrow = {"arrowstyle": "-|>", "linewidth": 2, "mutation_scale": 15, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (3.2, -0.35), (0.7, -0.35), arrowprops={**arrow, "color": RED})
    axes.text(3.4, -0.35, "column, along x", color=RED, va="center", fontsize=9)
    axes.annotate("", (-0.35, 2.6), (-0.35, 0.4), arrowprops={**arrow, "color": GREEN})
    axes.text(-0.5, 2.75, "row,\nalong y", color=GREEN, va="top", ha="center", fontsize=9)
    axes.set(xlim=(-1.4, width + 0.6), ylim=(height + 0.8, -1.0), aspect="equal")
    axes.set_title("Pixels: corners are whole numbers, centres at +0.5", fontsize=11)
    axes.axis("off")


def main() -> None:
    """Draw the three panels."""
    figure = Figure(figsize=(13, 4.4), dpi=130, layout="constrained")
    ours, opengl, pixels = figure.subplots(1, 3)
    draw_camera(ours, "Ours, everywhere: OpenCV",
                [("x right", (1, 0, 0), RED), ("y down", (0, 1, 0), GREEN), ("z forward", (0, 0, 1), BLUE)])
    draw_camera(opengl, "On disk in transforms.json: OpenGL",
                [("x right", (1, 0, 0), RED), ("y up", (0, -1, 0), GREEN), ("z backward", (0, 0, -1), BLUE)])
    draw_pixels(pixels)
    figure.savefig(Path(__file__).parent / "images" / "axes.png")


if __name__ == "__main__":
    main()

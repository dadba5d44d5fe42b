"""Pictures of camera paths: from above, and as frustums in space."""

from collections.abc import Mapping
from os import PathLike

import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.spread import thinned

# The palette of Okabe and Ito, told apart with any colour vision.
PATH_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MAXIMUM_ARROWS = 20
MAXIMUM_FRUSTUMS = 12
GREY = "#666666"


def plot_trajectories(
    paths: Mapping[str, Cameras], output: str | PathLike | None = None, title: str | None = None
) -> Figure:
    """Draw several camera paths from above, with viewing directions.

    The page is level with the first path: its first viewing direction points up the page, its right to the right.

    Args:
        paths: cameras [T] by name, all in one world.
        output: picture file to write, if any.
        title: text above.

    Returns:
        A matplotlib Figure (no global state of pyplot is touched).

    Raises:
        CameraError: for no paths, or cameras with batch axes.
    """
    if not paths:
        raise CameraError("no camera paths to draw")
    for name, cameras in paths.items():
        _check_unbatched(name, cameras)
    figure = Figure(figsize=(6.4, 6.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    first = next(iter(paths.values()))
    origin, basis = level_basis(first)
    size = _scene_size(torch.cat([_in_basis(cameras.positions, origin, basis) for cameras in paths.values()]))
    for index, (name, cameras) in enumerate(paths.items()):
        # Later paths are thinner, so that those that follow one another exactly are all seen.
        color, linewidth = PATH_COLORS[index % len(PATH_COLORS)], max(1.2, 4.0 - 1.2 * index)
        _draw_from_above(axes, cameras, origin, basis, size, color, name, linewidth=linewidth)
    _finish_from_above(axes, first.metric, size)
    axes.legend(loc="best", frameon=True, framealpha=0.9)
    if title:
        axes.set_title(title)
    if output is not None:
        figure.savefig(output)
    return figure


def draw_frustums(cameras: Cameras, output: str | PathLike | None = None, title: str | None = None) -> Figure:
    """Draw cameras from above and as frustums in space, coloured from the first frame to the last.

    Args:
        cameras: [T].
        output: picture file to write, if any.
        title: text above.

    Returns:
        A matplotlib Figure.

    Raises:
        CameraError: for cameras with batch axes.
    """
    _check_unbatched("cameras", cameras)
    figure = Figure(figsize=(12.0, 5.6), dpi=120, layout="constrained")
    above = figure.add_subplot(1, 2, 1)
    space = figure.add_subplot(1, 2, 2, projection="3d")
    origin, basis = level_basis(cameras)
    size = _scene_size(_in_basis(cameras.positions, origin, basis))
    scale = ScalarMappable(Normalize(0, max(len(cameras) - 1, 1)), "viridis")
    _draw_from_above(above, cameras, origin, basis, size, GREY, None, scale)
    _finish_from_above(above, cameras.metric, size)
    above.set_title("from above")
    _draw_in_space(space, cameras, origin, basis, size, scale)
    space.set_title("frustums (thick edge: top of the picture)")
    figure.colorbar(scale, ax=[above, space], label="frame", shrink=0.8, pad=0.02)
    if title:
        figure.suptitle(title)
    if output is not None:
        figure.savefig(output)
    return figure


def level_basis(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """A level frame for drawing.

    The vertical is the mean of the cameras' up vectors, which needs no knowledge of the world's own axes.

    Args:
        cameras: [T].

    Returns:
        The first camera's position [3], and rows [3, 3] that point right, forward and up.
    """
    up = cameras.up.mean(-2)
    up = cameras.up[0] if up.norm() < 0.1 else up / up.norm()
    forward = cameras.forward[0] - (cameras.forward[0] @ up) * up
    if forward.norm() < 1e-3:
        # A camera that looks straight down has no heading but the top of its picture.
        forward = cameras.up[0] - (cameras.up[0] @ up) * up
    if forward.norm() < 1e-3:
        forward = torch.linalg.cross(up, cameras.right[0])
    forward = forward / forward.norm()
    return cameras.positions[0], torch.stack([torch.linalg.cross(forward, up), forward, up])


def _check_unbatched(name: str, cameras: Cameras) -> None:
    if cameras.batch_shape != ():
        raise CameraError(f"{name}: one path is drawn at a time, given a batch {tuple(cameras.batch_shape)}")


def _in_basis(points: Tensor, origin: Tensor, basis: Tensor) -> Tensor:
    return (points - origin) @ basis.T


def _scene_size(points: Tensor) -> float:
    extent = float((points.amax(0) - points.amin(0)).max())
    # A camera that only turns still needs arrows of some length.
    return extent if extent > 1e-6 else 1.0


def _draw_from_above(axes, cameras, origin, basis, size, color, label, scale=None, linewidth=1.6) -> None:
    positions = _in_basis(cameras.positions, origin, basis).numpy()
    shown = thinned(len(cameras), MAXIMUM_ARROWS)
    directions = (cameras.forward[shown] @ basis.T).numpy() * 0.09 * size
    axes.plot(positions[:, 0], positions[:, 1], color=color, linewidth=linewidth, label=label, zorder=2)
    colors = color if scale is None else scale.to_rgba(shown)
    axes.quiver(
        positions[shown, 0], positions[shown, 1], directions[:, 0], directions[:, 1], color=colors, angles="xy",
        scale_units="xy", scale=1, width=0.004, headwidth=4, zorder=3,
    )
    axes.plot(*positions[0, :2], marker="o", markersize=9, color=color, markeredgecolor="white", zorder=4)
    axes.plot(*positions[-1, :2], marker="s", markersize=7, color=color, markeredgecolor="white", zorder=4)


def _finish_from_above(axes, metric: bool, size: float) -> None:
    unit = "m" if metric else "unknown unit"
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.15)
    axes.set_xlabel(f"right of the first camera ({unit})")
    axes.set_ylabel(f"ahead of the first camera ({unit})")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.text(0.01, 0.01, "circle: start   square: end", transform=axes.transAxes, fontsize=8, color=GREY)


def _draw_in_space(axes, cameras, origin, basis, size, scale) -> None:
    shown = thinned(len(cameras), MAXIMUM_FRUSTUMS)
    depth = 0.12 * size
    # The corners of the picture, clockwise from the top left, on a plane at unit depth.
    corners = torch.tensor([[0, 0, 1.0], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.float64)
    camera_corners = corners @ torch.linalg.inv(cameras.intrinsics[shown]).mT * depth
    corners = camera_corners @ cameras.rotations[shown].mT + cameras.positions[shown][:, None]
    corners = _in_basis(corners, origin, basis).numpy()  # [N, 4, 3]
    centers = _in_basis(cameras.positions, origin, basis).numpy()
    segments, colors = [], []
    for index, frame in enumerate(shown):
        color = scale.to_rgba(frame)
        outline = [*corners[index], corners[index, 0]]
        segments += [outline, *([centers[frame], corner] for corner in corners[index])]
        # A thick top edge shows which way is up.
        segments.append(corners[index, :2])
        colors += [color] * 6
    widths = [0.9, 0.9, 0.9, 0.9, 0.9, 3.2] * len(shown)
    axes.add_collection3d(Line3DCollection(segments, colors=colors, linewidths=widths))
    axes.plot(*centers.T, color=GREY, linewidth=1.2)
    everything = np.concatenate([corners.reshape(-1, 3), centers])
    middle = (everything.max(0) + everything.min(0)) / 2
    half = max(float((everything.max(0) - everything.min(0)).max()) / 2, 1e-6) * 1.05
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half),
        zlim=(middle[2] - half, middle[2] + half), xlabel="right", ylabel="ahead", zlabel="up",
    )
    axes.set_box_aspect((1, 1, 1))
    axes.view_init(elev=25, azim=-65)

"""Depth of frames from other frames of the same video: plane-sweep stereo between views of known cameras, without any weights."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from video4spatial.cameras import Cameras


@dataclass(frozen=True)
class PlaneSweepSettings:
    """How depth is searched for.

    Args:
        planes: number of depths that are tried, evenly spread in inverse depth.
        nearest, farthest: depths of the first and the last, in units of the scene's radius.
        views: how many other frames each frame is compared with.
        baseline: distance to them that is best, in units of the scene's radius.
        window: side in pixels of the square over which colours are compared.
        agreeing: of those frames, how many must agree; the others may be hidden by something.
        most_turned: degrees between viewing directions above which two frames are not compared.
        texture: least standard deviation of a window, in grey levels of 255, that can be matched at all.
    """

    planes: int = 64
    nearest: float = 0.1
    farthest: float = 6.0
    views: int = 4
    baseline: float = 0.2
    window: int = 5
    agreeing: int = 2
    most_turned: float = 45.0
    texture: float = 1.5


@dataclass(frozen=True)
class SweptDepth:
    """Depth found by a plane sweep.

    Args:
        depth: [R, H, W] float32 along the optical axis, in the unit of the cameras; 0 where nothing could be matched.
        confidence: [R, H, W] float32 from 0 to 1: by how much the best depth beats the best other one.
    """

    depth: np.ndarray
    confidence: np.ndarray


@torch.no_grad()
def plane_sweep(
    frames: np.ndarray, cameras: Cameras, radius: float, references: list[int], settings: PlaneSweepSettings = PlaneSweepSettings()
) -> SweptDepth:
    """Depth of some frames of a video.

    For every depth that is tried, the other frames are warped onto a frame as if all it shows were that far away. Where they agree
    with it, the depth is right. Costs are absolute colour differences averaged over a window and over the frames that agree best;
    the least cost is refined by a parabola (Collins, CVPR 1996; Gallup et al., CVPR 2007, with fronto-parallel planes only).

    Args:
        frames: [T, H, W, 3] uint8.
        cameras: T cameras.
        radius: of the scene, in the unit of the cameras; sets the range of depths.
        references: which frames, R of them.
        settings: how depth is searched for.

    Returns:
        `SweptDepth` of the references. A frame without another one seen from elsewhere has depth 0 throughout.
    """
    height, width = frames.shape[1:3]
    pictures = torch.from_numpy(frames).movedim(-1, 1).float()  # [T, 3, H, W]
    inverse = torch.linspace(1 / settings.nearest, 1 / settings.farthest, settings.planes) / radius  # [D], near to far
    window = settings.window
    spread = (_window_mean(pictures**2, window) - _window_mean(pictures, window) ** 2).clamp(min=0).mean(1).sqrt()  # [T, H, W]
    depth, confidence = torch.zeros(2, len(references), height, width)
    for place, reference in enumerate(references):
        others = neighbours(cameras, reference, radius, settings)
        if others:
            warped, inside = _warped(pictures, cameras, reference, others, inverse)
            cost = _matching_cost(pictures[reference], warped, inside, settings)
            textured = spread[reference] >= settings.texture
            depth[place], confidence[place] = _best_depth(cost, inverse, textured)
    return SweptDepth(depth.numpy(), confidence.numpy())


def _window_mean(values: Tensor, window: int) -> Tensor:
    """Mean over a square window around every pixel of [N, C, H, W]; borders are repeated."""
    height, width = values.shape[-2:]
    values = pad(values, [window // 2] * 4, mode="replicate")
    for axis, size in ((-1, width), (-2, height)):  # shifted sums: three times as fast as avg_pool2d on a CPU
        values = sum(values.narrow(axis, shift, size) for shift in range(window))
    return values / window**2


def _warped(pictures: Tensor, cameras: Cameras, reference: int, others: list[int], inverse: Tensor) -> tuple[Tensor, Tensor]:
    """S other frames as the reference would see them if all it shows were at one depth, for D inverse depths.

    Returns:
        [S, 3, D, H, W] pictures and [S, D, H, W] bool where the other frame sees the place.
    """
    height, width = pictures.shape[-2:]
    intrinsics = cameras.pixel_intrinsics(height, width)
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)]).reshape(3, -1)  # [3, H W]
    relative = cameras.world_to_camera[others] @ cameras.camera_to_world[reference]  # [S, 4, 4]
    turned = (intrinsics[others] @ relative[:, :3, :3] @ torch.linalg.inv(intrinsics[reference])).float() @ pixels  # [S, 3, H W]
    moved = (intrinsics[others] @ relative[:, :3, 3:]).float()  # [S, 3, 1]
    projected = turned[:, None] + moved[:, None] * inverse[None, :, None, None]  # [S, D, 3, H W], as far as depth 1
    in_front = projected[:, :, 2] > 1e-3
    places = projected[:, :, :2] / projected[:, :, 2:].clamp(min=1e-3)  # [S, D, 2, H W]
    places = places.movedim(2, -1) / torch.tensor([width, height], dtype=torch.float32) * 2 - 1
    inside = in_front & (places.abs() < 1).all(-1)  # [S, D, H W]
    grid = places.clamp(-2, 2).reshape(len(others), -1, width, 2)
    warped = grid_sample(pictures[others], grid, padding_mode="border", align_corners=False)  # [S, 3, D H, W]
    shape = (len(others), len(inverse), height, width)
    return warped.view(len(others), 3, *shape[1:]), inside.view(shape)


def _matching_cost(picture: Tensor, warped: Tensor, inside: Tensor, settings: PlaneSweepSettings) -> Tensor:
    """Colour difference [D, H, W] of a picture [3, H, W] and the frames warped onto it that agree best; 255 where none sees it."""
    cost = (warped - picture[None, :, None]).abs().mean(1)  # [S, D, H, W]
    seen = inside.float()
    share = _window_mean(seen, settings.window)
    cost = _window_mean(cost * seen, settings.window) / share.clamp(min=1e-3)
    # Where a frame does not see the place it has no say; where too few see it, the depth is not tried.
    cost = cost.where(share > 0.5, torch.tensor(math.inf)).sort(0).values[: min(settings.agreeing, len(cost))]
    known = cost.isfinite()
    cost = cost.where(known, torch.zeros(())).sum(0) / known.sum(0).clamp(min=1)
    return cost.where(known[0], torch.tensor(255.0))


def _best_depth(cost: Tensor, inverse: Tensor, textured: Tensor) -> tuple[Tensor, Tensor]:
    """Depth and confidence [H, W] from the cost [D, H, W] of D inverse depths, where the picture is textured [H, W]."""
    planes = len(inverse)
    best, index = cost.min(0)
    inner = index.clamp(1, planes - 2)
    before, middle, after = (cost.gather(0, (inner + step)[None])[0] for step in (-1, 0, 1))
    bend = before - 2 * middle + after
    shift = (0.5 * (before - after) / bend.clamp(min=1e-6)).clamp(-0.5, 0.5) * (inner == index)
    found = inverse[0] + (index + shift) * (inverse[1] - inverse[0])
    near = (torch.arange(planes)[:, None, None] - index).abs() <= 2
    second = cost.masked_fill(near, 255.0).min(0).values
    usable = textured & (best < 255.0) & (index > 0) & (index < planes - 1)
    return usable / found, usable * (1 - (best + 1.0) / (second + 1.0)).clamp(min=0)


def neighbours(cameras: Cameras, reference: int, radius: float, settings: PlaneSweepSettings) -> list[int]:
    """The frames that a frame is best compared with: from about the wanted distance, in about the same direction.

    Args:
        cameras: T cameras.
        reference: index of the frame.
        radius: of the scene, in the unit of the cameras.
        settings: which distances and turns are wanted, and how many frames.

    Returns:
        Indices, the best first; none where no frame is seen from elsewhere.
    """
    distance = torch.linalg.vector_norm(cameras.positions - cameras.positions[reference], dim=-1) / radius
    angle = torch.rad2deg(torch.acos((cameras.forward @ cameras.forward[reference]).clamp(-1, 1)))
    useful = (distance > 0.1 * settings.baseline) & (angle < settings.most_turned)
    # A turn costs overlap as a wrong distance costs accuracy: twice too near is as bad as a third of the turn allowed.
    cost = (distance.clamp(min=1e-6) / settings.baseline).log().abs() + 2 * angle / settings.most_turned
    order = cost.where(useful, torch.tensor(math.inf, dtype=cost.dtype)).argsort()
    return order[: min(settings.views, int(useful.sum()))].tolist()

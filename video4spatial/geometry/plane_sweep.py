"""Depth of frames from other frames of the same video: plane-sweep stereo between views of known cameras, without any weights."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.pieces import for_each
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.geometry.sweep_kernels import best_depth, enlarge_depth, sweep, texture

WORKING_SIDE = 192
"""Pictures with more pixels than a square of this side are made smaller for the sweep; depth is brought to their size afterwards."""

WINDOW_HEIGHT = 64
"""Smaller side in pixels of pictures for which `PlaneSweepSettings.window` is given."""


@dataclass(frozen=True)
class PlaneSweepSettings:
    """How depth is searched for.

    Args:
        planes: number of depths that are tried, evenly spread in inverse depth.
        nearest, farthest: depths of the first and the last, in units of the scene's radius.
        views: how many other frames each frame is compared with.
        baseline: distance to them that is best, in units of the scene's radius.
        window: side of the square over which colours are compared, in pixels where the smaller side of the picture has
            `WINDOW_HEIGHT`; it grows with the picture.
        agreeing: of those frames, how many must agree; the others may be hidden by something.
        most_turned: degrees between viewing directions above which two frames are not compared.
        apart: planes from the best one on from which another depth is a rival: how much better the best is says how sure it is.
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
    apart: int = 3
    texture: float = 1.5


def plane_sweep(
    frames: np.ndarray, cameras: Cameras, radius: float, references: list[int], settings: PlaneSweepSettings = PlaneSweepSettings()
) -> DepthMaps:
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
        Depth of the references, 0 where nothing could be matched, and a confidence from 0 to 1: by how much the best depth beats
        the best other one. `PlaneSweepDepth` makes a probability of it.
    """
    shrink = min(1.0, WORKING_SIDE / (frames.shape[1] * frames.shape[2]) ** 0.5)
    height, width = (max(round(size * shrink), 1) for size in frames.shape[1:3])
    small = frames if shrink == 1 else np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
    pictures = small.astype(np.float32)
    reach = max(round((settings.window * min(height, width) / WINDOW_HEIGHT - 1) / 2), 1)
    inverse = np.linspace(1 / settings.nearest, 1 / settings.farthest, settings.planes).astype(np.float32) / np.float32(radius)
    everywhere = np.ones((height, width), np.float32)
    depth, confidence = np.zeros((2, len(references), *frames.shape[1:3]), np.float32)
    reasons = [""] * len(references)

    def search(place: int) -> None:
        reference = references[place]
        others = neighbours(cameras, reference, radius, settings)
        if not others:
            reasons[place] = "no other frame shows the same from another place"
            return
        volume = np.empty((settings.planes, height, width), np.float32)
        found, margin = np.empty((2, height, width), np.float32)
        turned, moved = warps(cameras, reference, others, height, width)
        sweep(pictures[reference], pictures[others], turned, moved, everywhere, inverse, reach, settings.agreeing, volume)
        best_depth(volume, inverse, settings.apart, found, margin)
        textured = texture(pictures[reference], reach) >= settings.texture
        found, margin = found * textured, margin * textured
        if not found.any():
            reasons[place] = "stereo matched nothing: too little texture" if textured.mean() < 0.05 else "stereo matched nothing"
        if shrink < 1:
            enlarge_depth(found, margin, pictures[reference], frames[reference], depth[place], confidence[place])
        else:
            depth[place], confidence[place] = found, margin

    for_each(len(references), settings.planes * settings.views * height * width, search)
    return DepthMaps(depth, confidence, tuple(reasons))


def warps(cameras: Cameras, reference: int, others: list[int], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """What takes pixels of a frame to those of others.

    Args:
        cameras: T cameras.
        reference, others: indices of the frame, and of S others.
        height, width: of all pictures.

    Returns:
        What (column, row, 1) [S, 3, 3] and an inverse depth [S, 3] are multiplied by; float32.
    """
    intrinsics = cameras.pixel_intrinsics(height, width)
    relative = cameras.world_to_camera[others] @ cameras.camera_to_world[reference]
    turned = intrinsics[others] @ relative[:, :3, :3] @ torch.linalg.inv(intrinsics[reference])
    moved = (intrinsics[others] @ relative[:, :3, 3:])[..., 0]
    return tuple(np.ascontiguousarray(values.numpy(), np.float32) for values in (turned, moved))


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
    order = cost.where(useful, torch.tensor(torch.inf, dtype=cost.dtype)).argsort()
    return order[: min(settings.views, int(useful.sum()))].tolist()


def camera_spread(cameras: Cameras) -> float:
    """Median distance of the cameras from their median position, the yardstick of depths.

    A scene is about as wide as the walk through it.

    Raises:
        GeometryError: where it is 0.
    """
    spread = cameras.positions - cameras.positions.median(0).values
    radius = float(torch.linalg.vector_norm(spread, dim=-1).median())
    if radius <= 0:
        raise GeometryError("the camera only turns: stereo sees no depth")
    return radius


@dataclass(frozen=True)
class PlaneSweepDepth:
    """A `DepthEstimator` without weights: `plane_sweep` over all frames, with the walk's size as yardstick.

    Args:
        settings: how depth is searched for.
    """

    settings: PlaneSweepSettings = PlaneSweepSettings(
        planes=96, nearest=0.2, farthest=60.0, window=9, apart=6, texture=0.5
    )
    name: str = "plane sweep"
    licence: str = "no weights"

    def __call__(self, frames: np.ndarray, cameras: Cameras, references: list[int]) -> DepthMaps:
        """See `DepthEstimator`.

        Raises:
            GeometryError: for a single frame, cameras that stand in one place, and frames of which none could be matched.
        """
        if len(frames) < 2:
            raise GeometryError("a single frame with a camera is too few for stereo")
        found = plane_sweep(frames, cameras, camera_spread(cameras), references, self.settings)
        if not found.depth.any():
            reasons = sorted({reason for reason in found.reasons if reason})
            raise GeometryError("; ".join(reasons) or "stereo matched nothing")
        # Measured on rooms: the share of pixels within 10 % of the truth, by the margin of the best cost.
        confidence = np.where(found.depth > 0, 0.38 + 0.62 * found.confidence, 0)
        return replace(found, confidence=confidence.astype(np.float32))

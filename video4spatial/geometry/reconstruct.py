"""A scene from frames and cameras, without any learned model: depth by plane sweep, kept where views agree, splatted into
other cameras, with colours looked up in the frames.

    scene = reconstruct(frames, cameras, target)
    pictures, known, depth = scene.render(target, height, width)

Frames of unknown cameras come first through `located_frames`.
"""

from dataclasses import dataclass, replace


import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.plane_sweep import plane_sweep
from video4spatial.geometry.visibility import seen_from, splatted_depth, warp_context
from video4spatial.geometry.structure_from_motion import cameras_by_mapping

SWEPT_VIEWS = 16
"""Frames that are given depth: those nearest to the cameras that are to be rendered."""

FEWEST_FRAMES = 3
"""Frames with cameras that stereo needs."""

AGREEMENT = 0.1
"""Relative difference of depth up to which two views show the same surface."""

TYPICAL_DEPTH = 2.5
"""Metres that structure from motion, which has no scale, is taken to have before the anchor in the middle."""


@dataclass(frozen=True)
class Reconstruction:
    """Views of a scene with depth.

    Args:
        frames: [N, H, W, 3] uint8, of those frames that were given depth.
        cameras: their N cameras.
        depth: [N, H, W] float32 along the optical axis in the unit of the cameras; 0 where unknown, or where no other view
            agrees.
        reasons: why a frame has no depth, of all frames that were given; empty where it has.
    """

    frames: np.ndarray
    cameras: Cameras
    depth: np.ndarray
    reasons: tuple[str, ...]

    def render(self, target: Cameras, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What other cameras see of the scene.

        Args:
            target: T cameras of the same world.
            height, width: of their pictures.

        Returns:
            Pictures [T, height, width, 3] uint8 (0 where nothing is known), the mask of known pixels and depth
            [T, height, width] (float32, 0 where nothing is known).
        """
        depth = splatted_depth(self.cameras, self.depth, target, height, width)
        pictures, known = warp_context(target, depth, self.cameras, self.depth, self.frames, tolerance=AGREEMENT)
        return pictures, known, depth


def reconstruct(frames: np.ndarray, cameras: Cameras, target: Cameras | None = None, views: int = SWEPT_VIEWS) -> Reconstruction:
    """Give depth to frames of known cameras.

    Args:
        frames: [M, H, W, 3] uint8 of one scene.
        cameras: M cameras.
        target: T cameras that are to be rendered later: the `views` frames nearest to any of them are given depth, by
            matching them with all frames. Without them all frames are.
        views: most frames that are given depth.

    Raises:
        GeometryError: for fewer than `FEWEST_FRAMES` frames, cameras that stand in one place, and frames in which stereo
            matches nothing.
    """
    if len(frames) < FEWEST_FRAMES:
        raise GeometryError(f"{len(frames)} context frames with cameras are too few for stereo")
    order = range(len(frames)) if target is None else viewpoint_distance(target, cameras).amin(0).argsort().tolist()[:views]
    chosen = sorted(order)
    swept = plane_sweep(frames, cameras, camera_spread(cameras), chosen).depth
    if not (swept > 0).any():
        raise GeometryError("stereo matched nothing in the context")
    near = cameras[chosen]
    # What only one view claims is mostly a wrong match; a view always agrees with itself.
    agreeing = seen_from(near, swept, near, swept, AGREEMENT).sum(1)
    depth = np.where(agreeing >= 2, swept, 0).astype(np.float32)
    reasons = [f"not among the {views} frames nearest to the target"] * len(frames)
    for place, index in enumerate(chosen):
        matched = "no other view agrees with its depth" if (swept[place] > 0).any() else "stereo matched nothing"
        reasons[index] = "" if (depth[place] > 0).any() else matched
    return Reconstruction(frames[chosen], near, depth, tuple(reasons))


def located_frames(frames: np.ndarray, intrinsics: Tensor, anchor: Cameras) -> EstimatedCameras:
    """The cameras of frames by structure from motion, brought to metres by `TYPICAL_DEPTH`.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised.
        anchor: camera of frame 0 (T = 1), in whose world the others are placed.

    Returns:
        Cameras in the anchor's world, with the reason for every frame that could not be placed.

    Raises:
        GeometryError: where the frames cannot be related to each other, pycolmap is missing, or the anchor's depth, which
            sets the scale, cannot be found.
    """
    try:
        found = cameras_by_mapping(frames, intrinsics, anchor)
    except (ImportError, GeometryError) as error:
        raise GeometryError(f"the context's cameras are unknown: {error}") from error
    placed = np.flatnonzero(found.position_known)
    cameras = found.cameras[placed]
    depth = plane_sweep(frames[placed], cameras, camera_spread(cameras), [0]).depth
    if not (depth > 0).any():
        raise GeometryError("stereo matched nothing in the anchor frame, so that nothing sets the scale")
    factor = TYPICAL_DEPTH / float(np.median(depth[depth > 0]))
    return replace(found, cameras=found.cameras.relative_to(0).scaled(factor, anchor.metric).placed_at(anchor))


def camera_spread(cameras: Cameras) -> float:
    """Median distance of the cameras from their median position, the yardstick of depths.

    A scene is about as wide as the walk through it.

    Raises:
        GeometryError: where it is 0.
    """
    spread = cameras.positions - cameras.positions.median(0).values
    radius = float(torch.linalg.vector_norm(spread, dim=-1).median())
    if radius <= 0:
        raise GeometryError("the context's camera only turns: stereo sees no depth")
    return radius

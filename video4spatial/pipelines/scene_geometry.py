"""The geometry of a clip's context, as a video is generated with it: read from the frames, or from a folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.camera_estimation import estimate_cameras
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.estimation import estimate_scene
from video4spatial.geometry.scene_geometry import DepthEstimator, DepthMaps, SceneGeometry
from video4spatial.media import resize_and_crop
from video4spatial.models.pair_motion import PairMotionNetwork
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pretrained import FOLDER
from video4spatial.spread import evenly_spread
from video4spatial.waits import Told, not_told

MOST_READ = 64
"""Frames that are given depth, evenly spread, the anchor among them; more would show little that is new."""

TYPICAL_DEPTH = 2.5
"""Metres that lie before the anchor in the middle, where nothing else tells the unit."""

GENERATED = 0.5
"""How far the depth of generated frames is believed, as a share of that of footage."""


@cache
def built_in_stereo(device: str = "cpu") -> StereoDepth:
    """The stereo network that ships with the package, loaded once.

    Args:
        device: where it computes.
    """
    return StereoDepth.from_pretrained(FOLDER / "stereo", device)


@cache
def built_in_motions(device: str = "cpu") -> PairMotionNetwork | None:
    """The network of motions between pairs of frames that ships with the package, loaded once; None where it does not ship.

    Args:
        device: where it computes.
    """
    folder = FOLDER / "pair_pose"
    return PairMotionNetwork.from_pretrained(folder, device) if folder.is_dir() else None


def estimate_geometry(
    frames: np.ndarray,
    cameras: Cameras | None,
    intrinsics: Tensor,
    anchor: int = -1,
    device: torch.device | str = "cpu",
    depth: DepthEstimator | DepthMaps | None = None,
    tell: Told = not_told,
) -> SceneGeometry:
    """What frames say about space: their cameras where these are not given, and their depth.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: of the frames, in any unit; None finds them in the frames.
        intrinsics: [3, 3] normalised lens of the frames, where no cameras are given.
        anchor: frame whose camera the world is relative to where cameras are found, counted from either end. Where it cannot be placed
            beside any other, the world is relative to one that can, and it has no camera.
        device: where the network computes.
        depth: what reads depth, or depth maps of all frames that are known; None for the built-in stereo network.
        tell: is told of each step.

    Returns:
        The geometry, with a reason for each frame of which something is not known. Where no frame can be placed beside the anchor, it is
        what the anchor's picture alone says (`anchor_alone`).
    """
    count, anchor = len(frames), anchor % len(frames)
    chosen = evenly_spread(count, min(MOST_READ, count), anchor)
    stereo = built_in_stereo(str(device))
    depth = stereo if depth is None else depth
    maps = depth.select(chosen) if isinstance(depth, DepthMaps) else depth
    try:
        if cameras is not None:
            tell(f"depth of {len(chosen)} of {count} frames")
            return estimate_scene(frames, cameras, maps, chosen, origin={"cameras": "given", "scale": "given"})
        step = f"step 1 of 2, finding the cameras of {count} frames, which takes the longer part"
        tell(step)
        found = estimate_cameras(
            frames, intrinsics, motions=built_in_motions(str(device)), depth=stereo, anchor=anchor,
            advance=lambda share: tell(step, share),
        )  # fmt: skip
        if found.position_known.sum() < 2:
            return anchor_alone(frames, intrinsics, anchor, _why_alone(found), device)
        words = "; ".join(found.notes) or found.cameras.convention
        scale = "metres, by motions between frames and the depth of single pictures" if found.cameras.metric else "unknown"
        tell(f"step 2 of 2, depth of {len(chosen)} of {count} frames")
        read = estimate_scene(frames, found, maps, chosen, origin={"cameras": words, "scale": scale})
        return read if found.cameras.metric else _of_usual_depth(read, found.anchor)
    except GeometryError as error:
        return SceneGeometry.unknown(frames, cameras, str(error))


def geometry_of_more(geometry: SceneGeometry, frames: np.ndarray, cameras: Cameras, device: torch.device | str = "cpu") -> SceneGeometry:
    """The geometry of frames that were generated in a scene, from them and from what is known of the scene.

    Args:
        geometry: of the scene so far.
        frames: [n, H, W, 3] uint8 new ones, which are brought to the size of the geometry's.
        cameras: their n cameras, in the world of the geometry.
        device: where the network computes.

    Returns:
        That of the new frames alone, to be `joined`. They are believed less than footage: `GENERATED`.
    """
    frames, _ = resize_and_crop(frames, *geometry.frames.shape[1:3])
    known = np.flatnonzero(geometry.placed)
    every = np.concatenate([geometry.frames[known], frames])
    path = Cameras.concatenate([geometry.cameras[known.tolist()], cameras])
    new = range(len(known), len(every))
    read = estimate_scene(every, path, built_in_stereo(str(device)), new).select(new)
    return replace(read, confidence=GENERATED * read.confidence)


def anchor_alone(
    frames: np.ndarray, intrinsics: Tensor, anchor: int, reasons: tuple[str, ...], device: torch.device | str = "cpu"
) -> SceneGeometry:
    """What the anchor's picture alone says, where no other frame could be placed beside it.

    Args:
        frames: [N, H, W, 3] uint8.
        intrinsics: [3, 3] normalised lens.
        anchor: index of the frame that the world is relative to.
        reasons: N of them, why the frames are not placed; that of the anchor is why it is alone.
        device: where the network computes.

    Returns:
        The geometry in metres, of which only the anchor has camera and depth.
    """
    standing = Cameras(torch.eye(4, dtype=torch.float64).repeat(len(frames), 1, 1), intrinsics, metric=True)
    placed = np.arange(len(frames)) == anchor
    others = tuple("" if index == anchor else reason for index, reason in enumerate(reasons))
    words = {"cameras": f"the anchor's alone: {reasons[anchor]}", "scale": "metres, by the depth of a single picture"}
    found = EstimatedCameras(standing, placed, reasons=others, anchor=anchor)
    return estimate_scene(frames, found, built_in_stereo(str(device)), [anchor], origin=words)


def _why_alone(found: EstimatedCameras) -> tuple[str, ...]:
    """Why each frame was not placed; for the anchor the most usual reason of the others."""
    words = "; ".join(found.notes)
    texts = [reason or words for reason in found.reasons]
    others = [reason for index, reason in enumerate(texts) if index != found.anchor and reason] or [texts[found.anchor]]
    texts[found.anchor] = Counter(others).most_common(1)[0][0]
    return tuple(texts)


def _of_usual_depth(geometry: SceneGeometry, anchor: int) -> SceneGeometry:
    """A geometry without metres, brought to those under which the anchor sees what is before it as far away as usual."""
    known = geometry.depth[anchor][geometry.depth[anchor] > 0]
    known = known if len(known) else geometry.depth[geometry.depth > 0]
    if not len(known):
        return geometry
    return geometry.scaled(TYPICAL_DEPTH / float(np.median(known)), metric=True, words="the usual depth before the anchor")

"""The geometry of a clip's context, as a video is generated with it: read from the frames, or from a folder."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.estimation import estimate_scene, located_frames
from video4spatial.geometry.scene_geometry import DepthEstimator, DepthMaps, SceneGeometry
from video4spatial.models.stereo_depth import StereoDepth
from video4spatial.pretrained import FOLDER
from video4spatial.spread import evenly_spread

MOST_READ = 64
"""Frames that are given depth, evenly spread, the anchor among them; more would show little that is new."""


GENERATED = 0.5
"""How far the depth of generated frames is believed, as a share of that of footage."""


@cache
def built_in_stereo(device: str = "cpu") -> StereoDepth:
    """The stereo network that ships with the package, loaded once.

    Args:
        device: where it computes.
    """
    return StereoDepth.from_pretrained(FOLDER / "stereo", device)


def estimate_geometry(
    frames: np.ndarray,
    cameras: Cameras | None,
    intrinsics: Tensor,
    anchor: int = -1,
    device: torch.device | str = "cpu",
    depth: DepthEstimator | DepthMaps | None = None,
) -> SceneGeometry:
    """What frames say about space: their cameras where these are not given, and their depth.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: of the frames, lengths in metres; None finds them in the frames.
        intrinsics: [3, 3] normalised lens of the frames, where no cameras are given.
        anchor: frame whose camera the world is relative to where cameras are found, counted from either end.
        device: where the network computes.
        depth: what reads depth, or depth maps of all frames that are known; None for the built-in stereo network.

    Returns:
        The geometry, with a reason for each frame of which something is not known; that may be all of them.
    """
    count, anchor = len(frames), anchor % len(frames)
    chosen = evenly_spread(count, min(MOST_READ, count), anchor)
    depth = built_in_stereo(str(device)) if depth is None else depth
    try:
        if cameras is not None:
            maps = depth.select(chosen) if isinstance(depth, DepthMaps) else depth
            return estimate_scene(frames, _metric(cameras), maps, chosen, origin={"cameras": "given", "scale": "given"})
        # Estimators place frames relative to their first.
        order = [anchor, *(index for index in range(count) if index != anchor)]
        found = _found(frames[order], intrinsics)
        origin = {"cameras": "structure from motion", "scale": "the usual depth before the anchor"}
        places = sorted(order.index(index) for index in chosen)
        maps = depth.select([order[place] for place in places]) if isinstance(depth, DepthMaps) else depth
        read = estimate_scene(frames[order], found, maps, places, origin=origin)
        return read.select(np.argsort(order).tolist())
    except GeometryError as error:
        return SceneGeometry.unknown(frames, cameras, str(error))


def geometry_of_more(geometry: SceneGeometry, frames: np.ndarray, cameras: Cameras, device: torch.device | str = "cpu") -> SceneGeometry:
    """The geometry of frames that were generated in a scene, from them and from what is known of the scene.

    Args:
        geometry: of the scene so far.
        frames: [n, H, W, 3] uint8 new ones, of the size of the scene's.
        cameras: their n cameras, in the world of the geometry.
        device: where the network computes.

    Returns:
        That of the new frames alone, to be `joined`. They are believed less than footage: `GENERATED`.
    """
    known = np.flatnonzero(geometry.placed)
    every = np.concatenate([geometry.frames[known], frames])
    path = Cameras.concatenate([geometry.cameras[known.tolist()], cameras])
    new = range(len(known), len(every))
    read = estimate_scene(every, path, built_in_stereo(str(device)), new).select(new)
    return replace(read, confidence=GENERATED * read.confidence)


def _found(frames: np.ndarray, intrinsics: Tensor) -> EstimatedCameras:
    """Cameras of frames from the frames alone, relative to the first."""
    start = Cameras(torch.eye(4, dtype=torch.float64)[None], intrinsics)
    return located_frames(frames, intrinsics.expand(len(frames), 3, 3), start)


def _metric(cameras: Cameras) -> Cameras:
    """Cameras whose lengths are taken as metres."""
    return cameras if cameras.metric else cameras.scaled(1.0, metric=True)

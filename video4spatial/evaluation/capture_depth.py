"""True depth for the frames of a capture between those that have it: depth of the nearest frames moved to where they were taken.

Many captures keep the depth of every n-th frame only. What the others saw can be told from their neighbours: these lie
centimetres away, and what none of them shows stays unknown. Such depth is for scores, never for a model.
"""

from collections.abc import Sequence
from itertools import islice

import numpy as np

from video4spatial.cameras import Cameras, CropBox, viewpoint_distance
from video4spatial.captures import Capture
from video4spatial.clips.cropping import resize_depth
from video4spatial.geometry.scene_geometry import SceneGeometry

SEARCHED = 30
"""Frames on either side of one without depth among which depth is looked for."""

SOURCES = 2
"""Frames on either side whose depth is moved."""

FARTHEST = 1.0
"""Metres + degrees / 45 over which depth is moved: from farther away too much is hidden that the frame would see."""

FINER = 2
"""Points that are moved, per pixel side of the result."""


def moved_depth(
    capture: Capture, frames: Sequence[int], depth: np.ndarray, cameras: Cameras, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give depth to those frames of a capture that have none.

    Args:
        capture: with depth of some frames.
        frames: n indices into the capture.
        depth: [n, H, W] float32 of these frames in the unit of `cameras`, 0 where unknown.
        cameras: their n cameras as the depth maps show them, cropped and scaled.
        scale: factor from the capture's lengths to those of `cameras`.

    Returns:
        [n, H, W] float32 depth and [n] bool, which frames were given any.
    """
    filled, moved = depth.copy(), np.zeros(len(frames), dtype=bool)
    world = capture.cameras.scaled(scale, metric=cameras.metric)
    share = min(1.0, FINER * max(depth.shape[1] / capture.height, depth.shape[2] / capture.width))
    thinned = _Thinned(capture, max(1, round(share * capture.height)), max(1, round(share * capture.width)))
    for place in np.flatnonzero(~(depth > 0).any((1, 2))).tolist():
        sources = [source for step in (-1, 1) for source in thinned.nearest(frames[place], step)]
        sources = [source for source in sources if viewpoint_distance(cameras[place], world[source]).item() <= FARTHEST]
        if not sources:
            continue
        maps = np.stack([thinned.map(source) for source in sources]) * np.float32(scale)
        filled[place] = _seen(world[sources], maps, cameras[place], *depth.shape[1:])
        moved[place] = (filled[place] > 0).any()
    return filled, moved


def _seen(sources: Cameras, maps: np.ndarray, camera: Cameras, height: int, width: int) -> np.ndarray:
    """What a camera sees [height, width] of the surfaces in depth maps [N, h, w]; 0 where nothing is known."""
    blank, certain = np.zeros((*maps.shape, 3), np.uint8), (maps > 0).astype(np.float32)
    surfaces = SceneGeometry(blank, sources, np.ones(len(maps), bool), maps.astype(np.float32), certain, ("",) * len(maps))
    return surfaces.render(camera, height, width, views=0).depth[0]


class _Thinned:
    """Depth maps of a capture, read once and thinned.

    Args:
        capture: with depth of some frames.
        height, width: of the thinned maps.
    """

    def __init__(self, capture: Capture, height: int, width: int):
        self.capture, self.size = capture, (height, width)
        self.maps: dict[int, np.ndarray | None] = {}

    def map(self, frame: int) -> np.ndarray | None:
        """[height, width] float32, or None where nothing is known."""
        if frame not in self.maps:
            whole = CropBox(0, 0, self.capture.height, self.capture.width)
            depth = resize_depth(self.capture.read_depth([frame]), whole, *self.size)[0]
            self.maps[frame] = depth if (depth > 0).any() else None
        return self.maps[frame]

    def nearest(self, frame: int, step: int) -> list[int]:
        """The next frames with depth in a direction, +1 or -1."""
        around = (frame + step * distance for distance in range(1, SEARCHED + 1))
        known = (other for other in around if 0 <= other < len(self.capture) and self.map(other) is not None)
        return list(islice(known, SOURCES))

"""`SceneGeometry` of frames whose cameras are known: depth from an estimator, held against each other.

    geometry = estimate_scene(frames, cameras, PlaneSweepDepth())
    shown = geometry.render(target, height, width)
    pictures = painted_over(shown.pictures, shown.known, colour)

Frames of unknown cameras come first through `camera_estimation.estimate_cameras`.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.geometry import GeometryError
from video4spatial.geometry.consistency import doubted
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.geometry.scene_geometry import DepthEstimator, DepthMaps, SceneGeometry

LEAST_KEPT = 0.7
"""Share of its confidence that the depth of a frame keeps if its camera fits: above 0.85 on rooms, with cameras of other frames mostly
below 0.6. With less it is said."""

OTHER_PIXELS = 0.1
"""Departure of a camera's pixels from squares from which on its lens is taken to be that of another picture."""


def estimate_scene(
    frames: np.ndarray,
    cameras: Cameras | EstimatedCameras,
    depth: DepthEstimator | DepthMaps,
    references: list[int] | None = None,
    *,
    origin: Mapping[str, str] | None = None,
) -> SceneGeometry:
    """Give depth to frames of known cameras and hold it against each other.

    Nothing is refused for the sake of single frames: what could not be found has a reason, and the rest is kept, cameras without
    any depth included.

    Args:
        frames: [N, H, W, 3] uint8 of one scene.
        cameras: N cameras; frames that `EstimatedCameras` could not place get no depth.
        depth: an estimator, or depth maps that are known already, of the frames in `references`.
        references: which frames get depth, matched with all; by default all.
        origin: where `cameras`, `depth` and `scale` came from, in words, instead of what follows from the arguments.

    Returns:
        All N frames. Confidence is lowered where views contradict each other (`consistency.doubted`).

    Raises:
        GeometryError: for cameras, references or depth maps that do not fit the frames, or where no frame has a camera.
    """
    estimated = isinstance(cameras, EstimatedCameras)
    placed = cameras.position_known if estimated else np.ones(len(cameras), dtype=bool)
    reasons = list(cameras.reasons) if estimated else [""] * len(cameras)
    known, references = cameras.cameras if estimated else cameras, _checked(frames, placed, references)
    usable = [index for index in references if placed[index]]
    if isinstance(depth, DepthMaps):
        maps = _fitting(depth, references, frames)
        maps = maps.select(np.flatnonzero(placed[references]).tolist())
    else:
        maps = _estimated(frames, known, placed, usable, depth)
    everything = np.zeros((2, len(frames), *maps.depth.shape[1:]), np.float32)
    everything[0, usable], everything[1, usable] = maps.depth, maps.confidence
    with_depth = [index for index in usable if everything[0, index].any()]
    doubts = everything[1].copy()
    if with_depth:
        doubts[with_depth] = doubted(everything[0, with_depth], everything[1, with_depth], known[with_depth])
    for index in np.flatnonzero(placed):
        reasons[index] = "no depth was asked for"
    for index, reason in zip(usable, maps.reasons, strict=True):
        if not everything[0, index].any():
            reasons[index] = reason or "its depth is nowhere known"
        elif doubts[index].sum() < LEAST_KEPT * everything[1, index].sum():
            reasons[index] = "other views contradict its depth; perhaps its camera does not fit the frame"
        else:
            reasons[index] = reason
    _note_other_lenses(reasons, known, placed, frames.shape[1:3])
    found = {
        "cameras": known.convention,
        "depth": "given" if isinstance(depth, DepthMaps) else f"{depth.name} ({depth.licence})",
        "scale": "metres, by the cameras" if known.metric else "unknown: the unit of the cameras",
    }
    return SceneGeometry(frames, known, placed, everything[0], doubts, tuple(reasons), {**found, **(origin or {})})


def _checked(frames: np.ndarray, placed: np.ndarray, references: list[int] | None) -> list[int]:
    """The references, if all fits."""
    if len(placed) != len(frames):
        raise GeometryError(f"{len(placed)} cameras do not fit {len(frames)} frames")
    if not placed.any():
        raise GeometryError("no frame has a camera")
    references = list(range(len(frames))) if references is None else list(references)
    outside = [index for index in references if not 0 <= index < len(frames)]
    if outside or len(set(references)) < len(references):
        raise GeometryError(f"`references` must be different frames from 0 to {len(frames) - 1}, given {references}")
    return references


def _fitting(maps: DepthMaps, references: list[int], frames: np.ndarray) -> DepthMaps:
    """Depth maps that were given, if they fit the frames, with 0 where they hold nothing usable."""
    expected = f"[{len(references)}, h, w] in the shape of pictures of {frames.shape[1]} x {frames.shape[2]} pixels"
    if maps.depth.ndim != 3 or len(maps.depth) != len(references) or maps.confidence.shape != maps.depth.shape:
        shapes = f"{list(maps.depth.shape)} with confidence {list(maps.confidence.shape)}"
        raise GeometryError(f"depth maps {shapes} do not fit: expected {expected}")
    height, width = maps.depth.shape[1:]
    pixels = width * frames.shape[1] / (height * frames.shape[2])
    if not 1 / (1 + OTHER_PIXELS) < pixels < 1 + OTHER_PIXELS:
        raise GeometryError(f"depth maps of {height} x {width} pixels do not fit: expected {expected}")
    known = np.isfinite(maps.depth) & (maps.depth > 0)
    return replace(maps, depth=np.where(known, maps.depth, 0), confidence=np.where(known, maps.confidence, 0))


def _estimated(frames: np.ndarray, cameras: Cameras, placed: np.ndarray, usable: list[int], depth: DepthEstimator) -> DepthMaps:
    """Depth of the frames `usable`, matched with all that are placed; none of them has any where the estimator fails."""
    among = np.flatnonzero(placed)
    if not usable:
        return DepthMaps(*np.zeros((2, 0, *frames.shape[1:3]), np.float32), ())
    try:
        maps = depth(frames[among], cameras[among.tolist()], np.searchsorted(among, usable).tolist())
    except GeometryError as error:
        return DepthMaps(*np.zeros((2, len(usable), *frames.shape[1:3]), np.float32), (str(error),) * len(usable))
    return _fitting(maps, usable, frames)


def _note_other_lenses(reasons: list[str], cameras: Cameras, placed: np.ndarray, size: tuple[int, int]) -> None:
    pixels = (cameras.aspect * size[0] / size[1]).tolist()
    for index in np.flatnonzero(placed):
        if not 1 / (1 + OTHER_PIXELS) < pixels[index] < 1 + OTHER_PIXELS:
            note = f"its camera's pixels are {1 / pixels[index]:.2f} times as wide as high: is its lens that of another picture?"
            reasons[index] = "; ".join(filter(None, (reasons[index], note)))

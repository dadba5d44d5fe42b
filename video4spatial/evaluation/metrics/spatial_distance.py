"""Spatial distance: how far what the generated frames show lies from the scene of the context.

`spatial_distance_v1` is this project's own definition. It is made in the spirit of the SD of Video4Spatial, whose estimator and
normalisation are not known to us, and its figures are not to be compared with that paper's.

1. Points come from the generated pixels: plane-sweep stereo between the generated frames, at the cameras that were measured from
   them (or, where the settings say so, at the commanded ones). No known depth takes part. The least confident share is dropped.
2. The context's points come from its known depth, or from the same plane sweep over its frames.
3. Only pixels count that a point of the context falls on: what the context cannot know is left out.
4. A point's distance is that to the nearest point of the context in place and colour, over the scene's radius r, and at most tau:
   min over q of min(tau, sqrt(|p - q|² / r² + |c_p - c_q|² / κ²)). Something at the right place with the wrong colour is another
   surface: without the colour term a door that moves along its wall, or a swapped scene of similar shape, would go unnoticed.
5. The figure is the mean over frames of the mean over their points. It is one-sided, because a video need not show the whole scene.
   r is the median distance of the context's points from their median, so that 0.2 is a fifth of the scene's radius in any unit.

The F-scores in the diagnostics compare places alone.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from video4spatial.cameras import Cameras
from video4spatial.cameras.rays import camera_rays
from video4spatial.clips import Clip
from video4spatial.clips.cropping import resize_depth
from video4spatial.evaluation.measurement import Measurement, Sample
from video4spatial.geometry import GeometryError
from video4spatial.geometry.plane_sweep import PlaneSweepSettings, plane_sweep
from video4spatial.geometry.scene_geometry import DepthEstimator, DepthMaps
from video4spatial.cameras.intrinsics import centre_crop_box
from video4spatial.geometry.visibility import nearest_points
from video4spatial.media.transforms import resize_and_crop

WORST = 1.0
"""What a video without any measurable geometry counts as: tau of `SpatialDistanceSettings`."""


@dataclass(frozen=True)
class SpatialDistanceSettings:
    """Every choice behind `spatial_distance_v1`; the defaults are the definition.

    Args:
        height: pictures higher than this are shrunk to it.
        cameras: of the generated frames: `estimated` from them, or `commanded`, which trusts the video to have obeyed.
        drop: share of the matched pixels that is left out, the least confident ones.
        truncation: tau, the largest distance of a point in radii.
        colour: κ, the root mean square difference of red, green and blue (0 to 1) that counts as much as one radius.
        smoothing: side in pixels of the mean over which colours are taken, because sampling makes single pixels differ.
        known_only: whether only pixels count that a point of the context falls on.
        points: most points that are compared, drawn evenly.
        least_share: of the scored pixels that must yield a point for there to be a figure.
        thresholds: of the F-scores, in radii.
        sweep: how depth is searched for.
    """

    height: int = 64
    cameras: Literal["estimated", "commanded"] = "estimated"
    drop: float = 0.3
    truncation: float = WORST
    colour: float = 0.25
    smoothing: int = 3
    known_only: bool = True
    points: int = 5000
    least_share: float = 0.02
    thresholds: tuple[float, ...] = (0.05, 0.1, 0.2)
    sweep: PlaneSweepSettings = field(default_factory=PlaneSweepSettings)

    def __post_init__(self):
        problems = []
        if self.cameras not in ("estimated", "commanded"):
            problems.append(f"cameras {self.cameras!r}: expected estimated or commanded")
        if not 0 <= self.drop < 1:
            problems.append(f"drop {self.drop}: expected a share from 0 to below 1")
        positive = {"truncation": self.truncation, "colour": self.colour}
        problems += [f"{name} {value}: expected above 0" for name, value in positive.items() if value <= 0]
        if problems:
            raise ValueError("; ".join(problems) + ".")


@dataclass(frozen=True)
class PointCloud:
    """Coloured points.

    Args:
        points: [P, 3] in the world.
        colours: [P, 3] from 0 to 1.
    """

    points: np.ndarray
    colours: np.ndarray

    @property
    def radius(self) -> float:
        """Median distance from the median point."""
        return float(np.median(np.linalg.norm(self.points - np.median(self.points, axis=0), axis=1)))


@dataclass(frozen=True)
class SpatialDistances:
    """Distances of generated points from the context.

    Args:
        distances: [P] in radii, from 0 to tau.
        frame: [P] which frame each point comes from.
        place: [P, 2] column and row of its pixel as shares of width and height.
        diagnostics: figures that explain the outcome.
    """

    distances: np.ndarray
    frame: np.ndarray
    place: np.ndarray
    diagnostics: dict

    def within(self, boxes: np.ndarray) -> np.ndarray:
        """[P] whether the points' pixels lie in the box of their frame; boxes [T, 4] are shares, NaN for none."""
        box = boxes[self.frame]
        return ((self.place >= box[:, :2]) & (self.place < box[:, 2:])).all(axis=1)


def unprojected(cameras: Cameras, depth: np.ndarray) -> np.ndarray:
    """World points [T, H, W, 3] of all pixels of depth maps [T, H, W] along the optical axis."""
    origins, directions = camera_rays(cameras, *depth.shape[1:])
    along = (directions * cameras.forward.float()[:, None, None]).sum(-1, keepdim=True)
    return (origins + directions / along * torch.from_numpy(np.ascontiguousarray(depth))[..., None]).numpy()


def context_points(clip: Clip, settings: SpatialDistanceSettings) -> PointCloud | str:
    """Points of the context, from its known depth or else by plane sweep.

    Args:
        clip: with context cameras.
        settings: of the picture size, the colours and the sweep.

    Returns:
        The points, or the reason why there are none.
    """
    frames, height, width = _shrunk(clip.context_frames, settings.height)
    colours = _smoothed(frames, settings.smoothing)
    if clip.context_depth is not None:
        box = centre_crop_box(*clip.context_depth.shape[1:], height, width)
        depth = resize_depth(clip.context_depth, box, height, width)
        kept = np.isfinite(depth) & (depth > 0)
        depth = np.where(kept, depth, 1)
    else:
        positions = clip.context_cameras.positions
        # How far apart the cameras are is all that is known of the size of the scene; twice that reaches its walls.
        guess = 2 * float(torch.linalg.vector_norm(positions - positions.median(0).values, dim=-1).median())
        if guess <= 0:
            return "the context has no depth, and its camera does not move"
        swept = plane_sweep(frames, clip.context_cameras, guess, list(range(len(frames))), settings.sweep)
        depth, kept = swept.depth, _confident(swept, swept.depth > 0, settings.drop)
    cloud = PointCloud(unprojected(clip.context_cameras, depth)[kept], colours[kept])
    return cloud if len(cloud.points) and cloud.radius > 0 else "nothing in the context could be given a place"


def spatial_distances(
    sample: Sample, settings: SpatialDistanceSettings = SpatialDistanceSettings(), depth_estimator: DepthEstimator | None = None
) -> SpatialDistances | Measurement:
    """Distances of the generated points from the context.

    Args:
        sample: whose clip knows the cameras of its context.
        settings: the definition.
        depth_estimator: takes the place of the plane sweep over the generated frames (a stereo network or a VGGT-class model).

    Returns:
        `SpatialDistances`, or the measurement that says why there are none.
    """
    clip = sample.clip
    if clip.context_cameras is None:
        return Measurement(None, "not_applicable", "needs the cameras of the context")
    estimated = settings.cameras == "estimated"
    cameras = sample.estimated_cameras if estimated else clip.target_cameras
    if cameras is None:
        return Measurement(None, "not_applicable", f"needs {settings.cameras} cameras")
    placed = sample.estimate.position_known if estimated else np.ones(len(cameras), dtype=bool)
    context = context_points(clip, settings)
    if isinstance(context, str):
        return Measurement.missing(context)
    radius = context.radius
    if clip.target_cameras is not None and _extent(clip.target_cameras) < 0.1 * settings.sweep.baseline * radius:
        return Measurement(None, "not_applicable", "the commanded camera only turns: nothing can be triangulated")
    if not placed[1:].any() or _extent(cameras[np.flatnonzero(placed)]) < 0.1 * settings.sweep.baseline * radius:
        return Measurement.missing("the camera of the generated frames hardly moves, or is not known: nothing can be triangulated")

    frames, height, width = _shrunk(sample.frames, settings.height)
    usable = np.flatnonzero(placed)
    scored = usable[usable > 0]  # the anchor helps to match, but is not scored
    references = np.searchsorted(usable, scored).tolist()
    try:
        if depth_estimator is None:
            swept = plane_sweep(frames[usable], cameras[usable], radius, references, settings.sweep)
        else:
            swept = depth_estimator(frames[usable], cameras[usable], references)
    except GeometryError as error:
        return Measurement.missing(str(error))
    counted = np.ones(swept.depth.shape, dtype=bool)
    # Half the size, so that the context's points leave no holes.
    shown = nearest_points(context.points, cameras[scored], (height + 1) // 2, (width + 1) // 2)[0]
    if settings.known_only:
        counted = (shown >= 0).repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
    if not counted.any():
        return Measurement.missing("the context shows nothing of what the generated frames see")
    kept = _confident(swept, counted & (swept.depth > 0), settings.drop)
    share = float(kept.sum() / counted.sum())
    diagnostics = {
        "radius": round(radius, 4), "known_share": round(float(counted.mean()), 4), "matched_share": round(share, 4),
    }  # fmt: skip
    if share < settings.least_share:
        return Measurement.missing("the generated frames have too little texture to match", diagnostics=diagnostics)
    points = unprojected(cameras[scored], swept.depth)
    view, row, column = _evenly(np.argwhere(kept), settings.points).T
    generated = PointCloud(points[view, row, column], _smoothed(frames[scored], settings.smoothing)[view, row, column])
    tree = cKDTree(_in_radii(context, radius, settings))
    distances = tree.query(_in_radii(generated, radius, settings), distance_upper_bound=settings.truncation)[0]
    # Completeness is asked of what the context shows in the very pixels that gave points.
    asked = np.unique(shown[view, row // 2, column // 2])
    diagnostics |= _f_scores(generated.points, context.points, asked[asked >= 0], radius, settings.thresholds)
    place = np.stack([(column + 0.5) / width, (row + 0.5) / height], axis=-1)
    return SpatialDistances(np.minimum(distances, settings.truncation), scored[view], place, diagnostics)


def measure_spatial_distance(
    sample: Sample, settings: SpatialDistanceSettings | None = None, depth_estimator: DepthEstimator | None = None
) -> Measurement:
    """Mean distance of what the generated frames show from the context, in radii of the scene; see the module.

    Args:
        sample: with cameras of the context.
        settings, depth_estimator: as in `spatial_distances`; without them `spatial_distance_v1`.
    """
    if settings is None and depth_estimator is None:
        result = sample.once(spatial_distances)
    else:
        result = spatial_distances(sample, settings or SpatialDistanceSettings(), depth_estimator)
    if isinstance(result, Measurement):
        return result
    by_frame = [result.distances[result.frame == index] for index in range(1, len(sample.frames))]
    per_frame = [float(values.mean()) if len(values) else None for values in by_frame]
    share = sum(value is not None for value in per_frame) / len(per_frame)
    mean = float(np.mean([value for value in per_frame if value is not None]))
    return Measurement(mean, per_frame=tuple(per_frame), diagnostics=result.diagnostics, share=share)


def _shrunk(frames: np.ndarray, most: int) -> tuple[np.ndarray, int, int]:
    height, width = frames.shape[1:3]
    if height > most:
        height, width = most, max(1, round(width * most / height))
        frames = resize_and_crop(frames, height, width)[0]
    return frames, height, width


def _smoothed(frames: np.ndarray, side: int) -> np.ndarray:
    """[T, H, W, 3] float32 colours from 0 to 1."""
    return uniform_filter(frames.astype(np.float32) / 255, (0, side, side, 0))


def _confident(swept: DepthMaps, among: np.ndarray, drop: float) -> np.ndarray:
    """Those of some pixels that are left after the least confident share of each frame is dropped."""
    least = [np.quantile(values[mask], drop) if mask.any() else 0.0 for values, mask in zip(swept.confidence, among, strict=True)]
    return among & (swept.confidence >= np.array(least)[:, None, None])


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, drawn at random but always the same: a regular step would fall in with the rows of pixels."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).choice(len(rows), most, replace=False))]


def _in_radii(cloud: PointCloud, radius: float, settings: SpatialDistanceSettings) -> np.ndarray:
    """[P, 6] places and colours in which plain distance is that of the definition."""
    return np.concatenate([cloud.points / radius, cloud.colours / (np.sqrt(3) * settings.colour)], axis=1)


def _f_scores(generated: np.ndarray, context: np.ndarray, asked: np.ndarray, radius: float, thresholds: tuple[float, ...]) -> dict:
    """F-scores of places: the harmonic mean of generated points near the context and of asked context points near them."""
    accuracy = cKDTree(context).query(generated)[0] / radius
    completeness = cKDTree(generated).query(context[asked])[0] / radius if len(asked) else np.array([np.inf])
    scores = {"median_place": round(float(np.median(accuracy)), 4)}
    for threshold in thresholds:
        precision, recall = float((accuracy < threshold).mean()), float((completeness < threshold).mean())
        scores[f"f_score_{threshold:g}"] = round(2 * precision * recall / max(precision + recall, 1e-9), 4)
    return scores


def _extent(cameras: Cameras) -> float:
    """Largest distance of a camera from the first."""
    return float(torch.linalg.vector_norm(cameras.positions - cameras.positions[0], dim=-1).max())

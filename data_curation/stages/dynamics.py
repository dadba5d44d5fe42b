"""Does something in the scene move besides the camera? People, animals and cars do not fit the geometry of two pictures.

Points are tracked between frames a fraction of a second apart. A point moves by itself if it is far from its epipolar line, or if
it would have to be behind the camera to be seen where it went. Single such points are failed tracks, so only clusters count.

The camera's motion is that of the capture's cameras where they explain most tracks; otherwise an essential matrix is fitted. It is
not a fundamental matrix, whose two more degrees of freedom are enough to explain a subject in front of a plane. Where intrinsics
are unknown, the field of view that explains the whole capture best is taken.

What moves along its epipolar lines (a car ahead of a driving camera) cannot be told from a static scene by two pictures. Other
pairs tell, as soon as either turns. Known cameras find more than fitted ones, because a fit follows a subject that fills much of a
picture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from scipy import ndimage

from data_curation.scene import Result, Scene, grey_pictures, reduced_size
from video4spatial.cameras import Cameras
from video4spatial.cameras.intrinsics import intrinsics_from_fov
from video4spatial.captures import Capture
from video4spatial.spread import thinned

FIELDS_OF_VIEW = (35.0, 45.0, 55.0, 65.0, 75.0, 90.0)  # degrees, tried where intrinsics are unknown
BORDER = 8  # pixels at the edges of a picture in which no point is chosen
WEAKEST_CORNER = 1e-4  # smaller eigenvalue of the gradients' covariance, of grey values between 0 and 1
ROUND_TRIP = 0.5  # pixels; a point tracked forth and back must return this near to its start
MODEL_PIXELS = 1.0  # inliers of the camera's motion
PRECISE_PIXELS = 0.3  # the field of view with most tracks this near is taken; a looser limit would favour one that fits what moves
FEWEST_POINTS = 40  # tracked points that a pair needs


@dataclass(frozen=True)
class DynamicsSettings:
    """How a capture is looked at.

    Args:
        pairs: most pairs of frames, evenly spread over the capture.
        seconds: between the two frames of a pair; neighbouring frames where they are further apart.
        side: longer side of the pictures in pixels; larger ones are reduced.
        cell: pixels along the sides of the cells, each of which gives the best of its points.
        residual: pixels from its epipolar line beyond which a point moves by itself, and of parallax behind the camera.
        cluster: fewest neighbouring cells that count.
    """

    pairs: int = 24
    seconds: float = 0.3
    side: int = 384
    cell: int = 9
    residual: float = 3.0
    cluster: int = 8


@dataclass(frozen=True)
class DynamicsScores:
    """What each of P pairs of frames scores; P is 0 where nothing can be said (too few frames, nothing to track).

    Args:
        frames: [P, 2] the frames of each pair.
        tracked: [P] how many cells were tracked.
        moving_share: [P] share of them in clusters that move by themselves, 0 to 1.
        tried: pairs that were looked at, with those that had too few tracks.
    """

    frames: np.ndarray
    tracked: np.ndarray
    moving_share: np.ndarray
    tried: int


@dataclass(frozen=True)
class DynamicsThresholds:
    """When a capture shows a moving subject.

    Args:
        moving_share: of a picture's tracked cells, beyond which a pair shows one.
        pairs_share: of the pairs, beyond which a capture does.
        fewest_pairs: with less evidence, nothing is flagged.
    """

    moving_share: float = 0.02
    pairs_share: float = 0.2
    fewest_pairs: int = 6


def score_dynamics(capture: Capture, settings: DynamicsSettings = DynamicsSettings()) -> DynamicsScores:
    """Judge pairs of frames of a capture, with or without cameras.

    Args:
        capture: to look at.
        settings: which pairs, and how.
    """
    pairs = _pairs(np.asarray(capture.times, dtype=np.float64), settings)
    size = reduced_size(capture, settings.side)
    frames = sorted({frame for pair in pairs for frame in pair})
    pictures = dict(zip(frames, grey_pictures(capture, frames, size), strict=True))
    tracks = [_track(pictures[first], pictures[second], settings.cell) for first, second in pairs]
    known = [place for place, track in enumerate(tracks) if track is not None]
    points = [tracks[place][:2] for place in known]
    if capture.cameras is not None:
        lenses = capture.cameras.pixel_intrinsics(size[1], size[0]).numpy()[[pairs[place][0] for place in known]]
        motions = [_essential(capture.cameras, *pairs[place]) for place in known]
        fitted = [[_residuals(*moved, lens, motion) for moved, lens, motion in zip(points, lenses, motions)]]
    else:
        scale = np.array([[size[0]], [size[1]], [1]])
        lenses = [intrinsics_from_fov(degrees, size[0] / size[1]).numpy() * scale for degrees in FIELDS_OF_VIEW]
        fitted = [[_residuals(*moved, lens) for moved in points] for lens in lenses]
    best = max(fitted, key=lambda residuals: sum((residual < PRECISE_PIXELS).mean() for residual in residuals))
    shares = [_clustered(tracks[place][2][residual > settings.residual], settings.cluster) / len(residual)
              for place, residual in zip(known, best)]  # fmt: skip
    return DynamicsScores(
        frames=np.array([pairs[place] for place in known], dtype=int).reshape(-1, 2),
        tracked=np.array([len(tracks[place][2]) for place in known], dtype=int),
        moving_share=np.array(shares, dtype=np.float64),
        tried=len(pairs),
    )


def moving_subject(scores: DynamicsScores, thresholds: DynamicsThresholds = DynamicsThresholds()) -> bool:
    """Whether something moves in enough of the pairs; never without evidence.

    Args:
        scores: of the pairs.
        thresholds: what is enough.
    """
    if len(scores.moving_share) < thresholds.fewest_pairs:
        return False
    return bool((scores.moving_share > thresholds.moving_share).mean() > thresholds.pairs_share)


def _pairs(times: np.ndarray, settings: DynamicsSettings) -> list[tuple[int, int]]:
    """Pairs of frames `settings.seconds` apart, or neighbours where frames are further apart."""
    pairs = []
    if len(times) > 1:
        last = max(int(np.searchsorted(times, times[-1] - settings.seconds, side="right")) - 1, 0)
        for first in thinned(min(last, len(times) - 2) + 1, settings.pairs):
            pairs.append((first, max(int(np.abs(times - times[first] - settings.seconds).argmin()), first + 1)))
    return pairs


def _track(first: np.ndarray, second: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The best corner of every cell and where it went: points [N, 2] of both pictures and cells [N, 2], or None for too few."""
    rows, columns = (length // cell for length in first.shape)
    strength = cv2.cornerMinEigenVal(first, 5)
    inside = np.zeros_like(strength)
    inside[BORDER:-BORDER, BORDER:-BORDER] = 1
    strength = (strength * inside)[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    strength = strength.swapaxes(1, 2).reshape(rows, columns, cell * cell)
    cells = np.argwhere((strength > WEAKEST_CORNER).any(axis=-1))
    if len(cells) < FEWEST_POINTS:
        return None
    places = np.stack(np.divmod(strength[tuple(cells.T)].argmax(axis=-1), cell), axis=-1)
    points = np.ascontiguousarray((cells * cell + places)[:, ::-1], dtype=np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, winSize=(15, 15), maxLevel=4)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(second, first, moved, None, winSize=(15, 15), maxLevel=4)
    good = (found & returned).ravel().astype(bool) & (np.linalg.norm(back - points, axis=-1) < ROUND_TRIP)
    good &= ((moved >= 0) & (moved <= np.array(first.shape[::-1]) - 1)).all(axis=-1)
    if good.sum() < FEWEST_POINTS:
        return None
    # OpenCV counts from the centre of the first pixel.
    return points[good].astype(np.float64) + 0.5, moved[good].astype(np.float64) + 0.5, cells[good]


def _essential(cameras: Cameras, first: int, second: int) -> np.ndarray:
    """The essential matrix [3, 3] of two frames' cameras; all zero where they stand at one place."""
    motion = (cameras.world_to_camera[second] @ cameras.camera_to_world[first]).numpy()
    x, y, z = motion[:3, 3]
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ motion[:3, :3]


def _fit(points: np.ndarray, moved: np.ndarray, intrinsics: np.ndarray) -> np.ndarray | None:
    """The essential matrix [3, 3] that explains most tracks, or None."""
    try:
        essential, _ = cv2.findEssentialMat(points, moved, intrinsics, cv2.USAC_MAGSAC, 0.999, MODEL_PIXELS)
    except cv2.error:  # raised, instead of finding nothing, where every sample of points was degenerate
        return None
    return essential if essential is not None and essential.shape == (3, 3) else None


def _residuals(points: np.ndarray, moved: np.ndarray, intrinsics: np.ndarray, essential: np.ndarray | None = None) -> np.ndarray:
    """[N] how far tracks are from a motion of the camera, in pixels; all zero where no motion is found.

    Args:
        points, moved: [N, 2] pixels of both pictures.
        intrinsics: [3, 3] in pixels.
        essential: [3, 3] of known cameras, which is not believed unless it explains most tracks.
    """
    if essential is not None and essential.any():
        residuals = _misfit(points, moved, intrinsics, essential)
        if np.median(residuals) < MODEL_PIXELS:
            return residuals
    essential = _fit(points, moved, intrinsics)
    return np.zeros(len(points)) if essential is None else _misfit(points, moved, intrinsics, essential)


def _misfit(points: np.ndarray, moved: np.ndarray, intrinsics: np.ndarray, essential: np.ndarray) -> np.ndarray:
    """[N] Sampson distances in pixels; for points that would have to be behind a camera, their parallax if that is larger."""
    ones, inverse = np.ones((len(points), 1)), np.linalg.inv(intrinsics)
    fundamental = inverse.T @ essential @ inverse
    lines = np.hstack([points, ones]) @ fundamental.T
    others = np.hstack([moved, ones]) @ fundamental
    product = (np.hstack([moved, ones]) * lines).sum(axis=1)
    length = np.linalg.norm(np.hstack([lines[:, :2], others[:, :2]]), axis=1)
    sampson = np.abs(product) / np.maximum(length, 1e-12 * np.abs(fundamental).max())  # 0 on both epipoles

    rays, other_rays = (np.hstack([pixels, ones]) @ inverse.T for pixels in (points, moved))
    rays, other_rays = (ray / np.linalg.norm(ray, axis=1, keepdims=True) for ray in (rays, other_rays))
    behind = []
    first, second, translation = cv2.decomposeEssentialMat(essential)
    for rotation in (first, second):
        turned = rays @ rotation.T
        cosine, along, other_along = (turned * other_rays).sum(axis=1), turned @ translation[:, 0], other_rays @ translation[:, 0]
        parallax = np.linalg.norm(turned - other_rays, axis=1) * intrinsics[0, 0]
        # Distances of the point from both cameras, but for a positive factor; the other translation changes both signs.
        near, far = cosine * other_along - along, other_along - cosine * along
        behind += [np.where(np.minimum(near * sign, far * sign) < 0, parallax, 0) for sign in (1, -1)]
    return np.maximum(sampson, min(behind, key=np.sum))


def _clustered(cells: np.ndarray, fewest: int) -> int:
    """How many of the cells [N, 2] lie in clusters of at least `fewest` neighbours."""
    if not len(cells):
        return 0
    grid = np.zeros(cells.max(axis=0) + 1, dtype=bool)
    grid[tuple(cells.T)] = True
    labels, _ = ndimage.label(grid, np.ones((3, 3)))
    counts = np.bincount(labels.ravel())[1:]
    return int(counts[counts >= fewest].sum())


def run_scores(scene: Scene, settings: DynamicsSettings) -> Result:
    """The stage `dynamics_scores`.

    Args:
        scene: under way.
        settings: how pairs of frames are looked at.
    """
    scores = score_dynamics(scene.recording, settings)
    return Result({name: np.asarray(value).tolist() for name, value in asdict(scores).items()}, "pairs", len(scores.moving_share))


def run(scene: Scene, thresholds: DynamicsThresholds) -> Result:
    """The stage `dynamics`: a moving subject ends the scene.

    Args:
        scene: under way, with `dynamics_scores`.
        thresholds: when a subject moves.
    """
    stored = scene.done["dynamics_scores"]
    arrays = {name: np.array(stored[name]) for name in ("frames", "tracked", "moving_share")}
    if not moving_subject(DynamicsScores(**arrays, tried=stored["tried"]), thresholds):
        return Result()
    return Result({}, "captures", 0, {"moving_subject": 1}, "moving_subject")

"""Depth that is about right made exact: around what an estimator says, the depth is searched for at which other frames look the same.

Unlike in a plane sweep the window lies on the surface that the estimator sees, slanted or bent, and only depths near it are tried. So
walls without texture keep what was estimated, and what has texture becomes sharp.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.geometry.pieces import for_each
from video4spatial.geometry.plane_sweep import WINDOW_HEIGHT, WORKING_SIDE, PlaneSweepSettings, neighbours, warps
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.geometry.sweep_kernels import best_factor, sweep

NEIGHBOURS = PlaneSweepSettings(views=4, baseline=0.14, most_turned=60.0)
"""Frames that a frame is compared with; the baseline in units of its median depth."""


@dataclass(frozen=True)
class PolishSettings:
    """How depth is searched for.

    Args:
        span: largest change, as a logarithm.
        steps: odd number of depths that are tried, evenly spread in logarithm.
        window: side of the square over which colours are compared, in pixels where the smaller side has `WINDOW_HEIGHT`.
        reluctance: grey levels of 255 by which each step away from the estimate must pay off.
        agreeing: of the other frames, how many must agree.
        apart: steps from the best one on from which another depth is a rival.
    """

    span: float = 0.3
    steps: int = 25
    window: int = 7
    reluctance: float = 0.15
    agreeing: int = 2
    apart: int = 5


def polished(
    frames: np.ndarray, cameras: Cameras, maps: DepthMaps, references: list[int], settings: PolishSettings = PolishSettings()
) -> DepthMaps:
    """Depth maps made exact where other frames show how.

    Args:
        frames: [N, H, W, 3] uint8 of one scene.
        cameras: N cameras.
        maps: depth of the R frames in `references`, in the unit of the cameras. Maps of more pixels than a square of `WORKING_SIDE`
            stay as they are.
        settings: how depth is searched for.

    Returns:
        Depth of the same size. Confidence follows what the other frames say; where a frame has no neighbours it is the estimator's.
    """
    height, width = maps.depth.shape[1:]
    if height * width > WORKING_SIDE**2:
        return maps
    pictures = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]).astype(np.float32)
    reach = max(round((settings.window * min(height, width) / WINDOW_HEIGHT - 1) / 2), 1)
    factors = np.linspace(-settings.span, settings.span, settings.steps).astype(np.float32)
    step, factors = factors[1] - factors[0], np.exp(factors)
    depth, confidence = np.array(maps.depth, np.float32), np.array(maps.confidence, np.float32)

    def search(place: int) -> None:
        known = depth[place] > 0
        others = neighbours(cameras, references[place], float(np.median(depth[place][known])), NEIGHBOURS) if known.any() else []
        if not others:
            return
        inverse = np.where(known, 1 / np.where(known, depth[place], 1), 0).astype(np.float32)
        volume, margin = np.empty((settings.steps, height, width), np.float32), np.empty((height, width), np.float32)
        turned, moved = warps(cameras, references[place], others, height, width)
        sweep(pictures[references[place]], pictures[others], turned, moved, inverse, factors, reach, settings.agreeing, volume)
        best_factor(volume, step, np.float32(settings.reluctance), settings.apart, depth[place], margin)
        confidence[place] = _surer(confidence[place], margin)

    for_each(len(references), settings.steps * NEIGHBOURS.views * height * width, search)
    return DepthMaps(depth, confidence, maps.reasons)


def _surer(confidence: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """The probability that depth is right to within 10 %, of what the estimator said and of how much the best depth beats others.

    Logistic, fitted to the stereo network on rooms. Where nothing could be told (-1), the estimator is believed a little less.
    """
    odds = np.log(np.clip(confidence, 0.02, 0.98) / (1 - np.clip(confidence, 0.02, 0.98)))
    odds = np.where(margin >= 0, 1.3 * odds + 0.5 + 4.2 * margin, odds - 0.8)
    return np.where(confidence > 0, 1 / (1 + np.exp(-odds)), 0)

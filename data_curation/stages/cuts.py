"""Where a video changes to another shot. Captures have no cuts; films, tours and compilations do.

The score is that of Koala-36M (arXiv 2410.08260, its published weights): correlation of colour histograms and similarity of edge
pictures of neighbouring frames, weighed by a linear classifier made for video rate. Captures at a few frames per second score below
its threshold all along, so a cut must also stand out from the frames around it. Where cameras are known they tell jumps better
(`pose_quality`).
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from kornia.metrics import ssim

from data_curation.scene import Result, Scene
from video4spatial.captures import Capture

HISTOGRAM_WEIGHT, EDGE_WEIGHT, BIAS = 4.615, 3.752, -5.486
SIDE = 128
BATCH = 32
NEIGHBOURS = 5  # frames on either side that a cut must stand out from
MARGIN = 2.0  # by how much


def cut_scores(capture: Capture) -> np.ndarray:
    """How alike each frame is to the one before.

    Args:
        capture: N frames.

    Returns:
        [N] from about -5.5 (nothing in common) to 2.9; infinity for the first frame.
    """
    scores = [np.inf]
    before = None
    factor = min(1.0, SIDE / max(capture.height, capture.width))
    size = max(1, round(capture.width * factor)), max(1, round(capture.height * factor))
    for start in range(0, len(capture), BATCH):
        for picture in capture.read_frames(range(start, min(start + BATCH, len(capture)))):
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            histograms = [cv2.calcHist([small], [channel], None, [64], [0, 256]) for channel in range(3)]
            edges = torch.from_numpy(cv2.Canny(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), 100, 200))[None, None].float() / 255
            if before is not None:
                pairs = zip(before[0], histograms)
                histogram = np.mean([cv2.compareHist(a, b, cv2.HISTCMP_CORREL) for a, b in pairs])
                edge = float(ssim(before[1], edges, 11).mean())
                scores.append(HISTOGRAM_WEIGHT * histogram + EDGE_WEIGHT * edge + BIAS)
            before = histograms, edges
    return np.array(scores[: len(capture)])


def shots(scores: np.ndarray, least_frames: int = 2) -> list[range]:
    """Stretches between cuts.

    Args:
        scores: [N] of `cut_scores`.
        least_frames: shorter stretches are left out.
    """
    cuts = []
    for index in np.flatnonzero(scores < 0):
        around = np.r_[scores[max(index - NEIGHBOURS, 0) : index], scores[index + 1 : index + 1 + NEIGHBOURS]]
        around = around[np.isfinite(around)]
        if not len(around) or scores[index] < np.median(around) - MARGIN:
            cuts.append(int(index))
    starts = [0, *cuts, len(scores)]
    return [range(a, b) for a, b in zip(starts, starts[1:]) if b - a >= least_frames]


def run(scene: Scene) -> Result:
    """The stage `cuts`: the shots of captures without cameras. The others are one shot: cameras tell jumps better (`pose_quality`).

    Args:
        scene: under way.
    """
    capture = scene.recording
    found = shots(cut_scores(capture), 1) if capture.cameras is None else [range(len(capture))]
    return Result({"shots": [[shot.start, shot.stop] for shot in found]}, "shots", len(found))

"""SIFT points of small pictures and their matches, for the estimators that work by correspondences."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 256
"""Pictures whose longer side is smaller are enlarged to it before looking for points."""

FEATURES = 1000
"""Most points of a picture."""

CONTRAST = 0.01
"""Of OpenCV's SIFT, a quarter of its default: enlarged pictures are smooth."""

RATIO = 0.8
"""Lowe's test: the best match must be nearer than this share of the second best."""

SMALLEST_SIDE = 16
"""Pictures with a shorter side in pixels are too small for SIFT."""


@dataclass(frozen=True)
class Features:
    """SIFT points of one picture.

    Args:
        points: [P, 2] pixels of the picture as given, counted from the corner of the first pixel.
        descriptors: [P, 128] float32 of unit length.
    """

    points: np.ndarray
    descriptors: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


def find_features(picture: np.ndarray, side: int = SIDE) -> Features:
    """SIFT points, root-normalised (Arandjelović and Zisserman, CVPR 2012); none in pictures that show nothing.

    Args:
        picture: [H, W, 3] uint8.
        side: a picture whose longer side is smaller is enlarged to it.
    """
    height, width = picture.shape[:2]
    none = Features(np.zeros((0, 2)), np.zeros((0, 128), dtype=np.float32))
    if min(height, width) < SMALLEST_SIDE:
        return none
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    factor = max(1.0, side / max(height, width))
    if factor > 1:
        grey = cv2.resize(grey, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_CUBIC)
    # Without the precise upscale, points of the doubled first octave are off by a quarter of a pixel.
    sift = cv2.SIFT_create(nfeatures=FEATURES, contrastThreshold=CONTRAST, enable_precise_upscale=True)
    points, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:
        return none
    # OpenCV counts from the centre of the first pixel.
    places = (np.array([point.pt for point in points]) + 0.5) * [width / grey.shape[1], height / grey.shape[0]]
    roots = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-9))
    return Features(places, roots.astype(np.float32))


def match(first: Features, second: Features) -> np.ndarray:
    """Pairs of indices [M, 2] of points that are each other's nearest and pass Lowe's test, one per point."""
    if min(len(first), len(second)) < 2:
        return np.zeros((0, 2), dtype=int)
    similarity = first.descriptors @ second.descriptors.T  # [P, Q] cosine
    rows = np.arange(len(first))
    best = similarity.argmax(1)
    mutual = similarity.argmax(0)[best] == rows
    nearest = similarity[rows, best]
    similarity[rows, best] = -1.0
    # For unit vectors the squared distance is 2 - 2 cos.
    distinct = 2 - 2 * nearest < RATIO**2 * (2 - 2 * similarity.max(1))
    good = np.flatnonzero(mutual & distinct)
    return np.stack([good, best[good]], axis=1)


def rays(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Points [M, 2] in pixels as [M, 2] on the plane at depth 1, by intrinsics [3, 3] in the same pixels."""
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return (homogeneous @ np.linalg.inv(intrinsics).T)[:, :2]

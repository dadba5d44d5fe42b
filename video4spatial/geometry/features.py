"""SIFT points of pictures (Lowe, IJCV 2004) and their matches; small pictures are enlarged first."""

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 256
"""Pixels. A picture whose longer side is smaller is enlarged to it before points are looked for."""

FEATURES = 1000
"""Most points of a picture."""

CONTRAST = 0.01
"""Least contrast of a point, a quarter of OpenCV's default: enlarged pictures are smooth."""

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
    """SIFT points with root-normalised descriptors (Arandjelović and Zisserman, CVPR 2012).

    Args:
        picture: [H, W, 3] uint8.
        side: a picture whose longer side is smaller is enlarged to it.

    Returns:
        At most `FEATURES` points; none in pictures that are tiny or show nothing.
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
    """Points of two pictures that are each other's nearest and pass Lowe's test.

    Args:
        first, second: points of P and Q.

    Returns:
        Pairs of indices [M, 2]; each point stands in one pair at most.
    """
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


def matched_points(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where SIFT finds the same things in two pictures, by `find_features` and `match`.

    Args:
        first, second: [H, W, 3] uint8.

    Returns:
        Two arrays [M, 2] of pixels, counted from the corner of the first pixel.
    """
    features = find_features(first), find_features(second)
    pairs = match(*features)
    return features[0].points[pairs[:, 0]], features[1].points[pairs[:, 1]]


def plain_matches(
    first: np.ndarray, second: np.ndarray, features: int = 2000, ratio: float = 0.75
) -> tuple[np.ndarray, np.ndarray]:
    """As `matched_points`, by OpenCV's own SIFT and Lowe's test alone: more matches, more of them wrong.

    The figures and thresholds of curation's epipolar check were measured with these.

    Args:
        first, second: [H, W] uint8 grey, taken at their own size.
        features: most points of a picture.
        ratio: the best match must be nearer than this share of the second best.

    Returns:
        Two arrays [M, 2] of pixels, counted from the corner of the first pixel.
    """
    sift = cv2.SIFT_create(features)
    (points, descriptors), (others, other_descriptors) = (sift.detectAndCompute(picture, None) for picture in (first, second))
    if descriptors is None or other_descriptors is None or len(others) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    candidates = cv2.BFMatcher().knnMatch(descriptors, other_descriptors, k=2)
    good = [best for best, second_best in candidates if best.distance < ratio * second_best.distance]
    # OpenCV counts from the centre of the first pixel.
    left = np.array([points[match.queryIdx].pt for match in good]).reshape(-1, 2) + 0.5
    right = np.array([others[match.trainIdx].pt for match in good]).reshape(-1, 2) + 0.5
    return left, right


def rays(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Where the rays through pixels meet the plane at depth 1.

    Args:
        points: [M, 2] pixels.
        intrinsics: [3, 3] in the same pixels.

    Returns:
        [M, 2].
    """
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return (homogeneous @ np.linalg.inv(intrinsics).T)[:, :2]

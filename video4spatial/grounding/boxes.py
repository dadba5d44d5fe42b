"""Boxes: upright ones in space, around points, and what pictures show of them."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras, project_points
from video4spatial.captures import SceneObject

OUTLIERS = 0.02
"""Share of points at each end of an axis that a fitted box leaves out."""


def fitted_box(points: np.ndarray, label: str = "object", least: float = 1e-3) -> SceneObject:
    """The upright box of least area in plan around points, but for outliers.

    Args:
        points: [P, 3] in a world whose third axis points up, at least one.
        label: of the object.
        least: extent that no side falls below, in the unit of the points.
    """
    flat = points[:, :2].astype(np.float64)
    middle = np.median(flat, axis=0)
    away = np.linalg.norm(flat - middle, axis=1)
    kept = flat[away <= np.quantile(away, 1 - OUTLIERS)]
    _, _, degrees = cv2.minAreaRect((kept - middle).astype(np.float32))
    yaw = float(np.deg2rad(degrees))
    axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    turned = np.column_stack([flat @ axes.T, points[:, 2]])
    low, high = np.quantile(turned, (OUTLIERS, 1 - OUTLIERS), axis=0)
    centre = (low + high) / 2
    place = np.append(axes.T @ centre[:2], centre[2])
    size = np.maximum(high - low, least)
    return SceneObject(label, 0, tuple(place.tolist()), tuple(size.tolist()), yaw)


def within(item: SceneObject, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Which points lie in an object's box.

    Args:
        item: in the world of the points, whose third axis points up.
        points: [..., 3].
        margin: by which the box is larger on every side.

    Returns:
        [...] bool.
    """
    x, y, z = np.moveaxis(points - np.array(item.center), -1, 0)
    cosine, sine = np.cos(item.yaw), np.sin(item.yaw)
    half = np.array(item.size) / 2 + margin
    return (np.abs(x * cosine + y * sine) <= half[0]) & (np.abs(y * cosine - x * sine) <= half[1]) & (np.abs(z) <= half[2])


def projected_boxes(item: SceneObject, cameras: Cameras) -> np.ndarray:
    """Boxes around an object's box in pictures.

    Args:
        item: in the world of the cameras.
        cameras: T cameras.

    Returns:
        [T, 4] left, top, right and bottom as shares, cut off at the picture's edges; NaN where it is out of the picture or the
        camera stands in it.
    """
    corners = item.corners()
    pixels, depth = (values.numpy() for values in project_points(cameras, torch.from_numpy(corners), 1, 1))
    boxes = np.concatenate([pixels.min(1), pixels.max(1)], axis=1)
    # A corner behind the camera projects anywhere; points spread over the box say where what is before it appears.
    for view in np.flatnonzero((depth <= 0.05).any(1) & (depth > 0.05).any(1)):
        weights = np.random.default_rng(0).dirichlet(np.full(8, 0.2), 2000)
        spread = torch.from_numpy(weights @ corners)
        inner, along = (values.numpy()[0] for values in project_points(cameras[int(view)], spread, 1, 1))
        inner = inner[along > 0.05]
        boxes[view] = np.concatenate([inner.min(0), inner.max(0)]) if len(inner) else np.nan
    boxes = boxes.clip(0, 1)
    in_picture = (depth > 0.05).any(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    return np.where(in_picture[:, None], boxes, np.nan)


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes.

    Args:
        first, second: [K, 4] left, top, right and bottom; NaN for none.

    Returns:
        [K] shares: 0 where only one box is known, NaN where neither is.
    """
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    common = (high - low).clip(min=0).prod(axis=1)
    union = sum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)) - common
    known = [np.isfinite(boxes).all(axis=1) for boxes in (first, second)]
    return np.where(known[0] & known[1], common / np.maximum(union, 1e-9), np.where(known[0] | known[1], 0.0, np.nan))

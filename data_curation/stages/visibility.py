"""How well each frame of a capture shows each object.

Three ways, the best that the capture allows for all its frames: `instances` counts the pixels of instance pictures at full size; `depth`
counts pixels of thinned depth maps whose surface point lies in the object's box (in the smallest box, where boxes overlap); `box` projects
the box alone, so that nothing hides anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy import ndimage

from video4spatial.captures import Capture

SIDE = 96  # pixels along the longer side of the depth maps that are looked through
BATCH = 32
MARGIN = 0.03  # of a box's diagonal, by which it is widened: boxes and sensors are not exact
NEAR = 0.05  # of a box's diagonal: what is nearer to the camera than this is cut off
WHOLE = 0.8  # share of a projected box that must lie in the picture for its fill to be judged
LEAST_HULL = 0.002  # share of the picture that it must cover
LEAST_FILL = 0.25
EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1])
"""Pairs of corners (in the order of `SceneObject.corners`) along the twelve edges of a box."""


@dataclass(frozen=True)
class Visibility:
    """What O objects look like in N frames.

    Args:
        objects: their indices in `capture.objects`.
        frames: indices of the frames.
        area: [O, N] share of the picture that the object covers, 0 where it is out of sight.
        visible: [O, N] share of the object that is in sight, 0 to 1: its pixels over those that it would have, unhidden and in a picture
            without edges. Those are the area of its projected box times the object's fill, the largest share of that area that it
            covers in any frame with (nearly) the whole box in the picture; a table or a lamp never fills its box.
        boxes: [O, N, 4] left, top, right, bottom of what is seen, as shares of width and height; NaN where it is out of sight.
        distance: [O, N] from the camera to the middle of the object's box, in the unit of the cameras.
        angle: [O, N] degrees between the viewing direction and the way to the middle of the object's box.
        method: how it was measured.
    """

    objects: tuple[int, ...]
    frames: tuple[int, ...]
    area: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    distance: np.ndarray
    angle: np.ndarray
    method: Literal["instances", "depth", "box"]

    @property
    def offset(self) -> np.ndarray:
        """[O, N, 2] from the middle of the picture to the middle of the box, as shares of width and height; NaN where out of sight."""
        return (self.boxes[..., :2] + self.boxes[..., 2:]) / 2 - 0.5


def object_visibility(capture: Capture, objects: Sequence[int], frames: Sequence[int] | None = None) -> Visibility:
    """Measure how well frames show objects; every frame is read once.

    Args:
        capture: with cameras and objects.
        objects: indices in `capture.objects`.
        frames: indices; all by default. Fill is judged over these frames.

    Raises:
        ValueError: for a capture without cameras.
    """
    if capture.cameras is None:
        raise ValueError(f"capture {capture.name!r} has no cameras: where objects are in its pictures is not known")
    objects = tuple(map(int, objects))
    frames = tuple(range(len(capture)) if frames is None else map(int, frames))
    hulls, inside, boxes = _projected(capture, objects, frames)
    area, method = inside, "box"
    if capture.read_instances is not None:
        method = "instances"
    elif capture.read_depth is not None:
        method = "depth"
    if method != "box" and objects:
        area, boxes = np.zeros_like(inside), np.full_like(boxes, np.nan)
        pictures = _instance_pictures(capture, objects, frames) if method == "instances" else _depth_pictures(capture, objects, frames)
        for column, picture in enumerate(pictures):
            area[:, column], boxes[:, column] = _measured(picture, len(objects))
    whole = (inside >= WHOLE * hulls) & (hulls >= LEAST_HULL)
    shares = np.divide(area, hulls, out=np.zeros_like(area), where=hulls > 0)
    fill = np.where(whole.any(axis=1), np.where(whole, shares, 0).max(axis=1, initial=0), 1).clip(LEAST_FILL, 1)
    to_object = np.array([capture.objects[index].center for index in objects]).reshape(-1, 1, 3) - _of(capture.cameras.positions, frames)
    distance = np.linalg.norm(to_object, axis=-1)
    cosine = (to_object * _of(capture.cameras.forward, frames)).sum(-1) / np.maximum(distance, 1e-9)
    return Visibility(
        objects=objects,
        frames=frames,
        area=area,
        visible=(shares / fill[:, None]).clip(0, 1),
        boxes=boxes,
        distance=distance,
        angle=np.degrees(np.arccos(cosine.clip(-1, 1))),
        method=method,
    )


def _of(values, frames: tuple[int, ...]) -> np.ndarray:
    return values.numpy()[list(frames)]


def _measured(picture: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Areas [count] and boxes [count, 4] of the numbers 1 to `count` in a picture."""
    height, width = picture.shape
    boxes = np.full((count, 4), np.nan)
    for row, place in enumerate(ndimage.find_objects(picture, count)):
        if place is not None:
            rows, columns = place
            boxes[row] = columns.start / width, rows.start / height, columns.stop / width, rows.stop / height
    return np.bincount(picture.ravel(), minlength=count + 1)[1:] / picture.size, boxes


def _instance_pictures(capture: Capture, objects: tuple[int, ...], frames: tuple[int, ...]) -> Iterator[np.ndarray]:
    """For every frame the picture of the objects' places in `objects`, from 1 on."""
    ids = [capture.objects[index].instance_id for index in objects]
    table = np.zeros(max(ids, default=0) + 2, dtype=np.int32)
    table[ids] = np.arange(1, len(ids) + 1)
    for start in range(0, len(frames), BATCH):
        for picture in capture.read_instances(frames[start : start + BATCH]):
            yield table[picture.clip(0, len(table) - 1)]


def _depth_pictures(capture: Capture, objects: tuple[int, ...], frames: tuple[int, ...]) -> Iterator[np.ndarray]:
    """As `_instance_pictures`, from depth: a surface belongs to the smallest box around it, of whatever object of the capture."""
    order = sorted(range(len(capture.objects)), key=lambda index: np.prod(capture.objects[index].size))
    numbers = np.array([objects.index(index) + 1 if index in objects else 0 for index in order] + [0], dtype=np.int32)
    items = [capture.objects[index] for index in order]
    centres = np.array([item.center for item in items])
    cosine, sine = np.cos([item.yaw for item in items]), np.sin([item.yaw for item in items])
    halves = np.array([item.size for item in items]) / 2
    margins = MARGIN * 2 * np.linalg.norm(halves, axis=1)
    # The bottom is raised rather than lowered: what the object stands on is not the object.
    bottoms = -halves[:, 2] + np.minimum(margins, halves[:, 2] / 2)
    for start in range(0, len(frames), BATCH):
        batch = frames[start : start + BATCH]
        for frame, depth in zip(batch, capture.read_depth(batch)):
            step = max(1, max(depth.shape) // SIDE)
            rows, columns = np.arange(step // 2, depth.shape[0], step), np.arange(step // 2, depth.shape[1], step)
            depths = depth[np.ix_(rows, columns)]
            camera = capture.cameras[frame]
            x, y = np.meshgrid((columns + 0.5) / depth.shape[1], (rows + 0.5) / depth.shape[0])
            rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ np.linalg.inv(camera.intrinsics[0].numpy()).T
            pose = camera.camera_to_world[0].numpy()
            points = (rays * depths.reshape(-1, 1)) @ pose[:3, :3].T + pose[:3, 3]
            x, y, z = (points[:, None] - centres).transpose(2, 0, 1)  # [P, objects] each
            within = np.abs(x * cosine + y * sine) <= halves[:, 0] + margins
            within &= np.abs(y * cosine - x * sine) <= halves[:, 1] + margins
            within &= (z <= halves[:, 2] + margins) & (z >= bottoms) & (depths.reshape(-1, 1) > 0)
            first = np.where(within.any(axis=1), within.argmax(axis=1), len(order))
            yield numbers[first].reshape(depths.shape)


def _projected(capture: Capture, objects: tuple[int, ...], frames: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Areas [O, N] of the projected boxes, of their parts in the picture, and the boxes [O, N, 4] around those parts."""
    shape = len(objects), len(frames)
    hulls, inside, boxes = np.zeros(shape), np.zeros(shape), np.full((*shape, 4), np.nan)
    picture = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    to_camera, intrinsics = _of(capture.cameras.world_to_camera, frames), _of(capture.cameras.intrinsics, frames)
    for row, index in enumerate(objects):
        item = capture.objects[index]
        near = NEAR * float(np.linalg.norm(item.size))
        corners = item.corners() @ to_camera[:, :3, :3].transpose(0, 2, 1) + to_camera[:, None, :3, 3]  # [N, 8, 3]
        for column in np.flatnonzero(corners[..., 2].max(axis=1) > near):
            points = _in_front(corners[column], near) @ intrinsics[column].T
            hull = cv2.convexHull((points[:, :2] / points[:, 2:]).astype(np.float32))
            hulls[row, column] = cv2.contourArea(hull)
            inside[row, column], part = cv2.intersectConvexConvex(hull, picture)
            if inside[row, column] > 0:
                part = part.reshape(-1, 2)
                boxes[row, column] = *part.min(axis=0), *part.max(axis=0)
    return hulls, inside, boxes


def _in_front(corners: np.ndarray, near: float) -> np.ndarray:
    """Corners [P, 3] of the part of a box [8, 3] that lies beyond the near plane."""
    depth = corners[:, 2]
    first, second = EDGES[(depth[EDGES[:, 0]] > near) != (depth[EDGES[:, 1]] > near)].T
    weight = ((near - depth[first]) / (depth[second] - depth[first]))[:, None] if len(first) else np.zeros((0, 1))
    return np.concatenate([corners[depth > near], corners[first] + weight * (corners[second] - corners[first])])

"""From a row of the manifest and its capture to a clip with pixels: pictures cropped and resized, cameras and boxes following."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from video4spatial.cameras import centre_crop_box
from video4spatial.captures import Capture, SceneObject
from video4spatial.clips.clip import Clip
from video4spatial.clips.cropping import crop_view, resize_depth
from video4spatial.clips.instruction import Ground, Navigate
from video4spatial.clips.regions import Region
from video4spatial.clips.manifest import ClipRow
from video4spatial.media import resize_and_crop

BATCH = 32  # frames that are held at the capture's own size


def clip_from_capture(row: ClipRow, capture: Capture, height: int, width: int) -> Clip:
    """Read the pixels of a clip.

    Args:
        row: which frames, and everything else.
        capture: that the row was made from.
        height, width: of the clip's pictures; the capture's are cropped centrally to that aspect.

    Raises:
        ValueError: where the capture is not the one that the row was made from.
    """
    last = max(*row.context_frames, *row.target_frames)
    if (capture.height, capture.width) != (row.height, row.width) or last >= len(capture):
        raise ValueError(
            f"clip {row.key} was made from {row.height}x{row.width} pictures and frames up to {last}, but {row.scene} has "
            f"{len(capture)} frames of {capture.height}x{capture.width}: the capture has changed; build the data set again."
        )
    frames, where = np.unique([*row.context_frames, *row.target_frames], return_inverse=True)
    box = centre_crop_box(row.height, row.width, height, width)
    batches = [frames[start : start + BATCH].tolist() for start in range(0, len(frames), BATCH)]
    pictures = np.concatenate([resize_and_crop(capture.read_frames(batch), height, width)[0] for batch in batches])
    depth = None
    if capture.read_depth is not None:
        maps = [resize_depth(capture.read_depth(batch), box, height, width) for batch in batches]
        depth = np.concatenate(maps) * np.float32(row.scale)
    context, target = where[: len(row.context_frames)], where[len(row.context_frames) :]
    context_cameras, target_cameras = (part.scaled(row.scale, metric=row.metric) for part in row.cameras)
    if row.kind == "navigation":
        instruction = Navigate(target_cameras)
    else:
        region = Region(row.region_frame, row.region_box) if row.region_frame >= 0 else None
        instruction = Ground(row.texts[0] if row.texts else None, region)
    clip = Clip(
        name=row.key,
        scene=row.space,
        context_frames=pictures[context],
        context_times=np.array(row.context_times),
        instruction=instruction,
        anchor=row.anchor,
        context_cameras=context_cameras,
        context_depth=None if depth is None else depth[context],
        target_frames=pictures[target],
        target_depth=None if depth is None else depth[target],
        target_cameras=target_cameras,
        target_boxes=row.boxes if len(row.boxes) else None,
        target_object=_object(row, capture),
        provenance={
            "source": "curation", "kind": row.kind, "split": row.split, "capture": row.capture, "reader": row.reader,
            "scene": row.scene, "content": row.content, "licence": row.licence, "origin": row.origin,
            "context_frames": list(row.context_frames), "target_frames": list(row.target_frames), "label": row.label,
            "coverage": row.coverage, "coverage_method": row.coverage_method, "texts": list(row.texts),
        },
    )  # fmt: skip
    return clip.viewed(**crop_view(box, row.height, row.width))


def _object(row: ClipRow, capture: Capture) -> SceneObject | None:
    """The object to find, in the lengths of the clip.

    None for navigation, and in worlds whose third axis is not up, since its box stands upright on that axis.
    """
    found = [item for item in capture.objects if item.instance_id == row.instance_id] if row.kind == "grounding" else []
    if not found or capture.up_axis != (0.0, 0.0, 1.0):
        return None
    center, size = (tuple(row.scale * value for value in values) for values in (found[0].center, found[0].size))
    return replace(found[0], center=center, size=size)

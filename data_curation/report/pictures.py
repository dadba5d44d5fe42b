"""Clips, frames that were left out, and scenes that were left out, in pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_curation.records import SCENES, read_record
from data_curation.report.scenes import Captures, ReportedScene, details_of, source_of, spread
from data_curation.stages.frame_quality import FrameScores, FrameThresholds, rejected_frames
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips import Clip, Ground
from video4spatial.clips.dataset import SHARDS
from video4spatial.clips.manifest import ClipRow
from video4spatial.clips.shards import clip_from_members, read_index, read_members
from video4spatial.media import resize_and_crop
from video4spatial.spread import thinned

SIDE = 128  # pixels along the longer side of a picture
CONTEXT_SHOWN, TARGETS_SHOWN = 6, 9  # pictures of a clip
CLIPS_SHOWN = 8  # of each kind
CAPTURES_SHOWN = 4  # with rejected frames
FRAMES_SHOWN = 4  # rejected ones of each
SCENES_SHOWN = 8  # filtered ones


def _picture(frame: np.ndarray) -> str:
    """A frame [H, W, 3] as a data URI, at most `SIDE` pixels large."""
    factor = min(1.0, SIDE / max(frame.shape[:2]))
    size = (max(1, round(side * factor)) for side in frame.shape[:2])
    buffer = io.BytesIO()
    Image.fromarray(resize_and_crop(frame[None], *size)[0][0]).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def examples(folder: Path, rows: list[ClipRow], kind: str, captures: Captures) -> Iterator[dict]:
    """Clips of a kind with their pictures.

    Args:
        folder: of the data set, for its shards.
        rows: of the manifest.
        kind: navigation or grounding.
        captures: for clips that are not in shards.

    Yields:
        {"row", "coverage", "context", "target"}.
    """
    index = captures.attempt(SHARDS, "the index of the shards", lambda: read_index(folder / SHARDS)) or {}
    chosen = spread((row for row in rows if row.kind == kind), lambda row: (row.origin, source_of(row)), CLIPS_SHOWN)
    for row in chosen:
        clip, places = None, index.get(row.key)
        if places:
            shard = places[0][0]
            clip = captures.attempt((shard, row.key), shard, lambda: clip_from_members(read_members(folder / SHARDS, places)))
        if clip is None:
            factor = SIDE / max(row.height, row.width)
            size = max(1, round(row.height * factor)), max(1, round(row.width * factor))
            clip = captures.use(source_of(row), row.capture, lambda capture: clip_from_capture(row, capture, *size))
        if clip is not None:
            yield {"row": row, "coverage": _share(row.coverage), "context": _context_strip(clip), "target": _target_strip(clip)}


def _share(value: float) -> str | None:
    return f"{value:.0%}" if np.isfinite(value) else None


def _context_strip(clip: Clip) -> list[dict]:
    """A few context frames, the anchor and the one that names the object always among them."""
    region = clip.instruction.region if isinstance(clip.instruction, Ground) else None
    shown = thinned(len(clip.context_frames), CONTEXT_SHOWN)
    for wanted in [clip.anchor] if region is None else [clip.anchor, region.frame]:
        if wanted not in shown:
            replaced = min(set(shown) - {clip.anchor}, key=lambda place: abs(place - wanted))
            shown[shown.index(replaced)] = wanted
    return [
        {
            "picture": _picture(clip.context_frames[place]),
            "text": f"{clip.context_times[place]:.1f} s",
            "anchor": place == clip.anchor,
            "box": _placed(region.box) if region is not None and place == region.frame else None,
        }
        for place in sorted(shown)
    ]


def _target_strip(clip: Clip) -> list[dict]:
    boxes = clip.target_boxes
    return [
        {
            "picture": _picture(clip.target_frames[place]),
            "text": str(place),
            "anchor": place == 0,
            "box": None if boxes is None or np.isnan(boxes[place]).any() else _placed(boxes[place]),
        }
        for place in thinned(len(clip.target_frames), TARGETS_SHOWN)
    ]


def _placed(box: Sequence[float]) -> str:
    """A box as a style of an element above a picture."""
    left, top, right, bottom = (100 * float(value) for value in box)
    return f"left:{left:.1f}%;top:{top:.1f}%;width:{right - left:.1f}%;height:{bottom - top:.1f}%"


def poor_frames(folder: Path, scenes: list[ReportedScene], captures: Captures, thresholds: FrameThresholds) -> Iterator[dict]:
    """Frames that were left out, of a few captures, with what speaks against them.

    Args:
        folder: of the data set.
        scenes: all that the page tells of.
        captures: for the pictures.
        thresholds: that the build had.
    """
    chosen = spread((scene for scene in scenes if scene.poor.any()), lambda scene: scene.reader, CAPTURES_SHOWN)
    for scene in chosen:
        record = read_record(folder / SCENES / f"{scene.key}.json")
        scores = FrameScores(**{name: np.array(values) for name, values in record["stages"]["frame_scores"]["data"].items()})
        masks = rejected_frames(scores, thresholds)
        poor = np.flatnonzero(scene.poor).tolist()
        reasons = {frame: next((reason for reason, mask in masks.items() if mask[frame]), "left out") for frame in poor}
        frames = sorted(spread(reasons, reasons.get, FRAMES_SHOWN))
        pictures = captures.use(scene.source, scene.name, lambda capture: capture.read_frames(frames))
        if pictures is not None:
            median = np.median(scores.sharpness)
            for frame, picture in zip(frames, pictures, strict=True):
                sharpness, brightness = scores.sharpness[frame], scores.brightness[frame]
                yield {
                    "picture": _picture(picture),
                    "reason": reasons[frame],
                    "note": f"frame {frame} of {scene.name}",
                    "figures": f"sharpness {sharpness:,.1f} (median {median:,.1f}), brightness {brightness:.0f}",
                }


def rejected_scenes(scenes: list[ReportedScene], captures: Captures) -> Iterator[dict]:
    """The middle frames of scenes that were left out as a whole.

    Args:
        scenes: all that the page tells of.
        captures: for the pictures.
    """
    chosen = [scene for scene in scenes if scene.status == "filtered" and scene.ingest]
    for scene in spread(chosen, lambda scene: scene.reason, SCENES_SHOWN):
        middle = scene.ingest["frames"] // 2
        pictures = captures.use(scene.source, scene.name, lambda capture: capture.read_frames([middle]))
        if pictures is not None:
            yield {"picture": _picture(pictures[0]), "reason": scene.reason, "note": scene.name, "figures": details_of(scene)}

"""Objects that were found: pictures of where frames show them, the map, and the page of `v4s locate`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from video4spatial.cameras import Cameras
from video4spatial.evaluation.reports import picture_uri, write_page
from video4spatial.evaluation.reports.geometry_page import from_above
from video4spatial.files import write_whole
from video4spatial.grounding.finding import Answer
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import Located

SHOWN = 8
"""Frames on which an object is shown, the surest."""

HEIGHT = 240
"""Pixels of these pictures."""

FOUND, MARKED = (255, 220, 0), (230, 30, 30)
"""Colours of boxes: of what was found, and of what the user marked."""


def boxed(frame: np.ndarray, box: np.ndarray, colour: tuple[int, int, int] = FOUND, height: int = HEIGHT) -> np.ndarray:
    """A frame with a box on it.

    Args:
        frame: [H, W, 3] uint8.
        box: left, top, right and bottom as shares; NaN draws none.
        colour: of the box.
        height: of the picture in pixels.

    Returns:
        [height, width, 3] uint8.
    """
    width = round(height * frame.shape[1] / frame.shape[0])
    shrinks = height < frame.shape[0]
    picture = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    if np.isfinite(box).all():
        left, top, right, bottom = (np.asarray(box) * [width, height, width, height]).round().astype(int).tolist()
        for ink, thick in (((0, 0, 0), 5), (colour, 2)):
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), ink, thick, cv2.LINE_AA)
    return picture


def sightings(scene: LevelScene, target: Located, numbers: Sequence[int], marked: int | None = None) -> list[dict]:
    """Pictures of the frames that show an object, in the order of the video, for a page.

    Args:
        scene: of N frames.
        target: the object.
        numbers: [N] what the frames are called.
        marked: the one that the user marked, which is always among them.
    """
    best = sorted(target.frames, key=lambda frame: (frame != marked, -target.scores[frame]))[:SHOWN]
    return [
        {
            "picture": picture_uri(boxed(scene.geometry.frames[frame], target.boxes[frame], MARKED if frame == marked else FOUND)),
            "caption": f"frame {numbers[frame]}" + (", marked" if frame == marked else ""),
            "note": f"score {target.scores[frame]:.2f}",
        }
        for frame in sorted(best)
    ]


def draw_map(path: Path, scene: LevelScene, target: Located, way: Cameras | None = None) -> np.ndarray:
    """Draw the scene from above with the object's box and the way to it, and write the picture.

    Args:
        path: PNG file.
        scene: with the geometry.
        target: the object.
        way: cameras to it, in the level world.

    Returns:
        [H, W, 3] uint8.
    """
    buffer = io.BytesIO()
    from_above(scene.geometry, target.item, way).savefig(buffer, format="png", dpi=110)
    write_whole(path, buffer.getvalue())
    return np.asarray(Image.open(buffer).convert("RGB"))


def write_answer(folder: Path, answer: Answer, frames: np.ndarray, numbers: Sequence[int], marked: int | None = None) -> list[dict]:
    """Write `answer.png` (the last frame with the object's box) and `map.png` for a way that was followed.

    Args:
        folder: it is there.
        answer: what was found.
        frames: [T, H, W, 3] uint8 of the way.
        numbers: [N] what the frames of the scene are called.
        marked: the one that the user marked.

    Returns:
        Pictures for the page.
    """
    last = boxed(frames[-1], answer.box, height=max(HEIGHT, frames.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(last).save(buffer, "PNG")
    write_whole(folder / "answer.png", buffer.getvalue())
    above = draw_map(folder / "map.png", answer.scene, answer.target, answer.way.cameras)
    return [
        {"picture": picture_uri(last), "caption": "the last frame", "note": "the object's box, as its place in space has it"},
        {"picture": picture_uri(above), "caption": "from above", "note": "yellow: the object; blue: the way; red: the context's cameras"},
        *sightings(answer.scene, answer.target, numbers, marked),
    ]


def write_locate_page(
    folder: Path, title: str, scene: LevelScene, target: Located | None, sentences: Sequence[str], numbers: Sequence[int],
    marked: int | None = None, notes: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write `report.html` and, for an object that was found, `map.png`.

    Args:
        folder: it is there.
        title: headline.
        scene: of N frames.
        target: the object, or None where it was not found.
        sentences: what was found, in words.
        numbers: [N] what the frames are called.
        marked: the frame that the user marked.
        notes: what was assumed.

    Returns:
        Path of the page.
    """
    figures, rows = [], []
    if target is not None:
        above = draw_map(folder / "map.png", scene, target)
        figures = [{"picture": picture_uri(above), "caption": "from above", "note": "yellow: the object; red: the cameras"}]
        figures += sightings(scene, target, numbers, marked)
        unit = "m" if scene.geometry.cameras.metric else "units"
        rows = [
            ("confidence", f"{target.confidence:.2f}"),
            ("size", " x ".join(f"{value:.2f}" for value in target.item.size) + f" {unit} (along, across, up)"),
            ("frames that show it", ", ".join(str(numbers[frame]) for frame in target.frames)),
        ]
    return write_page(
        folder / "report.html", "locate.html.jinja", title=title, notes=list(notes), sentences=list(sentences), figures=figures, rows=rows
    )

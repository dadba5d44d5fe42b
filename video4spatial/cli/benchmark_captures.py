"""The captures of `v4s benchmark navigation --captures`: found, read, cut or taken from a frozen set, and described."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.errors import UserError, describe, user_mistakes
from video4spatial.cli.terminal import note, say
from video4spatial.waits import track

if TYPE_CHECKING:
    from video4spatial.captures import Capture
    from video4spatial.evaluation.capture_set import CaptureClip
    from video4spatial.evaluation.capture_windows import CutSettings


def captures_found(folders: Sequence[str]) -> list[Capture]:
    """Read all captures with cameras at or below folders. One that cannot be read is left out with a note.

    Args:
        folders: each a capture, or a folder that holds some.

    Raises:
        UserError: where nothing is found, or nothing can be read.
    """
    from data_curation.readers import ReaderError, find_posed_scenes, read_scene

    with user_mistakes():
        scenes = list(dict.fromkeys(scene for folder in folders for scene in find_posed_scenes(folder)))
    captures, unread = [], []
    for reader, scene in track(scenes, "reading captures"):
        try:
            captures.append(read_scene(reader, scene))
        except (ReaderError, ValueError, OSError) as error:
            unread.append(f"{scene}, read by {reader}: {describe(error)}")
    if not captures:
        raise UserError("none of the captures can be read: " + "; ".join(unread))
    for problem in unread:
        note(f"left out: {problem}")
    for capture in captures:
        for remark in capture.remarks:
            note(f"{capture.name}: {remark}")
    return captures


def capture_clips(options: argparse.Namespace, frames: int, frame_rate: float) -> tuple[list[CaptureClip], dict]:
    """The clips that the options ask for, with a line for each capture.

    Args:
        options: of `v4s benchmark navigation`.
        frames: of a target, as the model was trained.
        frame_rate: of the model.

    Returns:
        The clips, and what the results file says of them.

    Raises:
        UserError: for captures without a single clip, and a test set that does not fit them.
    """
    from video4spatial.evaluation.capture_set import NAME, capture_set, cut_captures, described, load_capture_set
    from video4spatial.evaluation.capture_windows import CutSettings
    from video4spatial.evaluation.test_set import write_test_set

    captures = captures_found(options.captures)
    asked = {name: getattr(options, name) for name in ("windows", "context_frames") if getattr(options, name) is not None}
    settings = CutSettings(frames, frame_rate, **asked)
    with user_mistakes():
        if options.test_set is not None:
            entries = load_capture_set(options.test_set, captures)
            for entry in entries:
                entry.check()
        else:
            entries, notes = cut_captures(captures, settings)
            for left_out in notes:
                note(left_out)
        if not entries:
            raise ValueError("no capture gives a clip: see the notes above.")
        scenes = list(dict.fromkeys(entry.scene for entry in entries))[: options.scenes]
        entries = [entry for entry in entries if entry.scene in scenes]
        if options.write_test_set is not None:
            write_test_set(options.write_test_set, capture_set(entries, settings))
    for capture in captures:
        _say_capture(capture, [entry for entry in entries if entry.capture is capture])
    name = Path(options.test_set).name if options.test_set else NAME
    return entries, {"test_set": name, **_cut(options, settings), "windows": [described(entry) for entry in entries]}


def _cut(options: argparse.Namespace, settings: CutSettings) -> dict:
    """How the captures were cut, where they were."""
    if options.test_set is not None:
        return {}
    cut = {name: value for name, value in vars(settings).items() if name not in ("frames", "context_frames")}
    return {"cut": {"target_frames": settings.frames, "most_context_frames": settings.context_frames, **cut}}


def _say_capture(capture: Capture, entries: Sequence[CaptureClip]) -> None:
    if not entries:
        return
    unit = "metres" if capture.cameras.metric else f"unknown scale, times {entries[0].recipe['scale']:.3g}"
    seen = [entry.recipe["context_sees"]["value"] for entry in entries]
    known = [value for value in seen if value is not None]
    share = "depth unknown, so also what the context sees"
    if known:
        mean, least, most = (f"{100 * value:.0f}" for value in (sum(known) / len(known), min(known), max(known)))
        share = f"the context sees {mean} % of the targets ({least} to {most})"
    size, reader = f"{capture.width}x{capture.height}", entries[0].recipe["reader"]
    count = f"{len(entries)} window{'s' if len(entries) > 1 else ''}"
    say(f"{capture.name}: {len(capture)} frames of {size} read by {reader}, {unit}; {count}; {share}")

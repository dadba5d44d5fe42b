"""The page about one sampled video."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.cameras.plotting import plot_trajectories
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.reports import frames_without_camera, picture_uri, score_entry, svg, write_page
from video4spatial.evaluation.reports.pictures import figures_over_time
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.spread import evenly_spread, thinned

STRIP = 12
"""Most frames of a video that are shown beside each other."""


def write_sample_page(
    folder: str | os.PathLike,
    *,
    title: str,
    generated: np.ndarray,
    cameras: Cameras,
    frame_rate: float,
    context_frames: np.ndarray | None = None,
    anchor: int | None = None,
    truth: np.ndarray | None = None,
    estimated_cameras: EstimatedCameras | None = None,
    measurements: Mapping[str, Measurement] | None = None,
    settings: Mapping[str, object] | None = None,
    warnings: Sequence[str] = (),
    answer: str = "",
    figures: Sequence[Mapping] = (),
) -> Path:
    """Write `report.html` about one sampled result. It loads nothing from elsewhere.

    Args:
        folder: where it goes; made if needed.
        title: headline.
        generated: [T, H, W, 3] uint8.
        cameras: the T commanded cameras.
        frame_rate: frames per second of the players.
        context_frames: [N, h, w, 3] uint8 that the model was shown.
        anchor: position of the anchor among them.
        truth: [T, H, W, 3] uint8, where known.
        estimated_cameras: T cameras measured from the generated frames, in any world: both paths are drawn relative to their own
            frame 0. Frames without a camera are not drawn, and the page says how many they are.
        measurements: by metric name.
        settings: what the video was made with, for people.
        warnings: sentences to read first.
        answer: of a search, in words.
        figures: pictures of it (`grounding_page.write_answer`).

    Returns:
        Path of the page.

    Raises:
        ValueError: where frames and cameras differ in number.
    """
    given = {"cameras": cameras, "truth": truth, "estimated cameras": estimated_cameras}
    problems = [f"{name}: {len(values)}" for name, values in given.items() if values is not None and len(values) != len(generated)]
    if problems:
        raise ValueError(f"{len(generated)} generated frames do not fit: {', '.join(problems)}.")

    paths = {"commanded": cameras.relative_to(0)}
    if estimated_cameras is not None:
        paths["seen in the frames"] = estimated_cameras.placed.relative_to(0)
    measurements = measurements or {}
    curves = figures_over_time(measurements)
    return write_page(
        Path(folder) / "report.html",
        "sample.html.jinja",
        title=title,
        warnings=list(warnings),
        answer=answer,
        figures=list(figures),
        panes=_panes(context_frames, generated, truth),
        frame_count=len(generated),
        frame_rate=frame_rate,
        context_strip=_strip(context_frames, anchor),
        generated_strip=_strip(generated, 0),
        trajectory=svg(plot_trajectories(paths)),
        facts=_facts(paths, estimated_cameras),
        curves=None if curves is None else svg(curves),
        scores=[score_entry(name, measurement) for name, measurement in measurements.items()],
        settings={name: str(value) for name, value in (settings or {}).items()},
    )


def _panes(context_frames: np.ndarray | None, generated: np.ndarray, truth: np.ndarray | None) -> list[dict]:
    """The videos that play side by side: a name, a note, and the frames."""
    panes = []
    if context_frames is not None and len(context_frames):
        note = f"what the model was shown, {len(context_frames)} frame" + "s" * (len(context_frames) != 1)
        panes.append(("context", note, context_frames))
    panes.append(("generated", "frame 0 is the anchor", generated))
    if truth is not None:
        panes.append(("ground truth", "what the camera would have seen", truth))
        difference = 255 - np.abs(generated.astype(int) - truth.astype(int)).clip(0, 255).astype(np.uint8)
        panes.append(("difference", "white where both agree", difference))
    return [{"name": name, "note": note, "frames": [picture_uri(frame) for frame in frames]} for name, note, frames in panes]


def _strip(frames: np.ndarray | None, anchor: int | None) -> list[dict]:
    """Up to twelve frames with their numbers, the anchor always among them and marked."""
    if frames is None or not len(frames):
        return []
    anchor = None if anchor is None else anchor % len(frames)
    count = min(STRIP, len(frames))
    shown = thinned(len(frames), count) if anchor is None else evenly_spread(len(frames), count, anchor)
    return [{"index": i, "picture": picture_uri(frames[i]), "anchor": i == anchor} for i in shown]


def _errors_of_standing_still(commanded: Cameras) -> str:
    """What the translation and rotation errors of a camera that never leaves its frame 0 are, in words."""
    moved, unit = commanded[1:], "m" if commanded.metric else "units"
    away, turned = moved.distance_to(commanded[0]).mean(), moved.rotation_to(commanded[0]).mean()
    return f"errors of {float(away):.2f} {unit} and {float(turned):.1f}°: a path that is followed has much smaller ones"


def _facts(paths: Mapping[str, Cameras], estimated: EstimatedCameras | None) -> list[tuple[str, str]]:
    """Length and turn of the paths in words, and how many frames have no camera."""
    facts = []
    for name, path in paths.items():
        unit = "m" if path.metric else "units"
        facts.append((name, f"{float(path.path_length()):.2f} {unit}, turned {float(path[-1].rotation_to(path[0])):.1f}°"))
    commanded = next(iter(paths.values()))
    facts.append(("if it stood still", _errors_of_standing_still(commanded)))
    lost = "" if estimated is None else frames_without_camera(estimated)
    return [*facts, ("without a camera", lost)] if lost else facts

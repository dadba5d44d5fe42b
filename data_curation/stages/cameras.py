"""Cameras of a capture: its own, or found by structure from motion; and whether they fit its pictures."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from data_curation.scene import Result, Scene
from data_curation.stages.epipolar import EpipolarSettings, epipolar_check
from data_curation.stages.reconstruction import ReconstructionError, ReconstructionSettings, reconstruct


def run(scene: Scene, settings: ReconstructionSettings | None) -> Result:
    """The stage `cameras`.

    Args:
        scene: under way.
        settings: how cameras are found for captures that have none; None leaves such captures out.
    """
    cameras, frames = scene.recording.cameras, list(range(len(scene.recording)))
    data: dict = {}
    if cameras is None and settings is None:
        return Result({}, "captures", 0, {"no_cameras": 1}, "no_cameras")
    if cameras is None:
        try:
            found = reconstruct(scene.recording, settings)
        except ReconstructionError as error:
            return Result({"problem": str(error)}, "captures", 0, {"cameras_not_found": 1}, "cameras_not_found")
        cameras, frames = found.cameras, list(found.frames)
        data = {"tried": list(found.tried), "points": found.points, "error_pixels": found.error_pixels}
    return Result(
        {
            "camera_to_world": cameras.camera_to_world.tolist(),
            "intrinsics": cameras.intrinsics.tolist(),
            "metric": cameras.metric,
            "path": float(cameras.path_length()),
            "frames": frames,
            "times": np.asarray(scene.recording.times)[frames].tolist(),
            "convention": cameras.convention if data else scene.recording.provenance.get("convention", cameras.convention),
            **data,
        }
    )


def run_epipolar(scene: Scene, settings: EpipolarSettings) -> Result:
    """The stage `epipolar`: cameras that do not fit the pictures end the scene.

    Args:
        scene: under way, with cameras.
        settings: how many pairs of frames are matched, and what fits.
    """
    if settings.pairs == 0:
        return Result({"median_pixels": None})
    check = epipolar_check(scene.capture, settings.gap, settings.pairs)
    wrong = check.median_pixels is not None and check.median_pixels > settings.most_pixels
    reason = "cameras_do_not_fit_pictures"
    return Result(asdict(check), "captures", int(not wrong), {reason: 1} if wrong else {}, reason if wrong else None)

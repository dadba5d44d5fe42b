"""The planned way from end to end: an instruction and the geometry of a scene, to the object and a way to it.

    answer = find(geometry, Ground(region=Region(12, (0.4, 0.3, 0.6, 0.8))), anchor=31)
    video = pipeline(context, Navigate(answer.way.path), anchor=31)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from video4spatial.clips.instruction import Ground
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.grounding.boxes import projected_boxes
from video4spatial.grounding.detectors import Detector
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import Located
from video4spatial.grounding.phrases import locate
from video4spatial.grounding.planning import SETTINGS, Way, plan_way


@dataclass(frozen=True)
class Answer:
    """An object that was found, and a way to it.

    Args:
        scene: in whose level world both are.
        target: the object.
        way: to a view of it.
    """

    scene: LevelScene
    target: Located
    way: Way

    @property
    def box(self) -> np.ndarray:
        """Left, top, right and bottom [4] of the object on the last frame as shares; NaN where it is not in the picture."""
        return projected_boxes(self.target.item, self.way.cameras[-1])[0]

    @property
    def in_sight(self) -> bool:
        """Whether the last frame should show it."""
        return bool(np.isfinite(self.box).all()) and self.way.view.visible >= SETTINGS.visible

    @property
    def words(self) -> str:
        """A sentence for people."""
        verdict = "found" if self.in_sight else "found, but hidden at the end of the way"
        length, turned = float(self.way.cameras.path_length()), float(self.way.cameras[-1].rotation_to(self.way.cameras[0])[0])
        way = f"{length:.2f} m and {turned:.0f} degrees from the start"
        return "; ".join(filter(None, (f"{verdict}, {self.target.verdict}", way, self.way.words)))

    def as_dict(self, numbers: Sequence[int] | None = None) -> dict:
        """JSON-able figures.

        Args:
            numbers: as for `Located.as_dict`.
        """
        box = self.box
        return {
            "found": True,
            "in_sight": self.in_sight,
            **self.target.as_dict(numbers),
            "box": [round(float(value), 4) for value in box] if np.isfinite(box).all() else None,
            "visible": round(self.way.view.visible, 4),
            "known": round(self.way.view.known, 4),
            "metres": round(float(self.way.cameras.path_length()), 4),
            "clearance": round(self.way.clearance, 4),
            "remarks": self.way.words,
        }


def find(
    geometry: SceneGeometry,
    instruction: Ground,
    anchor: int,
    *,
    detector: Detector | None = None,
    num_frames: int | None = None,
    least_frames: int = 2,
    frame_rate: float = 4.0,
    samples: int = 1,
    seed: int = 0,
) -> Answer:
    """Find an object and plan a way to it.

    Args:
        geometry: of the context.
        instruction: what to find; its region's frame is one of the geometry's.
        anchor: frame that the way starts from.
        detector: what finds words in frames; not needed for a region.
        num_frames: of the way; by default as many as keep the camera slow, at least `least_frames`.
        least_frames: see there.
        frame_rate: frames per second of the way.
        samples: draws of the region, see `locate_region`.
        seed: of these draws.

    Raises:
        ValueError: for words without a detector and a region.
        NotFound: where the scene does not show the object, or nothing tells where it is.
    """
    scene = LevelScene.of(geometry)
    target = locate(scene, instruction, detector, samples, seed)
    way = plan_way(scene, target, anchor, num_frames, frame_rate, least_frames)
    return Answer(scene, target, way)

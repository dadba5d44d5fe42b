"""The stages of a scene, in order, and their settings.

A stage reads the capture and the results of earlier stages, and returns plain values, so that a result can be kept in the scene's
record and used again. It is run again only if its own settings, its version, the scene's content or something it depends on has
changed.

To add a stage, write a function (scene, settings...) -> Result in a module of `data_curation.stages`, and a line in `STAGES`. If
there is something to set, it is a field of `StageSettings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from data_curation.scene import Result
from data_curation.stages import (
    approaches,
    cameras,
    context,
    dynamics,
    frame_quality,
    grounding,
    ingest,
    objects,
    stretches,
    windows,
)
from data_curation.stages.approaches import ApproachSettings
from data_curation.stages.cameras import EpipolarSettings, ReconstructionSettings
from data_curation.stages.context import ContextSettings
from data_curation.stages.dynamics import DynamicsSettings, DynamicsThresholds
from data_curation.stages.frame_quality import FrameThresholds
from data_curation.stages.grounding import GroundingContextSettings
from data_curation.stages.instructions import WordSettings
from data_curation.stages.objects import ObjectSettings
from data_curation.stages.stretches import PoseThresholds
from data_curation.stages.windows import WindowSettings


@dataclass(frozen=True)
class StageSettings:
    """Settings of the stages, each explained where its stage is.

    Args:
        frame_quality: when a frame is left out.
        dynamics: how moving subjects are looked for.
        moving: when a capture shows one.
        reconstruction: how cameras are found (structure from motion) for captures that have none; null leaves these out.
        poses: when a step of the camera breaks the path.
        epipolar: how many pairs of frames are matched, and when cameras do not fit the pictures.
        windows: what a navigation target is.
        context: what a context is, and how much of the target it must show.
        objects: which objects can be searched for.
        approach: what an approach to an object is.
        grounding: what the context of an approach is.
        words: how many instructions a clip has.
    """

    frame_quality: FrameThresholds = field(default_factory=FrameThresholds)
    dynamics: DynamicsSettings = field(default_factory=DynamicsSettings)
    moving: DynamicsThresholds = field(default_factory=DynamicsThresholds)
    reconstruction: ReconstructionSettings | None = None
    poses: PoseThresholds = field(default_factory=PoseThresholds)
    epipolar: EpipolarSettings = field(default_factory=EpipolarSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    approach: ApproachSettings = field(default_factory=ApproachSettings)
    grounding: GroundingContextSettings = field(default_factory=GroundingContextSettings)
    words: WordSettings = field(default_factory=WordSettings)


@dataclass(frozen=True)
class Stage:
    """A step.

    Args:
        run: called with the scene under way and the settings, one argument each.
        needs: stages whose data it reads; the scene's content always counts.
        settings: fields of `StageSettings`, given in this order.
        version: raised when the code changes what it finds.
    """

    run: Callable[..., Result]
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    version: int = 1


STAGES: dict[str, Stage] = {
    "ingest": Stage(ingest.run),
    "frame_scores": Stage(frame_quality.run_scores),
    "frame_quality": Stage(frame_quality.run, ("frame_scores",), ("frame_quality",)),
    "cuts": Stage(stretches.run_cuts),
    "dynamics_scores": Stage(dynamics.run_scores, (), ("dynamics",)),
    "dynamics": Stage(dynamics.run, ("dynamics_scores",), ("moving",)),
    "cameras": Stage(cameras.run, (), ("reconstruction",)),
    "pose_quality": Stage(stretches.run_poses, ("cameras", "cuts"), ("poses",)),
    "epipolar": Stage(cameras.run_epipolar, ("cameras",), ("epipolar",)),
    "geometry": Stage(context.run_geometry, ("cameras",)),
    "windows": Stage(windows.run, ("frame_quality", "pose_quality"), ("windows",)),
    "navigation": Stage(context.run_navigation, ("windows", "geometry"), ("context",)),
    "objects": Stage(objects.run, ("cameras",), ("objects",)),
    "visibility": Stage(objects.run_visibility, ("objects",)),
    "approaches": Stage(approaches.run, ("visibility", "frame_quality", "pose_quality"), ("approach", "grounding")),
    "grounding": Stage(grounding.run, ("approaches", "geometry"), ("approach", "grounding", "context", "words")),
}
"""Stages by name, in order. Those named as a kind of clips (`KINDS`) hold clips of that kind in their data."""

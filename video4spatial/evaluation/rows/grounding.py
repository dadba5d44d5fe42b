"""Rows of grounding: the planned way with what is known of the scene, and references that show what a figure is worth.

Every row is given the clip's region and starts from its anchor. A row that does not find the object stays where it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip, Navigate
from video4spatial.evaluation.rows import model, references
from video4spatial.evaluation.rows.geometry import GeometryOf, read_geometry, true_geometry
from video4spatial.evaluation.rows.inputs import RowInputs
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.grounding import NotFound
from video4spatial.grounding.boxes import projected_boxes
from video4spatial.grounding.finding import find
from video4spatial.grounding.levelling import LevelScene
from video4spatial.grounding.locating import Located
from video4spatial.grounding.planning import plan_way
from video4spatial.pipelines.generation import encode_scene, generate
from video4spatial.simulation import NoPathError, generate_scene, navigation_target

RANDOM_RANGES = {"rotation_range": (20.0, 120.0), "path_range": (0.5, 2.5)}
"""Degrees and metres of the random walk: about those of the true ways."""


@dataclass(frozen=True)
class GroundingVideo:
    """What a row makes of a clip.

    Args:
        frames: [T, H, W, 3] uint8.
        box: where the object is taken to be on the last frame, left, top, right and bottom as shares; NaN where it is taken to be out of
            the picture, and for a row that did not find it. None for rows that do not say.
        path: the T cameras that were followed, relative to the first; None for rows that follow none.
        remark: why there is no way.
    """

    frames: np.ndarray
    box: np.ndarray | None = None
    path: Cameras | None = None
    remark: str = ""


def _followed(inputs: RowInputs, clip: Clip, geometry: SceneGeometry, path: Cameras, context_cameras: bool) -> np.ndarray:
    """The model's video of a path through the clip's context."""
    start = clip.context_cameras[clip.anchor]
    asked = replace(clip, instruction=Navigate(path.placed_at(replace(start, metric=path.metric))), target_frames=None, target_cameras=None)
    made = replace(inputs.generation, context_cameras=context_cameras, seed=inputs.generation.seed + inputs.noise)
    context = encode_scene(inputs.pipeline, asked, made, geometry=geometry)
    return generate(inputs.pipeline, asked, made, context).frames


def _lost(clip: Clip, reason: str) -> GroundingVideo:
    return GroundingVideo(references.static(clip), np.full(4, np.nan), remark=reason)


def planned(
    inputs: RowInputs,
    shown: Callable[[RowInputs], Clip] = lambda inputs: inputs.clip,
    geometry: GeometryOf = read_geometry,
    context_cameras: bool = False,
) -> GroundingVideo:
    """The object is located by its region, a way is planned, and the model follows it.

    Args:
        inputs: with the clip.
        shown: inputs -> the clip as it is given.
        geometry: what is known of its scene: a function of `rows.geometry`.
        context_cameras: whether the cameras of the context are known.
    """
    clip = shown(inputs)
    known = geometry(inputs, clip, context_cameras)
    region = replace(clip.instruction, text=None)
    frames, rate = clip.num_target_frames, inputs.pipeline.config.frame_rate
    try:
        answer = find(known, region, clip.anchor, num_frames=frames, frame_rate=rate)
    except NotFound as error:
        return _lost(inputs.clip, str(error))
    video = _followed(inputs, clip, known, answer.way.path, context_cameras)
    return GroundingVideo(video, answer.box, answer.way.path)


def oracle_planner(inputs: RowInputs) -> GroundingVideo:
    """The planner with the object's true box and the scene's true geometry: what locating and reading geometry cost."""
    clip = inputs.clip
    known = true_geometry(inputs, clip)
    scene = LevelScene.of(known, up=np.array([0.0, 0.0, 1.0]))
    rotation, shift = (part.numpy() for part in (scene.pose[:3, :3], scene.pose[:3, 3]))
    item = clip.target_object
    turned = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    item = replace(item, center=tuple((rotation @ np.array(item.center) + shift).tolist()), yaw=item.yaw + turned)
    boxes = projected_boxes(item, scene.geometry.cameras)
    seen = np.isfinite(boxes).all(1)
    corners, weights = item.corners(), np.random.default_rng(0).dirichlet(np.full(8, 0.3), 2000)
    target = Located(item, 1.0, seen.astype(float), boxes, np.zeros((len(boxes), 1, 1), bool), weights @ corners)
    frames, rate = clip.num_target_frames, inputs.pipeline.config.frame_rate
    way = plan_way(scene, target, clip.anchor, frames, rate)
    return GroundingVideo(_followed(inputs, clip, known, way.path, True), projected_boxes(item, way.cameras[-1])[0], way.path)


def random_walk(inputs: RowInputs) -> GroundingVideo:
    """The model follows a random way that keeps clear of walls and furniture; it looks for nothing."""
    clip, start = inputs.clip, inputs.clip.context_cameras[inputs.clip.anchor]
    scene = generate_scene(clip.provenance["scene_seed"])
    count, rate = clip.num_target_frames, inputs.pipeline.config.frame_rate
    try:
        path = navigation_target(scene, start, count, rate, seed=inputs.noise, **RANDOM_RANGES).relative_to(0)
    except NoPathError as error:
        return GroundingVideo(references.static(clip), remark=str(error))
    known = read_geometry(inputs, clip, True)
    return GroundingVideo(_followed(inputs, clip, known, path, True), path=path)


def copy_object_frame(inputs: RowInputs) -> GroundingVideo:
    """The marked frame of the context from frame 1 on: it shows the object, but nobody went there."""
    frames = references.static(inputs.clip)
    frames[1:] = inputs.clip.context_frames[inputs.clip.instruction.region.frame]
    return GroundingVideo(frames)


def other_scene_context(inputs: RowInputs) -> GroundingVideo:
    """The planned way in another scene's context around the clip's own anchor frame."""
    return planned(inputs, shown=model.other_scene_context)


GROUNDING_ROWS: dict[str, Callable[[RowInputs], GroundingVideo]] = {
    "region": planned,
    "region_with_context_cameras": lambda inputs: planned(inputs, context_cameras=True),
    "oracle_planner": oracle_planner,
    "random_walk": random_walk,
    "copy_object_frame": copy_object_frame,
    "other_scene_context": other_scene_context,
    "static": lambda inputs: GroundingVideo(references.static(inputs.clip)),
    "ground_truth": lambda inputs: GroundingVideo(references.ground_truth(inputs.clip)),
}
"""Rows by name, in the order of results files."""

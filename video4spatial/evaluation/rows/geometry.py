"""The geometry that rows are made with, and the rows that show it alone: what reconstructing and rendering the scene gives.

A model and `reconstruct_and_render` beside it are given the very same geometry: it is read once for each clip.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from video4spatial.clips import Clip, Navigate
from video4spatial.evaluation.rows.inputs import NotApplicable, RowInputs
from video4spatial.geometry.rendering import painted_over
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.pipelines.generation import scene_geometry

GeometryOf = Callable[[RowInputs, Clip, bool], SceneGeometry]
"""A row's inputs, the clip as it is shown, and whether the cameras of its context are known, to the geometry of its context."""


def read_geometry(inputs: RowInputs, shown: Clip, context_cameras: bool) -> SceneGeometry:
    """What can be read from the context.

    Args:
        inputs: of the row; keeps what was read, for the rows that follow.
        shown: the clip whose context is read.
        context_cameras: whether its cameras are known.
    """
    key = (shown.context_frames.tobytes(), context_cameras)
    if key not in inputs.geometries:
        settings = replace(inputs.generation, context_cameras=context_cameras, geometry="auto")
        inputs.geometries[key] = scene_geometry(shown, settings, inputs.pipeline._execution_device)
    return inputs.geometries[key]


def true_geometry(inputs: RowInputs, shown: Clip, context_cameras: bool = True) -> SceneGeometry:
    """The cameras and the depth of the context as they are.

    Args:
        inputs, shown, context_cameras: as for `read_geometry`.

    Raises:
        NotApplicable: where no frame of the context has depth and a camera.
    """
    if shown.context_cameras is None or shown.context_depth is None or not (shown.context_depth > 0).any():
        raise NotApplicable("no frame of the context has true depth")
    depth = np.ascontiguousarray(shown.context_depth, dtype=np.float32)
    reasons = tuple("" if (view > 0).any() else "its true depth is not known" for view in depth)
    placed, certain = np.ones(len(depth), bool), (depth > 0).astype(np.float32)
    words = {"cameras": "given", "depth": "true", "scale": "given"}
    return SceneGeometry(shown.context_frames, shown.context_cameras, placed, depth, certain, reasons, words)


def render(inputs: RowInputs, shown: Callable[[RowInputs], Clip], geometry: GeometryOf, context_cameras: bool = False) -> np.ndarray:
    """What a clip's path shows of the geometry of its context, the rest painted over.

    Args:
        inputs: with the clip.
        shown: inputs -> the clip as a model is shown it.
        geometry: `read_geometry` or `true_geometry`.
        context_cameras: whether the cameras of the context are known.

    Returns:
        [T, H, W, 3] uint8; frame 0 is the anchor frame.

    Raises:
        NotApplicable: where the clip names no path, or lacks what is asked for.
    """
    clip = shown(inputs)
    if not isinstance(clip.instruction, Navigate):
        raise NotApplicable("there is no path to render along")
    if context_cameras and clip.context_cameras is None:
        raise NotApplicable("the clip does not know the cameras of its context")
    scene = geometry(inputs, clip, context_cameras)
    shown_frames = scene.render(scene.along(clip.instruction.cameras, clip.anchor), *clip.context_frames.shape[1:3], views=0)
    mean = clip.context_frames.mean((0, 1, 2)).round().astype(np.uint8)
    pictures = painted_over(shown_frames.pictures, shown_frames.known, mean)
    pictures[0] = clip.context_frames[clip.anchor]
    return pictures

"""What is scored side by side: the model, its peers, and the references. A new row is a function and a line in `ROWS`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from video4spatial.clips import Clip
from video4spatial.evaluation.rows import geometry, model, references
from video4spatial.evaluation.rows.inputs import RowInputs


@dataclass(frozen=True)
class Row:
    """One line of the registry.

    Args:
        name: as in results files.
        frames: `RowInputs` -> [T, H, W, 3] uint8. Raises `inputs.NotApplicable` where a clip lacks what the row is made from, and
            `inputs.PeerError` where it has no video of a clip although it should.
        needs: optional fields of `RowInputs`, from `inputs.NEEDS`, without which the row does not apply.
        seen: whether it runs on new paths through the scenes that a second model was trained on, with that model.
    """

    name: str
    frames: Callable[[RowInputs], np.ndarray]
    needs: tuple[str, ...] = ()
    seen: bool = False


def _of_clip(frames: Callable[[Clip], np.ndarray]) -> Callable[[RowInputs], np.ndarray]:
    """The frames of a row that is made from the clip and nothing else."""
    return lambda inputs: frames(inputs.clip)


_ALL = (
    Row("model", model.model),
    Row("model_with_context_cameras", partial(model.model, context_cameras=True)),
    Row("model_without_geometry", model.without_geometry),
    Row("model_without_geometry_with_context_cameras", partial(model.without_geometry, context_cameras=True)),
    Row("model_with_true_geometry", partial(model.model, geometry=geometry.true_geometry, context_cameras=True)),
    Row("seen_scenes", model.model, seen=True),
    Row("seen_scenes_with_context_cameras", partial(model.model, context_cameras=True), seen=True),
    Row("seen_scenes_static", _of_clip(references.static), seen=True),
    *(Row(f"context_{count}", partial(model.model, shown=partial(model.shorter_context, count=count))) for count in model.NESTED),
    *(
        Row(
            f"context_{count}_with_context_cameras",
            partial(model.model, shown=partial(model.shorter_context, count=count), context_cameras=True),
        )
        for count in model.NESTED
    ),
    Row("ground_truth", _of_clip(references.ground_truth)),
    Row("ground_truth_blurred", _of_clip(references.ground_truth_blurred)),
    Row("vae_ceiling", model.vae_ceiling),
    Row("copy_nearest", _of_clip(references.copy_nearest)),
    Row("copy_nearest_blurred", lambda inputs: references.copy_nearest_blurred(inputs.clip, inputs.blur_sigma), ("blur_sigma",)),
    Row("mean_colour", _of_clip(references.mean_colour)),
    Row("static", _of_clip(references.static)),
    Row("reversed", _of_clip(references.reversed_truth)),
    Row("shuffled", _of_clip(references.shuffled)),
    Row("other_scene_context", partial(model.model, shown=model.other_scene_context), ("other",)),
    Row(
        "other_scene_context_with_context_cameras",
        partial(model.model, shown=model.other_scene_context, context_cameras=True),
        ("other",),
    ),
    Row("anchor_only", partial(model.model, shown=model.anchor_only)),
    Row("no_context", partial(model.model, shown=model.anchor_only, show_context=False)),
    Row("reconstruct_and_render", partial(geometry.render, shown=model.usual_context, geometry=geometry.read_geometry)),
    Row(
        "reconstruct_and_render_with_context_cameras",
        partial(geometry.render, shown=model.usual_context, geometry=geometry.read_geometry, context_cameras=True),
    ),
    Row("oracle_render", partial(geometry.render, shown=model.usual_context, geometry=geometry.true_geometry, context_cameras=True)),
    Row("image_to_video", lambda inputs: inputs.image_to_video(inputs.clip, inputs.noise), ("image_to_video",)),
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
"""Rows by name, in the order of results files."""

"""Other ways to make the video that a clip asks for, to stand beside the model: reconstruct the scene and render it, or
let a model that knows nothing of the scene go on from the anchor frame.
"""

import inspect
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.clips import Clip, Navigate
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimation import estimate_scene, located_frames
from video4spatial.geometry.plane_sweep import PlaneSweepDepth
from video4spatial.geometry.rendering import painted_over
from video4spatial.media import resize_and_crop


SWEPT_FRAMES = 32
"""Context frames that are given depth: those nearest to the cameras that are to be rendered."""


class PeerError(ValueError):
    """A peer that has no video for a clip, and why: the row counts as missing there."""


def reconstruct_and_render(clip: Clip) -> np.ndarray:
    """What a classical pipeline shows: the context with depth by plane sweep rendered along the path (`SceneGeometry.render`), the
    rest painted over.

    Context cameras that are not known come from structure from motion.

    Args:
        clip: with a path to follow.

    Returns:
        [T, H, W, 3] uint8; frame 0 is the anchor frame.

    Raises:
        PeerError: where the clip names no path, or the scene cannot be reconstructed.
    """
    if not isinstance(clip.instruction, Navigate):
        raise PeerError("there is no path to render along")
    target, frames, cameras = clip.instruction.cameras, clip.context_frames, clip.context_cameras
    try:
        if cameras is None:
            frames, cameras = _located_context(clip)
        nearest = viewpoint_distance(target, cameras).amin(0).argsort()[:SWEPT_FRAMES]
        geometry = estimate_scene(frames, cameras, PlaneSweepDepth(), sorted(nearest.tolist()))
    except GeometryError as error:
        raise PeerError(str(error)) from error
    if not geometry.known_share:
        raise PeerError(geometry.reason)
    shown = geometry.render(target, *clip.context_frames.shape[1:3], views=0)
    mean = clip.context_frames.mean((0, 1, 2)).round().astype(np.uint8)
    pictures = painted_over(shown.pictures, shown.known, mean)
    pictures[0] = clip.context_frames[clip.anchor]
    return pictures


def _located_context(clip: Clip) -> tuple[np.ndarray, Cameras]:
    """The context frames that could be placed, the anchor first, and their cameras in the world of the commanded ones."""
    target = clip.instruction.cameras
    order = [clip.anchor, *(index for index in range(len(clip.context_frames)) if index != clip.anchor)]
    frames = clip.context_frames[order]
    found = located_frames(frames, target.intrinsics[:1].expand(len(frames), 3, 3), target[0])
    placed = np.flatnonzero(found.position_known)
    return frames[placed], found.cameras[placed]


def load_image_to_video(folder: str | Path):
    """A diffusers pipeline that makes a video of a picture, for `image_to_video`; nothing is downloaded.

    Args:
        folder: as `save_pretrained` writes it.

    Raises:
        ValueError: for a folder that is none, or a pipeline that does not take a picture.
    """
    from diffusers import DiffusionPipeline

    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise ValueError(f"{folder}: not a diffusers pipeline, it has no model_index.json.")
    try:
        pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        raise ValueError(f"{folder}: the pipeline needs a library that is not installed: {error}") from error
    if "image" not in inspect.signature(pipeline.__call__).parameters:
        raise ValueError(f"{folder}: {type(pipeline).__name__} takes no picture to start from: expected image to video.")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda") if torch.cuda.is_available() else pipeline


def image_to_video(clip: Clip, pipeline, seed: int = 0, steps: int | None = None, height: int | None = None) -> np.ndarray:
    """A video that goes on from the anchor frame and knows neither the scene nor the path.

    Args:
        clip: whose anchor frame is shown.
        pipeline: from `load_image_to_video`.
        seed: of the noise.
        steps: denoising steps; default the pipeline's own.
        height: of the pictures it works on, before they are brought to the clip's; default as many pixels as it is used
            to.

    Returns:
        [T, H, W, 3] uint8 in the clip's size; a shorter video holds its last frame.

    Raises:
        PeerError: if what comes back is not a video.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    count = clip.num_target_frames
    asked_height, asked_width = clip.context_frames.shape[1:3]
    aspect = asked_width / asked_height
    if height is None:
        usual = [takes[name].default if name in takes else None for name in ("height", "width")]
        pixels = usual[0] * usual[1] if all(isinstance(size, int) for size in usual) else asked_height * asked_width
        height = (pixels / aspect) ** 0.5
    # Multiples of 32 pixels and 1 + 4 k frames suit every autoencoder and every patch size in use.
    height, width = (max(32, round(size / 32) * 32) for size in (height, height * aspect))
    anchor = Image.fromarray(resize_and_crop(clip.context_frames[clip.anchor][None], height, width)[0][0])
    given = {
        "prompt": "", "height": height, "width": width, "num_frames": count + -(count - 1) % 4,
        "num_inference_steps": steps, "generator": torch.Generator().manual_seed(seed), "output_type": "np",
    }  # fmt: skip
    output = pipeline(image=anchor, **{name: value for name, value in given.items() if name in takes and value is not None})
    frames = np.asarray(output.frames)
    frames = frames[0] if frames.ndim == 5 else frames
    if frames.ndim != 4 or frames.shape[-1] != 3 or not np.isfinite(frames).all():
        raise PeerError(f"{type(pipeline).__name__} returned {list(frames.shape)}, which is no video of finite colours")
    if frames.dtype != np.uint8:
        frames = (frames * 255).round().clip(0, 255).astype(np.uint8)
    frames = frames[np.minimum(np.arange(count), len(frames) - 1)]
    return resize_and_crop(frames, asked_height, asked_width)[0]

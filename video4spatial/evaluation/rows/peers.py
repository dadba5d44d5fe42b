"""Other ways to make the video that a clip asks for, to stand beside the model: reconstruct the scene and render it, or
let a model that knows nothing of the scene go on from the anchor frame.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, median_filter

from video4spatial.cameras import Cameras
from video4spatial.geometry.visibility import seen_from, viewpoint_distance, warp_context
from video4spatial.clips import Clip, Navigate
from video4spatial.evaluation.estimators import sfm
from video4spatial.evaluation.estimators.base import EstimationError, Evidence
from video4spatial.geometry.plane_sweep import plane_sweep
from video4spatial.media import resize_and_crop

SWEPT_VIEWS = 16
"""Context frames that are given depth: those nearest to the commanded cameras."""

AGREEMENT = 0.1
"""Relative difference of depth up to which two views show the same surface."""

TYPICAL_DEPTH = 2.5
"""Metres that structure from motion, which has no scale, is taken to have before the anchor in the middle."""

FILLED_ASIDE = 2
"""Pixels at a height of 64 over which holes between splatted points are closed; larger ones are painted over."""


class PeerError(ValueError):
    """A peer that has no video for a clip, and why: the row counts as missing there."""


def reconstruct_and_render(clip: Clip) -> np.ndarray:
    """What a classical pipeline shows: depth of the context by plane sweep, its points splatted into the commanded views
    (depth only, nearest wins), colours looked up in the context, the rest painted over.

    Context cameras that are not known come from the estimator `sfm`, brought to metres by `TYPICAL_DEPTH`.

    Args:
        clip: with a path to follow.

    Returns:
        [T, H, W, 3] uint8; frame 0 is the anchor frame.

    Raises:
        PeerError: where the clip names no path, or the scene cannot be reconstructed.
    """
    if not isinstance(clip.instruction, Navigate):
        raise PeerError("there is no path to render along")
    if clip.context_cameras is None:
        frames, cameras = _structure_from_motion(clip)
    else:
        frames, cameras = clip.context_frames, clip.context_cameras
    if len(frames) < 3:
        raise PeerError(f"{len(frames)} context frames with cameras are too few for stereo")
    target = clip.instruction.cameras
    frames, cameras, depth = _reconstruct(frames, cameras, target)
    height, width = clip.context_frames.shape[1:3]
    seen_depth = np.stack([_splat(depth, cameras, target[index], height, width) for index in range(len(target))])
    pictures, known = warp_context(target, seen_depth, cameras, depth, frames, tolerance=AGREEMENT)
    mean = clip.context_frames.mean((0, 1, 2)).round().astype(np.uint8)
    pictures = np.stack([_painted_over(picture, mask, mean) for picture, mask in zip(pictures, known, strict=True)])
    pictures[0] = clip.context_frames[clip.anchor]
    return pictures


def _reconstruct(frames: np.ndarray, cameras: Cameras, target: Cameras) -> tuple[np.ndarray, Cameras, np.ndarray]:
    """Frames, cameras and depth [N, H, W] of the context views nearest to the target, 0 where other views do not agree."""
    order = viewpoint_distance(target, cameras).amin(0).argsort().tolist()
    chosen = sorted(order[:SWEPT_VIEWS])
    depth = plane_sweep(frames, cameras, _radius(cameras), chosen).depth
    if not (depth > 0).any():
        raise PeerError("stereo matched nothing in the context")
    views = cameras[chosen]
    # What only one view claims is mostly a wrong match; a view always agrees with itself.
    agreeing = seen_from(views, depth, views, depth, AGREEMENT).sum(1)
    return frames[chosen], views, np.where(agreeing >= 2, depth, 0).astype(np.float32)


def _splat(depth: np.ndarray, cameras: Cameras, target: Cameras, height: int, width: int) -> np.ndarray:
    """Depth [H, W] seen by one camera of points of other views, 0 where there are none."""
    rows, columns = (torch.arange(size) + 0.5 for size in depth.shape[1:])
    grid = torch.stack(torch.meshgrid(columns / len(columns), rows / len(rows), indexing="xy"), dim=-1)  # [h, w, 2]
    pixels = torch.cat([grid, torch.ones_like(grid[..., :1])], dim=-1).reshape(-1, 3).double()
    rays = pixels @ torch.linalg.inv(cameras.intrinsics).mT @ cameras.rotations.mT  # [N, h w, 3], depth 1
    distances = torch.from_numpy(depth).flatten(1).double()
    points = (rays * distances[..., None] + cameras.positions[:, None])[distances > 0]
    in_camera = points @ target.rotations[0].T.mT - target.positions[0] @ target.rotations[0]
    in_camera = in_camera[in_camera[:, 2] > 1e-3]
    projected = in_camera @ target.pixel_intrinsics(height, width)[0].T
    places = (projected[:, :2] / projected[:, 2:]).floor().long()
    inside = ((places >= 0) & (places < torch.tensor([width, height]))).all(1)
    flat = places[inside, 1] * width + places[inside, 0]
    nearest = torch.full((height * width,), torch.inf, dtype=torch.float64)
    nearest.scatter_reduce_(0, flat, in_camera[inside, 2], "amin")
    seen = nearest.where(nearest.isfinite(), torch.zeros(())).view(height, width).numpy()
    return _without_pinholes(seen, FILLED_ASIDE * height / 64)


def _without_pinholes(depth: np.ndarray, reach: float) -> np.ndarray:
    """Holes no wider than `reach` pixels get the nearest depth, single points that stand out that of their surroundings."""
    if not (depth > 0).any():
        return depth.astype(np.float32)
    distance, nearest = distance_transform_edt(depth <= 0, return_indices=True)
    filled = np.where(distance <= reach, depth[tuple(nearest)], 0)
    return np.where(filled > 0, median_filter(filled, 3), 0).astype(np.float32)


def _painted_over(picture: np.ndarray, known: np.ndarray, mean: np.ndarray) -> np.ndarray:
    if not known.any():
        return np.broadcast_to(mean, picture.shape).copy()
    return cv2.inpaint(picture, (~known).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _structure_from_motion(clip: Clip) -> tuple[np.ndarray, Cameras]:
    """The context frames that could be placed, the anchor first, and their cameras in the world of the commanded ones."""
    target = clip.instruction.cameras
    order = [clip.anchor, *(index for index in range(len(clip.context_frames)) if index != clip.anchor)]
    frames = clip.context_frames[order]
    try:
        found = sfm.estimate(Evidence(frames, target.intrinsics[:1].expand(len(frames), 3, 3), target[0]))
    except (ImportError, EstimationError) as error:
        raise PeerError(f"the context's cameras are unknown: {error}") from error
    placed = np.flatnonzero(found.position_known).tolist()
    frames, cameras = frames[placed], found.cameras[placed]
    depth = plane_sweep(frames, cameras, _radius(cameras), [0]).depth
    if not (depth > 0).any():
        raise PeerError("stereo matched nothing in the anchor frame, so that nothing sets the scale")
    factor = TYPICAL_DEPTH / float(np.median(depth[depth > 0]))
    return frames, cameras.relative_to(0).scaled(factor, target.metric).placed_at(target[0])


def _radius(cameras: Cameras) -> float:
    """How far the cameras are spread, the yardstick of depths; the scene is about as wide as the walk through it."""
    spread = cameras.positions - cameras.positions.median(0).values
    radius = float(torch.linalg.vector_norm(spread, dim=-1).median())
    if radius <= 0:
        raise PeerError("the context's camera only turns: stereo sees no depth")
    return radius


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

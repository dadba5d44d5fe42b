"""A peer of the model: any image-to-video model, which knows nothing of the scene and goes on from the anchor frame."""

import inspect
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from video4spatial.clips import Clip
from video4spatial.evaluation.rows.inputs import PeerError
from video4spatial.media import resize_and_crop


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
        pipeline = DiffusionPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
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

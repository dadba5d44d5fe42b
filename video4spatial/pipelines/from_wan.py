"""A pipeline that starts from a pretrained Wan."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler

from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.conditions.text import load_text
from video4spatial.models.wan_weights import read_json, read_wan_config, transformer_folder
from video4spatial.pipelines.pipeline import Video4SpatialPipeline


def load_wan_pipeline(
    folder: str | Path,
    *,
    height: int,
    width: int,
    frame_rate: float = 16.0,
    target_frames: int = 81,
    num_inference_steps: int = 50,
    torch_dtype: torch.dtype = torch.float32,
    **own_options,
) -> Video4SpatialPipeline:
    """A pipeline that starts from Wan: its autoencoder, text encoder and flow shift, its transformer by `from_wan`.

    It generates what Wan generates until its camera modules and its context are trained.

    Args:
        folder: pipeline folder of a supported Wan model.
        height, width: picture size in pixels, multiples of 16 (Wan 2.2 TI2V 5B: of 32).
        frame_rate: frames per second of the videos Wan was trained on; 16, and 24 for Wan 2.2 TI2V 5B.
        target_frames: frames per video it was trained with; 81, and 121 for Wan 2.2 TI2V 5B.
        num_inference_steps: denoising steps where a call names none.
        torch_dtype: of transformer and text encoder; the autoencoder stays in float32, as Wan's authors advise.
        own_options: as for `Video4SpatialTransformer3DModel.from_wan`.

    Returns:
        A `Video4SpatialPipeline`; its `text_encoder` and `tokenizer` are None where the folder has none.

    Raises:
        ValueError: naming what does not fit.
        ImportError: if the folder has a text encoder and transformers is not installed.
    """
    folder = Path(folder)
    config = read_wan_config(transformer_folder(folder))
    kind = read_json(folder / "vae" / "config.json").get("_class_name")
    if kind != "AutoencoderKLWan":
        raise ValueError(f"{folder}/vae holds a {kind}: expected an AutoencoderKLWan.")
    scheduler = flow_scheduler(folder / "scheduler")
    vae = AutoencoderKLWan.from_pretrained(folder / "vae", use_safetensors=True)
    has_text = (folder / "text_encoder").is_dir()
    text_encoder, tokenizer = load_text(folder, torch_dtype) if has_text else (None, None)
    problems = []
    if vae.config.z_dim != config["in_channels"]:
        problems.append(f"the autoencoder has {vae.config.z_dim} latent channels, the transformer takes {config['in_channels']}")
    text_dim = config["text_dim"] if text_encoder is None else text_encoder.config.d_model
    if text_dim != config["text_dim"]:
        problems.append(f"the text encoder's states are {text_dim} wide, the transformer takes {config['text_dim']}")
    channels, expected = own_options.get("camera_channels", 24), 6 * vae.config.scale_factor_temporal
    if channels not in (None, expected):
        problems.append(f"camera_channels={channels}: expected {expected}, 6 for each frame of a latent, or None")
    grid = vae.config.scale_factor_spatial * config["patch_size"][1]
    if height % grid or width % grid:
        problems.append(f"height {height}, width {width}: expected multiples of {grid} pixels")
    if problems:
        raise ValueError(f"the parts in {folder} do not fit together:\n  " + "\n  ".join(problems))
    return Video4SpatialPipeline(
        vae,
        Video4SpatialTransformer3DModel.from_wan(folder, torch_dtype=torch_dtype, **own_options),
        scheduler,
        height=height,
        width=width,
        frame_rate=frame_rate,
        target_frames=target_frames,
        num_inference_steps=num_inference_steps,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )


def flow_scheduler(folder: Path) -> FlowMatchEulerDiscreteScheduler:
    """An Euler scheduler with the shift of a saved scheduler (UniPC's `flow_shift`, or `shift`).

    Raises:
        ValueError: if the folder names no constant shift.
    """
    config = read_json(folder / "scheduler_config.json")
    shift = config.get("flow_shift", config.get("shift"))
    if shift is None or config.get("use_dynamic_shifting"):
        raise ValueError(f"{folder}/scheduler_config.json: expected a constant flow_shift or shift, as Wan has it.")
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=config.get("num_train_timesteps", 1000), shift=shift)

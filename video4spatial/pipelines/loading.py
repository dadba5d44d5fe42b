"""Pipelines from folders: models onto the device and in the precision that are asked for, and starts from a pretrained Wan."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from safetensors import safe_open

from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.attention import resolve_backend
from video4spatial.models.conditions.text import load_text
from video4spatial.models.wan_weights import read_json, read_wan_config, transformer_folder
from video4spatial.pipelines.pipeline import Video4SpatialPipeline
from video4spatial.pipelines.settings import complaints
from video4spatial.pretrained import ModelFolder

DTYPES = {"BF16": "bfloat16", "F16": "float16"}
"""Narrow precisions of safetensors files and torch's names for them."""


@dataclass(frozen=True)
class LoadingSettings:
    """Where and how a model computes.

    Args:
        device: auto (a GPU where there is one), cpu, cuda, or one of several as cuda:1.
        dtype: of the transformer: float32, bfloat16, or auto (as saved on a GPU, float32 on a CPU). The autoencoder stays in
            float32.
        offload: none, or model: its parts take turns on the GPU.
        tile_autoencoder: let the autoencoder work through large pictures piece by piece.
        attention: attention back end by name, or None for PyTorch's own choice.
        compile: compile the transformer's blocks.
    """

    device: str = "auto"
    dtype: str = "float32"
    offload: str = "none"
    tile_autoencoder: bool = False
    attention: str | None = None
    compile: bool = False

    def resolved_device(self) -> str:
        """The device, with `auto` decided.

        Raises:
            ValueError: for a GPU that this machine does not have.
        """
        available = torch.cuda.is_available()
        if self.device == "auto":
            return "cuda" if available else "cpu"
        if self.device.startswith("cuda") and not available:
            raise ValueError(f"`device` {self.device}: this machine has no CUDA device; leave it out, or use `device` cpu.")
        return self.device

    def resolved_dtype(self, folder: ModelFolder) -> str:
        """The transformer's precision in torch's words, with `auto` decided.

        Args:
            folder: of the model.
        """
        if self.dtype != "auto":
            return self.dtype
        return "float32" if self.resolved_device() == "cpu" else saved_dtype(folder)

    def check(self, folder: ModelFolder) -> None:
        """Refuse what this machine cannot do, before the weights are loaded.

        Args:
            folder: of the model.

        Raises:
            ValueError: naming every problem.
        """
        device, problems = self.resolved_device(), []
        if device == "cpu" and self.offload != "none":
            problems.append(
                f"`offload` {self.offload} moves parts between the GPU and the CPU, but this run has no GPU: leave it out"
            )
        if self.attention is not None:
            dtype, head = getattr(torch, self.resolved_dtype(folder)), folder.transformer.get("attention_head_dim", 64)
            problems += complaints(resolve_backend, self.attention, device, dtype, head)
        if problems:
            raise ValueError("; ".join(problems))


def saved_dtype(folder: ModelFolder) -> str:
    """The precision of most weights of a model's transformer; parts that need it stay in float32 in any.

    Args:
        folder: of the model.
    """
    counts = Counter()
    for path in (folder.path / "transformer").glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            counts.update(file.get_slice(name).get_dtype() for name in file.keys())
    return DTYPES.get(counts.most_common(1)[0][0], "float32") if counts else "float32"


def load_pipeline(folder: ModelFolder, settings: LoadingSettings = LoadingSettings()) -> Video4SpatialPipeline:
    """The pipeline of a checked model folder.

    Args:
        folder: of the model.
        settings: where and how it computes.

    Raises:
        ValueError: for a device or an attention back end that this machine does not have.
    """
    device, dtype = settings.resolved_device(), getattr(torch, settings.resolved_dtype(folder))
    precision = {"transformer": dtype, "text_encoder": dtype, "default": torch.float32}
    options = {} if dtype == torch.float32 else {"torch_dtype": precision}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that name of the option is the one that all versions we allow know
        pipeline = Video4SpatialPipeline.from_pretrained(folder.path, use_safetensors=True, **options)
    if settings.tile_autoencoder:
        pipeline.vae.enable_tiling()
    transformer = pipeline.transformer.to(device)
    if settings.attention is not None:
        transformer.set_attention_backend(settings.attention)
    if settings.compile:
        transformer.compile_repeated_blocks()
    if settings.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.to(device)
    return pipeline


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

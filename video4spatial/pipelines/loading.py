"""Loading of models onto the device and in the precision that are asked for."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import torch
from safetensors import safe_open

from video4spatial.models.attention import resolve_backend
from video4spatial.pipelines.pipeline import Video4SpatialPipeline
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
            try:
                dtype = getattr(torch, self.resolved_dtype(folder))
                resolve_backend(self.attention, device, dtype, folder.transformer.get("attention_head_dim", 64))
            except ValueError as error:
                problems.append(str(error).rstrip("."))
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
        pipeline = Video4SpatialPipeline.from_pretrained(folder.path, **options)
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

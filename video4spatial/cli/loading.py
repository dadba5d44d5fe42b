"""Loading of models, quietly, onto the device and in the precision that were asked for."""

import warnings
from collections import Counter
from dataclasses import dataclass

from video4spatial.cli.terminal import note, stage
from video4spatial.pretrained import ModelFolder

DTYPES = {"BF16": "bfloat16", "F16": "float16"}
"""Narrow precisions of safetensors files and torch's names for them."""


@dataclass(frozen=True)
class Placement:
    """Where and how a model computes.

    Args:
        device: auto (a GPU where there is one), cpu, cuda, or one of several as cuda:1.
        dtype: of the transformer: float32, bfloat16, or auto (as saved on a GPU, float32 on a CPU); the autoencoder stays in float32.
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
        import torch

        available = torch.cuda.is_available()
        if self.device == "auto":
            return "cuda" if available else "cpu"
        if self.device.startswith("cuda") and not available:
            raise ValueError(f"--device {self.device}: this machine has no CUDA device; leave it out, or use --device cpu.")
        return self.device

    def resolved_dtype(self, folder: ModelFolder) -> str:
        """The transformer's precision in torch's words, with `auto` decided."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if self.resolved_device() == "cpu" else saved_dtype(folder)


def saved_dtype(folder: ModelFolder) -> str:
    """The precision of most weights of a model's transformer; parts that need it stay in float32 in any."""
    from safetensors import safe_open

    counts = Counter()
    for path in (folder.path / "transformer").glob("*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            counts.update(file.get_slice(name).get_dtype() for name in file.keys())
    return DTYPES.get(counts.most_common(1)[0][0], "float32") if counts else "float32"


def quiet_diffusers() -> None:
    """No progress bar while parts load, no hints to developers."""
    from diffusers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()


def load_pipeline(folder: ModelFolder, placement: Placement = Placement()):
    """The pipeline of a checked model folder, placed as asked for.

    Raises:
        ValueError: for a device or an attention back end that this machine does not have.
    """
    with stage("loading the model"):
        # Imported here: commands must answer --help and mistakes before the seconds that this takes.
        import torch

        from video4spatial.pipelines import Video4SpatialPipeline

        quiet_diffusers()
        device, dtype = placement.resolved_device(), getattr(torch, placement.resolved_dtype(folder))
        precision = {"transformer": dtype, "text_encoder": dtype, "default": torch.float32}
        options = {} if dtype == torch.float32 else {"torch_dtype": precision}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # that name of the option is the one that all versions we allow know
            pipeline = Video4SpatialPipeline.from_pretrained(folder.path, **options)
        pipeline.set_progress_bar_config(disable=True)
        if placement.tile_autoencoder:
            pipeline.vae.enable_tiling()
        transformer = pipeline.transformer.to(device)
        if placement.attention is not None:
            transformer.set_attention_backend(placement.attention)
        if placement.compile:
            transformer.compile_repeated_blocks()
        if placement.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.to(device)
    if placement.compile:
        note("the transformer is compiled while it is first used: the first steps take much longer than the others.")
    return pipeline

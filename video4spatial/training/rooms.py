"""Render, encode and train under a time budget, on whatever device there is.

    python -m video4spatial.training.rooms autoencoder --minutes 15 --output runs/vae
    python -m video4spatial.training.rooms transformer --minutes 60 --autoencoder runs/vae --output runs/rooms
    python -m video4spatial.training.rooms ship --pipeline runs/rooms --output built_in/rooms

A run that follows another starts from its weights (`--init-from`) with a new warm-up; exact resume is `train.py`'s.
"""

import logging
import os
import shutil
from pathlib import Path
from typing import Literal

import lightning
import torch
from diffusers import AutoencoderKL
from jsonargparse import auto_cli
from lightning.pytorch.callbacks import EMAWeightAveraging

from video4spatial.models.autoencoder import measure_latent_statistics
from video4spatial.pipelines import Video4SpatialPipeline
from video4spatial.training.autoencoder import AutoencoderModule, start_linear
from video4spatial.training.batches import Curriculum
from video4spatial.training.callbacks import ExportPipeline, JsonLog, TimeBudget, save_pipeline
from video4spatial.training.data import RoomsData
from video4spatial.training.navigation import NavigationModule


Precision = Literal["32-true", "bf16-mixed"]


def _trainer(minutes: float, callbacks: list, precision: Precision | None = None) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    cuda = torch.cuda.is_available()
    units = getattr(torch.cpu, "get_capabilities", dict)()
    fast_bf16 = cuda or units.get("amx_bf16", False) or units.get("avx512_bf16", False)
    return lightning.Trainer(
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        precision=precision or ("bf16-mixed" if fast_bf16 else "32-true"),
        max_steps=-1,
        callbacks=[TimeBudget(minutes), *callbacks],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=os.isatty(2),
        enable_model_summary=False,
    )


def autoencoder(
    output: str,
    minutes: float = 15.0,
    bank: str = ".cache/rooms_bank.safetensors",
    scenes: int = 600,
    size: int = 64,
    batch_size: int = 8,
    learning_rate: float = 1e-4,
    init_from: str | None = None,
    seed: int = 0,
) -> None:
    """Train the picture autoencoder and measure its latent statistics.

    Args:
        output: folder to write; must not exist.
        minutes: time budget of the training itself.
        bank: file with rendered scenes, made when missing.
        scenes: scenes in it.
        size: picture size in pixels.
        batch_size: pictures per step.
        learning_rate: of AdamW.
        init_from: folder of an autoencoder to start from.
        seed: of weights and drawing.
    """
    folder = _new_folder(output)
    lightning.seed_everything(seed, verbose=False)
    module = AutoencoderModule(learning_rate=learning_rate)
    data = RoomsData(bank=bank, scenes=scenes, size=size, batch_size=batch_size, seed=seed)
    data.setup("fit")
    if init_from is None:
        start_linear(module.autoencoder, torch.cat([data.draw(step) for step in range(-40, 0)]))
    else:
        module.autoencoder = module.autoencoder.from_pretrained(init_from)
    average = EMAWeightAveraging(decay=0.998)
    # In single precision on every device: the constants of `start_linear` need its digits.
    _trainer(minutes, [average, JsonLog(f"{output}.jsonl")], "32-true").fit(module, data)
    model = module.autoencoder.eval()
    measure_latent_statistics(model, (data.draw(step).unsqueeze(2).to(model.device) for step in range(10**6, 10**6 + 40)))
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(aside)
    aside.rename(folder)


def transformer(
    autoencoder: str,
    output: str,
    minutes: float = 60.0,
    bank: str = ".cache/rooms_bank.safetensors",
    scenes: int = 600,
    variants: int = 1,
    targets_per_scene: int = 6,
    walk_frames: int = 48,
    size: int = 64,
    batch_size: int = 16,
    learning_rate: float = 6e-4,
    width: int = 192,
    layers: int = 6,
    patch: int = 1,
    prediction_type: Literal["flow", "sample"] = "sample",
    spatial_positions: Literal["grid", "compass"] = "compass",
    noise_shift: float = 8.0,
    points_weight: float = 0.2,
    camera_weight: float = 1.0,
    curriculum: Curriculum | None = None,
    null_context: tuple[Literal["absent", "noise"], ...] | None = None,
    precision: Precision | None = None,
    compile: bool = False,
    init_from: str | None = None,
    domain: str = "simulated rooms",
    ema_decay: float = 0.998,
    export_every: int = 2000,
    keep_exports: bool = False,
    seed: int = 0,
) -> None:
    """Train the transformer and write the pipeline folder.

    Args:
        autoencoder: folder of the trained autoencoder.
        output: pipeline folder to write (also during training, every `export_every` steps).
        minutes: time budget of the training itself.
        bank: file with rendered scenes, made when missing.
        scenes, variants, targets_per_scene, walk_frames: sizes of the bank.
        size: picture size in pixels.
        batch_size: examples per step.
        learning_rate: of AdamW.
        width, layers, patch: width of the tokens (a multiple of 64), blocks, latent pixels per token along each axis.
        prediction_type: what the model predicts.
        spatial_positions: rotary positions of tokens: on the picture's grid, or by the direction they look in.
        noise_shift: shift of training (and sampling) noise levels.
        points_weight, camera_weight: weights of the geometry losses on the context.
        curriculum: what the examples look like over time: a YAML file with keys of `Curriculum`, or single ones, as in
            `--curriculum.pooled_probability 0.4`. Where it drops the instruction alone, the model's configuration says so.
        null_context: what stands for no context in the steps without conditions, one drawn of these; None keeps what `init_from`
            says (absent, when starting anew).
        precision: bf16-mixed or 32-true; by default bf16 where the device has units for it (a GPU, or a CPU with AMX or AVX512-BF16).
        compile: compile the blocks: some minutes at first, then faster steps.
        init_from: folder of a pipeline to start from: weights only, with a new warm-up.
        domain: what the model has seen, in words.
        ema_decay: of the averaged weights.
        export_every: steps between exports; 0 exports at the end only.
        keep_exports: keep each as OUTPUT-stepN.
        seed: of weights and drawing.
    """
    lightning.seed_everything(seed, verbose=False)
    curriculum = curriculum or Curriculum()
    nulls = {} if null_context is None else {"null_context": null_context}
    if curriculum.drop_instruction_probability > 0:
        nulls["null_instruction"] = True
    latent_channels = AutoencoderKL.load_config(autoencoder)["latent_channels"]
    module = NavigationModule(
        transformer={
            "in_channels": latent_channels,
            "out_channels": latent_channels,
            "patch_size": (1, patch, patch),
            "num_attention_heads": width // 64,
            "attention_head_dim": 64,
            "ffn_dim": 4 * width,
            "num_layers": layers,
            "camera_channels": 6,
            "geometry_heads": True,
            "spatial_positions": spatial_positions,
            "prediction_type": prediction_type,
            **nulls,
        },
        init_from=None if init_from is None else str(Path(init_from) / "transformer"),
        learning_rate=learning_rate,
        noise_shift=noise_shift,
        points_weight=points_weight,
        camera_weight=camera_weight,
    )
    data = RoomsData(
        bank=bank,
        scenes=scenes,
        variants=variants,
        targets_per_scene=targets_per_scene,
        walk_frames=walk_frames,
        size=size,
        autoencoder=autoencoder,
        batch_size=batch_size,
        curriculum=curriculum,
        seed=seed,
    )
    callbacks = [
        EMAWeightAveraging(decay=ema_decay),
        JsonLog(f"{output}.jsonl"),
        ExportPipeline(output, domain, noise_shift, export_every, keep_exports),
    ]
    if compile:
        torch._dynamo.config.cache_size_limit = 32  # with and without gradients, context, cameras
        module.transformer.compile_repeated_blocks(dynamic=True)
    _trainer(minutes, callbacks, precision).fit(module, data)


def ship(pipeline: str, output: str, num_inference_steps: int = 16, domain: str | None = None) -> None:
    """Write a trained pipeline in half precision, as the built-in models are stored; it loads in single precision again.

    Args:
        pipeline: folder of the trained pipeline.
        output: folder to write; must not exist.
        num_inference_steps: denoising steps that it is used with unless others are asked for.
        domain: what the model has seen, in words; None keeps what the pipeline says.
    """
    folder = _new_folder(output)
    # The autoencoder has large offsets (`start_linear`), which bfloat16 would round away.
    dtypes = {"transformer": torch.bfloat16, "vae": torch.float16}
    shipped = Video4SpatialPipeline.from_pretrained(pipeline, torch_dtype=dtypes)
    shipped.register_to_config(num_inference_steps=num_inference_steps, domain=domain or shipped.config.domain)
    save_pipeline(shipped, folder)


def _new_folder(path: str) -> Path:
    folder = Path(path)
    if folder.exists():
        raise FileExistsError(f"{folder} exists: choose another --output or remove it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    auto_cli([autoencoder, transformer, ship], as_positional=False)

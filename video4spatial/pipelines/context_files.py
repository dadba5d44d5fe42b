"""Encoded scenes as files: safetensors, mapped into memory when read, and refused where they do not fit the model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from video4spatial.cameras import Cameras
from video4spatial.files import written_aside
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.models.context_cache import ContextCache
from video4spatial.conditioning.plans import ContextPart
from video4spatial.pipelines.scene_context import SceneContext

FORMAT, VERSION = "video4spatial.scene_context", "1"

SAMPLED = 4096
"""Values of each weight that enter a model's fingerprint, evenly spread: training and adapters change nearly all of them."""


def fingerprint(*modules: nn.Module) -> str:
    """What identifies models whose encodings fit each other: configurations, and a sample of every weight.

    Args:
        modules: diffusers models.

    Returns:
        A SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for module in modules:
        config = {name: value for name, value in module.config.items() if not name.startswith("_")}
        digest.update(json.dumps(config, sort_keys=True, default=str).encode())
        for name, tensor in sorted(module.state_dict().items()):
            values = tensor.detach().flatten()
            values = values[:: max(1, len(values) // SAMPLED)].float().cpu()
            digest.update(f"{name} {list(tensor.shape)}".encode() + values.numpy().tobytes())
        for name, part in module.named_modules():
            scaling = vars(part).get("scaling")  # of LoRA layers: it is no weight, but changes what they compute
            if isinstance(scaling, dict):
                digest.update(f"{name} {sorted(scaling.items())} {part.active_adapters}".encode())
    return digest.hexdigest()


def write_context(path: str | Path, context: SceneContext, model: str, model_dtype: torch.dtype) -> None:
    """Write an encoded scene, aside first and then under its name.

    Args:
        path: file to write; `.safetensors` is customary.
        context: the scene.
        model: `fingerprint` of the model it was encoded with.
        model_dtype: in which that model computed.
    """
    tensors = {
        "frames": torch.from_numpy(np.ascontiguousarray(context.frames)),
        "times": torch.from_numpy(context.times),
        "latents": context.latents,
        "positions": context.positions,
    }
    settings = {
        "chunk_length": context.chunk_length,
        "parts": [[list(part.chunks), part.pool] for part in context.parts],
        "start": context.start,
        "coarse_share": context.coarse_share,
        "cameras": None,
        "cache": None,
        "geometry": None,
    }
    if context.scene_rays is not None:
        tensors["scene_rays"] = context.scene_rays
    if context.cameras is not None:
        settings["cameras"] = {"metric": context.cameras.metric, "convention": context.cameras.convention}
        for name, cameras in (("cameras", context.cameras), ("origin", context.origin)):
            tensors[f"{name}.camera_to_world"] = cameras.camera_to_world
            tensors[f"{name}.intrinsics"] = cameras.intrinsics
    if context.geometry is not None:
        geometry = context.geometry
        settings["geometry"] = {"reasons": list(geometry.reasons), "origin": geometry.origin, "metric": geometry.cameras.metric}
        tensors |= {
            "geometry.camera_to_world": geometry.cameras.camera_to_world, "geometry.intrinsics": geometry.cameras.intrinsics,
            "geometry.placed": torch.from_numpy(geometry.placed), "geometry.depth": torch.from_numpy(geometry.depth),
            "geometry.confidence": torch.from_numpy(geometry.confidence),
        }  # fmt: skip
    if context.cache is not None:
        cache = context.cache
        settings["cache"] = {
            "layers": len(cache.layers), "segments": cache.segments, "approximations": cache.approximations,
        }  # fmt: skip
        for index, (key, value) in enumerate(cache.layers):
            tensors |= {f"layers.{index}.key": key, f"layers.{index}.value": value}
    # Copies: a scene's cameras may be those of its geometry, and files hold no tensor twice.
    tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    metadata = {
        "format": FORMAT, "version": VERSION, "model": model, "model_dtype": str(model_dtype),
        "settings": json.dumps(settings), "sha256": _digest(tensors, json.dumps(settings)),
    }  # fmt: skip
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata)


def read_context(path: str | Path, model: str, model_dtype: torch.dtype) -> SceneContext:
    """Read an encoded scene. Its tensors are mapped from the file: memory is taken only for what is in use.

    Args:
        path: as written by `write_context`.
        model: `fingerprint` of the model that is to use it.
        model_dtype: in which that model computes.

    Raises:
        ValueError: for a file that is none of ours, of another version, truncated or changed, or of another model or dtype.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_header(path, metadata, model, model_dtype)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{path}: truncated, or no encoded scene at all ({error}). Encode the scene again.") from error
    if _digest(tensors, metadata["settings"]) != metadata["sha256"]:
        raise ValueError(f"{path}: its contents do not match their checksum; the file was changed. Encode the scene again.")
    settings = json.loads(metadata["settings"])

    def cameras(name: str) -> Cameras | None:
        if settings["cameras"] is None:
            return None
        return Cameras(tensors[f"{name}.camera_to_world"], tensors[f"{name}.intrinsics"], **settings["cameras"])

    cache = None
    if settings["cache"] is not None:
        layers = range(settings["cache"]["layers"])
        cache = ContextCache(
            tuple((tensors[f"layers.{index}.key"], tensors[f"layers.{index}.value"]) for index in layers),
            tuple(settings["cache"]["segments"]),
            tuple(settings["cache"]["approximations"]),
        )
    return SceneContext(
        frames=tensors["frames"].numpy(),
        times=tensors["times"].numpy(),
        cameras=cameras("cameras"),
        chunk_length=settings["chunk_length"],
        parts=tuple(ContextPart(tuple(chunks), pool) for chunks, pool in settings["parts"]),
        latents=tensors["latents"],
        positions=tensors["positions"],
        scene_rays=tensors.get("scene_rays"),
        cache=cache,
        start=settings["start"],
        origin=cameras("origin"),
        coarse_share=settings["coarse_share"],
        context_tokens_computed=0,
        geometry=_read_geometry(tensors, settings.get("geometry")),
    )


def _read_geometry(tensors: dict[str, torch.Tensor], settings: dict | None) -> SceneGeometry | None:
    """What a file holds of the scene's geometry; those of before it was kept hold none."""
    if settings is None:
        return None
    cameras = Cameras(tensors["geometry.camera_to_world"], tensors["geometry.intrinsics"], metric=settings["metric"])
    placed, depth, confidence = (tensors[f"geometry.{name}"].numpy() for name in ("placed", "depth", "confidence"))
    reasons = tuple(settings["reasons"])
    return SceneGeometry(tensors["frames"].numpy(), cameras, placed, depth, confidence, reasons, settings["origin"])


def _check_header(path: Path, metadata: dict[str, str], model: str, model_dtype: torch.dtype) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: a safetensors file, but no encoded scene.")
    if metadata.get("version") != VERSION:
        raise ValueError(f"{path}: version {metadata.get('version')} of the format; this one reads {VERSION}. Encode the scene again.")
    missing = [name for name in ("model", "model_dtype", "settings", "sha256") if name not in metadata]
    if missing:
        raise ValueError(f"{path}: its header lacks {', '.join(missing)}. Encode the scene again.")
    if metadata["model"] != model:
        raise ValueError(f"{path}: encoded with another model (weights or configuration differ). Encode the scene again.")
    if metadata["model_dtype"] != str(model_dtype):
        raise ValueError(
            f"{path}: encoded by a model in {metadata['model_dtype']}, but this one computes in {model_dtype}. Load the model in "
            "that dtype, or encode the scene again."
        )


def _digest(tensors: dict[str, torch.Tensor], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

"""Pretrained Wan weights: read from diffusers folders, and written back as such.

Supported are the text-to-video models of one transformer: Wan 2.1 T2V 1.3B and 14B (Wan, arXiv 2503.20314) and Wan 2.2 TI2V 5B.
The last one's timestep per token is this package's timestep per latent frame.
"""

import inspect
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel, __version__
from diffusers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open

from video4spatial.models.transformer import Video4SpatialTransformer3DModel
from video4spatial.parsing import read_object

SUPPORTED = "Wan 2.1 T2V 1.3B or 14B, or Wan 2.2 TI2V 5B, in the format of diffusers"
LISTED = 8  # names that a message lists of each kind


def transformer_from_wan(
    model_class: type[Video4SpatialTransformer3DModel],
    folder: str | Path,
    *,
    torch_dtype: torch.dtype = torch.float32,
    camera_channels: int | None = 24,
    **own_options,
) -> Video4SpatialTransformer3DModel:
    """What `Video4SpatialTransformer3DModel.from_wan` does; its arguments are explained there."""
    source = transformer_folder(Path(folder))
    config = read_wan_config(source)
    own_options = {"camera_channels": camera_channels, **own_options}
    allowed = set(_options(model_class)) - set(_options(WanTransformer3DModel))
    if not own_options.keys() <= allowed:
        given = ", ".join(sorted(own_options.keys() - allowed))
        raise ValueError(f"{given}: set by the Wan model, or unknown; expected options among {', '.join(sorted(allowed))}.")
    with torch.device("meta"):
        model = model_class(**config, **own_options)
        shapes = _shapes(WanTransformer3DModel(**config))
    files = _weight_files(source)
    _check_weights(source, _stored_shapes(files), shapes)

    def in_dtype(name: str, tensor: torch.Tensor) -> torch.Tensor:
        keep = any(part in model_class._keep_in_fp32_modules for part in name.split("."))
        return tensor.to(torch.float32 if keep else torch_dtype)

    weights = {name: in_dtype(name, tensor) for name, tensor in _stored_tensors(files)}
    # The new modules start as they do in a fresh model; one without blocks is enough to take them from.
    fresh = model_class(**{**config, "num_layers": 0}, **own_options).state_dict()
    weights |= {name: in_dtype(name, tensor) for name, tensor in fresh.items() if name not in shapes}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def read_wan_config(folder: Path) -> dict:
    """Options of the `WanTransformer3DModel` saved in a transformer folder.

    Raises:
        ValueError: if it is another kind of model, or one of Wan's that is not supported.
    """
    stored = read_json(folder / "config.json")
    kind = stored.get("_class_name")
    if kind != "WanTransformer3DModel":
        hints = {
            "Video4SpatialTransformer3DModel": "it is one of this package already, load it with from_pretrained",
            "WanModel": "it is in Wan's original format, take the folder whose name ends in -Diffusers",
        }
        raise ValueError(f"{folder} holds a {kind}, not a WanTransformer3DModel: {hints.get(kind, f'expected {SUPPORTED}')}.")
    defaults = _options(WanTransformer3DModel)
    config = {**defaults, **{name: value for name, value in stored.items() if not name.startswith("_")}}
    config["out_channels"] = config["out_channels"] or config["in_channels"]
    problems = []
    if unknown := sorted(config.keys() - defaults.keys()):
        problems.append(f"unknown options {', '.join(unknown)}")
    if image := [name for name in ("image_dim", "added_kv_proj_dim", "pos_embed_seq_len") if config[name] is not None]:
        problems.append(f"{', '.join(image)} set: it has Wan's image branch, which is not supported")
    if config["in_channels"] != config["out_channels"]:
        problems.append(
            f"in_channels={config['in_channels']} but out_channels={config['out_channels']}: it also takes a picture or video "
            "along with the noise, which is not supported"
        )
    if problems:
        raise ValueError(f"the transformer in {folder} cannot be used (expected {SUPPORTED}):\n  " + "\n  ".join(problems))
    return config


def save_wan_lora(transformer: Video4SpatialTransformer3DModel, folder: str | Path, adapter_name: str = "default") -> None:
    """Write a LoRA adapter as diffusers' Wan pipelines load it (`transformer.blocks.0.attn1.to_q.lora_A.weight`, ...).

    The way back is `transformer.load_lora_adapter(folder, use_safetensors=True)`, here and in diffusers, where a pipeline's
    `load_lora_weights(folder)` takes it too.

    Args:
        transformer: a model with an adapter of peft (`add_adapter`).
        folder: where to write `pytorch_lora_weights.safetensors`; made if missing.
        adapter_name: which adapter.

    Raises:
        ValueError: if there is no such adapter, or it also changes modules that Wan does not have.
    """
    # Imported here: both need transformers.
    from diffusers.loaders import WanLoraLoaderMixin
    from peft.utils import get_peft_model_state_dict

    adapters = getattr(transformer, "peft_config", {})
    if adapter_name not in adapters:
        known = " or ".join(map(repr, adapters)) or "one made by add_adapter"
        raise ValueError(f"no adapter {adapter_name!r}: expected {known}.")
    weights = get_peft_model_state_dict(transformer, adapter_name=adapter_name)
    wan_modules = {name.rpartition(".")[0] for name in _wan_shapes_of(dict(transformer.config))}
    adapted = {name.split(".lora_")[0] for name in weights}
    if own := adapted - wan_modules:
        raise ValueError(f"the adapter changes {_listed(own)}, which Wan does not have: choose target_modules within its blocks.")
    metadata = adapters[adapter_name].to_dict()
    WanLoraLoaderMixin.save_lora_weights(
        str(folder), transformer_lora_layers=weights, transformer_lora_adapter_metadata=metadata
    )


def export_wan(folder: str | Path, output: str | Path) -> list[str]:
    """Write a model's shared weights as a plain pipeline folder of Wan, bit for bit.

    Vae, text encoder, tokenizer and scheduler are copied where present, and a README lists what was left out.

    Args:
        folder: pipeline folder of this package.
        output: existing empty folder.

    Returns:
        What a Wan folder has no place for, one phrase each.

    Raises:
        ValueError: if the transformer has no text branch, or its weights are not complete.
    """
    folder, output = Path(folder), Path(output)
    config = read_json(folder / "transformer" / "config.json")
    if config.get("_class_name") != "Video4SpatialTransformer3DModel":
        raise ValueError(f"{folder}/transformer holds a {config.get('_class_name')}: expected a Video4SpatialTransformer3DModel.")
    if config.get("text_dim") is None:
        raise ValueError(f"the model in {folder} reads no text (text_dim is null): it cannot be a Wan model, all of which do.")
    options = _options(WanTransformer3DModel)
    with torch.device("meta"):
        wan = WanTransformer3DModel(**{name: config[name] for name in options if name in config})
    shapes = _shapes(wan)
    files = _weight_files(folder / "transformer")
    stored = {name: shape for name, shape in _stored_shapes(files).items() if name in shapes}
    _check_weights(folder / "transformer", stored, shapes)
    wan.load_state_dict({name: tensor for name, tensor in _stored_tensors(files) if name in shapes}, assign=True)
    wan.save_pretrained(output / "transformer")

    vae = read_json(folder / "vae" / "config.json") if (folder / "vae").is_dir() else {}
    left_out = _without_a_place(config, vae)
    index = read_json(folder / "model_index.json")
    parts = {"transformer": ["diffusers", "WanTransformer3DModel"], "transformer_2": [None, None]}
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        origin = index.get(name) or [None, None]
        usable = origin[0] is not None and (name != "vae" or vae.get("_class_name") == "AutoencoderKLWan")
        parts[name] = origin if usable else [None, None]
        if usable:
            shutil.copytree(folder / name, output / name)
    # Wan 2.2 TI2V, whose pipelines give a timestep to each token, is the one with the residual autoencoder.
    settings = {"boundary_ratio": None, "expand_timesteps": vae.get("is_residual", False)}
    content = {"_class_name": "WanPipeline", "_diffusers_version": __version__, **parts, **settings}
    (output / "model_index.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (output / "README.md").write_text(_export_readme(folder.name, index, parts, left_out), encoding="utf-8")
    return left_out


def _without_a_place(config: dict, vae: dict) -> list[str]:
    """Phrases for what a Wan folder cannot say about a model with this transformer and this autoencoder."""
    phrases = [f"the scene context (attention_mode {config.get('attention_mode', 'causal_context')})"]
    if config.get("camera_channels") is not None:
        phrases.append("the camera modules: it follows no camera path")
    if config.get("geometry_heads"):
        phrases.append("the geometry heads")
    if config.get("spatial_positions") == "compass":
        phrases.append("compass positions: Wan places tokens by row and column, and computes something else with these weights")
    if config.get("prediction_type") == "sample":
        phrases.append("prediction_type sample: the weights predict clean latents, and Wan's pipelines take them for the flow")
    if vae and vae.get("_class_name") != "AutoencoderKLWan":
        phrases.append(f"the autoencoder, of class {vae.get('_class_name')}: Wan's pipelines take AutoencoderKLWan")
    return phrases


def _export_readme(name: str, index: dict, parts: dict, left_out: list[str]) -> str:
    held = ", ".join(part for part, origin in parts.items() if origin[0] is not None)
    lines = "\n".join(f"- {phrase}" for phrase in left_out)
    return (
        f"# {name}, as a Wan model\n\n"
        "Written by `v4s export` from a model of video4spatial, for diffusers: `WanTransformer3DModel`, `WanPipeline`.\n"
        f"It holds: {held}. The weights that both share are unchanged. The model was made for "
        f"{index['width']} x {index['height']} pixels, {index['target_frames']} frames at {index['frame_rate']:g} per second.\n\n"
        f"A Wan folder has no place for the following, which was left out:\n\n{lines}\n"
    )


def transformer_folder(folder: Path) -> Path:
    """The transformer's folder, given that or the pipeline's; refuses models of two transformers."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: expected {SUPPORTED}.")
    transformer = folder / "transformer" if (folder / "transformer").is_dir() else folder
    pipeline = transformer.parent
    index = read_json(pipeline / "model_index.json") if (pipeline / "model_index.json").is_file() else {}
    second = any(index.get("transformer_2") or [])
    if second or index.get("boundary_ratio") is not None:
        raise ValueError(
            f"the model in {pipeline} has two transformers, one for much noise and one for little (transformer_2, boundary_ratio "
            f"{index.get('boundary_ratio')}; Wan 2.2 A14B is one): not supported. Expected {SUPPORTED}."
        )
    return transformer


def _options(model_class: type) -> dict:
    """Names and defaults of a model's options."""
    parameters = list(inspect.signature(model_class.__init__).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters}


def _shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _wan_shapes_of(config: dict) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes(WanTransformer3DModel(**{name: config[name] for name in _options(WanTransformer3DModel)}))


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, one or several; pickled weights are never read."""
    listing = folder / SAFE_WEIGHTS_INDEX_NAME
    if listing.is_file():
        names = sorted(set(read_json(listing).get("weight_map", {}).values()))
    else:
        names = [SAFETENSORS_WEIGHTS_NAME]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        pickled = " Pickled weights (.bin) are not read: convert them." if any(folder.glob("*.bin")) else ""
        raise ValueError(f"{folder} lacks {_listed(missing) or 'weights'}: expected the weights as safetensors.{pickled}")
    return [folder / name for name in names]


def _stored_shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as stored:
                shapes |= {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}
        except SafetensorError as error:
            raise ValueError(f"{file} is damaged or cut short ({error}): copy it again.") from error
    return shapes


def _stored_tensors(files: list[Path]):
    """Names and tensors, one after another, so that no more than one is in memory in its stored type."""
    for file in files:
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():
                yield name, stored.get_tensor(name)


def _check_weights(folder: Path, stored: dict[str, tuple], expected: dict[str, tuple]) -> None:
    problems = []
    if missing := expected.keys() - stored.keys():
        problems.append(f"missing: {_listed(missing)}")
    if unknown := stored.keys() - expected.keys():
        problems.append(f"unknown: {_listed(unknown)}")
    different = [name for name in sorted(stored.keys() & expected.keys()) if stored[name] != expected[name]]
    if different:
        shapes = (f"{name} {list(stored[name])} instead of {list(expected[name])}" for name in different)
        problems.append(f"of another shape: {_listed(shapes)}")
    if problems:
        raise ValueError(f"the weights in {folder} are not those its config.json describes:\n  " + "\n  ".join(problems))


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def read_json(path: Path) -> dict:
    """Read a configuration.

    Args:
        path: of a file with a JSON object.

    Raises:
        ValueError: if it is missing, no JSON, or no object.
    """
    try:
        return read_object(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: expected a model folder of diffusers.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from error

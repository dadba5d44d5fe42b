"""Shapes of models: what their configurations say, for arithmetic that needs no weights and neither torch nor diffusers."""

import json
from dataclasses import dataclass
from pathlib import Path

from video4spatial.naming import unknown
from video4spatial.pretrained import built_in_models, resolve_model

WAN = {"attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256, "camera_channels": 24}
WAN_2_1_AUTOENCODER = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
WAN_2_2_AUTOENCODER = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "in_channels": 12,
    "out_channels": 12, "patch_size": 2, "is_residual": True, "scale_factor_spatial": 16, "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
}  # fmt: skip


@dataclass(frozen=True)
class ModelShape:
    """What the configurations of a model say.

    Args:
        name: as given.
        transformer, autoencoder: their configurations.
        height, width: picture size in pixels.
        frames: to generate, the anchor's included.
        context_frames: of the context.
        steps: of denoising.
        dtype: of the weights.
        assumed: what no configuration said, in words; empty if nothing.
    """

    name: str
    transformer: dict
    autoencoder: dict
    height: int = 480
    width: int = 832
    frames: int = 81
    context_frames: int = 81
    steps: int = 50
    dtype: str = "bfloat16"
    assumed: str = ""


# Shapes of public models, with the camera modules that `Video4SpatialTransformer3DModel.from_wan` adds.
PUBLIC_MODELS = {
    "wan-2.1-1.3b": ModelShape(
        "wan-2.1-1.3b", WAN | {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960}, WAN_2_1_AUTOENCODER
    ),
    "wan-2.1-14b": ModelShape(
        "wan-2.1-14b", WAN | {"num_layers": 40, "num_attention_heads": 40, "ffn_dim": 13824}, WAN_2_1_AUTOENCODER
    ),
    "wan-2.2-5b": ModelShape(
        "wan-2.2-5b",
        WAN | {"num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48},
        WAN_2_2_AUTOENCODER, height=704, width=1280, frames=121,
    ),
}  # fmt: skip


def read_model_shape(name: str) -> ModelShape:
    """What is known of a model without its weights.

    Args:
        name: of a built-in or public model, or path of a pipeline folder, a transformer's folder or its config.json.

    Raises:
        ValueError: if it is none of these, or a configuration cannot be used.
    """
    if name in PUBLIC_MODELS:
        return PUBLIC_MODELS[name]
    names = [*built_in_models(), *PUBLIC_MODELS]
    path = Path(name)
    if name not in names and not path.exists():
        raise ValueError(
            unknown("model", name, names)
            + f"; expected a pipeline folder, the configuration of a transformer, or one of {', '.join(names)}"
        )
    if path.is_file():
        return _transformer_alone(name, path)
    folder = resolve_model(name)
    if not (folder / "model_index.json").exists():
        return _transformer_alone(name, folder / "config.json")
    settings = _read_json(folder / "model_index.json")
    named = {"frames": "target_frames", "steps": "num_inference_steps"}
    keys = ("height", "width", "frames", "context_frames", "steps")
    known = {key: settings[named.get(key, key)] for key in keys if named.get(key, key) in settings}
    transformer = _checked_transformer(folder / "transformer" / "config.json")
    return ModelShape(name, transformer, _read_json(folder / "vae" / "config.json"), dtype="float32", **known)


def _transformer_alone(name: str, path: Path) -> ModelShape:
    """A model of which only the transformer's configuration is there."""
    transformer = _checked_transformer(path)
    channels = transformer.get("in_channels", 16)
    autoencoders = {16: ("Wan 2.1", WAN_2_1_AUTOENCODER), 48: ("Wan 2.2", WAN_2_2_AUTOENCODER)}
    if channels not in autoencoders:
        raise ValueError(
            f"{path}: no known autoencoder has its {channels} latent channels (Wan 2.1 has 16, Wan 2.2 has 48); "
            "give a pipeline folder"
        )
    family, autoencoder = autoencoders[channels]
    return ModelShape(name, transformer, autoencoder, assumed=f"the autoencoder is taken to be that of {family}")


def _checked_transformer(path: Path) -> dict:
    config = _read_json(path)
    missing = [key for key in ("num_attention_heads", "attention_head_dim", "ffn_dim", "num_layers") if key not in config]
    if missing:
        raise ValueError(f"{path}: not the configuration of a transformer, it lacks {', '.join(missing)}")
    return config


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, the configuration of a transformer")
    return content

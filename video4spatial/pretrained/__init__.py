"""What is known of models without their weights, from their folders and configurations alone: no torch, no diffusers.

The built-in models, the check of a model folder, and the shapes of models, for arithmetic.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from video4spatial.compression import spatial_compression_of
from video4spatial.naming import did_you_mean, unknown
from video4spatial.parsing import read_object

FOLDER = Path(__file__).parent
LITTLE = 1.15
"""A factor on aspect or side of pictures that hardly matters to a model."""
LIBRARIES = ("diffusers", "transformers", "video4spatial")
"""Where the parts of a model may come from: others would be imported, and with them whatever code they hold."""

SETTINGS = ("height", "width", "frame_rate", "target_frames", "context_frames")

WAN = {"attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256, "camera_channels": 24}
WAN_2_1_AUTOENCODER = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
WAN_2_2_AUTOENCODER = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "in_channels": 12,
    "out_channels": 12, "patch_size": 2, "is_residual": True, "scale_factor_spatial": 16, "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
}  # fmt: skip


KINDS = {
    **dict.fromkeys(["height", "width", "target_frames", "context_frames", "geometry_frames", "num_inference_steps"], int),
    **dict.fromkeys(["frame_rate", "least_aspect", "greatest_aspect"], float),
}  # fmt: skip
"""Settings of a pipeline that are numbers."""

MOST = 100_000
"""No setting reaches this."""


class ModelFolderError(ValueError):
    """A model that does not exist or cannot be loaded; the message names every file that is wrong."""


@dataclass(frozen=True)
class ModelFolder:
    """What a pipeline folder says about itself, known before its weights are loaded.

    Args:
        path: the folder.
        height, width: picture size of the model in pixels.
        frame_rate: frames per second of its videos.
        target_frames: frames per video it was trained with, the anchor's included.
        context_frames: most context frames it was trained with.
        geometry_frames: most context frames of which geometry is read, for models with a geometry prompt.
        domain: what it has seen, in words.
        num_inference_steps: denoising steps that suit it.
        aspects: least and greatest width / height of the pictures it was trained with, of about height x width pixels; None where all were
            height x width.
        grid: both sides of its pictures are multiples of so many pixels.
        reads_text: whether it has a text encoder.
        transformer: configuration of its transformer.
    """

    path: Path
    height: int
    width: int
    frame_rate: float
    target_frames: int
    context_frames: int
    geometry_frames: int
    domain: str
    num_inference_steps: int
    aspects: tuple[float, float] | None
    grid: int
    reads_text: bool
    transformer: dict

    def beyond_training(self, height: int, width: int) -> str:
        """In words, how a picture size differs from those the model was trained with; empty where it hardly does.

        Args:
            height, width: of the pictures in pixels.
        """
        aspect, trained = width / height, self.width / self.height
        low, high = self.aspects or (trained, trained)
        reasons = []
        if not low / LITTLE <= aspect <= high * LITTLE:
            known = f"of aspects from {low:.2f} to {high:.2f}" if low < high else f"of {self.width}x{self.height} pixels"
            reasons.append(f"the model was trained with pictures {known}")
        factor = height * width / (self.height * self.width)
        if not 1 / LITTLE**2 <= factor <= LITTLE**2:
            reasons.append(f"they have {factor:.2g} times as many pixels as those of the training")
        return f"pictures of {width}x{height} are further from what the model knows: {', and '.join(reasons)}" if reasons else ""


def built_in_models() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(entry.parent.name for entry in FOLDER.glob("*/model_index.json"))


def resolve_model(name_or_path: str | Path) -> Path:
    """The folder of a model.

    Args:
        name_or_path: name of a built-in model, or a pipeline folder.

    Raises:
        ModelFolderError: if it is neither.
    """
    names = built_in_models()
    if str(name_or_path) in names:
        return FOLDER / str(name_or_path)
    path = Path(name_or_path)
    if path.is_dir():
        return path
    known = f"built-in models: {', '.join(names) or 'none in this installation'}"
    if path.exists():
        raise ModelFolderError(f"model {str(path)!r} is a file: expected a pipeline folder ({known}).")
    hint = did_you_mean(str(name_or_path), names)
    raise ModelFolderError(
        f"there is no model {str(name_or_path)!r}{hint}: expected a pipeline folder or a name ({known})."
    )


def read_model_folder(name_or_path: str | Path) -> ModelFolder:
    """Check a model folder without loading it: every configuration readable, every weight file complete.

    Args:
        name_or_path: as for `resolve_model`.

    Raises:
        ModelFolderError: naming every file that is missing or damaged.
    """
    path = resolve_model(name_or_path)
    problems: list[str] = []
    index = _read_json(path / "model_index.json", problems)
    for name, origin in index.items():
        if isinstance(origin, list) and len(origin) != 2:
            problems.append(f"model_index.json: {name} {origin}, expected the library and the class of this part")
        elif not name.startswith("_") and isinstance(origin, list) and all(origin):
            problems += _component_problems(path / name)
            library = str(origin[0]).split(".")[0]
            if library not in LIBRARIES:
                problems.append(f"model_index.json takes {name} from {library!r}: expected {' or '.join(LIBRARIES)}")
    missing = [key for key in SETTINGS if key not in index]
    if index and missing:
        problems.append(f"model_index.json lacks {', '.join(missing)}: it is not a folder of this package")
    elif index:
        problems += _wrong_settings(index)
    transformer, autoencoder = (_read_json(path / name / "config.json", []) for name in ("transformer", "vae"))
    grid = 0
    try:
        grid = _grid(transformer, autoencoder)
        if not isinstance(grid, int) or grid < 1:
            raise ValueError(f"a grid of {grid!r} pixels")
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        problems.append(f"transformer/config.json and vae/config.json do not say how pictures become tokens ({error})")
    if problems:
        raise ModelFolderError(f"the model in {path} cannot be loaded: {'; '.join(problems)}.")
    return ModelFolder(
        path,
        *(index[key] for key in SETTINGS),
        geometry_frames=index.get("geometry_frames", 32),
        domain=index.get("domain", ""),
        num_inference_steps=index.get("num_inference_steps", 16),
        aspects=(index["least_aspect"], index["greatest_aspect"]) if index.get("least_aspect") else None,
        grid=grid,
        reads_text=any(index.get("text_encoder") or ()),
        transformer=transformer,
    )


def _wrong_settings(index: Mapping) -> list[str]:
    """What of `model_index.json` cannot be used, in words."""
    least, most = index.get("least_aspect"), index.get("greatest_aspect")
    numbers = {name: (index.get(name), kind) for name, kind in KINDS.items() if index.get(name) is not None}
    wrong = [
        f"model_index.json: {name} {value!r}, expected a {'whole ' if kind is int else ''}number above 0"
        for name, (value, kind) in numbers.items()
        if isinstance(value, bool) or not isinstance(value, (int, kind)) or not 0 < value < MOST
    ]
    if not isinstance(index.get("domain", ""), str):
        wrong.append("model_index.json: domain is no text")
    if bool(least) != bool(most) or not isinstance(index.get("text_encoder") or [], list):
        wrong.append("model_index.json: least_aspect, greatest_aspect or text_encoder cannot be used")
    return wrong


def _grid(transformer: Mapping, autoencoder: Mapping) -> int:
    return spatial_compression_of(autoencoder) * transformer.get("patch_size", (1, 2, 2))[1]


def _component_problems(folder: Path) -> list[str]:
    if not folder.is_dir():
        return [f"{folder.name}/ is missing"]
    problems: list[str] = []
    configurations = sorted(folder.glob("*.json"))
    if not configurations:
        problems.append(f"{folder.name}/ holds no configuration (.json)")
    for configuration in configurations:
        _read_json(configuration, problems)
    is_model = (folder / "config.json").exists()
    weights = sorted(folder.glob("*.safetensors"))
    if is_model and not weights:
        problems.append(f"{folder.name}/ holds no weights (.safetensors)")
    for file in weights:
        try:
            with safe_open(file, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            problems.append(f"{folder.name}/{file.name} is damaged or cut short ({error}): copy it again")
    for listing in folder.glob("*.safetensors.index.json"):
        named = set(_read_json(listing, []).get("weight_map", {}).values())
        problems += [f"{folder.name}/{name} is missing" for name in sorted(named - {file.name for file in weights})]
    return problems


def _read_json(path: Path, problems: list[str]) -> dict:
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        return read_object(path)
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except (ValueError, OSError) as error:
        problems.append(f"{name} cannot be used: {error}")
    return {}


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
    settings = _read_config(folder / "model_index.json")
    named = {"frames": "target_frames", "steps": "num_inference_steps"}
    keys = ("height", "width", "frames", "context_frames", "steps")
    known = {key: settings[named.get(key, key)] for key in keys if named.get(key, key) in settings}
    transformer = _checked_transformer(folder / "transformer" / "config.json")
    return ModelShape(name, transformer, _read_config(folder / "vae" / "config.json"), dtype="float32", **known)


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
    config = _read_config(path)
    missing = [key for key in ("num_attention_heads", "attention_head_dim", "ffn_dim", "num_layers") if key not in config]
    if missing:
        raise ValueError(f"{path}: not the configuration of a transformer, it lacks {', '.join(missing)}")
    return config


def _read_config(path: Path) -> dict:
    try:
        return read_object(path)
    except ValueError as error:
        raise ValueError(f"{path}: not the configuration of a transformer: {error}") from error

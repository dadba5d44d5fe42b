"""The built-in models, and the check of a model folder that needs neither torch nor diffusers."""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from video4spatial.naming import did_you_mean

FOLDER = Path(__file__).parent
SETTINGS = ("height", "width", "frame_rate", "target_frames", "context_frames")


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
        domain: what it has seen, in words.
        num_inference_steps: denoising steps that suit it.
        reads_text: whether it has a text encoder.
        transformer: configuration of its transformer.
    """

    path: Path
    height: int
    width: int
    frame_rate: float
    target_frames: int
    context_frames: int
    domain: str
    num_inference_steps: int
    reads_text: bool
    transformer: dict


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
        if not name.startswith("_") and isinstance(origin, list) and all(origin):
            problems += _component_problems(path / name)
    missing = [key for key in SETTINGS if key not in index]
    if index and missing:
        problems.append(f"model_index.json lacks {', '.join(missing)}: it is not a folder of this package")
    if problems:
        raise ModelFolderError(f"the model in {path} cannot be loaded: {'; '.join(problems)}.")
    return ModelFolder(
        path,
        *(index[key] for key in SETTINGS),
        domain=index.get("domain", ""),
        num_inference_steps=index.get("num_inference_steps", 16),
        reads_text=any(index.get("text_encoder") or ()),
        transformer=_read_json(path / "transformer" / "config.json", []),
    )


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
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{name} is missing")
    except (ValueError, OSError) as error:
        problems.append(f"{name} is not valid JSON ({error})")
    else:
        if isinstance(content, dict):
            return content
        problems.append(f"{name} is not a JSON object")
    return {}

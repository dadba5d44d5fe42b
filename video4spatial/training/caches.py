"""What a training makes once and keeps: its size is told before it is made."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from video4spatial.waits import say, size_in_words


def announce(path: Path, what: str, size: float) -> None:
    """Say what is about to be made and kept, and see whether there is room for it.

    Args:
        path: of the file, or of the folder.
        what: is made, in words.
        size: of it in bytes.

    Raises:
        OSError: where less is free.
    """
    existing = next(parent for parent in Path(path).absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise OSError(f"{path}: {what} takes {size_in_words(size)}, and {size_in_words(free)} are free there: keep it in another place.")
    say(f"made once and kept: {what}, about {size_in_words(size)} in {path}")


def read_kept(path: str | Path, names: Sequence[str], optional: Sequence[str] = ()) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a kept file, and what it says of itself.

    Args:
        path: of a safetensors file.
        names: that it must hold.
        optional: that it may hold.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: for a file that is damaged or holds others.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with safe_open(path, "pt") as file:
            metadata, held = file.metadata() or {}, set(file.keys())
            if not set(names) <= held <= {*names, *optional}:
                raise ValueError(f"it holds {', '.join(sorted(held)) or 'nothing'}")
            return {name: file.get_tensor(name) for name in held}, metadata
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or not what it should be ({error}): remove it, and it is made again.") from error

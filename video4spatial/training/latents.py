"""Latents kept on disk, so that each picture is encoded once and memory stays bounded."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from video4spatial.files import written_aside
from video4spatial.models.autoencoder import Autoencoder


@dataclass(frozen=True)
class LatentFile:
    """Tensors in a file, of which single rows are read. It can be pickled, and keeps no file open.

    Args:
        path: of a safetensors file.
    """

    path: Path

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor in the file."""
        with safe_open(self.path, "pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def rows(self, name: str, index: torch.Tensor) -> torch.Tensor:
        """Read some rows of a tensor; the rest of the file is not read.

        Args:
            name: of the tensor [N, ...].
            index: [K] rows to read, from 0 to N - 1, in any order; a row may come more than once.

        Returns:
            [K, ...] on the CPU, of the stored type.

        Raises:
            IndexError: if there is no such row.
        """
        with safe_open(self.path, "pt") as file:
            tensor = file.get_slice(name)
            count = tensor.get_shape()[0]
            wrong = [row for row in index.tolist() if not 0 <= row < count]
            if wrong:
                raise IndexError(f"row {wrong[0]} of {name!r}: expected one from 0 to {count - 1}.")
            result = torch.empty((len(index), *tensor.get_shape()[1:]), dtype=tensor[:0].dtype)
            for place, row in enumerate(index.tolist()):
                result[place] = tensor[row]
            return result


class LatentStore:
    """A folder of latents, by what was encoded and by the autoencoder that did it.

    Several processes may use one folder at once. Two that miss the same latents both make them, and the files are equal.

    Args:
        folder: where to keep them; made when first needed. Each autoencoder has a folder of its own in it.
        autoencoder: whose latents these are. Another configuration or other weights find other files.
    """

    def __init__(self, folder: str | Path, autoencoder: Autoencoder):
        self.folder = Path(folder) / fingerprint(autoencoder)

    def get(self, key: str, make: Callable[[], dict[str, torch.Tensor]]) -> LatentFile:
        """The latents of a content, made where they are missing.

        Args:
            key: names the content: what is encoded and how, such as `content_key` of the frames.
            make: encodes the content to tensors by name, each [N, ...]. The same key must always give the same tensors.

        Returns:
            The file with these tensors.

        Raises:
            OSError: if it cannot be written. Whatever goes wrong, no part of a file is left under its name.
        """
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
        if not path.exists():
            tensors = {name: tensor.cpu().contiguous() for name, tensor in make().items()}
            with written_aside(path) as aside:
                save_file(tensors, aside, {"key": key})
        return LatentFile(path)


def content_key(frames: np.ndarray) -> str:
    """A key for `LatentStore.get` that says what frames show.

    Args:
        frames: an array of any shape, such as uint8 [T, H, W, 3].
    """
    digest = hashlib.sha256(f"{frames.shape} {frames.dtype}".encode())
    digest.update(np.ascontiguousarray(frames))
    return digest.hexdigest()


def fingerprint(autoencoder: Autoencoder) -> str:
    """A short name of an autoencoder's class, configuration and weights, whatever folder it came from and device it is on."""
    config = {name: value for name, value in autoencoder.config.items() if not name.startswith("_")}
    digest = hashlib.sha256(json.dumps([type(autoencoder).__name__, config], sort_keys=True, default=str).encode())
    for name, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]

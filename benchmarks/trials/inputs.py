"""A kind of input: what draws it, what reads it as a command would, and what must hold of the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from video4spatial.cameras import Cameras, parse_trajectory

from .damage import damaged_file


class SilentChange(BaseException):
    """A result that nothing was said of is not what it must be."""


class PartialOutput(BaseException):
    """Something half-written was left."""


class RightRefused(BaseException):
    """What is right was refused."""


class Hang(BaseException):
    """A case took too long."""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Args:
        strategy: draws inputs.
        use: reads one, as a command would; raises what the command would meet.
        names: whether its errors must name the file.
    """

    strategy: st.SearchStrategy
    use: Callable[[Any], None]
    names: str = ""


def a_path(count: int = 5) -> Cameras:
    """A short path with times."""
    return parse_trajectory("forward 1, left 30deg", count, frame_rate=4.0, fov_degrees=70.0, aspect=1.5)


def check_cameras(cameras: Cameras) -> None:
    """Cameras must be finite, rigid, and able to see."""
    poses, intrinsics = cameras.camera_to_world, cameras.intrinsics
    rotations = poses[..., :3, :3]
    rigid = (rotations.mT @ rotations - torch.eye(3, dtype=rotations.dtype)).abs().max() < 1e-3
    if not poses.isfinite().all() or not intrinsics.isfinite().all() or not rigid or not (intrinsics[..., [0, 1], [0, 1]] > 0).all():
        raise SilentChange("cameras that are none")
    if cameras.times is not None and not cameras.times.isfinite().all():
        raise SilentChange("times that are none")


def check_folder(folder: Path, allowed: set[str]) -> None:
    """Nothing half-written may lie in a folder."""
    left = {path.name for path in folder.iterdir()} - allowed
    if left:
        raise PartialOutput(f"left behind: {', '.join(sorted(left))}")


def one_of_layouts(folder: Path, layouts: list[dict[str, bytes]], use: Callable[[Path], None]):
    """One of several folders, of which one file is damaged; of a folder with one file it is the file that is used."""
    drawing = []
    for contents in layouts:
        alone = next(iter(contents)) if len(contents) == 1 else ""
        drawing.append(one_of_files(folder, contents, lambda target, alone=alone: use(target / alone)))
    strategies = [st.tuples(st.just(index), strategy) for index, (strategy, _) in enumerate(drawing)]
    return st.one_of(strategies), lambda drawn: drawing[drawn[0]][1](drawn[1])


def written(path: Path, use: Callable[[Path], None]) -> Callable[[bytes], None]:
    """Use bytes as a file."""

    def use_bytes(data: bytes) -> None:
        path.write_bytes(data)
        use(path)

    return use_bytes


def one_of_files(folder: Path, contents: dict[str, bytes], use: Callable[[Path], None]):
    """A folder of which one file is damaged: the strategy, and what uses it."""
    strategies = [st.tuples(st.just(name), damaged_file(name, data)) for name, data in contents.items()]
    strategies.append(st.tuples(st.sampled_from(sorted(contents)), st.just(None)))  # a file is missing
    target = folder / "folder"

    def use_damaged(drawn: tuple[str, bytes | None]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name, data in contents.items():
            data = drawn[1] if name == drawn[0] else data
            if data is not None:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(data)
        use(target)

    return st.one_of(strategies), use_damaged


def some_frames(count: int = 8) -> np.ndarray:
    y, x = np.mgrid[:32, :48]
    return np.stack([np.stack([5 * x + 9 * t, 7 * y, x + y], axis=-1) % 256 for t in range(count)]).astype(np.uint8)

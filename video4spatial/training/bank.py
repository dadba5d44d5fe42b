"""A bank of rendered scenes: one capture walk per scene and navigation targets that start at frames of the walk."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from video4spatial.cameras import Cameras
from video4spatial.files import written_aside
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import Scene, generate_scene
from video4spatial.simulation.walks import capture_walk, navigation_target
from video4spatial.training.caches import read_kept


@dataclass(frozen=True)
class SceneBank:
    """Pictures and cameras of S entries. An entry is one pass through a scene.

    Its N frames are a walk, then K targets of `target_frames` - 1 frames each. Frame 0 of a target is the frame of the walk that
    it starts from, and is not stored twice.

    Args:
        frames: [S, N, H, W, 3] uint8.
        depth: [S, N, h, w] float16 metres along the optical axis: at the pictures' size where geometry is to be shown, else at that
            of their latents.
        camera_to_world: [S, N, 4, 4] float64.
        intrinsics: [S, 3, 3] float64, normalised.
        anchors: [S, K] walk frame that each target starts from.
        target_frames: T, the anchor included.
    """

    frames: torch.Tensor
    depth: torch.Tensor
    camera_to_world: torch.Tensor
    intrinsics: torch.Tensor
    anchors: torch.Tensor
    target_frames: int

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def walk_frames(self) -> int:
        """Frames of each capture walk."""
        return self.frames.shape[1] - self.anchors.shape[1] * (self.target_frames - 1)

    def save(self, path: str | Path) -> None:
        """Write the bank to a safetensors file, whole or not at all.

        Args:
            path: of the file; one that stands there is replaced.

        Raises:
            OSError: if it cannot be written.
        """
        names = ("frames", "depth", "camera_to_world", "intrinsics", "anchors")
        tensors = {name: getattr(self, name).cpu().contiguous() for name in names}
        with written_aside(path) as aside:
            save_file(tensors, aside, {"target_frames": str(self.target_frames)})

    @classmethod
    def load(cls, path: str | Path) -> "SceneBank":
        """Read what `save` wrote.

        Args:
            path: of the file.

        Raises:
            OSError: if there is none.
            ValueError: if it is damaged.
        """
        tensors, metadata = read_kept(path, ("frames", "depth", "camera_to_world", "intrinsics", "anchors"))
        target_frames = metadata.get("target_frames", "")
        bank = cls(**tensors, target_frames=int(target_frames) if target_frames.isdecimal() else 0)
        scenes, frames = bank.frames.shape[:2] if bank.frames.ndim == 5 else (0, 0)
        shapes = (
            bank.depth.ndim == 4 and bank.depth.shape[:2] == (scenes, frames), bank.camera_to_world.shape == (scenes, frames, 4, 4),
            bank.intrinsics.shape == (scenes, 3, 3), bank.anchors.ndim == 2 and len(bank.anchors) == scenes,
            bank.frames.shape[-1] == 3 and bank.frames.dtype == torch.uint8,
        )  # fmt: skip
        if not all(shapes) or min(scenes, bank.target_frames) < 1 or bank.walk_frames < 1:
            raise ValueError(f"{path} does not hold scenes that fit together: remove it, and it is made again.")
        return bank


def render_bank(
    seeds: Sequence[int],
    walk_frames: int = 48,
    targets_per_scene: int = 6,
    target_frames: int = 9,
    height: int = 64,
    width: int = 64,
    depth_size: tuple[int, int] | None = (8, 8),
    frame_rate: float = 4.0,
    fov_degrees: tuple[float, float] = (65.0, 75.0),
    variants: int = 1,
    device: torch.device | str | None = None,
    progress: Callable[[list], Iterable] = iter,
) -> SceneBank:
    """Generate scenes, walk through them and render what is seen.

    Half of the targets move little (5 to 25 degrees, 0.1 to 0.6 m), half as far as those of the benchmark (20 to 60 degrees, 0.3 to
    1.5 m).

    Args:
        seeds: of the scenes.
        walk_frames: frames of each walk.
        targets_per_scene: targets of each entry.
        target_frames: frames of each target, the anchor included.
        height, width: picture size in pixels; rendered at twice that and box-filtered.
        depth_size: rows and columns at which depth is kept; None for all of them.
        frame_rate: frames per second.
        fov_degrees: range that a scene's field of view along the longer side is drawn from, in degrees.
        variants: entries per scene, each with its own walk, targets and field of view.
        device: where to render: a CUDA device, or None for the CPU.
        progress: wraps the list of entries, for a progress bar.

    Returns:
        The bank, without latents.
    """
    kept_rows, kept_columns = (height, width) if depth_size is None else depth_size
    rows = (np.arange(kept_rows) * 2 + 1) * height // (2 * kept_rows)
    columns = (np.arange(kept_columns) * 2 + 1) * width // (2 * kept_columns)
    entries = []
    for seed, variant in progress([(seed, variant) for seed in seeds for variant in range(variants)]):
        random = np.random.default_rng([seed, variant, 1])
        scene = generate_scene(seed)
        fov = _horizontal(random.uniform(*fov_degrees), width / height)
        walk_seed = int(random.integers(2**31))
        walk = capture_walk(scene, walk_frames, frame_rate=frame_rate, seed=walk_seed, fov_degrees=fov, aspect=width / height)
        anchors, targets = _targets(scene, walk, targets_per_scene, target_frames, frame_rate, random)
        cameras = Cameras.concatenate([walk, *(target[1:] for target in targets)])
        pictures = render(scene, cameras, height, width, supersample=2, device=device)
        entries.append(
            {
                "frames": torch.from_numpy(pictures.rgb),
                "depth": torch.from_numpy(pictures.depth[:, rows][:, :, columns]).half(),
                "camera_to_world": cameras.camera_to_world,
                "intrinsics": cameras.intrinsics[0],
                "anchors": torch.tensor(anchors),
            }
        )
    stacked = {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}
    return SceneBank(**stacked, target_frames=target_frames)


def bank_bytes(seeds: Sequence[int], **settings) -> int:
    """Size of a bank's file before it is rendered.

    Args:
        seeds, settings: of `render_bank`.
    """
    bound = inspect.signature(render_bank).bind(seeds, **settings)
    bound.apply_defaults()
    chosen = bound.arguments
    rows, columns = chosen["depth_size"] or (chosen["height"], chosen["width"])
    frames = chosen["walk_frames"] + chosen["targets_per_scene"] * (chosen["target_frames"] - 1)
    per_frame = 3 * chosen["height"] * chosen["width"] + 2 * rows * columns + 8 * 16
    return len(seeds) * chosen["variants"] * frames * per_frame


def _horizontal(fov_degrees: float, aspect: float) -> float:
    """The horizontal field of view of pictures whose longer side has this one."""
    if aspect >= 1:
        return fov_degrees
    return math.degrees(2 * math.atan(math.tan(math.radians(fov_degrees) / 2) * aspect))


def _targets(
    scene: Scene, walk: Cameras, count: int, target_frames: int, frame_rate: float, random: np.random.Generator
) -> tuple[list[int], list[Cameras]]:
    """Frames of the walk and the targets that start there, in turn near and far ones."""
    anchors, targets = [], []
    while len(targets) < count:
        anchor = int(random.integers(len(walk)))
        near = len(targets) % 2 == 0
        try:
            target = navigation_target(
                scene, walk[anchor], target_frames, frame_rate=frame_rate, seed=int(random.integers(2**31)),
                rotation_range=(5, 25) if near else (20, 60), path_range=(0.1, 0.6) if near else (0.3, 1.5),
            )  # fmt: skip
        except ValueError:
            continue  # a corner that cannot be left in this way: another anchor is drawn
        anchors.append(anchor)
        targets.append(target)
    return anchors, targets

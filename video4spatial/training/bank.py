"""A bank of rendered scenes: one capture walk per scene and navigation targets that start at frames of the walk."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from video4spatial.cameras import Cameras
from video4spatial.files import written_aside
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene
from video4spatial.simulation.walks import capture_walk, navigation_target


@dataclass(frozen=True)
class SceneBank:
    """Pictures and cameras of S scenes (or passes through scenes).

    The N frames of a scene are its walk, then K targets of `target_frames` - 1 frames each; a target's frame 0 is the walk frame
    it starts from.

    Args:
        frames: [S, N, H, W, 3] uint8.
        depth: [S, N, h, w] float16 metres along the optical axis, at latent resolution.
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
        """Write the bank to a safetensors file, whole or not at all."""
        names = ("frames", "depth", "camera_to_world", "intrinsics", "anchors")
        tensors = {name: getattr(self, name).cpu().contiguous() for name in names}
        with written_aside(path) as aside:
            save_file(tensors, aside, {"target_frames": str(self.target_frames)})

    @classmethod
    def load(cls, path: str | Path) -> "SceneBank":
        """Read what `save` wrote."""
        with safe_open(path, "pt") as file:
            target_frames = int(file.metadata()["target_frames"])
        return cls(**load_file(path), target_frames=target_frames)


def render_bank(
    seeds: Sequence[int],
    walk_frames: int = 48,
    targets_per_scene: int = 6,
    target_frames: int = 9,
    height: int = 64,
    width: int = 64,
    latent_size: tuple[int, int] = (8, 8),
    frame_rate: float = 4.0,
    fov_degrees: tuple[float, float] = (65.0, 75.0),
    variants: int = 1,
    device: torch.device | str | None = None,
    progress: Callable[[list], Iterable] = iter,
) -> SceneBank:
    """Generate, walk through and render scenes.

    Args:
        seeds: scene seeds.
        walk_frames, targets_per_scene, target_frames: sizes of a scene's entry (`SceneBank`).
        height, width: picture size; rendered at twice that and box-filtered.
        latent_size: rows and columns at which depth is kept.
        frame_rate: frames per second.
        fov_degrees: range that a scene's horizontal field of view is drawn from.
        variants: entries per scene, each with its own walk, targets and field of view.
        device: where to render; a CUDA device, or None for the CPU.
        progress: wraps the list of entries, for a progress bar.

    Returns:
        The bank, without latents. Half of the targets move little (5-25 degrees, 0.1-0.6 m), half as far as the benchmark's
        (20-60 degrees, 0.3-1.5 m).
    """
    entries = []
    for seed, variant in progress([(seed, variant) for seed in seeds for variant in range(variants)]):
        random = np.random.default_rng([seed, variant, 1])
        scene = generate_scene(seed)
        fov = random.uniform(*fov_degrees)
        walk = capture_walk(
            scene, walk_frames, frame_rate=frame_rate, seed=int(random.integers(2**31)), fov_degrees=fov
        )
        anchors, paths = [], [walk]
        while len(anchors) < targets_per_scene:
            anchor = int(random.integers(walk_frames))
            easy = len(anchors) % 2 == 0
            try:
                path = navigation_target(
                    scene,
                    walk[anchor],
                    target_frames,
                    frame_rate=frame_rate,
                    seed=int(random.integers(2**31)),
                    rotation_range=(5, 25) if easy else (20, 60),
                    path_range=(0.1, 0.6) if easy else (0.3, 1.5),
                )
            except ValueError:
                continue  # a corner one cannot leave that way: another anchor is drawn
            anchors.append(anchor)
            paths.append(path[1:])
        cameras = Cameras.concatenate(paths)
        pictures = render(scene, cameras, height, width, supersample=2, device=device)
        rows = (np.arange(latent_size[0]) * 2 + 1) * height // (2 * latent_size[0])
        columns = (np.arange(latent_size[1]) * 2 + 1) * width // (2 * latent_size[1])
        depth = pictures.depth[:, rows][:, :, columns]
        entries.append(
            {
                "frames": torch.from_numpy(pictures.rgb),
                "depth": torch.from_numpy(depth).half(),
                "camera_to_world": cameras.camera_to_world,
                "intrinsics": cameras.intrinsics[0],
                "anchors": torch.tensor(anchors),
            }
        )
    stacked = {name: torch.stack([entry[name] for entry in entries]) for name in entries[0]}
    return SceneBank(**stacked, target_frames=target_frames)

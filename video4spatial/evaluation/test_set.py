"""Frozen test sets: recipes small enough to commit, rendered again when they are used. `freezing` makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.clips.simulated import simulated_navigation_clip
from video4spatial.naming import did_you_mean
from video4spatial.simulation.walks import NoPathError

NAME = "rooms_nav_v1"
SETTINGS = {
    "num_frames": 9,
    "walk_frames": 48,
    "context_size": 32,
    "anchor": -1,
    "frame_rate": 4.0,
    "fov_degrees": 70.0,
    "rotation_range": [20.0, 60.0],
    "path_range": [0.3, 1.5],
}
"""Arguments of `simulated_navigation_clip` common to all clips of the set."""


class StaleTestSetError(ValueError):
    """The simulator no longer makes the scenes that the frozen test set was made of."""


@dataclass(frozen=True)
class TestClip:
    """One clip of a test set, rendered when it is loaded.

    Args:
        name, scene: as the loaded clip's.
        recipe: the entry of the test set's file.
        settings: those of the whole set.
    """

    __test__ = False  # not a test class, whatever pytest makes of the name

    name: str
    scene: str
    recipe: dict
    settings: dict

    def load(self, size: int = 64, supersample: int = 2) -> Clip:
        """Render the clip.

        Args:
            size: height and width of all frames in pixels.
            supersample: rays per pixel side.

        Raises:
            StaleTestSetError: if the simulator now makes other scenes or walks than when the set was frozen.
        """
        seeds = {key: self.recipe[key] for key in ("scene_seed", "walk_seed", "target_seed")}
        clip = simulated_navigation_clip(
            **seeds, **self.settings, height=size, width=size, supersample=supersample, name=self.name
        )
        found = fingerprint(clip.context_cameras, clip.target_cameras, clip.target_frames)
        differences = _differences(self.recipe["fingerprint"], found)
        if differences:
            raise StaleTestSetError(
                f"clip {self.name} is not what it was when the test set was frozen: {'; '.join(differences)}. "
                "The simulator has changed: go back to the version of the figures you compare with, or freeze the set "
                "anew (python -m video4spatial.evaluation.freezing) and measure everything again."
            )
        return clip


def load_test_set(name: str = NAME, limit: int | None = None) -> list[TestClip]:
    """The clips of a test set that ships with the package, or of a file.

    Args:
        name: name of a shipped set, or path of a JSON file.
        limit: only the first so many.

    Raises:
        ValueError: for an unknown set, a file of another form, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit {limit}: expected at least 1 clip.")
    folder = resources.files("video4spatial.evaluation") / "test_sets"
    path = Path(name) if name.endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        known = sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))
        hint = did_you_mean(name, known)
        raise ValueError(f"there is no test set {name!r}{hint}: choose one of {', '.join(known)}, or give a .json file.")
    content = json.loads(path.read_text())
    missing = {"name", "settings", "clips"} - set(content)
    if missing:
        raise ValueError(f"{name}: not a test set, it has no {', '.join(sorted(missing))}.")
    return [
        TestClip(f"{content['name']}-{index:03d}", f"rooms-{recipe['scene_seed']}", recipe, content["settings"])
        for index, recipe in enumerate(content["clips"][:limit])
    ]


def similar_clips(scene_seeds: Iterable[int], size: int, walk_seed: int) -> list[Clip]:
    """Clips of other scenes, made as those of the test set are.

    Args:
        scene_seeds: one clip each; a scene in which twenty paths in turn lead nowhere has none.
        size: height and width of all frames in pixels.
        walk_seed: added to the scene's seed for the walk; another one gives other walks through the same scenes.
    """
    clips = []
    for seed in scene_seeds:
        for target_seed in range(20):
            try:
                seeds = {"scene_seed": seed, "walk_seed": walk_seed + seed, "target_seed": walk_seed + target_seed}
                clips.append(simulated_navigation_clip(**seeds, height=size, width=size, **SETTINGS))
            except NoPathError:
                continue
            break
    return clips


def fingerprint(context: Cameras, target: Cameras, frames: np.ndarray) -> dict:
    """Where the cameras are and what colour the pictures have, coarse enough for another processor's rounding.

    Args:
        context, target: N and T cameras.
        frames: [T, H, W, 3] uint8 of the target.
    """
    return {
        "context_positions": np.round(context.positions[[0, -1]].flatten().numpy(), 3).tolist(),
        "target_end": np.round(target[-1].camera_to_world[0, :3].flatten().numpy(), 3).tolist(),
        "mean_colours": np.round(frames[[0, -1]].mean((1, 2)), 1).flatten().tolist(),
    }


def _differences(stored: dict, found: dict) -> list[str]:
    tolerances = {"context_positions": 5e-3, "target_end": 5e-3, "mean_colours": 4.0}
    return [
        f"{key.replace('_', ' ')} were {stored[key]} and are {found[key]}"
        for key, tolerance in tolerances.items()
        if not np.allclose(stored[key], found[key], rtol=0, atol=tolerance)
    ]

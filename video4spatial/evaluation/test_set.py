"""Frozen test sets: recipes small enough to commit, rendered again when they are used.

    python -m video4spatial.evaluation.test_set [--scenes 64] [--output FILE]

makes `rooms_nav_v1` anew. That is needed only when the simulator's scenes change; figures measured before and after do not compare.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.clips.simulated import simulated_navigation_cameras, simulated_navigation_clip
from video4spatial.files import write_whole
from video4spatial.geometry.visibility import seen_from
from video4spatial.naming import did_you_mean
from video4spatial.parsing import read_object
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import SEED_RANGES, Scene, generate_scene
from video4spatial.simulation.walks import NoPathError
from video4spatial.waits import track

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

CONTEXT_SEES = 0.8
"""Least share of the target's pixels that the whole context sees, mean over frames 1..T-1."""
ANCHOR_SEES = (0.2, 0.6)
"""The same share for the anchor alone: enough to start from, too little to finish."""
ATTEMPTS = 60
"""Target paths tried per scene, ten per walk, before the scene is passed over."""
CHECK_SIZE = 32
"""Side of the pictures that visibility and fingerprints are computed on."""


class StaleTestSetError(ValueError):
    """The simulator no longer makes the scenes that the frozen test set was made of."""


class TestEntry(Protocol):
    """A clip of a test set, whose pixels are made or read when it is loaded.

    Attributes:
        name, scene: as the loaded clip's.
        recipe: what it is made from, and what is known of it.
    """

    name: str
    scene: str
    recipe: dict

    def load(self, size: int, width: int | None = None) -> Clip:
        """The clip with pixels.

        Args:
            size: height of all frames in pixels.
            width: of all frames in pixels; default the height.

        Raises:
            StaleTestSetError: if it is no longer what it was when the set was frozen.
        """
        ...


@dataclass(frozen=True)
class TestClip:
    """One clip of a test set of simulated rooms, rendered when it is loaded.

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

    def load(self, size: int = 64, width: int | None = None, supersample: int = 2) -> Clip:
        """Render the clip.

        Args:
            size: height of all frames in pixels.
            width: of all frames in pixels; default the height.
            supersample: rays per pixel side.

        Raises:
            StaleTestSetError: if the simulator now makes other scenes or walks than when the set was frozen.
        """
        seeds = {key: self.recipe[key] for key in ("scene_seed", "walk_seed", "target_seed")}
        clip = simulated_navigation_clip(
            **seeds, **self.settings, height=size, width=width or size, supersample=supersample, name=self.name
        )
        found = fingerprint(clip.context_cameras, clip.target_cameras, clip.target_frames)
        differences = fingerprint_differences(self.recipe["fingerprint"], found)
        if differences:
            raise StaleTestSetError(
                f"clip {self.name} is not what it was when the test set was frozen: {'; '.join(differences)}. "
                "The simulator has changed: go back to the version of the figures you compare with, or freeze the set "
                "anew (python -m video4spatial.evaluation.test_set) and measure everything again."
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
    content = read_test_set(name, limit, None)
    return [
        TestClip(f"{content['name']}-{index:03d}", f"rooms-{recipe['scene_seed']}", recipe, content["settings"])
        for index, recipe in enumerate(content["clips"][:limit])
    ]


def read_test_set(name: str, limit: int | None, kind: str | None) -> dict:
    """What the file of a test set of simulated rooms holds.

    Args:
        name: name of a shipped set, or path of a JSON file.
        limit: of clips that will be used.
        kind: that it must be of: None for navigation.

    Raises:
        ValueError: for an unknown set, a file of another form or kind, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit {limit}: expected at least 1 clip.")
    folder = resources.files("video4spatial.evaluation") / "test_sets"
    path = Path(name) if name.endswith(".json") else folder / f"{name}.json"
    if not path.is_file():
        sets = {entry.name.removesuffix(".json"): entry for entry in folder.iterdir() if entry.name.endswith(".json")}
        known = sorted(known_set for known_set, entry in sets.items() if read_object(entry).get("kind") == kind)
        hint = did_you_mean(name, known)
        raise ValueError(f"there is no test set {name!r}{hint}: choose one of {', '.join(known)}, or give a .json file.")
    try:
        content = read_object(path)
    except ValueError as error:
        raise ValueError(f"{name}: not a test set: {error}.") from error
    missing = {"name", "settings", "clips"} - set(content)
    if missing:
        raise ValueError(f"{name}: not a test set, it has no {', '.join(sorted(missing))}.")
    found = content.get("kind")
    if found != kind and found in ("grounding", None):
        raise ValueError(f"{name}: a test set of {found or 'navigation'}: use v4s benchmark {found or 'navigation'}.")
    if found != kind:
        raise ValueError(f"{name}: a test set of {found}: give the folder that holds them (`captures`).")
    clips = content["clips"]
    if not isinstance(clips, list) or not all(isinstance(recipe, dict) and "scene_seed" in recipe for recipe in clips):
        raise ValueError(f"{name}: not a test set, whose clips are a list of objects with a scene_seed each.")
    return content


def write_test_set(path: str | os.PathLike, content: dict) -> None:
    """Write a test set's file: one clip per line, so that a change of one clip shows as one line.

    Args:
        path: of the JSON file.
        content: `name`, `settings` and `clips`, and what else is to be known.
    """
    head = json.dumps({name: value for name, value in content.items() if name != "clips"}, indent=1)[:-2]
    body = ",\n  ".join(json.dumps(clip) for clip in content["clips"])
    write_whole(path, f'{head},\n "clips": [\n  {body}\n ]\n}}\n')


def similar_clips(scene_seeds: Sequence[int], size: int, walk_seed: int) -> list[Clip]:
    """Clips of other scenes, made as those of the test set are.

    Args:
        scene_seeds: one clip each; a scene in which twenty paths in turn lead nowhere has none.
        size: height and width of all frames in pixels.
        walk_seed: added to the scene's seed for the walk; another one gives other walks through the same scenes.
    """
    clips = []
    for seed in track(scene_seeds, "rendering clips"):
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


def fingerprint_differences(stored: dict, found: dict) -> list[str]:
    """In words, where two fingerprints differ by more than rounding."""
    tolerances = {"context_positions": 5e-3, "target_end": 5e-3, "mean_colours": 4.0}
    return [
        f"{key.replace('_', ' ')} were {stored[key]} and are {found[key]}"
        for key, tolerance in tolerances.items()
        if not np.allclose(stored[key], found[key], rtol=0, atol=tolerance)
    ]


def build_rooms_nav(scenes: int = 64) -> dict:
    """Find one clip for each of the first scenes that allow one under `CONTEXT_SEES` and `ANCHOR_SEES`. Deterministic.

    Args:
        scenes: number of scenes, one clip each.

    Returns:
        The content of the test set's file.
    """
    return {
        "name": NAME,
        "settings": SETTINGS,
        "context_sees_at_least": CONTEXT_SEES,
        "anchor_sees": list(ANCHOR_SEES),
        **clips_of_test_scenes(_find_clip, scenes, NAME),
    }


def clips_of_test_scenes(find_clip: Callable[[int], dict | None], scenes: int, name: str) -> dict:
    """One clip for each of the first test scenes that allow one.

    Args:
        find_clip: the recipe of a scene's clip from the scene's seed, or None where the scene allows none.
        scenes: number of scenes.
        name: of the test set, for the progress.

    Returns:
        `scenes_passed_over` and `clips` of the test set's file.
    """
    clips = []
    first_seed = seed = SEED_RANGES["test"].start
    for _ in track(range(scenes), name):
        recipe = None
        while recipe is None:
            recipe = find_clip(seed)
            seed += 1
        clips.append(recipe)
    return {"scenes_passed_over": seed - first_seed - scenes, "clips": clips}


def _find_clip(scene_seed: int) -> dict | None:
    scene = generate_scene(scene_seed)
    for attempt in range(ATTEMPTS):
        walk_seed, target_seed = divmod(attempt, 10)
        # Different scenes get different seeds, so that a model cannot know the test walks by their seeds.
        walk_seed, target_seed = walk_seed + 10 * scene_seed, target_seed + 100 * scene_seed
        try:
            context, target, anchor = simulated_navigation_cameras(scene, walk_seed, target_seed, **SETTINGS)
        except NoPathError:
            continue
        context_share, anchor_share, frames = _shares(scene, context, target, anchor)
        if context_share >= CONTEXT_SEES and ANCHOR_SEES[0] <= anchor_share <= ANCHOR_SEES[1]:
            return {
                "scene_seed": scene_seed,
                "walk_seed": walk_seed,
                "target_seed": target_seed,
                "context_sees": round(context_share, 3),
                "anchor_sees": round(anchor_share, 3),
                "net_rotation_degrees": round(float(target[-1].rotation_to(target[0])), 2),
                "path_metres": round(float(target.path_length()), 3),
                "fingerprint": fingerprint(context, target, frames),
            }
    return None


def _shares(scene: Scene, context: Cameras, target: Cameras, anchor: int) -> tuple[float, float, np.ndarray]:
    """Shares of the target's pixels seen by the context and by the anchor alone, and the target's frames."""
    pictures = render(scene, Cameras.concatenate([context, target]), CHECK_SIZE, CHECK_SIZE)
    count = len(context)
    seen = seen_from(target[1:], pictures.depth[count + 1 :], context, pictures.depth[:count])  # [T - 1, N, H, W]
    return float(seen.any(1).mean()), float(seen[:, anchor].mean()), pictures.rgb[count:]


def main() -> None:
    """Freeze the test set."""
    parser = argparse.ArgumentParser(
        prog="python -m video4spatial.evaluation.test_set", description="Freeze rooms_nav_v1 anew."
    )
    parser.add_argument("--scenes", type=int, default=64, help="number of scenes, one clip each")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "test_sets" / f"{NAME}.json")
    arguments = parser.parse_args()
    content = build_rooms_nav(arguments.scenes)
    write_test_set(arguments.output, content)
    clips = content["clips"]
    sees = np.array([[clip["context_sees"], clip["anchor_sees"]] for clip in clips])
    context, anchor = sees.mean(0)
    print(f"{len(clips)} clips in {arguments.output}; the context sees {context:.2f}, the anchor alone {anchor:.2f}")


if __name__ == "__main__":
    main()

"""Freezing a test set.

    python -m video4spatial.evaluation.freezing [--scenes 64] [--output FILE]

makes `rooms_nav_v1` anew. That is needed only when the simulator's scenes change; figures measured before and after do not compare.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from rich.progress import track

from video4spatial.cameras import Cameras
from video4spatial.clips.simulated import simulated_navigation_cameras
from video4spatial.evaluation.test_set import NAME, SETTINGS, fingerprint
from video4spatial.files import write_whole
from video4spatial.geometry.visibility import seen_from
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import SEED_RANGES, Scene, generate_scene
from video4spatial.simulation.walks import NoPathError

CONTEXT_SEES = 0.8
"""Least share of the target's pixels that the whole context sees, mean over frames 1..T-1."""
ANCHOR_SEES = (0.2, 0.6)
"""The same share for the anchor alone: enough to start from, too little to finish."""
CHECK_SIZE = 32
"""Side of the pictures that visibility and fingerprints are computed on."""


def build_rooms_nav(
    scenes: int = 64, first_seed: int = SEED_RANGES["test"].start, settings: dict = SETTINGS, attempts: int = 60
) -> dict:
    """Find one clip for each of the first scenes that allow one under `CONTEXT_SEES` and `ANCHOR_SEES`. Deterministic.

    Args:
        scenes: number of scenes, one clip each.
        first_seed: scene seed to begin with; it goes up from there.
        settings: see `SETTINGS`.
        attempts: target paths tried per scene (ten per walk) before the scene is passed over.

    Returns:
        The content of the test set's file.
    """
    clips = []
    seed = first_seed
    for _ in track(range(scenes), description="rooms_nav", transient=True):
        recipe = None
        while recipe is None:
            recipe = _find_clip(seed, settings, attempts)
            seed += 1
        clips.append(recipe)
    return {
        "name": NAME,
        "settings": settings,
        "context_sees_at_least": CONTEXT_SEES,
        "anchor_sees": list(ANCHOR_SEES),
        "scenes_passed_over": seed - first_seed - scenes,
        "clips": clips,
    }


def _find_clip(scene_seed: int, settings: dict, attempts: int) -> dict | None:
    scene = generate_scene(scene_seed)
    for attempt in range(attempts):
        walk_seed, target_seed = divmod(attempt, 10)
        # Different scenes get different seeds, so that a model cannot know the test walks by their seeds.
        walk_seed, target_seed = walk_seed + 10 * scene_seed, target_seed + 100 * scene_seed
        try:
            context, target, anchor = simulated_navigation_cameras(scene, walk_seed, target_seed, **settings)
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
        prog="python -m video4spatial.evaluation.freezing", description="Freeze rooms_nav_v1 anew."
    )
    parser.add_argument("--scenes", type=int, default=64, help="number of scenes, one clip each")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "test_sets" / f"{NAME}.json")
    arguments = parser.parse_args()
    content = build_rooms_nav(arguments.scenes)
    clips = content.pop("clips")
    # One clip per line: short, and a change of one clip shows as one line.
    head, body = json.dumps(content, indent=1)[:-2], ",\n  ".join(json.dumps(clip) for clip in clips)
    write_whole(arguments.output, f'{head},\n "clips": [\n  {body}\n ]\n}}\n')
    sees = np.array([[clip["context_sees"], clip["anchor_sees"]] for clip in clips])
    context, anchor = sees.mean(0)
    print(f"{len(clips)} clips in {arguments.output}; the context sees {context:.2f}, the anchor alone {anchor:.2f}")


if __name__ == "__main__":
    main()

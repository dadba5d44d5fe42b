"""The frozen test set of grounding in simulated rooms: recipes small enough to commit, rendered again when they are used.

    python -m video4spatial.evaluation.grounding_set [--scenes 64] [--output FILE]

makes `rooms_ground_v1` anew. That is needed only when the simulator's scenes change; figures measured before and after do not compare.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from video4spatial.clips import Clip, Ground, Region
from video4spatial.clips.regions import mask_box
from video4spatial.clips.simulated import simulated_grounding_clip
from video4spatial.evaluation.test_set import (
    StaleTestSetError,
    clips_of_test_scenes,
    fingerprint,
    fingerprint_differences,
    read_test_set,
    write_test_set,
)
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene
from video4spatial.simulation.walks import NoPathError

NAME = "rooms_ground_v1"
KIND = "grounding"
SETTINGS = {"num_frames": 17, "walk_frames": 48, "context_size": 32, "frame_rate": 4.0, "fov_degrees": 70.0}
"""Arguments of `simulated_grounding_clip` common to all clips of the set."""

STRUCTURE = frozenset(("window", "door", "rug", "ceiling lamp"))
"""Parts of the building, and what lies flat or hangs overhead: nothing to stand in front of."""

MARKED_AREA = (0.01, 0.4)
"""Least and greatest share of the marked frame that the object fills."""

START = 0.25
"""The object is nearer to the middle of the first view than this, on both axes, only where it fills less than a hundredth of it."""

ATTEMPTS = 24
"""Walks and ways tried per scene before it is passed over."""


@dataclass(frozen=True)
class GroundingEntry:
    """One clip of a test set of grounding, rendered when it is loaded.

    Args:
        name, scene: as the loaded clip's.
        recipe: the entry of the test set's file.
        settings: those of the whole set.
    """

    name: str
    scene: str
    recipe: dict
    settings: dict

    def load(self, size: int = 64, width: int | None = None, supersample: int = 2) -> Clip:
        """Render the clip; its instruction names the object in words and by a box on one of its context frames.

        Args:
            size: height of all frames in pixels.
            width: of all frames in pixels; default the height.
            supersample: rays per pixel side.

        Raises:
            StaleTestSetError: if the simulator now makes other scenes or ways than when the set was frozen.
        """
        seeds = {key: self.recipe[key] for key in ("scene_seed", "walk_seed", "target_seed", "instance_id")}
        pixels = {"height": size, "width": width or size, "supersample": supersample}
        clip = simulated_grounding_clip(**seeds, **self.settings, **pixels, name=self.name)
        found = fingerprint(clip.context_cameras, clip.target_cameras, clip.target_frames)
        differences = fingerprint_differences(self.recipe["fingerprint"], found)
        if differences:
            raise StaleTestSetError(
                f"clip {self.name} is not what it was when the test set was frozen: {'; '.join(differences)}. The simulator has changed: "
                "go back to the version of the figures you compare with, or freeze the set anew (python -m "
                "video4spatial.evaluation.grounding_set) and measure everything again."
            )
        region = Region(self.recipe["region_frame"], tuple(self.recipe["region_box"]))
        return replace(clip, instruction=Ground(clip.instruction.text, region))


def load_grounding_set(name: str = NAME, limit: int | None = None) -> list[GroundingEntry]:
    """The clips of a test set of grounding that ships with the package, or of a file.

    Args:
        name: name of a shipped set, or path of a JSON file.
        limit: only the first so many.

    Raises:
        ValueError: for an unknown set, a file of another form, or a limit below 1.
    """
    content = read_test_set(name, limit, KIND)
    return [
        GroundingEntry(f"{content['name']}-{index:03d}", f"rooms-{recipe['scene_seed']}", recipe, content["settings"])
        for index, recipe in enumerate(content["clips"][:limit])
    ]


def build_rooms_ground(scenes: int = 64) -> dict:
    """Find one clip for each of the first test scenes that allow one. Deterministic.

    Args:
        scenes: number of scenes, one clip each.

    Returns:
        The content of the test set's file.
    """
    return {
        "name": NAME,
        "kind": KIND,
        "settings": SETTINGS,
        "marked_area": list(MARKED_AREA),
        **clips_of_test_scenes(_find_clip, scenes, NAME),
    }


def _find_clip(scene_seed: int) -> dict | None:
    scene = generate_scene(scene_seed)
    for attempt in range(ATTEMPTS):
        walk_seed, target_seed = divmod(attempt, 6)
        # Different scenes get different seeds, so that a model cannot know the test walks by their seeds.
        seeds = {"scene_seed": scene_seed, "walk_seed": walk_seed + 10 * scene_seed, "target_seed": target_seed + 100 * scene_seed}
        try:
            clip = simulated_grounding_clip(**seeds, **SETTINGS, height=64, width=64)
        except NoPathError:
            continue
        item = clip.target_object
        seen = best_mark(render(scene, clip.context_cameras, 64, 64).instance == item.instance_id, clip.anchor)
        if item.label in STRUCTURE or seen is None or _there_already(clip.target_boxes[0]):
            continue
        return {
            **seeds,
            "instance_id": item.instance_id,
            "label": item.label,
            "region_frame": seen.frame,
            "region_box": [round(value, 4) for value in seen.box],
            "marked_area": round(float(seen.mask.mean()), 4),
            "path_metres": round(float(clip.target_cameras.path_length()), 3),
            "fingerprint": fingerprint(clip.context_cameras, clip.target_cameras, clip.target_frames),
        }
    return None


def best_mark(masks: np.ndarray, anchor: int) -> Region | None:
    """The frame on which a person would mark an object: one that shows it whole and large, else one that shows it large.

    Args:
        masks: [N, H, W] bool: where each frame shows it.
        anchor: frame that the way begins at: another one names the object.

    Returns:
        Its mask there; None where no frame shows enough of it.
    """
    areas = masks.mean((1, 2))
    areas[anchor] = 0
    worth = np.where(areas <= MARKED_AREA[1], areas, 0) * np.where([_whole(mask) for mask in masks], 1.0, 0.1)
    marked = int(worth.argmax())
    return Region(marked, mask=masks[marked]) if areas[marked] >= MARKED_AREA[0] else None


def object_out_of_sight(clip: Clip) -> tuple[Ground, str] | None:
    """An object of a simulated clip's scene that its context shows well and its anchor does not, marked by a box.

    Args:
        clip: made by the simulator, of either kind.

    Returns:
        The instruction and what the object is called; None where there is no such object.
    """
    scene = generate_scene(clip.provenance["scene_seed"])
    shown = render(scene, clip.context_cameras, 64, 64).instance
    best, most = None, 0.0
    for item in scene.objects:
        masks = shown == item.instance_id
        mark = best_mark(masks, clip.anchor)
        if mark is None or item.label in STRUCTURE or masks[clip.anchor].any() or not _whole(mark.mask):
            continue
        if mark.mask.mean() > most:
            best, most = (Ground(region=Region(mark.frame, mark.box)), item.label), float(mark.mask.mean())
    return best


def _whole(mask: np.ndarray) -> bool:
    """Whether a mask [H, W] touches no edge of its picture."""
    return not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _there_already(box: np.ndarray) -> bool:
    """Whether the first view shows the object [4] near its middle, so that standing still might pass."""
    if not np.isfinite(box).all():
        return False
    middle = (box[:2] + box[2:]) / 2
    return bool((np.abs(middle - 0.5) <= START).all()) and float((box[2:] - box[:2]).prod()) >= 0.01


def main() -> None:
    """Freeze the test set."""
    parser = argparse.ArgumentParser(
        prog="python -m video4spatial.evaluation.grounding_set", description="Freeze rooms_ground_v1 anew."
    )
    parser.add_argument("--scenes", type=int, default=64, help="number of scenes, one clip each")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "test_sets" / f"{NAME}.json")
    arguments = parser.parse_args()
    content = build_rooms_ground(arguments.scenes)
    write_test_set(arguments.output, content)
    metres = np.mean([clip["path_metres"] for clip in content["clips"]])
    print(f"{len(content['clips'])} clips in {arguments.output}; true ways are {metres:.2f} m long on average")


if __name__ == "__main__":
    main()

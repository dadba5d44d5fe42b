"""Procedural indoor scenes, deterministic by seed."""

from video4spatial.simulation.layout import build_scene
from video4spatial.simulation.scene import Scene
from video4spatial.simulation.seeds import SEED_RANGES, split_of

__all__ = ["SEED_RANGES", "Scene", "generate_scene", "split_of"]


def generate_scene(seed: int) -> Scene:
    """Build the indoor scene of a seed; the same seed gives the same scene everywhere.

    Args:
        seed: a number in one of the `SEED_RANGES`.

    Raises:
        ValueError: if the seed belongs to no split.
    """
    split_of(seed)
    return build_scene(seed)

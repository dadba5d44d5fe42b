"""Procedural indoor scenes with exact pictures, depth, instances, cameras and objects."""

from video4spatial.simulation.capture import simulated_capture
from video4spatial.simulation.renderer import Rendering, render
from video4spatial.simulation.scenes import SEED_RANGES, Scene, generate_scene, split_of
from video4spatial.simulation.walks import NoPathError, approach_target, capture_walk, navigation_target

__all__ = [
    "SEED_RANGES",
    "NoPathError",
    "Rendering",
    "Scene",
    "approach_target",
    "capture_walk",
    "generate_scene",
    "navigation_target",
    "render",
    "simulated_capture",
    "split_of",
]

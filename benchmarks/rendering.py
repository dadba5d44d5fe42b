"""How many frames per second the simulator renders.

    python benchmarks/rendering.py [--scenes 6] [--frames 48] [--repeats 5] [--output benchmarks/results/rendering.json]

Renders walks through test scenes (colour, depth and instances; scene generation and walk planning left out) with every
backend in alternation. The baseline of each size is the plain-torch renderer on the CPU; rows named `cuda_*` appear on
a machine with a CUDA device. Each figure is the mean over scenes of the median over repeats, with its 95 % confidence
interval by scene. The run fails if two backends give different pictures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.evaluation.results import metric, write_results
from video4spatial.simulation import SEED_RANGES, capture_walk, generate_scene, render
from video4spatial.spread import thinned

SIZES = (64, 128)
CPU_TORCH_FRAMES = 8
CUDA_FRAMES = 768


def variants() -> dict[str, dict]:
    """Row name to what `render` is asked for, the baseline of each size first."""
    rows = {}
    for size in SIZES:
        rows[f"torch_{size}"] = {"size": size, "backend": "torch", "supersample": 1}
        rows[f"numba_{size}"] = {"size": size, "backend": "numba", "supersample": 1}
        rows[f"numba_{size}_supersample_2"] = {"size": size, "backend": "numba", "supersample": 2}
        if torch.cuda.is_available():
            rows[f"cuda_{size}"] = {"size": size, "backend": "torch", "supersample": 1, "device": "cuda"}
    return rows


def frames_per_second(
    scene, walk: Cameras, size: int, backend: str, supersample: int, device: str | None = None
) -> float:
    """Frames per second of one rendering call, until the pictures lie in host memory.

    Args:
        scene: what is rendered.
        walk: cameras [T]; some of them for the plain renderer on the CPU, many more on an accelerator.
        size: height and width in pixels.
        backend, supersample, device: of `render`.
    """
    cameras = walk
    if device == "cuda":
        cameras = walk[np.arange(CUDA_FRAMES) % len(walk)]
    elif backend == "torch":
        cameras = walk[thinned(len(walk), CPU_TORCH_FRAMES)]
    start = time.perf_counter()
    render(scene, cameras, size, size, supersample, backend=backend, device=device)
    return len(cameras) / (time.perf_counter() - start)


def check_agreement(scene, walk: Cameras, settings: dict) -> None:
    """Compare a backend with the plain renderer.

    Args:
        scene: what is rendered.
        walk: cameras [T], of which the first is.
        settings: of the row (`variants`).

    Raises:
        RuntimeError: where more than half a percent of the pixels differ.
    """
    size, supersample = settings["size"], settings["supersample"]
    expected = render(scene, walk[0], size, size, supersample, backend="torch")
    given = render(scene, walk[0], size, size, supersample, backend=settings["backend"], device=settings.get("device"))
    different = (np.abs(expected.rgb.astype(int) - given.rgb).max(-1) > 2) | (expected.instance != given.instance)
    if different.mean() > 0.005:
        raise RuntimeError(f"{settings} differs from the plain renderer on {different.mean():.2%} of the pixels")


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=6, help="number of test scenes")
    parser.add_argument("--frames", type=int, default=48, help="frames of each walk")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls per scene and row")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/rendering.json"))
    arguments = parser.parse_args()

    scenes = [generate_scene(seed) for seed in SEED_RANGES["test"][: arguments.scenes]]
    walks = [capture_walk(scene, arguments.frames) for scene in scenes]
    rows = variants()
    for settings in rows.values():
        for scene, walk in zip(scenes, walks):
            check_agreement(scene, walk, settings)  # compiles and warms up on the way
    speeds = {name: np.zeros((arguments.repeats, len(scenes))) for name in rows}
    for repeat in range(arguments.repeats):
        for index, (scene, walk) in enumerate(zip(scenes, walks)):
            for name, settings in rows.items():
                speeds[name][repeat, index] = frames_per_second(scene, walk, **settings)

    def summary(by_scene: np.ndarray) -> dict:
        half = 1.96 * by_scene.std(ddof=1) / np.sqrt(len(by_scene)) if len(by_scene) > 1 else 0.0
        return metric(
            float(by_scene.mean()), float(by_scene.mean() - half), float(by_scene.mean() + half), len(by_scene)
        )

    medians = {name: np.median(values, axis=0) for name, values in speeds.items()}
    results = []
    for name, settings in rows.items():
        ratio = medians[name] / medians[f"torch_{settings['size']}"]
        results.append(
            {
                "name": name,
                "metrics": {"frames_per_second": summary(medians[name]), "ratio_to_torch_cpu": summary(ratio)},
            }
        )
        print(f"{name:24s} {medians[name].mean():10.0f} frames/s   {ratio.mean():8.1f} x torch on the CPU")
    settings = {"scenes": arguments.scenes, "frames": arguments.frames, "repeats": arguments.repeats, "rows": rows}
    write_results(arguments.output, "rendering", settings, results)


if __name__ == "__main__":
    main()

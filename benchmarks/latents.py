"""Should latents also compress time? Reconstruction of unseen rooms by the best linear autoencoder of every shape.

    python benchmarks/latents.py [--scenes 48] [--validation-scenes 16] [--output benchmarks/results/latents.json]

Principal components of blocks of 8 x 8 pixels and 1 or 4 frames, fitted on capture
walks through training rooms and applied to walks through validation rooms, at the frame rate that the models see. Blocks of four
frames are compared twice: with four times the channels (equal numbers per frame, so that only the redundancy over time differs)
and with the same channels (as many tokens' worth of numbers as one frame has). The baseline of the same run is one frame with 48
channels; `built_in` is the autoencoder of the built-in model.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from video4spatial.evaluation.results import metric, write_results
from video4spatial.models.autoencoder import decode, encode, frames_to_tensor, latent_channels, load_autoencoder
from video4spatial.pretrained import resolve_model
from video4spatial.simulation import SEED_RANGES, capture_walk, generate_scene, render

PATCH = 8
SHAPES = [(1, 16), (1, 32), (1, 48), (1, 64), (4, 48), (4, 64), (4, 128), (4, 192)]
BASELINE = (1, 48)


def walks(seeds: range, frames: int, size: int, frame_rate: float) -> torch.Tensor:
    """Videos of one walk through every scene.

    Args:
        seeds: of the S scenes.
        frames: T of each walk.
        size: height and width in pixels.
        frame_rate: frames per second.

    Returns:
        [S, T, 3, size, size] in [-1, 1].
    """
    videos = []
    for seed in seeds:
        scene = generate_scene(seed)
        cameras = capture_walk(scene, frames, frame_rate=frame_rate, seed=seed)
        pictures = render(scene, cameras, size, size, supersample=2).rgb
        videos.append(frames_to_tensor(pictures)[0].transpose(0, 1))
    return torch.stack(videos)


def blocks(videos: torch.Tensor, length: int) -> torch.Tensor:
    """Videos cut into blocks of 8 x 8 pixels and some frames.

    Args:
        videos: [S, T, 3, H, W].
        length: frames of a block.

    Returns:
        Vectors [S * T / length * H * W / 64, length * 192].
    """
    squares = F.pixel_unshuffle(videos, PATCH)  # [S, T, 192, h, w]
    return squares.unflatten(1, (-1, length)).permute(0, 1, 4, 5, 2, 3).flatten(4, 5).flatten(0, 3)


def principal_components(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [D] and orthonormal basis [D, D] of `vectors` [N, D], the strongest first."""
    mean = vectors.mean(0)
    covariance = (vectors - mean).T @ (vectors - mean) / len(vectors)
    return mean, torch.linalg.eigh(covariance.double()).eigenvectors.flip(1).float()


def psnr_by_scene(squared_error: torch.Tensor) -> np.ndarray:
    """Decibels [S] from `squared_error` [S, ...] of values in [-1, 1]."""
    return (-10 * torch.log10(squared_error.flatten(1).mean(1) / 4)).numpy()


def summary(values: np.ndarray) -> dict:
    """Mean of `values` [S] with its 95 % confidence interval by scene."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return metric(float(values.mean()), float(values.mean() - half), float(values.mean() + half), len(values))


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=48, help="training scenes to fit on (default %(default)s)")
    parser.add_argument("--validation-scenes", type=int, default=16, help="scenes to test on (default %(default)s)")
    parser.add_argument("--frames", type=int, default=48, help="of each walk, a multiple of 4 (default %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="of the pictures in pixels (default %(default)s)")
    parser.add_argument("--frame-rate", type=float, default=4.0, help="frames per second (default %(default)s)")
    parser.add_argument("--model", default="rooms", help="whose autoencoder to compare (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/latents.json"))
    options = parser.parse_args()
    if options.frames % 4 or options.validation_scenes < 2:
        parser.error("--frames must be a multiple of 4 and --validation-scenes at least 2")
    first, held_out = SEED_RANGES["train"].start, SEED_RANGES["validation"].start
    training = walks(range(first, first + options.scenes), options.frames, options.size, options.frame_rate)
    test = walks(
        range(held_out, held_out + options.validation_scenes), options.frames, options.size, options.frame_rate
    )
    scores = {}
    for length in sorted({length for length, _ in SHAPES}):
        mean, basis = principal_components(blocks(training, length))
        centred = blocks(test, length) - mean
        for _, channels in (shape for shape in SHAPES if shape[0] == length):
            kept = basis[:, :channels]
            error = (centred - (centred @ kept) @ kept.T).square()
            scores[length, channels] = psnr_by_scene(error.unflatten(0, (len(test), -1)))
    rows = []
    for (length, channels), values in scores.items():
        metrics = {
            "psnr": summary(values),
            "psnr_minus_baseline": summary(values - scores[BASELINE]),
            "numbers_per_frame": metric(channels / length * (options.size // PATCH) ** 2),
        }
        rows.append({"name": f"frames_{length}_channels_{channels}", "metrics": metrics})
    autoencoder = load_autoencoder(resolve_model(options.model) / "vae")
    with torch.no_grad():
        errors = [(decode(autoencoder, encode(autoencoder, v)) - v).square() for v in test.transpose(1, 2).split(1)]
    values = psnr_by_scene(torch.cat(errors))
    per_frame = latent_channels(autoencoder.config) * (options.size // PATCH) ** 2
    built_in = {
        "psnr": summary(values),
        "psnr_minus_baseline": summary(values - scores[BASELINE]),
        "numbers_per_frame": metric(per_frame),
    }
    rows.append({"name": "built_in", "metrics": built_in})
    for row in rows:
        cells = row["metrics"]
        print(f"{row['name']:24} {cells['psnr']['value']:6.2f} dB  {cells['psnr_minus_baseline']['value']:+6.2f}"
              f"  {cells['numbers_per_frame']['value']:6.0f} numbers per frame")  # fmt: skip
    settings = {key: value for key, value in vars(options).items() if key != "output"} | {"patch": PATCH}
    write_results(options.output, "latents", settings, rows)


if __name__ == "__main__":
    main()

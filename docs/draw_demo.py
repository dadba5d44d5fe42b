"""Draws docs/images/demo.png: what the built-in model was given, what it generated, and the truth.

    python docs/draw_demo.py [--scenes 0 1]

Clips of the frozen test set, the first ones unless told otherwise; nothing is picked.
"""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure

from video4spatial import Video4SpatialPipeline
from video4spatial.evaluation.rows import model
from video4spatial.evaluation.rows.model import RowInputs
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.pipelines import GenerationSettings
from video4spatial.pretrained import resolve_model


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, nargs="+", default=[0, 1], help="clips of the test set")
    parser.add_argument("--model", default="rooms", help="built-in model or pipeline folder")
    parser.add_argument("--steps", type=int, help="denoising steps (default: what suits the model)")
    options = parser.parse_args()
    torch.manual_seed(0)
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model(options.model))
    clips = load_test_set()
    generation = GenerationSettings(options.steps)
    columns = pipeline.config.target_frames
    figure = Figure(figsize=(columns * 1.0, len(options.scenes) * 4 * 1.08), dpi=110)
    for block, index in enumerate(options.scenes):
        clip = clips[index].load(size=pipeline.config.height)
        inputs = RowInputs(clip, pipeline, generation, noise=index)
        rows = {
            "context": model.usual_length(clip, pipeline).context_frames,
            "generated": model.model(inputs),
            "generated, context\ncameras known": model.model_with_context_cameras(inputs),
            "truth": clip.target_frames,
        }
        for line, (name, frames) in enumerate(rows.items()):
            for column, frame in enumerate(frames[:columns]):
                place = (block * 4 + line) * columns + column + 1
                axes = figure.add_subplot(len(options.scenes) * 4, columns, place)
                axes.imshow(frame, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(name, fontsize=6)
    figure.subplots_adjust(left=0.06, right=0.995, top=0.995, bottom=0.005, wspace=0.03, hspace=0.03)
    figure.savefig(Path(__file__).parent / "images" / "demo.png")


if __name__ == "__main__":
    main()

"""Draws docs/images/demo.png: what the built-in model was given, what it generated, and the truth.

    python docs/draw_demo.py [--scenes 0 1]

Clips of the frozen test set, the first ones unless told otherwise; nothing is picked.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from video4spatial import Video4SpatialPipeline
from video4spatial.evaluation.rows import geometry, model
from video4spatial.evaluation.rows.inputs import RowInputs
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.pipelines import GenerationSettings
from video4spatial.pretrained import resolve_model

COLUMNS = 6


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, nargs="+", default=[0, 1], help="clips of the test set")
    parser.add_argument("--model", default="rooms", help="built-in model or pipeline folder")
    parser.add_argument("--steps", type=int, help="denoising steps (default: what suits the model)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "demo.png")
    options = parser.parse_args()
    torch.manual_seed(0)
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model(options.model))
    clips, generation = load_test_set(), GenerationSettings(options.steps)
    blocks = [_rows(pipeline, clips[index].load(size=pipeline.config.height), generation, index) for index in options.scenes]
    lines = len(blocks[0])
    figure = Figure(figsize=(COLUMNS * 1.2, len(blocks) * lines * 1.22), dpi=130)
    for block, rows in enumerate(blocks):
        for line, (name, frames) in enumerate(rows.items()):
            shown = np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int)
            for column, frame in enumerate(frames[shown]):
                axes = figure.add_subplot(len(blocks) * lines, COLUMNS, (block * lines + line) * COLUMNS + column + 1)
                axes.imshow(frame, interpolation="nearest")
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(name, fontsize=7)
    figure.subplots_adjust(left=0.05, right=0.995, top=0.995, bottom=0.005, wspace=0.03, hspace=0.03)
    figure.savefig(options.output)


def _rows(pipeline: Video4SpatialPipeline, clip, generation: GenerationSettings, noise: int) -> dict[str, np.ndarray]:
    """Frames by name."""
    inputs = RowInputs(clip, pipeline, generation, noise=noise)
    rendered = geometry.render(inputs, model.usual_context, geometry.read_geometry, context_cameras=True)
    return {
        "context": model.usual_length(clip, pipeline).context_frames,
        "its geometry, rendered": rendered,
        "generated": model.model(inputs, context_cameras=True),
        "truth": clip.target_frames,
    }


if __name__ == "__main__":
    main()

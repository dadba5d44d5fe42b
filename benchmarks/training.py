"""What training buys: scores of the exports of one run against the samples and FLOPs that made them.

    python train.py fit --config configs/train/rooms.yaml --trainer.callbacks.every 500 --trainer.callbacks.keep true
    python benchmarks/training.py --run runs/rooms/pipeline --scenes 32

Reads the kept exports (RUN-stepN) and the run's log (RUN.jsonl), and scores each on the frozen test set beside rows that need no
training. FLOPs are arithmetic: 6 times parameters times tokens (2 forward, 4 backward), without attention's own products.
"""

import argparse
import json
import re
from pathlib import Path

import torch

from video4spatial import Video4SpatialPipeline
from video4spatial.evaluation.benchmark import benchmark_navigation
from video4spatial.evaluation.results import metric, write_results
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.pipelines import GenerationSettings

METRICS = ("psnr", "covisible_psnr", "gradient_correlation")
REFERENCES = ("copy_nearest", "static", "mean_colour")


def main() -> None:
    """Score the exports of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="pipeline folder that the run wrote")
    parser.add_argument("--scenes", type=int, default=32, help="clips of the test set (default %(default)s)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: what suits the model)")
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="logs of the runs this one continues")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder of the JSON")
    options = parser.parse_args()
    log = [json.loads(line) for line in options.run.with_suffix(".jsonl").read_text().splitlines()]
    before = [json.loads(path.read_text().splitlines()[-1]) for path in options.earlier]
    clips = load_test_set(limit=options.scenes)
    exports = sorted(options.run.parent.glob(f"{options.run.name}-step*"), key=_step)
    if not exports:
        parser.error(f"no kept exports {options.run}-stepN: train with --trainer.callbacks.keep true")
    rows, settings = [], {}
    for export in exports:
        pipeline = Video4SpatialPipeline.from_pretrained(export)
        pipeline.set_progress_bar_config(disable=True)
        generation = GenerationSettings(options.steps)
        names = ["model", "model_with_context_cameras"] + (list(REFERENCES) if export is exports[-1] else [])
        scored, settings = benchmark_navigation(pipeline, clips, names, metrics=METRICS, generation=generation, processes=1)
        line = max((entry for entry in log if entry["step"] <= _step(export)), key=lambda entry: entry["step"])
        samples, tokens = (line[key] + sum(entry[key] for entry in before) for key in ("samples", "tokens"))
        parameters = sum(p.numel() for p in pipeline.transformer.parameters())
        spent = {
            "samples": metric(samples),
            "tokens": metric(tokens),
            "training_flops": metric(6.0 * parameters * tokens),
            "loss": metric(line["flow"]),
        }
        for row in scored:
            if row["name"] in REFERENCES:
                rows.append(row)
            else:
                name = f"step_{_step(export)}" + row["name"].removeprefix("model")
                rows.append({"name": name, "metrics": {**spent, **row["metrics"]}})
        print(rows[-1]["name"], {name: round(rows[-1]["metrics"][name]["value"], 3) for name in METRICS}, flush=True)
    settings.pop("paired_differences")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write_results(options.results / f"training_{device}.json", "training", {"run": options.run.name, **settings}, rows)


def _step(export: Path) -> int:
    return int(re.search(r"-step(\d+)$", export.name)[1])


if __name__ == "__main__":
    main()

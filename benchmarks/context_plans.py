"""What more context is worth, and what plans keep of it for less: quality and cost by number of context frames and plan.

    python benchmarks/context_plans.py [--model rooms] [--clips 16] [--parts lengths plans guidance rollout]

Clips are those of the frozen navigation test set. Longer contexts are other walks through the same scene before the one that the test
set has; shorter ones are spread evenly over it. Cost is arithmetic: floating-point operations of prefill and all steps, as a share of
those with all frames in full (the plan `all`). Rows of `guidance` have the clip's own context. Rows of `rollout` follow one path of ten chunks, each of which joins the memory.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from video4spatial import Video4SpatialPipeline
from video4spatial.cameras import Cameras, parse_trajectory
from video4spatial.clips import Clip, Navigate
from video4spatial.spread import evenly_spread
from video4spatial.diffusion import JointGuidance
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.rows.references import copy_nearest, mean_colour
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.results import merge_rows, metric, write_results
from video4spatial.evaluation.aggregation import aggregate, paired_difference
from video4spatial.evaluation.scoring import score_clip
from video4spatial.evaluation.test_set import load_test_set
from video4spatial.models import CacheStorage
from video4spatial.models.cost import Targets, TransformerCost
from video4spatial.pipelines import GenerationSettings, SceneContext, encode_scene, generate
from video4spatial.pretrained import resolve_model
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import generate_scene
from video4spatial.simulation.walks import capture_walk

PARTS = ("lengths", "plans", "guidance", "rollout")
METRIC_NAMES = ("psnr", "covisible_psnr", "gradient_correlation")
CAMERA_METRICS = ("rotation_error_deg", "translation_error_m")
"""Also of `guidance`: an instruction that counts more should be followed better."""

LENGTHS = (8, 32, 128, 512)
LONGEST_UNKNOWN = 128
"""Context frames up to which rows without known cameras are made too: prefill grows with the square."""

PLANNED = 128
"""Context frames among which plans choose."""

PLANS = {
    "all": {},
    "stride_16": {"name": "stride", "budget": 16},
    "diverse_16": {"name": "diverse", "budget": 16},
    "frustum_16": {"name": "frustum", "budget": 16},
    "far_pooled_16": {"name": "far_pooled", "budget": 16, "pool": 4},
    "far_pooled_16_by_2": {"name": "far_pooled", "budget": 16, "pool": 2},
    "coarse_to_fine_32": {"name": "coarse_to_fine", "budget": 32, "pool": 4},
    "coarse_only": {"name": "coarse_to_fine", "budget": 1, "pool": 4, "coarse_share": 1.0},
}
"""Rows: name, budget and options of a context plan."""

ONE_PASS = GenerationSettings(chunk_frames=0)

GUIDANCES = {
    "guidance_off": JointGuidance.absent(1.0),
    "guidance_absent_1.5": JointGuidance.absent(1.5),
    "guidance_absent_2": JointGuidance.absent(2.0),
    "guidance_noise_1.5": JointGuidance.noise(1.5),
    "guidance_noise_2": JointGuidance.noise(2.0),
    "guidance_instruction_1.5_context_1": JointGuidance.separate(1.5, 1.0),
    "guidance_instruction_2_context_1": JointGuidance.separate(2.0, 1.0),
    "guidance_instruction_2_context_1.5": JointGuidance.separate(2.0, 1.5),
    "guidance_instruction_1_context_1.5": JointGuidance.separate(1.0, 1.5),
}
"""Rows: guiders."""

CHUNKS, CHUNK_FRAMES = 10, 9
PER_CHUNK = CHUNK_FRAMES - 1
WAYS = ("left 360deg", "forward 0.6m + left 120deg, left 120deg, left 120deg")
"""Paths of ten chunks; both end where much of the beginning is in sight again."""


def with_context_of(clip: Clip, count: int) -> Clip:
    """The clip with as many context frames: fewer of its own, or walks through its scene before its own walk.

    Args:
        clip: of a simulated scene.
        count: context frames.
    """
    own = len(clip.context_frames)
    if count <= own:
        return clip.with_context(evenly_spread(own, count, clip.anchor))
    settings = clip.provenance
    scene = generate_scene(settings["scene_seed"])
    walks, length = [], settings["walk_frames"]
    while sum(map(len, walks)) < count - own:
        walks.append(
            capture_walk(scene, length, settings["frame_rate"], seed=1000 + len(walks), fov_degrees=settings["fov_degrees"], aspect=1.0)
        )
    earlier = Cameras.concatenate([replace(walk, times=None) for walk in walks])[: count - own]
    pictures = render(scene, earlier, *clip.context_frames.shape[1:3], supersample=settings["supersample"])
    before = np.arange(len(earlier)) / settings["frame_rate"]
    return replace(
        clip,
        context_frames=np.concatenate([pictures.rgb, clip.context_frames]),
        context_times=np.concatenate([before, clip.context_times + before[-1] + 1.0]),
        context_cameras=Cameras.concatenate([earlier, replace(clip.context_cameras, times=None)]),
        context_depth=np.concatenate([pictures.depth, clip.context_depth]),
        anchor=clip.anchor + len(earlier),
    )


def flops(
    pipeline: Video4SpatialPipeline, clip: Clip, context: SceneContext, guidance: JointGuidance = JointGuidance.absent(1.0)
) -> int:
    """Operations of encoding the context and denoising one video.

    Args:
        pipeline: the model.
        clip: whose path is followed.
        context: the encoded scene.
        guidance: the guider.
    """
    cost = TransformerCost.from_config(pipeline.transformer.config)
    per_latent = pipeline.transformer.tokens_per_latent(*context.latents.shape[-2:])
    targets = Targets(len(clip.instruction.cameras), per_latent, scene_rays=context.scene_rays is not None)
    steps = pipeline.config.num_inference_steps
    segments, share = context.cache.segments, context.coarse_share
    return cost.run_flops(targets, segments, steps, guidance.weights, guidance.null_context, coarse_share=share).total


class Rows:
    """Measurements of clips by row, and what each row costs.

    Args:
        metrics: names of those that are measured.
    """

    def __init__(self, metrics: tuple[str, ...] = METRIC_NAMES) -> None:
        self.metrics = metrics
        self.measured: dict[str, list[tuple[str, dict[str, Measurement]]]] = {}
        self.cost: dict[str, list[float]] = {}

    def add(self, row: str, clip: Clip, frames: np.ndarray, cost: float, tokens: int) -> None:
        """One video of a row.

        Args:
            row: its name.
            clip: that was carried out.
            frames: [T, H, W, 3] uint8.
            cost: operations of the run.
            tokens: of the context.
        """
        self.measured.setdefault(row, []).append((clip.scene, score_clip(clip, frames, self.metrics)))
        self.cost.setdefault(row, []).append((cost, tokens))

    def tabulated(self, base: str) -> list[dict]:
        """Rows of the results file.

        Args:
            base: the row that differences and costs are taken against, on the same clips.
        """
        rows = []
        for name, entries in self.measured.items():
            cells = {}
            for key in self.metrics:
                of_metric = [(scene, values[key]) for scene, values in entries]
                cells[key] = aggregate(METRICS[key], of_metric)
                of_base = [(scene, values[key]) for scene, values in self.measured[base]]
                cells[f"{key}_against_{base}"] = paired_difference(METRICS[key], of_metric, of_base)
            costs, tokens = np.mean(self.cost[name], axis=0)
            cells |= {"gflops": metric(costs / 1e9), "context_tokens": metric(tokens)}
            cells[f"cost_of_{base}"] = metric(costs / np.mean(self.cost[base], axis=0)[0])
            rows.append({"name": name, "metrics": cells})
        return rows


def lengths(pipeline: Video4SpatialPipeline, clips: list[Clip], most: int = LENGTHS[-1]) -> list[dict]:
    """Rows by number of context frames up to `most`, with and without their cameras.

    Args:
        pipeline: the model.
        clips: of the test set.
        most: context frames of the longest.
    """
    rows = Rows()
    for index, clip in enumerate(track(clips, description="lengths")):
        for count in [length for length in LENGTHS if length <= most]:
            longer = with_context_of(clip, count)
            for name, told in ((f"frames_{count}", False), (f"frames_{count}_with_cameras", True)):
                if not told and count > LONGEST_UNKNOWN:
                    continue
                settings = replace(ONE_PASS, seed=index, context_cameras=told)
                context = encode_scene(pipeline, longer, settings)
                frames = generate(pipeline, longer, settings, context).frames
                rows.add(name, clip, frames, flops(pipeline, longer, context), context.cache.num_tokens)
    return rows.tabulated("frames_32_with_cameras")


def plans(pipeline: Video4SpatialPipeline, clips: list[Clip]) -> list[dict]:
    """Rows by plan over the same context, whose cameras are known.

    Args:
        pipeline: the model.
        clips: of the test set.
    """
    rows = Rows()
    for index, clip in enumerate(track(clips, description="plans")):
        longer = with_context_of(clip, PLANNED)
        for row, options in PLANS.items():
            name, budget = options.get("name", "all"), options.get("budget")
            others = {key: value for key, value in options.items() if key not in ("name", "budget")}
            settings = replace(
                ONE_PASS, seed=index, context_cameras=True, plan=name, plan_budget=budget, plan_options=others
            )
            context = encode_scene(pipeline, longer, settings)
            frames = generate(pipeline, longer, settings, context).frames
            rows.add(row, clip, frames, flops(pipeline, longer, context), context.cache.num_tokens)
            if row == "all":
                narrow = context.stored(CacheStorage(torch.bfloat16))
                frames = generate(pipeline, longer, settings, narrow).frames
                rows.add("all_bfloat16_storage", clip, frames, flops(pipeline, longer, narrow), narrow.cache.num_tokens)
    return rows.tabulated("all")


def guidances(pipeline: Video4SpatialPipeline, clips: list[Clip]) -> list[dict]:
    """Rows by guider, in the clip's own context with known cameras.

    Args:
        pipeline: the model.
        clips: of the test set.
    """
    rows = Rows((*METRIC_NAMES, *CAMERA_METRICS))
    for index, clip in enumerate(track(clips, description="guidance")):
        settings = replace(ONE_PASS, seed=index, context_cameras=True)
        context = encode_scene(pipeline, clip, settings)
        for row, guidance in GUIDANCES.items():
            frames = generate(pipeline, clip, replace(settings, guidance=guidance), context).frames
            rows.add(row, clip, frames, flops(pipeline, clip, context, guidance), context.cache.num_tokens)
    return rows.tabulated("guidance_off")


BOUNDS = {"rollout": None, "rollout_bounded": 3, "rollout_footage_only": 1}
"""Rows: how many generated chunks the memory holds; the youngest always stays, because the camera stands at its end."""

REFERENCES = {"rollout_copy_nearest": copy_nearest, "rollout_mean_colour": mean_colour}
"""Rows that need no model, on the same cameras."""


def rollouts(pipeline: Video4SpatialPipeline, clips: list[Clip]) -> list[dict]:
    """Rows by chunk of a long path: how the picture drifts, with all of the memory, a bounded one, and hardly anything generated.

    Args:
        pipeline: the model.
        clips: of the test set.
    """
    scored: dict[str, dict[int, list]] = {name: {chunk: [] for chunk in range(CHUNKS)} for name in (*BOUNDS, *REFERENCES)}
    for index, clip in enumerate(track(clips, description="rollouts")):
        settings = GenerationSettings(seed=index, context_cameras=True, chunk_frames=CHUNK_FRAMES)
        context = encode_scene(pipeline, clip, settings)
        path = parse_trajectory(WAYS[index % len(WAYS)], CHUNKS * PER_CHUNK + 1)
        anchor = replace(clip.context_cameras[clip.anchor], times=None)
        lens = anchor.intrinsics.expand(len(path), 3, 3)
        world = replace(path.relative_to(0).placed_at(anchor), intrinsics=lens, times=None)
        truth = render(
            generate_scene(clip.provenance["scene_seed"]), world, *clip.context_frames.shape[1:3],
            supersample=clip.provenance["supersample"],
        )  # fmt: skip
        pieces = []
        for chunk in range(CHUNKS):
            part = np.r_[0, 1 + chunk * PER_CHUNK : 1 + (chunk + 1) * PER_CHUNK]  # frame 0 never counts
            pieces.append((part, replace(
                clip, instruction=Navigate(world[part]), target_cameras=world[part], target_frames=truth.rgb[part],
                target_depth=truth.depth[part],
            )))  # fmt: skip
        for name, held in BOUNDS.items():
            chunk_tokens = PER_CHUNK * context.cache.num_tokens // len(context)
            most = None if held is None else context.cache.num_tokens + held * chunk_tokens
            whole = replace(clip, instruction=Navigate(replace(path, intrinsics=lens, times=None)))
            video = generate(pipeline, whole, replace(settings, max_context_tokens=most), context).frames
            for chunk, (part, piece) in enumerate(pieces):
                scored[name][chunk].append((clip.scene, score_clip(piece, video[part], METRIC_NAMES)))
        for name, make in REFERENCES.items():
            for chunk, (_, piece) in enumerate(pieces):
                scored[name][chunk].append((clip.scene, score_clip(piece, make(piece), METRIC_NAMES)))
    return [
        {
            "name": f"{name}_chunk_{chunk + 1}",
            "metrics": {
                key: aggregate(METRICS[key], [(scene, values[key]) for scene, values in entries]) for key in METRIC_NAMES
            },
        }
        for name, chunks in scored.items()
        for chunk, entries in chunks.items()
    ]


def place(row: str) -> tuple[int, int]:
    """Where a row stands: lengths by number, plans, guidance, rollouts.

    Args:
        row: its name.
    """
    if row.startswith("frames_"):
        return 0, int(row.split("_")[1])
    return (2 if row.startswith("guidance") else 3 if row.startswith("rollout") else 1), 0


def main() -> None:
    """Score and write; rows of other parts already in the results file stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="rooms", help="built-in model or folder (default %(default)s)")
    parser.add_argument("--clips", type=int, default=16, help="of the test set (default %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--most-frames", type=int, default=LENGTHS[-1], help="longest context of `lengths` (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "context_plans.json")
    options = parser.parse_args()
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model(options.model))
    pipeline.set_progress_bar_config(disable=True)
    clips = [entry.load(pipeline.config.height) for entry in load_test_set(limit=options.clips)]
    measures = (partial(lengths, most=options.most_frames), plans, guidances, rollouts)
    measure = dict(zip(PARTS, measures, strict=True))
    rows = [row for part in options.parts for row in measure[part](pipeline, clips)]
    settings = {
        "model": options.model, "num_inference_steps": pipeline.config.num_inference_steps,
        "planned_frames": PLANNED, "plans": PLANS, "chunks": CHUNKS, "chunk_frames": CHUNK_FRAMES, "paths": list(WAYS),
        "interval": "bootstrap over scenes, 95 %",
    }  # fmt: skip
    settings, rows = merge_rows(options.output, settings, rows, place)
    write_results(options.output, "context_plans", settings, rows)
    for row in rows:
        shown = [f"{name} {cell['value']:.3g}" for name, cell in row["metrics"].items() if cell["value"] is not None]
        print(f"{row['name']:28s}", *shown)


if __name__ == "__main__":
    main()

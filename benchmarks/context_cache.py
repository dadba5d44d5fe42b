"""What the context cache buys: time against the same model without it, against full attention, and against arithmetic.

    python benchmarks/context_cache.py [--parts ratios frames storage] [--ratios r1 r8] [--repeats 5] [--model rooms]
    python benchmarks/context_cache.py --parts wan          # on a GPU: a randomly initialised Wan 2.1 1.3B at 832x480

Ratio rows `r1` ... `r8` sample one trajectory with as many times more context tokens than target tokens: 50 steps, guidance with a null
context of noise, prefill included, encoding of pictures left out. Its peers are the same model that encodes its context in every pass
(`causal`) and the same weights in full attention (`full`); each of their runs stands between two with the cache, and is compared with
these. `predicted` is the ratio of floating-point operations that `v4s plan` prints. Targets have 13 frames, which makes 768 tokens or
more in both guidance branches: below that PyTorch's CPU attention works in smaller blocks (FlashAttentionKernel.cpp), more slowly (row
`short_attention`). `r4_short` has the 9 frames that the model was trained with, and `r4_short_absent` no null context besides.
Rows `frames_N` have the built-in model with N context frames, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.progress import track

from video4spatial import Video4SpatialPipeline
from video4spatial.cameras import parse_trajectory
from video4spatial.clips import Navigate
from video4spatial.conditioning.passes import encode_parts
from video4spatial.diffusion import JointGuidance
from video4spatial.evaluation.results import merge_rows, metric, write_results
from video4spatial.models import CacheStorage, Video4SpatialTransformer3DModel
from video4spatial.models.attention import attend
from video4spatial.models.autoencoder import spatial_compression
from video4spatial.models.autoencoder_cost import autoencoder_cost
from video4spatial.models.cost import Targets, TransformerCost, run_memory
from video4spatial.pipelines import SceneContext
from video4spatial.pretrained import resolve_model

STEPS = 50
GUIDANCE = 2.0
RATIOS = {
    "r1": (1, "noise", 13), "r2": (2, "noise", 13), "r4": (4, "noise", 13), "r8": (8, "noise", 13),
    "r4_short": (4, "noise", 9), "r4_short_absent": (4, "absent", 9),
}  # fmt: skip
"""Context tokens per target token, null context, target frames."""
HEAP = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""Of the processes that measure memory: glibc keeps freed blocks smaller than a threshold that it raises to 32 MB as it goes. With a fixed
one their memory is what tensors hold; steps take up to a fifth longer, because the system clears the pages of every large tensor."""

FRAMES = (16, 32, 64, 128, 256, 512, 1024)
PATH = "forward 0.5m, turn left 30deg"


def load(model: str) -> Video4SpatialPipeline:
    """The model, allowed to be guided with both nulls: what it was trained for does not change how long it takes.

    Args:
        model: built-in model or folder.
    """
    pipeline = Video4SpatialPipeline.from_pretrained(resolve_model(model))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.transformer.register_to_config(null_context=("absent", "noise"))
    return pipeline


def pictures(pipeline: Video4SpatialPipeline, count: int) -> np.ndarray:
    """Smooth random frames: what is in them does not change how long it takes, but differences should be of a usual size.

    Args:
        pipeline: its size is that of the frames.
        count: how many.

    Returns:
        [count, H, W, 3] uint8.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    size = (pipeline.config.height, pipeline.config.width)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return (smooth * 255).to(torch.uint8).movedim(1, -1).numpy()


def seconds(action: Callable[[], object]) -> tuple[float, object]:
    """How long it takes, and what it returns.

    Args:
        action: called once.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def sampled(
    pipeline: Video4SpatialPipeline, context: SceneContext, guidance: JointGuidance, steps: int = STEPS, frames: int | None = None
) -> torch.Tensor:
    """Latents of one trajectory, of the model's own length unless `frames` are given.

    Args:
        pipeline: the model.
        context: the encoded scene.
        guidance: the guider.
        steps: of denoising.
        frames: of the trajectory; None for the model's own length.

    Returns:
        [1, C, F, h, w].
    """
    path = Navigate(parse_trajectory(PATH, frames or pipeline.config.target_frames))
    generator = torch.Generator().manual_seed(0)
    return pipeline(
        context, path, num_inference_steps=steps, guidance=guidance, generator=generator, output_type="latent"
    ).latents


def prefilled(pipeline: Video4SpatialPipeline, scene: SceneContext) -> SceneContext:
    """A scene whose pictures are encoded, with its cache.

    Args:
        pipeline: the model.
        scene: the same without one.
    """
    cache, _ = encode_parts(pipeline.transformer, scene.inputs)
    return replace(scene, cache=cache)


def ratio_row(pipeline: Video4SpatialPipeline, name: str, repeats: int) -> dict:
    """One trajectory of a row of `RATIOS`, cached and by both peers.

    Args:
        pipeline: the model.
        name: of the row.
        repeats: how often the four runs are timed.
    """
    ratio, null, frames = RATIOS[name]
    full = Video4SpatialPipeline(
        pipeline.vae, Video4SpatialTransformer3DModel.from_config(pipeline.transformer.config, attention_mode="full"),
        pipeline.scheduler, height=pipeline.config.height, width=pipeline.config.width,
    )  # fmt: skip
    full.transformer.load_state_dict(pipeline.transformer.state_dict())
    full.transformer.eval().to(pipeline.transformer.device)
    full.set_progress_bar_config(disable=True)
    guidance = JointGuidance(GUIDANCE, null)
    scene = full.encode_context(pictures(pipeline, ratio * frames))  # no cache: what all three begin with
    runs = {
        "cached": lambda: sampled(pipeline, prefilled(pipeline, scene), guidance, frames=frames),
        "causal": lambda: sampled(pipeline, scene, guidance, frames=frames),
        "full": lambda: sampled(full, scene, guidance, frames=frames),
    }
    with torch.no_grad():
        for pipe, context in ((pipeline, prefilled(pipeline, scene)), (pipeline, scene), (full, scene)):
            sampled(pipe, context, guidance, 1, frames)  # warm
        taken, latents = [], {}
        for scheme in ["cached", "causal", "cached", "full"] * repeats + ["cached"]:  # a peer's run stands between two with the cache
            duration, latents[scheme] = seconds(runs[scheme])
            taken.append((scheme, duration))
    counts = {scheme: sum(each == scheme for each, _ in taken) for scheme in runs}
    cells = {f"{scheme}_seconds": metric(median(t for s, t in taken if s == scheme), n=count) for scheme, count in counts.items()}
    cost = TransformerCost.from_config(pipeline.transformer.config)
    per_latent = pipeline.transformer.tokens_per_latent(*scene.latents.shape[-2:])
    targets, context_tokens = Targets(frames, per_latent), scene.latents.shape[2] * per_latent
    flops = {
        scheme: cost.run_flops(targets, [context_tokens], STEPS, guidance.weights, null, known_as).total
        for scheme, known_as in (("cached", "cached"), ("causal", "uncached"), ("full", "full"))
    }
    for peer in ("causal", "full"):
        ratios = [
            2 * duration / (taken[index - 1][1] + taken[index + 1][1])
            for index, (scheme, duration) in enumerate(taken) if scheme == peer
        ]  # fmt: skip
        measured, predicted = median(ratios), flops[peer] / flops["cached"]
        cells |= {
            f"speedup_over_{peer}": metric(measured, n=repeats),
            f"predicted_over_{peer}": metric(predicted),
            f"share_of_predicted_over_{peer}": metric(measured / predicted),
        }
    difference = float((latents["cached"] - latents["causal"]).abs().max())
    cells |= {"max_abs_difference": metric(difference), "context_tokens": metric(context_tokens), "target_tokens": metric(targets.tokens)}
    return {"name": name, "metrics": cells}


@torch.no_grad()
def attention_row(pipeline: Video4SpatialPipeline, repeats: int) -> dict:
    """Operations per second of attention from the targets of `r4_short` and `r4`, as shares of those from all tokens of `r4`.

    Args:
        pipeline: the model.
        repeats: of every measurement.
    """
    config, factor = pipeline.transformer.config, spatial_compression(pipeline.vae)
    per_latent = pipeline.transformer.tokens_per_latent(pipeline.config.height // factor, pipeline.config.width // factor)
    ratio, _, frames = RATIOS["r4"]
    queries = (RATIOS["r4_short"][2] * per_latent, frames * per_latent, (1 + ratio) * frames * per_latent)
    heads = config.num_attention_heads, config.attention_head_dim
    key, value = torch.randn(2, 1, queries[-1], *heads)
    rates = {count: [] for count in queries}
    for _ in range(10 * repeats):
        for count, taken in rates.items():
            query = torch.randn(1, count, *heads)
            taken.append(count / seconds(lambda: attend(query, key, value))[0])
    shares = {count: median(few / all_ for few, all_ in zip(taken, rates[queries[-1]])) for count, taken in rates.items()}
    return {
        "name": "short_attention",
        "metrics": {f"share_of_speed_of_{count}_queries": metric(shares[count], n=10 * repeats) for count in queries[:-1]},
    }


def reuse_row(pipeline: Video4SpatialPipeline) -> dict:
    """Context tokens that a second trajectory through the same scene sends through the transformer, counted in its first block.

    Args:
        pipeline: the model.
    """
    seen = []
    hook = pipeline.transformer.blocks[0].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[1] * inputs[0].shape[2])
    )
    context = pipeline.encode_context(pictures(pipeline, 16))
    first, counted = [], []
    for _ in range(2):
        taken, _ = seconds(lambda: sampled(pipeline, context, JointGuidance.absent(1.0), steps=4))
        first.append(taken)
        counted.append(sum(seen))
        seen.clear()
    hook.remove()
    targets = 4 * pipeline.config.target_frames * pipeline.transformer.tokens_per_latent(*context.latents.shape[-2:])
    return {
        "name": "second_trajectory",
        "metrics": {
            "context_tokens_of_the_scene": metric(float(counted[0] - targets)),
            "context_tokens_computed": metric(float(counted[1] - targets)),
        },
    }


def storage_rows(pipeline: Video4SpatialPipeline, repeats: int) -> list[dict]:
    """Other ways to keep keys and values, and other ways to compute: time of a step and difference from the plain way.

    Args:
        pipeline: the model.
        repeats: of every measurement.
    """
    context = pipeline.encode_context(pictures(pipeline, 128))
    guidance = JointGuidance.absent(1.0)
    plain = sampled(pipeline, context, guidance, steps=4)
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "scene.safetensors"
    pipeline.save_context(context, file)
    ways = {
        "plain": context,
        "bfloat16_storage": context.stored(CacheStorage(torch.bfloat16)),
        "mapped_from_a_file": pipeline.load_context(file),
    }
    times = {name: [] for name in ways}
    latents = {}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            taken, latents[name] = seconds(lambda: sampled(pipeline, way, guidance, steps=4))
            times[name].append(taken / 4)
    rows = []
    base = median(times["plain"][1:])
    for name, way in ways.items():
        cells = {
            "step_seconds": metric(median(times[name][1:]), n=repeats),
            "speed_against_plain": metric(base / median(times[name][1:]), n=repeats),
            "cache_gb": metric(way.cache.num_bytes / 1e9),
            "max_abs_difference": metric(float((latents[name] - plain).abs().max())),
        }
        rows.append({"name": name, "metrics": cells})
    wide = context.cache.expanded(2)
    two, one = branch_times(pipeline, context, wide, repeats)
    rows.append({"name": "two_branches_in_one_batch", "metrics": {"speed_against_plain": metric(2 * one / two, n=repeats)}})
    folder.cleanup()
    compiled = Video4SpatialPipeline.from_pretrained(pipeline.config._name_or_path)
    compiled.set_progress_bar_config(disable=True)
    compiled.transformer.compile_repeated_blocks()
    start, _ = seconds(lambda: sampled(compiled, context, guidance, steps=4))
    pairs = []
    for _ in range(repeats):
        fast, video = seconds(lambda: sampled(compiled, context, guidance, steps=4))
        slow, _ = seconds(lambda: sampled(pipeline, context, guidance, steps=4))
        pairs.append((slow / 4, fast / 4))
    ratio = median(slow for slow, _ in pairs) / median(fast for _, fast in pairs)
    cells = {
        "step_seconds": metric(median(fast for _, fast in pairs), n=repeats),
        "speed_against_plain": metric(ratio, n=repeats),
        "first_call_seconds": metric(start),
        "max_abs_difference": metric(float((video - plain).abs().max())),
    }
    return [*rows, {"name": "compiled_blocks", "metrics": cells}]


@torch.no_grad()
def branch_times(pipeline: Video4SpatialPipeline, context: SceneContext, wide, repeats: int) -> tuple[float, float]:
    """Seconds of one pass of two branches in a batch, and of one branch.

    Args:
        pipeline: the model.
        context: the encoded scene.
        wide: its cache, twice in a batch.
        repeats: of every measurement.
    """
    frames = pipeline.config.target_frames
    latents = torch.randn(1, context.latents.shape[1], frames, *context.latents.shape[-2:])
    positions = 200.0 + torch.arange(frames, dtype=torch.float64).unsqueeze(0)
    level = torch.tensor([500.0])
    pairs = []
    for _ in range(repeats + 1):
        both, _ = seconds(
            lambda: pipeline.transformer(
                latents.repeat(2, 1, 1, 1, 1), level.repeat(2), positions=positions.repeat(2, 1), context=wide
            )
        )
        single, _ = seconds(lambda: pipeline.transformer(latents, level, positions=positions, context=context.cache))
        pairs.append((both, single))
    return median(both for both, _ in pairs[1:]), median(single for _, single in pairs[1:])


def profile(pipeline: Video4SpatialPipeline) -> dict[str, float]:
    """Shares of the time of one call at the model's own settings: encoding pictures, prefill, denoising, decoding.

    Args:
        pipeline: the model.
    """
    frames = pictures(pipeline, pipeline.config.context_frames)
    path = Navigate(parse_trajectory(PATH, pipeline.config.target_frames))
    spent = {name: [] for name in ("encode pictures", "prefill", "denoise", "decode")}
    for _ in range(6):
        whole, context = seconds(lambda: pipeline.encode_context(frames))
        prefill, _ = seconds(lambda: prefilled(pipeline, replace(context, cache=None)))
        denoise, output = seconds(lambda: pipeline(context, path, output_type="latent"))
        decode, _ = seconds(lambda: pipeline.decode_latents(output.latents))
        for name, value in zip(spent, (whole - prefill, prefill, denoise, decode)):
            spent[name].append(value)
    medians = {name: max(median(values[1:]), 0.0) for name, values in spent.items()}
    return {name: round(value / sum(medians.values()), 3) for name, value in medians.items()}


@torch.no_grad()
def frames_figures(model: str, count: int, repeats: int) -> dict[str, float]:
    """Prefill and step time and peak memory with so many context frames, of this whole process.

    Args:
        model: built-in model or folder.
        count: context frames.
        repeats: of every measurement.
    """
    pipeline = load(model)
    scene = pipeline.encode_context(pictures(pipeline, 1))
    sampled(pipeline, scene, JointGuidance.absent(1.0), steps=1)  # warm
    frames = pictures(pipeline, count)
    times, total, context = [], 0.0, None
    while len(times) < repeats and (total < 60 or not times):  # long prefills are not repeated as often
        context = None  # one cache at a time
        taken, context = seconds(lambda: pipeline.encode_context(frames))
        times.append(taken)
        total += taken
    steps = []
    path = Navigate(parse_trajectory(PATH, pipeline.config.target_frames))

    def on_step_end(pipe, step, timestep, tensors):
        steps.append(time.perf_counter())

    pipeline(context, path, num_inference_steps=repeats + 2, output_type="latent", callback_on_step_end=on_step_end)
    weights = sum(p.numel() * p.element_size() for module in (pipeline.transformer, pipeline.vae) for p in module.parameters())
    cost = TransformerCost.from_config(pipeline.transformer.config)
    targets = Targets(pipeline.config.target_frames, context.cache.num_tokens // count)
    size = (pipeline.config.height, pipeline.config.width)
    predicted = run_memory(
        cost, autoencoder_cost(pipeline.vae.config), weights, targets, context.cache.segments, count, *size, itemsize=4
    )  # fmt: skip
    return {
        "tokens": context.cache.num_tokens,
        "prefill_seconds": median(times),
        "prefill_repeats": len(times),
        "step_seconds": median(np.diff(steps)),
        "step_repeats": len(steps) - 1,
        "cache_gb": context.cache.num_bytes / 1e9,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "predicted_peak_memory_gb": predicted.process_peak / 1e9,
    }


def frames_rows(model: str, repeats: int) -> list[dict]:
    """A row for every number of context frames, and how straight the lines are.

    Args:
        model: built-in model or folder.
        repeats: of every measurement.
    """
    found = {}
    for count in track(FRAMES, description="frames"):
        command = [sys.executable, __file__, "--model", model, "--repeats", str(repeats), "--one", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | HEAP)
        found[count] = json.loads(done.stdout.splitlines()[-1])
    rows = []
    for count, figures in found.items():
        repeated = {"prefill_seconds": figures["prefill_repeats"], "step_seconds": figures["step_repeats"]}
        cells = {name: metric(value, n=repeated.get(name)) for name, value in figures.items() if not name.endswith("_repeats")}
        rows.append({"name": f"frames_{count}", "metrics": cells})
    tokens = np.array([figures["tokens"] for figures in found.values()], dtype=float)
    step, memory, prefill = (
        np.array([figures[name] for figures in found.values()]) for name in ("step_seconds", "peak_memory_gb", "prefill_seconds")
    )
    # Relative errors count alike, or the longest prefill would decide alone.
    terms = np.stack([tokens, tokens**2], axis=1) / prefill[:, None]
    (linear, quadratic), *_ = np.linalg.lstsq(terms, np.ones_like(prefill), rcond=None)
    fit = {
        "step_r_squared": metric(r_squared(step, np.polyval(np.polyfit(tokens, step, 1), tokens)), n=len(tokens)),
        "memory_r_squared": metric(r_squared(memory, np.polyval(np.polyfit(tokens, memory, 1), tokens)), n=len(tokens)),
        "prefill_r_squared": metric(r_squared(prefill, linear * tokens + quadratic * tokens**2), n=len(tokens)),
        "prefill_seconds_per_token": metric(float(linear)),
        "prefill_seconds_per_token_squared": metric(float(quadratic)),
        "memory_gb_per_1000_tokens": metric(float(np.polyfit(tokens, memory, 1)[0] * 1000)),
        "cache_gb_per_1000_tokens": metric(float(np.polyfit(tokens, [f["cache_gb"] for f in found.values()], 1)[0] * 1000)),
    }
    return [*rows, {"name": "linear_fit", "metrics": fit}]


def r_squared(values: np.ndarray, fitted: np.ndarray) -> float:
    """Share of the variance that a fit explains.

    Args:
        values: [N] measured.
        fitted: [N] of the fit.
    """
    return float(1 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum())


WAN = dict(
    num_attention_heads=12, attention_head_dim=128, in_channels=16, out_channels=16, text_dim=4096, freq_dim=256, ffn_dim=8960,
    num_layers=30, patch_size=(1, 2, 2), cross_attn_norm=True,
)  # fmt: skip
"""Wan 2.1 T2V 1.3B."""


@torch.no_grad()
def wan_rows(
    repeats: int, config: dict = WAN, size: tuple[int, int] = (60, 104), latents: int = 21, steps: int = 5,
    device: str = "cuda", dtype: torch.dtype = torch.bfloat16,
) -> list[dict]:  # fmt: skip
    """A randomly initialised model of Wan's shape with as many context latents as target latents, and diffusers' own at as many tokens.

    Args:
        repeats: of every measurement.
        config: of the transformer.
        size: rows and columns of the latents: (60, 104) is 480x832 pixels.
        latents: of the targets: 21 are 81 frames.
        steps: that are timed.
        device, dtype: where and in what.
    """
    from diffusers import WanTransformer3DModel

    with torch.device(device):
        ours = Video4SpatialTransformer3DModel(**config, camera_channels=24).eval().to(dtype)
        theirs = WanTransformer3DModel(**config).eval().to(dtype)
        target, scene = torch.randn(2, 1, config["in_channels"], latents, *size, dtype=dtype)
        text = torch.randn(1, 512, config["text_dim"], dtype=dtype)
        rays = torch.randn(1, latents, 24, *size, dtype=dtype)
        timestep = torch.full((1,), 500.0)
    positions = torch.arange(latents, dtype=torch.float64).unsqueeze(0)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def prefill():
        return ours.encode_context(scene, positions)[0]

    def step(cache):  # both guidance branches; the null context is absent
        ours(target, timestep, text, positions=positions + 2 * latents, rays=rays, context=cache)
        ours(target[:, :, 1:], timestep, text, positions=positions[:, 1:] + 2 * latents)

    def full_step():
        theirs(torch.cat([scene, target], dim=2), timestep, text)
        theirs(target[:, :, 1:], timestep, text)

    cache = prefill()
    step(cache)
    prefills, ours_times, theirs_times = [], [], []
    for _ in range(repeats):
        prefills.append(seconds(prefill)[0])
        ours_times.append(seconds(lambda: [step(cache) for _ in range(steps)])[0] / steps)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None
    full_step()
    for _ in range(max(1, repeats // 2)):
        theirs_times.append(seconds(lambda: [full_step() for _ in range(steps)])[0] / steps)
    ours_total, theirs_total = median(prefills) + STEPS * median(ours_times), STEPS * median(theirs_times)
    frames = 4 * (latents - 1)
    return [
        {
            "name": "wan_1.3b_cached",
            "metrics": {
                "prefill_seconds": metric(median(prefills), n=repeats),
                "step_seconds": metric(median(ours_times), n=repeats),
                "seconds_of_50_steps_by_arithmetic": metric(ours_total),
                "seconds_per_generated_frame": metric(ours_total / frames),
                "speedup_over_diffusers": metric(theirs_total / ours_total),
                "peak_memory_gb": metric(peak) if peak is not None else metric(None, status="not_applicable"),
            },
        },
        {
            "name": "wan_1.3b_diffusers",
            "metrics": {
                "step_seconds": metric(median(theirs_times), n=len(theirs_times)),
                "seconds_of_50_steps_by_arithmetic": metric(theirs_total),
                "seconds_per_generated_frame": metric(theirs_total / frames),
            },
        },
    ]


def place(row: str) -> int:
    """Where a row stands: ratios, frames by number, storage, Wan.

    Args:
        row: its name.
    """
    kinds = ("r", "short_attention", "second_trajectory", "frames_", "linear_fit", "plain", "bfloat16", "mapped", "two_branches", "compiled", "wan_")
    kind = next(index for index, kind in reversed(list(enumerate(kinds))) if row.startswith(kind))
    if row in RATIOS:
        return list(RATIOS).index(row)
    return 10_000 * kind + (int(row.removeprefix("frames_")) if row.startswith("frames_") else 0)


def main() -> None:
    """Measure what is asked for; rows of other parts already in the results file stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=("ratios", "frames", "storage", "wan"), default=["ratios", "frames", "storage"])
    parser.add_argument("--ratios", nargs="+", choices=RATIOS, default=list(RATIOS), help="rows of `ratios` (default: all)")
    parser.add_argument("--model", default="rooms", help="built-in model or folder (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # a row of its own process
    parser.add_argument("--output", type=Path, help="file to write (default: benchmarks/results/context_cache_<device>.json)")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(frames_figures(options.model, options.one, options.repeats)))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    output = options.output or Path(__file__).parent / "results" / f"context_cache_{device}.json"
    pipeline = load(options.model)
    settings = {
        "model": options.model, "steps": STEPS, "guidance_scale": GUIDANCE, "null_context": "noise, and absent where the row says so",
        "target_frames": pipeline.config.target_frames,
        "target_frames_of_ratios": {name: frames for name, (_, _, frames) in RATIOS.items()},
        "repeats": options.repeats, "dtype": str(pipeline.transformer.dtype),
    }  # fmt: skip

    def keep(*rows: dict) -> None:  # at once: the next ones take long
        write_results(output, f"context_cache_{device}", *merge_rows(output, settings, list(rows), place))
        for row in rows:
            cells = (f"{name} {cell['value']:.4g}" for name, cell in row["metrics"].items() if cell["value"] is not None)
            print(f"{row['name']:28s}", *cells, flush=True)

    if "ratios" in options.parts:
        for name in track(options.ratios, description="ratios"):
            keep(ratio_row(pipeline, name, options.repeats))
        keep(attention_row(pipeline, options.repeats), reuse_row(pipeline))
    if "frames" in options.parts:
        keep(*frames_rows(options.model, options.repeats))
    if "storage" in options.parts:
        settings["profile_of_one_call"] = profile(pipeline)
        keep(*storage_rows(pipeline, options.repeats))
    if "wan" in options.parts:
        keep(*wan_rows(options.repeats))


if __name__ == "__main__":
    main()

"""`v4s plan`: what a run will cost in operations and memory, before anything is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.arguments import MOST_FRAMES, MOST_STEPS, Parser, integer, number, picture_size
from video4spatial.cli.errors import in_flags, user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.sample_options import add_context_options, generation_settings
from video4spatial.cli.terminal import console, note, say
from video4spatial.pretrained import PUBLIC_MODELS, ModelFolderError, built_in_models, read_model_folder, read_model_shape

if TYPE_CHECKING:
    from video4spatial.pipelines.run_cost import RunCost

CAMERAS = {"context_cameras": "--known-cameras"}
"""Flags that this command calls by another name."""
MEMORY = {
    "weights": "weights", "cache": "context cache", "offloaded": "of it off the device", "latents": "latents",
    "context_encoding": "peak while encoding the context", "denoising": "peak while denoising", "decoding": "peak while decoding",
    "device_peak": "peak of the device", "process_peak": "peak of the process, on a CPU",
}  # fmt: skip
"""Figures of `RunMemory` that are shown, and what to call them."""


def plan_parser() -> Parser:
    """Options of `v4s plan`."""
    parser = Parser(
        "v4s plan",
        "Say what a run will cost, in operations and in memory, without loading or running anything. Memory is what the\n"
        "tensors need; the allocator keeps somewhat more.",
        "example:\n  v4s plan --model wan-2.1-1.3b --context-frames 337 --chunk-length 337 --size 832x480 --device-memory 80",
    )
    add = parser.add_argument
    names = ", ".join([*built_in_models(), *PUBLIC_MODELS])
    add("--model", metavar="NAME_OR_PATH", default="rooms",
        help=f"pipeline folder, configuration of a transformer (folder or config.json), or one of {names} "
        "(default %(default)s)")  # fmt: skip
    add("--context-frames", metavar="N", type=integer(1, MOST_FRAMES), help="frames of the context (default: the model's)")
    add("--chunk-length", metavar="N", type=integer(1), default=1,
        help="consecutive context frames that a video autoencoder encodes together: 1 + compression * k "
        "(default %(default)s, every frame by itself, as v4s sample does)")  # fmt: skip
    add("--size", metavar="WxH", help="picture size in pixels (default: the model's)")
    add("--frames", metavar="N", type=integer(2, MOST_FRAMES), help="frames to generate, the anchor's included (default: the model's)")
    add("--steps", metavar="N", type=integer(1, MOST_STEPS), help="denoising steps (default: what suits the model)")
    add("--guidance-scale", metavar="W", type=number(0), default=1.0,
        help="joint guidance over context and path, 1 is off (default %(default)g)")  # fmt: skip
    add("--known-cameras", action="store_true", help="the cameras of the context are known")
    add_context_options(parser, "all of them in full")
    add("--dtype", choices=("bfloat16", "float32"),
        help="of weights and activations (default: float32 for pipeline folders, else bfloat16)")  # fmt: skip
    add("--device-memory", metavar="GB", type=number(0), help="say whether this is enough, in 10^9 bytes (default: not said)")
    add("--json", metavar="FILE", help="file to write the figures to (default: none)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s plan`.

    Args:
        arguments: its options.

    Raises:
        UserError: what the user can put right.
    """
    options = plan_parser().parse(arguments)
    with user_mistakes(**CAMERAS):
        check_file(options.json, "--json")
        model = read_model_shape(options.model)
        height, width = (model.height, model.width) if options.size is None else picture_size(options.size, "832x480")
        # Imported here: --help and mistakes must answer before the seconds that this takes.
        from video4spatial.pipelines.run_cost import RunCost

        cost = RunCost(
            model, height, width, options.frames or model.frames, options.context_frames or model.context_frames,
            options.chunk_length, options.dtype or model.dtype, generation_settings(options, options.known_cameras),
        )  # fmt: skip
    _show(cost)
    if options.device_memory is not None:
        say(_verdict(cost, options.device_memory * 1e9))
    if options.json is not None:
        with user_mistakes():
            _write(cost, options.json)
        say(f"written to {options.json}")


def _show(cost: RunCost) -> None:
    """Print the figures."""
    targets, per_latent = cost.targets, cost.targets.tokens_per_latent
    say(
        f"{cost.model.name} at {cost.width}x{cost.height} in {cost.dtype}: {cost.context_frames} context frames, "
        f"{cost.frames} frames to generate, {cost.steps} steps"
    )
    latents = cost.autoencoder.latent_count(cost.chunk_length)
    parts = " + ".join(f"{len(part.chunks) * latents} latents of {per_latent // part.pool**2}" for part in cost.context.parts)
    say(f"context tokens  {sum(cost.segments):,} = {parts}")
    say(f"target tokens   {targets.tokens:,} = {targets.latents} latents of {per_latent}, the anchor's included")
    _show_flops(cost)
    _show_memory(cost)
    for sentence in (*cost.notes, _beyond_training(cost)):
        if sentence:
            note(in_flags(sentence) + ".")


def _beyond_training(cost: RunCost) -> str:
    """What is to be said of pictures of a size that a pipeline folder was not trained on; nothing of bare configurations."""
    name = cost.model.name
    if name not in built_in_models() and not (Path(name) / "model_index.json").is_file():
        return ""
    try:
        return read_model_folder(name).beyond_training(cost.height, cost.width)
    except ModelFolderError:  # configurations without weights are enough for a plan
        return ""


def _show_flops(cost: RunCost) -> None:
    names = {
        "planned": f"plan {cost.settings.plan}{'' if cost.full else ', cached'}", "cached": "context cached",
        "uncached": "context encoded again in every step", "full": "full attention, as published",
    }  # fmt: skip
    rows = [
        (names[scheme], _amount(flops.prefill, "FLOP") if flops.prefill else "–", _amount(flops.step, "FLOP"),
         _amount(flops.total, "FLOP"))
        for scheme, flops in cost.flops.items()
    ]  # fmt: skip
    _table(("operations", "once", "each step", "whole run"), rows)
    _show_seconds(cost)
    if not cost.full:
        again, full = (cost.flops[scheme].total / cost.flops["cached"].total for scheme in ("uncached", "full"))
        say(f"by operations, the cache makes the run {again:.2f} times as fast; {full:.2f} times against full attention")
    if "planned" in cost.flops:
        reference = cost.flops["full" if cost.full else "cached"].total
        say(f"the plan makes it {reference / cost.flops['planned'].total:.2f} times as fast as all frames in full")


def _show_seconds(cost: RunCost) -> None:
    """Print how long the operations take at the speed of this machine, which no run beats."""
    import torch

    from video4spatial.pipelines.run_cost import machine_flops

    device = "cuda" if torch.cuda.is_available() else "cpu"
    speed = machine_flops(device, cost.dtype)
    scheme = "planned" if "planned" in cost.flops else "full" if cost.full else "cached"
    seconds = cost.flops[scheme].total / speed
    say(f"on this machine ({device}, {_amount(speed, 'FLOP')} per second in products of matrices) at least {_duration(seconds)}")


def _show_memory(cost: RunCost) -> None:
    values = {words: getattr(cost.memory, name) for name, words in MEMORY.items()}
    _table(("memory", ""), [(words, _amount(value, "B")) for words, value in values.items() if value])


def _verdict(cost: RunCost, available: float) -> str:
    """Whether the run fits, and which would."""
    needed = f"it needs {_amount(cost.memory.device_peak, 'B')} of {_amount(available, 'B')}"
    if cost.memory.device_peak <= available:
        return f"fits: {needed}"
    shorter = cost.longest_context(available)
    if shorter is None:
        hope = "choose a smaller --size, fewer --frames or another model"
        return f"does not fit: {needed}, and no shorter context would; {hope}"
    frames, chunk = shorter
    chunks = f" --chunk-length {chunk}" if chunk != cost.chunk_length else ""
    return f"does not fit: {needed}; --context-frames {frames}{chunks} would"


def _write(cost: RunCost, path: str) -> None:
    """Write the figures as a results file."""
    from video4spatial.evaluation.results import metric, write_results

    settings, cache = cost.settings, cost.settings.cache
    written = {
        "model": cost.model.name, "height": cost.height, "width": cost.width, "context_frames": cost.context_frames,
        "chunk_length": cost.chunk_length, "frames": cost.frames, "steps": cost.steps, "dtype": cost.dtype,
        "guidance_scale": cost.guidance.guidance_scale, "context_scale": cost.guidance.context_scale,
        "null_context": cost.guidance.null_context, "known_cameras": settings.context_cameras, "plan": settings.plan or "all",
        "plan_budget": settings.plan_budget, "plan_pool": settings.plan_options.get("pool"),
        "cache_dtype": None if cache.dtype is None else str(cache.dtype).removeprefix("torch."),
        "cache_device": cache.device or "auto", "notes": [in_flags(sentence) for sentence in cost.notes],
    }  # fmt: skip
    rows = {"tokens": {"context": sum(cost.segments), "targets": cost.targets.tokens}}
    for scheme, flops in cost.flops.items():
        rows[scheme] = {"prefill_flops": flops.prefill, "step_flops": flops.step, "total_flops": flops.total}
        if flops.coarse_steps:
            rows[scheme] |= {"coarse_step_flops": flops.coarse_step, "coarse_steps": flops.coarse_steps}
    rows["memory"] = {f"{name}_bytes": getattr(cost.memory, name) for name in MEMORY}
    cells = [{"name": name, "metrics": {key: metric(value) for key, value in row.items()}} for name, row in rows.items()]
    write_results(path, "plan", written, cells)


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _duration(seconds: float) -> str:
    """Two digits, in the largest unit of which there are two."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("s", 1))
    unit, length = next(((unit, length) for unit, length in units if seconds >= 2 * length), units[-1])
    amount = seconds / length
    return f"{amount:.2g} {unit}" if amount < 99.5 else f"{amount:,.0f} {unit}"


def _amount(value: float, unit: str) -> str:
    """Three digits and a prefix: 1.23 TFLOP."""
    power = min(max(int(math.log10(max(value, 1)) // 3), 0), 6)
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[power]}{unit}"

"""`v4s plan`: what a run will cost in operations and memory, before anything is loaded."""

import json
import math
import re
from argparse import Namespace
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from video4spatial.cli.arguments import Parser, integer, number, unknown
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.inference import add_context_options, check_plan, guidance, pooling
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import console, note, say
from video4spatial.pretrained import built_in_models, resolve_model

WAN = {"attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256, "camera_channels": 24}
WAN_2_1_AUTOENCODER = {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2}
WAN_2_2_AUTOENCODER = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "in_channels": 12,
    "out_channels": 12, "patch_size": 2, "is_residual": True, "scale_factor_spatial": 16, "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
}  # fmt: skip
WAN_TEXT_TOKENS = 512
"""Tokens that every text is filled up to."""

ITEM_SIZES = {"bfloat16": 2, "float32": 4}
"""Bytes per number."""


@dataclass(frozen=True)
class PlannedModel:
    """What the configurations of a model say.

    Args:
        name: as given.
        transformer, autoencoder: their configurations.
        height, width: picture size in pixels.
        frames: to generate, the anchor's included.
        context_frames: of the context.
        steps: of denoising.
        dtype: of the weights.
        assumed: what no configuration said, in words; empty if nothing.
    """

    name: str
    transformer: dict
    autoencoder: dict
    height: int = 480
    width: int = 832
    frames: int = 81
    context_frames: int = 81
    steps: int = 50
    dtype: str = "bfloat16"
    assumed: str = ""


# Shapes of public models, with the camera modules that `Video4SpatialTransformer3DModel.from_wan` adds.
PUBLIC_MODELS = {
    "wan-2.1-1.3b": PlannedModel(
        "wan-2.1-1.3b", WAN | {"num_layers": 30, "num_attention_heads": 12, "ffn_dim": 8960}, WAN_2_1_AUTOENCODER
    ),
    "wan-2.1-14b": PlannedModel(
        "wan-2.1-14b", WAN | {"num_layers": 40, "num_attention_heads": 40, "ffn_dim": 13824}, WAN_2_1_AUTOENCODER
    ),
    "wan-2.2-5b": PlannedModel(
        "wan-2.2-5b",
        WAN | {"num_layers": 30, "num_attention_heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48},
        WAN_2_2_AUTOENCODER, height=704, width=1280, frames=121,
    ),
}  # fmt: skip


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
    add("--context-frames", metavar="N", type=integer(1), help="frames of the context (default: the model's)")
    add("--chunk-length", metavar="N", type=integer(1), default=1,
        help="consecutive context frames that a video autoencoder encodes together: 1 + compression * k "
        "(default %(default)s, every frame by itself, as v4s sample does)")  # fmt: skip
    add("--size", metavar="WxH", help="picture size in pixels (default: the model's)")
    add("--frames", metavar="N", type=integer(2), help="frames to generate, the anchor's included (default: the model's)")
    add("--steps", metavar="N", type=integer(1), help="denoising steps (default: what suits the model)")
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
    """Run `v4s plan`."""
    options = plan_parser().parse(arguments)
    with user_mistakes():
        check_file(options.json, "--json")
        model = read_planned_model(options.model)
    size = _size(options.size, model)
    # Imported here: --help and mistakes must answer before the seconds that this takes.
    from video4spatial.models.autoencoder_cost import autoencoder_cost

    with user_mistakes():
        autoencoder = autoencoder_cost(model.autoencoder)
    plan = _Plan(model, options, size, autoencoder)
    plan.show()
    if options.json is not None:
        with user_mistakes():
            plan.write(options.json)
        say(f"written to {options.json}")


def read_planned_model(name: str) -> PlannedModel:
    """What is known of a model without its weights.

    Args:
        name: of a built-in or public model, or path of a pipeline folder, a transformer's folder or its config.json.

    Raises:
        UserError: if it is none of these, or a configuration cannot be used.
    """
    if name in PUBLIC_MODELS:
        return PUBLIC_MODELS[name]
    names = [*built_in_models(), *PUBLIC_MODELS]
    path = Path(name)
    if name not in names and not path.exists():
        raise UserError(
            unknown("model", name, names)
            + f"; expected a pipeline folder, the configuration of a transformer, or one of {', '.join(names)}"
        )
    if path.is_file():
        return _transformer_alone(name, path)
    folder = resolve_model(name)
    if not (folder / "model_index.json").exists():
        return _transformer_alone(name, folder / "config.json")
    settings = _read_json(folder / "model_index.json")
    named = {"frames": "target_frames", "steps": "num_inference_steps"}
    keys = ("height", "width", "frames", "context_frames", "steps")
    known = {key: settings[named.get(key, key)] for key in keys if named.get(key, key) in settings}
    transformer = _checked_transformer(folder / "transformer" / "config.json")
    return PlannedModel(name, transformer, _read_json(folder / "vae" / "config.json"), dtype="float32", **known)


def _transformer_alone(name: str, path: Path) -> PlannedModel:
    """A model of which only the transformer's configuration is there."""
    transformer = _checked_transformer(path)
    channels = transformer.get("in_channels", 16)
    autoencoders = {16: ("Wan 2.1", WAN_2_1_AUTOENCODER), 48: ("Wan 2.2", WAN_2_2_AUTOENCODER)}
    if channels not in autoencoders:
        raise UserError(
            f"{path}: no known autoencoder has its {channels} latent channels (Wan 2.1 has 16, Wan 2.2 has 48); "
            "give a pipeline folder"
        )
    family, autoencoder = autoencoders[channels]
    return PlannedModel(name, transformer, autoencoder, assumed=f"the autoencoder is taken to be that of {family}")


def _checked_transformer(path: Path) -> dict:
    config = _read_json(path)
    missing = [key for key in ("num_attention_heads", "attention_head_dim", "ffn_dim", "num_layers") if key not in config]
    if missing:
        raise UserError(f"{path}: not the configuration of a transformer, it lacks {', '.join(missing)}")
    return config


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, the configuration of a transformer")
    return content


def _size(text: str | None, model: PlannedModel) -> tuple[int, int]:
    """Height and width."""
    if text is None:
        return model.height, model.width
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--size {text!r}: expected width x height in pixels, such as 832x480")
    return int(match[2]), int(match[1])


class _Plan:
    """The figures of one run."""

    def __init__(self, model: PlannedModel, options: Namespace, size: tuple[int, int], autoencoder):
        from diffusers import AutoencoderKL, AutoencoderKLWan

        from video4spatial.models import Video4SpatialTransformer3DModel
        from video4spatial.models.cost import Targets, TransformerCost, count_parameters

        self.model, self.options, self.autoencoder = model, options, autoencoder
        self.transformer = TransformerCost.from_config(model.transformer)
        self.height, self.width = size
        self.frames = options.frames or model.frames
        self.context_frames = options.context_frames or model.context_frames
        self.steps = options.steps or model.steps
        self.dtype = options.dtype or model.dtype
        self.itemsize = ITEM_SIZES[self.dtype]
        self.guidance = guidance(options)
        self.branches = tuple(self.guidance.weights)
        self.full = self.transformer.attention_mode == "full"
        self._check()
        autoencoder_class = AutoencoderKLWan if "z_dim" in model.autoencoder else AutoencoderKL
        with user_mistakes():
            parameters = (
                count_parameters(Video4SpatialTransformer3DModel, model.transformer),
                count_parameters(autoencoder_class, model.autoencoder),
            )
        self.weights = sum(parameters) * self.itemsize
        compression = autoencoder.spatial_compression
        self.targets = Targets(
            latents=1 + math.ceil((self.frames - 1) / autoencoder.temporal_compression),
            tokens_per_latent=self.transformer.tokens_per_latent(self.height // compression, self.width // compression),
            text_tokens=0 if self.transformer.text_dim is None else WAN_TEXT_TOKENS,
            rays=self.transformer.camera_channels is not None,
            scene_rays=self.transformer.camera_channels is not None and options.known_cameras,
        )
        self.context = self._shown(self.context_frames, options.chunk_length)
        self.segments = self._segments(self.context, options.chunk_length)
        self.context_tokens = sum(self.segments)
        whole = (self._latents(self.context_frames, options.chunk_length) * self.targets.tokens_per_latent,)
        schemes = ("full",) if self.full else ("cached", "uncached", "full")
        self.flops = {scheme: self._run(whole, scheme) for scheme in schemes}
        if self.segments != whole:
            self.flops = {"planned": self._run(self.segments, schemes[0], self.context.coarse_share)} | self.flops
        self.memory = self._memory(self.context_frames, options.chunk_length)

    def _check(self) -> None:
        """Refuse what the pipeline would."""
        grid = [self.autoencoder.spatial_compression * side for side in self.transformer.patch_size[1:]]
        if self.height % grid[0] or self.width % grid[1]:
            closest = [max(round(side / step), 1) * step for side, step in zip((self.width, self.height), grid[::-1])]
            raise UserError(
                f"size {self.width}x{self.height}: this model takes multiples of {grid[1]}x{grid[0]} pixels; "
                f"try --size {closest[0]}x{closest[1]}"
            )
        compression, chunk = self.autoencoder.temporal_compression, self.options.chunk_length
        if (chunk - 1) % compression or self.context_frames % chunk:
            raise UserError(
                f"--chunk-length {chunk}: expected 1 + {compression} * k, and a divisor of {self.context_frames} context frames"
            )
        with user_mistakes():
            check_plan(self.options, "--known-cameras", self.options.known_cameras, self.full)

    def _latents(self, context_frames: int, chunk_length: int) -> int:
        return context_frames // chunk_length * self.autoencoder.latent_count(chunk_length)

    def _shown(self, context_frames: int, chunk_length: int):
        """What is shown of so many frames: plans that look at frames or cameras keep as many as `stride`, only others."""
        from video4spatial.conditioning.plans import ContextMaterial, plan_context

        name = {"diverse": "stride", "frustum": "stride"}.get(self.options.plan, self.options.plan or "all")
        blank = np.zeros((context_frames, 1, 1, 3), np.uint8)
        with user_mistakes():
            material = ContextMaterial(blank, np.arange(context_frames), None, -1, chunk_length)
            return plan_context(name, material, self.options.plan_budget, **pooling(self.options))

    def _segments(self, shown, chunk_length: int) -> tuple[int, ...]:
        """Tokens of each part that is shown."""
        compression = self.autoencoder.spatial_compression
        rows, columns = (side // compression // patch for side, patch in zip((self.height, self.width), self.transformer.patch_size[1:]))
        for pool in {part.pool for part in shown.parts}:
            if rows % pool or columns % pool:
                raise UserError(
                    f"--plan {self.options.plan}: frames of {self.width}x{self.height} are {columns}x{rows} tokens, which cannot be "
                    f"averaged over squares of {pool}x{pool}; choose another --plan-pool or --size"
                )
        return shown.tokens(self._latents(chunk_length, chunk_length) * self.targets.tokens_per_latent)

    def _run(self, segments: tuple[int, ...], scheme: str, coarse_share: float = 0.0):
        null = self.options.null_context
        return self.transformer.run_flops(self.targets, segments, self.steps, self.branches, null, scheme, coarse_share)

    def _memory(self, context_frames: int, chunk_length: int):
        from video4spatial.models.cost import CacheCost, run_memory

        shown, options = self._shown(context_frames, chunk_length), self.options
        itemsize = None if options.cache_dtype is None else ITEM_SIZES[options.cache_dtype]
        return run_memory(
            self.transformer, self.autoencoder, self.weights, self.targets, self._segments(shown, chunk_length), context_frames,
            self.height, self.width, self.itemsize, chunk_length,
            noise_context="null" in self.branches and options.null_context == "noise",
            context_latents=self._latents(len(shown.chunks) * chunk_length, chunk_length),
            storage=CacheCost(itemsize, options.cache_device == "cpu"),
        )  # fmt: skip

    def show(self) -> None:
        """Print everything."""
        targets, per_latent = self.targets, self.targets.tokens_per_latent
        say(
            f"{self.model.name} at {self.width}x{self.height} in {self.dtype}: {self.context_frames} context frames, "
            f"{self.frames} frames to generate, {self.steps} steps"
        )
        say(f"context tokens  {self.context_tokens:,} = {self._parts()}")
        say(f"target tokens   {targets.tokens:,} = {targets.latents} latents of {per_latent}, the anchor's included")
        self._show_flops()
        self._show_memory()
        for sentence in self._notes():
            note(sentence + ".")
        if self.options.device_memory is not None:
            say(self._verdict(self.options.device_memory * 1e9))

    def _parts(self) -> str:
        """What the context consists of, in words."""
        latents, per_latent = self.autoencoder.latent_count(self.options.chunk_length), self.targets.tokens_per_latent
        parts = [f"{len(part.chunks) * latents} latents of {per_latent // part.pool**2}" for part in self.context.parts]
        return " + ".join(parts)

    def _show_flops(self) -> None:
        names = {
            "planned": f"plan {self.options.plan}{'' if self.full else ', cached'}", "cached": "context cached", "uncached": "context encoded again in every step", "full": "full attention, as published",
        }  # fmt: skip
        rows = [
            (names[scheme], _amount(flops.prefill, "FLOP") if flops.prefill else "–", _amount(flops.step, "FLOP"),
             _amount(flops.total, "FLOP"))
            for scheme, flops in self.flops.items()
        ]  # fmt: skip
        _table(("operations", "once", "each step", "whole run"), rows)
        if not self.full:
            again, full = (self.flops[scheme].total / self.flops["cached"].total for scheme in ("uncached", "full"))
            say(f"by operations, the cache makes the run {again:.2f} times as fast; {full:.2f} times against full attention")
        if "planned" in self.flops:
            reference = self.flops["full" if self.full else "cached"].total
            say(f"the plan makes it {reference / self.flops['planned'].total:.2f} times as fast as all frames in full")

    def _show_memory(self) -> None:
        memory = self.memory
        rows = [
            ("weights", memory.weights), ("context cache", memory.cache), ("of it off the device", memory.offloaded),
            ("latents", memory.latents),
            ("peak while encoding the context", memory.context_encoding), ("peak while denoising", memory.denoising),
            ("peak while decoding", memory.decoding), ("peak of the device", memory.device_peak),
            ("peak of the process, on a CPU", memory.process_peak),
        ]  # fmt: skip
        _table(("memory", ""), [(name, _amount(value, "B")) for name, value in rows if value])

    def _notes(self) -> list[str]:
        notes = [self.model.assumed] if self.model.assumed else []
        compression, chunk = self.autoencoder.temporal_compression, self.options.chunk_length
        padded = 1 + (self.targets.latents - 1) * compression
        if padded != self.frames:
            notes.append(f"{self.frames} frames are generated as {padded} = 1 + {compression} * k and cut")
        if compression > 1 and chunk == 1 and self.context_frames > 1:
            notes.append(
                f"every context frame becomes a latent of its own; in longer chunks (--chunk-length) {compression} frames share "
                "one"
            )
        if self.targets.text_tokens:
            notes.append("the text encoder is not counted: it runs once, before all this")
        if self.full:
            notes.append("this model attends in full, so nothing of its context can be cached")
        config = self.model.transformer
        try:
            self.guidance.check(tuple(config.get("null_context", ("absent",))), config.get("null_instruction", False))
        except ValueError as error:
            notes.append(f"sampling will refuse this: {str(error).rstrip('.')}")
        return notes

    def _verdict(self, available: float) -> str:
        """Whether the run fits, and which would."""
        needed = f"it needs {_amount(self.memory.device_peak, 'B')} of {_amount(available, 'B')}"
        if self.memory.device_peak <= available:
            return f"fits: {needed}"
        chunk, compression = self.options.chunk_length, self.autoencoder.temporal_compression
        one_chunk = chunk == self.context_frames and chunk > 1
        # shorter contexts, longest first: fewer chunks, or a shorter one
        lengths = range(chunk - compression, 0, -compression) if one_chunk else range(self.context_frames - chunk, 0, -chunk)
        found = bisect_left(lengths, True, key=lambda n: self._memory(n, n if one_chunk else chunk).device_peak <= available)
        if found == len(lengths):
            hope = "choose a smaller --size, fewer --frames or another model"
            return f"does not fit: {needed}, and no shorter context would; {hope}"
        chunks = f" --chunk-length {lengths[found]}" if one_chunk else ""
        return f"does not fit: {needed}; --context-frames {lengths[found]}{chunks} would"

    def write(self, path: str) -> None:
        """Write the figures as a results file."""
        from video4spatial.evaluation.results import metric, write_results

        settings = {
            "model": self.model.name, "height": self.height, "width": self.width, "context_frames": self.context_frames,
            "chunk_length": self.options.chunk_length, "frames": self.frames, "steps": self.steps, "dtype": self.dtype,
            "guidance_scale": self.options.guidance_scale, "context_scale": self.guidance.context_scale,
            "null_context": self.options.null_context, "known_cameras": self.options.known_cameras, "plan": self.options.plan or "all",
            "plan_budget": self.options.plan_budget, "plan_pool": self.options.plan_pool, "cache_dtype": self.options.cache_dtype,
            "cache_device": self.options.cache_device, "notes": self._notes(),
        }  # fmt: skip
        rows = {"tokens": {"context": self.context_tokens, "targets": self.targets.tokens}}
        for scheme, flops in self.flops.items():
            rows[scheme] = {"prefill_flops": flops.prefill, "step_flops": flops.step, "total_flops": flops.total}
            if flops.coarse_steps:
                rows[scheme] |= {"coarse_step_flops": flops.coarse_step, "coarse_steps": flops.coarse_steps}
        memory = self.memory
        rows["memory"] = {
            "weights_bytes": memory.weights, "cache_bytes": memory.cache, "offloaded_bytes": memory.offloaded,
            "latents_bytes": memory.latents,
            "context_encoding_bytes": memory.context_encoding, "denoising_bytes": memory.denoising,
            "decoding_bytes": memory.decoding, "device_peak_bytes": memory.device_peak,
            "process_peak_bytes": memory.process_peak,
        }  # fmt: skip
        cells = [{"name": name, "metrics": {key: metric(value) for key, value in row.items()}} for name, row in rows.items()]
        write_results(path, "plan", settings, cells)


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _amount(value: float, unit: str) -> str:
    """Three digits and a prefix: 1.23 TFLOP."""
    power = min(max(int(math.log10(max(value, 1)) // 3), 0), 6)
    return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[power]}{unit}"

"""What generating a video costs, known before it runs: operations and memory of model, run and settings together."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan

from video4spatial.clips import Clip
from video4spatial.conditioning.plans import ContextMaterial, ContextPlan, plan_context
from video4spatial.diffusion import JointGuidance
from video4spatial.models import Video4SpatialTransformer3DModel
from video4spatial.models.autoencoder_cost import AutoencoderCost, autoencoder_cost
from video4spatial.models.cost import CacheCost, RunFlops, RunMemory, Targets, TransformerCost, count_parameters, run_memory
from video4spatial.pipelines.settings import GenerationSettings, check_plan, complaints, shows_geometry
from video4spatial.pretrained import ModelShape

WAN_TEXT_TOKENS = 512
"""Tokens that every text is filled up to."""

DEPTH_SECONDS, CAMERA_SECONDS, GEOMETRY_GB = 0.2, 0.4, 0.6
"""Seconds of one core for each frame whose depth is read and whose camera is found, and memory, on 32 frames of 128 x 128 pixels on a
server's processor (`benchmarks/geometry.py` measures the seconds)."""

ITEM_SIZES = {"bfloat16": 2, "float32": 4}
"""Bytes per number."""

TIMED_SIDE, TIMED_PRODUCTS = 512, 4
"""Of the matrices whose product tells the speed of a machine."""

COPIES_OF_RESULT = 4
"""Of the generated frames, while they are scored and written."""

ALIKE = {"diverse": "stride", "frustum": "stride"}
"""Plans that look at frames or cameras, and those that show as many frames without a look at them."""


@dataclass(frozen=True)
class RunCost:
    """Operations and memory of one run, in one pass.

    Args:
        model: what its configurations say.
        height, width: of the pictures in pixels.
        frames: to generate, the anchor's included.
        context_frames: of the context.
        chunk_length: consecutive context frames that the autoencoder encodes together: 1 + compression * k.
        dtype: of weights and activations: bfloat16 or float32.
        settings: how the video is generated; the cameras of the context are known where `context_cameras` says so.

    Raises:
        ValueError: for what the pipeline would refuse, and configurations that build no model.
    """

    model: ModelShape
    height: int
    width: int
    frames: int
    context_frames: int
    chunk_length: int = 1
    dtype: str = "bfloat16"
    settings: GenerationSettings = GenerationSettings()

    def __post_init__(self) -> None:
        self._check_size()
        check_plan(self.settings, self.model.transformer)
        self._check_pools()
        self.weights  # building the models shows whether their configurations are possible

    @cached_property
    def transformer(self) -> TransformerCost:
        """Cost of the transformer."""
        return TransformerCost.from_config(self.model.transformer)

    @cached_property
    def autoencoder(self) -> AutoencoderCost:
        """Cost of the autoencoder."""
        return autoencoder_cost(self.model.autoencoder)

    @cached_property
    def weights(self) -> int:
        """Bytes of all parameters."""
        autoencoder_class = AutoencoderKLWan if "z_dim" in self.model.autoencoder else AutoencoderKL
        parts = ((Video4SpatialTransformer3DModel, self.model.transformer), (autoencoder_class, self.model.autoencoder))
        return sum(count_parameters(*part) for part in parts) * ITEM_SIZES[self.dtype]

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return self.settings.num_inference_steps or self.model.steps

    @property
    def guidance(self) -> JointGuidance:
        """The guider."""
        return self.settings.guidance or JointGuidance.absent(1.0)

    @property
    def full(self) -> bool:
        """Whether all tokens attend to all."""
        return self.transformer.attention_mode == "full"

    @cached_property
    def targets(self) -> Targets:
        """What a pass denoises."""
        compression, cameras = self.autoencoder.spatial_compression, self.transformer.camera_channels is not None
        return Targets(
            latents=1 + math.ceil((self.frames - 1) / self.autoencoder.temporal_compression),
            tokens_per_latent=self.transformer.tokens_per_latent(self.height // compression, self.width // compression),
            text_tokens=0 if self.transformer.text_dim is None else WAN_TEXT_TOKENS,
            rays=cameras,
            scene_rays=cameras and self.settings.context_cameras,
            geometry=shows_geometry(self.settings, self.model.transformer),
        )

    @cached_property
    def context(self) -> ContextPlan:
        """What is shown of the context."""
        return self._shown(self.context_frames, self.chunk_length)

    @cached_property
    def segments(self) -> tuple[int, ...]:
        """Tokens of each part of the context."""
        return self._segments(self.context, self.chunk_length)

    @cached_property
    def flops(self) -> dict[str, RunFlops]:
        """Operations by scheme: `planned` where a plan shows less than all, `cached` and `uncached`, `full` attention."""
        whole = (self._latents(self.context_frames, self.chunk_length) * self.targets.tokens_per_latent,)
        schemes = ("full",) if self.full else ("cached", "uncached", "full")
        flops = {scheme: self._run_flops(whole, scheme) for scheme in schemes}
        if self.segments != whole:
            flops = {"planned": self._run_flops(self.segments, schemes[0], self.context.coarse_share)} | flops
        return flops

    @cached_property
    def memory(self) -> RunMemory:
        """Bytes that the run holds."""
        return self._memory(self.context_frames, self.chunk_length)

    @property
    def notes(self) -> list[str]:
        """What to know about the figures, in words."""
        notes = [self.model.assumed] if self.model.assumed else []
        compression, frames = self.autoencoder.temporal_compression, self.frames
        padded = 1 + (self.targets.latents - 1) * compression
        if padded != frames:
            notes.append(f"{frames} frames are generated as {padded} = 1 + {compression} * k and cut")
        if compression > 1 and self.chunk_length == 1 and self.context_frames > 1:
            notes.append(
                f"every context frame becomes a latent of its own; in longer chunks (`chunk_length`) {compression} frames share one"
            )
        if self.targets.text_tokens:
            notes.append("the text encoder is not counted: it runs once, before all this")
        if self.targets.geometry:
            seconds = self.context_frames * (DEPTH_SECONDS + (0 if self.settings.context_cameras else CAMERA_SECONDS))
            what = "depth" if self.settings.context_cameras else "cameras and depth"
            notes.append(
                f"{what} of {self.context_frames} frames are read before all this: about {seconds:.0f} s of one core and "
                f"{GEOMETRY_GB:g} GB of main memory"
            )
        if self.full:
            notes.append("this model attends in full, so nothing of its context can be cached")
        config = self.model.transformer
        nulls = tuple(config.get("null_context", ("absent",))), config.get("null_instruction", False)
        return notes + [f"sampling will refuse this: {problem}" for problem in complaints(self.guidance.check, *nulls)]

    def longest_context(self, device_bytes: float) -> tuple[int, int] | None:
        """The longest shorter context whose run fits a device.

        Args:
            device_bytes: memory of the device.

        Returns:
            Context frames and chunk length: fewer chunks, or a shorter one where the context is a single chunk. None where no
            shorter context fits.
        """
        chunk, count = self.chunk_length, self.context_frames
        one_chunk = chunk == count and chunk > 1
        compression = self.autoencoder.temporal_compression
        lengths = range(chunk - compression, 0, -compression) if one_chunk else range(count - chunk, 0, -chunk)  # longest first
        found = bisect_left(lengths, True, key=lambda n: self._memory(n, n if one_chunk else chunk).device_peak <= device_bytes)
        if found == len(lengths):
            return None
        return lengths[found], lengths[found] if one_chunk else chunk

    def _check_size(self) -> None:
        grid = [self.autoencoder.spatial_compression * side for side in self.transformer.patch_size[1:]]
        if self.height % grid[0] or self.width % grid[1]:
            closest = [max(round(side / step), 1) * step for side, step in zip((self.width, self.height), grid[::-1])]
            raise ValueError(
                f"size {self.width}x{self.height}: this model takes multiples of {grid[1]}x{grid[0]} pixels; "
                f"try `size` {closest[0]}x{closest[1]}"
            )
        compression = self.autoencoder.temporal_compression
        if (self.chunk_length - 1) % compression or self.context_frames % self.chunk_length:
            raise ValueError(
                f"`chunk_length` {self.chunk_length}: expected 1 + {compression} * k, and a divisor of {self.context_frames} context "
                "frames"
            )

    def _check_pools(self) -> None:
        compression = self.autoencoder.spatial_compression
        sides = zip((self.height, self.width), self.transformer.patch_size[1:])
        rows, columns = (side // compression // patch for side, patch in sides)
        for pool in {part.pool for part in self.context.parts}:
            if rows % pool or columns % pool:
                raise ValueError(
                    f"`plan` {self.settings.plan}: frames of {self.width}x{self.height} are {columns}x{rows} tokens, which cannot be "
                    f"averaged over squares of {pool}x{pool}; choose another `plan_options.pool` or `size`"
                )

    def _latents(self, context_frames: int, chunk_length: int) -> int:
        return context_frames // chunk_length * self.autoencoder.latent_count(chunk_length)

    def _shown(self, context_frames: int, chunk_length: int) -> ContextPlan:
        """What is shown of so many frames; of plans that look at frames or cameras the numbers are right, not the choice."""
        name = ALIKE.get(self.settings.plan, self.settings.plan or "all")
        options = self.settings.plan_options if name == self.settings.plan else {}
        blank = np.zeros((context_frames, 1, 1, 3), np.uint8)
        material = ContextMaterial(blank, np.arange(context_frames), None, -1, chunk_length)
        return plan_context(name, material, self.settings.plan_budget, **options)

    def _segments(self, shown: ContextPlan, chunk_length: int) -> tuple[int, ...]:
        return shown.tokens(self._latents(chunk_length, chunk_length) * self.targets.tokens_per_latent)

    def _run_flops(self, segments: tuple[int, ...], scheme: str, coarse_share: float = 0.0) -> RunFlops:
        branches, null = tuple(self.guidance.weights), self.guidance.null_context
        return self.transformer.run_flops(self.targets, segments, self.steps, branches, null, scheme, coarse_share)

    def _memory(self, context_frames: int, chunk_length: int) -> RunMemory:
        shown, cache, guidance = self._shown(context_frames, chunk_length), self.settings.cache, self.guidance
        return run_memory(
            self.transformer, self.autoencoder, self.weights, self.targets, self._segments(shown, chunk_length), context_frames,
            self.height, self.width, ITEM_SIZES[self.dtype], chunk_length,
            noise_context="null" in guidance.weights and guidance.null_context == "noise",
            context_latents=self._latents(len(shown.chunks) * chunk_length, chunk_length),
            storage=CacheCost(None if cache.dtype is None else cache.dtype.itemsize, cache.device == "cpu"),
        )  # fmt: skip


def machine_flops(device: str, dtype: str) -> float:
    """Operations per second of products of matrices on a device, measured in well below a second.

    Args:
        device: cpu, or a CUDA device.
        dtype: bfloat16 or float32.
    """
    matrix = torch.randn(TIMED_SIDE, TIMED_SIDE, device=device, dtype=getattr(torch, dtype))
    times = []
    for _ in range(TIMED_PRODUCTS):
        start = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # waits for the device
        times.append(time.perf_counter() - start)
    return 2 * TIMED_SIDE**3 / min(times)


def video_bytes(model: ModelShape, clip: Clip, plan: ContextPlan, settings: GenerationSettings, dtype: str) -> int:
    """Most memory in bytes that a process needs to generate the video of a clip, its geometry and result included.

    Args:
        model: what its configurations say.
        clip: its pictures and the length of its path are looked at.
        plan: what is shown of its context.
        settings: how it is generated.
        dtype: of weights and activations: bfloat16 or float32.

    Raises:
        ValueError: as of `RunCost`.
    """
    height, width = clip.context_frames.shape[1:3]
    frames = len(clip.instruction.cameras)
    passes = settings.passes(frames, model.frames)
    one_pass = max(part.stop - part.start for part in passes)
    shown = len(plan.chunks) + (frames - one_pass if settings.max_context_tokens is None else 0)  # chunks join the memory
    bare = replace(settings, plan=None, plan_budget=None, plan_options={})
    cost = RunCost(model, height, width, max(one_pass, 2), max(shown, 1), 1, dtype, bare)
    return cost.memory.process_peak + COPIES_OF_RESULT * frames * height * width * 3 + int(GEOMETRY_GB * 1e9 * cost.targets.geometry)

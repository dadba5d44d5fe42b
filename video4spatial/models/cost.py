"""What a run will cost, known before it runs: operations and memory by arithmetic on the configurations, no weights needed.

Operations are floating-point operations, two for each multiply-add, of matrix products and convolutions alone. Memory is what
the code holds at its fullest moment, tensor by tensor; attention is taken to need none of its own (true of PyTorch's fused
kernels, not of `_native_math` nor of `flex` on a CPU).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from typing import Literal, Self

import torch
from torch import nn

from video4spatial.models.autoencoder_cost import AutoencoderCost
from video4spatial.models.conditions.geometry import MAPS

Branch = Literal["instruction", "context", "null"]
NullContext = Literal["absent", "noise"]
Scheme = Literal["cached", "uncached", "full"]

PROCESS_BYTES = 550 * 2**20
"""A process besides model and data: Python, PyTorch, this package with transformers beside it, and what a first call leaves behind
(measured with the CPU build of torch 2.13 on Linux)."""


KEPT_STATES, KEPT_AROUND = 26, 12
"""States of a token that a block of a training step keeps, besides two of the feed-forward part, and that embedding and output keep
(counted with hooks on saved tensors, in single precision)."""


@dataclass(frozen=True)
class Targets:
    """What one pass denoises.

    Args:
        latents: target latents, the anchor's included.
        tokens_per_latent: tokens that one becomes.
        text_tokens: tokens of the text that they read.
        rays: whether they have a camera instruction.
        scene_rays: whether their cameras relative to the context's are known.
        geometry: whether they are shown the scene's geometry.
    """

    latents: int
    tokens_per_latent: int
    text_tokens: int = 0
    rays: bool = True
    scene_rays: bool = False
    geometry: bool = False

    @property
    def tokens(self) -> int:
        """Target tokens."""
        return self.latents * self.tokens_per_latent

    def uninstructed(self) -> Self:
        """Without a camera instruction."""
        return replace(self, rays=False, geometry=False)

    def null(self) -> Self:
        """Of the null branch: no anchor, no cameras."""
        return replace(self, latents=self.latents - 1, rays=False, scene_rays=False, geometry=False)


@dataclass(frozen=True)
class RunFlops:
    """Operations of a run.

    Args:
        prefill: once, for the scene.
        step: of a denoising step with all its guidance branches.
        steps: of them.
        coarse_step, coarse_steps: of the first of these steps, whose targets see the first segment of the context alone.
    """

    prefill: int
    step: int
    steps: int
    coarse_step: int = 0
    coarse_steps: int = 0

    @property
    def total(self) -> int:
        """Of the whole run."""
        return self.prefill + self.coarse_steps * self.coarse_step + (self.steps - self.coarse_steps) * self.step


@dataclass(frozen=True)
class CacheCost:
    """How keys and values of the context are kept (`CacheStorage`).

    Args:
        itemsize: bytes per number; None as computed.
        offloaded: whether they wait off the model's device, from where a layer is fetched while the one before it is used.
    """

    itemsize: int | None = None
    offloaded: bool = False


@dataclass(frozen=True)
class TransformerCost:
    """Operations and memory of a `Video4SpatialTransformer3DModel` with these options of its configuration.

    With d the width and f that of the feed-forward part, a block costs 2 (4 d^2 + 2 d f) for a token, 4 d^2 more for one that reads
    text, and attention of Nq queries over Nk keys 4 d Nq Nk; the last block of a cached context, of which keys and values alone are
    needed, 4 d^2 for a token.
    """

    patch_size: tuple[int, int, int] = (1, 2, 2)
    num_attention_heads: int = 4
    attention_head_dim: int = 64
    in_channels: int = 16
    out_channels: int = 16
    text_dim: int | None = None
    freq_dim: int = 256
    ffn_dim: int = 1024
    num_layers: int = 6
    attention_mode: str = "causal_context"
    camera_channels: int | None = None
    camera_frequencies: int = 4
    geometry_views: int | None = None

    @classmethod
    def from_config(cls, config: Mapping) -> Self:
        """The costs of a transformer.

        Args:
            config: its configuration; what it lacks has the class's default.
        """
        return cls(**{field.name: config[field.name] for field in fields(cls) if field.name in config})

    @property
    def dim(self) -> int:
        """Width of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    def tokens_per_latent(self, height: int, width: int) -> int:
        """Tokens of one latent.

        Args:
            height, width: of the latent.
        """
        return (height // self.patch_size[1]) * (width // self.patch_size[2])

    def attention_flops(self, queries: int, keys: int) -> int:
        """Q K^T and its product with V, in all blocks.

        Args:
            queries, keys: numbers of tokens.
        """
        return 4 * self.num_layers * self.dim * queries * keys

    def linear_flops(self, tokens: int, text_tokens: int = 0) -> int:
        """All blocks without their self-attention.

        Args:
            tokens: that pass through them.
            text_tokens: that they read in cross-attention.
        """
        dim = self.dim
        flops = 2 * self.num_layers * tokens * (4 * dim**2 + 2 * dim * self.ffn_dim)
        if self.text_dim is None or not text_tokens:
            return flops
        cross = 2 * self.num_layers * 2 * dim**2 * (tokens + text_tokens) + self.attention_flops(tokens, text_tokens)
        return flops + cross + 2 * text_tokens * (self.text_dim * dim + dim**2)

    def embedding_flops(self, tokens: int, timesteps: int, camera_encoders: int = 0) -> int:
        """Embedding of patches, cameras and timesteps.

        Args:
            tokens: that are embedded.
            timesteps: whose modulation is computed.
            camera_encoders: how many encode cameras.
        """
        dim, area = self.dim, self.patch_size[1] * self.patch_size[2]
        flops = 2 * tokens * area * self.in_channels * dim + 2 * timesteps * (self.freq_dim * dim + 7 * dim**2)
        if self.camera_channels is not None:
            channels = self.camera_channels * (1 + 2 * self.camera_frequencies)
            flops += camera_encoders * 2 * tokens * (area * channels * dim + 2 * dim**2)
        return flops

    def geometry_flops(self, tokens: int) -> int:
        """What renderings of the scene's geometry cost a pass: their embedding, and their weights in the result.

        Args:
            tokens: of the targets that are shown it.
        """
        if self.geometry_views is None:
            return 0
        values = (1 + self.geometry_views) * self.patch_size[1] * self.patch_size[2]
        return 2 * tokens * self.dim * (values * (2 * self.in_channels + MAPS) + 2 * self.dim)

    def output_flops(self, tokens: int) -> int:
        """The last projection.

        Args:
            tokens: that are projected.
        """
        return 2 * tokens * self.dim * self.out_channels * self.patch_size[1] * self.patch_size[2]

    def prefill_flops(self, segments: Sequence[int], scene_rays: bool = False) -> int:
        """Encoding a scene: a n + b n^2 in its n tokens.

        Args:
            segments: token count of each, oldest first; each attends to the older ones and to itself.
            scene_rays: whether the context's cameras are known.
        """
        flops, older = 0, 0
        for tokens in segments:
            older += tokens
            one_block = (self.linear_flops(tokens) + self.attention_flops(tokens, older)) // self.num_layers
            last_block = 4 * tokens * self.dim**2
            flops += self.embedding_flops(tokens, 1, int(scene_rays)) + (self.num_layers - 1) * one_block + last_block
        return flops

    def step_flops(self, targets: Targets, num_context: int) -> int:
        """One pass of the targets over a cached context, linear in its tokens.

        Args:
            targets: what it denoises.
            num_context: cached tokens.
        """
        tokens = targets.tokens
        encoders = int(targets.rays) + int(targets.scene_rays)
        return (
            self.embedding_flops(tokens, targets.latents, encoders)
            + self.linear_flops(tokens, targets.text_tokens)
            + self.attention_flops(tokens, tokens + num_context)
            + self.output_flops(tokens)
            + (self.geometry_flops(tokens) if targets.geometry else 0)
        )

    def causal_uncached_flops(self, targets: Targets, num_context: int) -> int:
        """One pass that encodes the whole context again as one segment.

        Args:
            targets: what it denoises.
            num_context: context tokens.
        """
        prefill = self.prefill_flops([num_context], targets.scene_rays) if num_context else 0
        return prefill + self.step_flops(targets, num_context)

    def full_flops(self, targets: Targets, num_context: int) -> int:
        """One pass of the published form: all tokens attend to all and read the text.

        Args:
            targets: what it denoises.
            num_context: context tokens.
        """
        tokens = num_context + targets.tokens
        latents = num_context // targets.tokens_per_latent
        return (
            self.embedding_flops(num_context, latents, int(targets.scene_rays))
            + self.embedding_flops(targets.tokens, targets.latents, int(targets.rays) + int(targets.scene_rays))
            + self.linear_flops(tokens, targets.text_tokens)
            + self.attention_flops(tokens, tokens)
            + self.output_flops(targets.tokens)
            + (self.geometry_flops(targets.tokens) if targets.geometry else 0)
        )

    def run_flops(
        self,
        targets: Targets,
        segments: Sequence[int],
        steps: int,
        branches: Collection[Branch] = ("instruction",),
        null_context: NullContext = "absent",
        scheme: Scheme = "cached",
        coarse_share: float = 0.0,
    ) -> RunFlops:
        """A whole run.

        Args:
            targets: of the instructed branch.
            segments: context tokens of each segment.
            steps: denoising steps.
            branches: of guidance, as `JointGuidance.weights` names them; those that see the scene share its cache.
            null_context: of the null branch: `absent`, or `noise`: as many tokens, encoded once per run if they can be cached.
            scheme: `cached`, `uncached` (the context is encoded again in every pass) or `full`.
            coarse_share: share of the steps, the first ones, in which targets see the first segment alone (`cached` only).
        """
        num_context = sum(segments)
        null_tokens = num_context if null_context == "noise" else 0
        passes = self._passes(targets, branches, num_context, null_tokens)
        if scheme != "cached":
            one_pass = self.full_flops if scheme == "full" else self.causal_uncached_flops
            return RunFlops(0, sum(one_pass(*each) for each in passes), steps)
        prefill = self.prefill_flops(segments, targets.scene_rays)
        if "null" in branches and null_tokens:
            prefill += self.prefill_flops(segments)
        step = sum(self.step_flops(*each) for each in passes)
        coarse_steps = sum(done / steps < coarse_share for done in range(steps))
        if not coarse_steps:
            return RunFlops(prefill, step, steps)
        coarse = self._passes(targets, branches, segments[0], null_tokens)
        return RunFlops(prefill, step, steps, sum(self.step_flops(*each) for each in coarse), coarse_steps)

    def _passes(
        self, targets: Targets, branches: Collection[Branch], seen: int, null_tokens: int
    ) -> list[tuple[Targets, int]]:
        """Targets and context tokens of every pass of a step."""
        of_branch = {
            "instruction": (targets, seen), "context": (targets.uninstructed(), seen), "null": (targets.null(), null_tokens)
        }  # fmt: skip
        return [of_branch[branch] for branch in branches]

    def context_cache_bytes(self, tokens: int, itemsize: int) -> int:
        """Keys and values of a context in all layers.

        Args:
            tokens: of the context.
            itemsize: bytes per number.
        """
        return 2 * self.num_layers * tokens * self.dim * itemsize

    def block_bytes(self, tokens: int, cached_tokens: int, itemsize: int) -> int:
        """Most that a block holds at once for its `tokens`, besides weights and cache.

        That is in the feed-forward part or in the gated sum after it. The block's input, its attended state, the normalised state,
        queries, keys, values and attention's result still have a name then; so have keys and values joined to those of the cache.
        Narrow states have a copy in single precision. Embedding tokens needs less.

        Args:
            tokens: that pass through the block.
            cached_tokens: that they attend to besides themselves.
            itemsize: bytes per number.
        """
        dim = self.dim
        feed_forward = max(2 * self.ffn_dim * itemsize, 8 * dim) + (0 if itemsize == 4 else 4 * dim)
        joined = 2 * (tokens + cached_tokens) * dim * itemsize if cached_tokens else 0
        rotary = 4 * self.attention_head_dim
        return tokens * (7 * dim * itemsize + feed_forward + rotary) + joined

    def training_bytes(self, tokens: int, itemsize: int) -> int:
        """What a training step keeps from the forward to the backward pass, in all blocks and around them.

        Args:
            tokens: that pass through the blocks, of contexts and targets together.
            itemsize: bytes per number.
        """
        kept = self.num_layers * (KEPT_STATES * self.dim + 2 * self.ffn_dim) + KEPT_AROUND * self.dim
        return tokens * kept * itemsize

    def fetched_bytes(self, num_context: int, itemsize: int, storage: CacheCost) -> int:
        """Most that copies of the cache's layers hold while a block uses one: the next layer, fetched ahead, and this one in the
        model's dtype.

        Args:
            num_context: cached tokens.
            itemsize: bytes per number of the model.
            storage: how the cache is kept.
        """
        kept = storage.itemsize or itemsize
        layer = self.context_cache_bytes(num_context, 1) // self.num_layers
        widened = layer * itemsize if kept != itemsize else 0
        return widened + (layer * kept * (1 if widened else 2) if storage.offloaded else 0)

    def step_bytes(self, targets: Targets, num_context: int, itemsize: int, storage: CacheCost = CacheCost()) -> int:
        """Most that a denoising step holds at once, besides weights and cache.

        Args:
            targets: what it denoises.
            num_context: context tokens, cached or (attention mode `full`) not.
            itemsize: bytes per number.
            storage: how the cache is kept.
        """
        full = self.attention_mode == "full"
        tokens = targets.tokens + (num_context if full else 0)
        modulation = 12 * self.dim * 4 * (tokens // targets.tokens_per_latent)
        if full:
            alone = num_context * (self.dim * itemsize + 4 * self.attention_head_dim)  # context before it was joined
            return self.block_bytes(tokens, 0, itemsize) + modulation + alone
        return self.block_bytes(tokens, num_context, itemsize) + modulation + self.fetched_bytes(num_context, itemsize, storage)

    def prefill_bytes(self, segments: Sequence[int], itemsize: int, storage: CacheCost = CacheCost()) -> int:
        """Most that encoding a scene holds at once on the model's device, without weights and with the cache where that is there.

        It is held while a segment passes the last layer but one, or when its keys and values are appended to the older ones.

        Args:
            segments: token count of each, oldest first.
            itemsize: bytes per number.
            storage: how the cache is kept.
        """
        kept, most = storage.itemsize or itemsize, 0
        for index, tokens in enumerate(segments):
            older = sum(segments[:index])
            cache = 0 if storage.offloaded else self.context_cache_bytes(older + tokens, kept)
            unmade = 0 if storage.offloaded else self.context_cache_bytes(tokens, kept) // self.num_layers  # the last layer's
            # where a cache is kept as computed, it already counts the keys and values that a layer names
            named = 2 * tokens * self.dim * itemsize if cache and kept == itemsize else 0
            activations = self.block_bytes(tokens, older, itemsize) + self.fetched_bytes(older, itemsize, storage) - named
            most = max(most, cache - unmade + activations, 2 * cache if index else 0)
        return most


def count_parameters(model_class: type[nn.Module], config: Mapping) -> int:
    """Parameters of a model, which is built without memory for them.

    Args:
        model_class: its class.
        config: its configuration; keys that the class does not know are left out.

    Raises:
        ValueError: for a configuration that builds no model.
    """
    known = signature(model_class.__init__).parameters
    with torch.device("meta"):
        model = model_class(**{name: value for name, value in config.items() if name in known})
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class RunMemory:
    """Bytes that a run holds.

    Args:
        weights: of transformer and autoencoder.
        cache: keys and values of the context (and of the noise that stands for it in a null branch).
        offloaded: of the cache, what waits in main memory, off the model's device.
        latents: of context and targets, and of the renderings of its geometry that the targets are shown.
        context_encoding, denoising, decoding: most that is held at once in this stage, on the device of the model: weights, latents
            and the cache that is there included.
        context_pixels: the context's frames, which stay in main memory.
    """

    weights: int
    cache: int
    offloaded: int
    latents: int
    context_encoding: int
    denoising: int
    decoding: int
    context_pixels: int

    @property
    def device_peak(self) -> int:
        """Most on the model's device."""
        return max(self.context_encoding, self.denoising, self.decoding)

    @property
    def process_peak(self) -> int:
        """Most that a process holds whose model is on the CPU.

        The heap of a process also keeps freed blocks, which are not counted: `benchmarks/context_cache.py` puts measured
        peaks beside these.
        """
        return PROCESS_BYTES + self.context_pixels + self.offloaded + self.device_peak


def run_memory(
    transformer: TransformerCost,
    autoencoder: AutoencoderCost,
    weights: int,
    targets: Targets,
    segments: Sequence[int],
    context_frames: int,
    height: int,
    width: int,
    itemsize: int,
    chunk_length: int = 1,
    noise_context: bool = False,
    context_latents: int | None = None,
    storage: CacheCost = CacheCost(),
) -> RunMemory:
    """Memory of a run, stage by stage.

    Args:
        transformer, autoencoder: their costs.
        weights: bytes of their parameters.
        targets: of the instructed branch.
        segments: context tokens of each segment.
        context_frames: frames of the context.
        height, width: of a frame in pixels.
        itemsize: bytes per number of weights and activations.
        chunk_length: frames that the autoencoder encodes together.
        noise_context: whether a null branch has noise for a context, whose keys and values are kept beside the scene's.
        context_latents: that are encoded; default those of all context frames.
        storage: how the cache is kept.
    """
    num_context = sum(segments)
    cacheable = transformer.attention_mode != "full"
    scene_cache = transformer.context_cache_bytes(num_context, storage.itemsize or itemsize) if cacheable else 0
    cache = scene_cache * (2 if noise_context else 1)
    offloaded = cache if storage.offloaded else 0
    values = (height // autoencoder.spatial_compression) * (width // autoencoder.spatial_compression) * autoencoder.latent_channels
    if context_latents is None:
        context_latents = context_frames // chunk_length * autoencoder.latent_count(chunk_length)
    context_bytes = context_latents * values * itemsize
    latents = context_bytes + targets.latents * values * itemsize
    if targets.geometry and transformer.geometry_views is not None:
        shown = 1 + transformer.geometry_views
        latents += targets.latents * shown * (values + MAPS * values // autoencoder.latent_channels) * 4
    frames = 1 + (targets.latents - 1) * autoencoder.temporal_compression
    encoding = autoencoder.encode_bytes(chunk_length, height, width, itemsize) if segments else 0
    prefill = transformer.prefill_bytes(segments, itemsize, storage) if cacheable else 0
    # the noise is encoded at the beginning of the run, beside the scene's cache
    noise = context_bytes + (0 if offloaded else scene_cache) + prefill if noise_context and cacheable else 0
    step = cache - offloaded + transformer.step_bytes(targets, num_context, itemsize, storage)
    return RunMemory(
        weights=weights,
        cache=cache,
        offloaded=offloaded,
        latents=latents,
        context_encoding=weights + context_bytes + max(encoding + context_bytes, prefill),
        denoising=weights + latents + max(step, noise),
        decoding=weights + cache - offloaded + latents + autoencoder.decode_bytes(frames, height, width, itemsize),
        context_pixels=context_frames * height * width * 3,
    )

"""The diffusion transformer: a clean scene context and noisy targets on one scene clock."""

import math
from dataclasses import dataclass
from os import PathLike
from typing import Literal

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import PixArtAlphaTextProjection, TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import FP32LayerNorm
from diffusers.utils import BaseOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import nn
from torch.nn import functional as F

from video4spatial.models.attention import resolve_backend
from video4spatial.models.blocks import Attention, TransformerBlock
from video4spatial.models.conditions.camera import CameraEncoder
from video4spatial.models.conditions.geometry import GeometryEncoder, GeometryPrompt
from video4spatial.models.context_cache import CacheStorage, ContextCache
from video4spatial.models.geometry_heads import Geometry, GeometryHeads
from video4spatial.models.rotary import scene_rotary


@dataclass
class TransformerOutput(BaseOutput):
    """What the transformer returns.

    Args:
        sample: [B, C, F, H, W] prediction for every target latent, of the kind `prediction_type` names.
        geometry: what the geometry heads read from the context, or None.
    """

    sample: torch.Tensor
    geometry: Geometry | None = None


@dataclass(frozen=True)
class TargetPlacement:
    """Where target tokens stand and what is known of them: the same in all denoising steps (`place`).

    Args:
        rotary: [B, N, 1, head_dim / 2] complex rotations of the N tokens.
        conditions: [B, F, P, dim], or what broadcasts to it, to add to the tokens: cameras and geometry.
        geometry: what enters the result directly, or None.
    """

    rotary: torch.Tensor
    conditions: torch.Tensor
    geometry: GeometryPrompt | None = None


class ConditionEmbedder(nn.Module):
    """Timesteps and text into the transformer's width (parameter names as in Wan)."""

    def __init__(self, dim: int, freq_dim: int, text_dim: int | None):
        super().__init__()
        self.timesteps_proj = Timesteps(num_channels=freq_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedder = TimestepEmbedding(in_channels=freq_dim, time_embed_dim=dim)
        self.act_fn = nn.SiLU()
        self.time_proj = nn.Linear(dim, 6 * dim)
        self.text_embedder = None if text_dim is None else PixArtAlphaTextProjection(text_dim, dim, act_fn="gelu_tanh")

    def forward(self, timestep: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed timesteps.

        Args:
            timestep: [B, F], 0 to 1000.
            dtype: of the embedding.

        Returns:
            The embedding [B, F, dim] and its six modulations [B, F, 6, dim].
        """
        batch, frames = timestep.shape
        frequencies = self.timesteps_proj(timestep.flatten()).to(self.time_embedder.linear_1.weight.dtype)
        embedding = self.time_embedder(frequencies).to(dtype)
        modulation = self.time_proj(self.act_fn(embedding))
        return embedding.unflatten(0, (batch, frames)), modulation.view(batch, frames, 6, -1)


class Video4SpatialTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Video diffusion transformer with a clean scene context (the method of Video4Spatial, arXiv 2512.03040).

    In `causal_context` attention the context carries the modulation of t = 0, skips text, and attends to itself only, one
    segment after another; targets attend to everything. Keys and values of the context are therefore constants of the scene
    (`encode_context`), reused by every denoising step, guidance branch, trajectory and seed. In `full` attention, the published
    form, all tokens attend to all and nothing can be cached.

    Without its own modules (`camera_channels=None`, no context) it computes what diffusers' `WanTransformer3DModel` computes, under
    the same parameter names.

    Args:
        patch_size: latent frames, rows and columns per token; one frame.
        num_attention_heads, attention_head_dim: heads and their width; their product is the width of the tokens.
        in_channels, out_channels: latent channels.
        text_dim: width of the text encoder's states; None builds no text branch.
        freq_dim: width of the sinusoidal timestep embedding.
        ffn_dim, num_layers: width of the feed-forward part, number of blocks.
        cross_attn_norm: learned normalisation before the text branch.
        qk_norm: `rms_norm_across_heads`, the only one Wan uses.
        eps: epsilon of the normalisations.
        image_dim, added_kv_proj_dim, pos_embed_seq_len: Wan's image branch; not supported, must be None.
        rope_max_seq_len: of Wan; positions have no such limit here, kept so that Wan configurations load.
        attention_mode: `causal_context` or `full`.
        camera_channels: Plücker channels per latent (6 times the temporal compression); None builds no camera modules.
        camera_order: channel order of the Plücker rays the model was trained with.
        spatial_positions: `grid` (rows and columns, as Wan) or `compass`: a token's place is the direction it looks in, relative to
            the first context camera where the context's cameras are known, else relative to the anchor's. Tokens without a known
            camera look straight ahead through a lens of `nominal_fov_degrees`.
        nominal_fov_degrees: see `spatial_positions`.
        camera_frequencies: octaves of sines and cosines given with the rays.
        geometry_heads: build point-map and relative-camera heads on context tokens.
        geometry_views: renderings of single views beside their blend in the geometry prompt; None builds no modules for one.
        prediction_type: `flow` (noise - clean latents, as Wan) or `sample` (clean latents).
        null_context: kinds of null context seen in training, a subset of `absent` and `noise`.
        null_instruction: whether training also dropped the instruction alone (for separate guidance scales).
    """

    _supports_gradient_checkpointing = False
    _no_split_modules = ["TransformerBlock"]
    _repeated_blocks = ["TransformerBlock"]
    _keep_in_fp32_modules = ["time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"]

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 4,
        attention_head_dim: int = 64,
        in_channels: int = 16,
        out_channels: int = 16,
        text_dim: int | None = None,
        freq_dim: int = 256,
        ffn_dim: int = 1024,
        num_layers: int = 6,
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        image_dim: int | None = None,
        added_kv_proj_dim: int | None = None,
        rope_max_seq_len: int = 1024,
        pos_embed_seq_len: int | None = None,
        attention_mode: Literal["causal_context", "full"] = "causal_context",
        camera_channels: int | None = None,
        camera_order: Literal["moment_direction", "direction_moment"] = "moment_direction",
        camera_frequencies: int = 4,
        spatial_positions: Literal["grid", "compass"] = "grid",
        nominal_fov_degrees: float = 70.0,
        geometry_heads: bool = False,
        geometry_views: int | None = None,
        prediction_type: Literal["flow", "sample"] = "flow",
        null_context: tuple[str, ...] = ("absent",),
        null_instruction: bool = False,
    ):
        super().__init__()
        _check_config(self.config)
        dim = num_attention_heads * attention_head_dim
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=tuple(patch_size), stride=tuple(patch_size))
        self.condition_embedder = ConditionEmbedder(dim, freq_dim, text_dim)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, ffn_dim, num_attention_heads, text_dim is not None, cross_attn_norm, eps)
            for _ in range(num_layers)
        )
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, out_channels * patch_size[1] * patch_size[2])
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)

        spatial_patch = tuple(patch_size[1:])
        if camera_channels is not None:
            self.camera_encoder = CameraEncoder(camera_channels, dim, spatial_patch, camera_frequencies)
            self.scene_camera_encoder = CameraEncoder(camera_channels, dim, spatial_patch, camera_frequencies)
            self.null_camera = nn.Parameter(torch.zeros(dim))
            self.null_scene_camera = nn.Parameter(torch.zeros(dim))
        self.geometry = GeometryHeads(dim, spatial_patch) if geometry_heads else None
        if geometry_views is not None:
            self.geometry_encoder = GeometryEncoder(in_channels, geometry_views, dim, spatial_patch)

    def set_attention_backend(self, backend: str | None) -> None:
        """Choose who computes this model's attention (`models/attention.py`), on the device where it is now.

        Args:
            backend: a name such as `native`, `flex` or `xformers`, or `auto`; None takes it from the surroundings again.

        Raises:
            ValueError: for an unknown or unavailable backend, with the reason and what there is.
        """
        if backend is not None:
            backend = resolve_backend(backend, self.device, self.dtype, self.config.attention_head_dim)
        for module in self.modules():
            if isinstance(module, Attention):
                module.backend = backend

    @classmethod
    def from_wan(
        cls,
        folder: str | PathLike,
        *,
        torch_dtype: torch.dtype = torch.float32,
        camera_channels: int | None = 24,
        **own_options,
    ) -> "Video4SpatialTransformer3DModel":
        """Start from the weights of a pretrained Wan model; the modules that Wan does not have change nothing until trained.

        Args:
            folder: diffusers folder of Wan 2.1 T2V 1.3B or 14B, or Wan 2.2 TI2V 5B: the pipeline's or its `transformer`.
            torch_dtype: of the weights, except those that stay in float32.
            camera_channels: as for the class; 24 is 6 for each of the 4 frames of a latent.
            own_options: other options of the class that Wan does not have, such as `attention_mode` and `geometry_heads`.

        Returns:
            The model, in evaluation mode.

        Raises:
            ValueError: naming what is not supported, and the weights that are missing, unknown or of another shape.
        """
        from video4spatial.models.wan_weights import transformer_from_wan

        return transformer_from_wan(cls, folder, torch_dtype=torch_dtype, camera_channels=camera_channels, **own_options)

    def tokens_per_latent(self, height: int, width: int) -> int:
        """Tokens that one latent of `height` x `width` becomes."""
        return (height // self.config.patch_size[1]) * (width // self.config.patch_size[2])

    @apply_forward_hook  # offloading brings a model to the device for `forward` alone, unless told
    def encode_context(
        self,
        latents: torch.Tensor,
        positions: torch.Tensor,
        scene_rays: torch.Tensor | None = None,
        cache: ContextCache | None = None,
        *,
        pool: int = 1,
        timestep: float = 0.0,
        storage: CacheStorage = CacheStorage(),
        return_states: bool = False,
    ) -> tuple[ContextCache, torch.Tensor | None]:
        """Encode one segment of context latents; with a cache, append it (exactly) to what is there.

        Args:
            latents: [B, C, F, H, W] clean context latents.
            positions: [B, F] on the scene clock.
            scene_rays: [B, F, camera_channels, H, W] rays relative to the first context frame, or None when unknown.
            cache: older segments of the same scene.
            pool: latents and rays are averaged over squares of this side first, so that a latent becomes fewer tokens by its
                square: for frames of which the model needs only an impression.
            timestep: 0 for a clean scene; 1000 for the noise that stands for no scene at all.
            storage: how keys and values are kept; an older cache's own goes before it.
            return_states: also finish the last block, of which the cache needs keys and values alone.

        Returns:
            The cache with the segment added, and the segment's last hidden states [B, F, P, dim] (for the geometry heads) or None.

        Raises:
            ValueError: in `full` attention, where context tokens depend on the targets and nothing can be cached; for latents that
                cannot be pooled so.
        """
        if self.config.attention_mode != "causal_context":
            raise ValueError("attention_mode='full' lets the context see the targets: nothing of it can be cached.")
        if pool > 1:
            latents, scene_rays = self._pooled(latents, pool), None if scene_rays is None else self._pooled(scene_rays, pool)
        hidden_states, rotary = self._embed(latents, positions, scene_rays, pool)
        hidden_states = hidden_states + self._camera_tokens("scene", scene_rays)
        level = positions.new_full((len(latents), 1), timestep).to(latents.device, torch.float32)
        _, modulation = self.condition_embedder(level, hidden_states.dtype)
        if cache is not None:
            storage = CacheStorage(cache.dtype, cache.device)
        older = None if cache is None else cache.reader(hidden_states.device, hidden_states.dtype)
        layers, computed = [], hidden_states.dtype
        for index, block in enumerate(self.blocks):
            finished = not return_states and index == len(self.blocks) - 1
            seen = None if older is None or finished else older[index]
            hidden_states, key_value = block(hidden_states, modulation, rotary, context=seen, key_value_only=finished)
            computed = key_value[0].dtype
            layers.append(storage.keep(key_value))
        states = hidden_states if return_states else None
        if cache is not None:
            return cache.extended(layers, storage.rounds(computed)), states
        rounded = storage.rounds(computed)
        return ContextCache(tuple(layers), (layers[0][0].shape[1],), () if rounded is None else (rounded,)), states

    @apply_forward_hook
    def place(
        self,
        positions: torch.Tensor,
        height: int,
        width: int,
        rays: torch.Tensor | None = None,
        scene_rays: torch.Tensor | None = None,
        geometry: GeometryPrompt | None = None,
    ) -> TargetPlacement:
        """What `forward` computes of positions, cameras and geometry, to be computed once where they stay the same.

        Args:
            positions: [B, F] of the targets on the scene clock.
            height, width: H and W of the target latents.
            rays, scene_rays: [B, F, camera_channels, H, W] or None, as for `forward`.
            geometry: as for `forward`.

        Returns:
            A `TargetPlacement` on the model's device, to be given to `forward` with targets of this shape.
        """
        return self._place(positions, height, width, rays, scene_rays, geometry, self.device)

    def read_geometry(self, context_states: torch.Tensor, height: int, width: int) -> Geometry:
        """Point maps and relative cameras from the context's last hidden states [B, F, P, dim].

        Args:
            context_states: as `encode_context` returns them with `return_states`, all segments joined along F.
            height, width: of the context latents.
        """
        if self.geometry is None:
            raise ValueError("this model was built without geometry heads (geometry_heads=False).")
        return self.geometry(context_states, height // self.config.patch_size[1], width // self.config.patch_size[2])

    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        *,
        positions: torch.Tensor | None = None,
        rays: torch.Tensor | None = None,
        scene_rays: torch.Tensor | None = None,
        geometry: GeometryPrompt | None = None,
        context: ContextCache | None = None,
        context_latents: torch.Tensor | None = None,
        context_positions: torch.Tensor | None = None,
        context_scene_rays: torch.Tensor | None = None,
        context_timestep: float = 0.0,
        placement: TargetPlacement | None = None,
        return_geometry: bool = False,
        return_dict: bool = True,
    ) -> TransformerOutput | tuple:
        """Predict the target latents' flow (or clean sample).

        Args:
            hidden_states: [B, C, F, H, W] target latents, noisy or (the anchor's) clean.
            timestep: [B] or [B, F], 0 (clean) to 1000 (noise).
            encoder_hidden_states: [B, L, text_dim] text states, or None.
            positions: [B, F] of the targets on the scene clock; default 0 .. F - 1.
            rays: [B, F, camera_channels, H, W] rays relative to the anchor: the camera instruction; None is the null instruction.
            scene_rays: the targets' rays relative to the first context frame, known only when the context's cameras are.
            geometry: what the targets would see of the scene as far as its geometry is known; None without, and in models built
                without `geometry_views`.
            context: the encoded scene (`encode_context`); its batch is B.
            context_latents, context_positions, context_scene_rays: the scene itself instead: computed here, not reused.
            context_timestep: of `context_latents`: 0 clean, 1000 for noise in place of a scene.
            placement: of `place`, instead of `positions`, `rays`, `scene_rays` and `geometry`.
            return_geometry: also read the geometry heads (needs `context_latents`).
            return_dict: return `TransformerOutput` rather than a tuple.

        Returns:
            `TransformerOutput`.

        Raises:
            ValueError: for a placement together with what it stands for.
        """
        if placement is not None and any(given is not None for given in (positions, rays, scene_rays, geometry)):
            raise ValueError("a placement and positions, rays or geometry: give the placement alone, which holds them.")
        batch, _, frames, height, width = hidden_states.shape
        if timestep.ndim == 1:
            timestep = timestep.unsqueeze(1)
        full = self.config.attention_mode == "full"
        context_states = None
        if context_latents is not None and not full:
            context, context_states = self.encode_context(
                context_latents, context_positions, context_scene_rays, timestep=context_timestep, return_states=return_geometry
            )

        if placement is None:
            if positions is None:
                positions = torch.arange(frames, dtype=torch.float64).expand(batch, -1)
            placement = self._place(positions, height, width, rays, scene_rays, geometry, hidden_states.device)
        tokens, rotary = self._tokens(hidden_states) + placement.conditions, placement.rotary
        num_context = 0
        if context_latents is not None and full:
            num_context = context_latents.shape[2]
            context_tokens, context_rotary = self._embed(context_latents, context_positions, context_scene_rays)
            context_tokens = context_tokens + self._camera_tokens("scene", context_scene_rays)
            tokens = torch.cat([context_tokens, tokens], dim=1)
            rotary = torch.cat([context_rotary, rotary], dim=1)
            level = timestep.new_full((batch, num_context), context_timestep)
            timestep = torch.cat([level, timestep.expand(batch, frames)], dim=1)

        embedding, modulation = self.condition_embedder(timestep, tokens.dtype)
        if encoder_hidden_states is not None:
            encoder_hidden_states = self.condition_embedder.text_embedder(encoder_hidden_states)
        cached = None if context is None else context.reader(tokens.device, tokens.dtype)
        for index, block in enumerate(self.blocks):
            # [0]: the targets' own keys and values are of no further use, and should not live on in the next block
            tokens = block(tokens, modulation, rotary, encoder_hidden_states, None if cached is None else cached[index])[0]
        if num_context:
            context_states, tokens = tokens[:, :num_context], tokens[:, num_context:]
            embedding = embedding[:, num_context:]

        shift, scale = (self.scale_shift_table.unsqueeze(1) + embedding.unsqueeze(2)).unsqueeze(3).unbind(2)
        tokens = (self.norm_out(tokens.float()) * (1 + scale) + shift).type_as(tokens)
        sample = self._unpatchify(self.proj_out(tokens), height, width)
        if placement.geometry is not None:
            sample = sample + self.geometry_encoder.direct(placement.geometry, tokens)
        read = self.read_geometry(context_states, height, width) if return_geometry else None
        return TransformerOutput(sample, read) if return_dict else (sample, read)

    def _pooled(self, maps: torch.Tensor, pool: int) -> torch.Tensor:
        """Latents [B, C, F, H, W] or rays [B, F, channels, H, W] averaged over squares."""
        height, width = (pool * side for side in self.config.patch_size[1:])
        if maps.shape[-2] % height or maps.shape[-1] % width:
            raise ValueError(
                f"latents of {maps.shape[-2]}x{maps.shape[-1]} cannot be pooled by {pool}: expected multiples of {height}x{width}."
            )
        return F.avg_pool2d(maps.flatten(0, 2), pool).view(*maps.shape[:3], maps.shape[-2] // pool, maps.shape[-1] // pool)

    def _embed(self, latents: torch.Tensor, positions: torch.Tensor, rays: torch.Tensor | None = None, pool: int = 1):
        """Latents [B, C, F, H, W] to tokens [B, F, P, dim] and their rotations."""
        rotary = self._rotary(positions, *latents.shape[-2:], rays, latents.device, pool)
        return self._tokens(latents), rotary

    def _tokens(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, F, H, W] to tokens [B, F, P, dim]."""
        return self.patch_embedding(latents).flatten(3).permute(0, 2, 3, 1).contiguous()

    def _rotary(
        self, positions: torch.Tensor, height: int, width: int, rays: torch.Tensor | None, device: torch.device, pool: int = 1
    ) -> torch.Tensor:
        """Rotations of the tokens of latents of `height` x `width`."""
        height, width = height // self.config.patch_size[1], width // self.config.patch_size[2]
        directions = None
        if self.config.spatial_positions == "compass":
            directions = self._directions(rays, height, width).expand(*positions.shape, -1, -1)
        return scene_rotary(positions, height, width, self.config.attention_head_dim, device, directions, pool)

    def _place(
        self,
        positions: torch.Tensor,
        height: int,
        width: int,
        rays: torch.Tensor | None,
        scene_rays: torch.Tensor | None,
        geometry: GeometryPrompt | None,
        device: torch.device,
    ) -> TargetPlacement:
        rotary = self._rotary(positions, height, width, rays if scene_rays is None else scene_rays, device)
        conditions = self._camera_tokens("anchor", rays) + self._camera_tokens("scene", scene_rays)
        if self.config.geometry_views is not None:
            conditions = conditions + self.geometry_encoder(geometry)
        elif geometry is not None:
            raise ValueError("this model was built without a geometry prompt (geometry_views=None): give it no geometry.")
        return TargetPlacement(rotary, conditions, geometry)

    def _directions(self, rays: torch.Tensor | None, height: int, width: int) -> torch.Tensor:
        """Where tokens look: from rays [B, F, channels, H, W] (a latent's last camera), or straight ahead: [B, F, P, 3]."""
        if rays is None:
            reach = math.tan(math.radians(self.config.nominal_fov_degrees) / 2)
            x = ((torch.arange(width) + 0.5) / width * 2 - 1) * reach
            y = ((torch.arange(height) + 0.5) / height * 2 - 1) * reach * height / width
            ahead = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)], -1)
            directions = ahead.flatten(0, 1)[None, None]
        else:
            last = rays[:, :, -6:].detach().float().cpu()
            last = last[:, :, 3:] if self.config.camera_order == "moment_direction" else last[:, :, :3]
            pooled = F.adaptive_avg_pool2d(last.flatten(0, 1), (height, width)).unflatten(0, rays.shape[:2])
            directions = pooled.flatten(3).transpose(2, 3)
        return F.normalize(directions, dim=-1)

    def _camera_tokens(self, kind: Literal["anchor", "scene"], rays: torch.Tensor | None) -> torch.Tensor:
        """What to add to tokens for rays relative to the anchor or to the scene's first camera; nothing in models without cameras."""
        if self.config.camera_channels is None:
            return torch.zeros((), dtype=self.proj_out.weight.dtype, device=self.proj_out.weight.device)
        if kind == "anchor":
            return self.camera_encoder(rays, self.null_camera)
        return self.scene_camera_encoder(rays, self.null_scene_camera)

    def _unpatchify(self, tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Projected tokens [B, F, P, ph * pw * C] to latents [B, C, F, H, W]."""
        _, patch_height, patch_width = self.config.patch_size
        grid = (height // patch_height, width // patch_width)
        tokens = tokens.unflatten(2, grid).unflatten(-1, (patch_height, patch_width, -1))
        return tokens.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def _check_config(config) -> None:
    problems = []
    if config.patch_size[0] != 1:
        problems.append(f"patch_size={tuple(config.patch_size)}: a token spans one latent, the first entry must be 1")
    if config.image_dim is not None or config.added_kv_proj_dim is not None:
        problems.append("image_dim / added_kv_proj_dim: Wan's image branch is not supported, both must be null")
    if not config.null_context or not set(config.null_context) <= {"absent", "noise"}:
        problems.append(f"null_context={config.null_context!r}: expected 'absent', 'noise' or both")
    if config.spatial_positions == "compass" and config.camera_channels is None:
        problems.append("spatial_positions='compass' needs cameras: set camera_channels")
    choices = {
        "qk_norm": ("rms_norm_across_heads",),
        "attention_mode": ("causal_context", "full"),
        "prediction_type": ("flow", "sample"),
        "spatial_positions": ("grid", "compass"),
        "camera_order": ("moment_direction", "direction_moment"),
    }
    for name, allowed in choices.items():
        if config[name] not in allowed:
            problems.append(f"{name}={config[name]!r}: expected {' or '.join(map(repr, allowed))}")
    if problems:
        raise ValueError("unsupported transformer configuration:\n  " + "\n  ".join(problems))

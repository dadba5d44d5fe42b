"""From an encoded scene and a camera path to the video that camera would see."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor

from video4spatial.cameras import Cameras, plucker_rays, poses_to_latent
from video4spatial.diffusion import JointGuidance, to_flow
from video4spatial.models import CacheStorage, ContextCache, Video4SpatialTransformer3DModel
from video4spatial.models.autoencoder import (
    Autoencoder,
    decode,
    encode,
    frames_to_tensor,
    latent_frames,
    spatial_compression,
    temporal_compression,
    tensor_to_frames,
)
from video4spatial.models.conditions.text import encode_prompt
from video4spatial.pipelines.context_files import fingerprint, read_context, write_context
from video4spatial.conditioning.plans import ContextPart, ContextPlan
from video4spatial.pipelines.scene_context import SceneContext

NOISE_TIMESTEP = 1000.0  # of the null context that is noise
TARGET_GAP_SECONDS = 1.0  # between the last context frame and the first target on the scene clock


@dataclass
class NavigationOutput(BaseOutput):
    """What a call returns.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor as the autoencoder keeps it.
        latents: [1, C, F, h, w] the same, not decoded.
        cameras: the T cameras that were followed, relative to the anchor.
    """

    frames: np.ndarray
    latents: torch.Tensor
    cameras: Cameras


class Video4SpatialPipeline(DiffusionPipeline):
    """Generates what a camera sees while it follows a path through the scene of a video.

    Calls change nothing of the pipeline, so that several threads may use one.

    Args:
        vae: autoencoder with measured latent statistics.
        transformer: the denoiser.
        scheduler: a flow-matching scheduler; it owns the sigmas.
        text_encoder, tokenizer: of models that read text (Wan: UMT5); None for others.
        height, width: picture size of the model in pixels.
        frame_rate: frames per second of the model's targets.
        target_frames: frames per target the model was trained with, the anchor's included.
        context_frames: most context frames it was trained with; more can be given, and are further from what it knows.
        domain: what the model has seen, in words; shown to users who bring other footage.
        num_inference_steps: denoising steps that suit the model, where a call names none.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer"]

    def __init__(
        self,
        vae: Autoencoder,
        transformer: Video4SpatialTransformer3DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        text_encoder=None,
        tokenizer=None,
        height: int = 64,
        width: int = 64,
        frame_rate: float = 4.0,
        target_frames: int = 9,
        context_frames: int = 8,
        domain: str = "",
        num_inference_steps: int = 16,
    ):
        super().__init__()
        self.register_modules(
            vae=vae, transformer=transformer, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            height=height,
            width=width,
            frame_rate=frame_rate,
            target_frames=target_frames,
            context_frames=context_frames,
            domain=domain,
            num_inference_steps=num_inference_steps,
        )
        self._vae_lock = threading.Lock()  # video autoencoders keep what they know of earlier frames while they work

    @torch.no_grad()
    def encode_context(
        self,
        frames: np.ndarray,
        times: np.ndarray | None = None,
        cameras: Cameras | None = None,
        chunk_length: int = 1,
        plan: ContextPlan | None = None,
        storage: CacheStorage = CacheStorage(),
    ) -> SceneContext:
        """Encode a scene video.

        Args:
            frames: [N, H, W, 3] uint8 at the model's size.
            times: [N] seconds, ascending; default: at the model's frame rate.
            cameras: the N cameras, where known; the method does not need them.
            chunk_length: consecutive frames that the autoencoder encodes together, 1 + compression * k.
            plan: which frames the model is shown, and how finely (`context_plans.plan_context`); default all, as one segment.
            storage: how keys and values are kept: as computed, narrower, on the CPU.

        Returns:
            The encoded scene.

        Raises:
            ValueError: naming all that does not fit.
        """
        return self._extend(None, frames, times, cameras, chunk_length, plan, storage)

    @torch.no_grad()
    def append_context(
        self,
        context: SceneContext,
        frames: np.ndarray,
        times: np.ndarray | None = None,
        cameras: Cameras | None = None,
        *,
        latents: torch.Tensor | None = None,
        max_tokens: int | None = None,
        keep: int = 1,
    ) -> SceneContext:
        """A scene lengthened by one more segment (exactly: nothing encoded before changes).

        Args:
            context: the scene so far; left as it is.
            frames, times, cameras: as for `encode_context`; times go on after the last, cameras are given exactly when the scene
                has them, in the same world.
            latents: [1, C, N, h, w] of the frames, where they were generated: they are not encoded again. For autoencoders that take
                every frame by itself.
            max_tokens: most context tokens afterwards; the oldest segments after the first `keep` go (`SceneContext.within`).
            keep: see `max_tokens`.

        Returns:
            A new `SceneContext`.

        Raises:
            ValueError: naming all that does not fit.
        """
        if (cameras is None) != (context.cameras is None):
            raise ValueError("a scene's cameras are known for all its segments or for none.")
        extended = self._extend(context, frames, times, cameras, context.chunk_length, None, CacheStorage(), latents)
        return extended if max_tokens is None else extended.within(max_tokens, keep)

    def save_context(self, context: SceneContext, path: str | Path) -> None:
        """Write an encoded scene, for `load_context` of the same model."""
        write_context(path, context, fingerprint(self.transformer, self.vae), self.transformer.dtype)

    def load_context(self, path: str | Path) -> SceneContext:
        """Read an encoded scene; its keys and values are mapped from the file, and layers fetched when they are used.

        Raises:
            ValueError: for a file of another model, dtype or version, or one that is truncated or changed.
            FileNotFoundError: if there is none.
        """
        context, device = read_context(path, fingerprint(self.transformer, self.vae), self.transformer.dtype), self._execution_device
        rays = None if context.scene_rays is None else context.scene_rays.to(device)
        return replace(context, latents=context.latents.to(device), scene_rays=rays)

    def _extend(self, context, frames, times, cameras, chunk_length, plan, storage, latents=None) -> SceneContext:
        frames = np.asarray(frames)
        rate, config = self.config.frame_rate, self.transformer.config
        start = 0.0 if context is None else context.times[-1] + 1 / rate
        times = start + np.arange(len(frames)) / rate if times is None else np.asarray(times, dtype=np.float64)
        if plan is None:
            plan = ContextPlan((ContextPart(tuple(range(len(frames) // max(chunk_length, 1)))),))
        self._check_context(frames, times, cameras, chunk_length, plan, context)
        compression, device = temporal_compression(self.vae), self._execution_device
        shown = plan.chunks
        chunks = [slice(chunk * chunk_length, (chunk + 1) * chunk_length) for chunk in shown]
        if latents is None:
            with self._vae_lock:
                latents = torch.cat([encode(self.vae, frames_to_tensor(frames[c], device)) for c in chunks], dim=2)
        elif compression > 1 or latents.shape[2] != len(frames):
            raise ValueError(f"latents {list(latents.shape)} for {len(frames)} frames: expected one latent for each frame.")
        latents = latents.to(device, self.transformer.dtype)
        first_time = float(times[0]) if context is None else context.start
        # a latent stands where the last of its frames does: frames 0, c, 2c, ... of its chunk
        seconds = np.concatenate([times[c][::compression] for c in chunks]) - first_time
        positions = torch.from_numpy(seconds * rate / compression).unsqueeze(0)
        scene_rays, origin = None, None
        if cameras is not None:
            origin = cameras[0] if context is None else context.origin
            if config.camera_channels is not None:
                relative = cameras.relative_to(origin)
                scene_rays = torch.cat([self._rays(relative[c], latents) for c in chunks], dim=1)
        scene = SceneContext(
            frames, times, cameras, chunk_length, plan.parts, latents, positions, scene_rays, None, first_time, origin,
            plan.coarse_share, latents.shape[2] * self.transformer.tokens_per_latent(*latents.shape[-2:]),
        )  # fmt: skip
        cache, computed = None if context is None else context.cache, 0
        if config.attention_mode == "causal_context":
            before = 0 if cache is None else cache.num_tokens
            cache = self._encode_parts(scene, latents, cache, storage)
            computed = cache.num_tokens - before
        else:
            computed = scene.context_tokens_computed
        if context is None:
            return replace(scene, cache=cache, context_tokens_computed=computed)
        offset = len(context) // chunk_length
        moved = tuple(replace(part, chunks=tuple(offset + chunk for chunk in part.chunks)) for part in plan.parts)
        return replace(
            context,
            frames=np.concatenate([context.frames, frames]),
            times=np.concatenate([context.times, times]),
            cameras=None if cameras is None else Cameras.concatenate([context.cameras, cameras]),
            parts=(*context.parts, *moved),
            latents=torch.cat([context.latents, latents], dim=2),
            positions=torch.cat([context.positions, positions], dim=1),
            scene_rays=None if scene_rays is None else torch.cat([context.scene_rays, scene_rays], dim=1),
            cache=cache,
            context_tokens_computed=computed,
        )

    def _encode_parts(
        self, scene: SceneContext, latents: torch.Tensor, cache: ContextCache | None, storage: CacheStorage, timestep: float = 0.0
    ) -> ContextCache:
        """The segments of a scene's parts, whose latents (or the noise in their place) are given, after those of a cache."""
        for part in scene.parts:
            held = scene.latent_indices(part.chunks)
            rays = None if scene.scene_rays is None or timestep > 0 else scene.scene_rays[:, held]
            cache, _ = self.transformer.encode_context(
                latents[:, :, held], scene.positions[:, held], rays, cache, pool=part.pool, timestep=timestep, storage=storage
            )
        return cache

    @torch.no_grad()
    def __call__(
        self,
        context: SceneContext | None,
        cameras: Cameras,
        anchor: int = -1,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        anchor_frame: np.ndarray | None = None,
        latents: torch.Tensor | None = None,
        callback_on_step_end: Callable | None = None,
        guidance: JointGuidance | None = None,
        prompt: str | None = None,
        anchor_latent: torch.Tensor | None = None,
        output_type: str = "frames",
    ) -> NavigationOutput:
        """Generate the video seen along `cameras`.

        Args:
            context: the encoded scene; None generates from the anchor frame alone.
            cameras: T target cameras; only their motion relative to the first matters. Frame 0 is the anchor's viewpoint.
            anchor: index of the context frame the path starts from, counted from either end.
            num_inference_steps: denoising steps; default what suits the model (its configuration).
            guidance_scale: joint guidance over context and instruction with an absent null; 1 is off.
            generator: source of the noise; the same seed gives the same video.
            anchor_frame: [H, W, 3] uint8, needed (and allowed) only without context.
            latents: [1, C, F, h, w] initial noise instead of drawing it (F counts the frames after the anchor).
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": ...}); may return replacements.
            guidance: another null or separate scales, in place of `guidance_scale`.
            prompt: what the video shows, in words, for models that read text; default the empty prompt.
            anchor_latent: [1, C, 1, h, w] clean latent of the anchor frame, where it is at hand.
            output_type: `frames`, or `latent` to leave the decoding out (`frames` of the output is then None).

        Returns:
            `NavigationOutput`.

        Raises:
            ValueError: naming what does not fit.
        """
        if num_inference_steps is None:
            num_inference_steps = self.config.num_inference_steps
        guider = JointGuidance.absent(guidance_scale) if guidance is None else copy.copy(guidance)
        self._check_call(context, cameras, anchor_frame, num_inference_steps, guider, guidance_scale, guidance, prompt)
        compression, device = temporal_compression(self.vae), self._execution_device
        num_frames = len(cameras)
        padding = -(num_frames - 1) % compression
        padded = Cameras.concatenate([cameras] + [cameras[-1]] * padding) if padding else cameras
        relative = padded.relative_to(0)

        start, scene_rays = 0.0, None
        if context is not None:
            anchor = context.resolve_anchor(anchor)
            last = (context.times[-1] - context.start) * self.config.frame_rate / compression
            start = float(last) + TARGET_GAP_SECONDS * self.config.frame_rate / compression
        if anchor_latent is None:
            anchor_latent = self._anchor_latent(context, anchor, anchor_frame)
        if context is not None and context.scene_rays is not None:
            anchor_pose = context.cameras[anchor].relative_to(context.origin).camera_to_world[0]
            scene_rays = self._rays(relative.transformed(anchor_pose), anchor_latent)
        rays = self._rays(relative, anchor_latent)
        count = latent_frames(len(padded), compression)
        positions = (start + torch.arange(count, dtype=torch.float64)).unsqueeze(0)

        shape = (1, anchor_latent.shape[1], count - 1, *anchor_latent.shape[-2:])
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=anchor_latent.dtype)
        elif tuple(latents.shape) != shape:
            raise ValueError(f"latents of shape {tuple(latents.shape)}: expected {shape} for {num_frames} cameras.")
        place = partial(self.transformer.place, height=shape[-2], width=shape[-1])
        without_text = self._text(None)
        text = self._text(prompt) if prompt else without_text
        branches = {  # latent of the anchor, where and by which cameras targets are seen, text
            "instruction": (anchor_latent, place(positions, rays=rays, scene_rays=scene_rays), text),
            "context": (anchor_latent, place(positions), without_text),
            "null": (None, place(positions[:, 1:]), without_text),
        }
        noise_inputs = {}
        if context is not None and guider.null_context == "noise" and "null" in guider.weights:
            noise_inputs = self._noise_inputs(context, generator)
        scheduler = copy.deepcopy(self.scheduler)  # it counts steps: every call needs its own
        scheduler.set_timesteps(num_inference_steps, device=device)
        for step, timestep in enumerate(self.progress_bar(scheduler.timesteps)):
            guider.set_state(step, num_inference_steps, timestep)
            scene_inputs = self._context_inputs(context, step / num_inference_steps)
            flows = {}
            for branch in guider.weights:
                seen = noise_inputs if branch == "null" else scene_inputs
                flows[branch] = self._flow(scheduler, latents, timestep, *branches[branch], **seen)
            flow = guider.forward(flows.get("instruction"), flows.get("null"), flows.get("context")).pred
            latents = scheduler.step(flow, timestep, latents, return_dict=False)[0]
            if callback_on_step_end is not None:
                latents = (callback_on_step_end(self, step, timestep, {"latents": latents}) or {}).get("latents", latents)

        latents = torch.cat([anchor_latent, latents], dim=2)
        frames = self.decode_latents(latents)[:num_frames] if output_type == "frames" else None
        self.maybe_free_model_hooks()
        return NavigationOutput(frames=frames, latents=latents, cameras=cameras.relative_to(0))

    @torch.no_grad()
    def decode_latents(self, latents: torch.Tensor) -> np.ndarray:
        """Latents [1, C, F, h, w] to frames [T, H, W, 3] uint8."""
        with self._vae_lock:
            return tensor_to_frames(decode(self.vae, latents))

    def _context_inputs(self, context: SceneContext | None, progress: float) -> dict:
        """What the transformer is given of the scene when this share of the steps is done."""
        if context is None:
            return {}
        if context.cache is not None:
            return {"context": context.cache_at(progress)}
        return {
            "context_latents": context.latents,
            "context_positions": context.positions,
            "context_scene_rays": context.scene_rays,
        }

    def _noise_inputs(self, context: SceneContext, generator: torch.Generator | None) -> dict:
        """One draw of noise in place of the scene, for the null branch of all steps."""
        noise = randn_tensor(context.latents.shape, generator=generator, device=context.latents.device, dtype=context.latents.dtype)
        if context.cache is None:
            return {"context_latents": noise, "context_positions": context.positions, "context_timestep": NOISE_TIMESTEP}
        storage = CacheStorage(context.cache.dtype, context.cache.device)
        return {"context": self._encode_parts(context, noise, None, storage, NOISE_TIMESTEP)}

    def _flow(self, scheduler, latents, timestep, anchor_latent, placement, text, **context) -> torch.Tensor:
        """The flow of the noisy targets [1, C, F, h, w]; the anchor, where given, stands clean before them."""
        timesteps = timestep.expand(1, latents.shape[2])
        model_input = latents
        if anchor_latent is not None:
            model_input = torch.cat([anchor_latent, latents], dim=2)
            timesteps = torch.cat([timesteps.new_zeros(1, 1), timesteps], dim=1)
        prediction = self.transformer(model_input, timesteps, text, placement=placement, return_dict=False, **context)[0]
        prediction = prediction[:, :, -latents.shape[2] :]
        sigma = timestep / scheduler.config.num_train_timesteps
        return to_flow(prediction, latents, sigma, self.transformer.config.prediction_type)

    def _anchor_latent(self, context: SceneContext | None, anchor: int, anchor_frame: np.ndarray | None) -> torch.Tensor:
        """Clean encoding of the anchor frame by itself."""
        if context is not None and temporal_compression(self.vae) == 1 and anchor in context.shown:
            (held,) = context.latent_indices((anchor,))
            return context.latents[:, :, held : held + 1]
        frame = anchor_frame[None] if context is None else context.frames[anchor : anchor + 1]
        with self._vae_lock:
            return encode(self.vae, frames_to_tensor(frame, self._execution_device)).to(self.transformer.dtype)

    def _text(self, prompt: str | None) -> torch.Tensor | None:
        """States of a prompt [1, L, text_dim]; None for models that read no text."""
        if self.text_encoder is None:
            return None
        return encode_prompt(self.tokenizer, self.text_encoder, [prompt or ""]).to(self._execution_device, self.transformer.dtype)

    def _rays(self, cameras: Cameras, latents: torch.Tensor) -> torch.Tensor | None:
        """Plücker rays of T cameras on the grid of `latents`, packed per latent: [1, F, channels, h, w]."""
        if self.transformer.config.camera_channels is None:
            return None
        rays = plucker_rays(cameras, *latents.shape[-2:], order=self.transformer.config.camera_order, device=latents.device)
        return poses_to_latent(rays, temporal_compression(self.vae)).unsqueeze(0).to(latents.dtype)

    def _check_context(self, frames, times, cameras, chunk_length, plan, context):
        problems = []
        size = (self.config.height, self.config.width)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
            problems.append(f"frames {frames.dtype} {frames.shape}: expected uint8 [N, H, W, 3] with N >= 1")
        elif frames.shape[1:3] != size:
            problems.append(f"frames of {frames.shape[1]}x{frames.shape[2]}: the model takes {size[0]}x{size[1]}; resize them first")
        if len(times) != len(frames):
            problems.append(f"{len(times)} times for {len(frames)} frames")
        elif not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
            problems.append("times must be finite and ascending")
        elif context is not None and times[0] <= context.times[-1]:
            problems.append(f"times begin at {times[0]:.3f} s, not after the context's last {context.times[-1]:.3f} s")
        if cameras is not None and len(cameras) != len(frames):
            problems.append(f"{len(cameras)} cameras for {len(frames)} frames")
        compression = temporal_compression(self.vae)
        if chunk_length < 1 or (chunk_length - 1) % compression or len(frames) % max(chunk_length, 1):
            problems.append(f"chunk_length {chunk_length}: expected 1 + {compression} * k, and a divisor of {len(frames)} frames")
        elif plan.chunks[-1] >= len(frames) // chunk_length:
            problems.append(f"a plan that shows chunk {plan.chunks[-1]} of {len(frames) // chunk_length}")
        if self.transformer.config.attention_mode == "full" and (len(plan.parts) > 1 or plan.parts[0].pool > 1):
            problems.append("a plan with several or pooled parts: attention_mode='full' takes all frames alike")
        grid = spatial_compression(self.vae) * self.transformer.config.patch_size[1]
        if size[0] % grid or size[1] % grid:
            problems.append(f"model size {size[0]}x{size[1]}: expected multiples of {grid}")
        for pool in sorted({part.pool for part in plan.parts if any(side % (grid * part.pool) for side in size)} - {1}):
            problems.append(
                f"a plan that pools by {pool}: frames of {size[0]}x{size[1]} are {size[0] // grid}x{size[1] // grid} tokens, which "
                f"{pool} does not divide"
            )
        if problems:
            raise ValueError("the context does not fit:\n  " + "\n  ".join(problems))

    def _check_call(self, context, cameras, anchor_frame, num_inference_steps, guider, guidance_scale, guidance, prompt):
        problems = []
        if cameras.camera_to_world.ndim != 3 or len(cameras) < 2:
            problems.append(f"{cameras!r}: expected one path of at least 2 cameras, the first at the anchor")
        if (context is None) != (anchor_frame is not None):
            problems.append("give a context, or an anchor_frame to go without one, and not both")
        if num_inference_steps < 1:
            problems.append(f"num_inference_steps {num_inference_steps}: expected at least 1")
        if guidance is not None and guidance_scale != 1.0:
            problems.append(f"give guidance_scale ({guidance_scale:g}) or guidance, not both")
        if prompt and self.text_encoder is None:
            problems.append(f"a prompt ({prompt!r}), but this model reads no text")
        try:
            guider.check(tuple(self.transformer.config.null_context), self.transformer.config.null_instruction)
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("the call does not fit:\n  " + "\n  ".join(problems))

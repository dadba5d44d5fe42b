"""From an encoded scene and a camera path to the video that camera would see."""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor

from video4spatial.cameras import Cameras
from video4spatial.clips.instruction import Ground, Instruction, Navigate
from video4spatial.conditioning.geometry_prompt import geometry_prompt
from video4spatial.conditioning.inputs import Conditioner, TargetInputs
from video4spatial.conditioning.passes import NOISE, SeenScene, encode_parts, place, predict, whole_scene
from video4spatial.conditioning.plans import ContextPart, ContextPlan
from video4spatial.diffusion import JointGuidance, to_flow
from video4spatial.geometry.scene_geometry import GeometryRendering, SceneGeometry
from video4spatial.models import CacheStorage, Video4SpatialTransformer3DModel
from video4spatial.models.autoencoder import (
    Autoencoder,
    encode,
    frames_to_tensor,
    spatial_compression,
    temporal_compression,
    tensor_to_frames,
)
from video4spatial.models.conditions.text import encode_prompt
from video4spatial.models.refiner import PictureRefiner, decode_frames
from video4spatial.pipelines.context_files import fingerprint, read_context, write_context
from video4spatial.pipelines.scene_context import SceneContext

TARGET_GAP_SECONDS = 1.0
"""Between the last context frame and the anchor of the targets on the scene clock."""


@dataclass
class VideoOutput(BaseOutput):
    """What a call returns.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor as the autoencoder keeps it.
        latents: [1, C, F, h, w] the same, not decoded.
        cameras: the T cameras that were followed, relative to the anchor; None where the instruction is no path.
        rendering: what these cameras see of the scene's geometry, where the model was shown that.
    """

    frames: np.ndarray
    latents: torch.Tensor
    cameras: Cameras | None
    rendering: GeometryRendering | None = None


class Video4SpatialPipeline(DiffusionPipeline):
    """Generates what a camera sees while it follows a path through the scene of a video.

    Calls change nothing of the pipeline, so that several threads may use one.

    Args:
        vae: autoencoder with measured latent statistics.
        transformer: the denoiser.
        scheduler: a flow-matching scheduler; it owns the sigmas.
        text_encoder, tokenizer: of models that read text (Wan: UMT5); None for others.
        refiner: of decoded frames, which passes on to them what the scene's geometry shows; None leaves them as they are decoded.
        height, width: picture size that the model was trained with, in pixels; other shapes are further from what it knows.
        frame_rate: frames per second of the model's targets.
        target_frames: frames per target the model was trained with, the anchor's included.
        context_frames: most context frames it was trained with; more can be given, and are further from what it knows.
        geometry_frames: most context frames of which geometry is read, for models with a geometry prompt.
        domain: what the model has seen, in words; shown to users who bring other footage.
        num_inference_steps: denoising steps that suit the model, where a call names none.
        least_aspect, greatest_aspect: width / height of the pictures it was trained with, of about height x width pixels; None where all
            were height x width.
    """

    model_cpu_offload_seq = "text_encoder->transformer->vae->refiner"
    _optional_components = ["text_encoder", "tokenizer", "refiner"]

    def __init__(
        self,
        vae: Autoencoder,
        transformer: Video4SpatialTransformer3DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        text_encoder=None,
        tokenizer=None,
        refiner: PictureRefiner | None = None,
        height: int = 64,
        width: int = 64,
        frame_rate: float = 4.0,
        target_frames: int = 9,
        context_frames: int = 8,
        geometry_frames: int = 32,
        domain: str = "",
        num_inference_steps: int = 16,
        least_aspect: float | None = None,
        greatest_aspect: float | None = None,
    ):
        super().__init__()
        self.register_modules(
            vae=vae, transformer=transformer, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer, refiner=refiner
        )
        self.register_to_config(
            height=height,
            width=width,
            frame_rate=frame_rate,
            target_frames=target_frames,
            context_frames=context_frames,
            geometry_frames=geometry_frames,
            domain=domain,
            num_inference_steps=num_inference_steps,
            least_aspect=least_aspect,
            greatest_aspect=greatest_aspect,
        )
        self._known_fingerprint: tuple | None = None
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
        geometry: SceneGeometry | None = None,
    ) -> SceneContext:
        """Encode a scene video.

        Args:
            frames: [N, H, W, 3] uint8 at the model's size.
            times: [N] seconds, ascending; default: at the model's frame rate.
            cameras: the N cameras, where known; the method does not need them.
            chunk_length: consecutive frames that the autoencoder encodes together, 1 + compression * k.
            plan: which frames the model is shown, and how finely (`context_plans.plan_context`); default all, as one segment.
            storage: how keys and values are kept: as computed, narrower, on the CPU.
            geometry: of these N frames (`pipelines.scene_geometry.estimate_geometry`), which models with a geometry prompt are shown from
                the cameras of every path. Its cameras are taken as the scene's where none are given and it placed all frames.

        Returns:
            The encoded scene.

        Raises:
            ValueError: naming all that does not fit.
        """
        if np.ndim(frames) == 0:
            raise ValueError(
                f"frames {frames!r}: expected pictures, uint8 [N, H, W, 3]; open_video(path).read(...) reads those of a video, and "
                "resize_and_crop brings them to the model's size (video4spatial.media)."
            )
        if geometry is not None:
            self._check_geometry(geometry, len(frames))
            if cameras is None and geometry.placed.all():
                cameras = geometry.cameras
        context = self._extend(None, frames, times, cameras, chunk_length, plan, storage)
        return replace(context, geometry=geometry, encoder=self.fingerprint)

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
        geometry: SceneGeometry | None = None,
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
            geometry: of the new frames, in the same world, where the scene has one; None leaves them out of it.

        Returns:
            A new `SceneContext`.

        Raises:
            ValueError: naming all that does not fit.
        """
        if context.encoder != self.fingerprint:
            raise ValueError("the scene was encoded by another model, or by this one before its weights changed: encode it again.")
        if (cameras is None) != (context.cameras is None):
            raise ValueError("a scene's cameras are known for all its segments or for none.")
        extended = self._extend(context, frames, times, cameras, context.chunk_length, None, CacheStorage(), latents)
        if context.geometry is not None:
            new = SceneGeometry.unknown(frames, cameras) if geometry is None else geometry
            self._check_geometry(new, len(frames))
            extended = replace(extended, geometry=context.geometry.joined(new))
        return extended if max_tokens is None else extended.within(max_tokens, keep)

    def save_context(self, context: SceneContext, path: str | Path) -> None:
        """Write an encoded scene, for `load_context` of the same model."""
        write_context(path, context, self.fingerprint, self.transformer.dtype)

    def load_context(self, path: str | Path) -> SceneContext:
        """Read an encoded scene; its keys and values are mapped from the file, and layers fetched when they are used.

        Raises:
            ValueError: for a file of another model, dtype or version, or one that is truncated or changed.
            FileNotFoundError: if there is none.
        """
        context, device = read_context(path, self.fingerprint, self.transformer.dtype), self._execution_device
        rays = None if context.scene_rays is None else context.scene_rays.to(device)
        return replace(context, latents=context.latents.to(device), scene_rays=rays, encoder=self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """What identifies the model whose encoded scenes this one can read; computed again when weights have changed."""
        parts = (self.transformer, self.vae)
        adapters = [str(vars(part).get("scaling")) for model in parts for part in model.modules() if "scaling" in vars(part)]
        weights = [(id(tensor), tensor._version, tensor.dtype) for model in parts for tensor in model.state_dict(keep_vars=True).values()]
        state = (weights, adapters)
        if self._known_fingerprint is None or self._known_fingerprint[0] != state:
            self._known_fingerprint = (state, fingerprint(*parts))
        return self._known_fingerprint[1]

    def _check_geometry(self, geometry: SceneGeometry, count: int) -> None:
        """Refuse geometry that the model is not shown, or of other frames than `count`."""
        if self.transformer.config.geometry_views is None:
            raise ValueError("this model has no geometry prompt (geometry_views): leave `geometry` out.")
        if len(geometry) != count:
            raise ValueError(f"geometry of {len(geometry)} frames for a context of {count}: expected that of the same frames.")

    def _extend(self, context, frames, times, cameras, chunk_length, plan, storage, latents=None) -> SceneContext:
        frames = np.asarray(frames)
        rate = self.config.frame_rate
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
        given = [frame for chunk in chunks for frame in range(chunk.start, chunk.stop)]
        origin = relative = None
        if cameras is not None:
            origin = cameras[0] if context is None else context.origin
            relative = Cameras.stacked([cameras.relative_to(origin)[given]])
        seconds = torch.from_numpy(times[given] - first_time).unsqueeze(0)
        inputs = self._conditioner.context(latents, seconds, relative, plan.parts, chunk_length)
        scene = SceneContext(
            frames, times, cameras, chunk_length, plan.parts, latents, inputs.positions, inputs.scene_rays, None, first_time, origin,
            plan.coarse_share, latents.shape[2] * self.transformer.tokens_per_latent(*latents.shape[-2:]),
        )  # fmt: skip
        cache, computed = None if context is None else context.cache, 0
        if self.transformer.config.attention_mode == "causal_context":
            before = 0 if cache is None else cache.num_tokens
            cache, _ = encode_parts(self.transformer, inputs, cache, storage=storage)
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
            positions=torch.cat([context.positions, scene.positions], dim=1),
            scene_rays=None if scene.scene_rays is None else torch.cat([context.scene_rays, scene.scene_rays], dim=1),
            cache=cache,
            context_tokens_computed=computed,
        )

    @torch.no_grad()
    def __call__(
        self,
        context: SceneContext | None,
        instruction: Instruction,
        anchor: int = -1,
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | None = None,
        anchor_frame: np.ndarray | None = None,
        latents: torch.Tensor | None = None,
        callback_on_step_end: Callable | None = None,
        guidance: JointGuidance | None = None,
        anchor_latent: torch.Tensor | None = None,
        output_type: str = "frames",
    ) -> VideoOutput:
        """Generate the video seen while an instruction is carried out.

        Args:
            context: the encoded scene; None generates from the anchor frame alone.
            instruction: `Navigate(cameras)`: the video has a frame for each camera; only their motion relative to the first, the
                anchor's viewpoint, matters. `Ground(text)`, for models that read text: it has as many as the model was trained with.
            anchor: index of the context frame the video starts from, counted from either end.
            num_inference_steps: denoising steps; default what suits the model (its configuration).
            guidance_scale: joint guidance over context and instruction with an absent null; 1 is off.
            generator: source of the noise; the same seed gives the same video.
            anchor_frame: [H, W, 3] uint8, needed (and allowed) only without context.
            latents: [1, C, F, h, w] initial noise instead of drawing it (F counts the frames after the anchor).
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": ...}); may return replacements.
            guidance: another null or separate scales, in place of `guidance_scale`.
            anchor_latent: [1, C, 1, h, w] clean latent of the anchor frame, where it is at hand.
            output_type: `frames`, or `latent` to leave the decoding out (`frames` of the output is then None).

        Returns:
            `VideoOutput`.

        Raises:
            ValueError: naming what does not fit, or for a video that comes out as no numbers.
        """
        # 1. Check what was given.
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        guider = JointGuidance.absent(guidance_scale) if guidance is None else copy.copy(guidance)
        self._check_call(context, instruction, anchor_frame, steps, guider, guidance_scale, guidance)
        num_frames = len(instruction.cameras) if isinstance(instruction, Navigate) else self.config.target_frames
        if context is not None:
            anchor = context.resolve_anchor(anchor)
        # 2. What targets are told, by branch of guidance.
        if anchor_latent is None:
            anchor_latent = self._anchor_latent(context, anchor, anchor_frame)
        rendering = self._rendering(context, instruction, anchor)
        targets = self._targets(context, instruction, num_frames, anchor, anchor_latent, rendering)
        count, size = targets.positions.shape[1], anchor_latent.shape[-2:]
        no_text = self._text("")
        branches = {branch: targets.branch(branch, no_text) for branch in ("instruction", "context", "null")}
        placements = {branch: place(self.transformer, told, *size) for branch, told in branches.items()}
        # 3. Noise.
        latents = self._initial_noise(latents, anchor_latent, count - 1, generator)
        no_scene = SeenScene()
        if context is not None and guider.null_context == "noise" and "null" in guider.weights:
            no_scene = self._noise_scene(context, generator)
        # 4. Denoise.
        scheduler = copy.deepcopy(self.scheduler)  # it counts steps: every call needs its own
        scheduler.set_timesteps(steps, device=self._execution_device)
        for step, timestep in enumerate(self.progress_bar(scheduler.timesteps)):
            guider.set_state(step, steps, timestep)
            scene = self._seen_scene(context, step / steps)
            flows = {}
            for branch in guider.weights:
                seen = no_scene if branch == "null" else scene
                flows[branch] = self._flow(scheduler, latents, timestep, branches[branch], placements[branch], seen)
            flow = guider.forward(flows.get("instruction"), flows.get("null"), flows.get("context")).pred
            latents = scheduler.step(flow, timestep, latents, return_dict=False)[0]
            if callback_on_step_end is not None:
                latents = (callback_on_step_end(self, step, timestep, {"latents": latents}) or {}).get("latents", latents)
        # 5. Decode.
        if not latents.isfinite().all():
            raise ValueError("the video came out as no numbers (infinite or NaN): lower `guidance_scale`, or compute in a wider `dtype`.")
        latents = torch.cat([anchor_latent, latents], dim=2)
        anchor_frame = anchor_frame if context is None else context.frames[anchor]
        frames = self.decode_latents(latents, rendering, anchor_frame)[:num_frames] if output_type == "frames" else None
        self.maybe_free_model_hooks()
        followed = instruction.cameras.relative_to(0) if isinstance(instruction, Navigate) else None
        return VideoOutput(frames=frames, latents=latents, cameras=followed, rendering=rendering)

    @torch.no_grad()
    def decode_latents(
        self, latents: torch.Tensor, rendering: GeometryRendering | None = None, anchor_frame: np.ndarray | None = None
    ) -> np.ndarray:
        """Latents to frames, refined where the model has a refiner.

        Args:
            latents: [1, C, F, h, w] of T frames.
            rendering: what their T cameras see of the scene's geometry, where it is known.
            anchor_frame: [H, W, 3] uint8 that frame 0 shows again, where it does.

        Returns:
            [T, H, W, 3] uint8.
        """
        with self._vae_lock:
            return tensor_to_frames(decode_frames(self.vae, latents, self.refiner, rendering, anchor_frame))

    @property
    def _conditioner(self) -> Conditioner:
        return Conditioner.of(self.transformer.config, temporal_compression(self.vae), self.config.frame_rate)

    def _rendering(self, context: SceneContext | None, instruction: Instruction, anchor: int) -> GeometryRendering | None:
        """What the cameras of a path see of the scene's geometry; None where that is not known."""
        geometry = None if context is None else context.geometry
        if geometry is None or not isinstance(instruction, Navigate) or not geometry.placed[anchor]:
            return None
        path = geometry.along(instruction.cameras, anchor)
        padding = -(len(path) - 1) % temporal_compression(self.vae)
        path = Cameras.concatenate([path, *[path[-1]] * padding])
        views = self.transformer.config.geometry_views
        if self.refiner is not None:
            views = max(views, self.refiner.config.views)
        return geometry.render(path, *context.frames.shape[1:3], views=views)

    def _targets(
        self,
        context: SceneContext | None,
        instruction: Instruction,
        num_frames: int,
        anchor: int,
        anchor_latent: torch.Tensor,
        rendering: GeometryRendering | None,
    ) -> TargetInputs:
        """What the transformer is told of targets of `num_frames` frames, filled up to whole latents by a camera that waits."""
        compression, rate = temporal_compression(self.vae), self.config.frame_rate
        padding = -(num_frames - 1) % compression
        if isinstance(instruction, Navigate) and padding:
            padded = Cameras.concatenate([instruction.cameras] + [instruction.cameras[-1]] * padding)
            instruction = replace(instruction, cameras=padded)
        prompt = None
        if rendering is not None:
            with self._vae_lock:
                prompt = geometry_prompt(self.vae, [rendering], self.transformer.config.geometry_views)
        seconds = torch.arange(num_frames + padding, dtype=torch.float64).unsqueeze(0) / rate
        start, poses = 0.0, None
        if context is not None:
            last = (context.times[-1] - context.start) * rate / compression
            start = float(last) + TARGET_GAP_SECONDS * rate / compression
            if context.scene_rays is not None:
                poses = context.cameras[anchor].relative_to(context.origin).camera_to_world
        return self._conditioner.targets(
            anchor_latent, seconds, start, [instruction], poses, self._text(instruction.words), prompt
        )

    def _initial_noise(
        self, latents: torch.Tensor | None, anchor_latent: torch.Tensor, count: int, generator: torch.Generator | None
    ) -> torch.Tensor:
        """The noise of `count` latents, drawn or as given."""
        shape = (1, anchor_latent.shape[1], count, *anchor_latent.shape[-2:])
        if latents is None:
            return randn_tensor(shape, generator=generator, device=self._execution_device, dtype=anchor_latent.dtype)
        if tuple(latents.shape) != shape:
            raise ValueError(f"latents of shape {tuple(latents.shape)}: expected {shape} for this instruction.")
        return latents

    def _seen_scene(self, context: SceneContext | None, progress: float) -> SeenScene:
        """What targets see of the scene when this share of the steps is done."""
        if context is None:
            return SeenScene()
        if context.cache is not None:
            return SeenScene({"context": context.cache_at(progress)})
        return SeenScene(whole_scene(context.inputs))

    def _noise_scene(self, context: SceneContext, generator: torch.Generator | None) -> SeenScene:
        """One draw of noise in place of the scene, for the null branch of all steps."""
        like = context.latents
        noise = randn_tensor(like.shape, generator=generator, device=like.device, dtype=like.dtype)
        nothing = context.inputs.replaced_by(noise)
        if context.cache is None:
            return SeenScene(whole_scene(nothing, NOISE))
        storage = CacheStorage(context.cache.dtype, context.cache.device)
        return SeenScene({"context": encode_parts(self.transformer, nothing, timestep=NOISE, storage=storage)[0]})

    def _flow(self, scheduler, latents, timestep, targets: TargetInputs, placement, scene: SeenScene) -> torch.Tensor:
        """The flow of the noisy targets [1, C, F, h, w]."""
        prediction, _ = predict(self.transformer, latents, timestep, targets, scene, placement=placement)
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

    def _text(self, words: str) -> torch.Tensor | None:
        """States of words [1, L, text_dim]; None for models that read no text."""
        if self.text_encoder is None:
            return None
        return encode_prompt(self.tokenizer, self.text_encoder, [words]).to(self._execution_device, self.transformer.dtype)

    def _check_context(self, frames, times, cameras, chunk_length, plan, context):
        problems = []
        size = tuple(frames.shape[1:3]) if frames.ndim == 4 else (self.config.height, self.config.width)
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or len(frames) == 0:
            problems.append(f"frames {frames.dtype} {frames.shape}: expected uint8 [N, H, W, 3] with N >= 1")
        elif context is not None and frames.shape[1:3] != context.frames.shape[1:3]:
            held = "x".join(map(str, context.frames.shape[1:3]))
            problems.append(f"frames of {frames.shape[1]}x{frames.shape[2]}: those of the scene are {held}; resize them first")
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
            problems.append(f"frames of {size[0]}x{size[1]}: expected multiples of {grid}; resize them first")
        for pool in sorted({part.pool for part in plan.parts if any(side % (grid * part.pool) for side in size)} - {1}):
            problems.append(
                f"a plan that pools by {pool}: frames of {size[0]}x{size[1]} are {size[0] // grid}x{size[1] // grid} tokens, which "
                f"{pool} does not divide"
            )
        if problems:
            raise ValueError("the context does not fit:\n  " + "\n  ".join(problems))

    def _check_call(self, context, instruction, anchor_frame, num_inference_steps, guider, guidance_scale, guidance):
        problems = []
        if not isinstance(instruction, Navigate | Ground):
            words = ", Navigate(parse_trajectory(words, num_frames)) for a path in words" if isinstance(instruction, str) else ""
            problems.append(f"an instruction of type {type(instruction).__name__}: expected Navigate(cameras) or Ground(text){words}")
        else:
            cameras = instruction.cameras if isinstance(instruction, Navigate) else None
            if isinstance(instruction, Navigate) and not isinstance(cameras, Cameras):
                problems.append(f"a path of type {type(cameras).__name__}: expected Cameras, such as parse_trajectory makes of words")
            elif cameras is not None and (cameras.camera_to_world.ndim != 3 or len(cameras) < 2):
                problems.append(f"{cameras!r}: expected one path of at least 2 cameras, the first at the anchor")
            problems += _problem(replace(self._conditioner, reads_text=self.text_encoder is not None).check, [instruction])
        if context is not None and not isinstance(context, SceneContext):
            problems.append(f"a context of type {type(context).__name__}: expected what encode_context returns, or None")
        elif context is not None and context.encoder != self.fingerprint:
            problems.append("a context that another model encoded, or this one before its weights changed: encode the scene again")
        if (context is None) != (anchor_frame is not None):
            problems.append("give a context, or an anchor_frame to go without one, and not both")
        if num_inference_steps < 1:
            problems.append(f"num_inference_steps {num_inference_steps}: expected at least 1")
        if guidance is not None and guidance_scale != 1.0:
            problems.append(f"give guidance_scale ({guidance_scale:g}) or guidance, not both")
        config = self.transformer.config
        problems += _problem(guider.check, tuple(config.null_context), config.null_instruction)
        if problems:
            raise ValueError("the call does not fit:\n  " + "\n  ".join(problems))


def _problem(check: Callable, *arguments) -> list[str]:
    """What a check complains of, if anything."""
    try:
        check(*arguments)
    except ValueError as error:
        return [str(error)]
    return []


"""From an encoded scene and a camera path to the video that camera would see."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor

from video4spatial.cameras import Cameras, plucker_rays, poses_to_latent
from video4spatial.diffusion import JointGuidance, to_flow
from video4spatial.models import Video4SpatialTransformer3DModel
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
from video4spatial.pipelines.scene_context import SceneContext

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

    Args:
        vae: autoencoder with measured latent statistics.
        transformer: the denoiser.
        scheduler: a flow-matching scheduler; it owns the sigmas.
        height, width: picture size of the model in pixels.
        frame_rate: frames per second of the model's targets.
        target_frames: frames per target the model was trained with, the anchor's included.
        context_frames: most context frames it was trained with; more can be given, and are further from what it knows.
        domain: what the model has seen, in words; shown to users who bring other footage.
        num_inference_steps: denoising steps that suit the model, where a call names none.
    """

    model_cpu_offload_seq = "vae->transformer->vae"

    def __init__(
        self,
        vae: Autoencoder,
        transformer: Video4SpatialTransformer3DModel,
        scheduler: FlowMatchEulerDiscreteScheduler,
        height: int = 64,
        width: int = 64,
        frame_rate: float = 4.0,
        target_frames: int = 9,
        context_frames: int = 8,
        domain: str = "",
        num_inference_steps: int = 16,
    ):
        super().__init__()
        self.register_modules(vae=vae, transformer=transformer, scheduler=scheduler)
        self.register_to_config(
            height=height,
            width=width,
            frame_rate=frame_rate,
            target_frames=target_frames,
            context_frames=context_frames,
            domain=domain,
            num_inference_steps=num_inference_steps,
        )

    @torch.no_grad()
    def encode_context(
        self,
        frames: np.ndarray,
        times: np.ndarray | None = None,
        cameras: Cameras | None = None,
        chunk_length: int = 1,
    ) -> SceneContext:
        """Encode a scene video as one segment.

        Args:
            frames: [N, H, W, 3] uint8 at the model's size.
            times: [N] seconds, ascending; default: at the model's frame rate.
            cameras: the N cameras, where known; the method does not need them.
            chunk_length: consecutive frames that the autoencoder encodes together, 1 + compression * k.

        Returns:
            The encoded scene.

        Raises:
            ValueError: naming all that does not fit.
        """
        return self._extend(None, frames, times, cameras, chunk_length)

    @torch.no_grad()
    def append_context(
        self,
        context: SceneContext,
        frames: np.ndarray,
        times: np.ndarray | None = None,
        cameras: Cameras | None = None,
    ) -> SceneContext:
        """A scene lengthened by one more segment (exactly: nothing encoded before changes).

        Args:
            context: the scene so far; left as it is.
            frames, times, cameras: as for `encode_context`; times go on after the last, cameras are given exactly when the scene
                has them, in the same world.

        Returns:
            A new `SceneContext`.
        """
        if (cameras is None) != (context.cameras is None):
            raise ValueError("a scene's cameras are known for all its segments or for none.")
        return self._extend(context, frames, times, cameras, context.chunk_length)

    def _extend(self, context, frames, times, cameras, chunk_length) -> SceneContext:
        frames = np.asarray(frames)
        rate, config = self.config.frame_rate, self.transformer.config
        start = 0.0 if context is None else context.times[-1] + 1 / rate
        times = start + np.arange(len(frames)) / rate if times is None else np.asarray(times, dtype=np.float64)
        self._check_context(frames, times, cameras, chunk_length, context)
        compression = temporal_compression(self.vae)
        chunks = [slice(i, i + chunk_length) for i in range(0, len(frames), chunk_length)]
        device = self._execution_device
        latents = torch.cat([encode(self.vae, frames_to_tensor(frames[c], device)) for c in chunks], dim=2)
        latents = latents.to(self.transformer.dtype)
        first_time = times[0] if context is None else context.times[0]
        # a latent stands where the last of its frames does: frames 0, c, 2c, ... of its chunk
        seconds = np.concatenate([times[c][::compression] for c in chunks]) - first_time
        positions = torch.from_numpy(seconds * rate / compression).unsqueeze(0)
        scene_rays = None
        if cameras is not None and config.camera_channels is not None:
            origin = cameras[0] if context is None else context.cameras[0]
            relative = cameras.relative_to(origin)
            scene_rays = torch.cat([self._rays(relative[c], latents) for c in chunks], dim=1)
        cache = None
        if config.attention_mode == "causal_context":
            older = None if context is None else context.cache
            cache, _ = self.transformer.encode_context(latents, positions, scene_rays, older)
        tokens = latents.shape[2] * self.transformer.tokens_per_latent(*latents.shape[-2:])
        if context is None:
            return SceneContext(frames, times, cameras, latents, positions, scene_rays, cache, chunk_length, tokens)
        return SceneContext(
            frames=np.concatenate([context.frames, frames]),
            times=np.concatenate([context.times, times]),
            cameras=None if cameras is None else Cameras.concatenate([context.cameras, cameras]),
            latents=torch.cat([context.latents, latents], dim=2),
            positions=torch.cat([context.positions, positions], dim=1),
            scene_rays=None if scene_rays is None else torch.cat([context.scene_rays, scene_rays], dim=1),
            cache=cache,
            chunk_length=chunk_length,
            context_tokens_computed=tokens,
        )

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
    ) -> NavigationOutput:
        """Generate the video seen along `cameras`.

        Args:
            context: the encoded scene; None generates from the anchor frame alone.
            cameras: T target cameras; only their motion relative to the first matters. Frame 0 is the anchor's viewpoint.
            anchor: index of the context frame the path starts from, counted from either end.
            num_inference_steps: denoising steps; default what suits the model (its configuration).
            guidance_scale: joint guidance over context and instruction; 1 is off.
            generator: source of the noise; the same seed gives the same video.
            anchor_frame: [H, W, 3] uint8, needed (and allowed) only without context.
            latents: [1, C, F, h, w] initial noise instead of drawing it (F counts the frames after the anchor).
            callback_on_step_end: called as (pipeline, step, timestep, {"latents": ...}); may return replacements.

        Returns:
            `NavigationOutput`.

        Raises:
            ValueError: naming what does not fit.
        """
        guider = JointGuidance.absent(guidance_scale)
        if num_inference_steps is None:
            num_inference_steps = self.config.num_inference_steps
        self._check_call(context, cameras, anchor_frame, num_inference_steps, guider)
        compression, device = temporal_compression(self.vae), self._execution_device
        num_frames = len(cameras)
        padding = -(num_frames - 1) % compression
        padded = Cameras.concatenate([cameras] + [cameras[-1]] * padding) if padding else cameras
        relative = padded.relative_to(0)

        if context is None:
            anchor_latent = encode(self.vae, frames_to_tensor(anchor_frame[None], device)).to(self.transformer.dtype)
            start, scene_rays = 0.0, None
        else:
            anchor = context.resolve_anchor(anchor)
            anchor_latent = self._anchor_latent(context, anchor)
            start = float(context.positions.max()) + TARGET_GAP_SECONDS * self.config.frame_rate / compression
            scene_rays = None
            if context.scene_rays is not None:
                anchor_pose = context.cameras.relative_to(context.cameras[0])[anchor].camera_to_world[0]
                scene_rays = self._rays(relative.transformed(anchor_pose), anchor_latent)
        rays = self._rays(relative, anchor_latent)
        count = latent_frames(len(padded), compression)
        positions = (start + torch.arange(count, dtype=torch.float64)).unsqueeze(0)

        shape = (1, anchor_latent.shape[1], count - 1, *anchor_latent.shape[-2:])
        if latents is None:
            latents = randn_tensor(shape, generator=generator, device=device, dtype=anchor_latent.dtype)
        elif tuple(latents.shape) != shape:
            raise ValueError(f"latents of shape {tuple(latents.shape)}: expected {shape} for {num_frames} cameras.")
        inputs = {"positions": positions, "rays": rays, "scene_rays": scene_rays, **self._context_inputs(context)}
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        for step, timestep in enumerate(self.progress_bar(self.scheduler.timesteps)):
            guider.set_state(step, num_inference_steps, timestep)
            conditional = self._flow(latents, timestep, anchor_latent, **inputs)
            unconditional = None
            if guider.num_conditions == 2:
                unconditional = self._flow(latents, timestep, None, positions=positions[:, 1:])
            flow = guider.forward(conditional, unconditional).pred
            latents = self.scheduler.step(flow, timestep, latents, return_dict=False)[0]
            if callback_on_step_end is not None:
                latents = (callback_on_step_end(self, step, timestep, {"latents": latents}) or {}).get("latents", latents)

        latents = torch.cat([anchor_latent, latents], dim=2)
        frames = tensor_to_frames(decode(self.vae, latents))[:num_frames]
        return NavigationOutput(frames=frames, latents=latents, cameras=cameras.relative_to(0))

    def _context_inputs(self, context: SceneContext | None) -> dict:
        if context is None:
            return {}
        if context.cache is not None:
            return {"context": context.cache}
        return {
            "context_latents": context.latents,
            "context_positions": context.positions,
            "context_scene_rays": context.scene_rays,
        }

    def _flow(self, latents, timestep, anchor_latent, **inputs) -> torch.Tensor:
        """The flow of the noisy targets [1, C, F, h, w]; the anchor, where given, stands clean before them."""
        timesteps = timestep.expand(1, latents.shape[2])
        model_input = latents
        if anchor_latent is not None:
            model_input = torch.cat([anchor_latent, latents], dim=2)
            timesteps = torch.cat([timesteps.new_zeros(1, 1), timesteps], dim=1)
        prediction = self.transformer(model_input, timesteps, return_dict=False, **inputs)[0]
        prediction = prediction[:, :, -latents.shape[2] :]
        sigma = timestep / self.scheduler.config.num_train_timesteps
        return to_flow(prediction, latents, sigma, self.transformer.config.prediction_type)

    def _anchor_latent(self, context: SceneContext, anchor: int) -> torch.Tensor:
        """Clean encoding of one context frame by itself."""
        if temporal_compression(self.vae) == 1:
            return context.latents[:, :, anchor : anchor + 1]
        frame = frames_to_tensor(context.frames[anchor : anchor + 1], self._execution_device)
        return encode(self.vae, frame).to(context.latents.dtype)

    def _rays(self, cameras: Cameras, latents: torch.Tensor) -> torch.Tensor | None:
        """Plücker rays of T cameras on the grid of `latents`, packed per latent: [1, F, channels, h, w]."""
        if self.transformer.config.camera_channels is None:
            return None
        rays = plucker_rays(cameras, *latents.shape[-2:], order=self.transformer.config.camera_order, device=latents.device)
        return poses_to_latent(rays, temporal_compression(self.vae)).unsqueeze(0).to(latents.dtype)

    def _check_context(self, frames, times, cameras, chunk_length, context):
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
        grid = spatial_compression(self.vae) * self.transformer.config.patch_size[1]
        if size[0] % grid or size[1] % grid:
            problems.append(f"model size {size[0]}x{size[1]}: expected multiples of {grid}")
        if problems:
            raise ValueError("the context does not fit:\n  " + "\n  ".join(problems))

    def _check_call(self, context, cameras, anchor_frame, num_inference_steps, guider):
        problems = []
        if cameras.camera_to_world.ndim != 3 or len(cameras) < 2:
            problems.append(f"{cameras!r}: expected one path of at least 2 cameras, the first at the anchor")
        if (context is None) != (anchor_frame is not None):
            problems.append("give a context, or an anchor_frame to go without one, and not both")
        if num_inference_steps < 1:
            problems.append(f"num_inference_steps {num_inference_steps}: expected at least 1")
        try:
            guider.check(tuple(self.transformer.config.null_context))
        except ValueError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("the call does not fit:\n  " + "\n  ".join(problems))

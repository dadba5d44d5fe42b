"""From a clip to a video, the one way: the encoded scene, then one pass or several. And a scene explored move by move.

    generated = generate(pipeline, clip, GenerationSettings(plan="stride", plan_budget=16))

Where one scene serves several paths, `encode_scene` is called once and its result given to each `generate`. Messages name arguments
in backquotes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from video4spatial.cameras import Cameras, parse_trajectory
from video4spatial.cameras.intrinsics import default_intrinsics
from video4spatial.clips import Clip, Ground, Navigate, Region
from video4spatial.conditioning.plans import ContextMaterial, ContextPlan, plan_context
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.grounding.detectors import Detector
from video4spatial.grounding.finding import Answer, find
from video4spatial.models import CacheStorage
from video4spatial.models.autoencoder import temporal_compression
from video4spatial.pipelines.pipeline import Video4SpatialPipeline, VideoOutput
from video4spatial.pipelines.scene_context import SceneContext
from video4spatial.pipelines.scene_geometry import anchor_alone, estimate_geometry, geometry_of_more
from video4spatial.pipelines.settings import GenerationSettings, check_settings, shows_geometry
from video4spatial.waits import Told, not_told


@dataclass(frozen=True)
class Generated:
    """A clip carried out.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor as the autoencoder keeps it.
        context_frames: how many frames of the context the model was shown; 0 outside any scene.
        context_cameras: whether it was told their cameras.
        num_inference_steps: denoising steps of each pass.
        chunks: passes it took.
        chunk_frames: frames of each pass but the last; 0 for a single one.
        approximations: in words, why the memory was not exact; empty if it was.
    """

    frames: np.ndarray
    context_frames: int
    context_cameras: bool
    num_inference_steps: int
    chunks: int
    chunk_frames: int
    approximations: tuple[str, ...]


def plan_scene(clip: Clip, settings: GenerationSettings, most: int | None = None) -> ContextPlan:
    """What of a clip's context the model is shown, and how finely.

    Args:
        clip: with context frames, times and anchor.
        settings: with the plan.
        most: frames that are shown where the settings name no plan, evenly spread; None shows all.

    Raises:
        ValueError: where the plan does not fit the clip.
    """
    material = ContextMaterial(clip.context_frames, clip.context_times, _told_cameras(clip, settings), clip.anchor)
    if settings.plan is None and most is not None and len(clip.context_frames) > most:
        return plan_context("stride", material, most)
    return plan_context(settings.plan or "all", material, settings.plan_budget, **settings.plan_options)


def encode_scene(
    pipeline: Video4SpatialPipeline,
    clip: Clip,
    settings: GenerationSettings = GenerationSettings(),
    plan: ContextPlan | None = None,
    geometry: SceneGeometry | None = None,
) -> SceneContext:
    """Encode a clip's context, for any number of calls of `generate` with clips of the same context.

    Args:
        pipeline: the model.
        clip: whose context is encoded.
        settings: what is shown and told of it, and how it is kept.
        plan: of `plan_scene`, where it is at hand.
        geometry: of the clip's context frames, where it is at hand; else what `settings.geometry` says.

    Raises:
        ValueError: where clip, settings and model do not fit together.
    """
    check_settings(settings, pipeline.transformer.config)
    shown = shows_geometry(settings, pipeline.transformer.config)
    if geometry is None and shown:
        geometry = scene_geometry(clip, settings, pipeline._execution_device)
    if plan is None:
        plan = plan_scene(clip, settings, pipeline.config.context_frames if shown else None)
    return pipeline.encode_context(
        clip.context_frames, clip.context_times, _told_cameras(clip, settings), plan=plan, storage=settings.cache, geometry=geometry
    )


def scene_geometry(
    clip: Clip, settings: GenerationSettings, device: torch.device | str = "cpu", tell: Told = not_told
) -> SceneGeometry:
    """The geometry of a clip's context that settings ask for.

    Args:
        clip: its context and its lens are all that is used, never its path.
        settings: with the choice.
        device: where networks compute.
        tell: is told of each step.

    Raises:
        ValueError: for a folder that does not hold the geometry of these frames.
    """
    cameras = _told_cameras(clip, settings)
    if settings.geometry in (None, "auto"):
        frames = clip.context_frames if clip.context_detailed is None else clip.context_detailed
        height, width = frames.shape[1:3]
        lenses = [path.intrinsics[0] for path in (clip.target_cameras, clip.context_cameras) if path is not None]
        lens = lenses[0] if lenses else default_intrinsics(width / height)
        geometry = estimate_geometry(frames, cameras, lens, clip.anchor, device, tell=tell)
        if geometry.placed[clip.anchor]:
            return geometry
        alone = "the anchor could not be placed beside the other frames"  # no path can start from a geometry without it
        return anchor_alone(frames, lens, clip.anchor, tuple(reason or alone for reason in geometry.reasons), device)
    geometry = SceneGeometry.load(settings.geometry)
    if len(geometry) != len(clip.context_frames):
        raise ValueError(
            f"`geometry` {settings.geometry} holds {len(geometry)} frames, and the context has {len(clip.context_frames)}: give the "
            "geometry of the same frames (`context_frames`), or leave it out."
        )
    return geometry


def load_scene(
    pipeline: Video4SpatialPipeline, scene_cache: str, clip: Clip, settings: GenerationSettings, plan: ContextPlan | None = None
) -> SceneContext:
    """Read what `encode_scene` gives from a file that `pipeline.save_context` wrote.

    Args:
        pipeline: the model.
        scene_cache: the file.
        clip, settings, plan: as for `encode_scene`.

    Raises:
        ValueError: for a file of another model, or one that holds another scene than the clip's.
        FileNotFoundError: if there is none.
    """
    check_settings(settings, pipeline.transformer.config)
    context = pipeline.load_context(scene_cache)
    shown = shows_geometry(settings, pipeline.transformer.config)
    if plan is None:
        plan = plan_scene(clip, settings, pipeline.config.context_frames if shown else None)
    differs = _differences(context, clip, _told_cameras(clip, settings), plan, shown)
    if differs:
        raise ValueError(
            f"`scene_cache` {scene_cache} holds {' and '.join(differs)}: give the `context` and options it was written with, or "
            "leave `scene_cache` out."
        )
    # Keys and values are still in the file; a device brings them in.
    return context.stored(CacheStorage(settings.cache.dtype, settings.cache.device or pipeline._execution_device))


def check_room(pipeline: Video4SpatialPipeline, clip: Clip, settings: GenerationSettings, context: SceneContext) -> None:
    """Refuse a scene that leaves no room for a chunk under `max_context_tokens`.

    Args:
        pipeline: the model.
        clip: whose path is followed.
        settings: with the bound, if there is one.
        context: the encoded scene.

    Raises:
        ValueError: saying how many tokens it takes.
    """
    if settings.max_context_tokens is None:
        return
    passes, added = _passes(pipeline, clip, settings), 0
    if len(passes) > 1:
        again = temporal_compression(pipeline.vae) > 1  # such an autoencoder takes a chunk's first frame along
        added = (passes[0].stop - 1 + again) * pipeline.transformer.tokens_per_latent(*context.latents.shape[-2:])
    held = context.cache.num_tokens
    if held + added > settings.max_context_tokens:
        raise ValueError(
            f"`max_context_tokens` {settings.max_context_tokens}: the scene holds {held} tokens"
            + (f" and a chunk adds {added}" if added else "")
            + "; allow more, or show the model less of the scene (`plan`, `context_frames`) or shorter chunks (`chunk_frames`)"
        )


def generate(
    pipeline: Video4SpatialPipeline,
    clip: Clip,
    settings: GenerationSettings = GenerationSettings(),
    context: SceneContext | None = None,
    *,
    on_step: Callable[[], None] | None = None,
    on_chunk: Callable[[], None] | None = None,
) -> Generated:
    """Carry out a clip's instruction: one pass, or chunk by chunk where its path is long.

    Args:
        pipeline: the model.
        clip: its context, anchor and instruction are all that is used.
        settings: how.
        context: the clip's context from `encode_scene`, where it is at hand.
        on_step: called after each denoising step, where one pass makes the video.
        on_chunk: called after each pass, where there are several.

    Raises:
        ValueError: where clip, settings and model do not fit together.
    """
    check_settings(settings, pipeline.transformer.config)
    if settings.show_context:
        context = encode_scene(pipeline, clip, settings) if context is None else context
        check_room(pipeline, clip, settings, context)
    elif context is not None:
        raise ValueError("a scene is given, but `show_context` is off: leave one of them out.")
    passes = _passes(pipeline, clip, settings)
    if len(passes) > 1:
        session = SceneSession(pipeline, context, clip.anchor, settings, clip.instruction.prompt)
        for piece in passes:
            session.move(clip.instruction.cameras[piece])
            if on_chunk is not None:
                on_chunk()
        frames, seen = session.frames, session.context
    else:
        frames, seen = _one_pass(pipeline, clip, settings, context, on_step), context
    return Generated(
        frames,
        0 if context is None else len(context.shown),
        context is not None and context.cameras is not None,
        settings.num_inference_steps or pipeline.config.num_inference_steps,
        len(passes),
        passes[0].stop if len(passes) > 1 else 0,
        () if seen is None else seen.approximations,
    )


def _one_pass(pipeline, clip, settings, context, on_step) -> np.ndarray:
    return pipeline(
        context,
        clip.instruction,
        anchor=clip.anchor,
        num_inference_steps=settings.num_inference_steps,
        guidance=settings.guidance,
        generator=torch.Generator().manual_seed(settings.seed),
        anchor_frame=clip.context_frames[clip.anchor] if context is None else None,
        callback_on_step_end=None if on_step is None else lambda *_: on_step(),
    ).frames


def _passes(pipeline: Video4SpatialPipeline, clip: Clip, settings: GenerationSettings) -> tuple[slice, ...]:
    """Of the clip's path; whatever else it asks for takes one."""
    if not isinstance(clip.instruction, Navigate):
        return (slice(0, pipeline.config.target_frames),)
    return settings.passes(len(clip.instruction.cameras), pipeline.config.target_frames)


def _told_cameras(clip: Clip, settings: GenerationSettings) -> Cameras | None:
    return clip.context_cameras if settings.context_cameras else None


def _differences(context: SceneContext, clip: Clip, cameras: Cameras | None, plan: ContextPlan, shown: bool) -> list[str]:
    """In words, what a scene holds other than a clip's context, and geometry other than is shown."""
    differs = []
    if (context.geometry is not None) != shown:
        differs.append("the scene with" + ("out" if shown else "") + " its geometry")
    if not np.array_equal(context.frames, clip.context_frames):
        differs.append(f"{len(context)} frames, other than the {len(clip.context_frames)} of the context")
    elif not np.allclose(context.times, clip.context_times):
        differs.append("the same frames at other times")
    read = context.geometry is not None and cameras is None  # its cameras were found in the frames
    if not read and (context.cameras is None) != (cameras is None):
        differs.append("frames with" + ("out" if context.cameras is None else "") + " known cameras")
    elif cameras is not None and not differs:
        apart = (context.cameras.camera_to_world - cameras.camera_to_world).abs().max()
        if apart > 1e-6:
            differs.append("the same frames with other cameras")
    if not differs and (context.parts, context.coarse_share) != (plan.parts, plan.coarse_share):
        differs.append("frames chosen by another `plan`")
    return differs


@dataclass(frozen=True)
class Found:
    """An object that a session found and went to.

    Args:
        video: the way to it.
        answer: where it is, and how sure that is.
    """

    video: VideoOutput
    answer: Answer


class SceneSession:
    """A camera that wanders through a scene on command.

    Several sessions may share one pipeline and one encoded scene, each in a thread of its own; a session carries out one move at
    a time.

    Args:
        pipeline: the model.
        context: the encoded scene; it stays as it is.
        anchor: frame of the context to start from, counted from either end.
        settings: how to generate and remember; how the scene was encoded is settled by `context`.
        prompt: what the videos show, in words, for models that read text; "" says nothing.

    Raises:
        ValueError: for an anchor outside the context.
    """

    def __init__(
        self,
        pipeline: Video4SpatialPipeline,
        context: SceneContext,
        anchor: int = -1,
        settings: GenerationSettings = GenerationSettings(),
        prompt: str = "",
    ):
        if not settings.show_context:
            raise ValueError("`show_context` is off: a session is about a scene; leave it on.")
        self.pipeline, self.settings, self.prompt = pipeline, settings, prompt
        self._context = context
        self._footage = len(context.parts)
        self._anchor = context.resolve_anchor(anchor)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._lock = threading.Lock()
        self._frames: list[np.ndarray] = []
        self._cameras: list[Cameras] = []

    @property
    def context(self) -> SceneContext:
        """The memory: the footage and what was generated since."""
        return self._context

    @property
    def frames(self) -> np.ndarray:
        """[T, H, W, 3] uint8: all that was seen so far, the starting frame first; empty before the first move."""
        return np.concatenate(self._frames) if self._frames else self._context.frames[:0]

    @property
    def cameras(self) -> Cameras | None:
        """Cameras of `frames`, relative to the starting frame; None before the first move."""
        return Cameras.concatenate(self._cameras) if self._cameras else None

    def move(self, path: str | Cameras, frames: int | None = None) -> VideoOutput:
        """Follow a path from where the camera stands.

        Args:
            path: words (`forward 1.0, left 30deg`; docs/conventions.md), or cameras of which only the motion relative to the first
                matters.
            frames: for words: how many, the one it starts from included; default one chunk.

        Returns:
            The video of this move; its frame 0 is the frame it started from.

        Raises:
            ValueError: for words that are not understood, a path without a second camera, or what the pipeline refuses.
        """
        if isinstance(path, str):
            usual = self.settings.chunk_frames or self.pipeline.config.target_frames
            path = parse_trajectory(path, usual if frames is None else frames)
        elif frames is not None and frames != len(path):
            raise ValueError(f"frames={frames} for a path of {len(path)} cameras: leave it out, or give words.")
        with self._lock:
            before = self._context, self._anchor
            try:
                pieces = self.settings.passes(len(path), self.pipeline.config.target_frames)
                chunks = [self._chunk(path[piece]) for piece in pieces]
            except BaseException:  # a move happens whole or not at all
                self._context, self._anchor = before
                raise
            # Every chunk begins with the last frame of the one before.
            video = np.concatenate([chunk.frames[min(index, 1) :] for index, chunk in enumerate(chunks)])
            latents = torch.cat([chunk.latents[:, :, min(index, 1) :] for index, chunk in enumerate(chunks)], dim=2)
            relative = path.relative_to(0)
            seen = relative.placed_at(self._cameras[-1][-1]) if self._cameras else relative
            known = min(len(self._frames), 1)
            self._frames.append(video[known:])
            self._cameras.append(seen[known:])
        rendering = chunks[0].rendering if len(chunks) == 1 else None
        return VideoOutput(frames=video, latents=latents, cameras=relative, rendering=rendering)

    def find(
        self, target: str | Region | Ground, frames: int | None = None, detector: Detector | None = None, samples: int = 1
    ) -> Found:
        """Find an object in the scene, plan a way to it from where the camera stands, and follow that.

        Args:
            target: the object in words, by a region on a frame of `context`, or both.
            frames: of the way; default as many as keep the camera slow, at least one chunk.
            detector: what finds words in frames (`Detector.from_folder`); not needed for a region.
            samples: draws of a region whose agreement scales the confidence.

        Returns:
            The video and the answer.

        Raises:
            ValueError: for a scene without geometry, or words without a detector and a region.
            NotFound: a ValueError, where the scene does not show the object; the camera stays where it is.
        """
        if isinstance(target, str | Region):
            target = Ground(target) if isinstance(target, str) else Ground(region=target)
        context, anchor = self._context, self._anchor
        if context.geometry is None:
            raise ValueError("the scene was encoded without geometry, in which objects are found: give `encode_context` its `geometry`.")
        usual = self.settings.chunk_frames or self.pipeline.config.target_frames
        answer = find(
            context.geometry, target, anchor, detector=detector, num_frames=frames, least_frames=usual,
            frame_rate=self.pipeline.config.frame_rate, samples=samples, seed=self.settings.seed,
        )  # fmt: skip
        return Found(self.move(answer.way.path), answer)

    def _chunk(self, path: Cameras) -> VideoOutput:
        """Generate one chunk and let it join the memory."""
        settings, context, count = self.settings, self._context, len(path)
        apart = temporal_compression(self.pipeline.vae) == 1
        if not apart:  # the memory takes whole chunks: the camera waits at its end until there is one
            path = Cameras.concatenate([path, *[path[-1]] * (context.chunk_length - count)])
        output = self.pipeline(
            context, Navigate(path, self.prompt), anchor=self._anchor, num_inference_steps=settings.num_inference_steps,
            guidance=settings.guidance, generator=self._generator,
        )  # fmt: skip
        frames, latents = output.frames[1:], output.latents[:, :, 1:]
        if not apart:  # latents of a chunk lean on its first frame: frames are encoded anew
            frames, latents = output.frames[len(path) % context.chunk_length :], None
        cameras = None
        if context.cameras is not None:
            cameras = path.relative_to(0).placed_at(context.cameras[self._anchor])[-len(frames) :]
        geometry = None
        if context.geometry is not None and context.geometry.placed[self._anchor]:
            seen = context.geometry.along(path, self._anchor)[-len(frames) :]
            geometry = geometry_of_more(context.geometry, frames, seen, self.pipeline._execution_device)
        self._context = self.pipeline.append_context(
            context, frames, cameras=cameras, latents=latents, max_tokens=settings.max_context_tokens, keep=self._footage,
            geometry=geometry,
        )  # fmt: skip
        self._anchor = len(self._context) - 1
        return replace(output, frames=output.frames[:count], cameras=output.cameras[:count])

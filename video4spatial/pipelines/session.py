"""Exploring a scene step by step: each move starts where the last one ended, and what was generated joins the memory."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import torch

from video4spatial.cameras import Cameras, parse_trajectory
from video4spatial.clips.instruction import Navigate
from video4spatial.models.autoencoder import temporal_compression
from video4spatial.pipelines.pipeline import VideoOutput, Video4SpatialPipeline
from video4spatial.pipelines.scene_context import SceneContext
from video4spatial.pipelines.settings import GenerationSettings


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
            path = parse_trajectory(path, frames or self.settings.chunk_frames or self.pipeline.config.target_frames)
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
        return VideoOutput(frames=video, latents=latents, cameras=relative)

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
        self._context = self.pipeline.append_context(
            context, frames, cameras=cameras, latents=latents, max_tokens=settings.max_context_tokens, keep=self._footage
        )
        self._anchor = len(self._context) - 1
        return replace(output, frames=output.frames[:count], cameras=output.cameras[:count])

"""Batches, each a function of seed, step, rank and progress alone, so that a resumed run sees the same ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.clips import Instruction, Navigate
from video4spatial.conditioning.geometry_prompt import geometry_prompt
from video4spatial.conditioning.plans import ContextPart, ContextPlan, coarse_to_fine, far_pooled, in_full
from video4spatial.models.conditions.geometry import GeometryPrompt
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import Example, ExampleSource
from video4spatial.training.variation import happens

MOST_GAP = 12
"""Targets start 1 to so many latents after the last context frame on the scene clock."""

RANK_STRIDE = 7_777_777_777
"""Between the seeds of the ranks of a distributed run."""


@dataclass(frozen=True)
class Batch:
    """B examples with F target latents each (the first is the clean anchor's), and S scenes with n context frames each.

    B / S examples in a row share a scene, so that a long context is encoded once for all of them. Cameras stay on the CPU.

    Args:
        context_latents: [S, C, n, h, w]; frames that are pooled while others are not come first, else they go by time.
        context_seconds: [S, n] float64 since the earliest of them.
        context_cameras: [S, n] cameras relative to the earliest.
        context_depth: [S, n, h, w] along the optical axis in the unit of the cameras, 0 where unknown.
        parts: how the context is encoded, oldest first, by context frames. A frame may stand in two: pooled, and in full.
        latents: [B, C, F, h, w] of the targets.
        seconds: [B, T] float64 of the targets' frames since the anchor's, T = 1 + (F - 1) * compression.
        start: [B] float64: where the anchors stand on the scene clock.
        cameras: [B, T] of the targets, in the world of the scene.
        anchor_poses: [B, 4, 4] camera_to_world of the anchors relative to the earliest context camera.
        instructions: B of them.
        frame_rate: of the targets in frames per second.
        temporal_compression: frames per latent after the first.
        context_cameras_known: whether the model is told the context's cameras.
        drop_conditions: whether instruction, anchor and context are all left out.
        drop_instruction: whether the instruction alone is left out.
        geometry: what the targets would see of the scenes' geometry; None where the model has to do without.
        generator: for whatever else the step draws.
    """

    context_latents: torch.Tensor
    context_seconds: torch.Tensor
    context_cameras: Cameras
    context_depth: torch.Tensor
    parts: tuple[ContextPart, ...]
    latents: torch.Tensor
    seconds: torch.Tensor
    start: torch.Tensor
    cameras: Cameras
    anchor_poses: torch.Tensor
    instructions: tuple[Instruction, ...]
    frame_rate: float
    temporal_compression: int
    context_cameras_known: bool
    drop_conditions: bool
    drop_instruction: bool
    generator: torch.Generator
    geometry: GeometryPrompt | None = None

    def to(self, device: torch.device | str, **options) -> Batch:
        """The batch with its latents and depth on a device."""
        moved = {name: getattr(self, name).to(device, **options) for name in ("context_latents", "context_depth", "latents")}
        return replace(self, **moved, geometry=None if self.geometry is None else self.geometry.to(device, **options))

    @property
    def targets_per_context(self) -> int:
        """Examples that share a context."""
        return len(self.latents) // len(self.context_latents)

    @property
    def in_full(self) -> list[int]:
        """The context frames that are not pooled, in the order in which they are encoded."""
        return [frame for part in self.parts if part.pool == 1 for frame in part.chunks]

    def num_tokens(self, tokens_per_latent: int) -> int:
        """Tokens that go through the transformer; a null context is counted as absent.

        Args:
            tokens_per_latent: of a latent in full.
        """
        examples, targets = self.latents.shape[0], self.latents.shape[2]
        if self.drop_conditions:
            return examples * (targets - 1) * tokens_per_latent
        context = sum(ContextPlan(self.parts).tokens(tokens_per_latent))
        return examples * targets * tokens_per_latent + len(self.context_latents) * context


def step_generator(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """The source of all that a step draws on one rank."""
    return torch.Generator().manual_seed(abs(seed * 1_000_003 + step + RANK_STRIDE * rank))


def draw_batch(
    source: ExampleSource, batch_size: int, curriculum: Curriculum, progress: float, seed: int, step: int, rank: int = 0
) -> Batch:
    """The batch of a step.

    Args:
        source: where the examples come from.
        batch_size: examples.
        curriculum: what they look like over time.
        progress: of the training, from 0 to 1.
        seed, step, rank: all randomness comes from these.

    Raises:
        ValueError: for a batch size that the source cannot draw.
    """
    generator = step_generator(seed, step, rank)
    groups = source.draw(batch_size, curriculum, progress, generator)
    examples = [example for group in groups for example in group]
    low, high = curriculum.context_frames_at(progress)
    if len(groups[0]) < curriculum.targets_per_context:  # each has a context of its own
        high = max(low, high // curriculum.targets_per_context)
    kept = _kept_latents(examples, curriculum.target_latents, source.temporal_compression, generator)
    frames = _frames_of(kept, source.temporal_compression)
    choices = _Choices.of(groups, frames, curriculum, generator)
    count = max(int(torch.randint(low, high + 1, (), generator=generator)), len(groups[0]))
    layout = _Layout.drawn(curriculum, high, generator)
    full, count = min(count, choices.available), min(count + layout.more_frames, choices.available)
    chosen = choices.nearest(count, count if layout.kind == "in_full" else full)
    gap = 1 + torch.randint(0, MOST_GAP, (batch_size,), generator=generator)
    plan = layout.plan(count, full, generator)
    known = happens(curriculum.known_cameras_at(progress), generator)
    dropped = happens(curriculum.drop_probability, generator)
    alone = curriculum.drop_instruction_probability > 0 and happens(curriculum.drop_instruction_probability, generator)
    prompt = None
    if curriculum.geometry_probability > 0 and not dropped and happens(curriculum.geometry_probability, generator):
        if all(example.geometry is not None for example in examples):
            renderings = [example.geometry(frames, generator) for example in examples]
            prompt = geometry_prompt(source.autoencoder, renderings, renderings[0].sources.shape[1]).to("cpu")
    return _assembled(
        source, groups, chosen, kept, frames, gap, plan.parts,
        context_cameras_known=known, drop_conditions=dropped, drop_instruction=alone and not dropped, generator=generator,
        geometry=prompt,
    )  # fmt: skip


def _kept_latents(examples: list[Example], most: int, compression: int, generator: torch.Generator) -> torch.Tensor:
    """Which latents of all targets an example holds: the anchor's, and at most `most` others in their order."""
    steps = min(len(example.cameras) - 1 for example in examples) // compression
    kept = torch.randperm(steps, generator=generator)[:most].sort().values + 1
    return torch.cat([torch.zeros(1, dtype=torch.long), kept])


def _frames_of(latents: torch.Tensor, compression: int) -> torch.Tensor:
    """The frames of a target that latents stand for: one of the first, `compression` of each other."""
    later = (latents[1:, None] - 1) * compression + 1 + torch.arange(compression)
    return torch.cat([torch.zeros(1, dtype=torch.long), later.flatten()])


class _Choices(NamedTuple):
    """What the contexts of S groups may be chosen from.

    Args:
        priority: [S, N] the smallest are chosen; infinite for frames that must not be.
        distance: [S, N] to the nearest camera of the group's targets; -1 for anchors.
        available: frames that every group may choose.
    """

    priority: torch.Tensor
    distance: torch.Tensor
    available: int

    @classmethod
    def of(
        cls, groups: list[list[Example]], frames: torch.Tensor, curriculum: Curriculum, generator: torch.Generator
    ) -> _Choices:
        """Choices of contexts for groups whose targets are seen in these of their frames."""
        most = max(len(group[0].scene.cameras) for group in groups)
        priority = torch.rand(len(groups), most, generator=generator)
        distance = torch.full((len(groups), most), torch.inf)
        for row, group in enumerate(groups):
            scene, path = group[0].scene.cameras, Cameras.concatenate([example.cameras[frames] for example in group])
            distance[row, : len(scene)] = viewpoint_distance(scene, path).amin(1).float()
        if happens(curriculum.nearby_probability, generator):
            priority = priority * 0.5 + distance
        for row, group in enumerate(groups):
            priority[row, len(group[0].scene.cameras) :] = torch.inf
            for example in group:
                if example.guarded is not None:
                    priority[row, : len(example.guarded)][example.guarded] = torch.inf
            anchors = [example.anchor for example in group]
            priority[row, anchors] = distance[row, anchors] = -1.0
        return cls(priority, distance, int((priority < torch.inf).sum(1).min()))

    def nearest(self, count: int, full: int) -> torch.Tensor:
        """[S, count] frames: those of the smallest priority, ascending, but the farthest ones before the nearest `full`."""
        chosen = self.priority.argsort(dim=1)[:, :count].sort(dim=1).values
        if full == count:
            return chosen
        by_distance = chosen.gather(1, self.distance.gather(1, chosen).argsort(1))
        return torch.cat([by_distance[:, full:].sort(1).values, by_distance[:, :full].sort(1).values], dim=1)


class _Layout(NamedTuple):
    """How the contexts of a step are divided into segments; `more_frames` may be drawn than what is in full."""

    kind: Literal["in_full", "far_pooled", "coarse", "coarse_to_fine"] = "in_full"
    pool: int = 1
    more_frames: int = 0

    @classmethod
    def drawn(cls, curriculum: Curriculum, most_in_full: int, generator: torch.Generator) -> _Layout:
        """The layout of a step; where no step has pooled parts, nothing is drawn."""
        if curriculum.pooled_probability == 0 or not happens(curriculum.pooled_probability, generator):
            return cls()

        def one_of(choices):
            return choices[int(torch.randint(len(choices), (), generator=generator))]

        kind, pool = one_of(("far_pooled", "coarse", "coarse_to_fine")), one_of(curriculum.pools)
        # Plans that show all frames coarsely are used on short videos as well, where all of them are in full afterwards.
        more = kind == "far_pooled" or happens(0.5, generator)
        return cls(kind, pool, 1 + one_of(range(3 * most_in_full)) if more else 0)

    def plan(self, count: int, full: int, generator: torch.Generator) -> ContextPlan:
        """The plan of `count` frames, of which the last `full` are near; one to three segments where all are in full."""
        every, near = range(count), range(count - full, count)
        if self.kind == "coarse":
            return ContextPlan((ContextPart(tuple(every), self.pool),))
        if self.kind == "coarse_to_fine":
            return coarse_to_fine(every, near, self.pool)
        if self.kind == "far_pooled":
            return far_pooled(range(count - full), near, self.pool)
        splits = int(torch.randint(0, 3, (), generator=generator)) if count > 1 else 0
        cuts = sorted(set(torch.randint(1, count, (splits,), generator=generator).tolist())) if splits else []
        segments = [in_full(range(start, stop)).parts for start, stop in zip([0, *cuts], [*cuts, count])]
        return ContextPlan(tuple(part for parts in segments for part in parts))


def _assembled(
    source: ExampleSource,
    groups: list[list[Example]],
    chosen: torch.Tensor,
    kept: torch.Tensor,
    frames: torch.Tensor,
    gap: torch.Tensor,
    parts: tuple[ContextPart, ...],
    **drawn,
) -> Batch:
    """The batch of what was chosen.

    Args:
        source, groups: of the examples.
        chosen: [S, n] context frames.
        kept, frames: the latents and frames of the targets that are held.
        gap: [B] latents from the last context frame to the anchor on the scene clock.
        parts: of the contexts.
        drawn: the batch's other fields.
    """
    scenes, examples = [group[0].scene for group in groups], [example for group in groups for example in group]
    seconds = torch.stack([scene.seconds[index] for scene, index in zip(scenes, chosen)])
    first = seconds.argmin(dim=1).tolist()
    cameras, origins, poses = [], [], []
    for scene, index, earliest, group in zip(scenes, chosen, first, groups):
        context = scene.cameras[index]
        origins.append(context[earliest])
        cameras.append(context.relative_to(origins[-1]))
        poses += [scene.cameras[example.anchor].relative_to(origins[-1]).camera_to_world[0] for example in group]
    seconds = seconds - seconds.amin(1, keepdim=True)
    last = seconds.amax(1).repeat_interleave(len(groups[0])) * source.frame_rate / source.temporal_compression
    paths = [example.cameras[frames] for example in examples]
    return Batch(
        context_latents=torch.stack([scene.latents(index) for scene, index in zip(scenes, chosen)]).float().transpose(1, 2),
        context_seconds=seconds,
        context_cameras=Cameras.stacked(cameras),
        context_depth=torch.stack([scene.depth(index) for scene, index in zip(scenes, chosen)]).float(),
        parts=parts,
        latents=torch.stack([example.latents(kept) for example in examples]).float().transpose(1, 2),
        seconds=torch.stack([example.seconds[frames] for example in examples]),
        start=last + gap,
        cameras=Cameras.stacked(paths),
        anchor_poses=torch.stack(poses),
        instructions=tuple(
            replace(example.instruction, cameras=path) if isinstance(example.instruction, Navigate) else example.instruction
            for example, path in zip(examples, paths)
        ),
        frame_rate=source.frame_rate,
        temporal_compression=source.temporal_compression,
        **drawn,
    )

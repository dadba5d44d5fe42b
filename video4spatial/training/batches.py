"""Training batches drawn from a bank, each a function of its step alone, so that a resumed run sees the same ones."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, NamedTuple

import torch

from video4spatial.cameras import Cameras, plucker_rays
from video4spatial.training.bank import SceneBank


class Segment(NamedTuple):
    """Context latents that are encoded together; they see the segments before them (a `ContextPart` of a batch).

    Args:
        latents: which of a batch's context latents, the same of all its scenes.
        pool: they are averaged over squares of this side.
    """

    latents: tuple[int, ...]
    pool: int = 1


@dataclass  # not frozen: Lightning moves the tensors of a batch to the device one by one
class NavigationBatch:
    """B examples with T target latents each (target 0 is the clean anchor), and S scenes with n context latents each. B / S examples
    in a row share a scene, so that a long context is encoded once for all of them. The first context camera is the earliest.

    Args:
        context_latents: [S, C, n, h, w], those that are pooled while others are not first, else by time.
        context_positions: [S, n] float64 on the scene clock.
        context_scene_rays: [S, n, 6, h, w] relative to the first context camera.
        points: [S, n, 3, h, w] where each context pixel is, in the frame of the first context camera (metres).
        points_known: [S, n, h, w] bool, where depth was known.
        context_poses: [S, n, 4, 4] context cameras relative to the first.
        latents: [B, C, T, h, w] targets.
        positions: [B, T] float64.
        rays: [B, T, 6, h, w] relative to the anchor.
        scene_rays: [B, T, 6, h, w] relative to the first context camera.
        segments: how the context is encoded, oldest first; a latent may stand in two, pooled and in full.
        context_cameras_known: whether the model is told the context's cameras.
        drop_conditions: whether instruction, anchor and context are all left out.
        drop_instruction: whether the instruction alone is left out.
        generator: for whatever else the step draws.
    """

    context_latents: torch.Tensor
    context_positions: torch.Tensor
    context_scene_rays: torch.Tensor
    points: torch.Tensor
    points_known: torch.Tensor
    context_poses: torch.Tensor
    latents: torch.Tensor
    positions: torch.Tensor
    rays: torch.Tensor
    scene_rays: torch.Tensor
    segments: tuple[Segment, ...]
    context_cameras_known: bool
    drop_conditions: bool
    drop_instruction: bool
    generator: torch.Generator

    @property
    def targets_per_context(self) -> int:
        """Examples that share a context."""
        return len(self.latents) // len(self.context_latents)

    @property
    def in_full(self) -> list[int]:
        """The context latents that are not pooled, in the order in which they are encoded."""
        return [latent for segment in self.segments if segment.pool == 1 for latent in segment.latents]

    def num_tokens(self, tokens_per_latent: int) -> int:
        """Tokens that go through the transformer; a null context is counted as absent.

        Args:
            tokens_per_latent: of a latent in full.
        """
        examples, targets = self.latents.shape[0], self.latents.shape[2]
        if self.drop_conditions:
            return examples * (targets - 1) * tokens_per_latent
        per_scene = sum(len(segment.latents) * tokens_per_latent // segment.pool**2 for segment in self.segments)
        return examples * targets * tokens_per_latent + len(self.context_latents) * per_scene


@dataclass(frozen=True)
class Curriculum:
    """What the examples of a step look like, as training goes from 0 to 1.

    Args:
        context_frames: smallest and largest number of context latents; the largest grows from the smallest over the first half.
        known_cameras: probability that the context's cameras are given, at the start and from `anneal_until` on.
        anneal_until: share of training after which that probability stays.
        drop_probability: share of steps without any condition (for guidance).
        walk_probability: share of steps whose targets are a stretch of the walk itself (small motion), at the start; at the end
            it is half of that.
        target_latents: how many of a target's frames after the anchor an example holds, drawn in order; fewer make more examples.
        targets_per_context: targets of one scene that share a context, where they are not stretches of the walk; it divides the batch.
        guard_frames: a stretch of the walk is kept out of its own context, with up to this many frames around it. As such an example
            has a context of its own, that has at most `context_frames[1]` / `targets_per_context` frames.
        nearby_probability: share of steps that take their context from the frames nearest to the target's cameras.
        pooled_probability: share of steps whose context has pooled parts, as plans give it (`context_plans`), a third each: the frames
            farthest from the targets' cameras pooled before the others in full; all pooled; all pooled, then the nearest (or all) in
            full. As they are cheap, so many frames more than `context_frames` are pooled that there may be four times as many in all.
        pools: sides of the squares that are averaged, one of which is drawn; each divides the grid of tokens.
        drop_instruction_probability: share of the steps with conditions in which the instruction alone is left out (for separate
            guidance scales); the transformer's `null_instruction` says so.

    Raises:
        ValueError: for probabilities or pools that cannot be.
    """

    context_frames: tuple[int, int] = (4, 8)
    known_cameras: tuple[float, float] = (1.0, 0.1)
    anneal_until: float = 0.7
    drop_probability: float = 0.1
    walk_probability: float = 0.5
    target_latents: int = 8
    targets_per_context: int = 1
    guard_frames: int = 8
    nearby_probability: float = 0.7
    pooled_probability: float = 0.0
    pools: tuple[int, ...] = (2, 4)
    drop_instruction_probability: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} {getattr(self, name)}: expected a number from 0 to 1"
            for name in ("pooled_probability", "drop_instruction_probability")
            if not 0 <= getattr(self, name) <= 1
        ]
        if not self.pools or not all(isinstance(pool, Integral) and pool >= 2 for pool in self.pools):
            problems.append(f"pools {list(self.pools)}: expected whole numbers of at least 2")
        if problems:
            raise ValueError("curriculum: " + "; ".join(problems) + ".")

    def known_cameras_at(self, progress: float) -> float:
        """Probability that context cameras are given."""
        first, last = self.known_cameras
        return first + (last - first) * min(progress / max(self.anneal_until, 1e-6), 1.0)

    def context_frames_at(self, progress: float) -> tuple[int, int]:
        """Range of the number of context latents."""
        low, high = self.context_frames
        return low, low + round((high - low) * min(2 * progress, 1.0))


def draw_batch(
    bank: SceneBank, batch_size: int, curriculum: Curriculum, progress: float, seed: int, step: int
) -> NavigationBatch:
    """The batch of a step.

    Args:
        bank: encoded scenes.
        batch_size: examples.
        curriculum, progress: what to draw; progress in [0, 1].
        seed, step: all randomness comes from these.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)

    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    walk, steps = bank.walk_frames, bank.target_frames - 1
    low, high = curriculum.context_frames_at(progress)
    from_walk = _happens(curriculum.walk_probability * (1 - progress / 2), generator)
    group = 1 if from_walk else curriculum.targets_per_context
    if batch_size % group:
        raise ValueError(f"batch_size {batch_size}: expected a multiple of targets_per_context {group}.")
    if from_walk:
        high = max(low, high // curriculum.targets_per_context)
    context_scenes = integers(0, len(bank), batch_size // group)
    scenes = context_scenes.repeat_interleave(group)
    forbidden = torch.zeros(len(context_scenes), walk, dtype=torch.bool)
    if from_walk:
        anchors = integers(0, walk - steps, batch_size)
        targets = anchors[:, None] + torch.arange(steps + 1)
        guard = int(integers(0, curriculum.guard_frames + 1))
        index = torch.arange(walk)
        forbidden = (index > anchors[:, None] - guard) & (index <= targets[:, -1:] + guard)
    else:
        which = integers(0, bank.anchors.shape[1], batch_size)
        anchors = bank.anchors[scenes, which]
        after = walk + which[:, None] * steps + torch.arange(steps)
        targets = torch.cat([anchors[:, None], after], dim=1)

    kept = torch.randperm(steps, generator=generator)[: curriculum.target_latents].sort().values + 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), kept])
    targets = targets[:, offsets]
    poses = bank.camera_to_world[scenes]  # [B, N, 4, 4]
    rows = torch.arange(batch_size)[:, None]
    target_poses = poses[rows, targets]
    context_rows = rows[: len(context_scenes)]
    priority = torch.rand(len(context_scenes), walk, generator=generator)
    distance = _distance(poses[::group, :walk], target_poses.unflatten(0, (-1, group)).flatten(1, 2))
    if _happens(curriculum.nearby_probability, generator):
        priority = priority * 0.5 + distance
    priority[forbidden] = torch.inf
    priority[context_rows, anchors.unflatten(0, (-1, group))] = distance[context_rows, anchors.unflatten(0, (-1, group))] = -1.0
    count = max(int(integers(low, high + 1)), group)
    layout = _draw_layout(curriculum, high, generator)
    available = int((priority < torch.inf).sum(1).min())
    in_full, count = min(count, available), min(count + layout.more_frames, available)
    context = layout.ordered(priority.argsort(dim=1)[:, :count].sort(dim=1).values, distance, in_full)

    gap = 1 + integers(0, 12, batch_size)
    intrinsics = bank.intrinsics[scenes].unsqueeze(1)
    return _assembled(
        context_latents=bank.latents[context_scenes[:, None], context],
        context_positions=context.double(),
        context_poses=poses[::group][context_rows, context],
        context_intrinsics=intrinsics[::group],
        context_depth=bank.depth[context_scenes[:, None], context],
        latents=bank.latents[scenes[:, None], targets],
        positions=(context.amax(1).repeat_interleave(group) + gap)[:, None].double() + offsets,
        poses=target_poses,
        intrinsics=intrinsics,
        segments=layout.segments(count, in_full, generator),
        generator=generator,
        curriculum=curriculum,
        progress=progress,
    )


@dataclass(frozen=True)
class EncodedClip:
    """A clip as latents: N context frames, T target frames of which the first is the anchor.

    Args:
        latents: [N + T, C, h, w], the context's first.
        camera_to_world: [N + T, 4, 4].
        intrinsics: [N + T, 3, 3].
        depth: [N, h, w] of the context, in the unit of the cameras; 0 where unknown.
        context_times, target_times: [N] and [T] seconds.
        anchor: position in the context.
    """

    latents: torch.Tensor
    camera_to_world: torch.Tensor
    intrinsics: torch.Tensor
    depth: torch.Tensor
    context_times: torch.Tensor
    target_times: torch.Tensor
    anchor: int

    @property
    def context_frames(self) -> int:
        """N."""
        return len(self.context_times)


def clip_batch(
    clips: list[EncodedClip], curriculum: Curriculum, progress: float, seed: int, step: int, frame_rate: float
) -> NavigationBatch:
    """The batch of a step from clips that bring their own contexts, of which as many frames are drawn as all of them have.

    Args:
        clips: B of them.
        curriculum, progress: what to draw; progress in [0, 1]. What it says of walks and guards was decided when the clips were made.
        seed, step: all randomness comes from these.
        frame_rate: of the model, frames per second.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    low, high = curriculum.context_frames_at(progress)
    count, available = int(torch.randint(low, high + 1, (), generator=generator)), min(clip.context_frames for clip in clips)
    layout = _draw_layout(curriculum, high, generator)
    in_full, count = min(count, available), min(count + layout.more_frames, available)
    steps = min(len(clip.target_times) for clip in clips) - 1
    kept = torch.randperm(steps, generator=generator)[: curriculum.target_latents].sort().values + 1
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), kept])
    nearby = _happens(curriculum.nearby_probability, generator)
    gap = 1 + torch.randint(0, 12, (len(clips),), generator=generator)
    chosen, positions, target_positions = [], [], []
    for clip, clip_gap in zip(clips, gap):
        n, poses = clip.context_frames, clip.camera_to_world
        priority = torch.rand(n, generator=generator)
        distance = _distance(poses[None, :n], poses[None, n + offsets])[0]
        if nearby:
            priority = priority * 0.5 + distance
        priority[clip.anchor] = distance[clip.anchor] = -torch.inf
        context = layout.ordered(priority.argsort()[:count].sort().values, distance, in_full)
        times = (clip.context_times[context] - clip.context_times[context.min()]) * frame_rate
        chosen.append((context, n + offsets))
        positions.append(times)
        target_positions.append(times.max() + clip_gap + (clip.target_times[offsets] - clip.target_times[0]) * frame_rate)

    def stacked(name: str, part: int) -> torch.Tensor:
        return torch.stack([getattr(clip, name)[places[part]] for clip, places in zip(clips, chosen)])

    return _assembled(
        context_latents=stacked("latents", 0),
        context_positions=torch.stack(positions).double(),
        context_poses=stacked("camera_to_world", 0),
        context_intrinsics=stacked("intrinsics", 0),
        context_depth=stacked("depth", 0),
        latents=stacked("latents", 1),
        positions=torch.stack(target_positions).double(),
        poses=stacked("camera_to_world", 1),
        intrinsics=stacked("intrinsics", 1),
        segments=layout.segments(count, in_full, generator),
        generator=generator,
        curriculum=curriculum,
        progress=progress,
    )


def _happens(probability: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < probability


class _Layout(NamedTuple):
    """How the context of a step is divided into segments; `more_frames` may be drawn than what is in full."""

    kind: Literal["in_full", "far_pooled", "coarse", "coarse_to_fine"] = "in_full"
    pool: int = 1
    more_frames: int = 0

    def ordered(self, context: torch.Tensor, distance: torch.Tensor, in_full: int) -> torch.Tensor:
        """Chosen frames [..., n], ascending, with those before the nearest `in_full` that are farther away.

        Args:
            context: [..., n] indices.
            distance: [..., W] of all frames to the targets.
            in_full: how many stand last.
        """
        if self.kind == "in_full":
            return context
        by_distance = context.gather(-1, distance.gather(-1, context).argsort(-1))
        near, far = by_distance[..., :in_full], by_distance[..., in_full:]
        return torch.cat([far.sort(-1).values, near.sort(-1).values], dim=-1)

    def segments(self, count: int, in_full: int, generator: torch.Generator) -> tuple[Segment, ...]:
        """Segments of `count` latents in the order of `ordered`; one to three where all are in full."""
        every = tuple(range(count))
        far, near = every[: count - in_full], every[count - in_full :]
        if self.kind == "coarse":
            return (Segment(every, self.pool),)
        if self.kind == "coarse_to_fine":
            return Segment(every, self.pool), Segment(near)
        if self.kind == "far_pooled":
            return (*([Segment(far, self.pool)] if far else []), Segment(near))
        splits = int(torch.randint(0, 3, (), generator=generator)) if count > 1 else 0
        cuts = sorted(set(torch.randint(1, count, (splits,), generator=generator).tolist())) if splits else []
        return tuple(Segment(every[a:b]) for a, b in zip([0, *cuts], [*cuts, count]))


def _draw_layout(curriculum: Curriculum, most_in_full: int, generator: torch.Generator) -> _Layout:
    """The layout of a step; where no step has pooled parts, nothing is drawn."""
    if curriculum.pooled_probability == 0 or not _happens(curriculum.pooled_probability, generator):
        return _Layout()

    def drawn(choices):
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    kind, pool = drawn(("far_pooled", "coarse", "coarse_to_fine")), drawn(curriculum.pools)
    # Plans that show all frames coarsely are used on short videos as well, where all of them are in full afterwards.
    more = kind == "far_pooled" or _happens(0.5, generator)
    return _Layout(kind, pool, 1 + drawn(range(3 * most_in_full)) if more else 0)


def _assembled(
    *,
    context_latents: torch.Tensor,
    context_positions: torch.Tensor,
    context_poses: torch.Tensor,
    context_intrinsics: torch.Tensor,
    context_depth: torch.Tensor,
    latents: torch.Tensor,
    positions: torch.Tensor,
    poses: torch.Tensor,
    intrinsics: torch.Tensor,
    segments: tuple[Segment, ...],
    generator: torch.Generator,
    curriculum: Curriculum,
    progress: float,
) -> NavigationBatch:
    """A batch from what was chosen.

    Args:
        context_latents: [S, n, C, h, w]; context_positions [S, n]; context_poses [S, n, 4, 4] in the world; context_intrinsics
            [S, n or 1, 3, 3]; context_depth [S, n, h, w], 0 where unknown.
        latents: [B, T, C, h, w]; positions [B, T]; poses [B, T, 4, 4] in the world; intrinsics [B, T or 1, 3, 3].
        segments: of the n context latents.
        generator, curriculum, progress: for what is still drawn.
    """
    group = len(latents) // len(context_latents)
    height, width = latents.shape[-2:]
    device = latents.device
    first = context_positions.argmin(dim=1)
    origin = torch.linalg.inv(context_poses[torch.arange(len(first)), first].unsqueeze(1))
    relative = origin @ context_poses

    def rays(camera_to_world: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        return plucker_rays(Cameras(camera_to_world, of), height, width, device=device)

    known = _happens(curriculum.known_cameras_at(progress), generator)
    dropped = _happens(curriculum.drop_probability, generator)
    alone = curriculum.drop_instruction_probability > 0 and _happens(curriculum.drop_instruction_probability, generator)
    return NavigationBatch(
        context_latents=context_latents.float().transpose(1, 2),
        context_positions=context_positions,
        context_scene_rays=rays(relative, context_intrinsics),
        points=_points(context_depth.float(), relative, context_intrinsics),
        points_known=(context_depth > 0).to(device),
        context_poses=relative.float().to(device),
        latents=latents.float().transpose(1, 2),
        positions=positions,
        rays=rays(torch.linalg.inv(poses[:, :1]) @ poses, intrinsics),
        scene_rays=rays(origin.repeat_interleave(group, 0) @ poses, intrinsics),
        segments=segments,
        context_cameras_known=known,
        drop_conditions=dropped,
        drop_instruction=alone and not dropped,
        generator=generator,
    )


def _distance(walk: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[B, W, 4, 4] and [B, T, 4, 4] to [B, W] metres + degrees / 45 to the nearest of the targets."""
    metres = torch.cdist(walk[..., :3, 3], targets[..., :3, 3])
    cosine = torch.einsum("bwi,bti->bwt", walk[..., :3, 2], targets[..., :3, 2]).clamp(-1, 1)
    return (metres + torch.rad2deg(cosine.acos()) / 45).amin(dim=2).float()


def _points(depth: torch.Tensor, poses: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
    """Depth [B, n, h, w] at pixel centres to points [B, n, 3, h, w] in the frame that `poses` lead to."""
    height, width = depth.shape[-2:]
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    pixels = torch.stack([x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)])
    to_frame = (poses[..., :3, :3] @ torch.linalg.inv(intrinsics)).float().to(depth.device)
    directions = torch.einsum("bnij,jhw->bnihw", to_frame, pixels.to(depth.device))
    return directions * depth.unsqueeze(2) + poses[..., :3, 3].float().to(depth.device)[..., None, None]

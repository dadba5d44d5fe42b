"""Which frames of a long scene video the model is shown, and how finely.

    plan_context("frustum", ContextMaterial(frames, times, cameras, anchor=0), budget=16)

To add a plan, write a function `plan_NAME(material, budget, options...)` here and a line in `plan_registry.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from torch.nn import functional as F

from video4spatial.cameras import Cameras, camera_rays, viewpoint_distance
from video4spatial.spread import evenly_spread
from video4spatial.conditioning.plan_registry import PLANS
from video4spatial.naming import did_you_mean, unknown

THUMBNAIL = 8
"""Side of the pictures that `diverse` compares."""

FRUSTUM_DEPTHS = 4
FRUSTUM_POINTS = 40_000
"""`frustum` samples each view at so many depths, on the finest grid of 2x2 to 8x8 rays that keeps to about so many points in all."""


@dataclass(frozen=True)
class ContextPart:
    """One segment of the context, encoded together; it sees the parts before it.

    Args:
        chunks: ascending indices of chunks of the given video (a chunk is `chunk_length` consecutive frames, usually 1).
        pool: latents are averaged over squares of this side: pool^2 times fewer tokens.
    """

    chunks: tuple[int, ...]
    pool: int = 1


@dataclass(frozen=True)
class ContextPlan:
    """What of a scene video is encoded, in which order and how finely.

    Args:
        parts: oldest first; a chunk may stand in several, pooled in one and in full in another.
        coarse_share: share of the denoising steps, the first ones, in which targets see the first part alone.

    Raises:
        ValueError: naming every problem.
    """

    parts: tuple[ContextPart, ...]
    coarse_share: float = 0.0

    def __post_init__(self) -> None:
        problems = [] if self.parts else ["no parts: expected at least one"]
        for index, part in enumerate(self.parts):
            chunks = part.chunks
            if not chunks:
                problems.append(f"part {index} has no chunks: leave it out")
            elif not all(_whole(chunk, 0) for chunk in chunks) or any(a >= b for a, b in zip(chunks, chunks[1:])):
                problems.append(f"part {index} has chunks {_shortened(chunks)}: expected ascending whole numbers from 0 on, each once")
            if not _whole(part.pool, 1):
                problems.append(f"part {index} has pool {part.pool!r}: expected a whole number of at least 1 (1 is in full)")
        share = self.coarse_share
        if not isinstance(share, Real) or not 0 <= share <= 1:
            problems.append(f"coarse_share {share!r}: expected a number from 0 to 1")
        elif share > 0 and len(self.parts) == 1:
            problems.append(f"coarse_share {share:g} with one part: expected 0, or a second part for the later steps")
        if problems:
            raise ValueError("the context plan is impossible:\n  " + "\n  ".join(problems))

    @property
    def chunks(self) -> tuple[int, ...]:
        """All chunks that some part shows, ascending."""
        return tuple(sorted({chunk for part in self.parts for chunk in part.chunks}))

    def tokens(self, tokens_per_chunk: int) -> tuple[int, ...]:
        """Tokens of each part.

        Args:
            tokens_per_chunk: of a chunk in full.

        Raises:
            ValueError: where a part's pool does not divide them.
        """
        wrong = sorted({part.pool for part in self.parts if tokens_per_chunk % part.pool**2})
        if wrong:
            raise ValueError(f"{tokens_per_chunk} tokens per chunk cannot be pooled by {wrong}: choose a pool that divides the grid.")
        return tuple(len(part.chunks) * tokens_per_chunk // part.pool**2 for part in self.parts)


@dataclass(frozen=True)
class ContextMaterial:
    """What a plan may look at.

    Args:
        frames: [N, H, W, 3] uint8.
        times: [N] seconds.
        cameras: the N cameras in one world, or None where unknown.
        anchor: frame that the path will most likely start from, counted from either end. Its chunk is always kept, and in full where
            a plan has full parts.
        chunk_length: consecutive frames per chunk; it divides N.

    Raises:
        ValueError: naming everything that does not fit.
    """

    frames: np.ndarray
    times: np.ndarray
    cameras: Cameras | None
    anchor: int
    chunk_length: int = 1

    def __post_init__(self) -> None:
        frames, count = self.frames, len(self.frames)
        problems = []
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or count == 0:
            problems.append(f"frames {frames.dtype} {list(frames.shape)}: expected uint8 [N, height, width, 3] with N >= 1")
        if len(self.times) != count:
            problems.append(f"{len(self.times)} times for {count} frames: give one of each frame")
        if self.cameras is not None and len(self.cameras) != count:
            problems.append(f"{len(self.cameras)} cameras for {count} frames: give one of each frame, or None")
        if not -count <= self.anchor < count:
            problems.append(f"anchor {self.anchor} is outside {count} frames: expected {-count} to {count - 1}")
        if self.chunk_length < 1 or count % self.chunk_length:
            problems.append(f"chunk_length {self.chunk_length}: expected a divisor of {count} frames")
        if problems:
            raise ValueError("the material for a context plan does not fit:\n  " + "\n  ".join(problems))

    @property
    def num_chunks(self) -> int:
        """Chunks of the video."""
        return len(self.frames) // self.chunk_length

    @property
    def anchor_chunk(self) -> int:
        """The chunk that holds the anchor."""
        return self.anchor % len(self.frames) // self.chunk_length

    @property
    def middles(self) -> np.ndarray:
        """[num_chunks] the frame that stands for each chunk: its middle one, and in the anchor's chunk the anchor itself."""
        middles = np.arange(self.num_chunks) * self.chunk_length + self.chunk_length // 2
        middles[self.anchor_chunk] = self.anchor % len(self.frames)
        return middles


def plan_context(name: str, material: ContextMaterial, budget: int | None = None, **options) -> ContextPlan:
    """Decide what of a scene video the model is shown. The same material always gives the same plan.

    Args:
        name: a key of `PLANS`.
        material: the video and what is known of it.
        budget: the most chunks that are kept in full; more than there are keeps all.
        **options: of the plan (`PLANS[name].options`).

    Raises:
        ValueError: for an unknown plan, and naming all that does not fit it.
    """
    if name not in PLANS:
        raise ValueError(f"{unknown('context plan', name, PLANS)}: choose one of {', '.join(PLANS)}.")
    plan, count = PLANS[name], material.num_chunks
    problems = []
    if budget is not None and not _whole(budget, 1):
        problems.append(f"budget {budget!r}: expected a whole number of at least 1, the most chunks kept in full")
    elif budget is None and plan.needs_budget:
        problems.append(f"no budget: give the most chunks (of {count}) kept in full")
    if material.cameras is None and plan.needs_cameras:
        without = ", ".join(other.name for other in PLANS.values() if not other.needs_cameras)
        problems.append(f"the cameras are unknown: give them, or choose a plan that needs none ({without})")
    known = ", ".join(plan.options) or "it has none"
    problems += [f"unknown option {o!r}{did_you_mean(o, plan.options)}; options: {known}" for o in options if o not in plan.options]
    if problems:
        raise ValueError(f"context plan {name!r}:\n  " + "\n  ".join(problems))
    return plan.function(material, count if budget is None else min(int(budget), count), **options)


# ---- plans ------------------------------------------------------------------------------------------------------------------


def plan_all(material: ContextMaterial, budget: int) -> ContextPlan:
    """All chunks, as one segment.

    Args:
        material: the video and what is known of it.
        budget: most chunks in full.

    Raises:
        ValueError: for a budget smaller than the video.
    """
    if budget < material.num_chunks:
        raise ValueError(
            f"context plan 'all' keeps all {material.num_chunks} chunks, more than the budget of {budget}: leave the budget out, or "
            "choose another plan."
        )
    return in_full(range(material.num_chunks))


def plan_stride(material: ContextMaterial, budget: int) -> ContextPlan:
    """Chunks evenly spread over the video, the anchor's among them.

    Args:
        material, budget: as of `plan_all`.
    """
    return in_full(evenly_spread(material.num_chunks, budget, material.anchor_chunk))


def plan_diverse(material: ContextMaterial, budget: int) -> ContextPlan:
    """Chunks that look different from each other.

    Farthest-point sampling (Gonzalez, Clustering to minimize the maximum intercluster distance, 1985) on `_features`.

    Args:
        material, budget: as of `plan_all`.
    """
    features = _features(material.frames[material.middles])
    chosen = [material.anchor_chunk]
    nearest = np.full(len(features), np.inf)
    while len(chosen) < budget:
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return in_full(chosen)


def plan_frustum(material: ContextMaterial, budget: int, depth_range: tuple[float, float] = (0.25, 1.5)) -> ContextPlan:
    """Chunks whose views together cover most of the space that the camera saw; occlusion is not considered.

    Greedy maximum coverage of the views' frusta. It covers at least 1 - 1/e of the most that as many views can add to the anchor's
    (Nemhauser, Wolsey and Fisher, An analysis of approximations for maximizing submodular set functions, 1978). Choosing frames for a
    memory by overlapping fields of view is after Context as Memory (arXiv 2506.03141).

    Args:
        material, budget: as of `plan_all`; the cameras must be known.
        depth_range: nearest and farthest depth of the sampled points, as multiples of how far the cameras are spread: twice the root
            mean square of their distances to their mean (1 in the unit of the cameras where they all stand in one place).

    Raises:
        ValueError: for impossible depths.
    """
    near, far = depth_range
    if not 0 < near < far:
        raise ValueError(f"depth_range {near:g} to {far:g}: expected two positive numbers, the smaller first.")
    cameras = material.cameras[material.middles]
    seen = _seen_frustum_points(cameras, near, far)  # [chunks, points]
    gains, covered = seen.sum(1), np.zeros(seen.shape[1], dtype=bool)
    farness = np.full(len(cameras), np.inf)
    chosen = []
    choice = material.anchor_chunk
    while True:
        chosen.append(choice)
        if len(chosen) == budget:
            return in_full(chosen)
        news = seen[choice] & ~covered
        covered |= news
        gains = gains - seen[:, news].sum(1)
        gains[choice] = -1
        farness = np.minimum(farness, viewpoint_distance(cameras, cameras[choice])[:, 0].numpy())
        # Where several views add as much (in the end: nothing), the one farthest from those chosen, so that repeated views come last.
        choice = int(np.where(gains == gains.max(), farness, -1.0).argmax())


def plan_far_pooled(material: ContextMaterial, budget: int, pool: int = 4) -> ContextPlan:
    """The chunks nearest to the anchor in full, after a segment of all others averaged over squares.

    Args:
        material, budget: as of `plan_all`.
        pool: side of the squares in tokens.

    Raises:
        ValueError: for an impossible pool.
    """
    near = _nearest(material, budget)
    _check_pool(pool)
    return far_pooled(set(range(material.num_chunks)) - near, near, pool)


def plan_coarse_to_fine(material: ContextMaterial, budget: int, pool: int = 4, coarse_share: float = 0.5) -> ContextPlan:
    """All chunks averaged, which the first denoising steps see alone, then the nearest to the anchor in full.

    Args:
        material, budget, pool: as of `plan_far_pooled`.
        coarse_share: share of the denoising steps that see the averaged chunks alone.

    Raises:
        ValueError: for an impossible pool or share.
    """
    _check_pool(pool)
    return coarse_to_fine(range(material.num_chunks), _nearest(material, budget), pool, coarse_share)


# ---- parts of plans ---------------------------------------------------------------------------------------------------------


def in_full(chunks: Iterable[int]) -> ContextPlan:
    """Chunks in full, as one segment."""
    return ContextPlan((_part(chunks),))


def far_pooled(far: Iterable[int], near: Iterable[int], pool: int) -> ContextPlan:
    """Far chunks pooled by `pool`, then near ones in full; without far ones the near ones alone."""
    far = list(far)
    return ContextPlan((*([_part(far, pool)] if far else []), _part(near)))


def coarse_to_fine(chunks: Iterable[int], near: Iterable[int], pool: int, coarse_share: float = 0.0) -> ContextPlan:
    """All chunks pooled by `pool`, then the near ones in full.

    Args:
        chunks, near: all of them, and those that are given in full as well.
        pool: side of the squares of tokens that are averaged.
        coarse_share: share of the denoising steps, the first ones, that see the pooled chunks alone.
    """
    return ContextPlan((_part(chunks, pool), _part(near)), coarse_share)


def latent_indices(parts: Iterable[ContextPart], chunks: Iterable[int], count: int) -> list[int]:
    """Where the latents of chunks stand among those of all chunks that some part shows.

    Args:
        parts: the segments of a scene, whose chunks' latents are kept in ascending order, each once.
        chunks: whose latents are looked for.
        count: of all latents.
    """
    shown = sorted({chunk for part in parts for chunk in part.chunks})
    per_chunk = count // len(shown)
    places = {chunk: index * per_chunk for index, chunk in enumerate(shown)}
    return [places[chunk] + offset for chunk in chunks for offset in range(per_chunk)]


def _part(chunks: Iterable[int], pool: int = 1) -> ContextPart:
    return ContextPart(tuple(sorted(int(chunk) for chunk in chunks)), pool)


def _nearest(material: ContextMaterial, count: int) -> set[int]:
    """The `count` chunks nearest to the anchor: by viewpoint where cameras are known, then by time, then the earlier."""
    middles, anchor = material.middles, material.anchor_chunk
    times = np.asarray(material.times, dtype=np.float64)[middles]
    away = np.abs(times - times[anchor])
    distance = np.zeros(len(middles))
    if material.cameras is not None:
        cameras = material.cameras[middles]
        distance = viewpoint_distance(cameras, cameras[anchor])[:, 0].numpy().round(6)  # what is smaller is rounding of arc cosines
    distance[anchor] = -1.0
    return set(np.lexsort((np.arange(len(middles)), away, distance))[:count].tolist())


def _features(frames: np.ndarray) -> np.ndarray:
    """What frames [N, H, W, 3] look like: [N, features] thumbnails in colour and the slopes of their brightness, both scaled to the
    same spread over the video, so that neither counts more."""
    thumbnails = np.stack(
        [F.adaptive_avg_pool2d(torch.from_numpy(f).movedim(-1, 0).double() / 255, THUMBNAIL).numpy() for f in frames]
    )  # [N, 3, s, s]
    brightness = thumbnails.mean(1)
    slopes = [np.diff(brightness, axis=axis).reshape(len(frames), -1) for axis in (1, 2)]
    groups = [thumbnails.reshape(len(frames), -1), np.concatenate(slopes, axis=1)]
    spreads = [np.sqrt(np.square(group - group.mean(0)).sum(1).mean()) for group in groups]
    return np.concatenate([group / spread if spread > 1e-9 else group for group, spread in zip(groups, spreads)], axis=1)


def _seen_frustum_points(cameras: Cameras, near: float, far: float) -> np.ndarray:
    """Which of the points sampled in all N frusta each camera sees: [N, points] bool.

    A point counts as seen where it falls into the picture and is looked at from the same side: a surface there shows only one.
    """
    positions = cameras.positions
    spread = 2 * float((positions - positions.mean(0)).square().sum(1).mean().sqrt())
    spread = spread if spread > 1e-6 else 1.0
    grid = int(np.clip(np.sqrt(FRUSTUM_POINTS / (FRUSTUM_DEPTHS * len(cameras))), 2, 8))
    origins, directions = (rays.flatten(1, 2) for rays in camera_rays(cameras, grid, grid, dtype=torch.float64))  # [N, rays, 3]
    along = directions / (directions * cameras.forward[:, None]).sum(-1, keepdim=True)  # depth along the viewing axis is 1
    depths = torch.from_numpy(np.geomspace(near, far, FRUSTUM_DEPTHS)) * spread
    points = (origins[:, :, None] + along[:, :, None] * depths[:, None]).flatten(0, 2)
    sides = directions[:, :, None].expand(-1, -1, FRUSTUM_DEPTHS, -1).flatten(0, 2)
    centre = positions.mean(0)  # single precision is enough near the origin
    to_picture = cameras.pixel_intrinsics(1, 1) @ cameras.transformed(_shift(-centre)).world_to_camera[:, :3]
    points, positions, to_picture = (points - centre).float(), (positions - centre).float(), to_picture.float()
    sides = sides.float()
    along_side = (points * sides).sum(-1)
    seen = np.zeros((len(cameras), len(points)), dtype=bool)
    for index in range(len(cameras)):
        x, y, depth = (points @ to_picture[index, :, :3].T + to_picture[index, :, 3]).unbind(-1)  # picture coordinates times depth
        inside = (x > 0) & (x < depth) & (y > 0) & (y < depth)
        seen[index] = (inside & (along_side > sides @ positions[index])).numpy()
    return seen


def _shift(offset: torch.Tensor) -> torch.Tensor:
    """[4, 4] motion by `offset` [3]."""
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, 3] = offset
    return motion


def _check_pool(pool: int) -> None:
    if not _whole(pool, 2):
        raise ValueError(f"pool {pool!r}: expected a whole number of at least 2 that divides the model's grid of tokens.")


def _whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _shortened(values: tuple) -> str:
    return str(values) if len(values) <= 8 else f"({', '.join(map(str, values[:8]))}, ...)"

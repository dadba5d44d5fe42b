"""Cameras and depth of a video made to fit its pictures: all frames are warped onto each other through their depth until they agree.

Dense bundle adjustment of small pictures, coarse to fine (as in direct sparse odometry, Engel et al., TPAMI 2018, over all pairs of a
graph at once). Unknown are the motion of every frame, a smooth correction of its log depth, and the depth of single pixels, which is
believed as far as an estimator of depth can be. Small and smooth pictures, in which there is no feature to be found, suit it; it
needs cameras to start from that are off by no more than a few pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid, matrices_from_vectors

KNOTS = 4
"""Rows and columns of the grid on which a frame's smooth correction of log depth is given; bilinear between."""

NEAREST = 0.05
"""Depth below which a point counts as behind the camera, in the unit of the cameras."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How pictures are aligned.

    Args:
        sides: pixels of the longer side, from coarse to fine.
        iterations: at each of them.
        smooth_spread: deviation of the smooth error of the estimator's log depth.
        pixel_spread: deviation of the error of single pixels beside it.
        hidden: difference of log depth beyond which a point counts less and less, as hidden by another.
        most_pixels: of a frame that take part; where there are more, those with the strongest edges of each neighbourhood.
        noise: deviation of pictures (from 0 to 1) that is to be expected at least.
        match_iterations: before that, on matches.
        match_error: error of matches that is to be expected, as a share of the picture's width.
    """

    sides: tuple[int, ...] = (32, 64)
    iterations: tuple[int, ...] = (5, 6)
    smooth_spread: float = 0.2
    pixel_spread: float = 0.2
    hidden: float = 0.4
    most_pixels: int = 4096
    noise: float = 0.01
    match_iterations: int = 12
    match_error: float = 0.025


@dataclass(frozen=True)
class PlaceMatches:
    """Where places of some frames are in others.

    Args:
        pairs: [E, 2] of frames.
        centres: [G, 2] the places of the first frames, in shares of the picture's width and height.
        place: [E, G, 2] where they are in the second frames.
        sure: [E, G] from 0 to 1.
    """

    pairs: np.ndarray
    centres: Tensor
    place: Tensor
    sure: Tensor


@dataclass(frozen=True)
class Alignment:
    """What came out.

    Args:
        cameras: N cameras; frame `fixed` stays where it was.
        log_correction: [N, KNOTS, KNOTS] to be added to the log depth.
        misfit: [N, N] median difference of the pictures of each pair, in shares of their contrast; NaN where they are no pair.
        overlap: [N, N] share of the first picture that was found in the second.
    """

    cameras: Cameras
    log_correction: Tensor
    misfit: np.ndarray
    overlap: np.ndarray


def align_pictures(
    frames: np.ndarray,
    cameras: Cameras,
    depth: np.ndarray,
    pairs: np.ndarray,
    fixed: int = 0,
    matches: PlaceMatches | None = None,
    settings: AlignmentSettings = AlignmentSettings(),
) -> Alignment:
    """Cameras under which pictures, warped through their depth, agree best.

    Args:
        frames: [N, H, W, 3] uint8.
        cameras: N cameras to start from, in the unit of the depth.
        depth: [N, h, w] along the optical axis, all known.
        pairs: [E, 2] of frames that overlap; each is used both ways.
        fixed: frame whose camera stays.
        matches: places found in other frames, which the cameras are made to fit first: they may be further off than pictures allow.
        settings: how.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    neighbours = [torch.from_numpy(both[both[:, 0] == frame, 1]) for frame in range(len(frames))]
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    log_depth = torch.from_numpy(np.asarray(depth, dtype=np.float32)).clamp(min=1e-3).log()[:, None]
    poses, lenses = cameras.camera_to_world.clone(), cameras.intrinsics
    knots = torch.zeros(len(frames), KNOTS**2, dtype=torch.float64)
    if matches is not None:
        level, found = _MatchLevel.of(matches, log_depth, lenses)
        pixels = torch.zeros_like(level.log_depth)
        for _ in range(settings.match_iterations):
            poses, knots, pixels = level.stepped(poses, knots, pixels, found, fixed, settings)
    for side, iterations in zip(settings.sides, settings.iterations, strict=True):
        level = _PictureLevel.of(pictures, log_depth, lenses, side, settings)
        pixels = torch.zeros_like(level.log_depth)
        for _ in range(iterations):
            poses, knots, pixels = level.stepped(poses, knots, pixels, neighbours, fixed, settings)
    views = [level.views(poses, knots, pixels, frame, others, settings) for frame, others in enumerate(neighbours)]
    misfit, overlap = np.full((len(frames),) * 2, np.nan), np.zeros((len(frames),) * 2)
    for frame, (others, seen) in enumerate(zip(neighbours, views, strict=True)):
        misfit[frame, others], overlap[frame, others] = seen.misfit.numpy(), seen.seen.mean(-1).numpy()
    return Alignment(
        Cameras(poses, lenses, metric=cameras.metric, times=cameras.times, convention=cameras.convention),
        knots.unflatten(1, (KNOTS, KNOTS)), misfit, overlap,
    )  # fmt: skip


@dataclass(frozen=True)
class _Equations:
    """What the pixels of one frame say of the motions of all frames and of its own knots (S = 6 N + K unknowns), to first order.

    Depths of single pixels are eliminated (Schur complement); `mixed`, `curvature` and `slope` give them back.

    Args:
        matrix: [S, S]; right: [S].
        mixed: [P, S] dependence of the pixels' depth on the unknowns.
        curvature, slope: [P] of the cost in the pixels' log depth.
    """

    matrix: Tensor
    right: Tensor
    mixed: Tensor
    curvature: Tensor
    slope: Tensor


@dataclass(frozen=True)
class _Views:
    """What one frame's P pixels look like in E other frames.

    Args:
        misfit: [E] median difference of pictures in shares of their contrast.
        seen: [E, P] how much each pixel counts.
        rows: [E, P, 2, 7] how places on the plane at depth 1 depend on turn and shift of the other frame and on the log depth.
        weighted: [E, P, 2, 7] the same weighted by the slopes of the pictures.
        force: [E, P, 2] differences times slopes.
        carried: [E, 6, 6] a motion of the first frame as the opposite motion of the other.
    """

    misfit: Tensor
    seen: Tensor
    rows: Tensor
    weighted: Tensor
    force: Tensor
    carried: Tensor


@dataclass(frozen=True)
class _Level:
    """P pixels of each of N frames with what is believed of their depth. What they are compared by is up to the kinds of levels.

    Args:
        rays: [N, P, 3] 1 along the optical axis.
        log_depth: [N, P] as estimated.
        spread: [N, P, K] weights of the knots.
        lenses: [N, 3, 3] normalised float32.
    """

    rays: Tensor
    log_depth: Tensor
    spread: Tensor
    lenses: Tensor

    def views(self, poses: Tensor, knots: Tensor, pixels: Tensor, frame: int, others: Tensor, settings: AlignmentSettings) -> _Views:
        """Look up a frame's pixels in other frames [E] and compare."""
        raise NotImplementedError

    def projected(self, poses: Tensor, knots: Tensor, pixels: Tensor, frame: int, others: Tensor) -> _Projected:
        """Where a frame's pixels are in other frames [E]."""
        motion = (invert_rigid(poses[others]) @ poses[frame]).float()  # this camera to the others
        turn, shift = motion[:, :3, :3], motion[:, :3, 3]
        depth = (self.log_depth[frame] + self.spread[frame] @ knots[frame].float() + pixels[frame]).exp()
        moved = (self.rays[frame] * depth[:, None]) @ turn.mT + shift[:, None]  # [E, P, 3]
        inverse = 1 / moved[..., 2].clamp(min=NEAREST)
        return _Projected(moved[..., :2] * inverse[..., None], inverse, moved[..., 2] > NEAREST, moved - shift[:, None], turn, shift)

    def equations(
        self, poses: Tensor, knots: Tensor, pixels: Tensor, frame: int, others: Tensor, settings: AlignmentSettings
    ) -> _Equations:
        """What a frame's pixels say, looked up in others [E]."""
        views = self.views(poses, knots, pixels, frame, others, settings)
        count, inner = len(poses), KNOTS**2
        # Beside the motions of the others stands that of the frame itself, which is the opposite of all of them.
        motions = views.rows[..., :6].flatten(1, 2).mT @ views.weighted[..., :6].flatten(1, 2)  # [E, 6, 6]
        pulls = (views.rows[..., :6] * views.force[..., None]).sum((1, 2))  # [E, 6]
        deep = (views.rows[..., 6:] * views.weighted).sum(2)  # [E, P, 7] products with the column of the depth
        data, pull = deep[..., 6].sum(0), (views.rows[..., 6] * views.force).sum((0, 2))
        curvature, slope = data + 1 / settings.pixel_spread**2, pull + pixels[frame] / settings.pixel_spread**2
        size = 6 * count + inner
        matrix, right, mixed = torch.zeros(size, size), torch.zeros(size), torch.zeros(len(data), size)
        own = slice(6 * frame, 6 * frame + 6)
        for number, other in enumerate(others.tolist()):
            there, carried = slice(6 * other, 6 * other + 6), views.carried[number]
            back = motions[number] @ carried
            matrix[there, there] += motions[number]
            matrix[there, own] -= back
            matrix[own, there] -= back.T
            matrix[own, own] += carried.T @ back
            right[there] += pulls[number]
            right[own] -= carried.T @ pulls[number]
            mixed[:, there] += deep[number, :, :6]
            mixed[:, own] -= deep[number, :, :6] @ carried
        # The knots move all pixels of their frame.
        spread = self.spread[frame]
        matrix[: 6 * count, 6 * count :] = mixed[:, : 6 * count].T @ spread
        matrix[6 * count :, : 6 * count] = matrix[: 6 * count, 6 * count :].T
        matrix[6 * count :, 6 * count :] = spread.T @ (spread * data[:, None])
        right[6 * count :] = spread.T @ pull
        mixed[:, 6 * count :] = spread * data[:, None]
        scaled = mixed / curvature[:, None]
        used = mixed.abs().sum(0) > 0
        columns = mixed[:, used]
        matrix[used.nonzero(), used.nonzero()[:, 0]] -= scaled[:, used].T @ columns
        return _Equations(matrix, right - scaled.T @ slope, mixed, curvature, slope)

    def stepped(
        self, poses: Tensor, knots: Tensor, pixels: Tensor, neighbours: list[Tensor], fixed: int, settings: AlignmentSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Poses, knots and pixels after one step of Gauss and Newton over all frames."""
        count = len(poses)
        told = [self.equations(poses, knots, pixels, frame, others, settings) for frame, others in enumerate(neighbours)]
        step = _solved(torch.stack([one.matrix for one in told]).double(), torch.stack([one.right for one in told]).double(), knots, fixed, settings)
        moves, knot_step = step[: 6 * count], step[6 * count :].view(count, -1)
        pixel_step = torch.stack([
            -(one.slope + one.mixed @ torch.cat([moves, knot_step[frame]]).float()) / one.curvature for frame, one in enumerate(told)
        ])  # fmt: skip
        return _moved(poses, moves.view(count, 6)), knots + knot_step.clamp(-0.2, 0.2), pixels + pixel_step.clamp(-0.2, 0.2)

@dataclass(frozen=True)
class _Projected:
    """Pixels of one frame in E others.

    Args:
        flat: [E, P, 2] on the plane at depth 1 of the others.
        inverse: [E, P] inverse depth there.
        ahead: [E, P] whether they are before the camera.
        ray: [E, P, 3] what points move by as their log depth grows.
        turn, shift: [E, 3, 3] and [E, 3] of the frame's camera to the others.
    """

    flat: Tensor
    inverse: Tensor
    ahead: Tensor
    ray: Tensor
    turn: Tensor
    shift: Tensor

    def rows(self) -> Tensor:
        """How the places depend on turn and shift of the other frame in its own axes and on the log depth: [E, P, 2, 7]."""
        (u, v), inverse = self.flat.unbind(-1), self.inverse
        zero, away = torch.zeros_like(u), self.ray * inverse[..., None]
        right = [u * v, -1 - u * u, v, -inverse, zero, u * inverse, away[..., 0] - u * away[..., 2]]
        below = [1 + v * v, -u * v, -u, zero, -inverse, v * inverse, away[..., 1] - v * away[..., 2]]
        return torch.stack([torch.stack(right, -1), torch.stack(below, -1)], dim=2)


@dataclass(frozen=True)
class _MatchLevel(_Level):
    """Places that were found in other frames.

    Args:
        found: [N, N, G, 2] where, on the plane at depth 1.
        sure: [N, N, G] from 0 to 1; 0 where they were not looked for.
    """

    found: Tensor
    sure: Tensor

    @classmethod
    def of(cls, matches: PlaceMatches, log_depth: Tensor, lenses: Tensor) -> tuple[_MatchLevel, list[Tensor]]:
        """Of matches, and the frames [E] in which those of each frame were looked for."""
        count, inverse = len(lenses), torch.linalg.inv(lenses).float()
        rays = F.pad(matches.centres, (0, 1), value=1.0) @ inverse.mT  # [N, G, 3]
        first, second = torch.from_numpy(matches.pairs.astype(np.int64)).unbind(1)
        found, sure = torch.zeros(count, count, rays.shape[1], 2), torch.zeros(count, count, rays.shape[1])
        found[first, second] = (F.pad(matches.place, (0, 1), value=1.0) @ inverse[second].mT)[..., :2]
        sure[first, second] = matches.sure
        grid = (2 * matches.centres - 1).expand(count, 1, -1, -1)
        depth = F.grid_sample(log_depth, grid, align_corners=False, padding_mode="border")[:, 0, 0]
        spread = _knot_weights(matches.centres).expand(count, -1, -1)
        return cls(rays, depth, spread, lenses.float(), found, sure), [second[first == frame] for frame in range(count)]

    def views(self, poses: Tensor, knots: Tensor, pixels: Tensor, frame: int, others: Tensor, settings: AlignmentSettings) -> _Views:
        """Compare with the places that were found."""
        projected = self.projected(poses, knots, pixels, frame, others)
        residual = projected.flat - self.found[frame, others]
        spread = settings.match_error / self.lenses[others, 0, 0][:, None]
        size = residual.square().sum(-1)
        weight = self.sure[frame, others] * projected.ahead / (1 + size / (2 * spread) ** 2) ** 2
        rows = projected.rows()
        scaled = (weight / spread**2)[..., None]
        middle = size.sqrt().where(self.sure[frame, others] > 0.1, torch.nan).nanmedian(-1).values
        return _Views(middle, weight, rows, rows * scaled[..., None], residual * scaled, _carried(projected.turn, projected.shift))


@dataclass(frozen=True)
class _PictureLevel(_Level):
    """Pictures at one size.

    Args:
        pictures: [N, 3 C + 1, h, w]: C channels, their slopes along x and along y per share of the picture, and log depth.
        values: [N, C, P].
    """

    pictures: Tensor
    values: Tensor

    @classmethod
    def of(cls, pictures: Tensor, log_depth: Tensor, lenses: Tensor, side: int, settings: AlignmentSettings) -> _PictureLevel:
        """Reduce pictures [N, C, H, W] and log depth [N, 1, h, w] to a size, and choose pixels."""
        scale = side / max(pictures.shape[-2:])
        height, width = (max(4, round(length * scale)) for length in pictures.shape[-2:])
        small = F.interpolate(pictures, (height, width), mode="bilinear", antialias=True, align_corners=False)
        maps = F.interpolate(log_depth, (height, width), mode="bilinear", align_corners=False)
        padded = F.pad(small, (1, 1, 1, 1), mode="replicate")
        across, down = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        columns, rows = (torch.arange(width) + 0.5) / width, (torch.arange(height) + 0.5) / height
        centres = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)
        chosen = _strongest((across.square() + down.square()).sum(1), settings.most_pixels)  # [N, P]
        places = centres[chosen]
        rays = F.pad(places, (0, 1), value=1.0) @ torch.linalg.inv(lenses).float().mT
        return cls(
            rays, maps.flatten(1).gather(1, chosen), _knot_weights(places), lenses.float(),
            torch.cat([small, across * width / 2, down * height / 2, maps], dim=1),
            small.flatten(2).gather(2, chosen[:, None].expand(-1, small.shape[1], -1)),
        )  # fmt: skip

    def views(self, poses: Tensor, knots: Tensor, pixels: Tensor, frame: int, others: Tensor, settings: AlignmentSettings) -> _Views:
        """Compare with what the other pictures show there."""
        projected = self.projected(poses, knots, pixels, frame, others)
        lens = self.lenses[others]
        place = projected.flat * lens[:, None, [0, 1], [0, 1]] + lens[:, None, :2, 2]
        height, width = self.pictures.shape[-2:]
        margin = torch.tensor([0.5 / width, 0.5 / height])
        inside = projected.ahead & (place > margin).all(-1) & (place < 1 - margin).all(-1)
        looked = F.grid_sample(self.pictures[others], (2 * place - 1)[:, None], align_corners=False, padding_mode="border")[:, :, 0]
        seen, across, down, there = looked.split([self.values.shape[1]] * 3 + [1], dim=1)
        there = there[:, 0] + (_knot_weights(place) @ knots[others].float()[..., None])[..., 0]
        weight = inside * torch.exp(-(((there + projected.inverse.log()) / settings.hidden) ** 2))
        residual, misfit, scale = _differences(seen, self.values[frame], weight, settings.noise)
        robust = weight / (1 + residual.square().mean(1) / scale[:, None] ** 2) ** 2 / scale[:, None] ** 2
        across, down = across * lens[:, 0, 0, None, None], down * lens[:, 1, 1, None, None]
        xx, xy, yy = (
            ((one * other).sum(1) * robust)[..., None] for one, other in ((across, across), (across, down), (down, down))
        )
        force = torch.stack([(slope * residual).sum(1) * robust for slope in (across, down)], dim=-1)
        rows = projected.rows()
        weighted = torch.stack([xx * rows[:, :, 0] + xy * rows[:, :, 1], xy * rows[:, :, 0] + yy * rows[:, :, 1]], dim=2)
        return _Views(misfit, weight, rows, weighted, force, _carried(projected.turn, projected.shift))


def _solved(own: Tensor, right: Tensor, knots: Tensor, fixed: int, settings: AlignmentSettings) -> Tensor:
    """The step [6 N + N K] from what each frame says of all motions and its own knots, [N, S, S] and [N, S]."""
    count, inner = knots.shape
    motions = 6 * count
    matrix = torch.zeros(motions + count * inner, motions + count * inner, dtype=torch.float64)
    force = torch.zeros(len(matrix), dtype=torch.float64)
    matrix[:motions, :motions] = own[:, :motions, :motions].sum(0)
    force[:motions] = right[:, :motions].sum(0)
    believed = torch.eye(inner, dtype=torch.float64) / settings.smooth_spread**2
    for frame in range(count):
        place = slice(motions + inner * frame, motions + inner * (frame + 1))
        matrix[:motions, place] = own[frame, :motions, motions:]
        matrix[place, :motions] = own[frame, motions:, :motions]
        matrix[place, place] = own[frame, motions:, motions:] + believed
        force[place] = right[frame, motions:] + believed @ knots[frame]
    diagonal = matrix.diagonal()
    diagonal += 1e-4 * diagonal.abs() + 1e-3
    kept = torch.ones(len(matrix), dtype=torch.bool)
    kept[6 * fixed : 6 * fixed + 6] = False
    step = torch.zeros_like(force)
    step[kept] = -torch.linalg.solve(matrix[kept][:, kept], force[kept])
    return step


def _moved(poses: Tensor, moves: Tensor) -> Tensor:
    """Poses [N, 4, 4] moved in their own axes by turns and shifts [N, 6]."""
    moved = poses.clone()
    moved[:, :3, 3] = poses[:, :3, 3] + (poses[:, :3, :3] @ moves[:, 3:, None].clamp(-0.3, 0.3))[..., 0]
    moved[:, :3, :3] = poses[:, :3, :3] @ matrices_from_vectors(moves[:, :3].clamp(-0.1, 0.1))
    return moved


def _differences(seen: Tensor, own: Tensor, weight: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """How pictures [E, C, P] differ once their means are made alike, since exposure changes.

    Returns:
        Differences [E, C, P], their median in shares of the contrast [E], and the scale [E] beyond which they are outliers.
    """
    total = weight.sum(-1).clamp(min=1)[:, None, None]
    mean_own, mean_seen = ((values * weight[:, None]).sum(-1, keepdim=True) / total for values in (own, seen))
    residual = (seen - mean_seen) - (own - mean_own)
    size = residual.square().mean(1).sqrt()
    middle = size.where(weight > 0.1, torch.nan).nanmedian(-1).values.nan_to_num(1.0)
    contrast = (((own - mean_own).square().mean(1) * weight).sum(-1) / total[:, 0, 0]).sqrt()
    return residual, middle / contrast.clamp(min=noise), 2 * middle.clamp(min=noise)


def _carried(turn: Tensor, shift: Tensor) -> Tensor:
    """What a motion (turn, shift) of the first camera in its own axes is in those of the second: [E, 6, 6] (adjoint of first to second)."""
    across = torch.zeros_like(turn)  # [E, 3, 3] cross product with the shift
    x, y, z = shift.unbind(-1)
    across[:, 0, 1], across[:, 0, 2], across[:, 1, 2] = -z, y, -x
    across[:, 1, 0], across[:, 2, 0], across[:, 2, 1] = z, -y, x
    return torch.cat([torch.cat([turn, torch.zeros_like(turn)], 2), torch.cat([across @ turn, turn], 2)], 1)


def _knot_weights(centres: Tensor) -> Tensor:
    """Bilinear weights [..., P, K] of the knots at places [..., P, 2] of a picture."""
    along = (centres * (KNOTS - 1)).clamp(0, KNOTS - 1)
    hats = (1 - (along[..., None, :] - torch.arange(KNOTS)[:, None]).abs()).clamp(min=0)  # [..., P, KNOTS, 2]
    return (hats[..., :, None, 1] * hats[..., None, :, 0]).flatten(-2)


def _strongest(strength: Tensor, most: int) -> Tensor:
    """Pixels [N, P] that take part, of maps [N, h, w]: all, or the strongest of each square of pixels."""
    height, width = strength.shape[1:]
    index = torch.arange(height * width).view(1, height, width).expand(len(strength), -1, -1)
    side = math.ceil(math.sqrt(height * width / most))
    if side == 1:
        return index.flatten(1)
    padded = F.pad(strength, (0, -width % side, 0, -height % side), value=-1.0)
    tiles = F.unfold(padded[:, None], side, stride=side)  # [N, side^2, P]
    numbers = F.unfold(F.pad(index, (0, -width % side, 0, -height % side))[:, None].float(), side, stride=side)
    return numbers.gather(1, tiles.argmax(1, keepdim=True))[:, 0].long()

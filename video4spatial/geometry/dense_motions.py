"""Motions between neighbouring frames from dense optical flow, begun where a rougher estimate says the camera went.

Small, smooth pictures hold few features, but their edges can be followed. Flow alone loses them where the camera turns fast, so the second
picture is first turned to where the estimate expects it, and once more after a first solution. What was followed there and back again
decides on turn and direction together with the estimate, which stays in charge of the length, and of what a plane leaves open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from torch import Tensor

from video4spatial.geometry.pose_graph import MeasuredMotions
from video4spatial.geometry.two_views import essential_motion, ray_distances

SIDE = 256
"""Pixels of the longer side at which pictures are followed; smaller ones are enlarged."""

SPACING = 4
"""Pixels between points that are followed."""

RETURN = 0.7
"""Pixels by which a point that is followed there and back may miss where it began."""

EDGE = 8.0
"""Change of brightness (of 255) from pixel to pixel of a picture of 128 pixels, below which nothing can be followed. Half of it must be
where it is followed to."""

FEWEST, MOST = 15, 300
"""Points below which a pair says nothing, and points that are looked at."""

WORTH = 80
"""Independent measurements that the points of a pair are worth at most, since neighbours are off alike."""

ERROR = 0.5
"""Pixels by which points are usually off; what is off by much more counts less and less (Cauchy)."""

LEAST_LENGTH = 0.05
"""Metres that a motion of which only the direction is known begins with at least."""

LEAST_TURN_ERROR = np.radians(0.1)
"""Radians that are added to the error that follows from the points."""


def motions_by_flow(frames: np.ndarray, intrinsics: Tensor, measured: MeasuredMotions) -> MeasuredMotions:
    """Motions from each frame to the next, refined by optical flow (DIS: Kroeger et al., ECCV 2016).

    Args:
        frames: [N, H, W, 3] uint8 in the order of time.
        intrinsics: [N, 3, 3] normalised.
        measured: rough motions in metres; pairs of neighbours, first frame first, are those that are refined.

    Returns:
        Motions of the neighbours whose pictures can be followed, with the errors to be expected.
    """
    links = [number for number, (first, second) in enumerate(measured.pairs) if second - first == 1]
    scale = SIDE / max(frames.shape[1:3])
    height, width = (max(8, round(length * scale)) for length in frames.shape[1:3])
    pictures = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        for frame in frames
    ]
    lenses = intrinsics.double().numpy() * np.array([width, height, 1.0])[:, None]

    def refined(number: int) -> tuple[np.ndarray, np.ndarray, float, float] | None:
        first, second = measured.pairs[number]
        rough = (measured.rotation[number].numpy(), measured.translation[number].numpy())
        errors = float(measured.rotation_error[number]), float(measured.translation_error[number])
        return _followed(pictures[first], pictures[second], lenses[first], lenses[second], rough, errors)

    with ThreadPoolExecutor(max(1, min(torch.get_num_threads(), os.cpu_count() or 1))) as pool:
        found = {number: motion for number, motion in zip(links, pool.map(refined, links), strict=True) if motion is not None}
    pairs = measured.pairs[list(found)]
    rotations, shifts, turn_errors, shift_errors = zip(*found.values(), strict=True) if found else ((), (), (), ())
    return MeasuredMotions(
        pairs, torch.from_numpy(np.array(rotations).reshape(-1, 3, 3)), torch.from_numpy(np.array(shifts).reshape(-1, 3)),
        torch.tensor(turn_errors, dtype=torch.float64), torch.tensor(shift_errors, dtype=torch.float64),
    )  # fmt: skip


def with_flow(measured: MeasuredMotions, flow: MeasuredMotions, count: int) -> MeasuredMotions:
    """Motions by flow, and of the others those between frames that no chain of them connects.

    What connects two frames in several ways would be off by the same each time, and outvote the chain.

    Args:
        measured: rough motions.
        flow: those of neighbours, by `motions_by_flow`.
        count: of frames.
    """
    followed = np.zeros(count, bool)
    followed[flow.pairs[:, 0]] = True
    run = np.concatenate([[0], np.cumsum(~followed[:-1])])
    return MeasuredMotions.concatenate([flow, measured[run[measured.pairs[:, 0]] != run[measured.pairs[:, 1]]]])


def _followed(
    first: np.ndarray, second: np.ndarray, first_lens: np.ndarray, second_lens: np.ndarray,
    rough: tuple[np.ndarray, np.ndarray], errors: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray, float, float] | None:  # fmt: skip
    """Turn, shift and their errors for two grey pictures, from a rough motion with its errors; None where too little is followed."""
    inverses = np.linalg.inv(first_lens), np.linalg.inv(second_lens)
    error = ERROR / float(np.mean([first_lens[0, 0], second_lens[0, 0]]))  # on the plane at depth 1
    found, most = None, 0
    turn, starts = rough[0], []
    for _ in range(2):
        points = _points(first, second, second_lens @ turn.T @ inverses[0])
        if len(points[0]) < max(FEWEST, most + 1):
            break
        most = len(points[0])
        chosen = np.linspace(0, most - 1, min(most, MOST)).astype(int)
        rays = [np.pad(side[chosen], ((0, 0), (0, 1)), constant_values=1.0) @ lens.T for side, lens in zip(points, inverses, strict=True)]
        found = _motion(*rays, error, rough, errors, starts)
        turn, starts = found[0], [found[:2]]
    return found


def _points(first: np.ndarray, second: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [M, 2] of the first picture that are followed to [M, 2] of the second, where a homography [3, 3] expects about them."""
    height, width = first.shape
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    there = np.stack([columns + 0.5, rows + 0.5, np.ones_like(rows)], axis=-1) @ turned.T
    with np.errstate(divide="ignore", invalid="ignore"):
        there = np.where(there[..., 2:] > 0.05, there[..., :2] / there[..., 2:] - 0.5, -1e4).astype(np.float32)
    expected = np.ascontiguousarray(there[..., 0]), np.ascontiguousarray(there[..., 1])
    seen = cv2.remap(second, *expected, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    forth, back = flow.calc(first, seen, None), flow.calc(seen, first, None)
    slope, seen_slope = (
        np.hypot(cv2.Sobel(picture, cv2.CV_32F, 1, 0), cv2.Sobel(picture, cv2.CV_32F, 0, 1)) / 8 * (max(height, width) / 128)
        for picture in (first, seen)
    )
    y, x = (part.ravel() for part in np.mgrid[SPACING // 2 : height : SPACING, SPACING // 2 : width : SPACING])
    ends = x + forth[y, x, 0], y + forth[y, x, 1]

    def at_ends(values: np.ndarray) -> np.ndarray:
        places = (part.astype(np.float32)[None] for part in ends)
        return cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(-1e4,) * 4)[0]

    missed = np.linalg.norm(forth[y, x] + at_ends(back), axis=-1)
    second_points = np.stack([at_ends(part) for part in expected], axis=-1) + 0.5
    inside = (second_points > 1).all(1) & (second_points < np.array([width, height]) - 1).all(1)
    good = (missed < RETURN) & (slope[y, x] > EDGE) & (at_ends(seen_slope) > EDGE / 2) & inside
    return np.stack([x, y], axis=1)[good] + 0.5, second_points[good].astype(np.float64)


def _motion(
    first: np.ndarray, second: np.ndarray, error: float, rough: tuple[np.ndarray, np.ndarray], errors: tuple[float, float],
    starts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, float, float]:  # fmt: skip
    """The motion that fits matching rays [M, 3] and the rough one best, from several starts, and its errors (of the best one alone)."""
    weight = np.sqrt(min(1.0, WORTH / len(first)))

    def misfit(values: np.ndarray) -> np.ndarray:
        turn, shift = Rotation.from_rotvec(values[:3]).as_matrix(), values[3:]
        distances = ray_distances(first, second, turn, shift / max(np.linalg.norm(shift), 1e-6)) / error
        from_rough = np.concatenate([Rotation.from_matrix(rough[0].T @ turn).as_rotvec() / errors[0], (shift - rough[1]) / errors[1]])
        return np.concatenate([weight * _robust(distances, 1.0), _robust(from_rough, 3.0)])

    starts = [rough, *starts]
    essential = essential_motion(first[:, :2], second[:, :2], 1.4 * error)
    if essential is not None and essential[2].sum() >= FEWEST:
        turn, direction, _ = essential
        starts.append((turn, direction * max(float(np.linalg.norm(rough[1])), LEAST_LENGTH)))
    solutions = [
        least_squares(misfit, np.concatenate([Rotation.from_matrix(turn).as_rotvec(), shift]), max_nfev=15) for turn, shift in starts
    ]
    best = min(solutions, key=lambda solution: solution.cost)
    spread = np.linalg.inv(best.jac.T @ best.jac + 1e-9 * np.eye(6))
    turn_error, shift_error = (float(np.sqrt(np.trace(part))) for part in (spread[:3, :3], spread[3:, 3:]))
    return Rotation.from_rotvec(best.x[:3]).as_matrix(), best.x[3:], turn_error + LEAST_TURN_ERROR, shift_error


def _robust(errors: np.ndarray, scale: float) -> np.ndarray:
    """Roots of Cauchy's cost of errors, with their signs."""
    return np.sign(errors) * scale * np.sqrt(np.log1p((errors / scale) ** 2))

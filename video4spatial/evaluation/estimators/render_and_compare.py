"""Estimator `render_and_compare`: the simulated scene rendered from candidate cameras. Only simulation allows it.

The search starts at the anchor's camera, which is given, and goes on from frame to frame. It never sees the commanded
cameras, so it measures where the generated frames are and not where they ought to be.
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import norm, qmc
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid, matrices_from_vectors
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.simulation.renderer import render
from video4spatial.simulation.scenes import Scene

COARSE_SIDE, MEDIUM_SIDE, FINE_SIDE = 16, 32, 64
"""Picture heights of the three stages in pixels; frames are never enlarged."""

FINE_SUPERSAMPLE = 2
"""Rays per pixel side of the last stage: aliasing alone costs half a degree."""

COARSE_SAMPLES = 96
"""Candidates around each of the starting cameras."""

SPREAD = np.array([0.05, 0.16, 0.02, 0.13, 0.05, 0.13])
"""Standard deviation of the candidates: rotation about the camera's x, y, z in radians, translation in metres."""

LOST, GAIN = 0.3, 0.02
"""Residual above which a frame is searched for three times as far, and what that must gain to be believed."""

UNLIKE = 0.8
"""Residual from which a frame does not show the scene, wherever the camera is put."""

KEPT = 2
"""Candidates that go on to the medium stage, beside the last camera."""

SMOOTHING = 2.0
"""Gaussian in pixels of each stage: with less, aliasing makes the valley of the cost bumpy."""

DIFFERENCE = np.array([1.0, 1.0, 1.0, 0.05, 0.05, 0.05])
"""Steps of the finite differences: rotations in pixels' worth of angle, translations in metres at the medium stage."""


def cameras_by_rendering(frames: np.ndarray, intrinsics: Tensor, anchor: Cameras, scene: Scene) -> EstimatedCameras:
    """Find the cameras of frames that show a simulated scene.

    Every frame goes through three stages. At 16 pixels height low-discrepancy samples are tried around the last camera,
    the last camera moved on as before, and the anchor. The best of them are refined at 32 by Levenberg-Marquardt with
    finite differences, and the winner at 64. Pictures are compared by correlation after subtracting each channel's mean,
    so that overall brightness and contrast do not count. A frame that fits badly is searched for again over a wider range.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised, of every frame, which may zoom.
        anchor: camera of frame 0 (T = 1).
        scene: the simulated scene the frames show.

    Returns:
        Cameras of the frames that resemble the scene. The confidence is the correlation of the frame and the scene rendered
        from its camera, both blurred a little. Frames equal to their predecessor, intrinsics included, share its camera.
        Deterministic.
    """
    stages = [
        _Stage(scene, intrinsics.double(), frames, side, supersample)
        for side, supersample in ((COARSE_SIDE, 1), (MEDIUM_SIDE, 1), (FINE_SIDE, FINE_SUPERSAMPLE))
    ]
    poses = [anchor.camera_to_world[0]]
    residuals = [float(stages[-1].cost(poses[0][None], 0)[0])]  # 1 - correlation
    for index in range(1, len(frames)):
        unzoomed = torch.equal(intrinsics[index], intrinsics[index - 1])
        if unzoomed and np.array_equal(frames[index], frames[index - 1]):
            pose, residual = poses[-1], residuals[-1]
        else:
            pose, residual = _estimate_one(stages, poses, index)
        poses.append(pose)
        residuals.append(residual)
    shown = [index for index, residual in enumerate(residuals) if residual < UNLIKE]
    return EstimatedCameras.from_poses(
        {index: poses[index] for index in shown}, intrinsics, anchor, metric=anchor.metric,
        confidence={index: 1 - residuals[index] for index in shown},
        reasons="the frame resembles no view of the scene", convention="estimated by rendering and comparing",
    )  # fmt: skip


class _Stage:
    """All frames at one size, and how well renderings from given poses fit one of them."""

    def __init__(self, scene: Scene, intrinsics: Tensor, frames: np.ndarray, side: int, supersample: int):
        self.supersample = supersample
        self.scene, self.intrinsics = scene, intrinsics
        shrink = min(1.0, side / frames.shape[1])
        self.height, self.width = (max(8, round(size * shrink)) for size in frames.shape[1:3])
        self.targets = _normalised(_resized(frames, self.height, self.width))
        self.pixel_angles = 1.0 / (self.intrinsics[:, 0, 0] * self.width).numpy()  # [T] radians

    def pictures(self, poses: Tensor, index: int) -> np.ndarray:
        """Normalised renderings [K, D] from poses [K, 4, 4] with the intrinsics of frame `index`."""
        cameras = Cameras(poses, self.intrinsics[index])
        rendering = render(self.scene, cameras, self.height, self.width, self.supersample, backend="numba")
        return _normalised(rendering.rgb.astype(np.float32))

    def cost(self, poses: Tensor, index: int) -> np.ndarray:
        """[K] 1 - correlation with frame `index`."""
        return 1.0 - self.pictures(poses, index) @ self.targets[index]


def _estimate_one(stages: list[_Stage], poses: list[Tensor], index: int) -> tuple[Tensor, float]:
    """Camera [4, 4] and residual of a frame, from the poses of all frames before it."""
    starts = [poses[-1], poses[0]]
    if len(poses) > 1:
        starts.append(poses[-1] @ invert_rigid(poses[-2]) @ poses[-1])
    pose, cost = _search(stages, starts, _samples(COARSE_SAMPLES, 1.0), index)
    if cost > LOST:
        wide_pose, wide_cost = _search(stages, starts[:2], _samples(2 * COARSE_SAMPLES, 3.0), index)
        if wide_cost < cost - GAIN:
            return wide_pose, wide_cost
    return pose, cost


def _search(
    stages: list[_Stage], starts: list[Tensor], moves: Tensor, index: int
) -> tuple[Tensor, float]:
    """The best camera from moves around starting cameras, the first of which is the last known camera."""
    coarse, medium, fine = stages
    candidates = torch.cat([_moved(start, moves) for start in starts])
    best = torch.from_numpy(np.argsort(coarse.cost(candidates, index), kind="stable")[:KEPT].copy())
    # The last camera stays in the race: where the frame says little, the camera should stay where it was.
    refined, costs = _refine(medium, torch.cat([candidates[best], starts[0][None]]), index, iterations=5)
    refined, costs = _refine(fine, refined[int(np.argmin(costs))][None], index, iterations=4)
    return refined[0], float(costs[0])


def _refine(stage: _Stage, poses: Tensor, index: int, iterations: int) -> tuple[Tensor, np.ndarray]:
    """Levenberg-Marquardt on K poses side by side; a step that makes things worse is undone and damped more."""
    count, target = len(poses), stage.targets[index]
    steps = DIFFERENCE * np.array([stage.pixel_angles[index]] * 3 + [1.0] * 3)
    offsets = torch.from_numpy(np.concatenate([np.zeros((1, 6)), np.diag(steps), -np.diag(steps)]))  # [13, 6]
    damping = np.full(count, 1e-2)
    best = poses
    best_cost = np.full(count, np.inf)
    residual = np.zeros((count, target.size), dtype=np.float32)
    jacobian = np.zeros((count, 6, target.size), dtype=np.float32)
    trial = poses
    for _ in range(iterations):
        around = torch.cat([_moved(pose, offsets) for pose in trial])
        pictures = stage.pictures(around, index).reshape(count, 13, -1)
        cost = 1.0 - pictures[:, 0] @ target
        better = cost < best_cost
        best = torch.where(torch.from_numpy(better)[:, None, None], trial, best)
        best_cost = np.where(better, cost, best_cost)
        residual[better] = pictures[better, 0] - target
        jacobian[better] = (pictures[better, 1:7] - pictures[better, 7:13]) / 2  # per finite-difference step
        damping = np.where(better, damping * 0.3, damping * 10.0)
        normal = jacobian @ jacobian.swapaxes(1, 2)  # [K, 6, 6]
        diagonal = np.einsum("kii->ki", normal)
        # Damping relative to the strongest direction as well, so that directions the picture does not show stay put.
        regular = damping[:, None] * (diagonal + 0.1 * diagonal.max(1, keepdims=True)) + 1e-9
        gradient = np.einsum("kid,kd->ki", jacobian, residual)
        update = -np.linalg.solve(normal + regular[:, :, None] * np.eye(6), gradient[..., None])[..., 0]
        update = np.clip(update, -8.0, 8.0) * steps
        moves = torch.from_numpy(update)[:, None]
        trial = torch.cat([_moved(pose, move) for pose, move in zip(best, moves, strict=True)])
    cost = stage.cost(trial, index)
    better = cost < best_cost
    return torch.where(torch.from_numpy(better)[:, None, None], trial, best), np.where(better, cost, best_cost)


def _moved(pose: Tensor, moves: Tensor) -> Tensor:
    """A pose [4, 4] after moves [K, 6] in its own axes: rotation vector, then translation."""
    motion = torch.eye(4, dtype=torch.float64).repeat(len(moves), 1, 1)
    motion[:, :3, :3] = matrices_from_vectors(moves[:, :3].double())
    motion[:, :3, 3] = moves[:, 3:]
    return pose @ motion


def _samples(count: int, widening: float) -> Tensor:
    """[count, 6] moves: the first stands still, the others are normal with `SPREAD` times `widening`."""
    uniform = qmc.Halton(6, seed=0).random(count - 1)
    return torch.from_numpy(np.concatenate([np.zeros((1, 6)), norm.ppf(uniform) * SPREAD * widening]))


def _resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area-averaged where the factor is whole, otherwise smoothed and interpolated: [T, height, width, 3] float32."""
    count, old_height, old_width, _ = frames.shape
    values = frames.astype(np.float32)
    if old_height % height == 0 and old_width % width == 0:
        return values.reshape(count, height, old_height // height, width, old_width // width, 3).mean((2, 4))
    factors = (height / old_height, width / old_width)
    sigma = tuple(max(0.0, 0.5 * (1 / factor - 1)) for factor in factors)
    return zoom(gaussian_filter(values, (0, *sigma, 0)), (1, *factors, 1), order=1, grid_mode=True, mode="nearest")


def _normalised(pictures: np.ndarray) -> np.ndarray:
    """Smoothed, each channel's mean removed, unit length: [K, D] float32. A flat picture becomes 0."""
    smooth = gaussian_filter(pictures, (0, SMOOTHING, SMOOTHING, 0), truncate=3.0)
    smooth = smooth - smooth.mean((1, 2), keepdims=True)
    flat = smooth.reshape(len(smooth), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 1e-2 * np.sqrt(flat.shape[1]), length, np.inf)

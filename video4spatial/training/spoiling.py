"""True geometry made as wrong as estimators make it, so that a model learns how much of a geometry prompt to believe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import matrices_from_vectors
from video4spatial.geometry.scene_geometry import SceneGeometry
from video4spatial.training.variation import happens, uniform


@dataclass(frozen=True)
class Spoiling:
    """How wrong geometry may be. What is drawn for a scene is drawn evenly up to these bounds.

    Args:
        exact_probability: share of scenes whose geometry stays true.
        depth_error: standard deviation of smooth errors of log depth, which differ from frame to frame.
        frame_error: standard deviation of the error of log depth that a whole frame has.
        smear: pixels at a height of 64 over which outlines are smeared.
        hole_share: share of a frame that is unknown in patches.
        camera_degrees, camera_metres: standard deviation of the cameras' errors; the anchor's is true, as all is told relative to it.
        scale_error: standard deviation of the logarithm of the scale.

    Raises:
        ValueError: naming what cannot be.
    """

    exact_probability: float = 0.2
    depth_error: float = 0.12
    frame_error: float = 0.06
    smear: float = 2.0
    hole_share: float = 0.2
    camera_degrees: float = 1.5
    camera_metres: float = 0.08
    scale_error: float = 0.08

    def __post_init__(self) -> None:
        problems = [f"{name} {value}: expected at least 0" for name, value in vars(self).items() if value < 0]
        for name in ("exact_probability", "hole_share"):
            if getattr(self, name) > 1:
                problems.append(f"{name} {getattr(self, name)}: expected at most 1")
        if problems:
            raise ValueError("spoiling: " + "; ".join(problems) + ".")

    @property
    def cameras_alone(self) -> Spoiling:
        """The errors of cameras and scale without those of depth."""
        return replace(self, depth_error=0.0, frame_error=0.0, smear=0.0, hole_share=0.0)


def spoiled(geometry: SceneGeometry, anchor: Cameras, settings: Spoiling, generator: torch.Generator) -> SceneGeometry:
    """A scene's geometry with errors.

    Args:
        geometry: without errors, of frames with cameras.
        anchor: the camera (T = 1) that everything is told relative to; it stays where it is.
        settings: how wrong it may become.
        generator: source of the errors.

    Returns:
        The geometry with other cameras, depth and confidence. Confidence follows the errors, not exactly.
    """
    if happens(settings.exact_probability, generator):
        return geometry

    def drawn(bound: float) -> float:
        return float(uniform(0.0, bound, generator))

    depth, confidence = torch.from_numpy(geometry.depth), torch.from_numpy(geometry.confidence)
    if settings.depth_error > 0 or settings.frame_error > 0:
        depth, confidence = _wrong_depth(depth, settings, drawn, generator)
    scale = float(torch.exp(drawn(settings.scale_error) * torch.randn((), generator=generator)))
    cameras = _wrong_cameras(geometry.cameras, anchor, drawn(settings.camera_degrees), drawn(settings.camera_metres), generator)
    cameras = cameras.relative_to(anchor).scaled(scale).placed_at(anchor)
    return replace(geometry, cameras=cameras, depth=(depth * scale).numpy(), confidence=confidence.numpy())


def _wrong_depth(depth: torch.Tensor, settings: Spoiling, drawn, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth [N, h, w] with smooth and common errors, smeared outlines and holes, and a confidence that knows of them in part."""
    count, height, width = depth.shape
    known, truth = depth > 0, depth.clamp(min=1e-3).log()
    cells = int(torch.randint(2, 9, (), generator=generator))
    errors = F.interpolate(torch.randn(count, 1, cells, cells, generator=generator), (height, width), mode="bicubic")[:, 0]
    wrong = truth + drawn(settings.depth_error) * errors
    wrong = wrong + drawn(settings.frame_error) * torch.randn(count, 1, 1, generator=generator)
    smear = 1 + round(drawn(settings.smear) * height / 64)
    if smear > 1:
        small = F.interpolate(wrong[:, None], (max(2, height // smear), max(2, width // smear)), mode="area")
        wrong = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[:, 0]
    cells = int(torch.randint(3, 10, (), generator=generator))
    holes = F.interpolate(torch.rand(count, 1, cells, cells, generator=generator), (height, width), mode="bilinear")[:, 0]
    kept = known & (holes > torch.quantile(holes.flatten(1), drawn(settings.hole_share), dim=1)[:, None, None])
    doubt = torch.exp(0.5 * torch.randn(count, 1, 1, generator=generator)) * ((wrong - truth).abs() + 0.03)
    confidence = 1 - torch.exp(-0.1 / doubt.clamp(min=1e-3))
    return torch.where(kept, wrong.exp(), torch.zeros(())), torch.where(kept, confidence, torch.zeros(()))


def _wrong_cameras(cameras: Cameras, anchor: Cameras, degrees: float, metres: float, generator: torch.Generator) -> Cameras:
    """Cameras that are the more wrong the farther they are from the anchor, as joined motions are."""
    away = torch.linalg.vector_norm(cameras.positions - anchor.positions, dim=-1)
    share = (away / away.max().clamp(min=1e-6)).sqrt().unsqueeze(-1)
    turns = torch.deg2rad(degrees * torch.randn(len(cameras), 3, generator=generator).double() / 3**0.5) * share
    moved = cameras.camera_to_world.clone()
    moved[:, :3, :3] = moved[:, :3, :3] @ matrices_from_vectors(turns)
    moved[:, :3, 3] += metres * torch.randn(len(cameras), 3, generator=generator).double() / 3**0.5 * share
    return replace(cameras, camera_to_world=moved)

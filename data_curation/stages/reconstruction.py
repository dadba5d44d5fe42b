"""Cameras of plain footage by structure from motion (COLMAP, the extra `sfm`). Lengths are those of the reconstruction, not metres.

A short or almost straight path leaves the focal length open: a wrong one is made up for by turns and points that fit it, which the
epipolar check does not notice either.

Works on the processor, in a temporary folder. Seeds are fixed, so that runs with one thread repeat; with more, sums are rounded in
another order and cameras differ in their last digits, rarely in which frames are registered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import atan, degrees, radians, tan
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.geometry.structure_from_motion import MappingError, MappingSettings, import_pycolmap, map_pictures, quiet
from video4spatial.captures import Capture

BATCH = 32
FIELDS_OF_VIEW = (25.0, 130.0)  # degrees; with little parallax the focal length runs away


class ReconstructionError(ValueError):
    """Footage whose cameras cannot be found; the message says why."""


@dataclass(frozen=True)
class ReconstructionSettings:
    """How cameras are looked for.

    Args:
        frames: most frames, evenly thinned.
        side: longer side in pixels of the pictures in which features are found; larger ones are reduced.
        features: most features of a picture.
        fov_degrees: horizontal field of view to start from; it is refined.
        least_frames: shorter captures are refused: their focal length is a guess, and cameras come out wrong without a sign of it.
        overlap: each frame is matched with so many after it, and with some at growing distances.
        exhaustive: up to so many frames are all matched with each other.
        threads: of the processor, -1 for all.
    """

    frames: int = 120
    side: int = 960
    features: int = 4096
    fov_degrees: float = 60.0
    least_frames: int = 24
    overlap: int = 10
    exhaustive: int = 32
    threads: int = 1


@dataclass(frozen=True)
class Reconstruction:
    """What was found.

    Args:
        frames: [N] the capture's frames that have a camera, ascending.
        tried: frames that were looked at.
        cameras: the N cameras.
        points: how many points of the scene were found.
        error_pixels: mean distance of features from their points, in pixels of pictures of at most `side`.
    """

    frames: tuple[int, ...]
    tried: tuple[int, ...]
    cameras: Cameras
    points: int
    error_pixels: float


def reconstruct(capture: Capture, settings: ReconstructionSettings = ReconstructionSettings()) -> Reconstruction:
    """Find the cameras of a capture from its pictures alone.

    Raises:
        ReconstructionError: where fewer than half of the frames can be related to each other.
        ImportError: without pycolmap.
    """
    pycolmap = import_pycolmap()
    if len(capture) < settings.least_frames:
        raise ReconstructionError(f"capture {capture.name!r} has {len(capture)} frames; cameras need at least {settings.least_frames}")
    count = min(settings.frames, len(capture))
    tried = tuple(np.unique(np.linspace(0, len(capture) - 1, count).round().astype(int)).tolist())
    factor = min(1.0, settings.side / max(capture.height, capture.width))
    size = max(1, round(capture.width * factor)), max(1, round(capture.height * factor))
    try:
        with quiet(pycolmap), TemporaryDirectory() as name:
            folder = Path(name)
            _write_pictures(capture, tried, size, folder / "images")
            model = map_pictures(folder, _mapping(settings), lens=_lens(settings, size))
            registered = {int(Path(image.name).stem): image for image in model.images.values() if image.has_pose}
            if 2 * len(registered) < len(tried):
                raise ReconstructionError(
                    f"only {len(registered)} of {len(tried)} frames could be registered: the footage breaks into parts "
                    "that do not overlap"
                )
            intrinsics = _intrinsics(next(iter(model.cameras.values())))
            fov_degrees = 2 * degrees(atan(0.5 / float(intrinsics[0, 0])))
            if not FIELDS_OF_VIEW[0] < fov_degrees < FIELDS_OF_VIEW[1]:
                raise ReconstructionError(f"a field of view of {fov_degrees:.1f} degrees was found: too little parallax to find it")
    except (MappingError, ReconstructionError) as error:
        raise ReconstructionError(f"capture {capture.name!r}: {error}") from None
    frames = tuple(sorted(registered))
    motions = torch.from_numpy(np.stack([registered[frame].cam_from_world().matrix() for frame in frames]))
    world_to_camera = torch.cat([motions, torch.tensor([[[0.0, 0, 0, 1]]], dtype=torch.float64).expand(len(frames), 1, 4)], dim=1)
    cameras = Cameras(
        invert_rigid(world_to_camera),
        intrinsics,
        metric=False,
        times=torch.from_numpy(np.asarray(capture.times, dtype=np.float64)[list(frames)]),
        convention="structure from motion (COLMAP)",
    )
    return Reconstruction(frames, tried, cameras, model.num_points3D(), float(model.compute_mean_reprojection_error()))


def with_cameras(capture: Capture, reconstruction: Reconstruction) -> Capture:
    """The frames of a capture that were registered, with their cameras.

    Depth, objects and the direction of up are not passed on: they belong to the world and the unit of other cameras.
    """
    frames = reconstruction.frames
    left_out = {**capture.provenance.get("left_out", {}), "not_registered": sorted(set(reconstruction.tried) - set(frames))}
    found = {"frames_tried": len(reconstruction.tried), "points": reconstruction.points, "error_pixels": reconstruction.error_pixels}
    return replace(
        capture,
        frame_count=len(frames),
        times=np.asarray(capture.times)[list(frames)],
        read_frames=_Chosen(capture.read_frames, frames),
        cameras=reconstruction.cameras,
        read_depth=None,
        read_instances=capture.read_instances and _Chosen(capture.read_instances, frames),
        objects=(),
        up_axis=None,
        provenance={
            **capture.provenance,
            "convention": reconstruction.cameras.convention,
            "reconstruction": found,
            "left_out": left_out,
        },
    )


@dataclass(frozen=True)
class _Chosen:
    """Some frames of a reading function."""

    read: Callable[[Sequence[int]], np.ndarray]
    frames: tuple[int, ...]

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        return self.read([self.frames[index] for index in indices])


def _write_pictures(capture: Capture, frames: tuple[int, ...], size: tuple[int, int], folder: Path) -> None:
    folder.mkdir()
    for start in range(0, len(frames), BATCH):
        batch = frames[start : start + BATCH]
        for frame, picture in zip(batch, capture.read_frames(batch)):
            small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"{frame:08d}.png"), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def _mapping(settings: ReconstructionSettings) -> MappingSettings:
    return MappingSettings(
        features=settings.features, overlap=settings.overlap, exhaustive=settings.exhaustive, threads=settings.threads
    )


def _lens(settings: ReconstructionSettings, size: tuple[int, int]) -> tuple[float, float, float]:
    """Focal length and principal point to start from, in pixels of pictures of a width and height."""
    return size[0] / (2 * tan(radians(settings.fov_degrees) / 2)), size[0] / 2, size[1] / 2


def _intrinsics(camera) -> torch.Tensor:
    """Normalised intrinsics [3, 3] of COLMAP's SIMPLE_PINHOLE, which counts pixels from the corner as we do."""
    focal, x, y = camera.params.tolist()
    width, height = camera.width, camera.height
    return torch.tensor([[focal / width, 0, x / width], [0, focal / height, y / height], [0, 0, 1]], dtype=torch.float64)

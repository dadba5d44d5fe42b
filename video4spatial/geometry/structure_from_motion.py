"""Structure from motion by COLMAP (pycolmap): pictures in, a sparse model or the cameras of a video out.

COLMAP sees pictures and lenses, never a pose. It works on the processor, in a temporary folder. Seeds are fixed, so that
runs with one thread repeat. With more threads sums are rounded in another order: cameras differ in their last digits, but
rarely in which frames are registered.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import radians, tan
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import cv2
import numpy as np
import torch
from torch import Tensor

from video4spatial.cameras import Cameras
from video4spatial.cameras.formats.colmap import Lens
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.geometry import GeometryError
from video4spatial.geometry.estimated_cameras import EstimatedCameras, aligned_poses
from video4spatial.geometry.features import SIDE, Features, find_features, match
from video4spatial.spread import thinned

FEWEST_FRAMES = 3
SEED = 0
HOMOGRAPHIES = ("PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC")  # COLMAP's kinds of pairs

CONTEXT = 16
"""Most frames of a context that are reconstructed together with a video."""


@dataclass(frozen=True)
class MappingSettings:
    """How pictures are related to each other.

    Args:
        features: most features of a picture.
        contrast: least contrast of a feature.
        doubled: look for features in pictures at twice their size as well: more of them, at four times the cost.
        overlap: each picture is matched with so many after it, and with some at growing distances.
        exhaustive: up to so many pictures are all matched with each other.
        gaps: where given, each picture of a video is matched with those so many before it instead, ...
        alike: ... and with so many of the others that look most like it.
        error: pixels within which a match agrees with the motion of a pair of pictures.
        joint: whether all cameras are found together from the motions of all pairs (GLOMAP, Pan et al., ECCV 2024) instead of one
            after the other from a first pair. With known lenses this is the sturdier way for few pictures: a first pair that sees
            little depth may turn the whole model inside out.
        threads: of the processor, -1 for all.
        smallest: pixels; pictures whose longer side is smaller are enlarged to it.
        largest: pixels; pictures whose longer side is larger are reduced to it; None for no limit.
        fov_degrees: field of view along the longer side to start from where the lens is not known.
    """

    features: int = 4096
    contrast: float = 0.02 / 3
    doubled: bool = True
    overlap: int = 10
    exhaustive: int = 32
    gaps: tuple[int, ...] | None = None
    alike: int = 2
    error: float = 4.0
    joint: bool = False
    threads: int = 1
    smallest: int = 0
    largest: int | None = None
    fov_degrees: float = 60.0


SMALL_PICTURES = MappingSettings(features=1024, contrast=0.003, exhaustive=128, error=3.0, joint=True, smallest=SIDE)
"""For few and small pictures of known lenses. Enlarged pictures are smooth, so features of less contrast are taken than
COLMAP does by default."""


VIDEO_FRAMES = MappingSettings(
    features=1024, contrast=0.004, gaps=(1, 2, 4, 8), error=2.0, joint=True, smallest=SIDE, largest=480
)
"""For some dozen frames of a video with known lenses, in seconds."""

FEWEST_ALIKE = 8
"""Large features that must match for two pictures to be taken for alike."""

ALIKE_FEATURES = 256
"""Features of a picture, the largest, by which pictures that look alike are found."""


@dataclass(frozen=True)
class SparseModel:
    """What COLMAP made of pictures, in a world and a unit of its own.

    Args:
        poses: camera_to_world [4, 4] float64 by number of the picture, of those that were registered.
        points_seen: how many points of the model each of them shows.
        intrinsics: [3, 3] normalised, of the lens that was found for all pictures; None where lenses were given.
        points: how many points there are.
        error_pixels: mean distance of features from their points, in pixels of the pictures that COLMAP saw.
        seen: [M, 3] by number of the picture: where its points are, in shares of its width and height, and their depth.
    """

    poses: dict[int, Tensor]
    points_seen: dict[int, int]
    intrinsics: Tensor | None
    points: int
    error_pixels: float
    seen: dict[int, np.ndarray]


def import_pycolmap() -> ModuleType:
    """The library, which is loaded only where it is used.

    Raises:
        ImportError: with what to install, or beside a library with which COLMAP reads no pictures.
    """
    if "decord" in sys.modules:
        raise ImportError("decord was used in this process, and COLMAP reads no pictures beside it: read videos with PyAV (the default)")
    try:
        import pycolmap
    except ImportError as error:
        raise ImportError(
            "structure from motion needs pycolmap, which comes with this package where it has wheels; none is installed "
            "here: pip install 'pycolmap>=4.0'"
        ) from error
    return pycolmap


def pycolmap_missing() -> str | None:
    """Why structure from motion cannot run here, or None."""
    try:
        import_pycolmap()
    except ImportError as error:
        return str(error)
    return None


def cameras_by_mapping(
    frames: np.ndarray,
    intrinsics: Tensor,
    anchor: Cameras,
    context_frames: np.ndarray | None = None,
    context_cameras: Cameras | None = None,
    settings: MappingSettings = SMALL_PICTURES,
) -> EstimatedCameras:
    """The cameras of a video, reconstructed together with pictures of the same scene.

    The model is laid over the cameras that are known (`aligned_poses`). Where no camera of the context is known, the
    anchor alone fixes turn and shift, and the scale stays open.

    Args:
        frames: [T, H, W, 3] uint8; frame 0 is the anchor.
        intrinsics: [T, 3, 3] normalised, kept as they are.
        anchor: camera of frame 0 (T = 1).
        context_frames: [N, h, w, 3] uint8, of which at most `CONTEXT` take part, or None.
        context_cameras: their N cameras in the anchor's world, or None; then they share the anchor's lens.
        settings: how pictures are related to each other.

    Returns:
        Cameras of the frames that COLMAP registers; the confidence is the number of points a frame sees.

    Raises:
        GeometryError: where the frames give no model, or one that holds no known camera.
        ImportError: without pycolmap.
    """
    chosen = [] if context_frames is None else thinned(len(context_frames), CONTEXT)
    if len(frames) + len(chosen) < FEWEST_FRAMES:
        raise GeometryError(f"structure from motion needs at least {FEWEST_FRAMES} frames")
    if not any(len(find_features(frame)) for frame in frames[1:]):
        raise GeometryError("no frame has a feature")
    lenses = [anchor.intrinsics[0] if context_cameras is None else context_cameras.intrinsics[index] for index in chosen]
    pictures = chain((context_frames[index] for index in chosen), frames)
    model = map_pictures(pictures, settings, torch.stack([*lenses, *intrinsics]))
    first = len(chosen)  # the context comes first
    context = {chosen[number]: pose for number, pose in model.poses.items() if number < first}
    video = {number - first: pose for number, pose in model.poses.items() if number >= first}
    placed, metric = aligned_poses(video, context, anchor, context_cameras)
    return EstimatedCameras.from_poses(
        placed, intrinsics, anchor, metric=metric,
        confidence={index: float(model.points_seen[first + index]) for index in placed},
        reasons="COLMAP did not register the frame", convention="structure from motion (COLMAP)",
    )  # fmt: skip


def map_pictures(
    pictures: Iterable[np.ndarray], settings: MappingSettings = MappingSettings(), intrinsics: Tensor | None = None
) -> SparseModel:
    """The model that holds most of some pictures.

    Args:
        pictures: N pictures [H, W, 3] uint8, numbered in this order; each is written to disk before the next is asked for.
        settings: of features, matches and mapping.
        intrinsics: [N, 3, 3] normalised, each kept as it is. By default all pictures, which must have one size, share a
            lens without distortion, whose focal length is refined: a radial lens needs more parallax than most footage has.

    Raises:
        GeometryError: where the pictures cannot be related to each other.
        ImportError: without pycolmap, or beside a library with which it reads no pictures.
    """
    pycolmap = import_pycolmap()
    with _quiet(pycolmap), TemporaryDirectory() as name:
        folder = Path(name)
        database, images, output = folder / "database.db", folder / "images", folder / "models"
        images.mkdir(), output.mkdir()
        sizes = [_write(picture, images / f"{number:08d}.png", settings) for number, picture in enumerate(pictures)]
        pycolmap.set_random_seed(SEED)
        _extract(pycolmap, database, images, settings, sizes[0] if intrinsics is None else None)
        if intrinsics is not None:
            _set_intrinsics(pycolmap, database, intrinsics.numpy(), sizes)
        _match(pycolmap, database, settings, len(sizes))
        _check_pairs(pycolmap, database)
        run = _map_jointly if settings.joint else _map_one_by_one
        models = run(pycolmap, database, images, output, settings.threads, refine_lens=intrinsics is None)
        if not models:
            raise GeometryError("no pair of frames that match has enough parallax to start from")
        model = max(models.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()))
        return _read_back(model, with_lens=intrinsics is None)


@contextmanager
def _quiet(pycolmap: ModuleType) -> Iterator[None]:
    """Without COLMAP's log: what goes wrong is raised."""
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = level


def _write(picture: np.ndarray, path: Path, settings: MappingSettings) -> tuple[int, int]:
    """Write a picture in the size that COLMAP is to see, and return its width and height."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    factor = max(longer, settings.smallest) / longer
    if settings.largest is not None and longer > settings.largest:
        factor = settings.largest / longer
    if factor != 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return picture.shape[1], picture.shape[0]


def _extract(
    pycolmap: ModuleType, database: Path, images: Path, settings: MappingSettings, shared_size: tuple[int, int] | None
) -> None:
    """Find features. With the pictures' one width and height they share a lens, otherwise each has its own."""
    if shared_size is None:
        reader, mode = pycolmap.ImageReaderOptions(camera_model="PINHOLE"), pycolmap.CameraMode.PER_IMAGE
    else:
        width, height = shared_size
        lens = max(width, height) / (2 * tan(radians(settings.fov_degrees) / 2)), width / 2, height / 2
        reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE", camera_params=",".join(map(str, lens)))
        mode = pycolmap.CameraMode.SINGLE
    extraction = pycolmap.FeatureExtractionOptions(num_threads=settings.threads, use_gpu=False)
    extraction.sift.max_num_features = settings.features
    extraction.sift.peak_threshold = settings.contrast
    extraction.sift.first_octave = -1 if settings.doubled else 0
    pycolmap.extract_features(
        database, images, camera_mode=mode, reader_options=reader, extraction_options=extraction, device=pycolmap.Device.cpu,
    )  # fmt: skip


def _set_intrinsics(pycolmap: ModuleType, database: Path, intrinsics: np.ndarray, sizes: list[tuple[int, int]]) -> None:
    """Give every picture its lens: intrinsics [N, 3, 3] normalised, width and height of each picture."""
    with pycolmap.Database.open(database) as opened:
        for image in opened.read_all_images():
            number = _number(image)
            matrix = intrinsics[number] * np.array([*sizes[number], 1.0])[:, None]
            camera = opened.read_camera(image.camera_id)
            camera.params = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
            camera.has_prior_focal_length = True
            opened.update_camera(camera)


def _match(pycolmap: ModuleType, database: Path, settings: MappingSettings, count: int) -> None:
    """Match `count` pictures with each other, or, where they are many or frames of a video, with chosen ones."""
    matching = pycolmap.FeatureMatchingOptions(num_threads=settings.threads, use_gpu=False)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    verification.ransac.max_error = settings.error
    if settings.gaps is not None:
        listing = database.with_suffix(".pairs")
        pairs = sorted(_video_pairs(pycolmap, database, settings, count))
        listing.write_text("".join(f"{first:08d}.png {second:08d}.png\n" for first, second in pairs))
        relate, pairing = pycolmap.match_image_pairs, pycolmap.ImportedPairingOptions(match_list_path=listing)
    elif count <= settings.exhaustive:
        relate, pairing = pycolmap.match_exhaustive, pycolmap.ExhaustivePairingOptions()
    else:
        relate, pairing = pycolmap.match_sequential, pycolmap.SequentialPairingOptions(overlap=settings.overlap)
    relate(database, matching, pairing, verification, device=pycolmap.Device.cpu)


def _video_pairs(pycolmap: ModuleType, database: Path, settings: MappingSettings, count: int) -> set[tuple[int, int]]:
    """Pairs of frames at the gaps of the settings, and those of which most of the largest features match."""
    pairs = {(index - gap, index) for gap in settings.gaps for index in range(gap, count)}
    largest = [np.zeros((0, 128), dtype=np.float32)] * count
    with pycolmap.Database.open(database) as opened:
        for image in opened.read_all_images():
            points, found = opened.read_keypoints(image.image_id), opened.read_descriptors(image.image_id)
            values = np.asarray(found.data if hasattr(found, "data") else found, dtype=np.float32)
            sizes = np.abs(points[:, 2:]).max(1) if len(points) and points.shape[1] > 2 else np.zeros(len(points))
            chosen = values[np.argsort(-sizes, kind="stable")[:ALIKE_FEATURES]]
            largest[_number(image)] = chosen / np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-6)
    alike = np.zeros((count, count))
    for first in range(count):
        for second in range(first + 1, count):
            if (first, second) not in pairs and min(len(largest[first]), len(largest[second])) > 1:
                one, other = (Features(largest[number][:, :2], largest[number]) for number in (first, second))
                alike[first, second] = alike[second, first] = len(match(one, other))
    for index in range(count):
        for other in np.argsort(-alike[index], kind="stable")[: settings.alike]:
            if alike[index, other] >= FEWEST_ALIKE:
                pairs.add((min(index, int(other)), max(index, int(other))))
    return pairs


def _check_pairs(pycolmap: ModuleType, database: Path) -> None:
    """Refuse footage whose matches tell nothing about the way of the camera."""
    with pycolmap.Database.open(database) as opened:
        _, geometries = opened.read_two_view_geometries()
    matching = [geometry for geometry in geometries if len(geometry.inlier_matches)]
    kinds = [pycolmap.TwoViewGeometryConfiguration(geometry.config).name for geometry in matching]
    if not kinds:
        raise GeometryError("no two frames show enough of the same features (blank, blurred or far apart)")
    if all(kind in HOMOGRAPHIES for kind in kinds):
        raise GeometryError(
            f"a homography explains all {len(kinds)} matching pairs of frames: the camera only turns, stands still, "
            "or sees a single plane"
        )


def _map_one_by_one(pycolmap: ModuleType, database: Path, images: Path, output: Path, threads: int, refine_lens: bool) -> dict:
    options = pycolmap.IncrementalPipelineOptions(
        num_threads=threads, random_seed=SEED, min_model_size=FEWEST_FRAMES, extract_colors=False,
        ba_refine_focal_length=refine_lens,
    )  # fmt: skip
    options.mapper.abs_pose_refine_focal_length = refine_lens
    return pycolmap.incremental_mapping(database, images, output, options)


def _map_jointly(pycolmap: ModuleType, database: Path, images: Path, output: Path, threads: int, refine_lens: bool) -> dict:
    options = pycolmap.GlobalPipelineOptions(num_threads=threads, random_seed=SEED, min_model_size=FEWEST_FRAMES)
    options.mapper.num_threads, options.mapper.random_seed = threads, SEED
    options.mapper.bundle_adjustment.refine_focal_length = refine_lens
    return pycolmap.global_mapping(database, images, output, options)


def _read_back(model, with_lens: bool) -> SparseModel:
    """What is kept of a `pycolmap.Reconstruction`."""
    images = {_number(image): image for image in model.images.values() if image.has_pose}
    poses = {}
    for number, image in images.items():
        world_to_camera = torch.eye(4, dtype=torch.float64)
        world_to_camera[:3] = torch.from_numpy(image.cam_from_world().matrix())
        poses[number] = invert_rigid(world_to_camera)
    camera = next(iter(model.cameras.values()))
    lens = Lens("SIMPLE_PINHOLE", camera.width, camera.height, tuple(camera.params.tolist()))
    return SparseModel(
        poses,
        {number: int(image.num_points3D) for number, image in images.items()},
        lens.intrinsics if with_lens else None,
        model.num_points3D(),
        float(model.compute_mean_reprojection_error()),
        {number: _seen(model, image, poses[number]) for number, image in images.items()},
    )


def _seen(model, image, pose: Tensor) -> np.ndarray:
    """The points that a picture shows: [M, 3] places as shares of its size, and depth."""
    camera = model.cameras[image.camera_id]
    found = [(point.xy, model.points3D[point.point3D_id].xyz) for point in image.points2D if point.has_point3D()]
    if not found:
        return np.zeros((0, 3))
    places, points = (np.array(values) for values in zip(*found, strict=True))
    depth = (points - pose[:3, 3].numpy()) @ pose[:3, 2].numpy()
    return np.concatenate([places / [camera.width, camera.height], depth[:, None]], axis=1)


def _number(image) -> int:
    """The number of a picture, by its name."""
    return int(Path(image.name).stem)

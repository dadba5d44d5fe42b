"""Structure from motion by COLMAP (the extra `sfm`): a folder of pictures in, a sparse model out.

Works on the processor. Seeds are fixed, so that runs with one thread repeat; with more, sums are rounded in another order
and cameras differ in their last digits, rarely in which frames are registered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

FEWEST_FRAMES = 3
SEED = 0
HOMOGRAPHIES = ("PLANAR", "PANORAMIC", "PLANAR_OR_PANORAMIC")  # COLMAP's kinds of pairs


class MappingError(ValueError):
    """Pictures that give no model; the message says why."""


@dataclass(frozen=True)
class MappingSettings:
    """How pictures are related to each other.

    Args:
        features: most features of a picture.
        contrast: least contrast of a feature.
        overlap: each picture is matched with so many after it, and with some at growing distances.
        exhaustive: up to so many pictures are all matched with each other.
        error: pixels within which a match agrees with the motion of a pair of pictures.
        joint: whether all cameras are found together from the motions of all pairs (GLOMAP, Pan et al., ECCV 2024) instead of one
            after the other from a first pair. With known lenses this is the sturdier way for few pictures: a first pair that sees
            little depth may turn the whole model inside out.
        threads: of the processor, -1 for all.
    """

    features: int = 4096
    contrast: float = 0.02 / 3
    overlap: int = 10
    exhaustive: int = 32
    error: float = 4.0
    joint: bool = False
    threads: int = 1


def import_pycolmap() -> ModuleType:
    """The library.

    Raises:
        ImportError: with what to install.
    """
    try:
        import pycolmap
    except ImportError as error:
        raise ImportError("finding cameras of footage needs pycolmap: pip install 'video4spatial[sfm]'") from error
    return pycolmap


@contextmanager
def quiet(pycolmap: ModuleType) -> Iterator[None]:
    """Without COLMAP's log: what goes wrong is raised."""
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = level


def map_pictures(
    folder: Path,
    settings: MappingSettings,
    *,
    lens: tuple[float, float, float] | None = None,
    intrinsics: Mapping[str, np.ndarray] | None = None,
):
    """The model with most pictures.

    Args:
        folder: with the pictures in `images`; the database and models are put beside them.
        settings: of features, matches and mapping.
        lens: focal length and principal point (x, y) in pixels that all pictures share at first; the focal length is refined.
        intrinsics: [3, 3] in pixels by picture name, each kept as it is. One of the two is needed.

    Returns:
        A `pycolmap.Reconstruction`.

    Raises:
        MappingError: where the pictures cannot be related to each other.
        ImportError: without pycolmap.
    """
    pycolmap = import_pycolmap()
    database, images, threads = folder / "database.db", folder / "images", settings.threads
    pycolmap.set_random_seed(SEED)
    # Without distortion: a radial lens needs more parallax than most footage has.
    if intrinsics is None:
        reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_PINHOLE", camera_params=",".join(map(str, lens)))
        mode = pycolmap.CameraMode.SINGLE
    else:
        reader, mode = pycolmap.ImageReaderOptions(camera_model="PINHOLE"), pycolmap.CameraMode.PER_IMAGE
    extraction = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False)
    extraction.sift.max_num_features = settings.features
    extraction.sift.peak_threshold = settings.contrast
    pycolmap.extract_features(
        database, images, camera_mode=mode, reader_options=reader, extraction_options=extraction, device=pycolmap.Device.cpu,
    )  # fmt: skip
    if intrinsics is not None:
        _set_intrinsics(pycolmap, database, intrinsics)
    matching = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    verification.ransac.max_error = settings.error
    if len(list(images.iterdir())) <= settings.exhaustive:
        match, pairing = pycolmap.match_exhaustive, pycolmap.ExhaustivePairingOptions()
    else:
        match, pairing = pycolmap.match_sequential, pycolmap.SequentialPairingOptions(overlap=settings.overlap)
    match(database, matching, pairing, verification, device=pycolmap.Device.cpu)
    _check_pairs(pycolmap, database)
    (folder / "models").mkdir()
    run = _map_jointly if settings.joint else _map_one_by_one
    models = run(pycolmap, database, images, folder / "models", threads, refine_lens=intrinsics is None)
    if not models:
        raise MappingError("no pair of frames that match has enough parallax to start from")
    return max(models.values(), key=lambda model: (model.num_reg_images(), model.num_points3D()))


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


def _set_intrinsics(pycolmap: ModuleType, database: Path, intrinsics: Mapping[str, np.ndarray]) -> None:
    with pycolmap.Database.open(database) as opened:
        for image in opened.read_all_images():
            matrix = intrinsics[image.name]
            camera = opened.read_camera(image.camera_id)
            camera.params = [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]
            camera.has_prior_focal_length = True
            opened.update_camera(camera)


def _check_pairs(pycolmap: ModuleType, database: Path) -> None:
    """Refuse footage whose matches tell nothing about the way of the camera."""
    with pycolmap.Database.open(database) as opened:
        _, geometries = opened.read_two_view_geometries()
    matching = [geometry for geometry in geometries if len(geometry.inlier_matches)]
    kinds = [pycolmap.TwoViewGeometryConfiguration(geometry.config).name for geometry in matching]
    if not kinds:
        raise MappingError("no two frames show enough of the same features (blank, blurred or far apart)")
    if all(kind in HOMOGRAPHIES for kind in kinds):
        raise MappingError(
            f"a homography explains all {len(kinds)} matching pairs of frames: the camera only turns, stands still, "
            "or sees a single plane"
        )

"""Scenes with a COLMAP model: `images/` beside `sparse/0/`, `sparse/`, `colmap/` or the model's files themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import Pictures, ReaderError, SourceMissing, Undistortion, camera_files, images, scenes_below
from video4spatial.cameras import Cameras
from video4spatial.cameras.formats import colmap
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.captures import Capture

DESCRIPTION = "folder with images/ and a COLMAP model in sparse/0/, sparse/ or colmap/"
MODELS = ("sparse/0", "sparse", "colmap", ".")
PICTURES = ("images", "rgb", ".")


def find(source: str) -> list[str]:
    """Scenes at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), lambda folder: _model(folder) is not None)]


def read(scene: str, frame_rate: float = 4.0) -> Capture:
    """A scene with its registered images, ordered by name, undistorted where the lens bends lines.

    Args:
        scene: folder.
        frame_rate: COLMAP knows no times; images are taken to follow each other at this rate.
    """
    folder = Path(scene)
    model = _model(folder)
    if model is None:
        raise ReaderError(f"{folder}: no COLMAP model in {', '.join(MODELS)}")
    with camera_files():
        registered = colmap.read_images(model)
    return capture_of_images(folder, registered, _pictures_folder(folder, registered), frame_rate, "colmap")


def capture_of_images(
    folder: Path, registered: list[colmap.Image], pictures: Path, frame_rate: float, reader: str, **fields
) -> Capture:
    """The capture of images with COLMAP poses; images that the model lists but that do not exist are left out and named.

    Args:
        folder: of the scene.
        registered: images in order, all of one lens.
        pictures: folder of the image files.
        frame_rate: for their times.
        reader: name of the reader, for the provenance.
        fields: further arguments of `Capture`.
    """
    found = [image for image in registered if (pictures / image.name).is_file()]
    missing = [image.name for image in registered if not (pictures / image.name).is_file()]
    if not found:
        raise SourceMissing(f"{pictures}: none of the {len(registered)} images of the model is there ({missing[0]}, ...)")
    lenses = {image.lens for image in found}
    if len(lenses) > 1:
        raise ReaderError(f"{folder}: images of {len(lenses)} lenses in one model; expected one per capture")
    (lens,) = lenses
    video = images([pictures / image.name for image in found], frame_rate)
    lens = resized(lens, video.height, video.width)
    camera_to_world = invert_rigid(torch.stack([image.world_to_camera for image in found]))
    return Capture(
        **{
            "name": folder.name,
            "frame_count": len(found),
            "height": video.height,
            "width": video.width,
            "times": video.times,
            "read_frames": Pictures(video, tuple(range(len(found))), Undistortion(lens) if lens.distorted else None),
            "cameras": Cameras(camera_to_world, lens.intrinsics, metric=False, times=torch.from_numpy(np.array(video.times))),
            "provenance": {
                "reader": reader,
                "source": str(folder),
                "convention": "COLMAP: OpenCV world-to-camera, quaternions wxyz, pixels from the corner",
                "lens": lens.model,
                "left_out": {"image_missing": missing} if missing else {},
            },
            **fields,
        }
    )


def resized(lens: colmap.Lens, height: int, width: int) -> colmap.Lens:
    """The lens for pictures of another size. Sizes come from the files: names of folders such as images_4 are not trusted.

    Args:
        lens: as the model has it.
        height: of the pictures in pixels.
        width: of the pictures in pixels.

    Raises:
        ReaderError: for pictures of another aspect, which were cropped.
    """
    if (lens.height, lens.width) == (height, width):
        return lens
    across, down = width / lens.width, height / lens.height
    if abs(across / down - 1) > 0.02:
        raise ReaderError(
            f"pictures of {width}x{height} do not have the shape of the model's {lens.width}x{lens.height}: they were cropped"
        )
    parameters = list(lens.parameters)
    for place, factor in zip(lens.places, (across, down, across, down)):
        parameters[place] = lens.parameters[place] * factor
    return colmap.Lens(lens.model, width, height, tuple(parameters))


def _model(folder: Path) -> Path | None:
    return next((folder / name for name in MODELS if colmap.sniff(folder / name)), None)


def _pictures_folder(folder: Path, registered: list[colmap.Image]) -> Path:
    for name in PICTURES:
        if (folder / name / registered[0].name).is_file():
            return folder / name
    present = [folder / name for name in PICTURES if (folder / name).is_dir()]
    return present[0]

"""Scenes with a COLMAP model: `images/` beside `sparse/0/`, `sparse/`, `colmap/` or the model's files themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data_curation.readers.support import Pictures, ReaderError, SourceMissing, camera_files, posed_images, scenes_below
from video4spatial.cameras import Cameras
from video4spatial.cameras.formats import colmap
from video4spatial.cameras.rotations import invert_rigid
from video4spatial.captures import Capture
from video4spatial.media import image_paths
from video4spatial.media.picture_names import find_file
from video4spatial.media.undistortion import Undistortion

DESCRIPTION = "folder with images/ and a COLMAP model in sparse/, colmap/ or their numbered parts"
PICTURES = ("images", "rgb", ".")


def find(source: str) -> list[str]:
    """Scenes at or below the folder `source`."""
    return [str(scene) for scene in scenes_below(Path(source), colmap.sniff)]


def read(scene: str, frame_rate: float = 4.0) -> Capture:
    """A scene with its registered images, ordered by name, undistorted where a lens bends lines. Of a model of several parts the largest.

    Args:
        scene: folder.
        frame_rate: COLMAP knows no times; images are taken to follow each other at this rate.
    """
    folder = Path(scene)
    if not colmap.sniff(folder):
        raise ReaderError(f"{folder}: no COLMAP model in it, in {', '.join(filter(None, colmap.PLACES))} or their numbered parts")
    with camera_files() as notes:
        registered = colmap.read_images(folder)
    pictures = _pictures_folder(folder, registered)
    capture = capture_of_images(folder, registered, pictures, frame_rate, "colmap", notes)
    seen = set(capture.read_frames.video.images)
    lacking = [path.name for path in image_paths(pictures) if path not in seen]
    if lacking:
        capture.provenance["left_out"]["no_camera"] = lacking
    return capture


def capture_of_images(
    folder: Path,
    registered: list[colmap.Image],
    pictures: Path,
    frame_rate: float,
    reader: str,
    notes: list[str],
    **fields,
) -> Capture:
    """The capture of images with COLMAP poses; images that the model lists but that do not exist are left out and named.

    Args:
        folder: of the scene.
        registered: images in order, each with its lens.
        pictures: folder of the image files.
        frame_rate: for their times.
        reader: name of the reader, for the provenance.
        notes: what was said when the model was read.
        fields: further arguments of `Capture`.
    """
    files = [find_file(pictures, image.name) for image in registered]
    found = [image for image, file in zip(registered, files) if file is not None]
    missing = [image.name for image, file in zip(registered, files) if file is None]
    if not found:
        raise SourceMissing(f"{pictures}: none of the {len(registered)} images of the model is there ({missing[0]}, ...)")
    video, lenses, more = posed_images(
        [file for file in files if file is not None], frame_rate, lambda size: [image.lens.resized(*size) for image in found]
    )
    with camera_files():
        undistortion = Undistortion.of(lenses)
    camera_to_world = invert_rigid(torch.stack([image.world_to_camera for image in found]))
    intrinsics = torch.stack([lens.intrinsics for lens in lenses])
    return Capture(
        **{
            "name": folder.name,
            "frame_count": len(found),
            "height": video.height,
            "width": video.width,
            "times": video.times,
            "read_frames": Pictures(video, tuple(range(len(found))), undistortion),
            "cameras": Cameras(camera_to_world, intrinsics, metric=False, times=torch.from_numpy(np.array(video.times))),
            "provenance": {
                "reader": reader,
                "source": str(folder),
                "convention": "COLMAP: OpenCV world-to-camera, quaternions wxyz, pixels from the corner",
                "lens": ", ".join(dict.fromkeys(lens.model for lens in lenses)),
                "left_out": {"image_missing": missing} if missing else {},
                "notes": [*notes, *more],
            },
            **fields,
        }
    )


def _pictures_folder(folder: Path, registered: list[colmap.Image]) -> Path:
    """The folder that holds the most of the registered images."""
    present = [folder / name for name in PICTURES if (folder / name).is_dir()]
    return max(present, key=lambda place: sum(find_file(place, image.name) is not None for image in registered))

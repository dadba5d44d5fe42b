"""Camera files. A format is one module of this folder and one line in `FORMATS`.

A format module offers

- `DESCRIPTION`: one line for people, shown where a file is not recognised;
- `SUFFIXES`: endings that choose the format when writing (may be empty);
- `sniff(path) -> bool`: whether a file (or folder) looks like this format, from its first lines;
- `read(path, stated) -> CameraFile`: cameras [T] in our convention, which name the one that was read, with the names and lenses of
  their pictures where the file has them. What the user or the pictures state serves files that do not say it themselves. Frames are in
  order of time, or of the pictures' names. What is wrong with a file is raised as `CameraFileError`;
- `write(path, cameras, image_size)`, where the format is written as well: writes cameras [T] to a path that does not exist yet.
  `image_size` is (height, width) in pixels or None, for formats that store pixels. What the format cannot hold is raised as
  `CameraError`, or left out with a warning. Formats that name the pictures of their cameras (`NAMES_IMAGES`) take `image_names` as well.
"""

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.checks import CameraError
from video4spatial.cameras.formats import (
    camera_path,
    colmap,
    kitti,
    matrices,
    motionctrl,
    npz,
    openmvg,
    opensfm,
    realestate10k,
    recammaster,
    tartanair,
    transforms_json,
    tum,
    worldplay,
)
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError
from video4spatial.files import written_aside
from video4spatial.naming import some, unknown

MOST_TRIED = 100
"""Files of a folder that are looked at for a hint which one to give."""

FORMATS: dict[str, ModuleType] = {
    "transforms": transforms_json,
    "realestate10k": realestate10k,
    "tum": tum,
    "kitti": kitti,
    "colmap": colmap,
    "npz": npz,
    "recammaster": recammaster,
    "worldplay": worldplay,
    "camera_path": camera_path,
    "matrices": matrices,
    "motionctrl": motionctrl,
    "tartanair": tartanair,
    "opensfm": opensfm,
    "openmvg": openmvg,
}
WRITABLE = tuple(name for name, module in FORMATS.items() if hasattr(module, "write"))
"""Formats that are written as well as read."""


def read_cameras(
    path: str | PathLike,
    format: str | None = None,
    *,
    fov_degrees: float | None = None,
    aspect: float | None = None,
) -> Cameras:
    """Read a camera file and convert it to OpenCV camera-to-world once, at the door.

    Args:
        path: the file, or the folder of a COLMAP model.
        format: a name in `FORMATS`; by default it is recognised from the content.
        fov_degrees: horizontal field of view, used for files without intrinsics (60 along the longer side if not given, with a
            warning).
        aspect: width / height of the pictures for files that do not say it (1 if not given).

    Returns:
        Cameras [T] whose `convention` says what was read. Where a lens bends lines they are those of the undistorted pictures, which is
        said with a warning; `read_camera_file` gives the lenses.

    Raises:
        FileNotFoundError: where there is no such file.
        CameraFileError: a ValueError that names the file and, for tables, the line.
    """
    file = read_camera_file(path, format, Stated(fov_degrees, aspect))
    warn_distortion(path, file)
    return file.cameras


def warn_distortion(path: str | PathLike, file: CameraFile) -> None:
    """Say that the lenses of a file's pictures are left out, where they bend lines.

    Args:
        path: the file, for the warning.
        file: what it holds.
    """
    if file.distorted:
        warnings.warn(
            f"{path}: the pictures are distorted ({', '.join(file.distorted)}): these are the cameras of undistorted ones, the lens "
            "itself is left out",
            stacklevel=3,
        )


def read_camera_file(path: str | PathLike, format: str | None = None, stated: Stated = Stated()) -> CameraFile:
    """Read a camera file with the names and lenses of its pictures.

    Args:
        path: the file, or the folder of a COLMAP model or of matrices.
        format: a name in `FORMATS`; by default it is recognised from the content.
        stated: what the user or the pictures say, for what the file does not.

    Raises:
        FileNotFoundError: where there is no such file.
        CameraFileError: a ValueError that names the file and, for tables, the line.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such camera file")
    if path.is_file() and path.stat().st_size == 0:
        raise CameraFileError(f"{path}: the file is empty")
    name = _checked_name(format) if format is not None else detect_format(path)
    try:
        return FORMATS[name].read(path, stated)
    except CameraFileError:
        raise
    except CameraError as error:
        raise CameraFileError(f"{path}: {error}") from error


def write_cameras(
    path: str | PathLike,
    cameras: Cameras,
    format: str | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    image_names: Sequence[str] | None = None,
) -> None:
    """Write a camera file aside and rename it into place, so that no half-written file is ever seen.

    Args:
        path: the file (a folder that does not exist yet for COLMAP); its folder must exist.
        cameras: cameras [T] without batch axes.
        format: a name in `FORMATS`; by default it follows from the ending (.json: transforms, .tum, .kitti, .npz).
        image_size: (height, width) for formats that store pixels; by default 1024 wide with square pixels.
        image_names: of the pictures of the T cameras, for formats that name them (transforms, colmap).

    Raises:
        FileNotFoundError: where the folder does not exist.
        CameraFileError: for cameras or names that the format cannot hold, or an unknown format.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder, so {path.name} cannot be written there")
    if cameras.batch_shape != ():
        raise CameraFileError(f"{path}: a file holds one path, given a batch of shape {tuple(cameras.batch_shape)}")
    name = format_to_write(path, format)
    named = {} if image_names is None else {"image_names": list(image_names)}
    if named and not getattr(FORMATS[name], "NAMES_IMAGES", False):
        raise CameraFileError(f"{path}: {name} does not name the pictures of cameras: leave `image_names` out")
    if named and len(image_names) != len(cameras):
        raise CameraFileError(f"{path}: {len(image_names)} `image_names` for {len(cameras)} cameras")
    try:
        with written_aside(path) as aside:
            FORMATS[name].write(aside, cameras, image_size, **named)
            if path.is_dir():
                raise CameraFileError("there is a folder of that name already: remove it or choose another name")
    except CameraError as error:
        raise CameraFileError(f"{path}: {error}") from error


def format_to_write(path: str | PathLike, format: str | None = None) -> str:
    """The format in which a file will be written.

    Args:
        path: of the file.
        format: a name in `FORMATS`; by default it follows from the ending.

    Raises:
        CameraFileError: for a format that is unknown or only read, or an ending that says none.
    """
    name = _checked_name(format) if format is not None else _format_of_suffix(Path(path))
    if name not in WRITABLE:
        raise CameraFileError(f"{path}: {name} is read, not written; written are {', '.join(WRITABLE)}")
    return name


def detect_format(path: str | PathLike) -> str:
    """Recognise the format of a camera file from its first lines.

    Args:
        path: the file, or the folder of a COLMAP model.

    Returns:
        A name in `FORMATS`.

    Raises:
        CameraFileError: where no format fits, with the names of those known, or more than one does.
    """
    path = Path(path)
    matches = [name for name, module in FORMATS.items() if module.sniff(path)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise CameraFileError(f"{path}: could be {' or '.join(matches)}; name the format")
    inside = [child for child in sorted(path.iterdir()) if child.is_file()][:MOST_TRIED] if path.is_dir() else []
    if cameras := [child.name for child in inside if any(module.sniff(child) for module in FORMATS.values())]:
        raise CameraFileError(f"{path}: a folder with camera files in it: give one of them, {some(cameras)}")
    raise CameraFileError(
        f"{path}: not a camera file that is recognised; known are {', '.join(FORMATS)} (docs/formats.md says how they look)"
    )


def _checked_name(name: str) -> str:
    if name in FORMATS:
        return name
    raise CameraFileError(f"{unknown('camera format', name, FORMATS)}; known: {', '.join(FORMATS)}")


def _format_of_suffix(path: Path) -> str:
    for name, module in FORMATS.items():
        if path.suffix.lower() in module.SUFFIXES:
            return name
    raise CameraFileError(
        f"{path}: the ending {path.suffix!r} does not say which format to write; name it: {', '.join(WRITABLE)}"
    )


__all__ = [
    "FORMATS", "WRITABLE", "CameraFile", "CameraFileError", "Stated", "detect_format", "format_to_write", "read_camera_file",
    "read_cameras", "warn_distortion", "write_cameras",
]  # fmt: skip

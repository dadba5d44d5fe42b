"""COLMAP models: a folder with `cameras` and `images` as text or binary.

Poses are world-to-camera quaternions (the real part first) and translations with OpenCV axes; lengths are not metres. The corner of
the first pixel is (0, 0) and its centre (0.5, 0.5), as in our cameras, so principal points carry over without a shift. Images are
ordered by name, because identities follow the reconstruction rather than time.
"""

import struct
import warnings
from dataclasses import dataclass
from io import BufferedReader
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats.camera_file import CameraFile, Stated
from video4spatial.cameras.formats.reading import CameraFileError, numbers_of, pixel_size, raise_problems, rigid_poses
from video4spatial.cameras.lenses import MODELS, Lens
from video4spatial.cameras.rotations import invert_rigid, matrices_from_quaternions, quaternions_from_matrices
from video4spatial.naming import natural_key, some

DESCRIPTION = "folder with cameras.txt and images.txt, or both as .bin, or with sparse/0 and so on (COLMAP)"
SUFFIXES: tuple[str, ...] = ()
NAMES_IMAGES = True
NAMES = ("cameras", "images")
PLACES = ("", "sparse", "colmap", "colmap/sparse")
"""Where a folder may hold a model, or its parts as 0, 1, 2 ..."""
QUATERNION_TOLERANCE = 0.02


@dataclass(frozen=True)
class Image:
    """One registered image.

    Args:
        name: of its file.
        world_to_camera: [4, 4] rigid motion.
        lens: that took it.
    """

    name: str
    world_to_camera: Tensor
    lens: Lens


def sniff(path: Path) -> bool:
    """Whether `path` is a folder that holds a model, or its parts."""
    return bool(parts(path))


def parts(path: Path) -> list[Path]:
    """The folders of a model in a folder or below it: several where COLMAP could not join all images, each in a world of its own.

    Args:
        path: of the model, of its parts (sparse), or of the scene.

    Returns:
        The parts, the one with the most images first; [] where there is no model.
    """
    for place in (path / name for name in PLACES):
        # COLMAP counts parts from 0 without zeros in front; folders of other numbers are scenes.
        numbered = sorted(place.glob("[0-9]*")) if (place / "0").is_dir() else []
        numbered = [part for part in numbered if part.name.isdecimal() and part.name == str(int(part.name))]
        found = [place] if _suffix(place) else [part for part in numbered if _suffix(part)]
        if found:
            return sorted(found, key=lambda part: -_announced(part)) if len(found) > 1 else found
    return []


def read(path: Path, stated: Stated) -> CameraFile:
    """Read the model in `path`, of several parts the largest, which is said. It holds its intrinsics: what is `stated` is not used."""
    images = read_images(path)
    cameras = Cameras(
        invert_rigid(torch.stack([image.world_to_camera for image in images])),
        torch.stack([image.lens.intrinsics for image in images]),
        metric=False,
        convention="COLMAP: OpenCV world-to-camera, quaternions wxyz, intrinsics in pixels, ordered by name",
    )
    return CameraFile(cameras, tuple(image.name for image in images), tuple(image.lens for image in images))


def read_images(path: str | PathLike) -> list[Image]:
    """The registered images of a model, distorted or not.

    Args:
        path: folder of the model, or one that holds it (see `parts`). Of several parts the largest is read; the others are named
            with a warning.

    Returns:
        Images ordered by name, numbers in names by value.

    Raises:
        CameraFileError: for a folder without a model, a damaged file, or an image whose camera is missing.
    """
    path, asked = _part(Path(path)), path
    suffix = _suffix(path)
    if suffix is None:
        raise CameraFileError(f"{asked}: expected a folder with cameras.txt and images.txt, or both as .bin")
    if suffix == ".txt":
        lenses, rows = _text_lenses(path / "cameras.txt"), _text_images(path / "images.txt")
    else:
        lenses = _binary(path / "cameras.bin", _binary_lenses)
        rows = _binary(path / "images.bin", _binary_images)
    if not rows:
        raise CameraFileError(f"{path / ('images' + suffix)}: no registered images")
    problems = [f"image {name!r} has camera {lens}, which cameras{suffix} does not hold"
                for name, _, _, lens in rows if lens not in lenses]  # fmt: skip
    quaternions = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    for (name, *_), norm in zip(rows, torch.linalg.vector_norm(quaternions, dim=-1).tolist()):
        if not abs(norm - 1) <= QUATERNION_TOLERANCE:
            problems.append(f"image {name!r}: the quaternion has length {norm:.3g} instead of 1")
    raise_problems(path, problems)
    translations = torch.tensor([row[2] for row in rows], dtype=torch.float64)
    poses = rigid_poses(matrices_from_quaternions(quaternions), translations)
    images = [Image(row[0], pose, lenses[row[3]]) for row, pose in zip(rows, poses)]
    return sorted(images, key=lambda image: natural_key(image.name))


def write(path: Path, cameras: Cameras, image_size: tuple[int, int] | None, image_names: list[str] | None = None) -> None:
    """Write `cameras` for pictures of `image_size` as a text model without points to the new folder `path`.

    There is one PINHOLE camera per distinct intrinsics; images without names are called frame_000000.png and so on.
    """
    height, width = pixel_size(cameras, image_size)
    pixels = cameras.pixel_intrinsics(height, width)
    if (pixels[:, 0, 1] != 0).any():
        raise CameraFileError("COLMAP's pinhole cannot hold skewed intrinsics")
    rows = [(k[0][0], k[1][1], k[0][2], k[1][2]) for k in pixels.tolist()]
    lenses = {row: number for number, row in enumerate(dict.fromkeys(rows), start=1)}
    path.mkdir()
    lines = ["# camera, model, width, height, fx fy cx cy in pixels"]
    lines += [f"{number} PINHOLE {width} {height} " + " ".join(map(repr, row)) for row, number in lenses.items()]
    (path / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["# image, qw qx qy qz, tx ty tz (world-to-camera), camera, name; then a line of points, here empty"]
    world_to_camera = cameras.world_to_camera
    quaternions = quaternions_from_matrices(world_to_camera[:, :3, :3])
    names = image_names or [f"frame_{index:06d}.png" for index in range(len(cameras))]
    for index, (quaternion, pose) in enumerate(zip(quaternions.tolist(), world_to_camera.tolist())):
        numbers = [*quaternion, *(row[3] for row in pose[:3])]
        lines += [f"{index + 1} " + " ".join(map(repr, numbers)) + f" {lenses[rows[index]]} {names[index]}", ""]
    (path / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path / "points3D.txt").write_text("# no points\n", encoding="utf-8")


def _suffix(path: Path) -> str | None:
    return next((s for s in (".bin", ".txt") if all((path / f"{name}{s}").is_file() for name in NAMES)), None)


def _part(path: Path) -> Path:
    """The part to read of a model, said where there are others, also where one of them is given itself."""
    found = parts(path)
    part = found[0] if found else path
    beside = parts(part.parent) if part.name.isdecimal() else []
    others = [other for other in beside if other != part and other.parent == part.parent]
    if others:
        counts = some([f"{other.name} ({_announced(other)})" for other in others])
        warnings.warn(
            f"{part.parent}: a model of {len(others) + 1} parts, each in a world of its own: {part.name} ({_announced(part)} images) is "
            f"read, not {counts}", stacklevel=4,
        )  # fmt: skip
    return part


def _announced(path: Path) -> int:
    """How many images a model holds; 0 for one that is damaged."""
    suffix = _suffix(path)
    try:
        if suffix == ".bin":
            with (path / "images.bin").open("rb") as file:
                return _unpack(file, "Q")[0]
        return len(_text_images(path / "images.txt"))
    except (struct.error, CameraFileError):
        return 0


def _lens(path: Path, where: str, model: str, width: int, height: int, parameters: tuple[float, ...]) -> Lens:
    if model not in MODELS:
        raise CameraFileError(f"{path}: {where}: unknown camera model {model!r}")
    if len(parameters) != MODELS[model][0] or width < 1 or height < 1:
        raise CameraFileError(
            f"{path}: {where}: {model} of {width} x {height} pixels with {len(parameters)} parameters, "
            f"expected {MODELS[model][0]} and a size above zero"
        )
    return Lens(model, width, height, parameters)


def _text_lines(path: Path) -> list[tuple[int, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CameraFileError(f"{path}: not a text file ({error.reason} at byte {error.start})") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if not line.startswith("#")]


def _text_lenses(path: Path) -> dict[int, Lens]:
    lenses = {}
    for number, line in _text_lines(path):
        if not line:
            continue
        try:
            identity, model, width, height, *parameters = line.split()
            values = int(identity), int(width), int(height), tuple(map(float, parameters))
        except ValueError as error:
            raise CameraFileError(f"{path}: line {number}: expected camera, model, width, height, parameters") from error
        lenses[values[0]] = _lens(path, f"line {number}", model, *values[1:])
    return lenses


def _text_images(path: Path) -> list[tuple[str, list[float], list[float], int]]:
    """(name, quaternion wxyz, translation, camera) of each image. Below it may stand a line of its points, which may be empty."""
    rows: list[tuple[str, list[float], list[float], int]] = []
    points_may_follow = False
    for number, line in _text_lines(path):
        if not line:
            continue
        if points_may_follow and _are_points(line):
            points_may_follow = False
            continue
        try:
            _, *numbers, camera, name = line.split(maxsplit=9)
            values = [float(value) for value in numbers]
            if len(values) != 7:
                raise ValueError
            rows.append((name, values[:4], values[4:], int(camera)))
        except ValueError as error:
            raise CameraFileError(
                f"{path}: line {number}: expected image, qw qx qy qz, tx ty tz, camera, name "
                "(and below each such line one of points, which may be empty)"
            ) from error
        points_may_follow = True
    return rows


def _are_points(line: str) -> bool:
    """Whether a line holds triples of numbers: x, y and the number of a point in space."""
    numbers = numbers_of(line)
    return numbers is not None and len(numbers) % 3 == 0


def _binary(path: Path, parse):
    try:
        with path.open("rb") as file:
            return parse(path, file)
    except (struct.error, UnicodeDecodeError, EOFError) as error:
        raise CameraFileError(f"{path}: damaged or cut short ({error})") from error


def _unpack(file: BufferedReader, layout: str) -> tuple:
    return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))


def _binary_lenses(path: Path, file: BufferedReader) -> dict[int, Lens]:
    lenses = {}
    for _ in range(_unpack(file, "Q")[0]):
        identity, model, width, height = _unpack(file, "iiQQ")
        if not 0 <= model < len(MODELS):
            raise CameraFileError(f"{path}: camera {identity}: unknown camera model number {model}")
        name = list(MODELS)[model]
        lenses[identity] = _lens(path, f"camera {identity}", name, width, height, _unpack(file, f"{MODELS[name][0]}d"))
    return lenses


def _binary_images(path: Path, file: BufferedReader) -> list[tuple[str, list[float], list[float], int]]:
    rows = []
    for _ in range(_unpack(file, "Q")[0]):
        _, *numbers, camera = _unpack(file, "i7di")
        name = bytearray()
        while (byte := file.read(1)) != b"\0":
            if not byte:
                raise EOFError("a name without end")
            name += byte
        (points,) = _unpack(file, "Q")
        here = file.tell()
        if file.seek(0, 2) < here + 24 * points:
            raise EOFError(f"{points} points announced for {name.decode()!r}")
        file.seek(here + 24 * points)
        rows.append((name.decode(), numbers[:4], numbers[4:], camera))
    return rows

"""COLMAP models: a folder with `cameras` and `images` as text or binary.

Poses are world-to-camera quaternions (the real part first) and translations with OpenCV axes; lengths are not metres. The corner of
the first pixel is (0, 0) and its centre (0.5, 0.5), as in our cameras, so principal points carry over without a shift. Images are
ordered by name, because identities follow the reconstruction rather than time.
"""

import re
import struct
from dataclasses import dataclass
from io import BufferedReader
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from video4spatial.cameras.cameras import Cameras
from video4spatial.cameras.formats.reading import CameraFileError, pixel_size, raise_problems, rigid_poses
from video4spatial.cameras.rotations import invert_rigid, matrices_from_quaternions, quaternions_from_matrices

DESCRIPTION = "folder with cameras.txt and images.txt, or both as .bin (COLMAP)"
SUFFIXES: tuple[str, ...] = ()
NAMES_IMAGES = True
NAMES = ("cameras", "images")
QUATERNION_TOLERANCE = 0.02
# Name, number of parameters and the places of fx, fy, cx, cy in them; the others are distortion. In the order of the numbers that
# binary files use.
MODELS: dict[str, tuple[int, tuple[int, int, int, int]]] = {
    "SIMPLE_PINHOLE": (3, (0, 0, 1, 2)),
    "PINHOLE": (4, (0, 1, 2, 3)),
    "SIMPLE_RADIAL": (4, (0, 0, 1, 2)),
    "RADIAL": (5, (0, 0, 1, 2)),
    "OPENCV": (8, (0, 1, 2, 3)),
    "OPENCV_FISHEYE": (8, (0, 1, 2, 3)),
    "FULL_OPENCV": (12, (0, 1, 2, 3)),
    "FOV": (5, (0, 1, 2, 3)),
    "SIMPLE_RADIAL_FISHEYE": (4, (0, 0, 1, 2)),
    "RADIAL_FISHEYE": (5, (0, 0, 1, 2)),
    "THIN_PRISM_FISHEYE": (12, (0, 1, 2, 3)),
}
FISHEYES = ("OPENCV_FISHEYE", "FOV", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE")


@dataclass(frozen=True)
class Lens:
    """One camera of a model.

    Args:
        model: COLMAP's name of it.
        width, height: of its pictures in pixels.
        parameters: as COLMAP orders them.
    """

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]

    @property
    def places(self) -> tuple[int, int, int, int]:
        """Where fx, fy, cx, cy stand among the parameters; the others are distortion."""
        return MODELS[self.model][1]

    @property
    def intrinsics(self) -> Tensor:
        """Normalised intrinsics [3, 3], without the distortion."""
        fx, fy, cx, cy = (self.parameters[place] for place in self.places)
        width, height = self.width, self.height
        return torch.tensor([[fx / width, 0, cx / width], [0, fy / height, cy / height], [0, 0, 1]], dtype=torch.float64)

    @property
    def distorted(self) -> bool:
        """Whether straight lines bend: a fisheye, or distortion parameters other than zero."""
        rest = [value for place, value in enumerate(self.parameters) if place not in self.places]
        return self.model in FISHEYES or any(rest)


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
    """Whether `path` is a folder that holds the two files."""
    return path.is_dir() and _suffix(path) is not None


def read(path: Path, fov_degrees: float | None, aspect: float | None) -> Cameras:
    """Read the model in `path`; distorted lenses are refused. It holds its intrinsics: `fov_degrees` and `aspect` are not used."""
    images = read_images(path)
    bent = sorted({image.lens.model for image in images if image.lens.distorted})
    if bent:
        raise CameraFileError(
            f"{path}: the pictures are distorted ({', '.join(bent)}): undistort them first (colmap image_undistorter), "
            "or read the images with `colmap.read_images` and undistort each with its lens"
        )
    return Cameras(
        invert_rigid(torch.stack([image.world_to_camera for image in images])),
        torch.stack([image.lens.intrinsics for image in images]),
        metric=False,
        convention="COLMAP: OpenCV world-to-camera, quaternions wxyz, intrinsics in pixels, ordered by name",
    )


def read_images(path: str | PathLike) -> list[Image]:
    """The registered images of a model, distorted or not.

    Args:
        path: folder of the model.

    Returns:
        Images ordered by name, numbers in names by value.

    Raises:
        CameraFileError: for a folder without a model, a damaged file, or an image whose camera is missing.
    """
    path = Path(path)
    suffix = _suffix(path)
    if suffix is None:
        raise CameraFileError(f"{path}: expected a folder with cameras.txt and images.txt, or both as .bin")
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
    return sorted(images, key=lambda image: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", image.name)])


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
    """(name, quaternion wxyz, translation, camera) of each image. Every second line holds its points, and may be empty."""
    lines = _text_lines(path)
    while lines and not lines[0][1]:
        lines = lines[1:]
    rows = []
    for number, line in lines[::2]:
        if not line:
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
    return rows


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

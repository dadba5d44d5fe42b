"""What several readers share: pictures, depth and poses as datasets store them, and errors that name the scene."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from PIL import Image

from video4spatial.cameras import CameraError, Cameras
from video4spatial.files import is_clutter
from video4spatial.media import MediaError, VideoReader
from video4spatial.media.image_folder import ImageFolderReader, open_as_stored
from video4spatial.media.undistortion import Undistortion
from video4spatial.naming import some

Known = TypeVar("Known")
ROTATION_TOLERANCE = 5e-3  # of R^T R - I, as stored digits allow


class ReaderError(ValueError):
    """A scene that cannot be read; the message names the file and what was expected."""


class SourceMissing(ReaderError):
    """A scene whose cameras are there but whose pictures are not; left out, not failed."""


@contextmanager
def camera_files() -> Iterator[list[str]]:
    """Around the reading of camera files.

    Yields:
        A list that holds afterwards what was said with warnings, for the provenance (`notes`).

    Raises:
        ReaderError: with what is wrong with such a file.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield notes
    except (CameraError, OSError) as error:
        raise ReaderError(str(error)) from error
    finally:
        notes += dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))


def told(left_out: dict[str, list[str]]) -> str:
    """What was left out, in one line: "8 image_missing (a.png, b.png, c.png and 5 more)".

    Args:
        left_out: {reason: names}.
    """
    return ", ".join(f"{len(names)} {reason} ({some(names)})" for reason, names in left_out.items())


@dataclass(frozen=True)
class Pictures:
    """Pictures of a capture, read on demand: from a video or images, some of its frames, undistorted and turned upright.

    Args:
        video: where the pixels come from.
        indices: frames of the video that are the capture's, in order.
        undistortion: applied first, or None; where lenses differ, one for each of the capture's frames.
        quarter_turns: turns to the left, applied last.
    """

    video: VideoReader
    indices: tuple[int, ...]
    undistortion: Undistortion | None = None
    quarter_turns: int = 0

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 [n, H, W, 3] of the capture's frames."""
        frames = self.video.read([self.indices[index] for index in indices])
        if self.undistortion is not None:
            frames = self.undistortion(frames, indices)
        return np.ascontiguousarray(np.rot90(frames, self.quarter_turns, axes=(1, 2)))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) after turning."""
        size = self.video.height, self.video.width
        return size[::-1] if self.quarter_turns % 2 else size


@dataclass(frozen=True)
class DepthImages:
    """Depth stored as 16-bit images, read on demand as float32 metres at the size of the pictures.

    Args:
        paths: one per frame, None where there is none (read as unknown, 0).
        size: (height, width) of the pictures before turning.
        units_per_metre: what a metre is stored as.
        invalid: stored values that mean unknown, besides 0.
        undistortion: that of the pictures, where depth is registered to them.
        quarter_turns: turns to the left.
    """

    paths: tuple[Path | None, ...]
    size: tuple[int, int]
    units_per_metre: float = 1000.0
    invalid: tuple[int, ...] = (65535,)
    undistortion: Undistortion | None = None
    quarter_turns: int = 0

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        """[n, H, W] float32; nearest neighbours, because means across edges are depths of nothing."""
        maps = np.stack([self._one(self.paths[index]) for index in indices])
        if self.undistortion is not None:
            maps = self.undistortion(maps, indices, nearest=True)
        return np.ascontiguousarray(np.rot90(maps, self.quarter_turns, axes=(1, 2)))

    def _one(self, path: Path | None) -> np.ndarray:
        if path is None:
            return np.zeros(self.size, np.float32)
        try:
            with Image.open(path) as image:
                stored = np.asarray(image)
        except (OSError, SyntaxError) as error:
            raise MediaError(f"{path}: not a readable depth image ({error})") from error
        if stored.ndim != 2 or stored.dtype.kind not in "iu":
            raise MediaError(f"{path}: expected one channel of whole numbers, found {stored.dtype} {list(stored.shape)}")
        metres = stored.astype(np.float32) / self.units_per_metre
        metres[np.isin(stored, self.invalid)] = 0
        return cv2.resize(metres, self.size[::-1], interpolation=cv2.INTER_NEAREST)


def posed_images(
    paths: Sequence[Path], frame_rate: float, read: Callable[[tuple[int, int]], Known]
) -> tuple[ImageFolderReader, Known, list[str]]:
    """Images of which the cameras are known, as a video: as stored, since cameras are (see `open_as_stored`).

    Args:
        paths: in the order of the frames.
        frame_rate: images per second.
        read: given (height, width) of the images, what is known of them; it raises `PictureShapeError` for another shape.

    Returns:
        The images, what `read` gave, and what there is to say about both.

    Raises:
        ReaderError: for no images, or what `read` raises of cameras.
    """
    if not paths:
        raise ReaderError("no images to read")
    with camera_files() as notes:
        video, known = open_as_stored(paths[0].parent, frame_rate, lambda images: read((images.height, images.width)), list(paths))
    if video.turned and not video.upright:
        notes.append("pictures are used as stored, not turned by their EXIF orientation: their cameras are of the stored ones")
    return video, known, [*notes, *video.notes]


def invalid_poses(camera_to_world: np.ndarray) -> np.ndarray:
    """Which poses are no rigid motions: NaN, infinite (lost tracking), sheared or mirrored.

    Args:
        camera_to_world: [N, 4, 4].

    Returns:
        [N] bool.
    """
    finite = np.isfinite(camera_to_world).all((1, 2))
    rotation = np.where(finite[:, None, None], camera_to_world[:, :3, :3], 0)
    error = np.abs(np.swapaxes(rotation, 1, 2) @ rotation - np.eye(3)).max((1, 2))
    last_row = np.where(finite[:, None], camera_to_world[:, 3], 0)
    rigid = (error < ROTATION_TOLERANCE) & (np.linalg.det(rotation) > 0)
    return ~(finite & rigid & np.isclose(last_row, [0, 0, 0, 1], atol=1e-6).all(1))


def turned(cameras: Cameras, quarter_turns: int) -> Cameras:
    """The cameras of pictures that were turned to the left in steps of 90 degrees: they roll along, and intrinsics follow.

    Args:
        cameras: of the pictures as stored.
        quarter_turns: to the left.
    """
    for _ in range(quarter_turns % 4):
        # A pixel (x, y) goes to (y, 1 - x): the new right is the old down, the new down the old left.
        axes = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
        old = cameras.intrinsics
        intrinsics = old.clone()
        intrinsics[..., 0, 0], intrinsics[..., 1, 1] = old[..., 1, 1], old[..., 0, 0]
        intrinsics[..., 0, 2], intrinsics[..., 1, 2] = old[..., 1, 2], 1 - old[..., 0, 2]
        cameras = replace(cameras, camera_to_world=cameras.camera_to_world @ axes, intrinsics=intrinsics)
    return cameras


def quarter_turns_upright(cameras: Cameras, up: Sequence[float]) -> np.ndarray:
    """How far pictures must be turned for the world's up to point to their top.

    Args:
        cameras: T cameras.
        up: [3] direction in the world.

    Returns:
        [T] quarter turns to the left, 0 to 3.
    """
    direction = cameras.rotations.mT @ torch.tensor(up, dtype=torch.float64)  # up in camera axes (x right, y down)
    x, y = direction[:, 0].numpy(), direction[:, 1].numpy()
    # Up at the top of the picture is -y; at the right (+x) one turn to the left brings it there.
    return np.where(np.abs(y) >= np.abs(x), np.where(y <= 0, 0, 2), np.where(x > 0, 1, 3))


def scene_name(folder: Path) -> str:
    """The name of `folder`, with its parent's in front where it says nothing by itself (images, seq-01)."""
    generic = folder.name in ("images", "frames", "rgb", "color", "data") or folder.name.startswith("seq-")
    return f"{folder.parent.name}-{folder.name}" if generic and folder.parent.name else folder.name


def first_existing(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of `names` that `folder` holds, or None."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def seen_below(root: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """All files and folders below a folder, in order, without hidden ones, those that systems make, and what is in them.

    Args:
        root: where to look.
        above: folders that are being looked through, so that a link to one of them ends there.
    """
    above, found = (*above, root.resolve()), []
    for entry in sorted(root.iterdir()):
        if not is_clutter(entry.name):
            found.append(entry)
            if entry.is_dir() and entry.resolve() not in above:
                found += seen_below(entry, above)
    return found


def scenes_below(root: Path, is_scene: Callable[[Path], bool], depth: int = 4) -> list[Path]:
    """Folders that are scenes, in order of their names. Scenes hold no further scenes.

    Args:
        root: where to look; it may be a scene itself.
        is_scene: whether a folder is one.
        depth: levels below `root` to look into.
    """
    if is_scene(root):
        return [root]
    if depth == 0 or not root.is_dir():
        return []
    children = sorted(child for child in root.iterdir() if child.is_dir() and not is_clutter(child.name))
    return [scene for child in children for scene in scenes_below(child, is_scene, depth - 1)]

"""Depth maps of a video that the user has: a folder with one file per frame, or one npz file as reconstruction models write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from video4spatial.geometry.scene_files import MILLIMETRES
from video4spatial.geometry.scene_geometry import DepthMaps
from video4spatial.parsing import read_array, read_arrays

SUFFIXES = (".png", ".npy", ".npz")

DEPTH = ("depth", "depths", "depth_map", "depth_z")
"""Names of arrays [N, H, W] or [N, H, W, 1] of depth along the optical axis: VGGT and Depth Anything 3, MegaSaM, others, MapAnything."""

POINTS = "local_points"
"""Name of an array [N, H, W, 3] of points in the axes of each camera, whose third number is their depth: Pi3."""

CONFIDENCE = ("confidence", "depth_conf", "conf")
"""Names of arrays [N, H, W] or [N, H, W, 1] of how sure each depth is."""


def holds_depth(folder: str | Path) -> bool:
    """Whether a path is an npz file, or a folder that holds files that may be depth maps, and is not that of a model."""
    folder = Path(folder)
    if folder.is_file():
        return folder.suffix.lower() == ".npz"
    return folder.is_dir() and not (folder / "config.json").exists() and any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def read_depth_maps(folder: str | Path, total: int, chosen: list[int], names: Sequence[str] = ()) -> DepthMaps:
    """Depth maps of some frames of a video.

    Files are PNG of 16 bits (millimetres), .npy (metres) or .npz (`depth` in metres, and where known `confidence` from 0 to 1). They are
    named like the pictures or by the number of their frame, and frames without one are unknown; or there is one for every frame, in the
    order of their names.
    One .npz for all frames holds an array named as in `DEPTH` or `POINTS`, and may hold one named as in `CONFIDENCE`: in the unit of the
    cameras, which most models leave open. Confidence above 1, which VGGT, Depth Anything 3 and MapAnything give (1 + exp), is taken as
    1 - 1 / confidence.

    Args:
        folder: with the files, of which others are passed over; or an .npz.
        total: frames of the video.
        chosen: frames that are asked for, by number.
        names: of the pictures of all frames, where frames are pictures.

    Returns:
        Depth of the R chosen frames in metres, with a reason for those without a file. Confidence is 1 where it is not given.

    Raises:
        FileNotFoundError: for a folder without depth maps.
        ValueError: for files that are none, of unlike sizes, or whose frames cannot be told.
    """
    if Path(folder).is_file():
        return _of_all_frames(Path(folder), total, chosen)
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES) if Path(folder).is_dir() else []
    if not paths:
        raise FileNotFoundError(f"{folder}: no depth maps there: expected 16-bit .png, .npy or .npz, one per frame.")
    by_frame = _by_frame(paths, total, folder, names)
    maps = {frame: _read(by_frame[frame]) for frame in chosen if frame in by_frame}
    sizes = {depth.shape for depth, _ in maps.values()}
    if len(sizes) > 1:
        raise ValueError(f"{folder}: depth maps of unlike sizes {', '.join(f'{height} x {width}' for height, width in sorted(sizes))}.")
    nothing = (np.zeros(sizes.pop() if sizes else (1, 1), np.float32),) * 2
    depth, confidence = (np.stack([maps.get(frame, nothing)[part] for frame in chosen]) for part in range(2))
    return DepthMaps(depth, confidence, tuple("" if frame in maps else "it has no depth map" for frame in chosen))


def _of_all_frames(path: Path, total: int, chosen: list[int]) -> DepthMaps:
    """Depth maps of some frames out of one file for all."""
    try:
        arrays = read_arrays(path, (*DEPTH, POINTS, *CONFIDENCE))
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: damaged, or not plain arrays ({error}).") from error
    name = next((name for name in (*DEPTH, POINTS) if name in arrays), None)
    if name is None:
        raise ValueError(f"{path}: no depth maps in it: expected an array named {', '.join((*DEPTH, POINTS))}.")
    if name == POINTS and arrays[name].shape[-1:] != (3,):
        given = list(arrays[name].shape)
        raise ValueError(f"{path}: {POINTS} holds {arrays[name].dtype} of shape {given}: expected points [{total}, H, W, 3].")
    depth = _stacked(path, name, arrays[name][..., 2:3] if name == POINTS else arrays[name], total)
    confidence = next((_stacked(path, known, arrays[known], total, depth.shape) for known in CONFIDENCE if known in arrays), None)
    if confidence is not None and np.nanmax(confidence) > 1:
        confidence = 1 - 1 / np.maximum(confidence, 1)
    depth, confidence = _known(depth[chosen], None if confidence is None else confidence[chosen])
    return DepthMaps(depth, confidence, ("",) * len(chosen))


def _stacked(path: Path, name: str, array: np.ndarray, total: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An array of numbers as [total, H, W], axes of length 1 dropped, of a shape that is expected."""
    given = array.shape
    if array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    stacked = array.dtype.kind in "fiu" and array.ndim == 3 and array.size > 0 and len(array) == total
    if not stacked or (shape is not None and array.shape != shape):
        wanted = f"[{total}, H, W]" if shape is None else list(shape)
        raise ValueError(f"{path}: {name} holds {array.dtype} of shape {list(given)}: expected numbers {wanted}, a map for each frame.")
    return np.asarray(array, np.float32)


def _known(depth: np.ndarray, confidence: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Depth and confidence, 0 where depth is no distance; confidence is 1 elsewhere where it is not given."""
    known = np.isfinite(depth) & (depth > 0)
    confidence = known if confidence is None else np.where(known, np.clip(np.nan_to_num(confidence), 0, 1), 0)
    return np.where(known, depth, 0).astype(np.float32), confidence.astype(np.float32)


def _by_frame(paths: list[Path], total: int, folder: str | Path, names: Sequence[str]) -> dict[int, Path]:
    """Files by the number of their frame."""
    places = {Path(name).stem: frame for frame, name in enumerate(names)}
    if len(places) == len(names) and all(path.stem in places for path in paths):
        return {places[path.stem]: path for path in paths}
    if all(path.stem.isdecimal() for path in paths) and len({int(path.stem) for path in paths}) == len(paths):
        numbered = {int(path.stem): path for path in paths}
        if max(numbered) < total:
            return numbered
    if len(paths) == total:
        return dict(enumerate(paths))
    raise ValueError(
        f"{folder}: {len(paths)} depth maps for {total} frames: expected one per frame, or names that are those of "
        "the pictures, or numbers of frames."
    )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Depth in metres and confidence [h, w] of one file."""
    confidence = None
    try:
        if path.suffix.lower() == ".png":
            stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if stored is None or stored.dtype != np.uint16:
                raise ValueError("not a picture of 16 bits")
            depth = stored / np.float32(MILLIMETRES)
        else:
            arrays = read_arrays(path, ("depth", "confidence")) if path.suffix.lower() == ".npz" else {"depth": read_array(path)}
            wrong = [f"{name} of {array.dtype}" for name, array in arrays.items() if array.dtype.kind not in "biuf"]
            if wrong:
                raise ValueError(", ".join(wrong))
            depth, confidence = np.asarray(arrays["depth"], np.float32), arrays.get("confidence")
        if depth.ndim != 2 or (confidence is not None and confidence.shape != depth.shape):
            raise ValueError(f"an array of shape {list(depth.shape)}")
    except (ValueError, TypeError, KeyError, OSError, cv2.error) as error:
        raise ValueError(f"{path}: not a depth map ({error}): expected one value per pixel.") from error
    return _known(depth, confidence)

"""Clips with their pixels in WebDataset tar shards, readable by any WebDataset loader, and an index for reading one clip directly.

A clip `KEY` has these members: `KEY.json` (times, cameras, instruction, boxes, provenance), `KEY.context-0000.jpg` ...,
`KEY.target-0000.jpg` ... and, where depth is known, `KEY.depth.npz` with uint16 `context` and `target` in the unit that the JSON
names (0 is unknown).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import webdataset
from PIL import Image

from video4spatial.cameras import Cameras
from video4spatial.captures import SceneObject
from video4spatial.clips.clip import Clip
from video4spatial.clips.instruction import Ground, Instruction, Navigate
from video4spatial.clips.regions import Region, mask_as_plain, mask_from_plain
from video4spatial.files import written_aside
from video4spatial.parsing import parse_json, read_arrays

INDEX = "index.parquet"

DAMAGE = (
    ValueError, OSError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, Image.DecompressionBombError,
)  # fmt: skip
"""What reading a damaged clip may raise, in JSON, pictures and archives."""

INDEX_SCHEMA = pa.schema(
    [("key", pa.string()), ("shard", pa.string()), ("member", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)


def clip_members(clip: Clip, quality: int = 95) -> dict[str, bytes]:
    """The files of a clip by their names after the key.

    Args:
        clip: with truth.
        quality: of the JPEG pictures, 1 to 95; colours are not thinned.
    """
    parts = {"context": clip.context_frames, "target": clip.target_frames}
    members = {
        f"{part}-{index:04d}.jpg": _jpeg(frame, quality) for part, frames in parts.items() for index, frame in enumerate(frames)
    }
    plain = {
        "name": clip.name,
        "scene": clip.scene,
        "context_times": clip.context_times.tolist(),
        "anchor": clip.anchor,
        "context_cameras": _plain_cameras(clip.context_cameras),
        "target_cameras": _plain_cameras(clip.target_cameras),
        "target_boxes": None if clip.target_boxes is None else _plain_boxes(clip.target_boxes),
        "target_object": None if clip.target_object is None else asdict(clip.target_object),
        "instruction": _plain_instruction(clip.instruction),
        "provenance": clip.provenance,
    }
    if clip.context_depth is not None and clip.target_depth is not None:
        # Millimetres reach 65 m; other units are spread over the range.
        largest = max(float(depth.max(initial=0)) for depth in (clip.context_depth, clip.target_depth))
        metric = clip.context_cameras is not None and clip.context_cameras.metric
        unit = 1e-3 if metric and largest < 65 else max(largest, 1e-9) / 65000
        stored = {
            part: np.clip(np.nan_to_num(depth / unit, posinf=0), 0, 65535).round().astype(np.uint16)
            for part, depth in [("context", clip.context_depth), ("target", clip.target_depth)]
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **stored)
        members["depth.npz"], plain["depth_unit"] = buffer.getvalue(), unit
    # NaN is not JSON: what is not known is null.
    text = json.dumps(_without_nan(plain), separators=(",", ":"), allow_nan=False)
    return {"json": text.encode(), **members}


def clip_from_members(members: Mapping[str, bytes]) -> Clip:
    """The clip that `clip_members` wrote.

    Args:
        members: files by their names after the key.

    Raises:
        ValueError: where a member is missing or damaged.
    """
    try:
        clip = _clip(members)
        _check_sizes(clip)
        return clip
    except DAMAGE as error:
        raise ValueError(f"a clip of a shard is incomplete or damaged ({type(error).__name__}: {error}).") from error


def _clip(members: Mapping[str, bytes]) -> Clip:
    plain = parse_json(members["json"])
    pictures = {
        part: np.stack([_pixels(members[name]) for name in sorted(members) if name.startswith(f"{part}-")])
        for part in ("context", "target")
    }
    depth = {}
    if "depth.npz" in members:
        stored = read_arrays(members["depth.npz"], pictures)
        depth = {part: stored[part].astype(np.float32) * np.float32(plain["depth_unit"]) for part in pictures}
    target = _cameras(plain["target_cameras"])
    boxes = plain["target_boxes"]
    return Clip(
        name=plain["name"],
        scene=plain["scene"],
        context_frames=pictures["context"],
        context_times=np.array(plain["context_times"], dtype=np.float64),
        instruction=_instruction(plain["instruction"], target),
        anchor=plain["anchor"],
        context_cameras=_cameras(plain["context_cameras"]),
        context_depth=depth.get("context"),
        target_frames=pictures["target"],
        target_depth=depth.get("target"),
        target_cameras=target,
        target_boxes=None if boxes is None else np.array([b or [np.nan] * 4 for b in boxes], np.float32).reshape(-1, 4),
        target_object=_object(plain.get("target_object")),  # shards written before it was known have none
        provenance=plain["provenance"],
    )


def _check_sizes(clip: Clip) -> None:
    """Refuse a clip whose parts do not belong together."""
    count, targets = len(clip.context_frames), len(clip.target_frames)
    for name, part, wanted in (
        ("context_times", clip.context_times, count), ("context_cameras", clip.context_cameras, count),
        ("context_depth", clip.context_depth, count), ("target_cameras", clip.target_cameras, targets),
        ("target_depth", clip.target_depth, targets), ("target_boxes", clip.target_boxes, targets),
    ):  # fmt: skip
        if part is not None and len(part) != wanted:
            raise ValueError(f"{len(part)} {name} for {wanted} frames")
    if not np.isfinite(clip.context_times).all() or not 0 <= clip.anchor < count or not isinstance(clip.provenance, dict):
        raise ValueError(f"times, the anchor {clip.anchor!r} or the provenance are none")


def write_shard(path: str | os.PathLike, clips: Iterable[Clip], quality: int = 95) -> dict:
    """Write clips to a tar file, whole or not at all; the same clips always give the same bytes.

    Args:
        path: of the file; its folder is made.
        clips: with truth, each under a name of its own.
        quality: of the JPEG pictures, 1 to 95.

    Returns:
        {"members": [[key, member, offset, size], ...], "bytes", "sha256"}.
    """
    with written_aside(path) as aside:
        with aside.open("wb") as file:
            writer = webdataset.TarWriter(file, user="", group="", mtime=0, encoder=False)
            for clip in clips:
                writer.write({"__key__": clip.name, **clip_members(clip, quality)})
            writer.close()
        with tarfile.open(aside) as tar:
            members = [[*member.name.split(".", 1), member.offset_data, member.size] for member in tar]
        with aside.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = aside.stat().st_size
    return {"members": members, "bytes": size, "sha256": digest}


def write_index(folder: str | os.PathLike, shards: Mapping[str, list]) -> None:
    """Write where the members of every clip lie.

    Args:
        folder: of the shards; it is made.
        shards: {shard file: members as `write_shard` returns them}.
    """
    rows = [(key, shard, *place) for shard, members in sorted(shards.items()) for key, *place in members]
    columns = dict(zip(INDEX_SCHEMA.names, map(list, zip(*rows)))) if rows else {name: [] for name in INDEX_SCHEMA.names}
    with written_aside(Path(folder) / INDEX) as aside:
        pq.write_table(pa.table(columns, schema=INDEX_SCHEMA), aside, compression="zstd")


def read_index(folder: str | os.PathLike) -> dict[str, list[tuple[str, str, int, int]]]:
    """Where the members of every clip lie.

    Args:
        folder: of the shards.

    Returns:
        {key: [(shard, member, offset, size), ...]}; empty where no shards were written.

    Raises:
        ValueError: for an index that is damaged, or names anything but files in the folder.
    """
    path = Path(folder) / INDEX
    if not path.is_file():
        return {}
    index: dict[str, list] = {}
    try:
        columns = [column.to_pylist() for column in pq.read_table(path, schema=INDEX_SCHEMA).columns]
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable index ({error}); build the data set again.") from error
    for key, shard, member, offset, size in zip(*columns):
        if None in (key, shard, member, offset, size) or Path(shard).name != shard or min(offset, size) < 0:
            place = f"({shard!r}, {offset}, {size})"
            raise ValueError(f"{path}: no place of a clip in a shard of this folder {place}; build the data set again.")
        index.setdefault(key, []).append((shard, member, offset, size))
    return index


def read_members(folder: str | os.PathLike, places: Iterable[tuple[str, str, int, int]]) -> dict[str, bytes]:
    """The members of one clip.

    Args:
        folder: of the shards.
        places: where they lie (`read_index`).

    Returns:
        {name after the key: bytes}.

    Raises:
        ValueError: for a shard that was cut short.
    """
    members, files = {}, {}
    try:
        for shard, member, offset, size in places:
            if shard not in files:
                files[shard] = (Path(folder) / shard).open("rb")
            if offset + size > os.fstat(files[shard].fileno()).st_size:
                raise ValueError(f"{Path(folder) / shard}: cut short; build the data set again.")
            files[shard].seek(offset)
            members[member] = files[shard].read(size)
    finally:
        for file in files.values():
            file.close()
    return members


def _jpeg(frame: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def _plain_cameras(cameras: Cameras | None) -> dict | None:
    if cameras is None:
        return None
    return {
        "camera_to_world": cameras.camera_to_world.tolist(),
        "intrinsics": cameras.intrinsics.tolist(),
        "metric": cameras.metric,
        "times": None if cameras.times is None else cameras.times.tolist(),
        "convention": cameras.convention,
    }


def _cameras(plain: dict | None) -> Cameras | None:
    if plain is None:
        return None
    arrays = {name: torch.tensor(plain[name], dtype=torch.float64) for name in ("camera_to_world", "intrinsics")}
    times = None if plain["times"] is None else torch.tensor(plain["times"], dtype=torch.float64)
    return Cameras(**arrays, metric=plain["metric"], times=times, convention=plain["convention"])


def _object(plain: dict | None) -> SceneObject | None:
    if plain is None:
        return None
    return SceneObject(**{name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()})


def _plain_boxes(boxes: np.ndarray) -> list[list[float] | None]:
    return [None if np.isnan(box).any() else box.tolist() for box in boxes]


def _plain_instruction(instruction: Instruction | None) -> dict:
    if instruction is None:
        return {"kind": "none"}
    if isinstance(instruction, Navigate):  # along the target cameras
        return {"kind": "navigate"} | ({"prompt": instruction.prompt} if instruction.prompt else {})
    region = instruction.region
    return {
        "kind": "ground",
        "text": instruction.text,
        "region": None if region is None else _plain_region(region),
    }


def _instruction(plain: dict, target: Cameras | None) -> Instruction | None:
    if plain["kind"] == "none":
        return None
    if plain["kind"] == "navigate":
        return Navigate(target, plain.get("prompt", ""))
    region = plain["region"]
    if region is not None:
        mask = mask_from_plain(region["mask"]) if "mask" in region else None
        region = Region(region["frame"], tuple(region["box"]), mask)
    return Ground(plain["text"], region)


def _plain_region(region: Region) -> dict:
    mask = {} if region.mask is None else {"mask": mask_as_plain(region.mask)}
    return {"frame": region.frame, "box": list(region.box), **mask}


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value

"""The manifest of a curated data set: one row per clip, in Parquet. It is the truth; pixels live in captures or shards.

Rows hold indices into a capture, times, cameras as the capture has them, the instruction and the provenance, never pixels.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from video4spatial.cameras import Cameras
from video4spatial.files import written_aside
from video4spatial.parsing import parse_json

VERSION = 1
MANIFEST = "manifest.parquet"
SPLITS = ("train", "validation", "test")
KINDS = ("navigation", "grounding")


@dataclass(frozen=True)
class ClipRow:
    """One clip of a data set.

    Args:
        key: unique; letters, digits, `_` and `-` only.
        kind: navigation or grounding.
        split: train, validation or test.
        space: the physical (or simulated) space; no space is in two splits.
        capture: name of the capture.
        reader, scene, options: how to read it again (`data_curation.readers.read_scene`).
        content: hash of what was read.
        convention: of the cameras, as the reader found them.
        licence, redistributable: of the pixels.
        height, width: of the capture's pictures.
        metric: whether the cameras' lengths are metres.
        scale: factor that brings lengths to the model's (1 for metric captures).
        context_frames: N indices into the capture, ascending.
        context_times: N seconds.
        anchor: position in the context of the frame that the target starts from.
        target_frames: T indices into the capture; the first is the anchor's.
        target_times: T seconds from the start of the target.
        camera_to_world: [N + T, 4, 4] as captured (OpenCV, unscaled), the context's first.
        intrinsics: [N + T, 3, 3], normalised, of the uncropped pictures.
        coverage, anchor_coverage: share of the target's surfaces that the context, or the anchor alone, shows; NaN where not
            measured.
        coverage_method: depth, frustum or "" where not measured.
        origin: captured, reversed (played backwards) or graph (a path over frames of several moments).
        texts: the instruction in words, paraphrases after the first; empty where there is none.
        label, instance_id: the object to find; "" and 0 for navigation.
        region_frame, region_box: context position and box (left, top, right, bottom as shares) that name the object; -1 and empty
            if none.
        boxes: [T, 4] where the object is (shares; NaN out of sight), or [0, 4].
        scores: further figures by name.
    """

    key: str
    kind: Literal["navigation", "grounding"]
    split: str
    space: str
    capture: str
    reader: str
    scene: str
    options: dict
    content: str
    convention: str
    licence: str
    redistributable: bool
    height: int
    width: int
    metric: bool
    scale: float
    context_frames: tuple[int, ...]
    context_times: tuple[float, ...]
    anchor: int
    target_frames: tuple[int, ...]
    target_times: tuple[float, ...]
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    coverage: float = float("nan")
    anchor_coverage: float = float("nan")
    coverage_method: str = ""
    origin: str = "captured"
    texts: tuple[str, ...] = ()
    label: str = ""
    instance_id: int = 0
    region_frame: int = -1
    region_box: tuple[float, ...] = ()
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    scores: dict = field(default_factory=dict)

    @property
    def cameras(self) -> tuple[Cameras, Cameras]:
        """The context's and the target's, as captured (unscaled, of uncropped pictures)."""
        count = len(self.context_frames)
        both = [
            Cameras(
                torch.from_numpy(self.camera_to_world[part].copy()),
                torch.from_numpy(self.intrinsics[part].copy()),
                metric=self.metric,
                times=torch.tensor(times, dtype=torch.float64),
                convention=self.convention,
            )
            for part, times in [(slice(0, count), self.context_times), (slice(count, None), self.target_times)]
        ]
        return both[0], both[1]


_ARRAYS = {"camera_to_world": (4, 4), "intrinsics": (3, 3), "boxes": (4,)}
_TYPES = {
    "options": pa.string(), "scores": pa.string(), "redistributable": pa.bool_(), "metric": pa.bool_(),
    "camera_to_world": pa.list_(pa.float64()), "intrinsics": pa.list_(pa.float64()), "boxes": pa.list_(pa.float32()),
    "context_times": pa.list_(pa.float64()), "target_times": pa.list_(pa.float64()), "region_box": pa.list_(pa.float64()),
    "context_frames": pa.list_(pa.int32()), "target_frames": pa.list_(pa.int32()), "texts": pa.list_(pa.string()),
    **dict.fromkeys(["scale", "coverage", "anchor_coverage"], pa.float64()),
    **dict.fromkeys(["height", "width", "anchor", "instance_id", "region_frame"], pa.int32()),
}  # fmt: skip
SCHEMA = pa.schema(
    [(f.name, _TYPES.get(f.name, pa.string())) for f in fields(ClipRow)], metadata={"video4spatial_manifest": str(VERSION)}
)
"""Columns of the Parquet file; arrays are flattened in row-major order, mappings are JSON."""


def write_manifest(path: str | os.PathLike, rows: list[ClipRow]) -> None:
    """Write rows, whole or not at all; the same rows always give the same bytes.

    Args:
        path: of the Parquet file.
        rows: in the order in which they are read back.

    Raises:
        OSError: where it cannot be written.
    """
    columns = {name: [_plain(getattr(row, name)) for row in rows] for name in SCHEMA.names}
    table = pa.table(columns, schema=SCHEMA)
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd", row_group_size=1024)


def read_manifest(path: str | os.PathLike) -> list[ClipRow]:
    """Read what `write_manifest` wrote.

    Args:
        path: of the Parquet file.

    Raises:
        FileNotFoundError, ValueError: for a file that is missing, or no manifest of this version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest there; `v4s curate build` makes one.")
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error}).") from error
    version = (table.schema.metadata or {}).get(b"video4spatial_manifest", b"").decode(errors="replace")
    if version != str(VERSION):
        found = f"version {version}" if version else "no manifest of clips"
        raise ValueError(f"{path}: {found}, expected a manifest of version {VERSION}; build the data set again.")
    known = [name for name in SCHEMA.names if name in table.schema.names]
    if missing := [f.name for f in fields(ClipRow) if f.name not in known and f.default is MISSING and f.default_factory is MISSING]:
        raise ValueError(f"{path}: the columns {', '.join(missing)} are missing; build the data set again.")
    try:
        rows = table.select(known).cast(pa.schema([SCHEMA.field(name) for name in known])).to_pylist()
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: columns of other types ({error}); build the data set again.") from error
    return [_checked_row(path, number, values) for number, values in enumerate(rows)]


def _checked_row(path: Path, number: int, values: dict) -> ClipRow:
    """The clip of a row.

    Raises:
        ValueError: naming the row and what is wrong with it.
    """
    try:
        row = _row(values)
        count, targets = len(row.context_frames), len(row.target_frames)
        problems = []
        if not re.fullmatch(r"[\w-]+", row.key, re.ASCII):
            problems.append(f"key {row.key!r}: expected letters, digits, _ and -")
        for name, known in (("kind", KINDS), ("split", SPLITS)):
            if getattr(row, name) not in known:
                problems.append(f"{name} {getattr(row, name)!r}: expected {' or '.join(known)}")
        for name, wanted in {
            "context_times": count, "target_times": targets, "camera_to_world": count + targets, "intrinsics": count + targets,
        }.items():  # fmt: skip
            if len(getattr(row, name)) != wanted:
                problems.append(f"{len(getattr(row, name))} {name} for {wanted} frames")
        if not 0 <= row.anchor < count or min(row.context_frames + row.target_frames, default=-1) < 0:
            problems.append(f"frames {row.context_frames} and {row.target_frames} with the anchor at {row.anchor}")
        if problems:
            raise ValueError("; ".join(problems))
        row.cameras  # which checks them
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: row {number}: {error}; build the data set again.") from error
    return row


def _plain(value):
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return list(value) if isinstance(value, tuple) else value


def _row(values: dict) -> ClipRow:
    for name, value in values.items():
        if name in _ARRAYS:
            dtype = np.float32 if name == "boxes" else np.float64
            values[name] = np.array(value, dtype=dtype).reshape(-1, *_ARRAYS[name])
        elif name in ("options", "scores"):
            values[name] = parse_json(value)
            if not isinstance(values[name], dict):
                raise ValueError(f"{name}: expected a mapping")
        elif isinstance(value, list):
            values[name] = tuple(value)
    return ClipRow(**values)


def row_as_plain(row: ClipRow) -> dict:
    """`row` as JSON-able values, such as fingerprints are taken of."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(row).items()}

"""Data sets: manifests, shards of clips, and files of rendered scenes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from .damage import VALUES, damaged_bytes, damaged_json, damaged_safetensors
from .inputs import Kind, SilentChange, a_path, check_cameras, one_of_files, some_frames, written


def _a_row():
    from video4spatial.clips.manifest import ClipRow

    poses, intrinsics = (getattr(a_path(4), name).numpy() for name in ("camera_to_world", "intrinsics"))
    return ClipRow(
        "a-1", "navigation", "train", "space", "capture", "rooms", "train:0", {"size": 32}, "abc", "OpenCV", "CC0", True, 32, 48, True,
        1.0, (0, 1), (0.0, 0.25), 1, (1, 2), (0.0, 0.25), poses, np.broadcast_to(intrinsics, (4, 3, 3)).copy(),
    )  # fmt: skip


def manifests(folder: Path) -> Kind:
    """Manifests of data sets."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from video4spatial.clips.manifest import SCHEMA, read_manifest, write_manifest

    write_manifest(folder / "base.parquet", [_a_row(), _a_row()])
    base = pq.read_table(folder / "base.parquet").to_pylist()
    change = st.tuples(st.sampled_from(SCHEMA.names), st.sampled_from(VALUES), st.booleans())

    def changed(drawn: tuple[str, Any, bool]) -> bytes:
        name, value, keep_schema = drawn
        rows = [dict(row) for row in base]
        rows[0][name] = value
        buffer = io.BytesIO()
        try:
            table = pa.Table.from_pylist(rows, schema=SCHEMA if keep_schema else None)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            table = pa.Table.from_pylist([{key: kept for key, kept in row.items() if key != name} for row in rows])
        pq.write_table(table.replace_schema_metadata(SCHEMA.metadata), buffer)
        return buffer.getvalue()

    def use(path: Path) -> None:
        for row in read_manifest(path):
            for cameras in row.cameras:
                check_cameras(cameras)
            if len(row.camera_to_world) != len(row.context_frames) + len(row.target_frames):
                raise SilentChange("other cameras than frames")

    strategy = st.one_of(damaged_bytes((folder / "base.parquet").read_bytes()), change.map(changed))
    return Kind(strategy, written(folder / "manifest.parquet", use), names=folder.name)


def shards(folder: Path) -> Kind:
    """Shards of clips, their index, and the clips in them."""
    from video4spatial.clips import Clip, Navigate
    from video4spatial.clips.shards import clip_from_members, clip_members, read_index, read_members, write_index, write_shard

    path, frames = a_path(3), some_frames(3)
    depth = np.ones((3, 32, 48), np.float32)
    clip = Clip("a-1", "space", frames, np.arange(3) / 4, Navigate(path), 0, path, depth, None, frames, depth, path)
    base = folder / "base"
    written = write_shard(base / "000.tar", [clip])
    write_index(base, {"000.tar": written["members"]})
    contents = {file.name: file.read_bytes() for file in sorted(base.iterdir())}
    members = clip_members(clip)
    plain = json.loads(members["json"])

    def read(target: Path) -> None:
        for places in read_index(target).values():
            check_clip(clip_from_members(read_members(target, places)))

    def check_clip(read_clip: Clip) -> None:
        if read_clip.context_cameras is not None:
            check_cameras(read_clip.context_cameras)
        if len(read_clip.context_frames) != len(read_clip.context_times) or not 0 <= read_clip.anchor < len(read_clip.context_frames):
            raise SilentChange("frames, times and anchor of a clip do not fit")

    strategy, use_files = one_of_files(folder, contents, read)

    def use(drawn: tuple[str, Any]) -> None:
        if drawn[0] == "member":
            check_clip(clip_from_members(members | {"json": drawn[1]}))
        else:
            use_files(drawn)

    return Kind(st.one_of(strategy, st.tuples(st.just("member"), damaged_json(plain))), use)


def banks(folder: Path) -> Kind:
    """Files of rendered scenes."""
    from video4spatial.training.bank import SceneBank

    poses = a_path(9).camera_to_world
    SceneBank(
        torch.zeros(1, 9, 16, 16, 3, dtype=torch.uint8), torch.ones(1, 9, 2, 2).half(), poses[None], a_path().intrinsics[:1],
        torch.zeros(1, 2, dtype=torch.long), 3,
    ).save(folder / "base.safetensors")  # fmt: skip
    data = (folder / "base.safetensors").read_bytes()
    read = written(folder / "bank.safetensors", lambda path: SceneBank.load(path).walk_frames)
    return Kind(damaged_safetensors(data), read, names=folder.name)

"""What is decided over all scenes: copies left out, spaces shared out among splits, and the rows of the manifest.

Everything here is a function of the scenes' records alone, so that any executor, order of work or number of interruptions gives the
same.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from video4spatial.cameras import Cameras, viewpoint_distance
from video4spatial.clips.manifest import KINDS, SPLITS, ClipRow

HASHES = 8  # frames of a capture that are compared
BANDS = 4  # a hash is cut into this many pieces; captures are compared if a piece of the same frame is equal


@dataclass(frozen=True)
class DatasetSettings:
    """How scenes become one data set.

    Args:
        validation, test: shares of spaces for these splits, where no official list says otherwise.
        duplicate_bits: two captures are copies if the difference hashes (64 bits) of frames at the same places differ by at most
            this many bits on average.
        duplicate_distance: two navigation targets of a capture are the same if their cameras are everywhere nearer than this
            (metres + degrees / 45; other units are brought to the model's scale).
    """

    validation: float = 0.05
    test: float = 0.05
    duplicate_bits: float = 4.0
    duplicate_distance: float = 0.1

    def __post_init__(self):
        if min(self.validation, self.test) < 0 or self.validation + self.test > 1:
            raise ValueError(
                f"dataset: validation {self.validation} and test {self.test} are shares: "
                "expected at least 0 and at most 1 together."
            )


@dataclass(frozen=True)
class Assembly:
    """The data set.

    Args:
        rows: of the manifest, in the order of the scenes.
        steps: {stage: {"unit", "kept", "filtered"}} of what was decided here.
        duplicates: {key of a scene: key of the scene that it is a copy of}.
    """

    rows: list[ClipRow]
    steps: dict[str, dict]
    duplicates: dict[str, str]


def assemble(records: Iterable[dict], settings: DatasetSettings) -> Assembly:
    """Make the rows of the manifest from the records of all scenes.

    Args:
        records: as `running.curate_scene` wrote them, in the order of the scenes; only those with status `kept` matter.
        settings: which captures and targets are copies, and how spaces are shared out.
    """
    kept = [record for record in records if record["status"] == "kept"]
    duplicates = _duplicates(kept, settings.duplicate_bits)
    splits = _splits([record for record in kept if record["key"] not in duplicates], settings)
    rows, repeated, crossing = [], 0, 0
    for record in kept:
        if record["key"] in duplicates:
            continue
        ingest = record["stages"]["ingest"]["data"]
        split = splits[ingest["space"]]
        clips = [(kind, clip) for kind in KINDS for clip in record["stages"][kind]["data"]["clips"]]
        if ingest["split"] not in (None, split):
            crossing += len(clips)
            continue
        new = [_row(record, kind, clip, split) for kind, clip in clips]
        once = _without_repeats(new, settings.duplicate_distance)
        repeated += len(new) - len(once)
        rows += once
    filtered = {"repeats_another_target": repeated, "space_in_another_split": crossing}
    counts = Counter(row.split for row in rows)
    steps = {
        "de-duplication": {
            "unit": "captures", "kept": len(kept) - len(duplicates),
            "filtered": {"copy_of_another": len(duplicates)} if duplicates else {},
        },
        "split": {
            "unit": "clips", "kept": len(rows), "filtered": {reason: n for reason, n in filtered.items() if n},
            "splits": dict(counts),
        },
    }  # fmt: skip
    return Assembly(rows, steps, duplicates)


def _duplicates(records: list[dict], most_bits: float) -> dict[str, str]:
    """Scenes that show the same pictures as an earlier one: equal files, or equal frames at the same places of the video."""
    first_with: dict[str, str] = {}
    buckets: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    codes, duplicates = [], {}
    for index, record in enumerate(records):
        content = record["content"]
        hashes = record["stages"]["frame_scores"]["data"]["hashes"]
        places = np.linspace(0, len(hashes) - 1, HASHES).round().astype(int)
        code = np.array([hashes[place] for place in places], dtype=np.uint64)
        codes.append(code)
        original = first_with.get(content)
        pieces = [
            (place, band, int(value >> np.uint64(16 * band)) & 0xFFFF) for place, value in enumerate(code) for band in range(BANDS)
        ]
        if original is None:
            for other in dict.fromkeys(other for piece in pieces for other in buckets[piece]):
                if np.bitwise_count(codes[other] ^ code).mean() <= most_bits:
                    original = records[other]["key"]
                    break
        if original is not None:
            duplicates[record["key"]] = original
            continue
        first_with[content] = record["key"]
        for piece in pieces:
            buckets[piece].append(index)
    return duplicates


def _splits(records: list[dict], settings: DatasetSettings) -> dict[str, str]:
    """{space: split}: by official lists (the strictest where they disagree), else by a hash of the space's name."""
    official: dict[str, set] = defaultdict(set)
    for record in records:
        data = record["stages"]["ingest"]["data"]
        official[data["space"]].add(data["split"])
    result = {}
    for space, named in official.items():
        known = [split for split in reversed(SPLITS) if split in named]
        if known:
            result[space] = known[0]
            continue
        place = int(hashlib.sha1(space.encode()).hexdigest(), 16) % 1000 / 1000
        held_out = "test" if place < settings.test else "validation"
        result[space] = held_out if place < settings.test + settings.validation else "train"
    return result


def _row(record: dict, kind: str, clip: dict, split: str) -> ClipRow:
    ingest, cameras = (record["stages"][name]["data"] for name in ("ingest", "cameras"))
    # Clips count frames among those with a camera; the manifest counts them among all of the recording.
    frame = cameras["frames"]
    context, target = clip["context"], clip["target"]
    poses, intrinsics = np.array(cameras["camera_to_world"]), np.array(cameras["intrinsics"])
    intrinsics = np.broadcast_to(intrinsics, (len(poses), 3, 3))
    both = [*context, *target]
    optional = ("coverage", "anchor_coverage", "label", "instance_id", "region_frame", "scores")
    lists = ("texts", "region_box")
    return ClipRow(
        # Two objects may be reached by the same frames.
        key=f"{record['key']}-{kind[0]}{target[0]:05d}-{target[-1]:05d}"
        + (f"-{clip['instance_id']}" if kind == "grounding" else ""),
        kind=kind,
        split=split,
        space=ingest["space"],
        capture=ingest["name"],
        reader=record["reader"],
        scene=record["scene"],
        options=record["options"],
        content=record["content"],
        convention=cameras["convention"],
        licence=ingest["licence"],
        redistributable=ingest["redistributable"],
        height=ingest["height"],
        width=ingest["width"],
        metric=cameras["metric"],
        scale=clip["scale"],
        context_frames=tuple(frame[index] for index in context),
        context_times=tuple(cameras["times"][index] for index in context),
        anchor=context.index(target[0]),
        target_frames=tuple(frame[index] for index in target),
        target_times=tuple(clip["target_times"]),
        camera_to_world=poses[both],
        intrinsics=intrinsics[both].copy(),
        coverage_method=clip.get("method", ""),
        origin=clip.get("origin", "captured"),
        boxes=np.array([box or [np.nan] * 4 for box in clip.get("boxes", [])], np.float32).reshape(-1, 4),
        **{name: clip[name] for name in optional if name in clip},
        **{name: tuple(clip[name]) for name in lists if name in clip},
    )


def _without_repeats(rows: list[ClipRow], distance: float) -> list[ClipRow]:
    """Rows without navigation targets that hardly differ from an earlier one."""
    kept: list[ClipRow] = []
    seen: list[Cameras] = []
    for row in rows:
        if row.kind == "navigation":
            path = row.cameras[1].scaled(row.scale, metric=row.metric)
            if any(float(torch.diagonal(viewpoint_distance(path, other)).max()) < distance for other in seen):
                continue
            seen.append(path)
        kept.append(row)
    return kept

"""A curated data set as clips with pixels, read one by one: from shards where they were written, else from the captures."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from video4spatial.captures import Capture
from video4spatial.clips.assembly import clip_from_capture
from video4spatial.clips.clip import Clip
from video4spatial.clips.cropping import resized
from video4spatial.clips.manifest import MANIFEST, SPLITS, ClipRow, read_manifest
from video4spatial.clips.shards import clip_from_members, read_index, read_members

SHARDS = "shards"
OPEN_CAPTURES = 4


class ClipDataset:
    """Clips of a data set folder; can be pickled, and each clip is read on its own.

    Args:
        folder: what `v4s curate build` wrote.
        split: train, validation or test; None takes all.
        kind: navigation or grounding; None takes both.
        size: (height, width) of the pictures in pixels; None leaves those of shards as they are (captures need it).
        open_capture: reads a capture by (reader, scene, **options), for clips whose pixels are not in shards;
            `data_curation.readers.read_scene`.

    Raises:
        FileNotFoundError, ValueError: for a folder without a manifest, an unknown split or kind, or nothing that fits.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str | None = None,
        kind: str | None = None,
        size: tuple[int, int] | None = None,
        open_capture: Callable[..., Capture] | None = None,
    ):
        for name, value, known in [("split", split, SPLITS), ("kind", kind, ("navigation", "grounding"))]:
            if value is not None and value not in known:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(known)}.")
        self.folder = Path(folder)
        rows = read_manifest(self.folder / MANIFEST)
        self.rows: list[ClipRow] = [row for row in rows if split in (None, row.split) and kind in (None, row.kind)]
        if not self.rows:
            kinds = f"{len(rows)} clips, but none" if rows else "no clips at all"
            raise ValueError(f"{self.folder} holds {kinds} of split {split or 'any'} and kind {kind or 'any'}.")
        self.size, self.open_capture = size, open_capture
        self._index = read_index(self.folder / SHARDS)
        self._captures: OrderedDict[tuple, Capture] = OrderedDict()
        without = [row.key for row in self.rows if row.key not in self._index]
        if without and (open_capture is None or size is None):
            raise ValueError(
                f"{len(without)} clips of {self.folder} (such as {without[0]}) have no pixels in shards: give open_capture and "
                "size to read them from their captures."
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Clip:
        row = self.rows[index]
        if row.key in self._index:
            clip = clip_from_members(read_members(self.folder / SHARDS, self._index[row.key]))
            return clip if self.size is None else resized(clip, *self.size)
        return clip_from_capture(row, self._capture(row), *self.size)

    def _capture(self, row: ClipRow) -> Capture:
        """The row's capture; a few stay open."""
        name = row.reader, row.scene, str(row.options)
        if name not in self._captures:
            self._captures[name] = self.open_capture(row.reader, row.scene, **row.options)
            while len(self._captures) > OPEN_CAPTURES:
                self._captures.popitem(last=False)
        self._captures.move_to_end(name)
        return self._captures[name]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_captures": OrderedDict()}

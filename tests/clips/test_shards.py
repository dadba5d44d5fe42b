"""Instructions in shards: every kind comes back as it was."""

from dataclasses import replace

import pytest

from video4spatial.clips import Ground, Navigate, Region
from video4spatial.clips.shards import clip_from_members, read_index, read_members, write_index, write_shard


@pytest.mark.parametrize("kind", ["path", "path with words", "words", "region", "none"])
def test_instructions_come_back(kind, clip, tmp_path):
    path, region = clip.target_cameras, Region(2, (0.1, 0.2, 0.5, 0.75))
    instruction = {
        "path": Navigate(path), "path with words": Navigate(path, "a bright room"), "words": Ground("go to the lamp"),
        "region": Ground(None, region), "none": None,
    }[kind]  # fmt: skip
    written = write_shard(tmp_path / "a.tar", [replace(clip, name="one", instruction=instruction)])
    write_index(tmp_path, {"a.tar": written["members"]})
    again = clip_from_members(read_members(tmp_path, read_index(tmp_path)["one"])).instruction
    assert type(again) is type(instruction)
    if isinstance(instruction, Navigate):
        assert again.prompt == instruction.prompt and again.cameras.allclose(path)
    else:
        assert again == instruction

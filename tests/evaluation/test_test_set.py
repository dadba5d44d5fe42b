"""The frozen test set: it loads, it is what it says, and it notices a changed simulator."""

import json
from dataclasses import replace

import numpy as np
import pytest

from video4spatial.spread import evenly_spread
from video4spatial.evaluation.test_set import (
    ANCHOR_SEES,
    CONTEXT_SEES,
    StaleTestSetError,
    build_rooms_nav,
    load_test_set,
    similar_clips,
)
from video4spatial.geometry.visibility import covisible_mask
from video4spatial.simulation.scenes import SEED_RANGES


def test_the_whole_set_keeps_its_promises():
    clips = load_test_set()
    assert len(clips) >= 64 and len({clip.scene for clip in clips}) == len(clips) == len({clip.name for clip in clips})
    for clip in clips:
        recipe = clip.recipe
        assert recipe["scene_seed"] in SEED_RANGES["test"]
        assert recipe["context_sees"] >= CONTEXT_SEES and ANCHOR_SEES[0] <= recipe["anchor_sees"] <= ANCHOR_SEES[1]
        assert 20 <= recipe["net_rotation_degrees"] <= 60 and 0.3 <= recipe["path_metres"] <= 1.5


def test_a_clip_renders_as_frozen():
    entry = load_test_set(limit=2)[1]
    clip = entry.load(size=32)
    assert clip.target_frames.shape == (9, 32, 32, 3) and clip.context_frames.shape == (32, 32, 32, 3)
    assert np.array_equal(clip.target_frames[0], clip.context_frames[clip.anchor])
    context = (clip.context_cameras, clip.context_depth)
    share = covisible_mask(clip.instruction.cameras[1:], clip.target_depth[1:], *context).mean()
    assert share == pytest.approx(entry.recipe["context_sees"], abs=0.01)


def test_a_changed_simulator_is_noticed():
    entry = load_test_set(limit=1)[0]
    fingerprint = entry.recipe["fingerprint"] | {"target_end": [9.0] * 12}
    with pytest.raises(StaleTestSetError, match="target end were"):
        replace(entry, recipe=entry.recipe | {"fingerprint": fingerprint}).load(size=16)


def test_building_again_gives_the_same():
    content = build_rooms_nav(scenes=1)
    assert content["clips"][0] == load_test_set(limit=1)[0].recipe


def test_unknown_sets_and_other_files(tmp_path):
    with pytest.raises(ValueError, match="choose one of rooms_nav_v1"):
        load_test_set("rooms")
    (tmp_path / "x.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(ValueError, match="no clips, settings"):
        load_test_set(str(tmp_path / "x.json"))
    for clips in (3, [1], [{}]):
        (tmp_path / "other.json").write_text(json.dumps({"name": "a", "settings": {}, "clips": clips}))
        with pytest.raises(ValueError, match="clips are a list of objects"):
            load_test_set(str(tmp_path / "other.json"))


def test_similar_clips_are_of_other_scenes_and_reproducible():
    frozen = load_test_set(limit=1)[0].load(size=16)
    (clip,), (again,), (other,) = (similar_clips(range(5, 6), 16, walk_seed) for walk_seed in (0, 0, 1000))
    assert clip.target_frames.shape == frozen.target_frames.shape and clip.context_frames.shape == frozen.context_frames.shape
    assert clip.scene == other.scene != frozen.scene
    assert np.array_equal(clip.target_frames, again.target_frames) and not np.array_equal(clip.target_frames, other.target_frames)


def test_evenly_spread_holds_the_anchor():
    assert evenly_spread(48, 2, 47) == [0, 47]
    assert evenly_spread(10, 3, 4) == [0, 4, 9]
    assert evenly_spread(5, 1, 3) == [3]
    with pytest.raises(ValueError, match="cannot choose"):
        evenly_spread(5, 6, 0)

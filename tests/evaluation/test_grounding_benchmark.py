"""The frozen test set of grounding, and its benchmark on one clip of two scenes."""

from dataclasses import replace

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from video4spatial.clips import Ground
from video4spatial.evaluation.grounding_benchmark import benchmark_grounding, box_of_answer
from video4spatial.evaluation.grounding_set import SETTINGS, build_rooms_ground, load_grounding_set, object_out_of_sight
from video4spatial.evaluation.rows.grounding import GroundingVideo
from video4spatial.evaluation.test_set import StaleTestSetError, load_test_set
from video4spatial.pipelines import GenerationSettings, Video4SpatialPipeline
from video4spatial.simulation import generate_scene, render


def test_the_set_marks_objects_that_another_frame_than_the_first_view_shows():
    entries = load_grounding_set()
    assert len(entries) == 64 and len({entry.scene for entry in entries}) == 64
    clip = entries[0].load(size=32)
    region = clip.instruction.region
    assert isinstance(clip.instruction, Ground) and region.frame != clip.anchor and clip.target_object.label in clip.instruction.text
    assert clip.num_target_frames == SETTINGS["num_frames"] and len(clip.context_frames) == SETTINGS["context_size"]


def test_building_again_gives_the_same_and_changes_are_noticed():
    entry = load_grounding_set(limit=1)[0]
    assert build_rooms_ground(scenes=1)["clips"][0] == entry.recipe
    stale = replace(entry, recipe=entry.recipe | {"fingerprint": entry.recipe["fingerprint"] | {"target_end": [9.0] * 12}})
    with pytest.raises(StaleTestSetError, match="target end were"):
        stale.load(size=16)


def test_sets_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="a test set of grounding: use v4s benchmark grounding"):
        load_test_set("rooms_ground_v1")
    with pytest.raises(ValueError, match="a test set of navigation: use v4s benchmark navigation"):
        load_grounding_set("rooms_nav_v1")
    with pytest.raises(ValueError, match="choose one of rooms_ground_v1, or"):
        load_grounding_set("rooms")


def test_the_demo_marks_an_object_that_only_other_frames_show():
    clip = load_test_set(limit=8)[7].load(size=16)
    instruction, label = object_out_of_sight(clip)
    scene, region = generate_scene(clip.provenance["scene_seed"]), instruction.region
    shown = render(scene, clip.context_cameras, 64, 64).instance
    there = [item for item in scene.objects if item.label == label and region.pixels(64, 64)[shown[region.frame] == item.instance_id].all()]
    assert there and (shown[region.frame] == there[0].instance_id).any() and not (shown[clip.anchor] == there[0].instance_id).any()


def test_rows_are_scored_side_by_side(tiny_vae):
    pipeline = Video4SpatialPipeline(
        tiny_vae, seeded_transformer(geometry_views=1), FlowMatchEulerDiscreteScheduler(shift=3.0), height=48, width=48,
        context_frames=4,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    clips = load_grounding_set(limit=1)
    rows = ("oracle_planner", "copy_object_frame", "ground_truth", "other_scene_context")
    results, settings = benchmark_grounding(
        pipeline, clips, rows, generation=GenerationSettings(num_inference_steps=1), progress=False
    )
    cells = {row["name"]: row["metrics"] for row in results}
    assert cells["ground_truth"]["if"]["value"] == 1 and cells["ground_truth"]["collisions"]["value"] == 0
    assert cells["copy_object_frame"]["if"]["value"] == 0 and cells["copy_object_frame"]["box_iou"]["status"] == "not_applicable"
    assert cells["oracle_planner"]["box_iou"]["value"] > 0.9
    assert cells["other_scene_context"]["if"]["status"] == "not_applicable"
    assert set(settings["paired_differences"]) == set(rows) - {"oracle_planner", "other_scene_context"}
    with pytest.raises(ValueError, match="unknown row 'regoin'.*did you mean 'region'"):
        benchmark_grounding(pipeline, clips, ("regoin",))


def test_the_answers_box_is_held_against_where_the_object_is():
    clip = load_grounding_set(limit=1)[0].load(size=16)
    path, frames = clip.target_cameras.relative_to(0), clip.target_frames
    true = clip.target_boxes[-1].astype(float)
    assert box_of_answer(clip, GroundingVideo(frames, true, path)).value > 0.4
    assert box_of_answer(clip, GroundingVideo(frames, np.full(4, np.nan), path)).value == 0
    assert box_of_answer(clip, GroundingVideo(frames, np.full(4, np.nan))).value == 0
    assert box_of_answer(clip, GroundingVideo(frames)).status == "not_applicable"

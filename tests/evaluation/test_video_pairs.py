"""Pairs of videos on disk: what belongs together, what a clip knows of them, how they score."""

import numpy as np
import pytest

from video4spatial.cameras import parse_trajectory, write_cameras
from video4spatial.clips import Navigate
from video4spatial.evaluation.video_pairs import VideoPair, check_pair, find_pairs, read_pair, score_pair
from video4spatial.media import write_images


@pytest.fixture
def folder(tmp_path):
    """Videos of two scenes; of the generated ones one is missing."""
    truth = np.random.default_rng(0).integers(0, 200, (3, 16, 16, 3), dtype=np.uint8)
    for name in ("truth/hall/one", "truth/attic/one", "ours/hall/one"):
        write_images(tmp_path / name, truth)
    write_cameras(tmp_path / "cameras.json", parse_trajectory("forward 1", 3))
    return tmp_path


def test_pairs_by_name_with_folders_as_scenes(folder):
    attic, hall = find_pairs(str(folder / "ours"), str(folder / "truth"))
    assert (attic.name, attic.scene, attic.generated) == ("attic/one", "attic", None)
    assert hall == VideoPair("hall/one", "hall", folder / "truth/hall/one", folder / "ours/hall/one")
    (single,) = find_pairs(str(folder / "ours/hall/one"), str(folder / "truth/hall/one"), cameras=str(folder / "cameras.json"))
    assert single.name == "generated" and single.cameras == folder / "cameras.json"


def test_results_of_sampling_are_one_video_each(folder):
    """Whatever else lies beside it: pictures of the path, side by sides, contexts."""
    truth = np.random.default_rng(0).integers(0, 200, (3, 16, 16, 3), dtype=np.uint8)
    for name in ("in", "out"):
        result = folder / "many" / name
        write_images(result / "frames", truth)
        (result / "scores.json").write_text("{}")
        for other in ("video.mp4", "side_by_side.mp4", "trajectory.png"):
            (result / other).write_bytes(b"not looked at")
        write_cameras(result / "transforms.json", parse_trajectory("forward 1", 3))
    pairs = find_pairs(*[str(folder / "many")] * 2, cameras=str(folder / "many"))
    assert [(pair.name, pair.generated) for pair in pairs] == [(name, folder / "many" / name / "frames") for name in ("in", "out")]
    assert pairs[0].cameras == folder / "many/in/transforms.json"
    check_pair(pairs[0])
    (single,) = find_pairs(str(folder / "many/in"), str(folder / "truth/hall/one"))
    assert single.generated == folder / "many/in/frames"


def test_a_clip_has_an_instruction_only_where_cameras_are_given(folder):
    pair = VideoPair("one", "hall", folder / "truth/hall/one", folder / "ours/hall/one")
    clip, frames = read_pair(pair)
    assert clip.instruction is None and clip.target_cameras is None and len(frames) == clip.num_target_frames == 3
    scores = score_pair(clip, frames, ["psnr", "epipolar_error_px"])["generated"].measurements
    assert scores["psnr"].value == 100 and scores["epipolar_error_px"].reason == "needs target_cameras"
    clip, _ = read_pair(VideoPair("one", "hall", pair.reference, pair.generated, cameras=folder / "cameras.json"))
    assert isinstance(clip.instruction, Navigate) and clip.target_cameras.allclose(parse_trajectory("forward 1", 3), 1e-9)


def test_references_stand_beside_a_context_and_lost_videos_fail(folder):
    pair = VideoPair("one", "attic", folder / "truth/attic/one", context=folder / "truth/hall/one")
    scored = score_pair(*read_pair(pair, anchor=0), ["psnr"])
    assert {row: clip.measurements["psnr"].status for row, clip in scored.items()} == {
        "generated": "failed", "static": "ok", "mean_colour": "ok",
    }  # fmt: skip
    with pytest.raises(ValueError, match="anchor 3 is outside the 3 frames"):
        read_pair(pair, anchor=3)


def test_what_does_not_compare_is_refused_before_it_is_decoded(folder):
    write_images(folder / "short", np.zeros((2, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="has 2 frames and .* 3: expected as many"):
        check_pair(VideoPair("one", "hall", folder / "truth/hall/one", folder / "short"))
    with pytest.raises(ValueError, match="holds 3 cameras for 2 frames"):
        check_pair(VideoPair("one", "hall", folder / "short", folder / "short", cameras=folder / "cameras.json"))


def test_a_pair_says_how_much_memory_its_frames_take(folder):
    pair = VideoPair("a", "hall", folder / "truth/hall/one", folder / "ours/hall/one", folder / "truth/attic/one")
    assert check_pair(pair) == 3 * 3 * 16 * 16 * 3

"""Augmented clips of the simulator: cameras, depth, boxes and words must still fit the pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from video4spatial.cameras import CameraError, Cameras, CropBox
from video4spatial.geometry.visibility import warp_context
from video4spatial.clips import (
    AugmentationSettings, Clip, Ground, Region, augment, cropped, mirrored, mirrored_text, relit,
)  # fmt: skip
from video4spatial.clips.simulated import simulated_navigation_clip

HEIGHT, WIDTH = 48, 64
WINDOW = CropBox(top=9, left=20, height=36, width=42)  # off centre, and of another aspect than the picture
NEVER = AugmentationSettings(
    lighting_probability=0.0, mirror_probability=0.0, viewpoint_probability=0.0, occluder_probability=0.0
)
ALWAYS = AugmentationSettings(
    lighting_probability=1.0, mirror_probability=1.0, viewpoint_probability=1.0, occluder_probability=1.0
)


@pytest.fixture(scope="module")
def clip():
    """A walk and a way on from its last frame, with exact depth."""
    made = simulated_navigation_clip(3, height=HEIGHT, width=WIDTH, context_size=8, num_frames=5)
    assert np.array_equal(made.target_frames[0], made.context_frames[made.anchor])
    return made


@pytest.fixture(scope="module")
def search(clip):
    """The same clip with an object to find: seen in the last two target frames and named by a region."""
    boxes = np.full((5, 4), np.nan, dtype=np.float32)
    boxes[3], boxes[4] = (0.0, 0.1, 0.1, 0.3), (0.5, 0.25, 0.75, 0.5)
    ground = Ground("Turn left to the lamp", Region(2, (0.25, 0.5, 0.5, 0.75)))
    return replace(clip, instruction=ground, target_boxes=boxes)


def reprojection(clip: Clip) -> tuple[float, float]:
    """Share of target pixels found in the context by depth, and PSNR of their colours in dB."""
    warped, seen = warp_context(
        clip.target_cameras, clip.target_depth, clip.context_cameras, clip.context_depth, clip.context_frames
    )
    error = (warped[seen].astype(float) - clip.target_frames[seen]) / 255
    return seen.mean(), -10 * np.log10((error**2).mean())


def with_cameras_of(clip: Clip, other: Clip) -> Clip:
    return replace(clip, context_cameras=other.context_cameras, target_cameras=other.target_cameras)


def projected(cameras: Cameras, points: torch.Tensor) -> np.ndarray:
    """World points [P, 3] as (column, row) in shares of the picture [T, P, 2]."""
    inside = cameras.world_to_camera[:, None] @ torch.cat([points, torch.ones(len(points), 1)], dim=1)[..., None]
    shares = (cameras.intrinsics[:, None] @ inside[..., :3, :]).squeeze(-1)
    return (shares[..., :2] / shares[..., 2:]).numpy()


def same(first: Clip, second: Clip) -> bool:
    arrays = ("context_frames", "context_depth", "target_frames", "target_depth")
    equal = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in arrays)
    if first.target_boxes is not None:
        equal &= np.allclose(first.target_boxes, second.target_boxes, atol=1e-6, equal_nan=True)
    cameras = first.context_cameras.allclose(second.context_cameras) and first.target_cameras.allclose(second.target_cameras)
    if isinstance(first.instruction, Ground):
        return equal and cameras and first.instruction == second.instruction
    return equal and cameras and first.instruction.cameras.allclose(second.instruction.cameras)


# ---- geometry ---------------------------------------------------------------------------------------------------


def test_colours_still_reproject_after_mirror_and_crop(clip):
    seen, quality = reprojection(clip)
    assert seen > 0.9 and quality > 25
    for changed in (mirrored(clip), cropped(clip, WINDOW), mirrored(cropped(clip, WINDOW))):
        changed_seen, changed_quality = reprojection(changed)
        assert changed_seen > seen - 0.05 and changed_quality > quality - 3
        # The measure notices cameras that did not follow.
        wrong_seen, wrong_quality = reprojection(with_cameras_of(changed, clip))
        assert wrong_seen < seen - 0.1 and wrong_quality < quality - 8


def test_a_point_of_the_mirrored_world_lands_on_the_mirrored_pixel():
    """With skew and a principal point off centre, which the simulator has not."""
    generator = torch.Generator().manual_seed(0)
    camera_to_world = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    turns = torch.randn(3, 3, 3, generator=generator, dtype=torch.float64)
    camera_to_world[:, :3, :3] = torch.linalg.matrix_exp(0.2 * (turns - turns.mT))
    camera_to_world[:, :3, 3] = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    cameras = Cameras(camera_to_world, [[0.8, 0.1, 0.4], [0, 1.1, 0.55], [0, 0, 1]], times=torch.arange(3))
    points = torch.randn(20, 3, generator=generator, dtype=torch.float64) + torch.tensor([0, 0, 8.0])
    picture = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    clip = Clip("name", "scene", picture, np.arange(3.0), Ground("find it"), 0, context_cameras=cameras)
    flipped = mirrored(clip).context_cameras
    expected = projected(cameras, points) * [-1, 1] + [1, 0]
    assert np.allclose(projected(flipped, points * torch.tensor([-1.0, 1, 1])), expected)
    assert torch.equal(flipped.times, cameras.times) and flipped.metric == cameras.metric


def test_a_pixel_is_found_where_its_point_projects_to(clip):
    """The world point behind a context pixel is projected into the changed clip, where colour and depth must be the same."""
    changes = [
        (mirrored(clip), torch.tensor([-1.0, 1, 1])),
        # Twice enlarged, a pixel becomes four of its depth.
        (cropped(clip, CropBox(12, 20, HEIGHT // 2, WIDTH // 2)), torch.ones(3)),
    ]
    row, column = np.meshgrid(np.arange(14, 34), np.arange(22, 50), indexing="ij")
    row, column = row.ravel(), column.ravel()
    pixel = torch.tensor(np.stack([(column + 0.5) / WIDTH, (row + 0.5) / HEIGHT, np.ones(len(row))], axis=1))
    for frame in range(len(clip.context_frames)):
        camera, depth = clip.context_cameras[frame], clip.context_depth[frame, row, column]
        rays = pixel @ torch.linalg.inv(camera.intrinsics[0]).T
        points = (rays * torch.tensor(depth)[:, None].double()) @ camera.rotations[0].T + camera.positions[0]
        for changed, sign in changes:
            at = projected(changed.context_cameras[frame], points * sign)[0] * [WIDTH, HEIGHT]
            # Pixels fall on corners of the enlarged ones; all four around have its depth.
            new_column, new_row = np.floor(at - 1e-6).astype(int).T
            assert np.array_equal(changed.context_depth[frame, new_row, new_column], depth)
            if changed is changes[0][0]:
                assert np.array_equal(changed.context_frames[frame, new_row, new_column], clip.context_frames[frame, row, column])


def test_crop_keeps_colours_in_place(clip):
    """The window of the enlarged picture, made small again, is the window that was cut out."""
    changed = cropped(clip, WINDOW)
    inside = clip.context_frames[:, WINDOW.top : WINDOW.top + WINDOW.height, WINDOW.left : WINDOW.left + WINDOW.width]
    pictures = torch.from_numpy(changed.context_frames).permute(0, 3, 1, 2).float()
    small = torch.nn.functional.interpolate(pictures, inside.shape[1:3], mode="bilinear", antialias=True)
    assert np.abs(small.permute(0, 2, 3, 1).numpy() - inside).mean() < 4


def test_resizing_leans_to_no_side(clip):
    """Crop and mirror may be swapped: depth of a pixel is that of the source pixel it lies in, not of one to its left."""
    first = mirrored(cropped(clip, CropBox(top=3, left=5, height=30, width=40)))
    second = cropped(mirrored(clip), CropBox(top=3, left=WIDTH - 5 - 40, height=30, width=40))
    assert np.array_equal(first.context_depth, second.context_depth)
    assert np.abs(first.context_frames.astype(int) - second.context_frames).max() <= 1
    assert first.context_cameras.allclose(second.context_cameras)


def test_the_anchor_and_the_first_target_frame_stay_the_same_view(search):
    for seed in range(4):
        changed = augment(search, ALWAYS, seed)
        assert np.array_equal(changed.target_frames[0], changed.context_frames[changed.anchor])
        assert np.array_equal(changed.target_depth[0], changed.context_depth[changed.anchor])
        assert changed.target_cameras[0].allclose(changed.context_cameras[changed.anchor])


def test_a_window_outside_the_picture_or_without_the_region_is_refused(search):
    for bad in (replace(search, context_cameras=None, target_cameras=None), search):
        with pytest.raises(CameraError, match="does not lie in a picture"):
            cropped(bad, CropBox(20, 0, HEIGHT, WIDTH))
    window = CropBox(0, 40, 18, 24)
    wordless = replace(search, instruction=replace(search.instruction, text=None))
    with pytest.raises(ValueError, match="which names the object, would be lost"):
        cropped(wordless, window)
    assert cropped(search, window).instruction == Ground(search.instruction.text)  # the words still name it


# ---- mirror -----------------------------------------------------------------------------------------------------


def test_mirroring_twice_changes_nothing(clip, search):
    for original in (clip, search):
        once = mirrored(original)
        assert not same(once, original) and same(mirrored(once), original)


def test_boxes_are_mirrored_with_the_pictures(search):
    changed = mirrored(search)
    assert np.isnan(changed.target_boxes[:3]).all()
    assert np.allclose(changed.target_boxes[3:], [[0.9, 0.1, 1.0, 0.3], [0.25, 0.25, 0.5, 0.5]])
    assert changed.target_boxes.dtype == np.float32
    assert changed.instruction == Ground("Turn right to the lamp", Region(2, (0.5, 0.5, 0.75, 0.75)))


def test_clips_without_cameras_depth_or_truth_are_augmented_too(search):
    bare = replace(
        search, context_cameras=None, context_depth=None, target_frames=None, target_depth=None, target_cameras=None,
        target_boxes=None, instruction=Ground(region=search.instruction.region),
    )  # fmt: skip
    changed = augment(bare, ALWAYS, 0)
    assert changed.context_cameras is None and changed.target_frames is None and changed.instruction.text is None
    assert np.array_equal(mirrored(bare).context_frames, search.context_frames[:, :, ::-1])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Go left, then RIGHT.", "Go right, then LEFT."),
        ("Leftmost chair, on the right-hand side", "Rightmost chair, on the left-hand side"),
        ("the upright, bright lamp and the leftovers", "the upright, bright lamp and the leftovers"),
        ("turn Clockwise to the clock", "turn Counterclockwise to the clock"),
        ("turn anticlockwise or counter-clockwise", "turn clockwise or clockwise"),
        ("the lamp right next to the left bed", "the lamp right next to the right bed"),
        ("the lamp on the right near the bed", "the lamp on the left near the bed"),
    ],
)
def test_sides_are_swapped_in_words(text, expected):
    assert mirrored_text(text) == expected


# ---- boxes and windows ------------------------------------------------------------------------------------------


def test_boxes_follow_the_window_and_leave_with_it(search):
    changed = cropped(search, CropBox(top=6, left=16, height=36, width=48))
    assert np.isnan(changed.target_boxes[:4]).all()
    assert np.allclose(changed.target_boxes[4], [1 / 3, 1 / 6, 2 / 3, 1 / 2])
    assert np.allclose(changed.instruction.region.box, (0, 1 / 2, 1 / 3, 5 / 6))
    # Half of the last box is cut off by the window's left edge.
    words = replace(search, instruction=Ground("find it"))
    assert np.allclose(cropped(words, CropBox(0, 40, 24, 24)).target_boxes[4], [0, 1 / 2, 1 / 3, 1])


def test_drawn_windows_keep_the_object_and_the_aspect(search):
    settings = replace(NEVER, viewpoint_probability=1.0, zoom=(1.2, 4.0))
    windows = set()
    for seed in range(30):
        changed = augment(search, settings, seed)
        window = CropBox(**changed.provenance["augmentation"]["window"])
        windows.add(window)
        share = np.array([window.width / WIDTH, window.height / HEIGHT])
        assert abs(share[0] - share[1]) < 1 / HEIGHT
        for old, new in [
            (search.target_boxes[-1], changed.target_boxes[-1]),
            (np.array(search.instruction.region.box), np.array(changed.instruction.region.box)),
        ]:
            assert np.allclose((new[2:] - new[:2]) * share, old[2:] - old[:2], atol=1e-6)
    # Both boxes together are half of the picture wide and high, so it is never enlarged more than twice.
    assert len(windows) > 5 and min(window.width for window in windows) >= WIDTH // 2


def test_windows_are_drawn_all_over_the_picture(clip):
    settings = replace(NEVER, viewpoint_probability=1.0, zoom=(2.0, 2.0))
    windows = [augment(clip, settings, seed).provenance["augmentation"]["window"] for seed in range(60)]
    assert {(window["height"], window["width"]) for window in windows} == {(HEIGHT // 2, WIDTH // 2)}
    lefts = [window["left"] for window in windows]
    assert min(lefts) < WIDTH // 8 and max(lefts) > 3 * WIDTH // 8


# ---- lighting ---------------------------------------------------------------------------------------------------


def test_lighting_is_one_linear_map_for_all_frames(clip):
    changed = relit(clip, brightness=0.05, contrast=0.8)
    for old, new in [(clip.context_frames, changed.context_frames), (clip.target_frames, changed.target_frames)]:
        expected = (0.8 * (old / 255 - 0.5) + 0.5 + 0.05) * 255
        assert np.abs(new - expected.clip(0, 255)).max() < 1.0
    assert changed.context_depth is clip.context_depth


def test_equal_colours_stay_equal_throughout_the_clip(clip):
    changed = augment(clip, replace(NEVER, lighting_probability=1.0), 5)
    old = np.concatenate([clip.context_frames, clip.target_frames]).reshape(-1, 3)
    new = np.concatenate([changed.context_frames, changed.target_frames]).reshape(-1, 3)
    assert len(np.unique(np.hstack([old, new]), axis=0)) == len(np.unique(old, axis=0))
    assert np.abs(old.astype(int) - new).mean() > 2
    assert np.array_equal(relit(clip).context_frames, clip.context_frames)


# ---- occluders --------------------------------------------------------------------------------------------------


def test_occluders_pass_in_the_context_alone_and_leave_anchor_and_region_clean(search):
    settings = replace(NEVER, occluder_probability=1.0, occluder_count=(3, 3), occluder_frames=(1, 3))
    kinds = set()
    for anchor, seed in [(0, 0), (5, 1), (5, 2), (7, 3), (7, 4), (7, 5)]:
        placed = replace(search, anchor=anchor)
        changed = augment(placed, settings, seed)
        covered = (changed.context_frames != placed.context_frames).any(axis=-1)
        frames = set(np.flatnonzero(covered.any(axis=(1, 2))).tolist())
        done = changed.provenance["augmentation"]["occluders"]
        kinds |= {thing["kind"] for thing in done}
        assert frames and frames == {frame for thing in done for frame in thing["frames"]}
        assert not frames & {anchor, search.instruction.region.frame}
        assert all(np.diff(thing["frames"]).tolist() == [1] * (len(thing["frames"]) - 1) for thing in done)
        # Depth is unknown wherever something is in the way, and as it was elsewhere.
        hidden = changed.context_depth == 0
        assert hidden[covered].all() and np.array_equal(changed.context_depth[~hidden], placed.context_depth[~hidden])
        assert all(0.01 < hidden[frame].mean() < 0.9 for frame in frames)
        assert np.array_equal(changed.target_frames, placed.target_frames)
        assert np.array_equal(changed.target_depth, placed.target_depth)
    assert kinds == {"person", "box"}


def test_an_occluder_persists_and_moves_to_one_side(clip):
    settings = replace(NEVER, occluder_probability=1.0, occluder_count=(1, 1), occluder_frames=(4, 4))
    for seed in range(4):
        changed = augment(clip, settings, seed)
        frames = changed.provenance["augmentation"]["occluders"][0]["frames"]
        centres = [np.nonzero(changed.context_depth[frame] == 0)[1].mean() for frame in frames]
        steps = np.diff(centres)
        assert len(frames) == 4 and (np.all(steps > 0) or np.all(steps < 0))


def test_a_context_of_the_anchor_alone_stays_clean(clip):
    alone = clip.with_context([clip.anchor])
    changed = augment(alone, replace(NEVER, occluder_probability=1.0), 0)
    assert np.array_equal(changed.context_frames, alone.context_frames)
    assert changed.provenance["augmentation"]["occluders"] == []


# ---- the whole --------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_clip_and_leaves_its_input_alone(search):
    before = {name: getattr(search, name).copy() for name in ("context_frames", "context_depth", "target_boxes")}
    first, again, other = (augment(search, ALWAYS, seed) for seed in (7, 7, 8))
    assert same(first, again) and first.provenance == again.provenance and not same(first, other)
    for name, array in before.items():
        assert np.array_equal(getattr(search, name), array, equal_nan=True)
    assert "augmentation" not in search.provenance and first.provenance["source"] == "simulation"
    done = json.loads(json.dumps(first.provenance))["augmentation"]
    assert done.keys() == {"seed", "settings", "window", "mirrored", "occluders", "lighting"} and done["seed"] == 7


def test_switched_off_nothing_changes(search):
    assert same(augment(search, NEVER, 0), search)


def test_probabilities_are_kept_to(clip):
    small = clip.with_context([clip.anchor])
    done = [augment(small, replace(NEVER, mirror_probability=0.3), seed).provenance["augmentation"] for seed in range(300)]
    assert 0.2 < np.mean(["mirrored" in record for record in done]) < 0.4


def test_impossible_settings_are_named_at_once():
    with pytest.raises(ValueError, match=r"mirror_probability 1.5: .*zoom 0.5 to 2.0: give a range within 1 to inf"):
        AugmentationSettings(mirror_probability=1.5, zoom=(0.5, 2.0))
    with pytest.raises(ValueError, match="hue_degrees 5 to -5"):
        AugmentationSettings(hue_degrees=(5, -5))

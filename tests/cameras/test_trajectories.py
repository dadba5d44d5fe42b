"""What the words of the trajectory language do, in OpenCV axes, and how its errors help."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from video4spatial.cameras import (
    CameraError,
    CameraFileError,
    Cameras,
    TrajectoryError,
    from_keyframes,
    parse_trajectory,
    read_cameras,
    read_keyframes,
    write_cameras,
)


def anchor(seed: int = 0) -> Cameras:
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    pose[:3, 3] = torch.from_numpy(np.random.default_rng(seed).normal(size=3))
    return Cameras.from_fov(pose[None], 50.0, 1.3)


def close(values: torch.Tensor, expected, tolerance: float = 1e-9) -> bool:
    return torch.allclose(values, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance)


def focal_growth(cameras: Cameras) -> torch.Tensor:
    return cameras.intrinsics[:, 0, 0] / cameras.intrinsics[0, 0, 0]


def pixels(cameras: Cameras, point) -> torch.Tensor:
    """Normalised picture coordinates [T, 2] of a point [3] in the world."""
    point = torch.tensor([*point, 1.0], dtype=torch.float64)
    seen = (cameras.intrinsics @ (cameras.world_to_camera @ point)[:, :3, None])[..., 0]
    return seen[:, :2] / seen[:, 2:]


@pytest.mark.parametrize("expression, position, forward, up", [
    ("forward 2", (0, 0, 2), (0, 0, 1), (0, -1, 0)),
    ("back 50cm", (0, 0, -0.5), (0, 0, 1), (0, -1, 0)),
    ("left 0.5m", (-0.5, 0, 0), (0, 0, 1), (0, -1, 0)),
    ("right 0.5 metres", (0.5, 0, 0), (0, 0, 1), (0, -1, 0)),
    ("up 0.3", (0, -0.3, 0), (0, 0, 1), (0, -1, 0)),
    ("pedestal down 0.3", (0, 0.3, 0), (0, 0, 1), (0, -1, 0)),
    ("truck right 1", (1, 0, 0), (0, 0, 1), (0, -1, 0)),
    ("dolly out 1", (0, 0, -1), (0, 0, 1), (0, -1, 0)),
    ("left 90deg", (0, 0, 0), (-1, 0, 0), (0, -1, 0)),
    ("right 90 degrees", (0, 0, 0), (1, 0, 0), (0, -1, 0)),
    ("turn left 90", (0, 0, 0), (-1, 0, 0), (0, -1, 0)),
    ("pan right 90°", (0, 0, 0), (1, 0, 0), (0, -1, 0)),
    ("tilt up 90", (0, 0, 0), (0, -1, 0), (0, 0, -1)),
    ("look down 90", (0, 0, 0), (0, 1, 0), (0, 0, 1)),
    ("roll right 90", (0, 0, 0), (0, 0, 1), (1, 0, 0)),
    ("turn left 1.5707963267948966 rad", (0, 0, 0), (-1, 0, 0), (0, -1, 0)),
    # A corner, and the same lengths at once: a quarter of a circle of length 1.
    ("forward 1, left 90deg, forward 0.5", (-0.5, 0, 1), (-1, 0, 0), (0, -1, 0)),
    ("forward 1 + left 90deg", (-2 / math.pi, 0, 2 / math.pi), (-1, 0, 0), (0, -1, 0)),
    ("forward 1 and right 90deg", (2 / math.pi, 0, 2 / math.pi), (1, 0, 0), (0, -1, 0)),
    # Right round the point 2 m ahead: on its other side, looking back.
    ("orbit left 180deg radius 2", (0, 0, 4), (0, 0, -1), (0, -1, 0)),
    ("orbit left 90deg radius 2", (-2, 0, 2), (1, 0, 0), (0, -1, 0)),
    ("orbit right 90deg", (2, 0, 2), (-1, 0, 0), (0, -1, 0)),
    ("orbit 360deg radius 1m", (0, 0, 0), (0, 0, 1), (0, -1, 0)),
    # The start is the lowest point of the circle; the view goes to the point 2 m ahead of the start.
    ("spiral 360deg", (0, 0, 0), (0, 0, 1), (0, -1, 0)),
    ("spiral right 720deg radius 20cm + forward 0.5", (0, 0, 0.5), (0, 0, 1), (0, -1, 0)),
    ("spiral 180deg radius 0.75m", (0, -1.5, 0), (0, 0.6, 0.8), (0, -0.8, 0.6)),
    ("zoom in 2", (0, 0, 0), (0, 0, 1), (0, -1, 0)),
    ("dolly zoom in 1.0m at 3m", (0, 0, 1), (0, 0, 1), (0, -1, 0)),
    ("vertigo out 1", (0, 0, -1), (0, 0, 1), (0, -1, 0)),
    ("forward 1 then look_at (1, 0, 1)", (0, 0, 1), (1, 0, 0), (0, -1, 0)),
    ("look at -2 0 1 + forward 1", (0, 0, 1), (-1, 0, 0), (0, -1, 0)),
    # Turning is about the vertical: after a full turn with a tilt the horizon is where it was.
    ("tilt down 30, turn left 180, tilt up 30", (0, 0, 0), (0, 0, -1), (0, -1, 0)),
    ("static", (0, 0, 0), (0, 0, 1), (0, -1, 0)),
])
def test_words_mean_what_they_say(expression, position, forward, up):
    cameras = parse_trajectory(expression, 17)
    assert len(cameras) == 17
    assert close(cameras.camera_to_world[0], np.eye(4).tolist())
    assert close(cameras.positions[-1], position)
    assert close(cameras.forward[-1], forward)
    assert close(cameras.up[-1], up)
    # The same in the world of any anchor.
    start = anchor()
    placed = parse_trajectory(expression, 17, start=start)
    assert placed[0].allclose(start, 1e-9)
    assert torch.allclose(placed.relative_to(0).camera_to_world, cameras.camera_to_world, atol=1e-9)
    assert torch.equal(placed.intrinsics[0], start.intrinsics[0])
    assert torch.allclose(focal_growth(placed), focal_growth(cameras), rtol=1e-12)
    assert torch.equal(placed.intrinsics[5], start.intrinsics[0]) == bool((focal_growth(cameras) == 1).all())


def test_an_orbit_stays_on_its_circle_and_looks_at_its_centre():
    for expression in ("orbit left 200deg radius 3", "orbit right 60deg radius 3"):
        cameras = parse_trajectory(expression, 33)
        center = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
        assert torch.allclose(cameras.positions + 3 * cameras.forward, center.expand(33, 3), atol=1e-9)


def test_an_orbit_of_a_tilted_camera_stays_level():
    cameras = parse_trajectory("tilt down 30, orbit left 90deg radius 2", 17)[8:]
    target = cameras.positions[-1] + 2 * cameras.forward[-1]
    assert float(cameras.positions[:, 1].abs().max()) < 1e-9
    assert close(target, [0.0, 1.0, 3**0.5])


def test_up_gives_the_vertical_of_a_tilted_anchor():
    tilted = parse_trajectory("tilt down 40", 2)[-1]
    level = parse_trajectory("turn left 90", 9, start=tilted, up=(0, -1, 0))
    assert torch.allclose(level.forward[:, 1], level.forward[0, 1].expand(9))
    assert torch.allclose(level.right[:, 1], torch.zeros(9, dtype=torch.float64), atol=1e-12)
    assert not torch.allclose(parse_trajectory("turn left 90", 9, start=tilted).right[:, 1], torch.zeros(9).double())
    with pytest.raises(TrajectoryError, match="up must be three finite numbers"):
        parse_trajectory("turn left 90", 9, up=(0, 0, 0))


def test_a_zoom_multiplies_the_focal_length_evenly_in_its_logarithm():
    assert close(focal_growth(parse_trajectory("zoom in 2", 5)), [1, 2**0.25, 2**0.5, 2**0.75, 2], 1e-12)
    assert close(focal_growth(parse_trajectory("zoom 4x, zoom out 2", 4)), [1, 2, 4, 2], 1e-12)
    assert close(focal_growth(parse_trajectory("zoom in 2 + zoom in 1.5", 2)), [1, 3], 1e-12)
    assert float(parse_trajectory("zoom in 2", 5, fov_degrees=90).fov_degrees[-1]) == pytest.approx(
        math.degrees(2 * math.atan(0.5))
    )


def test_a_zoom_takes_as_long_as_a_metre_per_doubling_and_goes_on_from_where_it_was():
    cameras = parse_trajectory("forward 1, zoom in 4, turn left 45", 5)
    assert close(cameras.positions[:, 2], [0, 1, 1, 1, 1])
    assert close(focal_growth(cameras), [1, 1, 2, 4, 4], 1e-12)
    cameras = parse_trajectory("forward 0.5 + zoom in 2, dolly zoom in 1 at 2", 6)
    assert close(cameras.positions[:, 2], [0, 1 / 6, 1 / 3, 0.5, 1.0, 1.5])
    assert close(focal_growth(cameras), [1, 2 ** (1 / 3), 2 ** (2 / 3), 2, 1.5, 1], 1e-12)


def test_a_zoom_leaves_the_principal_point_of_the_start():
    start = Cameras(torch.eye(4)[None], torch.tensor([[0.9, 0, 0.4], [0, 1.2, 0.6], [0, 0, 1]]))
    cameras = parse_trajectory("zoom in 3", 9, start=start)
    assert torch.equal(cameras.intrinsics[0], start.intrinsics[0])
    assert close(cameras.intrinsics[-1], [[2.7, 0, 0.4], [0, 3.6, 0.6], [0, 0, 1]], 1e-6)


@pytest.mark.parametrize("expression, distance", [
    ("dolly zoom in 1.0m at 3m", 3), ("dolly-zoom out 1.5", 2), ("dolly_zoom 0.5", 2), ("vertigo back 2 at 1", 1),
    ("dolly zoom in 1 at 3 + truck right 0.5 + pedestal up 0.2", 3), ("dolly zoom in 1 at 3 + orbit left 40deg", 3),
])
def test_a_dolly_zoom_keeps_the_size_of_its_subject(expression, distance):
    cameras = parse_trajectory(expression, 9, aspect=1.5)
    assert float(cameras.positions[-1, 2].abs()) > 0.4
    # The height in the picture of an upright stick at the subject.
    foot, top = pixels(cameras, (0.0, 0.4, distance)), pixels(cameras, (0.0, -0.3, distance))
    height = (foot - top)[:, 1]
    assert torch.allclose(height, height[0].expand(9), rtol=1e-12)


def test_points_at_the_subject_of_a_dolly_zoom_stay_in_their_pixel():
    start = anchor(4)
    cameras = parse_trajectory("dolly zoom in 1.0m at 3m", 9, start=start)
    point = start.positions[0] + start.rotations[0] @ torch.tensor([0.7, -0.4, 3.0], dtype=torch.float64)
    seen = pixels(cameras, point.tolist())
    assert torch.allclose(seen, seen[0].expand(9, 2), rtol=0, atol=1e-12)
    assert close(focal_growth(cameras), [(3 - step / 8) / 3 for step in range(9)], 1e-12)
    # What is twice as far away shrinks meanwhile: by 2/3 for the focal length, by 6/5 for coming nearer.
    behind = start.positions[0] + start.rotations[0] @ torch.tensor([0.7, -0.4, 6.0], dtype=torch.float64)
    offsets = pixels(cameras, behind.tolist()) - 0.5
    assert torch.allclose(offsets[-1], offsets[0] * 0.8, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side, sign", [("left", -1), ("right", 1), ("", -1)])
def test_a_spiral_stays_on_its_circle_and_looks_at_its_point(side, sign):
    cameras = parse_trajectory(f"spiral {side} 360deg radius 0.4 at 3", 17)
    center = torch.tensor([0.0, -0.4, 0.0], dtype=torch.float64)
    assert torch.allclose((cameras.positions - center).norm(dim=-1), torch.full((17,), 0.4, dtype=torch.float64))
    assert close(cameras.positions[4], [sign * 0.4, -0.4, 0])
    assert close(pixels(cameras, (0, 0, 3)), [[0.5, 0.5]] * 17)
    assert close(cameras.right[:, 1], [0.0] * 17)  # upright
    assert cameras[16].allclose(cameras[0], 1e-12)
    steps = cameras.positions.diff(dim=0).norm(dim=-1)
    assert torch.allclose(steps, steps[0].expand(16))


def test_a_spiral_with_movements_and_zooms():
    cameras = parse_trajectory("turn left 90, spiral 360deg radius 0.5 at 4 + forward 1 + zoom in 2", 41)
    last = cameras[-1]
    assert close(last.positions[0], [-1, 0, 0]) and close(last.forward[0], [-1, 0, 0])
    assert close(focal_growth(cameras)[-1], 2.0)
    # On the circle, 2 pi 0.5 m long, it advances by 1 m: 90 degrees take 2 m of that time.
    helix = cameras[20:]
    assert close(pixels(helix, (-4, 0, 0)), [[0.5, 0.5]] * 21)
    depth = -helix.positions[:, 0]
    assert torch.allclose(depth.diff(), depth.diff()[0].expand(20), atol=1e-9) and float(depth[0]) > 0


@pytest.mark.parametrize("name", ["transforms", "npz", "realestate10k", "colmap", "camera_path", "worldplay"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_formats_keep_a_zoom_and_a_file_of_it_zooms_the_start(tmp_path, name):
    path = parse_trajectory("dolly zoom in 1.0m at 3m + zoom in 2", 9)
    write_cameras(tmp_path / "path", path, name)
    assert read_cameras(tmp_path / "path", name).allclose(path, 1e-6)
    start = anchor(2)
    followed = parse_trajectory(tmp_path / "path", 9, start=start)
    expected = parse_trajectory("dolly zoom in 1.0m at 3m + zoom in 2", 9, start=start)
    assert followed.allclose(expected, 1e-6)


@pytest.mark.parametrize("name", ["tum", "kitti", "recammaster"])
def test_formats_without_intrinsics_say_that_a_zoom_is_left_out(tmp_path, name):
    with pytest.warns(UserWarning, match="holds no intrinsics"):
        write_cameras(tmp_path / "path", parse_trajectory("forward 1 + zoom in 2", 9), name)


def test_a_file_that_only_zooms_is_a_motion(tmp_path):
    write_cameras(tmp_path / "zoom.npz", parse_trajectory("zoom in 2", 5))
    assert close(focal_growth(parse_trajectory(tmp_path / "zoom.npz", 3)), [1, 2**0.5, 2])


def test_time_is_shared_out_by_metres_and_degrees():
    # 1 m and 90 degrees (as long as 2 m): a third of the time to walk, two thirds to turn; speed is constant.
    cameras = parse_trajectory("forward 1, left 90deg", 13, frame_rate=3.0)
    assert torch.allclose(cameras.positions[:5, 2], torch.linspace(0, 1, 5, dtype=torch.float64))
    assert torch.allclose(cameras[4:].rotation_to(cameras[4]), torch.linspace(0, 90, 9, dtype=torch.float64))
    assert torch.allclose(cameras.times, torch.arange(13, dtype=torch.float64) / 3)


def test_keys_as_in_games():
    keys = parse_trajectory("wasd wwd jj, up 0.1", 9)
    words = parse_trajectory("forward 0.5m, truck right 0.25m, turn left 30deg, up 0.1m", 9)
    assert keys.allclose(words, 1e-12)
    for expression, message in (("wasd wx", "'x' is no key; known: w forward 0.25m"), ("wasd", "no keys are given")):
        with pytest.raises(TrajectoryError, match=message):
            parse_trajectory(expression, 9)


def test_waiting_takes_its_seconds():
    cameras = parse_trajectory("forward 1, wait 2s, forward 1", 17, frame_rate=4.0)
    assert close(cameras.positions[:, 2][[4, 8, 12, 16]], [1.0, 1.0, 1.0, 2.0])
    # Without a number a rest takes a share like one metre.
    assert close(parse_trajectory("forward 1, static", 5).positions[:, 2], [0, 0.5, 1, 1, 1])
    assert float(parse_trajectory("wait 1", 9).path_length()) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_compound_motions_agree_with_small_steps(seed):
    generator = np.random.default_rng(seed)
    forward, side, turn, tilt = generator.uniform(-1, 1, 4) * [2, 1, 120, 40]
    expression = f"forward {forward} + right {side}m + left {turn}deg + tilt up {tilt}"
    position, steps = np.zeros(3), 4000
    for step in range(steps):
        middle = (step + 0.5) / steps
        rotation = (Rotation.from_euler("y", -turn * middle, degrees=True)
                    * Rotation.from_euler("x", tilt * middle, degrees=True))
        position = position + rotation.apply([side / steps, 0, forward / steps])
    assert close(parse_trajectory(expression, 9).positions[-1], position.tolist(), 1e-6)


@pytest.mark.parametrize("expression", ["forward 2, left 90deg, back 1 + up 0.4", "orbit left 120deg, look_at 0 0 4"])
def test_no_step_stands_out(expression):
    cameras = parse_trajectory(expression, 65)
    steps = cameras.positions.diff(dim=0).norm(dim=-1) + cameras[1:].rotation_to(cameras[:-1]) / 45
    assert float(steps.max()) < 2 * float(steps.mean())


@pytest.mark.parametrize("expression, message", [
    ("", "the trajectory is empty"),
    (" , ", "the trajectory is empty"),
    ("forwrd 1", r"unknown verb 'forwrd' \(did you mean 'forward'\?\)"),
    ("zzz 1", "unknown verb 'zzz'; known: forward"),
    ("forward", "forward needs a number, as in 'forward 0.5m'"),
    ("forward 1, left 30", "in 'left 30': .*write 'left 30deg' or 'left 30m'"),
    ("turn 30", r"turn needs a direction \(left or right\)"),
    ("turn lef 30", "did you mean 'left'"),
    ("turn left 2m", "turn takes degrees, not metres"),
    ("forward 30deg", "forward takes metres, not degrees"),
    ("forward 1 left 30deg", r"'left' begins a new motion: put ',' \(then\) or '\+'"),
    ("forward 1 2", "'2' is left over"),
    ("forward 1 +", r"a motion is missing beside '\+'"),
    ("1.0", "stands without a verb, as in 'forward 1'"),
    ("forward nan", "nan is not a number"),
    ("forward -inf", "inf is not a number"),
    ("forward 1e999", "inf is not a number"),
    ("forward 0", "no motion: for a still camera write 'static'"),
    ("left 0deg, up 0", "no motion"),
    ("forward 500", "500 metres is more than the limit of 100"),
    ("turn left 1e6", "more than the limit of 1080"),
    ("forward 1 % 2", "'%' in 'forward 1 % 2'"),
    ("look_at 1 2", "look_at needs three metres"),
    ("look_at 0 0 0", "where the camera stands"),
    ("look_at 0 -2 0", "straight above or below"),
    ("look_at 0 0 2 + left 30deg", "look_at already says where to turn"),
    ("static + forward 1", "a rest .* cannot happen together"),
    ("orbit 30deg + orbit 20deg", "two of the same kind"),
    ("orbit 30deg radius 0", "a radius of 0 m"),
    ("spiral 30deg + left 20deg", "spiral already says where to turn: combine it with movements and zooms only"),
    ("spiral 30deg + look_at 0 0 3", "look_at already says where to turn"),
    ("spiral 30deg radius 0", "spiral: a radius of 0 m is not possible"),
    ("spiral 30deg at -1m", "spiral: a distance of -1 m"),
    ("spiral 30deg + forward 2", "spiral: 2 m forward reaches the point it looks at, 2 m ahead"),
    ("spiral", "spiral needs a number, as in 'spiral 30deg'"),
    ("spirl 360deg", r"did you mean 'spiral'"),
    ("zom in 2", "did you mean 'zoom'"),
    ("zoom in 0.5", "zoom: give a factor above 1, not 0.5"),
    ("zoom out 1", "zoom: give a factor above 1, not 1"),
    ("zoom up 2", "zoom up: expected in or out"),
    ("zoom in 2m", "zoom takes times, not metres, as in 'zoom 2x'"),
    ("forward 2x", "forward takes metres, not times"),
    ("zoom in 1000", "1000 times is more than the limit of 100"),
    ("static + zoom in 2", "a rest .* cannot happen together"),
    ("dolly zoom in 3 at 3", "dolly_zoom: the camera reaches the subject 3 m ahead"),
    ("dolly zoom in 5", "dolly_zoom: the camera reaches the subject 2 m ahead"),
    ("dolly zoom in 1 at 2 + forward 1", "reaches the subject 2 m ahead"),
    ("dolly zoom in 0.1 + left 120deg", "or leaves it behind"),
    ("dolly zoom in 1 at 0", "a distance of 0 m is not possible"),
    ("dolly zoom in 1 + vertigo in 1", "two of the same kind"),
    ("dolly zoom in 30deg", "takes metres, not degrees"),
    ("wait -1", "positive number of seconds"),
    ("wait 10, forward 1", "rests take 10 s of a clip of 4 s"),
])
def test_errors_are_one_clear_line(expression, message):
    with pytest.raises(TrajectoryError, match=message) as error:
        parse_trajectory(expression, 17)
    assert "\n" not in str(error.value) and isinstance(error.value, ValueError)


def test_impossible_requests():
    with pytest.raises(TrajectoryError, match="at least 2 frames, given 1"):
        parse_trajectory("forward 1", 1)
    with pytest.raises(TrajectoryError, match="frame rate nan"):
        parse_trajectory("forward 1", 5, frame_rate=float("nan"))
    with pytest.raises(TrajectoryError, match="start must be one camera"):
        parse_trajectory("forward 1", 5, start=parse_trajectory("forward 1", 5))
    with pytest.raises(FileNotFoundError, match="no such trajectory file"):
        parse_trajectory("walk.json", 5)


def test_a_file_stands_in_for_words(tmp_path):
    path = parse_trajectory("forward 1 + left 60deg", 9, start=anchor(1))
    write_cameras(tmp_path / "path.json", path)
    start = anchor(2)
    same = parse_trajectory(tmp_path / "path.json", 9, start=start)
    assert same[0].allclose(start, 1e-9)
    assert torch.allclose(same.relative_to(0).camera_to_world, path.relative_to(0).camera_to_world)
    alone = parse_trajectory(str(tmp_path / "path.json"), 17, frame_rate=8.0)
    assert alone[::2].allclose(path.relative_to(0), 1e-9)
    assert "resampled from 9 frames" in alone.convention
    assert close(alone.times[-1], 2.0)


def test_a_file_of_unknown_scale_is_taken_as_it_is_aloud(tmp_path):
    write_cameras(tmp_path / "path.txt", parse_trajectory("forward 1", 9), "realestate10k")
    with pytest.warns(UserWarning, match="correct them with a scale"):
        cameras = parse_trajectory(tmp_path / "path.txt", 9, start=anchor())
    assert cameras.metric and float(cameras.path_length()) == pytest.approx(1.0)


def test_files_without_motion_or_with_nan(tmp_path):
    still = parse_trajectory("static", 5)
    write_cameras(tmp_path / "still.json", still)
    with pytest.raises(TrajectoryError, match="holds no motion .5 equal cameras.: for a still camera use 'static'"):
        parse_trajectory(tmp_path / "still.json", 5)
    broken = (tmp_path / "still.json").read_text().replace("1.0, 0.0]", "1.0, NaN]", 1)
    (tmp_path / "nan.json").write_text(broken)
    with pytest.raises(CameraFileError, match="NaN"):
        parse_trajectory(tmp_path / "nan.json", 5)


def test_keyframes_in_python():
    start, end = anchor(0), anchor(1)
    cameras = from_keyframes([(0, start), (1, end), (4, start)], 9, frame_rate=2.0)
    assert cameras[[0, 2, 8]].allclose(Cameras.concatenate([start, end, start]))
    assert close(cameras.positions[1], ((start.positions[0] + end.positions[0]) / 2).tolist())
    with pytest.raises(CameraError, match="must increase"):
        from_keyframes([(1, start), (0, end)], 5)
    with pytest.raises(CameraError, match="at least 2 keyframes"):
        from_keyframes([(1, start)], 5)
    with pytest.raises(CameraError, match="one camera"):
        from_keyframes([(0, start), (1, cameras)], 5)


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_keyframes_in_a_file(tmp_path, ending):
    content = {"keyframes": [{"time": 0}, {"time": 2, "position": [0, 0, 1], "look_at": [2, 0, 1]},
                             {"time": 4, "position": [1, 0, 1], "look_at": [2, 0, 1]}]}
    path = tmp_path / f"keyframes.{ending}"
    path.write_text(json.dumps(content))  # JSON is YAML
    assert len(read_keyframes(path)) == 3
    cameras = parse_trajectory(path, 17)
    assert close(cameras.positions[[0, 4, 8, 16]], [[0, 0, 0], [0, 0, 0.5], [0, 0, 1], [1, 0, 1]])
    assert close(cameras.forward[[8, 16]], [[1, 0, 0], [1, 0, 0]])
    assert float(cameras[4].rotation_to(cameras[0])) == pytest.approx(45)


@pytest.mark.parametrize("text, message", [
    ("keyframes: [", "not valid YAML or JSON"),
    ("keyframes: 3", "at least two"),
    ("keyframes: [{time: 0}, {tme: 1}]", "keyframe 1: unknown key tme; known: time"),
    ("keyframes: [{time: 0}, {time: x}]", "keyframe 1: time is 'x'"),
    ("keyframes: [{time: 1}, {time: 1}]", "times must increase"),
    ("keyframes: [{time: 0}, {time: 1, position: [0, 1]}]", r"position must have the shape \[3\]"),
    ("keyframes: [{time: 0}, {time: 1, position: [0, .nan, 0]}]", "position holds NaN"),
    ("keyframes: [{time: 0}, {time: 1, look_at: [0, 1, 0]}]", "straight above or below"),
])
def test_broken_keyframe_files(tmp_path, text, message):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CameraFileError, match=message):
        parse_trajectory(tmp_path / "a.yaml", 5)

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
    assert torch.equal(placed.intrinsics[5], start.intrinsics[0])


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

"""`sample.py` from a user's video to a scored result, and from a user's mistake to one line."""

import json
import shutil

import numpy as np
import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.conftest import seeded_transformer
from tests.models.conditions.test_text import tiny_text_parts
from video4spatial.cameras import parse_trajectory, read_cameras, write_cameras
from video4spatial.cli.errors import UserError
from video4spatial.cli.sample import main
from video4spatial.media import open_video
from video4spatial.pipelines import Video4SpatialPipeline

RESULT = ["frames", "report.html", "scores.json", "trajectory.png", "transforms.json", "video.mp4"]


def frames_of(folder):
    with open_video(folder / "frames") as video:
        return video.read(range(len(video)))


@pytest.fixture(scope="module")
def navigated(command, footage, tiny_model_folder, tmp_path_factory):
    """The finished process and the folder of its result."""
    folder = tmp_path_factory.mktemp("navigated")
    done = command(
        "sample.py", "navigate", "--context", footage / "video.mp4", "--trajectory", "forward 0.5, left 20deg",
        "--model", tiny_model_folder, "--steps", 2, "--frames", 5, "--anchor", 4, "--seed", 3, "--output", "out",
        folder=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, folder / "out"


def test_a_video_becomes_a_whole_result(navigated):
    done, folder = navigated
    assert done.stderr == ""
    assert sorted(path.name for path in folder.iterdir()) == RESULT
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    assert frames_of(folder).shape == (5, 32, 32, 3)
    with open_video(folder / "video.mp4") as video:
        assert len(video) == 5 and video.frame_rate == 4.0
    cameras = read_cameras(folder / "transforms.json")
    followed = parse_trajectory("forward 0.5, left 20deg", 5)
    assert np.allclose(cameras.camera_to_world, followed.camera_to_world, atol=1e-6)
    assert "src=" not in (folder / "report.html").read_text().replace('src="data:', "")


def test_what_was_assumed_is_said_and_written_down(navigated):
    done, folder = navigated
    scores = json.loads((folder / "scores.json").read_text())
    for sentence in ("knows only noise", "central 64x64", "60 degrees"):
        assert sentence in done.stdout
        assert any(sentence in note for note in scores["settings"]["notes"])
    assert "The result is in out" in done.stdout
    (row,) = scores["rows"]
    assert row["name"] == "model"
    assert row["metrics"]["motion"]["status"] == "ok"
    assert row["metrics"]["psnr"]["status"] == "not_applicable"


def test_the_same_seed_gives_the_same_frames(navigated, footage, tiny_model_folder, tmp_path):
    """Also in another process and with the options in a file; another seed gives others."""
    config = tmp_path / "options.yaml"
    config.write_text(
        f"context: {footage / 'video.mp4'}\ntrajectory: forward 0.5, left 20deg\nmodel: {tiny_model_folder}\n"
        "steps: 2\nframes: 5\nanchor: 4\nseed: 3\n"
    )
    for seed, same in ((3, True), (4, False)):
        main(["navigate", "--config", str(config), "--seed", str(seed), "--output", str(tmp_path / str(seed))])
        assert np.array_equal(frames_of(tmp_path / str(seed)), frames_of(navigated[1])) == same


def test_a_folder_of_images_and_its_cameras(footage, tiny_model_folder, tmp_path, capsys):
    walk = parse_trajectory("forward 3", 12, fov_degrees=80, aspect=1.5).with_frame_rate(4.0)
    write_cameras(tmp_path / "walk.txt", walk, format="realestate10k")
    main(
        ["navigate", "--context", str(footage / "images"), "--context-cameras", str(tmp_path / "walk.txt"),
         "--trajectory", "turn left 30", "--context-frames", "6", "--fps", "8", "--model", str(tiny_model_folder),
         "--steps", "1", "--guidance-scale", "2", "--output", str(tmp_path / "out")]
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "of 12 frames 6 are used" in said and "no known unit" in said
    cameras = read_cameras(tmp_path / "out" / "transforms.json")
    assert len(cameras) == 9 and not cameras.metric
    assert np.isclose(float(cameras[-1].rotation_to(cameras[0])), 30, atol=1e-3)
    # The walk's last camera is the anchor; six of twelve frames, and a median step of 0.1 between them.
    assert float(cameras.positions[0].norm()) == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize(
    "arguments", [[], pytest.param(["demo", "--known-cameras"], marks=pytest.mark.slow)], ids=["alone", "known"]
)
def test_the_demo_compares_with_the_truth(arguments, tiny_model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main([*arguments, "--model", str(tiny_model_folder), "--steps", "1"])
    folder = tmp_path / "outputs" / "demo"
    assert sorted(path.name for path in folder.iterdir()) == sorted([*RESULT, "side_by_side.mp4", "truth.mp4", "context.mp4"])
    scores = json.loads((folder / "scores.json").read_text())
    rows = {row["name"]: row["metrics"] for row in scores["rows"]}
    assert list(rows) == ["model", "copy_nearest", "mean_colour", "static"]
    for name in ("psnr", "covisible_psnr", "rotation_error_deg", "translation_error"):
        assert rows["model"][name]["status"] == "ok"
    assert scores["settings"]["context_cameras"] == bool(arguments)
    assert "open outputs/demo/report.html" in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_goes_to_an_object_that_its_start_does_not_see(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["demo", "--known-cameras"])
    folder = tmp_path / "outputs" / "demo" / "ground"
    answer, scores = (json.loads((folder / name).read_text()) for name in ("answer.json", "scores.json"))
    assert answer["found"] and answer["in_sight"]
    rows = {row["name"]: row["metrics"] for row in scores["rows"]}
    assert rows["model"]["psnr"]["value"] > rows["static"]["psnr"]["value"] + 5
    assert (folder / "truth.mp4").exists() and (folder / "report.html").exists()
    assert "outputs/demo/ground/report.html" in capsys.readouterr().out


@pytest.fixture
def mistakes(footage, tiny_model_folder, tmp_path):
    """Broken inputs by name."""
    (tmp_path / "truncated.mp4").write_bytes((footage / "video.mp4").read_bytes()[:1500])
    shutil.copytree(tiny_model_folder, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_text("x")
    (tmp_path / "wrong.yaml").write_text("trajektory: forward 1\n")
    return tmp_path


MISTAKES = {
    "missing video": (["--context", "nowhere.mp4"], "nowhere.mp4: no such file"),
    "truncated video": (["--context", "truncated.mp4"], "truncated.mp4"),
    "trajectory with NaN": (["--trajectory", "forward nan"], "nan is not a number that can be followed"),
    "trajectory of zero length": (["--trajectory", "forward 0"], "has no motion"),
    "anchor out of range": (["--anchor", "12"], "anchor 12 is outside the 12 frames"),
    "truncated checkpoint": (["--model", "damaged"], "damaged or cut short"),
    "unknown model": (["--model", "roms"], "there is no model 'roms'"),
    "unknown flag": (["--trajectroy", "left 5deg"], "did you mean '--trajectory'?"),
    "unknown config key": (["--config", "wrong.yaml"], "did you mean 'trajectory'?"),
    "unwritable output": (["--output", "file/new/out"], "cannot write to file/new/out"),
    "output that holds something": (["--output", "full"], "full exists and is not empty"),
    "impossible guidance": (["--guidance-scale", "0"], "expected a number above 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line_and_leave_nothing(name, command, mistakes, footage, tiny_model_folder):
    arguments, message = MISTAKES[name]
    before = sorted(mistakes.iterdir())
    usual = {"--context": footage / "video.mp4", "--trajectory": "forward 0.5", "--model": tiny_model_folder,
             "--output": "new/out"}  # fmt: skip
    options = [part for option, value in usual.items() if option not in arguments for part in (option, value)]
    done = command("sample.py", "navigate", *options, *arguments, folder=mistakes)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and message in line
    assert sorted(mistakes.iterdir()) == before
    assert [path.name for path in (mistakes / "full").iterdir()] == ["photo.jpg"]


# ---- the context engine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def navigate(footage, tiny_model_folder, tmp_path):
    """Function: a name and options to the folder of the result and the settings written in it."""

    def run(name: str, *options) -> tuple:
        usual = ["--context", footage / "video.mp4", "--trajectory", "forward 0.5, left 20deg", "--model", tiny_model_folder,
                 "--steps", 2, "--frames", 5, "--anchor", 4, "--seed", 3, "--output", tmp_path / name]  # fmt: skip
        main(["navigate", *map(str, [*usual, *options])])
        return tmp_path / name, json.loads((tmp_path / name / "scores.json").read_text())["settings"]

    return run


def test_a_plan_chooses_among_all_frames_and_a_narrow_cache_says_so(navigate, capsys):
    options = ["--plan", "diverse", "--plan-budget", 3, "--cache-dtype", "bfloat16", "--cache-device", "cpu"]
    folder, settings = navigate("planned", *options)
    said = capsys.readouterr().out
    assert "encoding 3 context frames" in said and "of 12 frames" not in said
    assert "note: the memory of the scene is approximate: keys and values of float32 are stored in bfloat16." in said
    assert settings["provenance"]["frames"] == list(range(12)) and settings["context_frames"] == 3
    assert (settings["plan"], settings["plan_budget"], settings["cache_dtype"]) == ("diverse", 3, "bfloat16")
    assert settings["approximations"] == ["keys and values of float32 are stored in bfloat16"]
    assert frames_of(folder).shape == (5, 32, 32, 3)


def test_a_saved_scene_serves_another_run(navigated, navigate, tmp_path):
    scene = tmp_path / "scene.safetensors"
    navigate("written", "--save-scene", scene)
    folder, settings = navigate("read", "--scene-cache", scene)
    assert settings["scene_cache"] == str(scene) and settings["approximations"] == []
    assert np.array_equal(frames_of(folder), frames_of(navigated[1]))
    for options, message in (
        (["--context-frames", 5], "8 frames, other than the 5 of the context"),
        (["--context-frames", 8, "--plan", "stride", "--plan-budget", 3], "frames chosen by another --plan"),
    ):
        with pytest.raises(UserError, match=message):
            navigate("refused", "--scene-cache", scene, *options)
    assert not (tmp_path / "refused").exists()


def test_long_paths_are_chained_and_the_memory_is_bounded(navigate, capsys):
    """Eight frames of four tokens each; a chunk of nine adds eight more."""
    folder, settings = navigate("chained", "--frames", 17, "--max-context-tokens", 64, "--steps", 1)
    said = capsys.readouterr().out
    assert "17 frames are more than the 9 this model was trained with" in said
    assert "segments were evicted that younger ones had seen" in said
    assert (settings["chunks"], settings["chunk_frames"]) == (2, 9) and len(settings["approximations"]) == 1
    assert frames_of(folder).shape == (17, 32, 32, 3)
    whole, settings = navigate("whole", "--frames", 17, "--chunk-frames", 0, "--steps", 1)
    assert (settings["chunks"], settings["chunk_frames"], settings["approximations"]) == (1, 0, [])
    with pytest.raises(UserError, match="the scene holds 32 tokens and a chunk adds 32; allow more"):
        navigate("refused", "--frames", 17, "--max-context-tokens", 63)


def test_chunks_go_on_from_each_other(navigated, navigate):
    """A first chunk is what one pass over its part of the path gives."""
    folder, settings = navigate("pieces", "--chunk-frames", 3)
    assert settings["chunks"] == 2 and frames_of(folder).shape == (5, 32, 32, 3)
    assert np.array_equal(frames_of(folder)[0], frames_of(navigated[1])[0])


def test_ways_of_computing_change_little(navigated, navigate):
    options = ["--attention", "_native_math", "--tile-autoencoder", "--device", "cpu", "--dtype", "bfloat16"]
    folder, settings = navigate("other", *options)
    assert (settings["attention"], settings["dtype"]) == ("_native_math", "bfloat16")
    difference = frames_of(folder).astype(float) - frames_of(navigated[1])
    assert 0 < np.abs(difference).mean() < 3


def test_a_plan_by_cameras_and_chunks_in_a_known_world(navigate, tmp_path):
    walk = parse_trajectory("forward 3, left 60deg", 12, fov_degrees=60, aspect=1.5).with_frame_rate(4.0)
    write_cameras(tmp_path / "walk.json", walk, format="transforms", image_size=(64, 96))
    options = ["--context-cameras", tmp_path / "walk.json", "--plan", "frustum", "--plan-budget", 3, "--chunk-frames", 3]
    folder, settings = navigate("known", *options)
    assert settings["context_cameras"] and settings["context_frames"] == 3 and settings["chunks"] == 2
    assert frames_of(folder).shape == (5, 32, 32, 3)


def test_guidance_and_words_for_models_that_know_them(tiny_vae, navigate, tmp_path):
    text_encoder, tokenizer = tiny_text_parts()
    knowing = seeded_transformer(text_dim=32, null_context=("absent", "noise"), null_instruction=True)
    parts = Video4SpatialPipeline(
        tiny_vae, knowing, FlowMatchEulerDiscreteScheduler(shift=3.0), text_encoder, tokenizer, height=32, width=32
    )
    parts.save_pretrained(tmp_path / "knowing")
    given = {
        "plain": [],
        "absent": ["--guidance-scale", 2],
        "noise": ["--guidance-scale", 2, "--null-context", "noise"],
        "separate": ["--guidance-scale", 2, "--context-scale", 3],
        "words": ["--prompt", "a room with two chairs"],
    }
    made = {name: navigate(name, "--model", tmp_path / "knowing", *options) for name, options in given.items()}
    videos = [frames_of(folder).tobytes() for folder, _ in made.values()]
    assert len(set(videos)) == len(videos)
    assert made["noise"][1]["null_context"] == "noise" and made["separate"][1]["context_scale"] == 3
    assert made["words"][1]["prompt"] == "a room with two chairs"

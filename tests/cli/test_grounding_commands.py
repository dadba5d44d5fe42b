"""`sample.py ground` and `v4s locate`: from an object marked in a video to a folder about it, and from mistakes to one line."""

import json
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from tests.grounding.conftest import detector_folders  # noqa: F401
from video4spatial.cameras import read_cameras, write_cameras
from video4spatial.cli.errors import EXIT_NOT_FOUND, UserError, exit_code
from video4spatial.cli.main import run
from video4spatial.clips.regions import mask_box
from video4spatial.simulation import capture_walk, generate_scene, render


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder of 6 pictures, a camera file beside it, and the frame, box and mask of the largest piece of furniture."""
    folder = tmp_path_factory.mktemp("rooms") / "room"
    folder.mkdir()
    scene = generate_scene(7)
    cameras = capture_walk(scene, 6, seed=1)
    seen = render(scene, cameras, 64, 64)
    for index, frame in enumerate(seen.rgb):
        iio.imwrite(folder / f"{index:03d}.png", frame)
    write_cameras(folder.parent / "room.json", cameras, image_size=(64, 64))
    usual = [item.instance_id for item in scene.objects if item.label not in ("window", "door", "rug", "picture")]
    shares = {number: (seen.instance == number).mean((1, 2)) for number in usual}
    number = max(shares, key=lambda number: (shares[number] * (shares[number] < 0.3)).max())
    frame = int((shares[number] * (shares[number] < 0.3)).argmax())
    mask = seen.instance[frame] == number
    iio.imwrite(folder.parent / "mask.png", (mask * 255).astype(np.uint8))
    return folder, frame, ",".join(f"{value:.3f}" for value in mask_box(mask))


@pytest.fixture(scope="module")
def ground(room, tiny_model_folder, tmp_path_factory):
    """Function: options to the folder of the result."""
    folders = tmp_path_factory.mktemp("found")

    def made(*options: str):
        folder = folders / str(len(list(folders.iterdir())))
        known = ["--context", room[0], "--context-cameras", room[0].parent / "room.json", "--model", tiny_model_folder, "--steps", "1"]
        run(["sample", "ground", *map(str, [*known, *options, "--output", folder])])
        return folder

    return made


@pytest.fixture(scope="module")
def answered(room, ground, tmp_path_factory):
    """The folder of a result, and the file of its scene."""
    scene = tmp_path_factory.mktemp("scenes") / "scene.safetensors"
    return ground("--region", f"frame={room[1]},box={room[2]}", "--frames", "5", "--samples", "2", "--save-scene", str(scene)), scene


def test_a_marked_object_is_gone_to_and_marked_in_the_answer(room, answered):
    folder, _ = answered
    names = {path.name for path in folder.iterdir()}
    navigated = {"frames", "report.html", "scores.json", "trajectory.png", "transforms.json", "video.mp4"}
    assert names == navigated | {"answer.json", "answer.png", "map.png"}
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["found"] and 0 < answer["confidence"] <= 1 and room[1] in [entry["frame"] for entry in answer["frames"]]
    assert len(read_cameras(folder / "transforms.json")) == 5
    page = (folder / "report.html").read_text()
    assert "confidence" in page and f"frame {room[1]}, marked" in page and "from above" in page
    settings = json.loads((folder / "scores.json").read_text())["settings"]
    assert settings["region"].startswith("frame=") and settings["way"] == "planned" and settings["samples"] == 2


def test_a_saved_scene_is_searched_as_well_and_a_mask_is_a_region(room, ground, answered):
    region = f"frame={room[1] - 6},mask={room[0].parent / 'mask.png'}"
    answer = json.loads((ground("--region", region, "--frames", "3", "--scene-cache", str(answered[1])) / "answer.json").read_text())
    first = json.loads((answered[0] / "answer.json").read_text())
    assert answer["found"] and np.linalg.norm(np.subtract(answer["center"], first["center"])) < 0.5


@pytest.fixture(scope="module")
def blind(detector_folders, tmp_path_factory):  # noqa: F811
    """The folder of a detector that finds nothing."""
    transformers = pytest.importorskip("transformers")
    folder = shutil.copytree(detector_folders["owlv2"], tmp_path_factory.mktemp("blind") / "owlv2")
    model = transformers.Owlv2ForObjectDetection.from_pretrained(folder)
    for linear in (model.class_head.logit_shift, model.class_head.logit_scale):
        torch.nn.init.zeros_(linear.weight)
    torch.nn.init.constant_(model.class_head.logit_shift.bias, -100.0)
    model.save_pretrained(folder)
    return folder


def test_what_is_not_there_is_not_found(room, ground, blind, tmp_path, capsys):
    words = ("--target", "go to the unicorn", "--detector", str(blind))
    with pytest.raises(UserError, match="not found: no frame of the scene shows 'unicorn'") as caught:
        ground(*words)
    assert caught.value.code == EXIT_NOT_FOUND
    known = ["--cameras", str(room[0].parent / "room.json"), "--output", str(tmp_path / "located")]
    assert exit_code(run, ["locate", str(room[0]), *words, *known]) == EXIT_NOT_FOUND
    assert capsys.readouterr().err.startswith("not found: ")
    written = json.loads((tmp_path / "located" / "located.json").read_text())
    assert written["found"] is False and "unicorn" in written["words"] and (tmp_path / "located" / "report.html").is_file()


def test_where_an_object_is_becomes_a_folder(room, tmp_path, capsys):
    known = ["--cameras", str(room[0].parent / "room.json"), "--output", str(tmp_path / "out")]
    run(["locate", str(room[0]), "--region", f"frame={room[1]},box={room[2]}", *known])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"located.json", "map.png", "report.html"}
    written = json.loads((tmp_path / "out" / "located.json").read_text())
    assert written["found"] and len(written["center"]) == 3 and room[1] in [entry["frame"] for entry in written["frames"]]
    assert "found, confidence" in capsys.readouterr().out
    with pytest.raises(UserError, match="not empty"):
        run(["locate", str(room[0]), "--region", f"frame={room[1]},box={room[2]}", *known])


MISTAKES = {
    "nothing": ([], "nothing to look for: give --region"),
    "words alone": (["--target", "red chair"], "mark the object on a frame with --region .* or add --detector"),
    "no object": (["--target", "go to the", "--region", "frame=0,box=0,0,1,1"], "names no object"),
    "beyond the picture": (["--region", "frame=0,box=0.2,0.2,1.4,0.5"], "from 0 to 1"),
    "pixels": (["--region", "frame=0,box=20,20,40,50"], "look like pixels"),
    "empty": (["--region", "frame=0,box=0.2,0.2,0.2,0.5"], "left before right"),
    "beyond the video": (["--region", "frame=6,box=0.2,0.2,0.4,0.5"], "the region's frame 6 is outside the 6 frames"),
    "no mask": (["--region", "frame=0,mask=nowhere.png"], "nowhere.png: no such mask"),
    "no detector": (["--target", "chair", "--detector", "nowhere"], "no config.json"),
    "idle detector": (["--region", "frame=0,box=0,0,1,1", "--detector", "nowhere"], "finds words: add --target"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line_and_leave_nothing(name, room, ground, tmp_path):
    arguments, message = MISTAKES[name]
    with pytest.raises(UserError, match=message) as caught:
        ground(*arguments)
    assert caught.value.code == 2 and "\n" not in str(caught.value) and "`" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        run(["locate", str(room[0]), *arguments, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_masks_of_another_size_are_refused(room, ground, tmp_path):
    iio.imwrite(tmp_path / "small.png", np.full((8, 8), 255, np.uint8))
    with pytest.raises(UserError, match="the mask has 8x8 pixels and the frame 64x64"):
        ground("--region", f"frame=0,mask={tmp_path / 'small.png'}")


def test_models_that_cannot_find_by_themselves_say_so(room, ground):
    region = ("--region", f"frame={room[1]},box={room[2]}")
    with pytest.raises(UserError, match="--way model: this model has no encoder for regions; --way planned works"):
        ground(*region, "--way", "model")

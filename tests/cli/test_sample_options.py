"""Options of `sample.py`: what they become, and what is refused before anything slow."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

from video4spatial.cameras import Cameras
from video4spatial.cli.errors import UserError
from video4spatial.cli.sample_options import demo_parser, footage_arguments, navigate_parser, sample_settings
from video4spatial.cli.sample_run import requested
from video4spatial.clips import Navigate
from video4spatial.models import CacheStorage
from video4spatial.pipelines.loading import LoadingSettings
from video4spatial.pretrained import read_model_folder

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return read_model_folder(tiny_model_folder)


@pytest.fixture
def settings(model):
    """Function: arguments of `demo` to settings."""

    def read(*arguments, model=model, known=False, flag="--context-cameras"):
        return sample_settings(demo_parser().parse([str(argument) for argument in arguments]), model, flag, known)

    return read


def test_defaults_are_the_library_s_own(settings):
    made = settings()
    generation = made.generation
    assert (generation.num_inference_steps, generation.seed, generation.plan, generation.chunk_frames) == (None, 0, None, None)
    assert generation.show_context and not generation.context_cameras and generation.cache == CacheStorage()
    assert generation.guidance.weights == {"instruction": 1.0}
    assert made.loading == LoadingSettings(dtype="auto")


def test_every_option_arrives(settings):
    made = settings(
        *"--steps 3 --seed 5 --guidance-scale 1.5 --plan coarse_to_fine --plan-budget 4 --plan-pool 2 --cache-dtype bfloat16".split(),
        *"--cache-device cpu --chunk-frames 5 --max-context-tokens 99 --context-frames 7 --device cpu --dtype bfloat16".split(),
        *"--tile-autoencoder --attention _native_math --compile --save-scene scene.safetensors".split(), known=True,
    )  # fmt: skip
    generation = made.generation
    assert (generation.num_inference_steps, generation.seed, generation.guidance.guidance_scale) == (3, 5, 1.5)
    assert (generation.plan, generation.plan_budget, generation.plan_options) == ("coarse_to_fine", 4, {"pool": 2})
    assert generation.cache == CacheStorage(torch.bfloat16, "cpu") and generation.context_cameras
    assert (generation.chunk_frames, generation.max_context_tokens) == (5, 99)
    assert made.loading == LoadingSettings("cpu", "bfloat16", "none", True, "_native_math", True)
    assert (made.context_frames, made.offered_frames, made.save_scene, made.scene_cache) == (7, 7, "scene.safetensors", None)


IMPOSSIBLE = {
    "budget without a plan": (["--plan-budget", 3], "--plan-budget 3 without a plan: add --plan, or use --context-frames"),
    "pool without averages": (
        ["--plan", "stride", "--plan-budget", 3, "--plan-pool", 2],
        "--plan-pool 2 without a plan that averages frames: use far_pooled or coarse_to_fine",
    ),
    "frustum without cameras": (
        ["--plan", "frustum", "--plan-budget", 3],
        "--plan frustum needs the cameras of the context: add --context-cameras, or choose another plan",
    ),
    "plan without its budget": (["--plan", "stride"], "--plan stride needs --plan-budget, the most context frames it keeps in full"),
    "prompt": (["--prompt", "a room"], "--prompt 'a room': this model reads no text; leave it out"),
    "no scene file": (["--scene-cache", "nowhere"], "nowhere: No such file or directory"),
    "scene read and written": (
        ["--save-scene", "a", "--scene-cache", __file__], "--save-scene and --scene-cache together: the scene is already in a file"
    ),
    "offload on a CPU": (
        ["--offload", "model", "--device", "cpu"],
        "--offload model moves parts between the GPU and the CPU, but this run has no GPU: leave it out",
    ),
}  # fmt: skip
"""Options and the whole message."""

IMPOSSIBLE_HERE = {
    "untrained null": (["--null-context", "noise", "--guidance-scale", 2], "null context 'noise' needs a model trained with it"),
    "untrained separate scales": (["--context-scale", 2], "separate scales for instruction .1. and context .2."),
    "scene file that is a folder": (["--save-scene", "."], "^--save-scene . is a folder"),
    "unknown attention": (["--attention", "nativ"], "unknown attention backend 'nativ'"),
    "missing attention": (["--attention", "flash", "--device", "cpu"], "'flash' is not available on cpu: "),
}
"""Options and part of the message."""


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_the_impossible_is_refused_in_flags(name, settings):
    arguments, message = IMPOSSIBLE[name]
    with pytest.raises(UserError) as error:
        settings(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("name", IMPOSSIBLE_HERE)
def test_what_this_model_or_machine_cannot_do_is_refused(name, settings):
    arguments, message = IMPOSSIBLE_HERE[name]
    with pytest.raises(UserError, match=message):
        settings(*arguments)


def test_each_mode_calls_the_cameras_by_its_flag(settings):
    with pytest.raises(UserError, match="add --known-cameras"):
        settings("--plan", "frustum", "--plan-budget", 3, flag="--known-cameras")
    assert settings("--plan", "frustum", "--plan-budget", 3, known=True).generation.plan == "frustum"


def test_all_problems_are_told_at_once(settings):
    with pytest.raises(UserError, match="--plan-budget 3 without a plan.*reads no text.*nowhere.*no GPU"):
        settings(*"--plan-budget 3 --prompt x --scene-cache nowhere --device cpu --offload model".split())


@without_gpu
def test_a_missing_gpu_is_told(settings):
    with pytest.raises(UserError, match="--device cuda: this machine has no CUDA device; leave it out, or use --device cpu"):
        settings("--device", "cuda")


def test_full_attention_has_no_memory_to_bound(settings, tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "full")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_mode": "full"}))
    read = partial(settings, model=read_model_folder(folder))
    with pytest.raises(UserError, match="--cache-dtype: this model has full attention.*--max-context-tokens: this"):
        read("--max-context-tokens", 9, "--cache-dtype", "bfloat16")
    with pytest.raises(UserError, match="--plan coarse_to_fine: this model has full attention, which takes all frames alike"):
        read("--plan", "coarse_to_fine")


def test_a_plan_chooses_from_all_frames(settings, model):
    assert settings().offered_frames == model.context_frames == 8
    assert settings("--plan", "stride", "--plan-budget", 3).offered_frames is None
    assert settings("--plan", "stride", "--plan-budget", 3, "--context-frames", 20).offered_frames == 20


def test_a_chunk_of_one_frame_is_refused(settings):
    with pytest.raises(UserError, match="expected 0 .one pass. or at least 2"):
        settings("--chunk-frames", 1)


def test_chunks_that_nobody_asked_for_are_said(settings, clip):
    short = settings(), settings("--chunk-frames", 3), settings("--chunk-frames", 0)
    assert all(requested(clip, each, {}, (), "").notes == () for each in short)
    longer = replace(clip, instruction=Navigate(Cameras.concatenate([clip.instruction.cameras] * 2)))
    assert "10 frames are more than the 9" in requested(longer, short[0], {}, (), "").notes[0]
    assert all(requested(longer, each, {}, (), "").notes == () for each in short[1:])


def test_notes_and_words_of_a_request(settings, clip):
    request = requested(clip, settings(), {}, ("4 per second are assumed (`image_rate`).",), "")
    assert request.notes == ("4 per second are assumed (--fps).",) and request.clip.instruction.prompt == ""


def test_another_size_is_taken_or_refused(model, tmp_path):
    arguments = ["--context", str(tmp_path), "--trajectory", "static", "--output", "x", "--size"]
    wide, several = f"{4 * model.grid}x{2 * model.grid}", replace(model, aspects=(0.75, 1.5))
    made = footage_arguments(navigate_parser().parse([*arguments, wide]), several)
    assert (made["height"], made["width"], made["aspects"]) == (2 * model.grid, 4 * model.grid, None)
    with pytest.raises(UserError, match=f"multiples of {model.grid} pixels; try --size {wide}"):
        footage_arguments(navigate_parser().parse([*arguments, f"{4 * model.grid + 1}x{2 * model.grid}"]), model)
    assert not several.beyond_training(32, 32) and not several.beyond_training(28, 40)
    assert "aspects from 0.75 to 1.50" in several.beyond_training(24, 48)
    assert "of 32x32 pixels" in model.beyond_training(32, 48) and "4 times as many pixels" in model.beyond_training(64, 64)


def test_footage_must_exist(model, tmp_path):
    arguments = ["--context", str(tmp_path), "--trajectory", "left 5deg", "--output", "x", "--fps", "8"]
    options = navigate_parser().parse(arguments)
    given = {"context": str(tmp_path), "context_cameras": None, "fov_degrees": None, "image_rate": 8.0, "scale": 1.0}
    of_model = {"height": 32, "width": 32, "frame_rate": 4.0, "aspects": None, "grid": model.grid}
    assert footage_arguments(options, model) == {**given, **of_model}
    options.context = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        footage_arguments(options, model)

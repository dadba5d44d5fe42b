"""The options that all modes of `sample.py` share: what is refused before anything slow, and what they become."""

import json
import shutil
from argparse import Namespace

import pytest
import torch

from video4spatial.cli.arguments import Parser
from video4spatial.cli.errors import UserError
from video4spatial.cli.inference import (
    PLAN_NAMES,
    RESULT_OPTIONS,
    add_inference_options,
    check_inference,
    chunk_frames,
    chunk_note,
    guidance,
    offered_frames,
    placement,
)
from video4spatial.cli.jobs import Job, read_jobs
from video4spatial.cli.loading import Placement, load_pipeline, saved_dtype
from video4spatial.conditioning.plans import PLANS
from video4spatial.pretrained import read_model_folder

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return read_model_folder(tiny_model_folder)


@pytest.fixture
def options():
    """Function: command-line arguments to options."""

    def parse(*arguments: str) -> Namespace:
        parser = Parser("tool", "A tool.")
        parser.add_argument("--guidance-scale", type=float, default=1.0)
        parser.add_argument("--context-frames", type=int)
        add_inference_options(parser)
        return parser.parse([str(argument) for argument in arguments])

    return parse


def test_the_names_of_plans_are_those_of_the_registry():
    assert PLAN_NAMES == tuple(PLANS)


def test_everything_written_down_is_an_option(options):
    assert set(RESULT_OPTIONS) < set(vars(options()))


def test_the_defaults_are_always_possible(options, model):
    check_inference(options(), model, "--context-cameras", False)
    assert placement(options()) == Placement(dtype="auto")
    assert guidance(options()).weights == {"instruction": 1.0}


IMPOSSIBLE = {
    "budget without a plan": (["--plan-budget", 3], "--plan-budget 3 without a plan"),
    "frustum without cameras": (["--plan", "frustum", "--plan-budget", 3], "needs the cameras of the context: add --context-cam"),
    "plan without its budget": (["--plan", "stride"], "--plan stride needs --plan-budget"),
    "untrained null": (["--null-context", "noise", "--guidance-scale", 2], "null context 'noise' needs a model trained with it"),
    "untrained separate scales": (["--context-scale", 2], "separate scales for instruction .1. and context .2."),
    "prompt": (["--prompt", "a room"], "'a room': this model reads no text"),
    "no scene file": (["--scene-cache", "nowhere"], "nowhere"),
    "scene file that is a folder": (["--save-scene", "."], "--save-scene . is a folder"),
    "scene read and written": (["--save-scene", "a", "--scene-cache", __file__], "already in a file"),
    "unknown attention": (["--attention", "nativ"], "unknown attention backend 'nativ'"),
    "missing attention": (["--attention", "flash", "--device", "cpu"], "'flash' is not available on cpu: "),
    "offload on a CPU": (["--offload", "model", "--device", "cpu"], "this run has no GPU"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_the_impossible_is_refused_in_words(name, options, model):
    arguments, message = IMPOSSIBLE[name]
    with pytest.raises(UserError, match=message):
        check_inference(options(*arguments), model, "--context-cameras", False)


def test_all_problems_are_told_at_once(options, model):
    with pytest.raises(UserError, match="--plan-budget 3 without a plan.*reads no text.*nowhere"):
        check_inference(options("--plan-budget", 3, "--prompt", "x", "--scene-cache", "nowhere"), model, "", False)


@without_gpu
def test_a_missing_gpu_is_told(options, model):
    with pytest.raises(UserError, match="--device cuda: this machine has no CUDA device"):
        check_inference(options("--device", "cuda"), model, "", False)


def test_full_attention_has_no_memory_to_bound(options, tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "full")
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_mode": "full"}))
    with pytest.raises(UserError, match="--cache-dtype: this model has full attention.*--max-context-tokens: this"):
        given = options("--max-context-tokens", 9, "--cache-dtype", "bfloat16")
        check_inference(given, read_model_folder(folder), "", False)


def test_paths_longer_than_a_chunk_are_chained(options, model):
    assert model.target_frames == 9
    assert [chunk_frames(options(), model, frames) for frames in (2, 9, 10)] == [0, 0, 9]
    assert [chunk_frames(options("--chunk-frames", 5), model, frames) for frames in (5, 6)] == [0, 5]
    assert chunk_frames(options("--chunk-frames", 0), model, 99) == 0
    assert "10 frames are more than the 9" in chunk_note(options(), model, 10)
    for given, frames in ((options(), 9), (options("--chunk-frames", 5), 10), (options("--chunk-frames", 0), 10)):
        assert chunk_note(given, model, frames) is None
    with pytest.raises(UserError, match="expected 0 .one pass. or at least 2"):
        options("--chunk-frames", 1)


def test_a_plan_chooses_from_all_frames(options, model):
    assert offered_frames(options(), model) == model.context_frames == 8
    assert offered_frames(options("--plan", "stride"), model) is None
    assert offered_frames(options("--plan", "stride", "--context-frames", 20), model) == 20


def test_precision_is_that_of_the_file_on_a_gpu_and_single_on_a_cpu(tiny_pipeline, model, tmp_path):
    assert saved_dtype(model) == "float32"
    narrow = load_pipeline(model, Placement(device="cpu", dtype="bfloat16"))
    assert narrow.transformer.dtype == torch.bfloat16 and narrow.vae.dtype == torch.float32
    narrow.save_pretrained(tmp_path / "narrow")
    folder = read_model_folder(tmp_path / "narrow")
    assert saved_dtype(folder) == "bfloat16"
    assert load_pipeline(folder, Placement(device="cpu", dtype="auto")).transformer.dtype == torch.float32


def test_a_placement_reaches_the_model(model):
    pipeline = load_pipeline(model, Placement(device="cpu", tile_autoencoder=True, attention="_native_math"))
    assert pipeline.vae.use_tiling
    assert {block.attn1.backend for block in pipeline.transformer.blocks} == {"_native_math"}


# ---- jobs files -------------------------------------------------------------------------------------------------------------

DEFAULTS = Namespace(anchor=-1, frames=None, seed=7, prompt=None)


def test_jobs_take_what_they_leave_out_from_the_options(tmp_path):
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "- {name: in, trajectory: forward 1}\n- {name: a-2.b, trajectory: x.json, anchor: 0, frames: 5, seed: 1, prompt: hm}\n"
    )
    assert read_jobs(path, DEFAULTS) == [Job("in", "forward 1", -1, None, 7, None), Job("a-2.b", "x.json", 0, 5, 1, "hm")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: in", "expected a list of jobs"),
        ("[]", "expected a list of jobs"),
        ("- [", "not valid YAML"),
        ("- in", "entry 1: expected a mapping"),
        ("- {name: in, trajektory: left}", r"entry 1 \('in'\): unknown key 'trajektory' .did you mean 'traj.*trajectory is missing"),
        ("- {trajectory: left 5deg}", "entry 1: name is missing"),
        ("- {name: 1, trajectory: left 5deg}", "name 1: expected words; put them in quotes"),
        ("- {name: ../in, trajectory: left 5deg}", "'../in'.*a name becomes a folder"),
        ("- {name: .., trajectory: left 5deg}", "a name becomes a folder"),
        ("- {name: in.part, trajectory: left 5deg}", "a name becomes a folder"),
        ("- {name: in, trajectory: a}\n- {name: in, trajectory: b}", r"entry 2 \('in'\): the name is that of entry 1"),
        ("- {name: in, trajectory: a, frames: 1, seed: x, anchor: true}", "seed 'x': expected a whole number"),
    ],
)  # fmt: skip
def test_wrong_jobs_are_named(text, message, tmp_path):
    (tmp_path / "jobs.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_jobs(tmp_path / "jobs.yaml", DEFAULTS)

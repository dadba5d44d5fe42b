import json
import subprocess
import sys

import pytest
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file

from tests.conftest import seeded_transformer
from tests.models.conditions.test_text import tiny_text_parts
from video4spatial.cli.errors import exit_code
from video4spatial.cli.main import run
from video4spatial.pipelines import Video4SpatialPipeline
from video4spatial.pretrained import read_model_folder

WAN_LIKE = {"text_dim": 32, "attention_head_dim": 24, "camera_channels": 24}


def saved(folder, vae, transformer, **text):
    pipeline = Video4SpatialPipeline(vae, transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), height=32, width=32, **text)
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def model(tmp_path, tiny_wan_vae):
    """Folder of a model that has everything Wan has no place for."""
    transformer = seeded_transformer(**WAN_LIKE, spatial_positions="compass", prediction_type="sample")
    return saved(tmp_path / "model", tiny_wan_vae, transformer)


def test_the_transformer_loads_in_diffusers_bit_for_bit(model, tmp_path, capsys):
    run(["export", "--model", str(model), "--output", str(tmp_path / "deep" / "wan")])
    out = tmp_path / "deep" / "wan"
    wan, loading = WanTransformer3DModel.from_pretrained(out / "transformer", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    ours = Video4SpatialPipeline.from_pretrained(model).transformer.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in wan.state_dict().items())
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "model_index.json", "scheduler", "transformer", "vae"]
    assert AutoencoderKLWan.from_pretrained(out / "vae").config.z_dim == 4
    assert json.loads((out / "model_index.json").read_text())["_class_name"] == "WanPipeline"
    said, readme = capsys.readouterr().out, (out / "README.md").read_text()
    notes = [line for line in said.splitlines() if line.startswith("note: ")]
    assert len(notes) == 1 and str(tmp_path) not in readme
    for phrase in ("scene context", "camera modules", "geometry heads", "compass positions", "prediction_type sample"):
        assert phrase in notes[0] and phrase in readme
    assert f"written to {out}" in said and "32 x 32 pixels, 9 frames at 4 per second" in readme


def test_stored_types_are_kept(tmp_path, tiny_wan_vae):
    transformer = seeded_transformer(**WAN_LIKE).to(torch.bfloat16)
    model = saved(tmp_path / "model", tiny_wan_vae, transformer)
    run(["export", "--model", str(model), "--output", str(tmp_path / "wan")])
    written, kept = load_file(tmp_path / "wan" / "transformer" / SAFETENSORS_WEIGHTS_NAME), transformer.state_dict()
    assert all(tensor.dtype == torch.bfloat16 and torch.equal(tensor, kept[name]) for name, tensor in written.items())


def test_a_wan_pipeline_generates_from_the_folder(tmp_path, tiny_wan_vae):
    text_encoder, tokenizer = tiny_text_parts()
    from diffusers import WanPipeline

    transformer = seeded_transformer(**WAN_LIKE)
    model = saved(tmp_path / "model", tiny_wan_vae, transformer, text_encoder=text_encoder, tokenizer=tokenizer)
    run(["export", "--model", str(model), "--output", str(tmp_path / "wan")])
    pipeline = WanPipeline.from_pretrained(tmp_path / "wan")
    pipeline.set_progress_bar_config(disable=True)
    video = pipeline("a chair", height=32, width=32, num_frames=5, num_inference_steps=2, guidance_scale=1.0, output_type="np")
    assert video.frames.shape == (1, 5, 32, 32, 3)


def test_an_autoencoder_that_wan_cannot_use_is_left_out(tmp_path, tiny_vae, capsys):
    model = saved(tmp_path / "model", tiny_vae, seeded_transformer(**WAN_LIKE))
    run(["export", "--model", str(model), "--output", str(tmp_path / "wan")])
    assert not (tmp_path / "wan" / "vae").exists()
    assert "the autoencoder, of class AutoencoderKL" in capsys.readouterr().out


def test_half_precision_is_half_as_large_and_loads_in_single_precision(tiny_model_folder, tmp_path, capsys):
    out = tmp_path / "deep" / "half"
    run(["export", "--model", str(tiny_model_folder), "--output", str(out), "--half", "--steps", "3", "--domain", "a test"])
    assert f"written to {out}" in capsys.readouterr().out
    said = read_model_folder(out)
    assert said.num_inference_steps == 3 and said.domain == "a test"
    # Nothing tells where it was made.
    assert not any(str(tiny_model_folder) in path.read_text() for path in out.rglob("*.json"))
    before, after = (Video4SpatialPipeline.from_pretrained(path) for path in (tiny_model_folder, out))
    for part, digits in (("transformer", 2**-8), ("vae", 2**-10)):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (out / name).stat().st_size < 0.6 * (tiny_model_folder / name).stat().st_size
        for key, value in getattr(before, part).state_dict().items():
            kept = getattr(after, part).state_dict()[key]
            assert kept.dtype == torch.float32
            torch.testing.assert_close(kept, value, rtol=digits, atol=1e-7)
    run(["export", "--model", str(tiny_model_folder), "--output", str(tmp_path / "same"), "--half"])
    assert read_model_folder(tmp_path / "same").domain == "noise"


def test_mistakes_are_told_in_one_line_and_leave_nothing(model, tiny_model_folder, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "cat.jpg").write_text("x")
    for arguments, message in (
        (["--model", str(tiny_model_folder), "--output", str(tmp_path / "new" / "wan")], "reads no text (text_dim is null)"),
        (["--model", str(tmp_path / "nowhere"), "--output", str(tmp_path / "new")], "there is no model"),
        (["--model", str(model), "--output", str(tmp_path / "full")], "exists and is not empty: choose another --output"),
        (["--model", str(model), "--output", str(tmp_path / "full" / "cat.jpg")], "is a file: choose another --output"),
        (["--model", str(model)], "required: --output"),
        (["--model", str(model), "--output", str(tmp_path / "new"), "--steps", "3"], "--steps goes with --half"),
        (["--model", str(model), "--output", str(tmp_path / "full"), "--half"], "exists and is not empty"),
        (["--model", str(model), "--output", str(tmp_path / "full" / "cat.jpg"), "--half"], "is a file: choose another --output"),
        (["--modle", str(model)], "unknown option '--modle' (did you mean '--model'?)"),
    ):
        assert exit_code(run, ["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "model"]


def test_help_and_mistakes_answer_without_torch():
    program = """
import sys
from video4spatial.cli.errors import exit_code
from video4spatial.cli.main import run
try:
    run(["export", "--help"])
except SystemExit as end:
    assert end.code == 0
assert exit_code(run, ["export", "--model", "nowhere", "--output", "out"]) == 2
assert not {"torch", "diffusers"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Where and in what precision a model folder is loaded."""

import pytest
import torch

from video4spatial.pipelines.loading import LoadingSettings, load_pipeline, saved_dtype
from video4spatial.pretrained import read_model_folder


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return read_model_folder(tiny_model_folder)


def test_precision_is_that_of_the_file_on_a_gpu_and_single_on_a_cpu(model, tmp_path):
    assert saved_dtype(model) == "float32"
    narrow = load_pipeline(model, LoadingSettings(device="cpu", dtype="bfloat16"))
    assert narrow.transformer.dtype == torch.bfloat16 and narrow.vae.dtype == torch.float32
    narrow.save_pretrained(tmp_path / "narrow")
    folder = read_model_folder(tmp_path / "narrow")
    assert saved_dtype(folder) == "bfloat16"
    assert load_pipeline(folder, LoadingSettings(device="cpu", dtype="auto")).transformer.dtype == torch.float32


def test_settings_reach_the_model(model):
    pipeline = load_pipeline(model, LoadingSettings(device="cpu", tile_autoencoder=True, attention="_native_math"))
    assert pipeline.vae.use_tiling
    assert {block.attn1.backend for block in pipeline.transformer.blocks} == {"_native_math"}


def test_what_the_machine_cannot_do_is_told_at_once(model):
    LoadingSettings("cpu", attention="_native_math").check(model)
    with pytest.raises(ValueError, match="`offload` model moves parts.*unknown attention backend 'nativ'"):
        LoadingSettings("cpu", offload="model", attention="nativ").check(model)

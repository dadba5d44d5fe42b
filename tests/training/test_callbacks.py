import json

import pytest
import torch
from diffusers import AutoencoderKLWan

from tests.conftest import TINY
from video4spatial import Video4SpatialPipeline
from video4spatial.training.callbacks import CompileBlocks, ExportAutoencoder
from video4spatial.training.data import RoomsData
from video4spatial.training.model_folder import build_pipeline, save_pipeline
from video4spatial.training.module import DenoiserModule


@pytest.fixture
def module() -> DenoiserModule:
    return DenoiserModule({**TINY, "camera_channels": 24}, noise_shift=5.0)


def test_a_pipeline_under_training_has_its_own_autoencoder_noise_and_sizes(module, tiny_wan_vae, tmp_path):
    tiny_wan_vae.save_pretrained(tmp_path / "vae")
    data = RoomsData(bank="", autoencoder=str(tmp_path / "vae"), size=32, frame_rate=6.0, target_frames=13)
    pipeline = build_pipeline(module, data, domain="a test")
    assert isinstance(pipeline.vae, AutoencoderKLWan) and pipeline.transformer is module.transformer
    assert pipeline.scheduler.config.shift == 5.0
    sizes = {name: pipeline.config[name] for name in ("height", "width", "frame_rate", "target_frames", "domain")}
    assert sizes == {"height": 32, "width": 32, "frame_rate": 6.0, "target_frames": 13, "domain": "a test"}


def test_a_pipeline_folder_is_replaced_whole_or_stays(tiny_model_folder, tmp_path):
    pipeline = Video4SpatialPipeline.from_pretrained(tiny_model_folder)
    folder = tmp_path / "deep" / "pipeline"
    for _ in range(2):
        save_pipeline(pipeline, folder)
    assert not any("_name_or_path" in json.loads(path.read_text()) for path in folder.rglob("config.json"))
    (folder / "mine.txt").write_text("from before")
    pipeline.register_to_config(domain=object())  # which JSON cannot hold
    with pytest.raises(TypeError):
        save_pipeline(pipeline, folder)
    assert (folder / "mine.txt").exists() and [path.name for path in folder.parent.iterdir()] == ["pipeline"]
    assert Video4SpatialPipeline.from_pretrained(folder).config.domain == "noise"


def test_blocks_are_marked_for_compilation(module, monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "cache_size_limit", 8)
    CompileBlocks(variants=16).setup(None, module, "fit")
    assert torch._dynamo.config.cache_size_limit == 16
    assert all(block._compiled_call_impl is not None for block in module.transformer.blocks)


def test_an_autoencoder_is_never_written_over(tmp_path):
    with pytest.raises(FileExistsError, match="give ExportAutoencoder another folder"):
        ExportAutoencoder(str(tmp_path))

"""The budgeted script: an autoencoder, a transformer on it, and one that goes on from its weights."""

import json

import pytest
import torch

from video4spatial import Video4SpatialPipeline
from video4spatial.pretrained import read_model_folder
from video4spatial.training.batches import Curriculum
from video4spatial.training.rooms import autoencoder, ship, transformer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two short runs leave."""
    folder = tmp_path_factory.mktemp("rooms")
    bank = {"bank": str(folder / "bank.safetensors"), "scenes": 2, "size": 32, "batch_size": 2}
    autoencoder(str(folder / "vae"), minutes=0.01, **bank)
    model = {"width": 64, "layers": 1, "targets_per_scene": 2, "walk_frames": 12, "export_every": 0}
    transformer(str(folder / "vae"), str(folder / "first"), minutes=0.02, **bank, **model)
    transformer(
        str(folder / "vae"), str(folder / "second"), minutes=0.02, **bank, **model, init_from=str(folder / "first"),
        learning_rate=0.0, null_context=("absent", "noise"), curriculum=Curriculum(drop_instruction_probability=0.1),
    )  # fmt: skip
    return folder


def test_it_leaves_models_that_generate(folder):
    pipeline = Video4SpatialPipeline.from_pretrained(folder / "first")
    assert pipeline.config.height == 32 and pipeline.config.domain == "simulated rooms"
    assert 0 < pipeline.vae.config.scaling_factor < 10


def test_the_log_counts_what_training_cost(folder):
    lines = [json.loads(line) for line in (folder / "first.jsonl").read_text().splitlines()]
    assert lines and lines[-1]["samples"] == 2 * lines[-1]["step"] and lines[-1]["tokens"] > 0


def test_a_run_goes_on_from_the_weights_of_another(folder):
    first, second = (Video4SpatialPipeline.from_pretrained(folder / name).transformer for name in ("first", "second"))
    # Its learning rate was zero, so what it wrote is what it started from.
    torch.testing.assert_close(second.state_dict(), first.state_dict())
    # The null branches it was trained with are its own.
    assert list(first.config.null_context) == ["absent"] and not first.config.null_instruction
    assert list(second.config.null_context) == ["absent", "noise"] and second.config.null_instruction


def test_an_autoencoder_is_not_written_over(folder):
    with pytest.raises(FileExistsError, match="choose another --output"):
        autoencoder(str(folder / "vae"))


def test_shipped_files_are_half_as_large_and_load_in_single_precision(folder, tmp_path):
    ship(str(folder / "first"), str(tmp_path / "shipped"), num_inference_steps=3)
    assert read_model_folder(tmp_path / "shipped").num_inference_steps == 3
    # Nothing tells where it was made.
    assert not any(str(folder) in path.read_text() for path in (tmp_path / "shipped").rglob("*.json"))
    for part, digits in (("transformer", 2**-8), ("vae", 2**-10)):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (tmp_path / "shipped" / name).stat().st_size < 0.6 * (folder / "first" / name).stat().st_size
        first, shipped = (
            getattr(Video4SpatialPipeline.from_pretrained(path), part).state_dict()
            for path in (folder / "first", tmp_path / "shipped")
        )
        for key, value in first.items():
            assert shipped[key].dtype == torch.float32
            torch.testing.assert_close(shipped[key], value, rtol=digits, atol=1e-7)

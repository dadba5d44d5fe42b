"""The recipes of configs/train/ but for their sizes: an autoencoder, a refiner of what it decodes, a model on it, and one that goes on."""

import json
from pathlib import Path

import pytest
import torch

from tests.end_to_end.conftest import ROOT
from video4spatial import Video4SpatialPipeline
from video4spatial.cli.errors import exit_code
from video4spatial.cli.train import main
from video4spatial.models.autoencoder import decode, encode, load_autoencoder
from video4spatial.models.refiner import PictureRefiner
from video4spatial.training.bank import SceneBank

LIGHT = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SIZES = ["--data.scenes=2", "--data.size=32", "--data.batch_size=2"]
ROOMS = [
    "--data.targets_per_scene=2", "--data.walk_frames=12", "--data.curriculum.target_latents=4", "--data.aspects=[1.0]",
    "--data.geometry.estimated_scenes=0",
]  # fmt: skip
CUT = ["--data.pictures_per_scene=2", "--data.variation.height=24", "--data.variation.width=16", "--model.widths=[8, 8, 8]"]
SMALL = ["--model.transformer.num_attention_heads=1", "--model.transformer.ffn_dim=64", "--model.transformer.num_layers=1"]


def recipe(*names: str) -> list[str]:
    return ["fit", *(f"--config={ROOT / 'configs' / 'train' / name}.yaml" for name in names), *LIGHT, *SIZES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What four short trainings leave: each in a folder of its own, with the names that the recipes give."""
    root = tmp_path_factory.mktemp("recipes")
    bank, vae = f"--data.bank={root / 'bank.safetensors'}", f"--data.autoencoder={root / 'vae' / 'runs' / 'autoencoder' / 'vae'}"
    refiner = f"--data.refiner={root / 'refiner' / 'runs' / 'refiner' / 'refiner'}"
    more = [
        f"--model.init_from={root / 'first' / 'runs' / 'rooms' / 'pipeline' / 'transformer'}", "--model.learning_rate=0",
        "--model.transformer.null_context=[absent, noise]", "--model.transformer.null_instruction=true",
        "--data.curriculum.drop_instruction_probability=0.1",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, arguments in {
            "vae": [*recipe("autoencoder"), bank, *ROOMS[:2], "--trainer.callbacks.minutes=0.02"],
            "refiner": [*recipe("refiner"), vae, *CUT, "--trainer.callbacks.minutes=0.02"],
            "first": [*recipe("rooms", "budget"), bank, vae, refiner, *ROOMS, *SMALL, "--trainer.callbacks.minutes=0.02"],
            "second": [*recipe("rooms", "budget"), bank, vae, refiner, *ROOMS, *more, "--trainer.callbacks.minutes=0.02"],
        }.items():
            (root / name).mkdir()
            patch.chdir(root / name)
            main(arguments)
    return root


def transformer(folder: Path):
    return Video4SpatialPipeline.from_pretrained(folder / "runs" / "rooms" / "pipeline").transformer


def test_the_autoencoder_gives_pictures_back_from_latents_of_about_unit_variance(folder):
    autoencoder = load_autoencoder(folder / "vae" / "runs" / "autoencoder" / "vae")
    assert not any((folder / "vae" / "runs" / "autoencoder").glob(".*"))
    frames = SceneBank.load(folder / "bank.safetensors").frames[:, :4].flatten(0, 1)
    pictures = frames.permute(0, 3, 1, 2).unsqueeze(2).float() / 127.5 - 1
    with torch.no_grad():
        latents = encode(autoencoder, pictures)
        error = (decode(autoencoder, latents) - pictures).square().mean()
    assert 0.5 < latents.std() < 2 and -10 * torch.log10(error / 4) > 20
    lines = [json.loads(line) for line in (folder / "vae" / "runs" / "autoencoder" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["samples"] == 2 * lines[-1]["step"] > 0 and lines[-1]["psnr"] > 20


def test_the_refiner_of_what_it_decodes_can_be_used(folder):
    refiner = PictureRefiner.from_pretrained(folder / "refiner" / "runs" / "refiner" / "refiner", torch_dtype=torch.float32)
    assert refiner.config.views == 2 and refiner(torch.zeros(1, 3, 32, 32)).isfinite().all()
    lines = [json.loads(line) for line in (folder / "refiner" / "runs" / "refiner" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["samples"] == 2 * lines[-1]["step"] > 0 and lines[-1]["psnr"] > 10 and lines[-1]["decoded"] > 10


def test_a_model_trained_by_the_clock_can_be_used(folder):
    pipeline = Video4SpatialPipeline.from_pretrained(folder / "first" / "runs" / "rooms" / "pipeline")
    assert pipeline.config.height == 32 and pipeline.config.domain == "simulated rooms"
    assert pipeline.scheduler.config.shift == 8.0 and 0 < pipeline.vae.config.scaling_factor < 10
    lines = [json.loads(line) for line in (folder / "first" / "runs" / "rooms" / "pipeline.jsonl").read_text().splitlines()]
    assert lines[-1]["samples"] == 2 * lines[-1]["step"] > 0 and lines[-1]["tokens"] > 0


def test_a_run_goes_on_from_the_weights_of_another(folder):
    first, second = transformer(folder / "first"), transformer(folder / "second")
    # Its learning rate was zero, so what it wrote is what it started from.
    torch.testing.assert_close(second.state_dict(), first.state_dict())
    # The null branches it was trained with are its own.
    assert list(first.config.null_context) == ["absent"] and not first.config.null_instruction
    assert list(second.config.null_context) == ["absent", "noise"] and second.config.null_instruction


def test_an_autoencoder_is_not_written_over(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder / "vae")
    assert exit_code(main, recipe("autoencoder")) == 2
    assert "runs/autoencoder/vae exists: give ExportAutoencoder another folder, or remove it" in capfd.readouterr().err

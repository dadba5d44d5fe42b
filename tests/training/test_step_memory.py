"""What a step will need in memory, of every training."""

import lightning
import pytest
import torch

from video4spatial.cli.lightning_cli import build_cli
from video4spatial.cli.errors import UserError
from video4spatial.models.refiner import PictureRefiner
from video4spatial.training.step_memory import kept_bytes, step_bytes

RECIPES = {
    "autoencoder": ("data.batch_size", {}), "stereo": ("data.batch_size", {"data.sizes": "[[64, 64]]", "data.shares": "[1.0]"}),
    "refiner": ("data.batch_size", {"data.autoencoder": "video4spatial/pretrained/rooms/vae"}), "pair_pose": ("data.walks", {}),
}  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_says_what_its_step_will_need(recipe, capsys):
    size, more = RECIPES[recipe]
    arguments = ["--config", f"configs/train/{recipe}.yaml", "--trainer.accelerator=cpu"]
    arguments += [f"--{name}={value}" for name, value in more.items()]
    needed = []
    for count in (2, 4, 6):
        cli = build_cli([*arguments, f"--{size}={count}"], run=False)
        assert f"a training step of {count} {'walks' if 'walks' in size else 'examples'} will need about" in capsys.readouterr().out
        needed.append(step_bytes(cli.model, cli.datamodule))
    assert needed[1] - needed[0] == pytest.approx(needed[2] - needed[1], rel=1e-6)
    with pytest.raises(UserError, match=f"are free on cpu: choose a smaller {size}"):
        build_cli([*arguments, f"--{size}=10000000"], run=False)


def test_what_a_pass_keeps_grows_with_the_examples():
    network = PictureRefiner(1, (8, 16, 24), 1)

    def kept(count: int) -> int:
        return kept_bytes(lambda: network(torch.zeros(count, 3, 32, 32), torch.zeros(count, 2, 6, 32, 32)).sum())

    assert kept(3) - kept(2) == pytest.approx(kept(2) - kept(1), rel=0.02)


def test_nothing_is_known_of_modules_of_others():
    assert step_bytes(lightning.LightningModule(), lightning.LightningDataModule()) is None


@pytest.mark.parametrize("recipe", ["rooms", "autoencoder", "stereo", "pair_pose"])
def test_data_of_another_training_are_refused(recipe):
    other = "PairData" if recipe != "pair_pose" else "StereoData"
    with pytest.raises(UserError, match="trained on"):
        build_cli(["--config", f"configs/train/{recipe}.yaml", "--trainer.accelerator=cpu", f"--data={other}", "--data.bank=x"], run=False)

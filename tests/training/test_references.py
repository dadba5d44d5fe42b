"""Losses and gradient norms of fixed batches, recorded when training and sampling were brought onto one road.

They were equal, to rounding, to those of the code before. A change of these numbers is a change of what is trained: say so, or find it.
"""

import pytest
import torch

from tests.conftest import TINY
from video4spatial.training.bank import render_bank
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.examples import BankExamples
from video4spatial.training.latents import LatentStore
from video4spatial.training.module import DenoiserModule
from video4spatial.training.sampler import draw_batch

CURRICULA = {
    "plain": Curriculum((2, 5)),
    "shared": Curriculum((4, 8), targets_per_context=2, walk_probability=0.3),
    "pooled": Curriculum((2, 4), pooled_probability=1.0, pools=(2,), drop_probability=0.0),
    "nulls": Curriculum((2, 4), drop_probability=0.5, drop_instruction_probability=0.5),
}
RECORDED = {
    ("plain", 0): (1.71676, 2.92865),
    ("plain", 1): (1.51451, 2.66618),
    ("plain", 2): (1.76143, 2.94568),
    ("shared", 0): (1.71676, 2.92865),
    ("shared", 1): (1.69971, 2.68621),
    ("shared", 2): (1.70233, 2.73374),
    ("pooled", 0): (1.43241, 2.83255),
    ("pooled", 1): (1.60275, 2.75664),
    ("pooled", 2): (1.82775, 3.19558),
    ("nulls", 0): (1.67503, 2.90081),
    ("nulls", 1): (1.37829, 2.69702),
    ("nulls", 2): (1.68704, 2.82099),
}
"""(curriculum, step): loss, norm of all gradients."""


@pytest.fixture(scope="module")
def source(tiny_vae, tmp_path_factory) -> BankExamples:
    bank = render_bank([3, 4], walk_frames=12, targets_per_scene=2, target_frames=5, height=32, width=32, depth_size=(4, 4))
    return BankExamples(bank, 4.0, 1, LatentStore(tmp_path_factory.mktemp("latents"), tiny_vae), tiny_vae, "bank")


@pytest.fixture(scope="module")
def module() -> DenoiserModule:
    torch.manual_seed(0)
    nulls = {"null_context": ("absent", "noise"), "null_instruction": True}
    module = DenoiserModule({**TINY, **nulls, "patch_size": (1, 1, 1), "spatial_positions": "compass"})
    for parameter in module.parameters():
        if not parameter.any():  # what starts at zero effect would hide the rest
            torch.nn.init.normal_(parameter, std=0.05)
    return module


@pytest.mark.parametrize(("curriculum", "step"), [(name, step) for name in CURRICULA for step in range(3)])
def test_losses_and_gradients_are_those_recorded(curriculum, step, source, module):
    module.zero_grad()
    loss = module.losses(draw_batch(source, 4, CURRICULA[curriculum], 0.6, seed=3, step=step))["loss"]
    loss.backward()
    norm = torch.stack([p.grad.double().norm() for p in module.parameters() if p.grad is not None]).norm()
    assert (float(loss.detach()), float(norm)) == pytest.approx(RECORDED[curriculum, step], rel=1e-3)

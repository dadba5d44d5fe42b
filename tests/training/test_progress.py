import pickle
import time

import lightning
import pytest
import torch

from video4spatial.training.autoencoder import AutoencoderModule
from video4spatial.training.progress import Progress, TimeBudget

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
    "enable_model_summary": False,
}  # fmt: skip


def test_by_steps_it_goes_from_zero_to_one_and_stays():
    progress = Progress.of(lightning.Trainer(max_steps=8, **QUIET))
    assert [progress.at(step) for step in (0, 2, 8, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert pickle.loads(pickle.dumps(progress)) == progress


def test_by_the_clock_steps_do_not_matter():
    progress = Progress(started=time.monotonic() - 3, seconds=6)
    assert 0.5 <= progress.at(0) <= progress.at(10**6) <= 1.0
    assert Progress(started=time.monotonic(), seconds=1e9).at(10**6) < 0.01
    assert Progress(started=time.monotonic() - 60, seconds=6).at(0) == 1.0


def test_a_budget_must_be_some_time_and_has_no_progress_before_the_training():
    with pytest.raises(ValueError, match="minutes 0: expected more than 0"):
        TimeBudget(0)
    with pytest.raises(RuntimeError, match="starts with the training"):
        Progress.of(lightning.Trainer(callbacks=[TimeBudget(1)], **QUIET))


class Watched(AutoencoderModule):
    """Keeps the progress that each step saw."""

    def on_train_batch_start(self, batch, batch_index):
        super().on_train_batch_start(batch, batch_index)
        self.seen = [*getattr(self, "seen", []), Progress.of(self.trainer).at(self.global_step)]


def test_a_training_ends_with_its_budget_and_its_rate_falls_with_the_clock():
    module = Watched(channels=(12,), latent_channels=4)
    pictures = torch.utils.data.DataLoader([torch.zeros(3, 16, 16)] * 10_000, batch_size=1)
    trainer = lightning.Trainer(max_steps=-1, max_epochs=-1, callbacks=[TimeBudget(0.02)], **QUIET)
    trainer.fit(module, pictures)  # nothing else would end it
    assert trainer.should_stop and Progress.of(trainer).at(trainer.global_step) == 1.0
    assert module.seen == sorted(module.seen) and 0 <= module.seen[0] and module.seen[-1] <= 1.0

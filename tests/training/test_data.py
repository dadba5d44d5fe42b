"""Data modules: the same batches with and without workers and after a resumption, other batches on every rank, autoencoders of video."""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import TINY
from video4spatial.training.curriculum import Curriculum
from video4spatial.training.data import CuratedData, RoomsData
from video4spatial.training.module import DenoiserModule, check_fit


class Attached(SimpleNamespace):
    """What data modules ask of a trainer."""

    def __init__(self, step: int = 0, rank: int = 0):
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        super().__init__(global_step=step, global_rank=rank, callbacks=[], max_steps=10, strategy=strategy)


@pytest.fixture(scope="module")
def autoencoders(tiny_vae, tiny_wan_vae, tmp_path_factory):
    """Folders of an autoencoder of pictures and of one of video."""
    folder = tmp_path_factory.mktemp("autoencoders")
    tiny_vae.save_pretrained(folder / "pictures")
    tiny_wan_vae.save_pretrained(folder / "video")
    return folder


@pytest.fixture(scope="module")
def rooms(autoencoders, tmp_path_factory):
    """Function: a kind of autoencoder and options to the data of two tiny rooms, attached to a trainer."""
    folder = tmp_path_factory.mktemp("rooms")

    def make(kind: str = "pictures", step: int = 0, rank: int = 0, **options) -> RoomsData:
        data = RoomsData(
            str(folder / "bank.safetensors"), scenes=2, walk_frames=12, targets_per_scene=2, target_frames=5, size=32, batch_size=2,
            autoencoder=str(autoencoders / kind), latents=str(folder / "latents"), curriculum=Curriculum((2, 3), target_latents=2),
            **options,
        )  # fmt: skip
        data.trainer = Attached(step, rank)
        data.setup("fit")
        return data

    return make


def drawn(data, count: int) -> list:
    batches = iter(data.train_dataloader())
    return [next(batches) for _ in range(count)]


def equal(first, second) -> bool:
    return first.latents.shape == second.latents.shape and torch.equal(first.latents, second.latents)


def test_workers_draw_the_same_batches(rooms):
    alone, shared = drawn(rooms(), 5), drawn(rooms(num_workers=2), 5)
    assert all(equal(one, other) for one, other in zip(alone, shared))
    assert all(torch.equal(one.generator.get_state(), other.generator.get_state()) for one, other in zip(alone, shared))


def test_a_resumed_run_goes_on_and_other_ranks_draw_others(rooms):
    whole = drawn(rooms(), 4)
    assert all(equal(one, other) for one, other in zip(whole[2:], drawn(rooms(step=2), 2)))
    assert not any(equal(one, other) for one, other in zip(whole, drawn(rooms(rank=1), 4)))


def test_an_autoencoder_of_video_gives_several_frames_per_latent(rooms):
    data = rooms("video")
    assert data.temporal_compression == 4 and data.latent_channels == 4
    for batch in drawn(data, 4):
        # Five frames are two latents; every context frame is one of its own.
        assert batch.latents.shape == (2, 4, 2, 4, 4) and len(batch.cameras) == 5 and batch.seconds.shape == (2, 5)
        assert batch.context_latents.shape[2] == len(batch.context_cameras)


def test_latents_are_kept_on_disk(rooms, autoencoders, tmp_path):
    first = rooms()
    files = {path: path.stat().st_mtime_ns for path in first.source.store.folder.iterdir()}
    again = rooms()
    assert {path: path.stat().st_mtime_ns for path in again.source.store.folder.iterdir()} == files and files


@pytest.mark.parametrize("kind", ["pictures", "video"])
def test_curated_clips_of_both_kinds_are_drawn(kind, rooms_dataset, autoencoders, tmp_path):
    data = CuratedData(
        str(rooms_dataset), str(autoencoders / kind), str(tmp_path), size=32, batch_size=3, curriculum=Curriculum((2, 3))
    )
    data.trainer = Attached()
    data.setup("fit")
    kinds = set()
    for batch in drawn(data, 12):
        assert len({type(instruction) for instruction in batch.instructions}) == 1
        kinds.add(type(batch.instructions[0]).__name__)
        assert batch.latents.shape[2] == 1 + (len(batch.cameras) - 1) // data.temporal_compression
    assert kinds == {"Navigate", "Ground"}


def test_a_folder_that_is_no_autoencoder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="data.autoencoder: .* is not the folder of an autoencoder"):
        RoomsData("bank", autoencoder=str(tmp_path))


IMPOSSIBLE = {
    "targets_per_scene": ({"targets_per_scene": 0}, "targets_per_scene 0: expected at least 1"),
    "target_frames": ({"target_frames": 1}, "target_frames 1: expected at least 2"),
    "num_workers": ({"num_workers": -1}, "num_workers -1: expected at least 0"),
    "context": ({"walk_frames": 12, "curriculum": Curriculum((2, 60))}, "a walk has 12 frames"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_banks_are_refused_before_they_are_rendered(name, autoencoders, tmp_path):
    options, message = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=message):
        RoomsData(str(tmp_path / "bank"), autoencoder=str(autoencoders / "pictures"), **options)


def test_sizes_that_the_model_cannot_sample_are_refused(rooms, autoencoders, tmp_path):
    module = DenoiserModule(TINY)
    data = RoomsData(
        str(tmp_path / "bank"), size=60, batch_size=3, autoencoder=str(autoencoders / "pictures"),
        curriculum=Curriculum(targets_per_context=2),
    )  # fmt: skip
    with pytest.raises(ValueError, match="data.size 60: expected a multiple of 16; data.batch_size 3: expected a multiple of"):
        check_fit(module, data)
    check_fit(module, rooms())

import multiprocessing
import os
import pickle
import signal
import tracemalloc

import numpy as np
import psutil
import pytest
import torch

from video4spatial.models.autoencoder import encode, frames_to_tensor
from video4spatial.training.autoencoder import build_autoencoder
from video4spatial.training.latents import LatentStore, content_key, fingerprint


def never():
    raise AssertionError("they are kept already")


@pytest.fixture
def made(tiny_vae, random_frames) -> torch.Tensor:
    """float16 latents [6, 4, 4, 4] of frames."""
    with torch.no_grad():
        return encode(tiny_vae, frames_to_tensor(random_frames(0, 6)))[0].transpose(0, 1).half()


def test_rows_come_back_bitwise_in_the_order_asked_for(tiny_vae, made, tmp_path):
    kept = LatentStore(tmp_path, tiny_vae).get("walk", lambda: {"latents": made, "depth": made[:, 0]})
    again = LatentStore(tmp_path, tiny_vae).get("walk", never)
    for file in (kept, again, pickle.loads(pickle.dumps(again))):
        index = torch.tensor([4, 0, 4])
        assert file.shape("latents") == (6, 4, 4, 4) and file.rows("latents", index).dtype == torch.float16
        assert torch.equal(file.rows("latents", index), made[index])
        assert torch.equal(file.rows("depth", index), made[index, 0])
        assert file.rows("latents", index[:0]).shape == (0, 4, 4, 4)
    with pytest.raises(IndexError, match="row 6 of 'latents': expected one from 0 to 5"):
        again.rows("latents", torch.tensor([0, 6]))


def test_another_content_or_autoencoder_has_other_latents(tiny_vae, made, random_frames, tmp_path):
    first = LatentStore(tmp_path, tiny_vae).get("a", lambda: {"latents": made})
    other = LatentStore(tmp_path, tiny_vae).get("b", lambda: {"latents": made + 1})
    torch.manual_seed(1)
    weights = build_autoencoder((8,), latent_channels=4)
    statistics = build_autoencoder((8,), latent_channels=4)
    statistics.load_state_dict(tiny_vae.state_dict())
    for autoencoder in (weights, statistics):
        LatentStore(tmp_path, autoencoder).get("a", lambda: {"latents": -made})
    assert torch.equal(first.rows("latents", torch.arange(6)), made)
    assert torch.equal(other.rows("latents", torch.arange(6)), made + 1)
    assert len(list(tmp_path.glob("*/*"))) == 4
    frames = random_frames(0, 2)
    keys = {content_key(frames), content_key(frames[:, ::-1]), content_key(frames.reshape(1, *frames.shape))}
    assert len(keys) == 3 and content_key(frames.copy()) in keys


def test_the_fingerprint_does_not_depend_on_the_folder_it_was_loaded_from(tiny_vae, tiny_wan_vae, tmp_path):
    for vae in (tiny_vae, tiny_wan_vae):
        vae.save_pretrained(tmp_path / type(vae).__name__)
        assert fingerprint(type(vae).from_pretrained(tmp_path / type(vae).__name__)) == fingerprint(vae)
    assert fingerprint(tiny_vae) != fingerprint(tiny_wan_vae)


def test_what_fails_leaves_nothing(tiny_vae, made, tmp_path):
    store = LatentStore(tmp_path, tiny_vae)
    with pytest.raises(AssertionError):
        store.get("walk", never)
    made = made.contiguous()
    with pytest.raises(RuntimeError, match="share memory"):  # which the format does not have
        store.get("walk", lambda: {"latents": made, "again": made})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def make_and_die(store):
    store.get("walk", lambda: os.kill(os.getpid(), signal.SIGKILL))


def make(store, tensor, start):
    start.wait()
    for key in range(20):
        assert torch.equal(store.get(str(key), lambda: {"latents": tensor}).rows("latents", torch.arange(6)), tensor)


def test_a_killed_process_and_two_at_once(tiny_vae, made, tmp_path):
    store, context = LatentStore(tmp_path, tiny_vae), multiprocessing.get_context("fork")  # as the workers of a data loader
    killed = context.Process(target=make_and_die, args=(store,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL and not store.folder.exists()
    start = context.Barrier(2)
    both = [context.Process(target=make, args=(store, made, start)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list(store.folder.iterdir())) == 20 and not list(store.folder.glob(".*"))


def test_reading_does_not_fill_memory(tiny_vae, tmp_path):
    """32 files of half a megabyte, read a few rows at a time and many times over."""
    store = LatentStore(tmp_path, tiny_vae)
    files = [store.get(str(key), lambda: {"latents": torch.full((256, 16, 8, 8), key).half()}) for key in range(32)]
    process, random = psutil.Process(), np.random.default_rng(0)
    files[0].rows("latents", torch.arange(4))
    before, handles = process.memory_info().rss, process.num_fds()
    tracemalloc.start()
    for turn in range(2000):
        key = int(random.integers(32))
        rows = files[key].rows("latents", torch.from_numpy(random.integers(0, 256, 4)))
        assert rows[0, 0, 0, 0] == key
    assert tracemalloc.get_traced_memory()[0] < 1e6
    tracemalloc.stop()
    assert process.memory_info().rss - before < 8e6 and process.num_fds() <= handles

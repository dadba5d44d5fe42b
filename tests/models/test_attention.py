"""Every attention backend that works here against attention written out in double precision."""

import subprocess
import sys
import threading

import pytest
import torch

from tests.conftest import seeded_transformer
from video4spatial.models.attention import BACKENDS, attend, attention_backend, available_backends, resolve_backend

CUDA = pytest.param("cuda", marks=[
    pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
])  # fmt: skip
# [B, Nq, Nk, heads]: as many queries as keys, cached context, a single query, odd everything
SHAPES = ((2, 64, 64, 4), (1, 16, 200, 2), (1, 1, 33, 3), (3, 37, 51, 1))
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1.5e-2}


def states(shape, head_dim, dtype, device, seed=0):
    """Random queries, keys and values [B, N, heads, head_dim]."""
    batch, queries, keys, heads = shape
    generator = torch.Generator().manual_seed(seed)
    made = (torch.randn(batch, count, heads, head_dim, generator=generator) for count in (queries, keys, keys))
    return tuple(each.to(device, dtype) for each in made)


def reference(query, key, value):
    """softmax(Q K^T / sqrt(d)) V in float64."""
    query, key, value = (each.double() for each in (query, key, value))
    weights = (torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, value).flatten(2)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=("fp32", "bf16"))
@pytest.mark.parametrize("head_dim", [12, 64])
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_backend_computes_attention(name, head_dim, dtype, device):
    reason = available_backends(device, dtype, head_dim)[name]
    if reason is not None:
        pytest.skip(reason)
    for shape in SHAPES:
        inputs = states(shape, head_dim, dtype, device)
        with torch.no_grad():
            given = attend(*inputs, backend=name)
        assert given.dtype == dtype and given.shape == (shape[0], shape[1], shape[3] * head_dim)
        # on a GPU, fp32 products may be rounded to fewer digits
        tolerance = TOLERANCE[dtype] if device == "cpu" else max(TOLERANCE[dtype], 2e-3)
        torch.testing.assert_close(given.double(), reference(*inputs), atol=tolerance, rtol=tolerance)


def test_gradients_on_a_cpu_are_those_of_the_reference():
    inputs = [each.requires_grad_() for each in states((2, 7, 9, 2), 12, torch.float32, "cpu")]
    expected = torch.autograd.grad(reference(*inputs).square().sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(attend(*inputs).square().sum(), inputs), expected, atol=1e-5, rtol=1e-5)


def test_under_autocast_attention_is_computed_in_the_lower_precision():
    inputs = states((1, 8, 8, 2), 12, torch.float32, "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        for name in ("native", "_native_math"):
            given = attend(*inputs, backend=name)
            expected = attend(*(each.bfloat16() for each in inputs), backend=name).float()
            assert given.dtype == torch.float32 and torch.equal(given, expected)


def test_on_a_cpu_pytorch_has_three_ways_and_packages_for_gpus_say_why_not():
    found = available_backends("cpu")
    assert list(found) == list(BACKENDS)
    assert all(found[name] is None for name in ("native", "_native_math", "_native_flash"))
    assert all(found[name] for name in ("_native_cudnn", "xformers", "flash"))
    assert resolve_backend("auto", "cpu") == "native"


def test_unknown_and_unavailable_names_say_what_there_is():
    with pytest.raises(ValueError, match="unknown attention backend 'falsh': expected auto or one of native"):
        resolve_backend("falsh", "cpu")
    with pytest.raises(ValueError, match="'_native_cudnn' is not available on cpu: No viable .* Available there: native, _native"):
        seeded_transformer().set_attention_backend("_native_cudnn")
    with pytest.raises(ValueError, match="'flash' is not available on cpu: .*flash_attn"), attention_backend("flash", "cpu"):
        pass


def a_call(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model(torch.randn(1, 4, 2, 4, 4, generator=generator), torch.tensor([500.0])).sample


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_model_keeps_its_backend_and_otherwise_takes_the_surrounding_one(monkeypatch):
    used = []
    for name, function in list(BACKENDS.items()):
        monkeypatch.setitem(BACKENDS, name, lambda *states, name=name, function=function: used.append(name) or function(*states))
    model, expected = seeded_transformer(), a_call(seeded_transformer())

    def backend_of_a_call():
        used.clear()
        torch.testing.assert_close(a_call(model), expected, atol=2e-6, rtol=1e-5)
        assert len(set(used)) == 1 and len(used) == 2  # one attention in each layer
        return used[0]

    assert backend_of_a_call() == "native"
    with attention_backend("flex", "cpu"):
        assert backend_of_a_call() == "flex"
        seen = []
        thread = threading.Thread(target=lambda: seen.append(backend_of_a_call()))
        thread.start()
        thread.join()
        assert seen == ["native"]  # the choice belongs to the thread that made it
        model.set_attention_backend("_native_math")
        assert backend_of_a_call() == "_native_math"
        model.set_attention_backend(None)
        assert backend_of_a_call() == "flex"
    assert backend_of_a_call() == "native"
    model.set_attention_backend("auto")
    assert model.blocks[0].attn1.backend == "native"


def test_a_compiled_model_is_one_graph_and_follows_a_change_of_backend():
    model = seeded_transformer(camera_channels=None, geometry_heads=False)
    block = torch.compile(model.blocks[0], fullgraph=True, backend="eager")
    inputs = torch.randn(1, 2, 4, 24), torch.randn(1, 1, 6, 24), torch.polar(torch.ones(1, 8, 1, 6), torch.rand(1, 8, 1, 6))
    with torch.no_grad():
        expected = model.blocks[0](*inputs)[0]
        for name in (None, "_native_math", "native"):
            model.set_attention_backend(name)
            torch.testing.assert_close(block(*inputs)[0], expected, atol=2e-6, rtol=1e-5)


def test_packages_for_gpus_are_never_imported_on_a_cpu(tmp_path):
    """Not even where they are installed: these here cannot be imported at all. (diffusers imports xformers where it finds it.)"""
    for package in ("xformers", "flash_attn"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')")
    program = """
import importlib.util, sys
absent = {name for name in ("xformers", "flash_attn") if importlib.util.find_spec(name) is None}
import video4spatial, video4spatial.models
assert not absent & set(sys.modules)
from video4spatial.models.attention import available_backends
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
found = available_backends("cpu")
assert all("has no operator for the device 'cpu'" in found[name] for name in ("xformers", "flash")), found
assert not {"xformers", "flash_attn"} & (set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

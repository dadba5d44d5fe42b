"""Attention back ends: one call, `attend`, and the choice of who computes it, under the names that diffusers gives them."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DEFAULT = "native"
AUTOMATIC = "auto"


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: str | None = None) -> torch.Tensor:
    """Plain attention without a mask: [B, Nq, heads, d] and [B, Nk, heads, d] to [B, Nq, heads * d].

    Args:
        query, key, value: queries of Nq tokens, keys and values of Nk.
        backend: a name as `resolve_backend` returns it; None takes that of the surrounding `attention_backend`, else `native`.
            Compiled code cannot look around itself: there None is always `native`.
    """
    if backend is None:
        backend = DEFAULT if torch.compiler.is_compiling() else _chosen.get()
    states = query, key, value
    if torch.is_autocast_enabled(query.device.type):
        states = (each.to(torch.get_autocast_dtype(query.device.type)) for each in states)
    return BACKENDS[backend](*states).flatten(2, 3).type_as(query)


@contextmanager
def attention_backend(name: str, device: torch.device | str | None = None) -> Iterator[None]:
    """Let a backend compute the attention of models that have none set (`set_attention_backend`), in this thread or task alone.

    Compiled models do not see it: set it on the model instead.

    Args:
        name: a key of `BACKENDS`, or `auto`.
        device: where attention will run; default: the GPU where there is one.

    Raises:
        ValueError: for an unknown or unavailable backend, with the reason and what there is.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    token = _chosen.set(resolve_backend(name, device))
    try:
        yield
    finally:
        _chosen.reset(token)


def available_backends(
    device: torch.device | str, dtype: torch.dtype | None = None, head_dim: int = 64
) -> dict[str, str | None]:
    """Which backends compute attention on a device: each is tried there once, on tiny tensors.

    Packages that are not installed are never imported, and those that know only GPUs are not imported for a CPU.

    Args:
        device: where.
        dtype: of the queries; default: bfloat16 on a GPU, float32 on a CPU.
        head_dim: channels of a head.

    Returns:
        Name to None where it works, else to the reason why not.
    """
    device = torch.device(device)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    return {name: _reason_against(name, str(device), dtype, head_dim) for name in BACKENDS}


def resolve_backend(name: str, device: torch.device | str, dtype: torch.dtype | None = None, head_dim: int = 64) -> str:
    """Check a backend's name; `auto` becomes the first of `PREFERENCE` that works.

    Args:
        name: a key of `BACKENDS`, or `auto`.
        device, dtype, head_dim: as for `available_backends`.

    Raises:
        ValueError: for an unknown or unavailable backend, with the reason and what there is.
    """
    device = torch.device(device)
    dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    if name == AUTOMATIC:
        candidates = PREFERENCE.get(device.type, (DEFAULT,))
        return next((each for each in candidates if not _reason_against(each, str(device), dtype, head_dim)), DEFAULT)
    if name not in BACKENDS:
        raise ValueError(f"unknown attention backend {name!r}: expected {AUTOMATIC} or one of {', '.join(BACKENDS)}.")
    reason = _reason_against(name, str(device), dtype, head_dim)
    if reason is not None:
        working = [each for each, against in available_backends(device, dtype, head_dim).items() if against is None]
        raise ValueError(
            f"attention backend {name!r} is not available on {device}: {reason}. Available there: {', '.join(working)}."
        )
    return name


def _native(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """PyTorch's own choice of kernel."""
    by_head = (states.transpose(1, 2) for states in (query, key, value))
    trains_on_cpu = query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad
    attended = _attend_in_full(*by_head) if trains_on_cpu else F.scaled_dot_product_attention(*by_head)
    return attended.transpose(1, 2)


def _attend_in_full(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention with its weights written out: twice as fast to differentiate on a CPU as PyTorch's fused one there."""
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
    return scores.softmax(dim=-1, dtype=scores.dtype) @ value


def _one_native(kernel: SDPBackend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """One of PyTorch's kernels."""
    by_head = (states.transpose(1, 2) for states in (query, key, value))
    if torch.compiler.is_compiling():
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(*by_head).transpose(1, 2)
    # The allowed kernels are flags of the whole process: two threads in turn could put back each other's for good.
    with _kernel_flags, sdpa_kernel(kernel):
        return F.scaled_dot_product_attention(*by_head).transpose(1, 2)


def _flex(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """FlexAttention: compiled on a GPU; on a CPU as it is, without gradients, and with all scores in memory."""
    from torch.nn.attention.flex_attention import flex_attention

    compiles_itself = query.device.type == "cpu" or torch.compiler.is_compiling()
    function = flex_attention if compiles_itself else _compiled_flex()
    by_head = (states.transpose(1, 2) for states in (query, key, value))
    return function(*by_head).transpose(1, 2)


@cache
def _compiled_flex() -> Callable:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _xformers(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    from xformers.ops import memory_efficient_attention

    return memory_efficient_attention(query, key, value)


def _flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    from flash_attn import flash_attn_func

    return flash_attn_func(query, key, value)


# Each takes queries [B, Nq, heads, d] and keys and values [B, Nk, heads, d], and returns [B, Nq, heads, d].
BACKENDS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "native": _native,
    "_native_math": partial(_one_native, SDPBackend.MATH),
    "_native_flash": partial(_one_native, SDPBackend.FLASH_ATTENTION),
    "_native_efficient": partial(_one_native, SDPBackend.EFFICIENT_ATTENTION),
    "_native_cudnn": partial(_one_native, SDPBackend.CUDNN_ATTENTION),
    "flex": _flex,
    "xformers": _xformers,
    "flash": _flash,
}
PACKAGES = {"xformers": "xformers", "flash": "flash_attn"}
"""Packages of backends that are not PyTorch's; all of them know only GPUs. (diffusers imports xformers where it is installed.)"""
PREFERENCE = {"cuda": ("flash", "native"), "cpu": ("native",)}
"""What `auto` tries, in a fixed order that nobody measures on the machine."""

_chosen: ContextVar[str] = ContextVar("attention_backend", default=DEFAULT)
_kernel_flags = threading.RLock()


@cache
def _reason_against(name: str, device: str, dtype: torch.dtype, head_dim: int) -> str | None:
    kind = torch.device(device).type
    if name in PACKAGES:
        if find_spec(PACKAGES[name]) is None:
            return f"the package {PACKAGES[name]} is not installed"
        if kind != "cuda":
            return f"{PACKAGES[name]} has no operator for the device {kind!r}"
    if kind == "cuda" and not torch.cuda.is_available():
        return "this machine has no CUDA device"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokens = torch.ones(1, 8, 2, head_dim, device=device, dtype=dtype)
            BACKENDS[name](tokens, tokens, tokens).sum().item()
    # Whatever keeps an operator from running, a library that does not load or a refusal of its own, is the reason.
    except Exception as error:
        return " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return None

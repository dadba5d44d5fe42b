"""How much memory is left, and whether something fits into it."""

from __future__ import annotations

from pathlib import Path

import psutil

CGROUP_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


class NotEnoughMemory(ValueError):
    """Something needs more memory than there is; the message says how much, and what would need less."""


def free_bytes(device: str = "cpu") -> int:
    """Memory that a process can still get on a device, the limit of a container counted.

    Args:
        device: cpu, or a CUDA device.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *_left_in_container()])


def check_memory(needed: int, what: str, remedy: str, device: str = "cpu") -> str:
    """Refuse what does not fit into the memory that is left.

    Args:
        needed: bytes.
        what: needs them, as the subject of a sentence.
        remedy: what would need less, as the end of a sentence.
        device: where.

    Returns:
        A sentence that says what is needed.

    Raises:
        NotEnoughMemory: where it does not fit.
    """
    free = free_bytes(device)
    told = f"{what} will need about {in_gigabytes(needed)} of memory"
    if needed > free:
        raise NotEnoughMemory(f"{told}, and {in_gigabytes(free)} are free on {device}: {remedy}.")
    return f"{told}; {in_gigabytes(free)} are free."


def in_gigabytes(amount: float) -> str:
    """Bytes in words, two digits."""
    return f"{amount / 1e9:.2g} GB" if amount < 1e11 else f"{amount / 1e9:,.0f} GB"


def _left_in_container() -> list[int]:
    left = []
    for limit, usage in CGROUP_LIMITS:
        try:
            most, used = (Path("/sys/fs/cgroup", name).read_text().strip() for name in (limit, usage))
            left.append(max(int(most) - int(used), 0))
        except (OSError, ValueError):  # no such version of control groups, or no limit ("max")
            continue
    return left

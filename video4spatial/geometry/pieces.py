"""Compiled work that holds no interpreter lock, shared among threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_STEPS_PER_THREAD = 2**20  # of a few nanoseconds each: less work than this is not worth another thread


def for_each(count: int, steps: int, work: Callable[[int], object]) -> None:
    """Call `work` with 0 to `count` - 1, in as many threads as torch has and the work is worth.

    Args:
        count: of the calls.
        steps: pixels or the like that one call goes through.
        work: mostly compiled code without the interpreter lock; its errors are raised here.
    """
    threads = min(torch.get_num_threads(), count, 1 + count * steps // _STEPS_PER_THREAD)
    if threads <= 1:
        for index in range(count):
            work(index)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))

"""How scenes are shared out: one after the other, over processes of this machine (the default), or over a Ray cluster.

An executor maps a function over items and yields what became of each as soon as it is known. Items and results are small (paths,
counts); pixels never travel. A timeout or the death of a worker costs one item, which is tried once more and then given up. An
executor is one class and one line in `EXECUTORS`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol

from pebble import ProcessExpired, ProcessPool

TRIES = 2
TASKS_PER_WORKER = 64  # then it is replaced, so that what libraries leak stays bounded


@dataclass(frozen=True)
class Finished:
    """What became of an item.

    Args:
        index: of the item.
        value: what the function returned, or None.
        problem: `timeout` or `crashed` where it did not return, else None.
    """

    index: int
    value: Any = None
    problem: str | None = None


class Executor(Protocol):
    """Maps a function over items."""

    def map(self, function: Callable, items: Sequence) -> Iterator[Finished]:
        """Call a function with every item.

        Args:
            function: of one item; for executors with processes it must be importable.
            items: what it is called with, plain values.

        Yields:
            What became of each, in the order in which they end.
        """


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has no affinity


class SerialExecutor:
    """One item after the other in this process.

    Args:
        workers: not used; the other executors take it.
        timeout: not used, since it cannot be enforced.
    """

    def __init__(self, workers: int = 1, timeout: float | None = None):
        pass

    def map(self, function: Callable, items: Sequence) -> Iterator[Finished]:
        """Call `function` with all `items`, see `Executor.map`."""
        for index, item in enumerate(items):
            yield Finished(index, function(item))


class ProcessExecutor:
    """Worker processes, started afresh (spawn) and replaced when they die, hang or have done `TASKS_PER_WORKER` items.

    Each worker is a pool of its own with one item at a time: a pool of several breaks as a whole when a worker dies before it has said
    what it works on, and then nobody knows which item to blame.

    Args:
        workers: processes; None takes the cores this process may use.
        timeout: seconds that an item may take.
    """

    def __init__(self, workers: int | None = None, timeout: float | None = None):
        self.workers = workers or usable_cores()
        self.timeout = timeout

    def map(self, function: Callable, items: Sequence) -> Iterator[Finished]:
        """Call `function`, which must be importable, with all `items`, see `Executor.map`."""
        todo = deque((index, 1) for index in range(len(items)))
        idle = [_one_worker() for _ in range(min(self.workers, len(items)))]
        running = {}
        try:
            while todo or running:
                while todo and idle:
                    (index, attempt), pool = todo.popleft(), idle.pop()
                    if not pool.active:  # broken, with an item or while it waited
                        _stop(pool)
                        pool = _one_worker()
                    running[pool.schedule(function, args=(items[index],), timeout=self.timeout)] = index, attempt, pool
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index, attempt, pool = running.pop(future)
                    error = future.exception()
                    idle.append(pool)
                    if not isinstance(error, (TimeoutError, ProcessExpired, BrokenProcessPool)):
                        yield Finished(index, future.result())
                    elif attempt < TRIES:
                        todo.append((index, attempt + 1))
                    else:
                        yield Finished(index, problem="timeout" if isinstance(error, TimeoutError) else "crashed")
        finally:
            for pool in [*idle, *(pool for _, _, pool in running.values())]:
                _stop(pool)


def _one_worker() -> ProcessPool:
    return ProcessPool(
        max_workers=1, max_tasks=TASKS_PER_WORKER, initializer=_die_with_parent, initargs=(os.getpid(),), context=get_context("spawn")
    )


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _die_with_parent(parent: int) -> None:
    """A worker whose parent was killed must not go on writing beside the build that takes its place."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


class RayExecutor:
    """One task per item on a Ray cluster (`RAY_ADDRESS`, or one started on this machine).

    It needs the extra `[ray]`, and a file system that every node sees.

    Args:
        workers: CPUs of a cluster started here; an existing one keeps its own.
        timeout: seconds that an item may take once its task has been handed out.
    """

    def __init__(self, workers: int | None = None, timeout: float | None = None):
        try:
            import ray
        except ImportError as error:
            raise ImportError("the executor ray needs Ray: pip install 'video4spatial[ray]'") from error
        self.ray = ray
        self.workers = workers or usable_cores()
        self.timeout = timeout

    def map(self, function: Callable, items: Sequence) -> Iterator[Finished]:
        """Call `function`, which must be importable, with all `items`, see `Executor.map`."""
        ray = self.ray
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS")
            options = {"address": address} if address else {"num_cpus": self.workers, "include_dashboard": False}
            ray.init(log_to_driver=False, logging_level="error", **options)
        remote = ray.remote(max_retries=0, num_cpus=1)(function)
        slots = max(1, int(ray.cluster_resources().get("CPU", self.workers)))
        todo = deque((index, 1) for index in range(len(items)))
        running = {}
        while todo or running:
            # No more than there are CPUs: a task then starts when it is handed out, and its timeout means something.
            while todo and len(running) < slots:
                index, attempt = todo.popleft()
                running[remote.remote(items[index])] = index, attempt, time.monotonic()
            done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            now = time.monotonic()
            late = [task for task, (_, _, start) in running.items() if self.timeout is not None and now - start > self.timeout]
            for task in {*done, *late}:
                index, attempt, _ = running.pop(task)
                problem = None
                try:
                    if task in done:
                        yield Finished(index, ray.get(task))
                    else:
                        ray.cancel(task, force=True)
                        problem = "timeout"
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                    problem = "crashed"
                if problem and attempt < TRIES:
                    todo.append((index, attempt + 1))
                elif problem:
                    yield Finished(index, problem=problem)


EXECUTORS = {"serial": SerialExecutor, "processes": ProcessExecutor, "ray": RayExecutor}
"""Executors by name."""

"""Scoring in processes of their own, beside the one that makes the videos."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import torch

from video4spatial.clips import Clip
from video4spatial.evaluation.measurement import Measurement
from video4spatial.evaluation.scorecard import ScoredClip, score_clip


class ScoringPool:
    """Scores videos as they come, and gives the results in that order. Use it as a context manager.

    Args:
        processes: how many score at the same time; with 1, everything is scored in this process.
        metrics: names from the registry.
        done: called after each video.
    """

    def __init__(self, processes: int, metrics: Sequence[str], done: Callable[[], None] = lambda: None):
        self.metrics, self.done = metrics, done
        self.pool = None
        if processes > 1:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
        self.asked: list[tuple[str, ScoredClip, Future]] = []  # clips without their measurements

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *exception) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def submit(self, row: str, clip: Clip, frames: np.ndarray) -> None:
        """Have a row's video of a clip scored.

        Args:
            row: its name.
            clip: what was asked for.
            frames: [T, H, W, 3] uint8.
        """
        if self.pool is None:
            self._ask(row, clip, _finished(score_clip(clip, frames, self.metrics)))
        else:
            # Plain pickle copies: the pool's own would move the clip's tensors to shared memory, under whoever views them.
            self._ask(row, clip, self.pool.submit(_score_pickled, pickle.dumps((clip, frames, self.metrics))))

    def refuse(self, row: str, clip: Clip, reason: str) -> None:
        """Note that a row has no video of a clip: all its measurements are missing.

        Args:
            row: its name.
            clip: what was asked for.
            reason: why there is none.
        """
        self._ask(row, clip, _finished({metric: Measurement.missing(reason) for metric in self.metrics}))

    def results(self) -> dict[str, list[ScoredClip]]:
        """Scored clips by row, once all are done."""
        results: dict[str, list[ScoredClip]] = {}
        for row, clip, future in self.asked:
            results.setdefault(row, []).append(replace(clip, measurements=future.result()))
        return results

    def _ask(self, row: str, clip: Clip, future: Future) -> None:
        future.add_done_callback(lambda _: self.done())
        self.asked.append((row, ScoredClip.of(clip, {}), future))


def _finished(measurements: dict[str, Measurement]) -> Future:
    future = Future()
    future.set_result(measurements)
    return future


def _score_pickled(arguments: bytes) -> dict[str, Measurement]:
    return score_clip(*pickle.loads(arguments))

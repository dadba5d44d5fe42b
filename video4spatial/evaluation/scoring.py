"""Scoring generated videos, one or many at a time: their cameras, their measurements, and the record of both in results files."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.estimators import estimate_cameras
from video4spatial.evaluation.measurement import Measurement, Metric, Sample
from video4spatial.evaluation.metrics import metrics_named
from video4spatial.geometry.estimated_cameras import EstimatedCameras

logger = logging.getLogger(__name__)

CAPTURE = "capture"
"""`provenance["source"]` of clips that were cut out of posed captures."""


def measured_cameras(clip: Clip, frames: np.ndarray) -> EstimatedCameras | None:
    """The cameras of a generated video, as every score, plot and page takes them.

    Args:
        clip: what was asked for; its commanded cameras stay unseen, apart from the anchor's.
        frames: [T, H, W, 3] uint8.

    Returns:
        The cameras by the `usual_estimator`, with what is known of them; None for footage, whose cameras are measured by an
        estimator of choice (`estimators.estimate_cameras`).

    Raises:
        ValueError: for frames that do not fit the clip, or a clip that knows no camera although its kind does.
    """
    name = usual_estimator(clip)
    return None if name is None else estimate_cameras(name, clip, frames)


def usual_estimator(clip: Clip) -> str | None:
    """The estimator that measures the cameras of a clip's videos; none of them needs weights.

    Simulated clips are measured by rendering and comparing, which is exact to a fraction of a degree. Clips of posed captures are
    measured by points of the context where it has depth, by pairs of the generated frames elsewhere, so without their scale.
    Frames that do not resemble the scene have no camera.

    Args:
        clip: what was asked for.

    Returns:
        Name of the estimator, or None for footage.
    """
    if clip.provenance.get("source") == "simulation":
        return "render_and_compare"
    if clip.provenance.get("source") != CAPTURE:
        return None
    return "pnp" if clip.context_depth is not None and (clip.context_depth > 0).any() else "essential"


def score_clip(
    clip: Clip,
    frames: np.ndarray,
    metrics: Sequence[str] | None = None,
    estimated_cameras: Cameras | EstimatedCameras | None = None,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Measurement]:
    """Measure one generated video.

    Args:
        clip: what was asked for.
        frames: [T, H, W, 3] uint8.
        metrics: names from the registry; default all.
        estimated_cameras: T cameras measured from the frames, as by `estimators.estimate_cameras`; default those of
            `measured_cameras`, if a chosen metric needs any.
        advance: called after each metric.

    Returns:
        One measurement per metric; one that raises an arithmetic error is `failed` with its message.

    Raises:
        ValueError: for unknown metrics, or frames that do not fit the clip.
    """
    chosen = metrics_named(metrics)
    sample = Sample(clip, frames, estimated_cameras)
    if estimated_cameras is None and any({"estimated_cameras", "metric_cameras"} & set(metric.needs) for metric in chosen):
        sample = Sample(clip, frames, measured_cameras(clip, frames))
    measurements = {}
    for metric in chosen:
        measurements[metric.name] = _measured(metric, sample)
        advance()
    return measurements


def _measured(metric: Metric, sample: Sample) -> Measurement:
    try:
        return metric(sample)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        logger.warning("%s of clip %s failed: %s", metric.name, sample.clip.name, error)
        return Measurement(None, "failed", str(error) or type(error).__name__)


@dataclass(frozen=True)
class ScoredClip:
    """All measurements of one row on one clip.

    Args:
        clip, scene: as the clip's.
        fingerprint: of what the clip was made from; clips of one name but different fingerprints are different clips.
        measurements: by metric name.
    """

    clip: str
    scene: str
    fingerprint: str
    measurements: Mapping[str, Measurement]

    @classmethod
    def of(cls, clip: Clip, measurements: Mapping[str, Measurement]) -> ScoredClip:
        """The record of a clip.

        Args:
            clip: that was measured.
            measurements: by metric name.
        """
        made_from = json.dumps(clip.provenance or clip.name, sort_keys=True, default=str)
        return cls(clip.name, clip.scene, hashlib.sha256(made_from.encode()).hexdigest()[:16], measurements)

    def as_dict(self) -> dict:
        """A JSON-ready form, see `from_dict`."""
        measurements = {name: measurement.as_dict() for name, measurement in self.measurements.items()}
        return {"clip": self.clip, "scene": self.scene, "fingerprint": self.fingerprint, "measurements": measurements}

    @classmethod
    def from_dict(cls, content: dict) -> ScoredClip:
        """Read back what `as_dict` wrote."""
        measurements = {name: Measurement(**fields) for name, fields in content["measurements"].items()}
        return cls(content["clip"], content["scene"], content["fingerprint"], measurements)


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

    def refuse(self, row: str, clip: Clip, reason: str, status: str = "missing") -> None:
        """Note that a row has no video of a clip: none of its measurements has a value.

        Args:
            row: its name.
            clip: what was asked for.
            reason: why there is none.
            status: of the measurements, `missing` or `not_applicable`.
        """
        self._ask(row, clip, _finished({metric: Measurement(None, status, reason) for metric in self.metrics}))

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

"""Scoring one generated video: its cameras, its measurements, and the record of both in results files."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.estimators import estimate_cameras
from video4spatial.evaluation.measurement import Measurement, Metric, Sample
from video4spatial.evaluation.metrics.registry import metrics_named
from video4spatial.geometry.estimated_cameras import EstimatedCameras

logger = logging.getLogger(__name__)


def measured_cameras(clip: Clip, frames: np.ndarray) -> EstimatedCameras | None:
    """The cameras of a generated video, as every score, plot and page takes them.

    Simulated clips are measured by rendering and comparing: the one estimator that needs no library and no weights and is exact
    to a fraction of a degree. Frames that do not resemble the scene have no camera.

    Args:
        clip: what was asked for; its commanded cameras stay unseen, apart from the anchor's.
        frames: [T, H, W, 3] uint8.

    Returns:
        The cameras with what is known of them, or None for footage, whose cameras are measured by an estimator of choice
        (`estimators.estimate_cameras`).

    Raises:
        ValueError: for frames that do not fit the clip, or a simulated clip that knows no camera at all.
    """
    if clip.provenance.get("source") != "simulation":
        return None
    return estimate_cameras("render_and_compare", clip, frames)


def score_clip(
    clip: Clip,
    frames: np.ndarray,
    metrics: Sequence[str] | None = None,
    estimated_cameras: Cameras | EstimatedCameras | None = None,
) -> dict[str, Measurement]:
    """Measure one generated video.

    Args:
        clip: what was asked for.
        frames: [T, H, W, 3] uint8.
        metrics: names from the registry; default all.
        estimated_cameras: T cameras measured from the frames, as by `estimators.estimate_cameras`; default those of
            `measured_cameras`, if a chosen metric needs any.

    Returns:
        One measurement per metric; one that raises an arithmetic error is `failed` with its message.

    Raises:
        ValueError: for unknown metrics, or frames that do not fit the clip.
    """
    chosen = metrics_named(metrics)
    sample = Sample(clip, frames, estimated_cameras)
    if estimated_cameras is None and any({"estimated_cameras", "metric_cameras"} & set(metric.needs) for metric in chosen):
        sample = Sample(clip, frames, measured_cameras(clip, frames))
    return {metric.name: _measured(metric, sample) for metric in chosen}


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

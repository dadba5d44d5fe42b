"""From measurements of clips to the figures of a row, and what they are worth: coverage, intervals, differences."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from video4spatial.cameras import Cameras
from video4spatial.clips import Clip
from video4spatial.evaluation.estimators import estimate_cameras
from video4spatial.evaluation.measurement import Measurement, Metric, Sample
from video4spatial.geometry.estimated_cameras import EstimatedCameras
from video4spatial.evaluation.metrics.registry import metrics_named
from video4spatial.evaluation.results import metric as result_cell

logger = logging.getLogger(__name__)

BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SEED = 0


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
        estimated_cameras: T cameras measured from the frames, as by `estimators.estimate_cameras`. Without them, simulated
            clips are measured by rendering and comparing if a chosen metric needs it.

    Returns:
        One measurement per metric; one that raises an arithmetic error is `failed` with its message.

    Raises:
        ValueError: for unknown metrics, or frames that do not fit the clip.
    """
    chosen = metrics_named(metrics)
    sample = Sample(clip, frames, estimated_cameras)
    wants_cameras = any({"estimated_cameras", "metric_cameras"} & set(metric.needs) for metric in chosen)
    if estimated_cameras is None and wants_cameras and clip.provenance.get("source") == "simulation":
        sample = Sample(clip, frames, estimate_cameras("render_and_compare", clip, frames))
    return {metric.name: _measured(metric, sample) for metric in chosen}


def _measured(metric: Metric, sample: Sample) -> Measurement:
    try:
        return metric(sample)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        logger.warning("%s of clip %s failed: %s", metric.name, sample.clip.name, error)
        return Measurement(None, "failed", str(error) or type(error).__name__)


@dataclass(frozen=True)
class Aggregate:
    """One metric over many clips.

    Args:
        value: mean over scenes of the mean over each scene's measured clips; None where nothing was measured.
        penalised: the same with missing and failed clips, and the missing part of others, counted as the metric's worst
            value; None where it has none.
        low, high: bootstrap 95 % interval of `value` over scenes.
        coverage: measured clips over clips to which the metric applies, a clip measured in part counting as that part;
            None where it applies to none.
        scenes: number of scenes behind `value`.
        clips: number of clips, those included to which the metric does not apply.
        status: `ok`, or why there is no value.
    """

    value: float | None
    penalised: float | None
    low: float | None
    high: float | None
    coverage: float | None
    scenes: int
    clips: int
    status: str

    def cell(self) -> dict:
        """The form of results files, with penalised mean and coverage beside it."""
        cell = result_cell(self.value, self.low, self.high, self.scenes, self.status)
        return cell | {"penalised": self.penalised, "coverage": self.coverage}


def aggregate(metric: Metric, measurements: Sequence[tuple[str, Measurement]]) -> Aggregate:
    """Figures of one metric over clips.

    Args:
        metric: whose measurements they are.
        measurements: (scene, measurement) per clip.

    Returns:
        Never NaN: where nothing was measured the values are None and the status says why.
    """
    applicable = [(scene, m) for scene, m in measurements if m.status != "not_applicable"]
    measured = [(scene, m.value) for scene, m in applicable if m.status == "ok"]
    covered = sum(m.share for _, m in applicable if m.status == "ok")
    coverage = covered / len(applicable) if applicable else None
    penalised = None
    if metric.worst is not None and applicable:
        filled = [(scene, _counted(metric, m)) for scene, m in applicable]
        penalised = float(np.mean(list(scene_means(filled).values())))
    if not measured:
        statuses = {m.status for _, m in applicable}
        status = "not_applicable" if not applicable else "failed" if "failed" in statuses else "missing"
        return Aggregate(None, penalised, None, None, coverage, 0, len(measurements), status)
    means = np.array(list(scene_means(measured).values()))
    low, high = bootstrap_interval(means)
    return Aggregate(float(means.mean()), penalised, low, high, coverage, len(means), len(measurements), "ok")


def _counted(metric: Metric, measurement: Measurement) -> float | None:
    """The value with what is missing counted as worst; a value that no worst is known of stays as it is."""
    if measurement.status != "ok" or metric.worst is None:
        return measurement.value if measurement.status == "ok" else metric.worst
    return measurement.share * measurement.value + (1 - measurement.share) * metric.worst


def scene_means(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Mean of each scene, in order of first appearance."""
    scenes: dict[str, list[float]] = {}
    for scene, value in values:
        scenes.setdefault(scene, []).append(value)
    return {scene: float(np.mean(of_scene)) for scene, of_scene in scenes.items()}


def bootstrap_interval(values: np.ndarray) -> tuple[float | None, float | None]:
    """95 % percentile interval of a mean (Efron, 1979) over 2000 draws with a fixed seed.

    Args:
        values: [S], one per scene.

    Returns:
        Low and high; None for fewer than two scenes, of which nothing can be said.
    """
    if len(values) < 2:
        return None, None
    draws = np.random.default_rng(BOOTSTRAP_SEED).integers(len(values), size=(BOOTSTRAP_DRAWS, len(values)))
    low, high = np.quantile(np.asarray(values)[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


def paired_difference(
    metric: Metric, first: Sequence[tuple[str, Measurement]], second: Sequence[tuple[str, Measurement]]
) -> dict:
    """How much better the first row is than the second on the same clips.

    Args:
        metric: whose measurements they are.
        first, second: (scene, measurement) per clip, in the same order.

    Returns:
        A cell as in results files: mean over scenes of first - second with its interval over scenes. A clip that only
        one of them managed counts with the metric's worst value for the other, so that failing cannot win. `better` is
        `first`, `second`, or `undecided` while the interval holds zero.

    Raises:
        ValueError: if the rows do not list the same scenes in the same order.
    """
    if [scene for scene, _ in first] != [scene for scene, _ in second]:
        raise ValueError("paired differences need two rows over the same clips in the same order.")
    differences = []
    for (scene, one), (_, other) in zip(first, second, strict=True):
        values = [None if m.status == "not_applicable" else _counted(metric, m) for m in (one, other)]
        if "ok" in (one.status, other.status) and None not in values:
            differences.append((scene, values[0] - values[1]))
    if not differences:
        return result_cell(None, status="missing") | {"better": "undecided"}
    means = np.array(list(scene_means(differences).values()))
    low, high = bootstrap_interval(means)
    better = "undecided"
    if low is not None and metric.direction != "none" and (low > 0 or high < 0):
        better = "first" if (low > 0) == (metric.direction == "higher") else "second"
    return result_cell(float(means.mean()), low, high, len(means)) | {"better": better}

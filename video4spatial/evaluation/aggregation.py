"""From measurements of many clips to the figures of a row, and what they are worth: coverage, intervals, differences."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.results import metric as result_cell
from video4spatial.evaluation.scoring import ScoredClip

BOOTSTRAP_DRAWS = 2000
BOOTSTRAP_SEED = 0

FEWEST_SCENES = 8
"""Fewer scenes allow no interval and no verdict: the bootstrap of so few values is too narrow to be believed."""


def too_few_scenes(scenes: int) -> str | None:
    """What to say beside figures over so many scenes; None where they allow intervals and verdicts."""
    if scenes >= FEWEST_SCENES:
        return None
    return f"too few to say more: intervals and verdicts take {FEWEST_SCENES} scenes, and these are {scenes}"


def aggregate(metric: Metric, measurements: Sequence[tuple[str, Measurement]]) -> dict:
    """Put the measurements of one metric together.

    Args:
        metric: whose measurements they are.
        measurements: (scene, measurement) per clip.

    Returns:
        A cell as in results files. `value` is the mean over scenes of the mean over each scene's measured clips, `low` and `high`
        its bootstrap 95 % interval over scenes, and `n` the number of scenes. Where nothing was measured, values are None (never
        NaN) and `status` says why. Two more figures stand beside them. `penalised` is the same mean with missing and failed clips,
        and the missing part of others, counted as the metric's worst value; None where it has none. `coverage` is measured clips
        over clips to which the metric applies, a clip measured in part counting as that part; None where it applies to none.
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
        reasons = Counter(m.reason for _, m in measurements if m.status == status)
        cell = result_cell(None, n=0, status=status) | ({"reason": reasons.most_common(1)[0][0]} if reasons else {})
    else:
        means = np.array(list(scene_means(measured).values()))
        cell = result_cell(float(means.mean()), *bootstrap_interval(means), len(means))
    return cell | {"penalised": penalised, "coverage": coverage}


def _counted(metric: Metric, measurement: Measurement) -> float | None:
    """The value, with the missing part counted as the metric's worst value if it has one."""
    if measurement.status != "ok" or metric.worst is None:
        return measurement.value if measurement.status == "ok" else metric.worst
    return measurement.share * measurement.value + (1 - measurement.share) * metric.worst


def scene_means(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Mean of each scene.

    Args:
        values: (scene, value) per clip.

    Returns:
        {scene: mean}, in order of first appearance.
    """
    scenes: dict[str, list[float]] = {}
    for scene, value in values:
        scenes.setdefault(scene, []).append(value)
    return {scene: float(np.mean(of_scene)) for scene, of_scene in scenes.items()}


def bootstrap_interval(values: np.ndarray, fewest: int = FEWEST_SCENES) -> tuple[float | None, float | None]:
    """95 % percentile interval of a mean (Efron, 1979) over 2000 draws with a fixed seed.

    Args:
        values: [S], one per scene.
        fewest: scenes that allow an interval.

    Returns:
        Low and high; None for fewer scenes.
    """
    if len(values) < max(fewest, 2):
        return None, None
    draws = np.random.default_rng(BOOTSTRAP_SEED).integers(len(values), size=(BOOTSTRAP_DRAWS, len(values)))
    low, high = np.quantile(np.asarray(values)[draws].mean(1), [0.025, 0.975])
    return float(low), float(high)


def paired_difference(
    metric: Metric,
    first: Sequence[tuple[str, Measurement]],
    second: Sequence[tuple[str, Measurement]],
    fewest: int = FEWEST_SCENES,
) -> dict:
    """The first row minus the second on the same clips.

    Args:
        metric: whose measurements they are.
        first, second: (scene, measurement) per clip, in the same order.
        fewest: scenes that allow an interval and a verdict.

    Returns:
        A cell as in results files: mean over scenes of first - second with its interval over scenes. Where only one row has a value
        for a clip, the other counts as the metric's worst value, so that failing cannot win. `better` is `first`, `second`, or
        `undecided` where the interval holds zero, or where there are too few scenes for one.

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
    low, high = bootstrap_interval(means, fewest)
    better = "undecided"
    if low is not None and metric.direction != "none" and (low > 0 or high < 0):
        better = "first" if (low > 0) == (metric.direction == "higher") else "second"
    return result_cell(float(means.mean()), low, high, len(means)) | {"better": better}


def rows_over_clips(
    scored: Mapping[str, Sequence[ScoredClip]], metrics: Sequence[str], reasons: Mapping[str, str] | None = None
) -> list[dict]:
    """Rows of a results file over many clips.

    Args:
        scored: {row: its clips}.
        metrics: names from the registry that every clip was measured by.
        reasons: {row without clips: why it has none}.

    Returns:
        A row per entry, with raw and penalised means, coverage, and intervals over scenes; all cells of a row without clips are
        `not_applicable`.
    """
    rows = []
    for row, clips in scored.items():
        absent = result_cell(None, status="not_applicable") | ({"reason": reasons[row]} if row in (reasons or {}) else {})
        cells = {name: aggregate(METRICS[name], _of(name, clips)) if clips else absent for name in metrics}
        rows.append({"name": row, "metrics": cells})
    return rows


def rows_of_one_clip(scored: Mapping[str, Mapping[str, Measurement]]) -> list[dict]:
    """Rows of a results file about a single clip, which has no intervals; reasons stand beside missing values.

    Args:
        scored: {row: {metric: measurement}}.
    """
    return [
        {
            "name": row,
            "metrics": {
                name: result_cell(m.value, n=1, status=m.status) | ({"reason": m.reason} if m.reason else {})
                for name, m in measurements.items()
            },
        }
        for row, measurements in scored.items()
    ]


def paired_differences(
    subject: Sequence[ScoredClip], others: Mapping[str, Sequence[ScoredClip]], metrics: Sequence[str]
) -> dict[str, dict[str, dict]]:
    """One row minus each of others on the same clips.

    Args:
        subject: clips of the row under test.
        others: {row: the same clips in the same order}; rows without clips are left out.
        metrics: names from the registry.

    Returns:
        {row: {metric: `paired_difference`}}; empty where the row under test has no clips.
    """
    return {
        row: {name: paired_difference(METRICS[name], _of(name, subject), _of(name, clips)) for name in metrics}
        for row, clips in others.items()
        if subject and clips
    }


def _of(metric: str, clips: Sequence[ScoredClip]) -> list[tuple[str, Measurement]]:
    """(scene, measurement) of one metric, clip by clip."""
    return [(clip.scene, clip.measurements[metric]) for clip in clips]

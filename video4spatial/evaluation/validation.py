"""The metric of metrics: what each metric sees of known faults, from which level on, and which cheats it accepts.

Everything is computed from `Measured`: the measurements of several videos of the same clips (the truth, degraded videos, an honest
video and cheats). Values are penalised throughout, so that a fault that breaks a measurement counts as seen.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.stats import rankdata, spearmanr

from video4spatial.evaluation.faults import GRADED, Degradation
from video4spatial.evaluation.measurement import Measurement, Metric
from video4spatial.evaluation.results import metric as result_cell
from video4spatial.evaluation.aggregation import aggregate, bootstrap_interval, paired_difference, scene_means

Scored = list[tuple[str, dict[str, Measurement]]]
"""One video of every clip: (scene, measurements by metric)."""

Measured = dict[str, Scored]
"""{video: the same clips in the same order}; names are `truth`, those of `video_name`, and others. Measurements are empty where a
clip does not allow a degradation."""

LEAST_SPEARMAN = 0.9
"""Least rank correlation with every declared degradation of a metric that heads the scorecard."""

FEWEST = 2
"""Scenes that allow a verdict here: some faults suit few clips, and what is compared is the same clip with and without one."""

LEAST_COVERAGE = 0.9
"""Least share of the true videos measured by a metric that heads the scorecard."""


def video_name(degradation: Degradation, level: float) -> str:
    """Name of the video with this degradation at this level, in its own unit."""
    return f"{degradation.name} {level:g}"


def ladder(degradation: Degradation) -> list[str]:
    """Names of the videos of one degradation, from the truth downwards."""
    return ["truth", *(video_name(degradation, level) for level in degradation.levels)]


def penalised(metric: Metric, measurement: Measurement) -> float | None:
    """The value of one measurement, made comparable.

    Args:
        metric: whose measurement it is.
        measurement: of one video.

    Returns:
        The value with its missing part counted as worst, negated where lower is better; None where nothing is known, or the metric
        has no better side.
    """
    if measurement.status == "not_applicable" or metric.direction == "none":
        return None
    value = measurement.value if metric.worst is None else aggregate(metric, [("", measurement)])["penalised"]
    return value if value is None or metric.direction == "higher" else -value


def spearman(metrics: Sequence[Metric], measured: Measured, degradation: Degradation) -> list[tuple[str, float]]:
    """Rank correlation (Spearman, 1904) between level and deterioration.

    Args:
        metrics: one metric, or several that are taken together by `combined_ranks`.
        measured: with the videos of `ladder(degradation)`.
        degradation: whose levels are compared.

    Returns:
        (scene, correlation) of each clip that allows the degradation: 1 where every level is worse than the one before, 0 where the
        value does not follow the level or never changes. Levels without a penalised value are left out.
    """
    names, levels = ladder(degradation), np.array([0.0, *degradation.levels])
    correlations = []
    for entries in zip(*(measured[name] for name in names), strict=True):
        if any(not values for _, values in entries):
            continue
        ranks = combined_ranks(metrics, [values for _, values in entries])
        known = np.isfinite(ranks)
        if known.sum() < 3:
            continue
        constant = np.ptp(ranks[known]) == 0
        correlations.append((entries[0][0], 0.0 if constant else float(spearmanr(levels[known], ranks[known]).statistic)))
    return correlations


def combined_ranks(metrics: Sequence[Metric], videos: Sequence[dict[str, Measurement]]) -> np.ndarray:
    """How videos of one clip rank by several metrics together.

    Args:
        metrics: one or more; each family (module) weighs the same, however many of them it sends.
        videos: measurements of V videos of one clip.

    Returns:
        [V] ranks, 1 the best: by penalised value (equal values share a rank), averaged over the metrics of a family, then over the
        families. NaN for a video without a value. Metrics that apply to none of the videos, or were not tried on all of them, are
        left out.
    """
    families: dict[str, list[np.ndarray]] = {}
    for metric in metrics:
        if not all(metric.name in video for video in videos):
            continue
        values = np.array([penalised(metric, video[metric.name]) for video in videos], dtype=np.float64)
        if np.isfinite(values).any():
            families.setdefault(_family(metric), []).append(rankdata(-values, nan_policy="omit"))
    if not families:
        return np.full(len(videos), np.nan)
    return np.mean([np.mean(ranks, axis=0) for ranks in families.values()], axis=0)


def rank_differences(metrics: Sequence[Metric], first: Scored, second: Scored) -> list[tuple[str, float]]:
    """How much better one video ranks than another, clip by clip.

    Args:
        metrics: taken together by `combined_ranks`.
        first, second: the two videos of the same clips.

    Returns:
        (scene, rank of the second - rank of the first): positive where the first is better.
    """
    differences = []
    for (scene, one), (_, other) in zip(first, second, strict=True):
        ranks = combined_ranks(metrics, [one, other]) if one and other else np.full(2, np.nan)
        if np.isfinite(ranks).all():
            differences.append((scene, float(ranks[1] - ranks[0])))
    return differences


def threshold(metrics: Sequence[Metric], measured: Measured, degradation: Degradation) -> float | None:
    """The smallest level from which on every level is surely worse than the truth on the same clips.

    Surely means: the 95 % interval over scenes of the paired difference does not hold zero.

    Args:
        metrics: one metric, or several that are taken together.
        measured: with the videos of `ladder(degradation)`.
        degradation: whose levels are tried.

    Returns:
        The level, or None where not even the greatest is surely worse.
    """
    found = None
    for level in reversed(degradation.levels):
        if not _surely_better(metrics, measured["truth"], measured[video_name(degradation, level)]):
            break
        found = level
    return found


def accepts(metrics: Sequence[Metric], honest: Scored, cheat: Scored) -> bool:
    """Whether a cheat passes for the honest video that it imitates.

    One metric rejects a cheat if the honest video is surely better on the same clips. Several together reject it if at least one of
    them does and the cheat's combined rank is worse in the mean over scenes.

    Args:
        metrics: one metric, or several that are taken together.
        honest, cheat: the two videos of the same clips.
    """
    rejected = any(_surely_better([metric], honest, cheat) for metric in metrics)
    below = scene_means(rank_differences(metrics, honest, cheat)).values()
    return not (rejected and len(below) > 0 and float(np.mean(list(below))) > 0)


def _surely_better(metrics: Sequence[Metric], first: Scored, second: Scored) -> bool:
    if len(metrics) == 1:
        (metric,) = metrics
        both = zip(first, second, strict=True)
        pairs = [(one, other) for one, other in both if metric.name in one[1] and metric.name in other[1]]
        one, other = ([(scene, values[metric.name]) for scene, values in side] for side in (zip(*pairs) if pairs else ((), ())))
        return paired_difference(metric, one, other, FEWEST)["better"] == "first"
    differences = rank_differences(metrics, first, second)
    low, _ = bootstrap_interval(np.array(list(scene_means(differences).values())), FEWEST)
    return low is not None and low > 0


def headline(
    metrics: Sequence[Metric], measured: Measured, cheats_accepted: dict[str, int]
) -> tuple[list[str], dict[str, str]]:
    """Which metrics head the scorecard, by rule.

    A metric qualifies if it has a better side and a worst value (so that failures can be counted), declares what it sees, measures
    at least 90 % of the true videos, and follows every declared degradation with a mean Spearman correlation of at least 0.9.

    Of those that qualify, each family (module) sends as few as see together what all its metrics see, so that no question is asked
    twice. The one that sees most of what is not yet seen is taken, until nothing is left. Ties go to the one that follows best (to
    one decimal), then to the one that sees most, then to the one that accepts fewest cheats.

    Args:
        metrics: candidates.
        measured: all videos.
        cheats_accepted: number of cheats that each metric accepts.

    Returns:
        The names of those that head it, and {name: why not} of the others.
    """
    figures = {metric.name: {fault: _mean_spearman(metric, measured, fault) for fault in metric.sees} for metric in metrics}
    reasons = {metric.name: reason for metric in metrics if (reason := _disqualified(metric, measured, figures[metric.name]))}
    families: dict[str, list[Metric]] = {}
    for metric in metrics:
        if metric.name not in reasons:
            families.setdefault(_family(metric), []).append(metric)
    chosen = []
    for members in families.values():
        unseen, sent = {fault for metric in members for fault in metric.sees}, []

        def merits(metric: Metric) -> tuple:
            least = round(min(figures[metric.name].values()), 1)
            return len(unseen & set(metric.sees)), least, len(metric.sees), -cheats_accepted[metric.name]

        while unseen:
            best = max(members, key=merits)
            sent.append(best.name)
            unseen = unseen - set(best.sees)
        chosen += sent
        reasons |= {metric.name: f"seen by {' and '.join(sent)} too" for metric in members if metric.name not in sent}
    return [metric.name for metric in metrics if metric.name in chosen], reasons


def _mean_spearman(metric: Metric, measured: Measured, fault: str) -> float | None:
    means = list(scene_means(spearman([metric], measured, GRADED[fault])).values())
    return float(np.mean(means)) if means else None


def _disqualified(metric: Metric, measured: Measured, figures: dict[str, float | None]) -> str:
    """Why a metric with these correlations may not head the scorecard; empty if it may."""
    if metric.direction == "none" or metric.worst is None:
        return "has no better side" if metric.direction == "none" else "has no worst value"
    if not metric.sees:
        return "declares nothing that it sees"
    coverage = aggregate(metric, [(scene, values[metric.name]) for scene, values in measured["truth"]])["coverage"] or 0.0
    if coverage < LEAST_COVERAGE:
        return f"measures {coverage:.0%} of the true videos"
    weak = [
        f"{fault} {'unknown' if figure is None else format(figure, '.2f')}"
        for fault, figure in figures.items()
        if figure is None or figure < LEAST_SPEARMAN
    ]
    return f"Spearman with {', '.join(weak)}" if weak else ""


def _family(metric: Metric) -> str:
    function = metric.function
    while isinstance(function, partial):
        function = function.func
    return function.__module__


def validation_row(name: str, metrics: Sequence[Metric], measured: Measured, degradations: Sequence[str], accepted: int) -> dict:
    """A row of the results file.

    Args:
        name: of the row.
        metrics: one metric, or those that are taken together.
        measured: all videos.
        degradations: those that count for the row as a whole; the others get cells of their own only.
        accepted: number of cheats accepted.

    Returns:
        Every measured degradation has `spearman_<degradation>`, the mean over scenes with its interval, and
        `threshold_<degradation>`, in its own unit. `spearman` is the least of the former over `degradations`. `threshold` is the
        greatest of the latter as a share of the strongest level, and missing where a degradation is not seen at all.
    """
    absent = result_cell(None, status="not_applicable")
    cells = {}
    shares = {}
    for degradation in GRADED.values():
        if not measured.keys() >= set(ladder(degradation)):
            continue
        values = np.array(list(scene_means(spearman(metrics, measured, degradation)).values()))
        least = seen = absent
        if len(values):
            found = threshold(metrics, measured, degradation)
            least = result_cell(float(values.mean()), *bootstrap_interval(values, FEWEST), len(values))
            seen = result_cell(found, n=len(values), status="missing" if found is None else "ok")
            shares[degradation.name] = None if found is None else found / degradation.levels[-1]
        cells |= {f"spearman_{degradation.name}": least, f"threshold_{degradation.name}": seen}
    counted = [fault for fault in degradations if fault in shares]
    least = min((cells[f"spearman_{fault}"] for fault in counted), key=lambda cell: cell["value"], default=absent)
    unseen = any(shares[fault] is None for fault in counted)
    worst = result_cell(None, status="missing") if unseen else absent
    if counted and not unseen:
        worst = result_cell(max(shares[fault] for fault in counted))
    return {"name": name, "metrics": {"spearman": least, "threshold": worst, "cheats_accepted": result_cell(accepted)} | cells}

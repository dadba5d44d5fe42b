"""Two runs against each other: clip by clip where both wrote down their single clips, by their means otherwise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from video4spatial.evaluation.aggregation import FEWEST_SCENES, aggregate, paired_difference, too_few_scenes
from video4spatial.evaluation.measurement import Metric
from video4spatial.evaluation.metrics import METRICS
from video4spatial.evaluation.results import metric as result_cell
from video4spatial.evaluation.scoring import ScoredClip
from video4spatial.parsing import parse_json

SAME = ("test_set", "height", "width")
"""Settings that two runs must share for their figures to mean the same."""

USUAL_ROWS = ("model", "generated")
"""What is compared when no row is named: the first of these that both runs have, otherwise the first row they share."""


TOO_FEW = "too few to say"


@dataclass(frozen=True)
class Run:
    """A results file.

    Args:
        name: of the file, for people.
        benchmark, settings: as in the file.
        rows: {row: {metric: cell}}.
        clips: {row: clips}, or None where the file holds means only.
    """

    name: str
    benchmark: str
    settings: dict
    rows: dict[str, dict[str, dict]]
    clips: dict[str, list[ScoredClip]] | None


def read_run(path: str | Path) -> Run:
    """Read a results file.

    Args:
        path: as `results.write_results` wrote it.

    Raises:
        ValueError: for a file of another form.
        OSError: for one that cannot be read.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        rows = {row["name"]: row["metrics"] for row in content["rows"]}
        clips = content.get("clips")
        if clips is not None:
            clips = {row: [ScoredClip.from_dict(entry) for entry in entries] for row, entries in clips.items()}
        return Run(path.name, content["benchmark"], content["settings"], rows, clips)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a results file of v4s benchmark or v4s score ({type(error).__name__}: {error}).") from error


@dataclass(frozen=True)
class Difference:
    """One metric of the second run against the first.

    Args:
        metric: its name.
        first, second: cells as in results files.
        difference: second - first with its 95 % interval.
        verdict: `better`, `worse` or `undecided`, said of the second; `too few to say` below `FEWEST_SCENES`, `neither` for metrics
            without a better side, `not measured` where one of them has nothing.
    """

    metric: str
    first: dict
    second: dict
    difference: dict
    verdict: str

    def as_dict(self) -> dict:
        """A JSON-ready form."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """A row of one run against a row of another.

    Args:
        first, second: which row of which file, in words.
        paired: whether single clips were compared.
        clips: how many.
        differences: one per metric that both know.
        notes: sentences about what could not be compared.
    """

    first: str
    second: str
    paired: bool
    clips: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def compare_runs(first: Run, second: Run, row: str | None = None, against: str | None = None) -> Comparison:
    """How the second run does against the first.

    Where both hold single clips, differences are taken clip by clip, with a bootstrap interval over scenes (`paired_difference`).
    Where one holds means only, the interval follows from those of the two means (Zou and Donner, 2008, for independent means). Runs
    over the same clips are not independent, so that interval is too wide and decides less.

    Args:
        first, second: two runs over the same test set.
        row: of the second run; default by `USUAL_ROWS`.
        against: row of the first run; default the same.

    Raises:
        ValueError: for runs that do not compare, and rows that are not there.
    """
    row = row or against or _usual_row(first, second)
    against = against or row
    problems = _differences_in_settings(first, second)
    for run, name in ((second, row), (first, against)):
        if name not in run.rows:
            problems.append(f"{run.name} has no row {name!r} (it has {', '.join(run.rows)})")
    if problems:
        raise ValueError("; ".join(problems) + ".")
    names = f"{against} of {first.name}", f"{row} of {second.name}"
    one, other = ((run.clips or {}).get(name) for run, name in ((first, against), (second, row)))
    if not one or not other:
        return _unpaired(first, second, against, row, names)
    return _paired(one, other, names)


def _usual_row(first: Run, second: Run) -> str:
    shared = [name for name in second.rows if name in first.rows]
    if not shared:
        raise ValueError(f"{first.name} and {second.name} share no row: name one of each.")
    return next((name for name in USUAL_ROWS if name in shared), shared[0])


def _differences_in_settings(first: Run, second: Run) -> list[str]:
    problems = []
    if first.benchmark != second.benchmark:
        problems.append(f"{first.name} is of {first.benchmark} and {second.name} of {second.benchmark}")
    for name in SAME:
        values = first.settings.get(name), second.settings.get(name)
        if values[0] != values[1]:
            problems.append(f"{name.replace('_', ' ')} is {values[0]} in {first.name} and {values[1]} in {second.name}")
    return [f"these runs do not compare: {problems[0]}", *problems[1:]] if problems else []


def _paired(one: list[ScoredClip], other: list[ScoredClip], names: tuple[str, str]) -> Comparison:
    by_name = {entry.clip: entry for entry in one}
    pairs = [(by_name[entry.clip], entry) for entry in other if entry.clip in by_name]
    if not pairs:
        raise ValueError(f"these runs do not compare: {names[0]} and {names[1]} have no clip in common.")
    unlike = [entry.clip for known, entry in pairs if known.fingerprint != entry.fingerprint]
    if unlike:
        shown = ", ".join(unlike[:3]) + (", ..." if len(unlike) > 3 else "")
        raise ValueError(f"these runs do not compare: {len(unlike)} clips of one name are different clips ({shown}).")
    notes = [
        f"{len(entries) - len(pairs)} of {len(entries)} clips of {name} are not in the other run and left out"
        for name, entries in zip(names, (one, other), strict=True)
        if len(entries) > len(pairs)
    ]
    shared = [name for name in pairs[0][0].measurements if name in pairs[0][1].measurements]
    notes += _unknown(shared)
    differences = []
    for name in (name for name in shared if name in METRICS):
        metric = METRICS[name]
        of_first, of_second = (
            [(entry.scene, entry.measurements[name]) for entry in entries] for entries in zip(*pairs, strict=True)
        )
        difference = paired_difference(metric, of_second, of_first)
        cells = aggregate(metric, of_first), aggregate(metric, of_second)
        differences.append(Difference(name, *cells, difference, _verdict(metric, difference)))
    notes += filter(None, [too_few_scenes(len({entry.scene for _, entry in pairs}))])
    return Comparison(*names, True, len(pairs), tuple(differences), tuple(notes))


def _unpaired(first: Run, second: Run, against: str, row: str, names: tuple[str, str]) -> Comparison:
    counts = first.settings.get("clips"), second.settings.get("clips")
    if counts[0] != counts[1]:
        raise ValueError(
            f"these runs do not compare: {counts[0]} clips in {first.name} and {counts[1]} in {second.name}, and without the "
            "figures of single clips those they share cannot be picked out."
        )
    notes = ["means only, not clip by clip: with the figures of single clips in both files smaller differences would show"]
    cells = first.rows[against], second.rows[row]
    shared = [name for name in cells[0] if name in cells[1]]
    notes += _unknown(shared)
    differences = []
    for name in (name for name in shared if name in METRICS):
        one, other = cells[0][name], cells[1][name]
        difference = _difference_of_means(one, other)
        differences.append(Difference(name, one, other, difference, _verdict(METRICS[name], difference)))
    return Comparison(*names, False, counts[0] or 0, tuple(differences), tuple(notes))


def _unknown(names: Sequence[str]) -> list[str]:
    strange = [name for name in names if name not in METRICS]
    return [f"left out, unknown to this version: {', '.join(strange)}"] if strange else []


def _difference_of_means(first: dict, second: dict) -> dict:
    if first["value"] is None or second["value"] is None:
        return result_cell(None, status="missing")
    value = second["value"] - first["value"]
    ends = [cell[end] for cell in (first, second) for end in ("low", "high")]
    low = high = None
    if None not in ends and min(first["n"], second["n"]) >= FEWEST_SCENES:
        low = value - math.hypot(second["value"] - second["low"], first["high"] - first["value"])
        high = value + math.hypot(second["high"] - second["value"], first["value"] - first["low"])
    return result_cell(value, low, high, min(first["n"], second["n"]))


def _verdict(metric: Metric, difference: dict) -> str:
    if difference["value"] is None:
        return "not measured"
    if metric.direction == "none":
        return "neither"
    if (difference["n"] or 0) < FEWEST_SCENES:
        return TOO_FEW
    if difference["low"] is None or difference["low"] <= 0 <= difference["high"]:
        return "undecided"
    return "better" if (difference["value"] > 0) == (metric.direction == "higher") else "worse"

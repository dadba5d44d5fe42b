"""`v4s compare`: is one run better than another?"""

from video4spatial.cli.arguments import Parser
from video4spatial.cli.errors import user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import console, note, say

MARKS = {"better": "[green]better[/]", "worse": "[red]worse[/]"}


def compare_parser() -> Parser:
    """Options of `v4s compare`."""
    parser = Parser(
        "v4s compare",
        "How the second run does against the first, with 95 % intervals over scenes. Files with the figures of single\n"
        "clips (v4s benchmark navigation --details, v4s score --json) are compared clip by clip.",
    )
    add = parser.add_argument
    add("first", metavar="A.json", help="results file")
    add("second", metavar="B.json", help="results file over the same test set; may be the same file, for another row")
    add("--row", metavar="NAME", help="row of B (default: model, or generated)")
    add("--against", metavar="NAME", help="row of A (default: the same)")
    add("--json", metavar="FILE", help="file to write the differences to (default: none)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s compare`."""
    options = compare_parser().parse(arguments)
    from video4spatial.evaluation.comparison import TOO_FEW, compare_runs, read_run
    from video4spatial.evaluation.results import write_results

    with user_mistakes():
        check_file(options.json, "--json")
        first, second = read_run(options.first), read_run(options.second)
        comparison = compare_runs(first, second, options.row, options.against)
    _show(comparison)
    for sentence in comparison.notes:
        note(sentence + ".")
    if not comparison.paired:
        note("v4s benchmark navigation --details and v4s score --json write the figures of single clips.")
    verdicts = [difference.verdict for difference in comparison.differences]
    counts = {verdict: verdicts.count(verdict) for verdict in ("better", "worse", "undecided", TOO_FEW)}
    how = f"{comparison.clips} clips, pair by pair" if comparison.paired else "means, not pair by pair"
    said = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items() if verdict != TOO_FEW or count)
    say(f"{comparison.second} against {comparison.first} ({how}): {said}.")
    if options.json is not None:
        settings = {"first": comparison.first, "second": comparison.second, "paired": comparison.paired, "clips": comparison.clips}
        rows = [
            {"name": difference.metric, "metrics": {key: getattr(difference, key) for key in ("first", "second", "difference")},
             "verdict": difference.verdict}
            for difference in comparison.differences
        ]  # fmt: skip
        with user_mistakes():
            write_results(options.json, "compare", settings | {"notes": list(comparison.notes)}, rows)
        say(f"written to {options.json}")


def _show(comparison) -> None:
    from rich.table import Table

    from video4spatial.evaluation.metrics import METRICS

    table = Table(box=None)
    for heading in ("metric", "A", "B", "B − A", "95 %", "B is"):
        table.add_column(heading, justify="left" if heading in ("metric", "B is") else "right", no_wrap=True)
    arrows = {"higher": "↑", "lower": "↓", "none": ""}
    for difference in comparison.differences:
        metric, cell = METRICS[difference.metric], difference.difference
        interval = "–" if cell["low"] is None else f"{cell['low']:+.3g} … {cell['high']:+.3g}"
        table.add_row(
            f"{metric.name} {arrows[metric.direction]}".strip(), _figure(difference.first), _figure(difference.second),
            "–" if cell["value"] is None else f"{cell['value']:+.3g}", interval,
            MARKS.get(difference.verdict, difference.verdict),
        )  # fmt: skip
    console.print(table)


def _figure(cell: dict) -> str:
    if cell["value"] is None:
        return cell["status"].replace("_", " ")
    coverage = cell.get("coverage")
    share = f" ({100 * coverage:.0f} %)" if coverage is not None and coverage < 0.9995 else ""
    return f"{cell['value']:.4g}{share}"

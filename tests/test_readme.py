"""README.md says what the result files say, and its commands exist."""

import json
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import pytest

from video4spatial.cli.curate import build_parser
from video4spatial.cli.main import VERBS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import readme_tables  # noqa: E402

README = (ROOT / "README.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
PARSERS = {
    "sample.py navigate": ("sample_options", "navigate_parser"), "sample.py ground": ("sample_options", "ground_parser"),
    "v4s locate": ("locate", "locate_parser"), "v4s plan": ("plan", "plan_parser"),
    "v4s geometry": ("geometry", "geometry_parser"), "v4s score": ("score", "score_parser"), "v4s compare": ("compare", "compare_parser"),
    "v4s benchmark navigation": ("benchmark", "navigation_parser"),
    "v4s benchmark grounding": ("benchmark_grounding", "grounding_parser"), "v4s curate inspect": ("curate", "inspect_parser"),
}  # fmt: skip


@pytest.mark.parametrize("document", readme_tables.DOCUMENTS, ids=lambda path: path.name)
def test_figures_come_from_the_result_files(document):
    text = document.read_text()
    assert text == readme_tables.filled(text), "run: python benchmarks/readme_tables.py"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_result_files_have_one_shape(path):
    content = json.loads(path.read_text())
    assert set(content) == {"benchmark", "command", "commit", "machine", "settings", "rows"}
    for row in content["rows"]:
        for cell in row["metrics"].values():
            assert {"value", "low", "high", "n", "status"} <= set(cell)
            assert cell["status"] in ("ok", "missing", "failed", "not_applicable")
            assert (cell["value"] is None) == (cell["status"] != "ok")


def test_the_metrics_that_head_the_scorecard_were_chosen_by_the_validation():
    from video4spatial.evaluation.metrics import NAVIGATION_METRICS

    content = json.loads((ROOT / "benchmarks" / "results" / "metric_validation.json").read_text())
    headline = content["settings"]["headline"]
    assert sorted(NAVIGATION_METRICS[: len(headline)]) == sorted(headline)
    scorecard = next(row["metrics"] for row in content["rows"] if row["name"] == "scorecard")
    assert scorecard["cheats_accepted"]["value"] == 0 and scorecard["spearman"]["value"] >= 0.9


def test_linked_files_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links), links


def test_make_targets_exist():
    targets = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert targets == {"demo", "test"} and all(f"\n{target}:" in makefile for target in targets)


def test_cleaning_keeps_results():
    recipe = re.search(r"^clean:\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert not re.search(r"\b(outputs|runs|data)\b", recipe)


def test_the_environment_is_entered_before_what_lives_in_it():
    programs = [command[0] for command in COMMANDS]
    assert programs.index("make") < programs.index("source") < min(programs.index(name) for name in ("python", "v4s"))
    assert set(programs) == {"make", "source", "python", "v4s"}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("python", "v4s")], ids=" ".join)
def test_commands_are_understood_as_printed(command):
    words = [word for word in command if word not in ("python", "-m")]
    if words[:2] in (["data_curation", "build"], ["v4s", "curate"]) and "build" in words:
        assert build_parser().parse_args(words[words.index("build") + 1 :]).sources
    elif words[0] == "train.py":
        assert words[1] == "fit" and all((ROOT / path).is_file() for option, path in zip(words, words[1:]) if option == "--config")
    else:
        name = next(name for name in PARSERS if words[: len(name.split())] == name.split())
        module, parser = PARSERS[name]
        getattr(import_module(f"video4spatial.cli.{module}"), parser)().parse(words[len(name.split()) :])


def test_commands_bring_what_they_read():
    """Whatever lies in outputs/, data/ or runs/ was written by a command further up, the demo's files included."""
    written = {f"outputs/demo/{name}" for name in ("video.mp4", "truth.mp4", "context.mp4")}
    for command in COMMANDS:
        given = dict(zip(command, command[1:]))
        own = {given.get(option) for option in ("--output", "--json", "--details", "--report", "--trainer.callbacks.folder")} - {None}
        read = {word for word in command if re.match(r"(outputs|data|runs)/", word)} - own
        assert read <= written, f"{' '.join(command)}: nothing above writes {sorted(read - written)}"
        configs = [ROOT / path for option, path in zip(command, command[1:]) if option == "--config"]
        written |= own | {folder for path in configs for folder in re.findall(r"^ +folder: (runs/\S+)", path.read_text(), re.MULTILINE)}


def test_verbs_that_are_named_exist():
    assert {verb for verb in re.findall(r"`v4s ([a-z]+)", README)} <= set(VERBS)

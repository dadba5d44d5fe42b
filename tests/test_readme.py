"""README.md says what the result files say, and its commands exist."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import readme_tables  # noqa: E402

README = (ROOT / "README.md").read_text()


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

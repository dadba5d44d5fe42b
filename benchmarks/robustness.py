"""What becomes of damaged and hostile inputs: over 10 000 of them, read as the commands read them, and counted by what happened.

    python benchmarks/robustness.py [--cases 12000] [--kinds a,b] [--kills 20] [--memory 1.0] [--seed 0] [--keep FOLDER]

Every kind of input begins with one that is right, and hypothesis draws what is wrong with it: bytes and words that are lost, doubled or
replaced, values of other types, places and sizes. Each is read in a process with a limit on time and memory. The command line turns
`ValueError` and `OSError` of what a user gave into one line; every other exception would be a traceback there. A result counts as
silently changed where it breaks the rules of its own type, or differs although the file holds a checksum.

The rows `kills_sample` and `kills_geometry` start commands, kill them (SIGKILL) at random moments, and look at what is left;
`kills_training` is one training that is killed and resumed again and again, beside one in peace: both must end in the same weights.

The rows `memory` are large inputs: the most memory of the command with all its processes, and its seconds. They take 3 GB of disk at most.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections import Counter
from pathlib import Path

import torch
from trials import ROOT
from trials.kills import KILLED, kills
from trials.kinds import KINDS
from trials.memory import MEASURED, measured_memory
from trials.reading import BYTES, OUTCOMES, SECONDS, run_kind

from video4spatial.cli.terminal import stage
from video4spatial.evaluation.results import merge_rows, metric, write_results
from video4spatial.waits import counted


def _write(path: Path, first_seed: int, measured: list[dict]) -> list[dict]:
    """Put rows in the place of a results file's old ones, and add up all kinds; returns all rows."""
    settings_of_all = {"seed": first_seed, "seconds_per_case": SECONDS, "bytes_per_case": BYTES}
    told, rows = merge_rows(path, settings_of_all, measured, ["all", *KINDS, *KILLED, *MEASURED].index)
    rows = [row for row in rows if row["name"] != "all"]
    total = {name: sum(row["metrics"][name]["value"] for row in rows if row["name"] in KINDS) for name in OUTCOMES}
    cases = sum(total.values())
    rows.insert(0, {"name": "all", "metrics": {name: metric(value, n=cases) for name, value in total.items()}})
    write_results(path, "robustness", told | {"cases": cases}, rows)
    return rows


def main() -> None:
    """Run it and write benchmarks/results/robustness.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12_000, help="inputs of all kinds together (default %(default)s)")
    parser.add_argument(
        "--kinds",
        help=f"only these rows, with commas between: kinds, {', '.join((*KILLED, *MEASURED))}; others of the file stay (default: all)",
    )
    parser.add_argument("--kills", type=int, default=20, help="killed runs of each command (default %(default)s)")
    parser.add_argument(
        "--memory", type=float, default=1.0, help="share of the large inputs whose memory is measured; 0 for none (default %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawing (default %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for inputs with unwanted outcomes")
    parser.add_argument("--json", default=ROOT / "benchmarks" / "results" / "robustness.json", help="results file")
    options = parser.parse_args()
    asked = options.kinds.split(",") if options.kinds else [*KINDS, *KILLED, *MEASURED]
    if unknown := [name for name in asked if name not in (*KINDS, *KILLED, *MEASURED)]:
        parser.error(f"--kinds: there is no {', '.join(unknown)}; there are {', '.join((*KINDS, *KILLED, *MEASURED))}")
    names = [name for name in asked if name in KINDS]
    shares = {name: KINDS[name][1] for name in names}
    counts = {name: math.ceil(options.cases * share / sum(shares.values())) for name, share in shares.items()}
    rows, words = [], {}
    with stage("loading what reads them"):
        for module in ("video4spatial.cli.lightning_cli", "video4spatial.clips.shards", "data_curation.build"):
            importlib.import_module(module)
        torch.set_num_threads(1)
    with counted("reading damaged inputs", sum(counts.values())) as wait:
        for name, count in counts.items():
            wait.describe(name)
            outcomes, words[name] = run_kind(name, count, options.seed, options.keep, wait.advance)
            row = {"name": name, "metrics": {outcome: metric(outcomes[outcome], n=count) for outcome in OUTCOMES}}
            rows = _write(options.json, options.seed, [row])
    for row in kills(options.kills, options.seed, asked):
        rows = _write(options.json, options.seed, [row])
    for row in measured_memory(asked if options.memory > 0 else [], options.memory):
        rows = _write(options.json, options.seed, [row])
    for row in rows:
        print(f"{row['name']:26}" + "  ".join(f"{name} {cell['value']}" for name, cell in row["metrics"].items() if cell["value"]))
    for name, found in words.items():
        for sentence, times in Counter(found).most_common(8):
            print(f"{name}: {times} x {sentence}")


if __name__ == "__main__":
    main()

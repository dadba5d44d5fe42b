"""Writes the figures of README.md and docs/metrics.md from the result files, between their `<!-- figures: NAME -->` marks.

    python benchmarks/readme_tables.py

A test checks that they show what the files say.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "metrics.md")

HEADINGS = {
    "psnr": "PSNR (dB)",
    "covisible_psnr": "co-visible PSNR (dB)",
    "ssim": "SSIM",
    "gradient_correlation": "gradient correlation",
    "rotation_error_deg": "rotation error (°)",
    "translation_error": "translation error",
}


def _cell(cell: dict) -> str:
    if cell["status"] != "ok":
        return cell["status"].replace("_", " ")
    digits = 1 if abs(cell["value"]) >= 5 else 2
    interval = "" if cell["low"] is None else f" ({cell['low']:.{digits}f} – {cell['high']:.{digits}f})"
    return f"{cell['value']:.{digits}f}{interval}"


def navigation_rooms() -> str:
    """Every row of the navigation benchmark, with 95 % intervals over scenes."""
    content = json.loads((RESULTS / "navigation_rooms.json").read_text())
    lines = ["| row | " + " | ".join(HEADINGS.values()) + " |", "|---|" + "---|" * len(HEADINGS)]
    for row in content["rows"]:
        cells = [_cell(row["metrics"][name]) for name in HEADINGS]
        lines.append(f"| `{row['name']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speeds() -> str:
    """Ratios of speed against the baseline measured in the same run."""
    lines = ["| what | against | ratio |", "|---|---|---|"]
    rendering = json.loads((RESULTS / "rendering.json").read_text())
    for row in rendering["rows"]:
        if not row["name"].startswith("torch"):
            ratio, speed = (row["metrics"][name]["value"] for name in ("ratio_to_torch_cpu", "frames_per_second"))
            lines.append(f"| rendering, `{row['name']}`: {speed:.0f} frames/s | plain torch on the same CPU | {ratio:.0f} × as fast |")
    reading = json.loads((RESULTS / "video_reading.json").read_text())
    for row in reading["rows"]:
        if row["name"] != "pyav":
            ratio = row["metrics"]["mean_ratio_to_pyav"]["value"]
            lines.append(f"| reading h264, `{row['name']}` | PyAV, the default | {ratio:.2f} × the time |")
    return "\n".join(lines)


def curation() -> str:
    """Shares of what curation is measured against, of the same run."""
    rows = {row["name"]: row["metrics"] for row in json.loads((RESULTS / "curation.json").read_text())["rows"]}
    decode, two, ray, kills = (rows[name] for name in ("decode_and_quality", "processes_2", "ray_local", "kills"))
    return "\n".join(
        [
            "| what | against | result |",
            "|---|---|---|",
            f"| decoding and judging frames | decoding alone | {_cell(decode['share_of_decode'])} × its speed |",
            f"| two processes: {_cell(two['speedup'])} × as fast as one | an empty loop gains {_cell(two['spin_loop_speedup'])} × | "
            f"{_cell(two['share_of_spin_loop'])} of that |",
            f"| Ray on one machine, start-up left out | processes | {_cell(ray['share_of_processes'])} × their speed |",
            f"| builds killed at random moments (SIGKILL): {kills['tried']['value']:.0f} | the undisturbed data set | "
            f"{kills['survived']['value']:.0f} ended in the same bytes |",
        ]
    )


def metric_validation() -> str:
    """What each metric sees from which level on, which cheats it accepts, and the estimators' own errors."""
    content = json.loads((RESULTS / "metric_validation.json").read_text())
    settings = content["settings"]
    levels, honest_rows = settings["levels"], list(settings["honest_rows"])
    seen = ["| metric | " + " | ".join(f"{fault} ({entry['unit']})" for fault, entry in levels.items()) + " |"]
    seen.append("|---|" + "---|" * len(levels))
    heads = ["| metric | heads the scorecard | " + " | ".join(f"cheats accepted for `{row}`" for row in honest_rows) + " |"]
    heads.append("|---|---|" + "---|" * len(honest_rows))
    errors = ["| estimator, on true videos | rotation error (°) | translation error (of the path) | frames measured |"]
    errors.append("|---|---|---|---|")
    for row in content["rows"]:
        name, cells = row["name"], row["metrics"]
        if "spearman" not in cells:
            rotation, translation = cells["rotation_error_deg"], cells["translation_error"]
            errors.append(f"| {name} | {_cell(rotation)} | {_cell(translation)} | {rotation['coverage']:.0%} |")
            continue
        entries = []
        for fault in levels:
            correlation, found = cells[f"spearman_{fault}"]["value"], cells[f"threshold_{fault}"]["value"]
            known = fault in settings["sees"][name] and correlation is not None
            entries.append(f"{correlation:.2f}, {'–' if found is None else f'{found:g}'}" if known else "")
        seen.append(f"| `{name}` | " + " | ".join(entries) + " |")
        accepted = [", ".join(settings["cheats_accepted"][name][row]) or "none" for row in honest_rows]
        reason = "yes" if name in settings["headline"] else settings["not_headline"].get(name, "")
        heads.append(f"| `{name}` | {reason} | " + " | ".join(accepted) + " |")
    absent = ", ".join(f"`{name}`" for name in settings["unmeasured"])
    return "\n".join([*seen, "", *heads, "", f"Not measured on these clips: {absent or 'nothing'}.", "", *errors])


FIGURES = {
    "navigation_rooms": navigation_rooms, "curation": curation, "speeds": speeds, "metric_validation": metric_validation,
}  # fmt: skip


def filled(text: str) -> str:
    """A document's text with every marked block replaced by its figures."""
    for name, make in FIGURES.items():
        pattern = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match: f"{match[1]}{make()}\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text()))

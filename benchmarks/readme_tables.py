"""Writes the figures of README.md from the result files, between its `<!-- figures: NAME -->` marks.

    python benchmarks/readme_tables.py

A test checks that README.md shows what the files say.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"

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


FIGURES = {"navigation_rooms": navigation_rooms, "speeds": speeds}


def filled(text: str) -> str:
    """README text with every marked block replaced by its figures."""
    for name, make in FIGURES.items():
        pattern = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda match: f"{match[1]}{make()}\n{match[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text()))

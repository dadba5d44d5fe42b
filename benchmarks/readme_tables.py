"""Writes the figures of README.md and of the pages in docs/ from the result files.

They stand between `<!-- figures: NAME -->` and `<!-- end -->`.

    python benchmarks/readme_tables.py

A test checks that they show what the files say.
"""

import json
import re
from pathlib import Path

from video4spatial.evaluation.aggregation import FEWEST_SCENES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("metrics", "context", "geometry", "grounding")))

HEADINGS = {
    "gradient_correlation": "gradient correlation",
    "rotation_error_deg": "rotation error (°)",
    "translation_error_m": "translation error (m)",
    "depth_reprojection_psnr": "reprojection PSNR (dB)",
    "covisible_psnr": "co-visible PSNR (dB)",
    "psnr": "PSNR (dB)",
}


def _cell(cell: dict) -> str:
    if cell["status"] != "ok":
        return cell["status"].replace("_", " ")
    digits = 1 if abs(cell["value"]) >= 5 else 2
    interval = "" if cell["low"] is None else f" ({cell['low']:.{digits}f} – {cell['high']:.{digits}f})"
    return f"{cell['value']:.{digits}f}{interval}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*headings: str) -> list[str]:
    return [_line(*headings), "|" + "---|" * len(headings)]


MAIN_ROWS = (
    "model", "model_with_context_cameras", "model_with_true_geometry", "model_without_geometry_with_context_cameras",
    "reconstruct_and_render", "reconstruct_and_render_with_context_cameras", "oracle_render", "context_2_with_context_cameras",
    "context_8_with_context_cameras", "context_32_with_context_cameras", "other_scene_context_with_context_cameras", "anchor_only",
    "copy_nearest", "mean_colour", "vae_ceiling", "ground_truth",
)  # fmt: skip
"""Rows of the navigation benchmark that the README shows."""


def navigation(file: str, rows: tuple[str, ...] | None = None) -> str:
    """Rows of a navigation benchmark, with 95 % intervals over scenes where there are enough of them.

    Args:
        file: results file.
        rows: which, in this order; None shows all.
    """
    content = json.loads((RESULTS / file).read_text())
    cells = {row["name"]: row["metrics"] for row in content["rows"]}
    lines = _head("row", *HEADINGS.values())
    for name in rows or cells:
        lines.append(_line(f"`{name}`", *(_cell(cells[name][metric]) for metric in HEADINGS)))
    scenes = max(cell["n"] for cell in cells["ground_truth"].values())
    return "\n".join([*lines, "", f"{scenes} scenes, pictures of {content['settings']['size']} pixels."])


def grounding() -> str:
    """Rows of the grounding benchmark."""
    content = json.loads((RESULTS / "grounding_rooms.json").read_text())
    settings, names = content["settings"], ("if", "if_at_sd", "sd", "iou", "box_iou", "path_efficiency", "collisions")
    lines = _head("row", *(f"`{name}`" for name in names), "not found")
    for row in content["rows"]:
        cells = [_cell(row["metrics"][name]) for name in names]
        lines.append(_line(f"`{row['name']}`", *cells, str(settings["not_found"].get(row["name"], "–"))))
    return "\n".join([*lines, "", f"The first {settings['clips']} scenes, pictures of {settings['size']} pixels."])


def geometry() -> str:
    """Depth of frames with known cameras, on test rooms and on captures."""
    content = json.loads((RESULTS / "geometry.json").read_text())
    names = {"log_error": "mean |Δ log depth|", "abs_rel": "AbsRel", "share": "share of pixels"}
    lines = _head("row", *names.values(), "n")
    for row in content["rows"]:
        cells = row["metrics"]
        if row["name"].startswith("cameras_"):
            continue
        lines.append(_line(f"`{row['name']}`", *(_depth_cell(cells.get(name)) for name in names), str(cells["share"]["n"])))
    return "\n".join(lines)


def cameras() -> str:
    """Cameras of 32 frames from the frames alone: means, and medians where there are scenes enough, of each scene's median."""
    content = json.loads((RESULTS / "geometry.json").read_text())
    names = {"placed": "frames placed", "rotation_degrees": "rotation error (°)", "position_metres": "position error (m)"}
    lines = _head("row", *names.values(), "scenes")
    for row in content["rows"]:
        if row["name"].startswith("cameras_"):
            cells = [_mean_and_median(row["metrics"], name) for name in names]
            lines.append(_line(f"`{row['name']}`", *cells, str(row["metrics"]["placed"]["n"])))
    return "\n".join(lines)


def _mean_and_median(cells: dict[str, dict], name: str) -> str:
    if name not in cells:
        return "–"
    middle = cells.get(f"median_{name}")
    more = "" if middle is None or cells[name]["n"] < FEWEST_SCENES else f" (median {middle['value']:.2f})"
    return f"{cells[name]['value']:.2f}{more}"


def _depth_cell(cell: dict | None) -> str:
    if cell is None:
        return "–"
    interval = "" if cell["low"] is None else f" ({cell['low']:.3f} – {cell['high']:.3f})"
    return f"{cell['value']:.3f}{interval}"


def speeds() -> str:
    """Ratios of speed against the baseline measured in the same run."""
    lines = _head("what", "against", "ratio")
    rendering = json.loads((RESULTS / "rendering.json").read_text())
    for row in rendering["rows"]:
        if not row["name"].startswith("torch"):
            ratio, speed = (row["metrics"][name]["value"] for name in ("ratio_to_torch_cpu", "frames_per_second"))
            what = f"rendering, `{row['name']}`: {speed:.0f} frames/s"
            lines.append(f"| {what} | plain torch on the same CPU | {ratio:.0f} × as fast |")
    reading = json.loads((RESULTS / "video_reading.json").read_text())
    for row in reading["rows"]:
        if row["name"] != "pyav":
            ratio = row["metrics"]["mean_ratio_to_pyav"]["value"]
            lines.append(f"| reading h264, `{row['name']}` | PyAV, the default | {ratio:.2f} × the time |")
    return "\n".join(lines)


def scoring() -> str:
    """How long scoring takes."""
    content = json.loads((RESULTS / "scoring.json").read_text())
    rows, settings = {row["name"]: row["metrics"] for row in content["rows"]}, content["settings"]
    everything, headline, files = (rows[name]["seconds"]["value"] for name in ("all_metrics", "headline", "v4s_score_on_files"))
    return (
        f"Scoring {settings['clips']} clips of {settings['frames']} frames at {settings['size']} pixels took {everything:.0f} s "
        f"with every metric, {headline:.0f} s with the figures of navigation ({settings['processes']} processes), and {files:.0f} "
        "s by `v4s score` on folders of pictures."
    )


def curation() -> str:
    """Shares of what curation is measured against, of the same run."""
    rows = {row["name"]: row["metrics"] for row in json.loads((RESULTS / "curation.json").read_text())["rows"]}
    decode, two, ray, kills = (rows[name] for name in ("decode_and_quality", "processes_2", "ray_local", "kills"))
    return "\n".join(
        [
            "| what | against | result |",
            "|---|---|---|",
            f"| decoding and judging frames | decoding alone | {_cell(decode['share_of_decode'])} × its speed |",
            f"| two processes: {_cell(two['speedup'])} × as fast as one "
            f"| an empty loop gains {_cell(two['spin_loop_speedup'])} × | {_cell(two['share_of_spin_loop'])} of that |",
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
    seen = _head("metric", *(f"{fault} ({entry['unit']})" for fault, entry in levels.items()))
    heads = _head("metric", "heads the scorecard", *(f"cheats accepted for `{row}`" for row in honest_rows))
    errors = _head("estimator, on true videos", "rotation error (°)", "translation error (of the path)", "frames measured")
    for row in content["rows"]:
        name, cells = row["name"], row["metrics"]
        if "spearman" not in cells:
            rotation, translation = cells["rotation_error_deg"], cells["translation_error"]
            errors.append(_line(name, _cell(rotation), _cell(translation), f"{rotation['coverage']:.0%}"))
            continue
        entries = []
        for fault in levels:
            correlation, found = cells[f"spearman_{fault}"]["value"], cells[f"threshold_{fault}"]["value"]
            known = fault in settings["sees"][name] and correlation is not None
            entries.append(f"{correlation:.2f}, {'–' if found is None else f'{found:g}'}" if known else "")
        seen.append(_line(f"`{name}`", *entries))
        accepted = [", ".join(settings["cheats_accepted"][name][row]) or "none" for row in honest_rows]
        reason = "yes" if name in settings["headline"] else settings["not_headline"].get(name, "")
        heads.append(_line(f"`{name}`", reason, *accepted))
    absent = ", ".join(f"`{name}`" for name in settings["unmeasured"])
    return "\n".join([*seen, "", *heads, "", f"Not measured on these clips: {absent or 'nothing'}.", "", *errors])


def context_cache() -> str:
    """What the cache buys, how cost grows with the context, and other ways to keep and compute."""
    content = json.loads((RESULTS / "context_cache_cpu.json").read_text())
    rows = {row["name"]: row["metrics"] for row in content["rows"]}
    speed = _head("context : target", "over `causal`", "by arithmetic", "over `full`", "by arithmetic", "largest difference")
    frames = _head("context frames", "tokens", "prefill (s)", "a step (s)", "peak memory (GB)", "by `v4s plan` (GB)")
    other = _head("128 context frames", "speed of a step", "cache (GB)", "largest difference")
    lengths = {"": "", "short": ", 9 target frames", "short_absent": ", 9 target frames, null context absent"}
    for name, cells in rows.items():
        if name[0] == "r" and "speedup_over_full" in cells:
            ratio, _, kind = name[1:].partition("_")
            ratios = ("speedup_over_causal", "predicted_over_causal", "speedup_over_full", "predicted_over_full")
            figures = [f"{cells[key]['value']:.2f} ×" for key in ratios]
            speed.append(_line(f"{ratio} : 1{lengths[kind]}", *figures, f"{cells['max_abs_difference']['value']:.1g}"))
        elif name.startswith("frames_"):
            costs = ("prefill_seconds", "step_seconds", "peak_memory_gb", "predicted_peak_memory_gb")
            figures = [f"{cells[key]['value']:.3g}" for key in costs]
            frames.append(_line(name[7:], f"{cells['tokens']['value']:,.0f}", *figures))
        elif "speed_against_plain" in cells:
            figures = [f"{cells[key]['value']:.2g}" if key in cells else "" for key in ("cache_gb", "max_abs_difference")]
            other.append(_line(name.replace("_", " "), f"{cells['speed_against_plain']['value']:.2f} ×", *figures))
    fit, reuse = rows["linear_fit"], rows["second_trajectory"]
    slower = " and ".join(
        f"{cell['value']:.2f} of its speed with {name.split('_')[-2]} queries"
        for name, cell in rows.get("short_attention", {}).items()
    )
    profile = ", ".join(f"{name} {share:.0%}" for name, share in content["settings"]["profile_of_one_call"].items())
    said = (
        f"Attention from few targets is slower per operation than from all tokens at once: {slower}. A second trajectory computes "
        f"{reuse['context_tokens_computed']['value']:.0f} context tokens. Time of a step and memory are linear in the context "
        f"(R² {fit['step_r_squared']['value']:.3f} and {fit['memory_r_squared']['value']:.3f}); prefill is "
        f"{fit['prefill_seconds_per_token']['value'] * 1e3:.2g} ms · n + "
        f"{fit['prefill_seconds_per_token_squared']['value'] * 1e9:.2g} ns · n² in n tokens "
        f"(R² {fit['prefill_r_squared']['value']:.3f}). One call at the model's own settings: {profile}."
    )
    return "\n".join([*speed, "", said, "", *frames, "", *other])


def context_plans() -> str:
    """Quality and cost by number of context frames and by plan, and over a long path."""
    content = json.loads((RESULTS / "context_plans.json").read_text())
    settings = content["settings"]
    base_lengths, base_plans = "frames_32_with_cameras", "all"
    psnr, correlation = "co-visible PSNR (dB)", "gradient correlation"
    lengths = _head("context", "PSNR (dB)", psnr, correlation, "cost of 32 frames")
    guidance = _head("guidance", psnr, "against none (dB)", correlation, "rotation error (°)", "cost")
    planned = f"plan, of {settings['planned_frames']} frames with cameras"
    plans = _head(planned, psnr, "against `all` (dB)", correlation, "cost of `all`")
    chunks: dict[str, list[str]] = {}
    for row in content["rows"]:
        name, cells = row["name"], row["metrics"]
        quality = [_cell(cells["covisible_psnr"]), _cell(cells["gradient_correlation"])]
        if f"cost_of_{base_lengths}" in cells:
            label = name.replace("frames_", "").replace("_with_cameras", ", cameras known")
            lengths.append(_line(label, _cell(cells["psnr"]), *quality, f"{cells[f'cost_of_{base_lengths}']['value']:.2f} ×"))
        elif f"cost_of_{base_plans}" in cells:
            against = _cell(cells["covisible_psnr_against_all"])
            plans.append(_line(f"`{name}`", quality[0], against, quality[1], f"{cells[f'cost_of_{base_plans}']['value']:.2f} ×"))
        elif "cost_of_guidance_off" in cells:
            label = name.removeprefix("guidance_").replace("_", " ")
            against, rotation = _cell(cells["covisible_psnr_against_guidance_off"]), _cell(cells["rotation_error_deg"])
            cost = cells["cost_of_guidance_off"]["value"]
            guidance.append(_line(label, quality[0], against, quality[1], rotation, f"{cost:.2f} ×"))
        else:
            chunks.setdefault(name.rpartition("_chunk_")[0], []).append(f"{cells['covisible_psnr']['value']:.1f}")
    count = settings["chunks"]
    long = _head("co-visible PSNR (dB) of chunk", *(str(index + 1) for index in range(count)))
    long += [_line(name.replace("_", " "), *values) for name, values in chunks.items()]
    scenes = sorted({row["metrics"]["covisible_psnr"]["n"] for row in content["rows"]})
    ends = " to ".join(map(str, scenes[:: max(len(scenes) - 1, 1)]))
    clips = f"{ends} scenes of the test set; 95 % intervals over scenes."
    return "\n".join([clips, "", *lengths, "", *plans, "", *guidance, "", *long])


FIGURES = {
    "context_cache": context_cache, "context_plans": context_plans,
    "navigation_rooms": lambda: navigation("navigation_rooms.json", MAIN_ROWS),
    "navigation_rooms_all": lambda: navigation("navigation_rooms.json"), "navigation_real": lambda: navigation("navigation_real.json"),
    "grounding_rooms": grounding, "scoring": scoring, "geometry": geometry, "cameras": cameras, "curation": curation, "speeds": speeds,
    "metric_validation": metric_validation,
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

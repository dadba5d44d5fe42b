"""`v4s score`: compare generated videos with reference videos."""

from argparse import Namespace
from pathlib import Path

from video4spatial.cli.arguments import Parser, integer
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import counted, route_messages, say
from video4spatial.memory import check_memory
from video4spatial.naming import unknown

PIXEL_METRICS = ("psnr", "ssim", "gradient_correlation", "motion", "frozen_share", "flicker")
CAMERA_METRICS = ("epipolar_error_px", "epipolar_consistency")


def score_parser() -> Parser:
    """Options of `v4s score`."""
    parser = Parser(
        "v4s score",
        "Compare generated videos with references. Frame 0, the anchor, never counts. References are cropped centrally and\n"
        "resized to the generated video's size where they differ.\n\n"
        "Many clips at once: give folders of videos (or of folders of images, or of results of sample.py) that have the same\n"
        "names on both sides.\n"
        "Folders in them are scenes: intervals are taken over these. A reference without a generated video counts as a\n"
        "failure.",
    )
    add = parser.add_argument
    add("--generated", metavar="PATH", required=True, help="generated video, folder of images, or folder of several of these")
    add("--reference", metavar="PATH", required=True, help="true video or videos, with as many frames")
    add("--context", metavar="PATH",
        help="context video: adds the rows static (its anchor frame repeated) and mean_colour")  # fmt: skip
    add("--anchor", metavar="N", type=integer(), default=-1,
        help="anchor frame of the context, from either end (default %(default)s)")  # fmt: skip
    add("--cameras", metavar="FILE",
        help="cameras that were commanded, one per frame: adds epipolar consistency "
        "(for many clips: a folder of files)")  # fmt: skip
    add("--metrics", metavar="NAMES",
        help="names with commas between, of all clips' metrics or of metrics of the whole set (fid, kid, fvd); see docs/metrics.md "
        "(default: pixels, motion and, with cameras, epipolar consistency)")  # fmt: skip
    add("--json", metavar="FILE", help="file to write the figures to, of single clips too (default: none)")
    add("--report", metavar="FILE", help="HTML page to write (default: none)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s score`."""
    options = score_parser().parse(arguments)
    from video4spatial.evaluation.aggregation import rows_of_one_clip, rows_over_clips, too_few_scenes
    from video4spatial.evaluation.measurement import Sample
    from video4spatial.evaluation.metrics import SET_METRICS
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.video_pairs import check_pair, find_pairs, read_pair, score_pair

    route_messages()
    with user_mistakes():
        check_file(options.json, "--json")
        check_file(options.report, "--report")
        pairs = find_pairs(options.generated, options.reference, options.context, options.cameras)
        # Everything is looked at before anything is scored: a mistake in the last clip should not cost the time of the rest.
        sizes = [check_pair(pair) for pair in pairs]
    metrics, set_metrics = _chosen_metrics(options)
    with user_mistakes():
        if options.report or set_metrics:
            check_memory(sum(sizes), "scoring all clips together", "score fewer at once, or without --report and metrics of the whole set")
        check_memory(max(sizes), "scoring the longest clip", "make its videos shorter or smaller")
    scored, frames_of, samples = {}, {}, []
    figures = len(metrics) * (3 if options.context else 1)  # references stand beside a video with context
    with counted(f"scoring {len(pairs)} {'video' if len(pairs) == 1 else 'videos'}, figure by figure", len(pairs) * figures) as advance:
        for pair in pairs:
            with user_mistakes():
                clip, frames = read_pair(pair, options.anchor)
            for row, entry in score_pair(clip, frames, metrics, advance).items():
                scored.setdefault(row, []).append(entry)
            if frames is not None and options.report:
                frames_of[pair.name] = frames
            if frames is not None and set_metrics:
                samples.append(Sample(clip, frames))
            if frames is None:
                advance(len(metrics))
    if len(pairs) == 1:
        rows = rows_of_one_clip({row: clips[0].measurements for row, clips in scored.items()})
    else:
        rows = rows_over_clips(scored, metrics)
    if set_metrics:
        together = {name: SET_METRICS[name](samples) for name in set_metrics}
        rows[0]["metrics"] |= rows_of_one_clip({"generated": together})[0]["metrics"]
    _show(rows)
    few = too_few_scenes(len({pair.scene for pair in pairs}))
    if few and len(pairs) > 1:
        say(few)
    settings = {name: getattr(options, name) for name in ("generated", "reference", "context", "anchor", "cameras")}
    settings |= {"clips": len(pairs), "scenes": len({pair.scene for pair in pairs})}
    with user_mistakes():
        if options.json is not None:
            write_results(options.json, "score", settings, rows, clips=scored)
        if options.report is not None:
            _write_report(options, pairs, rows, metrics, settings, scored, frames_of)
    written = [name for name in (options.json, options.report) if name]
    if written:
        say("written to " + ", ".join(written))


def _chosen_metrics(options: Namespace) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the metrics of each clip, and of those of all clips together."""
    from video4spatial.evaluation.metrics import METRICS, SET_METRICS

    if options.metrics is None:
        return PIXEL_METRICS + (CAMERA_METRICS if options.cameras else ()), ()
    names = [name.strip() for name in options.metrics.split(",") if name.strip()]
    for name in names:
        if name not in METRICS and name not in SET_METRICS:
            raise UserError("--metrics: " + unknown("metric", name, [*METRICS, *SET_METRICS]))
    of_clips, of_sets = (tuple(name for name in names if name in known) for known in (METRICS, SET_METRICS))
    if options.report and not of_clips:
        raise UserError(f"--metrics: {options.metrics} is of all clips together, and --report needs a metric of single clips.")
    return of_clips, of_sets


def _show(rows: list[dict]) -> None:
    for row in rows:
        say(row["name"])
        for name, cell in row["metrics"].items():
            shown = cell.get("reason", cell["status"]) if cell["value"] is None else f"{cell['value']:.4f}"
            if cell["low"] is not None:
                shown += f" ({cell['low']:.4f} … {cell['high']:.4f})"
            if cell.get("coverage") is not None and cell["coverage"] < 1:
                shown += f", {100 * cell['coverage']:.0f} % measured"
                if cell["penalised"] is not None:
                    shown += f", penalised {cell['penalised']:.4f}"
            say(f"  {name:24}{shown}")


def _write_report(
    options: Namespace, pairs: list, rows: list[dict], metrics: tuple, settings: dict, scored: dict, frames_of: dict
) -> None:
    from video4spatial.evaluation.metrics import METRICS
    from video4spatial.evaluation.reports.benchmark_page import write_benchmark_page
    from video4spatial.evaluation.reports.benchmark_page import shown_clips
    from video4spatial.evaluation.video_pairs import read_pair
    from video4spatial.media import open_video

    by_name = {pair.name: pair for pair in pairs}
    shown, rate = [], 4.0
    if frames_of:
        ranking = METRICS["gradient_correlation" if "gradient_correlation" in metrics else metrics[0]]
        shown = shown_clips(lambda name: read_pair(by_name[name], options.anchor)[0], scored, {"generated": frames_of}, ranking)
        with open_video(by_name[shown[0].clip.name].generated) as video:
            rate = video.frame_rate
    write_benchmark_page(
        options.report,
        title=f"{Path(options.generated).name} against {Path(options.reference).name}",
        rows=rows,
        clips=scored,
        shown=shown,
        frame_rate=rate,
        metrics=metrics,
        settings=settings,
    )

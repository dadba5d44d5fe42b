"""`v4s score`: compare generated videos with reference videos."""

from dataclasses import dataclass
from pathlib import Path

from video4spatial.cli.arguments import Parser, integer, unknown
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.output_folder import check_file
from video4spatial.cli.terminal import counted, note, route_messages, say

PIXEL_METRICS = ("psnr", "ssim", "gradient_correlation", "motion", "frozen_share", "flicker")
CAMERA_METRICS = ("epipolar_error_px", "epipolar_consistency")
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
RATE_TOLERANCE = 0.01
"""Relative difference of frame rates that rounding in file headers may explain."""


def score_parser() -> Parser:
    """Options of `v4s score`."""
    parser = Parser(
        "v4s score",
        "Compare generated videos with references. Frame 0, the anchor, never counts. References are cropped centrally and\n"
        "resized to the generated video's size where they differ.\n\n"
        "Many clips at once: give folders of videos (or of folders of images) that have the same names on both sides.\n"
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
        help="cameras that were commanded, one per frame: adds epipolar consistency (for many clips: a folder of files)")  # fmt: skip
    add("--metrics", metavar="NAMES",
        help="names with commas between, of all clips' metrics or of metrics of the whole set (fid, kid, fvd); see docs/metrics.md "
        "(default: pixels, motion and, with cameras, epipolar consistency)")  # fmt: skip
    add("--json", metavar="FILE", help="file to write the figures to, of single clips too (default: none)")
    add("--report", metavar="FILE", help="HTML page to write (default: none)")
    return parser


def main(arguments: list[str]) -> None:
    """Run `v4s score`."""
    options = score_parser().parse(arguments)
    from video4spatial.evaluation.comparison import ScoredClip
    from video4spatial.evaluation.measurement import Measurement, Sample
    from video4spatial.evaluation.rows.references import mean_colour, static
    from video4spatial.evaluation.metrics.registry import SET_METRICS
    from video4spatial.evaluation.results import write_results
    from video4spatial.evaluation.scorecard import score_clip

    route_messages()
    with user_mistakes():
        check_file(options.json, "--json")
        check_file(options.report, "--report")
        entries = _entries(options)
        # Everything is looked at before anything is scored: a mistake in the last clip should not cost the time of the rest.
        for entry in entries:
            _check(entry)
    metrics, set_metrics = _chosen_metrics(options)
    scored, frames_of, samples = {"generated": []}, {}, []
    with counted("scoring", len(entries)) as advance:
        for entry in entries:
            with user_mistakes():
                clip, frames = _clip(entry, options.anchor)
            if frames is None:
                lost = Measurement(None, "failed", "there is no generated video")
                measurements = dict.fromkeys(metrics, lost)
            else:
                measurements = score_clip(clip, frames, metrics)
                frames_of[entry.name] = frames
                samples += [Sample(clip, frames)] if set_metrics else []
            scored["generated"].append(ScoredClip.of(clip, measurements))
            for row in (static, mean_colour) if entry.context is not None else ():
                scored.setdefault(row.__name__, []).append(ScoredClip.of(clip, score_clip(clip, row(clip), metrics)))
            advance()
    if len(entries) == 1:
        rows = result_rows({row: clips[0].measurements for row, clips in scored.items()})
    else:
        rows = _rows(scored, metrics)
    if set_metrics:
        together = {name: SET_METRICS[name](samples) for name in set_metrics}
        rows[0]["metrics"] |= result_rows({"generated": together})[0]["metrics"]
    _show(rows)
    settings = {name: getattr(options, name) for name in ("generated", "reference", "context", "anchor", "cameras")}
    settings |= {"clips": len(entries), "scenes": len({entry.scene for entry in entries})}
    if options.json is not None:
        with user_mistakes():
            write_results(options.json, "score", settings, rows, clips=scored)
    if options.report is not None:
        with user_mistakes():
            _write_report(options, entries, rows, metrics, settings, scored, frames_of)
    written = [name for name in (options.json, options.report) if name]
    if written:
        say("written to " + ", ".join(written))


def _chosen_metrics(options) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the metrics of each clip, and of those of all clips together."""
    from video4spatial.evaluation.metrics.registry import METRICS, SET_METRICS

    if options.metrics is None:
        return PIXEL_METRICS + (CAMERA_METRICS if options.cameras else ()), ()
    names = [name.strip() for name in options.metrics.split(",") if name.strip()]
    for name in names:
        if name not in METRICS and name not in SET_METRICS:
            raise UserError("--metrics: " + unknown("metric", name, [*METRICS, *SET_METRICS]))
    return tuple(name for name in names if name in METRICS), tuple(name for name in names if name in SET_METRICS)


def result_rows(scored: dict[str, dict]) -> list[dict]:
    """Rows of a results file from measurements of one clip, by row and metric."""
    from video4spatial.evaluation.results import metric

    return [
        {
            "name": name,
            "metrics": {
                key: metric(m.value, n=1, status=m.status) | ({"reason": m.reason} if m.reason else {})
                for key, m in measurements.items()
            },
        }
        for name, measurements in scored.items()
    ]


def _rows(scored: dict[str, list], metrics: tuple[str, ...]) -> list[dict]:
    """Rows of a results file over many clips: raw and penalised means, coverage, intervals over scenes."""
    from video4spatial.evaluation.metrics.registry import METRICS
    from video4spatial.evaluation.scorecard import aggregate

    return [
        {
            "name": row,
            "metrics": {
                name: aggregate(METRICS[name], [(clip.scene, clip.measurements[name]) for clip in clips]).cell() for name in metrics
            },
        }
        for row, clips in scored.items()
    ]


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


@dataclass(frozen=True)
class _Entry:
    """The files of one clip; `generated` is None where there is none."""

    name: str
    scene: str
    reference: Path
    generated: Path | None
    context: Path | None
    cameras: Path | None


def _entries(options) -> list[_Entry]:
    generated, reference = (_videos(getattr(options, name)) for name in ("generated", "reference"))
    context = _videos(options.context) if options.context else None
    single = [videos for videos in (generated, reference) if isinstance(videos, Path)]
    if len(single) == 1:
        raise ValueError(f"{single[0]} is one video and the other side holds several: expected one or several on both sides.")
    if single:
        if isinstance(context, dict):
            raise ValueError(f"{options.context} holds several videos for one generated video.")
        cameras = Path(options.cameras) if options.cameras else None
        return [_Entry("generated", reference.name, reference, generated, context, cameras)]
    strangers = sorted(set(generated) - set(reference))
    if strangers:
        raise ValueError(f"{options.generated}: no reference for {_listed(strangers)} in {options.reference}.")
    lost = [name for name in reference if name not in generated]
    if lost:
        note(f"{len(lost)} of {len(reference)} clips have no generated video and count as failures: {_listed(lost)}.")
    cameras = dict.fromkeys(reference)
    if options.cameras:
        found = {path.relative_to(options.cameras).with_suffix("").as_posix(): path for path in Path(options.cameras).rglob("*.*")}
        unknown = [name for name in reference if name not in found]
        if unknown:
            raise ValueError(f"{options.cameras}: no cameras for {_listed(unknown)}; expected a file NAME.json or the like per clip.")
        cameras = found
    if isinstance(context, dict) and set(reference) - set(context):
        raise ValueError(f"{options.context}: no context for {_listed(sorted(set(reference) - set(context)))}.")
    return [
        _Entry(name, name.rpartition("/")[0] or name, path, generated.get(name),
               context[name] if isinstance(context, dict) else context, cameras[name])
        for name, path in reference.items()
    ]  # fmt: skip


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _videos(path: str) -> Path | dict[str, Path]:
    """A single video, or the videos of a folder by their names without suffix, those of folders in it with `scene/` before."""
    from video4spatial.media import image_paths

    root = Path(path)
    if not root.is_dir() or image_paths(root):
        return root
    found: dict[str, Path] = {}
    for entry in sorted(root.rglob("*")):
        name = entry.relative_to(root)
        if entry.is_dir() and image_paths(entry):
            found[name.as_posix()] = entry
        elif entry.is_file() and entry.suffix.lower() in SUFFIXES:
            found[name.with_suffix("").as_posix()] = entry
    if not found:
        raise ValueError(f"{path}: no images, videos, or folders of images in it.")
    return found


def _check(entry: _Entry) -> None:
    """Refuse what cannot be compared frame by frame, before anything is decoded."""
    from video4spatial.cameras import read_cameras
    from video4spatial.media import open_video

    if entry.generated is None:
        return
    with open_video(entry.generated) as generated, open_video(entry.reference) as reference:
        if len(generated) != len(reference):
            raise ValueError(f"{entry.generated} has {len(generated)} frames and {entry.reference} {len(reference)}: expected as many.")
        if len(generated) < 2:
            raise ValueError(f"{entry.generated} has {len(generated)} frame: frame 0 never counts, so at least 2 are needed.")
        # Images have no times, so that nothing can be said about theirs.
        timed = entry.generated.is_file() and entry.reference.is_file()
        rates = generated.frame_rate, reference.frame_rate
        if timed and abs(rates[0] - rates[1]) > RATE_TOLERANCE * max(rates):
            raise ValueError(
                f"{entry.generated} has {rates[0]:g} frames per second and {entry.reference} {rates[1]:g}: frames of one number show "
                "different moments. Bring both to one rate."
            )
        count = len(generated)
    commanded = count if entry.cameras is None else len(read_cameras(entry.cameras))
    if commanded != count:
        raise ValueError(f"{entry.cameras} holds {commanded} cameras for {count} frames: expected one per frame.")


def _clip(entry: _Entry, anchor: int):
    """A clip that knows what the options tell, and the generated frames or None."""
    import hashlib

    import numpy as np
    import torch

    from video4spatial.cameras import Cameras, read_cameras
    from video4spatial.clips import Clip, Navigate

    original = reference = _read(entry.reference)
    frames = None if entry.generated is None else _read(entry.generated)
    height, width = (reference if frames is None else frames).shape[1:3]
    reference = _fitted(reference, height, width, entry.reference)
    if frames is not None:
        _note_oddities(frames, reference, entry.generated)
    context = np.zeros((0, height, width, 3), dtype=np.uint8)
    if entry.context is not None:
        context = _fitted(_read(entry.context), height, width, entry.context)
        if not -len(context) <= anchor < len(context):
            raise ValueError(f"--anchor {anchor} is outside the {len(context)} frames of {entry.context}.")
    if entry.cameras is not None:
        cameras = read_cameras(entry.cameras)
    else:
        # No metric that is asked for without --cameras looks at them.
        cameras = Cameras.from_fov(torch.eye(4).expand(len(reference), 4, 4))
    clip = Clip(
        name=entry.name,
        scene=entry.scene,
        context_frames=context,
        context_times=np.arange(len(context), dtype=np.float64),
        instruction=Navigate(cameras),
        anchor=anchor % max(len(context), 1),
        target_frames=reference,
        provenance={"reference": hashlib.sha256(original.tobytes()).hexdigest()},
    )
    return clip, frames


def _note_oddities(frames, reference, path: Path) -> None:
    """Frames that can be scored, but say that something went wrong before."""
    import numpy as np

    blank = np.flatnonzero(frames.reshape(len(frames), -1, 3).std(1).max(1) < 0.5)
    if len(blank):
        shown = ", ".join(map(str, blank[:8])) + (", ..." if len(blank) > 8 else "")
        note(f"{path}: {len(blank)} of {len(frames)} frames are blank (one colour all over): {shown}.")
    if (frames == frames[..., :1]).all() and not (reference == reference[..., :1]).all():
        note(f"{path} is grey and the reference has colours: it is scored as it is.")


def _read(path: Path):
    from video4spatial.media import open_video

    with open_video(path) as video:
        return video.read(range(len(video)))


def _fitted(frames, height: int, width: int, name: Path):
    from video4spatial.media import resize_and_crop

    if frames.shape[1:3] == (height, width):
        return frames
    note(f"{name} of {frames.shape[2]}x{frames.shape[1]} is cropped centrally and resized to {width}x{height}.")
    return resize_and_crop(frames, height, width)[0]


def _write_report(options, entries, rows, metrics, settings, scored, frames_of) -> None:
    from video4spatial.evaluation.metrics.registry import METRICS
    from video4spatial.evaluation.reports.report import shown_clips, write_benchmark_report
    from video4spatial.media import open_video

    by_name = {entry.name: entry for entry in entries}
    shown, rate = [], 4.0
    if frames_of:
        shown = shown_clips(
            lambda name: _clip(by_name[name], options.anchor)[0], scored, {"generated": frames_of}, METRICS["gradient_correlation"]
        )
        with open_video(by_name[shown[0].clip.name].generated) as video:
            rate = video.frame_rate
    write_benchmark_report(
        options.report,
        title=f"{Path(options.generated).name} against {Path(options.reference).name}",
        rows=rows,
        clips=scored,
        shown=shown,
        frame_rate=rate,
        metrics=metrics,
        settings=settings,
    )

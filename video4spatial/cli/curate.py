"""`v4s curate`: raw captures in. Today `inspect`, which says what a source holds and whether its cameras fit its pictures."""

import statistics

from video4spatial.cli.arguments import Parser, integer, run_action
from video4spatial.cli.errors import UserError, user_mistakes
from video4spatial.cli.terminal import note, route_messages, say, stage

CONTEXTS_TRIED = 12


def main(arguments: list[str]) -> None:
    """Run `v4s curate inspect`."""
    run_action("v4s curate", {"inspect": inspect}, {"inspect": "SOURCE [options]"}, arguments)


def inspect_parser() -> Parser:
    """Options of `v4s curate inspect`."""
    parser = Parser(
        "v4s curate inspect",
        "Say what a source of captures holds: frames, cameras, convention, licence, what is left out and why, poor frames, "
        "cuts, breaks of the path, navigation targets and how much of them the rest of the capture shows, and how far matching "
        "pixels lie from the epipolar lines of the cameras.",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="folder or file of captures, or simulated rooms such as train:0-3")
    add("--reader", metavar="NAME", help="how to read it (default: the first reader that finds scenes)")
    add("--scenes", metavar="N", type=integer(1), default=8, help="look into the first so many (default %(default)s)")
    add("--pairs", metavar="N", type=integer(0), default=24,
        help="pairs of frames for the epipolar check, 0 leaves it out (default %(default)s)")  # fmt: skip
    add("--gap", metavar="N", type=integer(1), default=3, help="frames between the two of a pair (default %(default)s)")
    return parser


def inspect(arguments: list[str]) -> None:
    """Print what a source holds."""
    options = inspect_parser().parse(arguments)
    from data_curation.readers import ReaderError, find_scenes, read_scene

    route_messages()
    with user_mistakes():
        reader, scenes = find_scenes(options.source, options.reader)
    say(f"{len(scenes)} scenes read by {reader}")
    failed = 0
    for scene in scenes[: options.scenes]:
        try:
            capture = read_scene(reader, scene)
            lines = _described(capture, options.pairs, options.gap)
        except (ReaderError, ValueError, OSError) as error:
            failed += 1
            note(f"{scene}: {error}")
            continue
        say("\n".join(["", *lines]))
    if len(scenes) > options.scenes:
        say(f"\n{len(scenes) - options.scenes} more (--scenes)")
    if failed:
        raise UserError(f"{failed} of {min(len(scenes), options.scenes)} scenes could not be read: see above")


def _described(capture, pairs: int, gap: int) -> list[str]:
    """Lines about a capture."""
    import numpy as np

    from data_curation.stages.context import ContextSettings, select_context
    from data_curation.stages.cuts import cut_scores, shots
    from data_curation.stages.epipolar import epipolar_check
    from data_curation.stages.frame_quality import rejected_frames, score_frames
    from data_curation.stages.pose_quality import broken_steps, path_problem, score_poses, stretches
    from data_curation.stages.windows import navigation_windows

    seconds = float(capture.times[-1] - capture.times[0])
    lines = [
        f"capture       {capture.name}",
        f"frames        {len(capture)} of {capture.width}x{capture.height}, {seconds:.1f} s",
        f"read as       {capture.provenance.get('convention', 'exact cameras of the simulator')}",
        f"licence       {capture.licence}, {'may' if capture.redistributable else 'may not'} be passed on",
        f"has           {', '.join(_parts(capture))}",
    ]
    for reason, names in capture.provenance.get("left_out", {}).items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        lines.append(f"left out      {len(names)} {reason} ({shown})")
    with stage(f"judging the frames of {capture.name}"):
        reasons = rejected_frames(score_frames(capture))
    lines.append(f"poor frames   {_counted({reason: int(mask.sum()) for reason, mask in reasons.items()})}")
    poor = np.logical_or.reduce(list(reasons.values()))
    if capture.cameras is None:
        with stage(f"looking for cuts in {capture.name}"):
            lines.append(f"shots         {len(shots(cut_scores(capture), least_frames=1))}")
    else:
        unit = "m" if capture.cameras.metric else "(unknown unit)"
        lines.append(
            f"path          {float(capture.cameras.path_length()):.2f} {unit}, field of view {float(capture.cameras.fov_degrees[0]):.0f}°"
        )
        broken = broken_steps(score_poses(capture.cameras, capture.times), capture.cameras.metric)
        lines.append(f"broken steps  {_counted({reason: int(mask.sum()) for reason, mask in broken.items()})}")
        lines += [f"unusable      {problem}" for problem in [path_problem(capture.cameras)] if problem]
        windows = navigation_windows(capture, stretches(broken, len(capture)), poor)
        rejected = _counted(windows.rejected)
        lines.append(f"navigation    {len(windows.kept)} targets" + (f"; left out: {rejected}" if windows.rejected else ""))
        if windows.kept:
            tried = windows.kept[:: -(-len(windows.kept) // CONTEXTS_TRIED)]
            with stage(f"choosing contexts in {capture.name}"):
                contexts = [select_context(capture, target, ~poor) for target in tried]
            covered = sum(context.coverage >= ContextSettings().least_coverage for context in contexts)
            median = statistics.median(context.coverage for context in contexts)
            lines.append(
                f"context       covers {median:.0%} of a target (median of {len(contexts)}, by {contexts[0].method}), enough for {covered}"
            )
        if pairs:
            with stage(f"matching frames of {capture.name}"):
                check = epipolar_check(capture, gap, pairs)
            lines.append(f"epipolar      {_checked(check)}")
    return lines


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count) or "none"


def _parts(capture) -> list[str]:
    parts = ["pictures"]
    parts += ["cameras"] if capture.cameras is not None else []
    parts += ["depth"] if capture.read_depth is not None else []
    parts += ["instances"] if capture.read_instances is not None else []
    return parts + ([f"{len(capture.objects)} objects"] if capture.objects else [])


def _checked(check) -> str:
    if check.median_pixels is None:
        return f"no pair of {check.tried} had enough matches and moved"
    return (
        f"{check.median_pixels:.2f} px median from the lines over {check.pairs} pairs ({check.motion_pixels:.0f} px of motion); "
        f"{check.good_share:.0%} of pairs at most 2 px; cameras inverted: {check.inverted_pixels:.1f} px"
    )

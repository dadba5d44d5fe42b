"""`v4s curate`: raw captures in, a data set out.

`build` makes it, `report` shows what was made, `inspect` looks into a source first.
"""

import shlex
import statistics
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.table import Table

from video4spatial.cli.arguments import Parser, integer, not_mappings, nothing_given, plain_complaint, run_action
from video4spatial.cli.errors import UserError, describe, in_flags, user_mistakes
from video4spatial.cli.terminal import console, note, route_messages, say, stage
from video4spatial.waits import Wait, counted

FAILURES_SHOWN = 10

BUILD_USAGE = """usage: v4s curate build --config FILE --output DIR [--KEY VALUE ...]

Make a data set of clips from captures: manifest, shards and report. Started again, it goes on where it stopped.

  --config FILE       YAML file with any of the keys, such as configs/curation/rooms.yaml, which explains each; the command line wins
  --sources LIST      where captures come from, such as '[{path: train:0-9}]'
  --output DIR        folder of the data set; an earlier build in it is gone on with
  --stages.KEY, --dataset.KEY, --shards.KEY, --work.KEY VALUE
                      settings of the stages, of the choice of clips, of the pixels that are written, and of how it is done

v4s curate build --help keys lists all keys with their types and defaults."""


def main(arguments: list[str]) -> None:
    """Run `v4s curate build`, `report` or `inspect`.

    Args:
        arguments: those after the verb, the action first.

    Raises:
        UserError: for another action, or as of the action.
    """
    usage = {"build": "--config FILE --output DIR [--KEY VALUE ...]", "report": "DIR", "inspect": "SOURCE [options]"}
    run_action("v4s curate", {"build": build, "report": report, "inspect": inspect}, usage, arguments)


def build_parser():
    """Options of `v4s curate build`; those of a configuration file and more."""
    from jsonargparse import ActionConfigFile, ArgumentParser

    from data_curation.build import Source, Work
    from data_curation.dataset import DatasetSettings
    from data_curation.pipeline import StageSettings
    from data_curation.shards import ShardSettings

    class PlainParser(ArgumentParser):
        """Raises its complaints as one line."""

        def error(self, message: str, exception: Exception | None = None) -> None:
            known = [action.dest for action in self._actions]
            raise UserError(plain_complaint(str(exception or message), known))

    parser = PlainParser(
        prog="v4s curate build",
        description="Make a data set of clips from captures: manifest, shards and report. "
        "Started again, it goes on where it stopped.",
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of these keys; the command line wins")
    parser.add_argument("--sources", type=list[Source], help="where captures come from, such as '[{path: train:0-9}]'")
    parser.add_argument("--output", type=str, help="folder of the data set; an earlier build in it is gone on with")
    parser.add_argument("--replace", action="store_true", help="let go of scenes that an earlier build had of other sources")
    parser.add_argument("--stages", type=StageSettings, default=StageSettings())
    parser.add_argument("--dataset", type=DatasetSettings, default=DatasetSettings())
    parser.add_argument("--shards", type=ShardSettings, default=ShardSettings())
    parser.add_argument("--work", type=Work, default=Work())
    return parser


def read_build_options(parser, arguments: list[str]):
    """What a command line of `v4s curate build` asks for.

    Args:
        parser: of `build_parser`.
        arguments: those after the action.

    Raises:
        UserError: for options that are missing or wrong.
    """
    from data_curation.build import Work
    from data_curation.dataset import DatasetSettings
    from data_curation.pipeline import StageSettings
    from data_curation.shards import ShardSettings

    with user_mistakes():
        try:
            options = parser.parse_args(arguments)
        except OverflowError as error:
            raise UserError(f"a number among the settings is too large ({error})") from error
        missing = [f"--{name}" for name in ("sources", "output") if not getattr(options, name)]
        if missing:
            raise UserError(f"{' and '.join(missing)} missing: see v4s curate build --help, and configs/curation/rooms.yaml")
        if wrong := not_mappings(options.as_dict(), parser.get_defaults().as_dict()):
            raise UserError(f"{', '.join(wrong)}: expected a mapping of settings")
        groups = {"stages": StageSettings, "dataset": DatasetSettings, "shards": ShardSettings, "work": Work}
        if wrong := [key for name, kind in groups.items() for key in nothing_given(options[name].as_dict(), kind, name)]:
            raise UserError(f"{', '.join(wrong)}: null given, a value is needed; leave the key out for its default")
        return parser.instantiate(options)


def build(arguments: list[str]) -> None:
    """Make a data set, or go on with one.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for options that are wrong, an output that cannot be written, or too many scenes that failed.
    """
    if arguments in (["-h"], ["--help"]):
        print(BUILD_USAGE)
        return
    parser = build_parser()
    if arguments == ["--help", "keys"]:
        parser.print_help()
        return
    made = read_build_options(parser, arguments)
    from data_curation.build import BuildError
    from data_curation.build import build as build_dataset
    from data_curation.readers import ReaderError, find_scenes, unread_files
    from data_curation.report import write_report

    route_messages()
    for source in made.sources:
        with suppress(ReaderError):  # told by the build itself
            for sentence in unread_files(source.path, find_scenes(source.path, source.reader)):
                note(f"{source.path}: {sentence}")
    with _shown_progress() as progress:
        try:
            summary = build_dataset(
                made.sources, made.output, made.stages, made.dataset, made.shards, made.work, progress=progress,
                replace=made.replace,
            )  # fmt: skip
        except (BuildError, ImportError) as error:
            raise UserError(in_flags(str(error))) from error
        except OSError as error:  # scenes keep theirs to themselves: this is the output
            raise UserError(f"{describe(error)}; what is finished stays, and the same command goes on from there") from error
    for failure in summary.failures[:FAILURES_SHOWN]:
        note(f"{failure['key']} failed at {failure['stage']}: {failure['reason']}")
    if len(summary.failures) > FAILURES_SHOWN:
        say(f"... and {len(summary.failures) - FAILURES_SHOWN} more, in the report")
    console.print(_funnel_table(summary.stages))
    say(f"scenes  {_counted(summary.scenes)}")
    if summary.complete:
        for split, kinds in summary.clips.items():
            say(f"{split:8}{', '.join(f'{number} {kind}' for kind, number in kinds.items())} clips")
        with stage("writing the report"):
            page = write_report(made.output)
        say(f"{made.output}: manifest.parquet{', shards/' if (Path(made.output) / 'shards').is_dir() else ''}, {page.name}")
    else:
        say("one of several jobs: when all are done, build once more without --work.num_shards and --work.shard_index")
    shards_failed = summary.stages.get("shards", {}).get("failed", 0)
    if summary.failed_share > made.work.most_failed or shards_failed:
        failed, total = summary.scenes.get("failed", 0), sum(summary.scenes.values())
        what = f"{failed} of {total} scenes failed (allowed: {made.work.most_failed:.0%})"
        raise UserError(what + (f" and {shards_failed} clips have no pixels" if shards_failed else "") + "; the rest is in place")


def report(arguments: list[str]) -> None:
    """Write the report of a data set again.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a folder that holds none.
    """
    parser = Parser(
        "v4s curate report",
        "Write report.html of a data set: counts by stage and reason, histograms, examples, paths, licences.",
    )
    parser.add_argument("folder", metavar="DIR", help="what `v4s curate build` wrote")
    options = parser.parse(arguments)
    from data_curation.report import write_report

    with user_mistakes(), stage("writing the report"):
        page = write_report(options.folder)
    say(str(page))


@contextmanager
def _shown_progress():
    """Shows how far a build is, with the clips found so far; yields the function to tell it."""
    from data_curation.records import add_counts

    counts: dict[str, dict] = {}
    shown: dict[str, Wait] = {}

    def tell(what: str, done: int, total: int, summary: dict) -> None:
        add_counts(counts, summary)
        if what not in shown:
            current.close()
            shown[what] = current.enter_context(counted(f"going through {what}" if what == "scenes" else f"writing {what}", total, say))
        if what == "scenes":
            kept = [f"{name} {step['kept']}" for name, step in counts.items() if name in ("windows", "navigation", "grounding")]
            shown[what].describe(", ".join(kept) or "nothing kept yet")
        shown[what].advance(1 if done else 0)

    with ExitStack() as current:
        yield tell


def _funnel_table(stages: dict[str, dict]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title, style in [("stage", ""), ("kept", "green"), ("", "dim"), ("filtered", "yellow"), ("failed", "red")]:
        table.add_column(title, style=style, justify="right" if title in ("kept", "failed") else "left")
    for name, step in stages.items():
        failed = str(step.get("failed") or "")
        table.add_row(name, str(step["kept"]), step["unit"], _counted(step["filtered"]) if step["filtered"] else "", failed)
    return table


def inspect_parser() -> Parser:
    """Options of `v4s curate inspect`."""
    parser = Parser(
        "v4s curate inspect",
        "Say what a source of captures holds: frames, cameras, convention, licence, how far matching pixels lie from the epipolar "
        "lines of the cameras, and what every stage of a build would keep and leave out.",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help="folder or file of captures, or simulated rooms such as train:0-3")
    add("--reader", metavar="NAME", help="read only the scenes of this one (default: those of all)")
    add("--scenes", metavar="N", type=integer(1), default=8, help="look into the first so many (default %(default)s)")
    add("--pairs", metavar="N", type=integer(0), default=24,
        help="pairs of frames for the epipolar check, 0 leaves it out (default %(default)s)")  # fmt: skip
    add("--gap", metavar="N", type=integer(1), default=3, help="frames between the two of a pair (default %(default)s)")
    return parser


def inspect(arguments: list[str]) -> None:
    """Print what a source holds.

    Args:
        arguments: those after the action.

    Raises:
        UserError: for a source in which nothing is found, or scenes that cannot be read.
    """
    options = inspect_parser().parse(arguments)
    from data_curation.pipeline import StageSettings
    from data_curation.readers import find_scenes, unread_files
    from data_curation.running import EXPECTED_ERRORS, SceneTask, run_stages
    from data_curation.stages.cameras import EpipolarSettings

    route_messages()
    with user_mistakes():
        scenes = find_scenes(options.source, options.reader)
        unread = unread_files(options.source, scenes)
    readers = Counter(reader for reader, _ in scenes)
    counts = [f"{reader} ({count})" if len(readers) > 1 else reader for reader, count in readers.items()]
    say(f"{len(scenes)} scenes read by {', '.join(counts)}")
    for sentence in unread:
        note(sentence)
    settings = StageSettings(epipolar=EpipolarSettings(options.pairs, options.gap))
    failed = 0
    for reader, scene in scenes[: options.scenes]:
        try:
            with stage(f"going through {scene}"):
                record = run_stages(SceneTask(scene, reader, scene, {}, settings, ""))
        except EXPECTED_ERRORS as error:
            failed += 1
            note(str(error) if str(scene) in str(error) else f"{scene}: {error}")
            continue
        say("\n".join(["", *_described(record)]))
        console.print(_funnel_table(record["stages"]))
    if len(scenes) > options.scenes:
        say(f"\n{len(scenes) - options.scenes} more (--scenes)")
    if failed:
        raise UserError(f"{failed} of {min(len(scenes), options.scenes)} scenes could not be read: see above")


def _described(record: dict) -> list[str]:
    """Lines about a capture."""
    data = {name: result["data"] for name, result in record["stages"].items()}
    capture = data["ingest"]
    if record["reason"] == "source_missing":
        return [f"capture       {record['scene']}", f"result        filtered: {capture['problem']}", ""]
    parts = ["pictures", *(part.removeprefix("read_") for part in capture["has"])]
    lines = [
        f"capture       {capture['name']}",
        f"frames        {capture['frames']} of {capture['width']}x{capture['height']}, {capture['seconds']:.1f} s",
        f"licence       {capture['licence']}, {'may' if capture['redistributable'] else 'may not'} be passed on",
        f"has           {', '.join(parts)}",
    ]
    if "cameras" in data and data["cameras"]:
        unit = "m" if data["cameras"]["metric"] else "(unknown unit)"
        lines.append(f"cameras       {data['cameras']['convention']}; {data['cameras']['path']:.2f} {unit} of path")
    if "epipolar" in data:
        lines.append(f"epipolar      {_checked(data['epipolar'])}")
    if record["stages"].get("navigation", {}).get("kept"):
        clips = data["navigation"]["clips"]
        median = statistics.median(clip["coverage"] for clip in clips)
        lines.append(f"context       covers {median:.0%} of a target (median of {len(clips)}, by {clips[0]['method']})")
    lines += [f"note          {sentence}" for sentence in capture["remarks"]]
    what = "filtered: " + record["reason"] if record["status"] == "filtered" else "kept"
    if record["reason"] == "no_cameras":
        what += (
            f" (v4s geometry {shlex.quote(record['scene'])} --output DIR finds them and writes a scene that can be read with them; "
            "a build finds them with --stages.reconstruction '{}')"
        )
    return [*lines, f"result        {what}", ""]


def _counted(reasons: dict[str, int]) -> str:
    """ "3 blurred, 1 dark", or "none"."""
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count) or "none"


def _checked(check: dict) -> str:
    if check["median_pixels"] is None:
        return f"no pair of {check['tried']} had enough matches and moved" if check.get("tried") else "not asked for"
    return (
        f"{check['median_pixels']:.2f} px median from the lines over {check['pairs']} pairs "
        f"({check['motion_pixels']:.0f} px of motion); {check['good_share']:.0%} of pairs at most 2 px; "
        f"cameras inverted: {check['inverted_pixels']:.1f} px"
    )

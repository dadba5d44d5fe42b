"""`sample.py many`: many paths through one video, shared out over processes, taken up again where a run was cut off."""

from __future__ import annotations

import re
import traceback
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from video4spatial.cli.arguments import read_yaml
from video4spatial.cli.errors import UserError, describe, refused_by_disk, user_mistakes
from video4spatial.cli.output_folder import MARK, output_folder
from video4spatial.cli.sample_options import SampleSettings, footage_arguments, many_parser, sample_settings
from video4spatial.cli.sample_run import Request, check_room_for, requested_of_footage, scene_of, video_of, write_result
from video4spatial.cli.terminal import load_pipeline, note, route_messages, say, stage
from video4spatial.files import remove_leftovers
from video4spatial.naming import unknown
from video4spatial.pretrained import read_model_folder

if TYPE_CHECKING:
    from video4spatial.clips.footage import Footage
    from video4spatial.conditioning.plans import ContextPlan

PATIENCE = timedelta(days=30)
"""How long processes that have finished their jobs wait for the others."""
NAME = re.compile(r"\w[\w.+-]*(?<!\.part)(?<!\.old)")
"""Names of folders that are the same everywhere and never those that hold unfinished results."""


@dataclass(frozen=True)
class Job:
    """One path through a scene.

    Args:
        name: of its folder.
        trajectory: words or a file.
        anchor: frame of the context it starts from, counted from either end.
        frames: to generate, the anchor's included; None for as many as the model was trained with.
        seed: of the noise.
        prompt: for models that read text, or None.
    """

    name: str = ""
    trajectory: str = ""
    anchor: int = -1
    frames: int | None = None
    seed: int = 0
    prompt: str | None = None


LEAST = {"frames": 2, "seed": 0, "anchor": None}
KEYS = tuple(field.name for field in fields(Job))


@dataclass(frozen=True)
class Task:
    """A job that is known to be possible.

    Args:
        name: of the job.
        request: the video to make; those of one scene share their context.
        plan: what of the context the model is shown.
        scene: equal for tasks that need the same encoded scene.
    """

    name: str
    request: Request
    plan: ContextPlan
    scene: Hashable


def many(arguments: list[str]) -> None:
    """Follow many paths through the user's own video.

    Args:
        arguments: options of `many_parser`.

    Raises:
        UserError: what the user can put right, and jobs that failed.
    """
    options = many_parser().parse(arguments)
    with user_mistakes():
        model = read_model_folder(options.model)
        footage = footage_arguments(options, model)
    output = Path(options.output)
    if output.is_file():
        raise UserError(f"{output} is a file: choose another --output")
    jobs = read_jobs(options.jobs, Job("", "", options.anchor, options.frames, options.seed, options.prompt))
    for job in jobs:
        if job.prompt and not model.reads_text:
            raise UserError(f"{options.jobs}: job {job.name!r} has a prompt, but this model reads no text; leave prompts out")
    settings = sample_settings(options, model, "--context-cameras", options.context_cameras is not None)
    route_messages()
    with stage("reading the context and all paths"):
        tasks = _tasks(jobs, options.jobs, footage, settings)
    _check_one_scene(tasks, settings)
    _share_out(tasks, output, options.overwrite, settings)


def read_jobs(path: str | Path, default: Job) -> list[Job]:
    """Read a jobs file.

    Args:
        path: YAML: a list of mappings with `name` and `trajectory`, and perhaps `anchor`, `frames`, `seed` and `prompt`.
        default: what entries leave out is as in this job.

    Returns:
        The jobs in the order of the file.

    Raises:
        UserError: naming all that is wrong, entry by entry.
    """
    entries = read_yaml(path)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: expected a list of jobs, such as '- {{name: left, trajectory: turn left 30}}'")
    problems, jobs, seen = [], [], {}
    for number, entry in enumerate(entries, start=1):
        named = f"entry {number}"
        if not isinstance(entry, dict):
            problems.append(f"{named}: expected a mapping with name and trajectory, got {entry!r}")
            continue
        name = entry.get("name")
        named += f" ({name!r})" if name is not None else ""
        wrong = _problems(entry)
        if name in seen:
            wrong.append(f"the name is that of entry {seen[name]} as well")
        problems += [f"{named}: {problem}" for problem in wrong]
        if not wrong:
            seen[name] = number
            jobs.append(replace(default, **{key: value for key, value in entry.items() if value is not None}))
    if problems:
        raise UserError(f"{path}: " + "; ".join(problems))
    return jobs


def _problems(entry: dict) -> list[str]:
    problems = [unknown("key", str(key), KEYS) + f"; known: {', '.join(KEYS)}" for key in entry if key not in KEYS]
    for key in ("name", "trajectory", "prompt"):
        value = entry.get(key)
        if value is None and key != "prompt":
            problems.append(f"{key} is missing")
        elif value is not None and not isinstance(value, str):
            problems.append(f"{key} {value!r}: expected words; put them in quotes")
    name = entry.get("name")
    if isinstance(name, str) and not NAME.fullmatch(name):
        problems.append("a name becomes a folder: expected letters, digits, '.', '+', '-' and '_', not ending in .part or .old")
    for key, least in LEAST.items():
        value = entry.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(f"{key} {value!r}: expected a whole number")
        elif least is not None and value < least:
            problems.append(f"{key} {value}: expected at least {least}")
    return problems


def _share_out(tasks: list[Task], output: Path, overwrite: bool, settings: SampleSettings) -> None:
    """Let every process do its part of the tasks that are left, and tell what became of all."""
    from accelerate import PartialState
    from accelerate.utils import gather_object

    on_cpu = settings.loading.resolved_device() == "cpu"
    state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    loading = replace(settings.loading, device="cpu" if on_cpu else str(state.device))
    settings = replace(settings, loading=loading, save_scene=settings.save_scene if state.is_main_process else None)
    finished = [] if overwrite else [task.name for task in tasks if (output / task.name / MARK).is_file()]
    if state.is_main_process and output.is_dir():
        remove_leftovers(output)
    state.wait_for_everyone()  # nobody writes before everybody knows what is left to do
    if state.is_main_process:
        for sentence in dict.fromkeys(sentence for task in tasks for sentence in task.request.notes):
            note(sentence)
        if finished:
            names = ", ".join(finished)
            note(f"{len(finished)} of {len(tasks)} jobs are finished already and left alone: {names} (--overwrite).")
    with state.split_between_processes([task for task in tasks if task.name not in finished]) as mine:
        # Gathering waits for all processes: the first to end with an error would end the others.
        failures = gather_object(_carry_out(mine, output, overwrite, settings))
    if state.is_main_process:
        say(f"\n{len(tasks) - len(finished) - len(failures)} new results in {output}")
    state.destroy_process_group()
    if failures and state.is_main_process:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures)
        raise UserError(f"{len(failures)} of {len(tasks)} jobs failed (run the same command again for these): {reasons}")


def _carry_out(tasks: Sequence[Task], output: Path, overwrite: bool, settings: SampleSettings) -> list[tuple[str, str]]:
    """Do tasks one after another; returns the names of those that failed, and why."""
    if not tasks:
        return []
    pipeline = load_pipeline(settings.model, settings.loading)
    scene, context, failures = None, None, []
    for place, task in enumerate(tasks, start=1):
        say(f"\n{task.name} ({place} of {len(tasks)})")
        request = replace(task.request, settings=replace(task.request.settings, loading=settings.loading))
        try:
            with output_folder(output / task.name, overwrite) as folder:
                check_room_for(request, task.plan)
                if task.scene != scene:
                    scene = context = None  # its memory goes before the next one comes
                    context = scene_of(pipeline, request.clip, task.plan, settings)
                    scene = task.scene
                write_result(folder, request, video_of(pipeline, context, request))
        except Exception as error:  # whatever became of it, the other jobs are still wanted
            if not isinstance(error, UserError) and refused_by_disk(error) is None:
                traceback.print_exc()
            note(f"{task.name} failed: {describe(error)}")
            failures.append((task.name, describe(error)))
    return failures


def _tasks(jobs: list[Job], path: str, footage: dict, settings: SampleSettings) -> list[Task]:
    """All jobs, those of one scene in a row; every mistake in any of them is told here."""
    anchors, problems, total = _anchors(jobs, footage)
    read = _footage_by_anchor(sorted(set(anchors.values())), total, footage, settings)
    tasks, plans = [], {}
    for job, anchor in anchors.items():
        try:
            task = _task(job, read[anchor], plans.get(anchor), settings, footage["context"])
        except (ValueError, OSError) as error:
            problems.append(f"job {job.name!r}: {describe(error)}")
            continue
        plans[anchor] = task.plan
        tasks.append(task)
    if problems:
        raise UserError(f"{path}: " + "; ".join(problem.rstrip(".") for problem in problems))
    scenes = list(dict.fromkeys(task.scene for task in tasks))
    return sorted(tasks, key=lambda task: scenes.index(task.scene))


def _task(job: Job, footage: Footage, plan: ContextPlan | None, settings: SampleSettings, context: str) -> Task:
    """A job with its clip and plan; the plan is that of the anchor, where it is at hand."""
    from video4spatial.pipelines.generation import plan_scene
    from video4spatial.pipelines.settings import check_pools

    settings = replace(settings, generation=replace(settings.generation, seed=job.seed), prompt=job.prompt)
    read = footage.clip(job.trajectory, job.frames or settings.model.target_frames, job.anchor)
    told = {"context": context, "trajectory": job.trajectory, "anchor": job.anchor}
    plan = plan or plan_scene(read.clip, settings.generation, settings.most_shown)
    check_pools(plan, settings.model.grid, *read.clip.context_frames.shape[1:3])
    return Task(job.name, requested_of_footage(read, settings, told), plan, (footage.chosen, plan))


def _anchors(jobs: list[Job], footage: dict) -> tuple[dict[Job, int], list[str], int]:
    """The anchor of each job as an index from the video's start, what is wrong with others, and how many frames the video has."""
    from video4spatial.clips.footage import resolve_frame
    from video4spatial.media import open_video
    from video4spatial.media.reader import IMAGE_FOLDER_FRAME_RATE

    context = footage["context"]
    rate = footage["image_rate"] or (IMAGE_FOLDER_FRAME_RATE if Path(context).is_dir() else None)
    with user_mistakes(), open_video(context, frame_rate=rate) as video:
        total = len(video)
    anchors, problems = {}, []
    for job in jobs:
        try:
            anchors[job] = resolve_frame(job.anchor, total, context)
        except ValueError as error:
            problems.append(f"job {job.name!r}: {describe(error)}")
    return anchors, problems, total


def _footage_by_anchor(anchors: list[int], total: int, footage: dict, settings: SampleSettings) -> dict[int, Footage]:
    """The video with each anchor among its frames; more anchors than frames take several choices."""
    from video4spatial.clips.footage import read_footage

    most = min(settings.offered_frames or total, total)
    size = max(len(anchors) if len(anchors) <= most else most // 2, 1)
    read = {}
    with user_mistakes():
        for index in range(0, len(anchors), size):
            group = anchors[index : index + size]
            told = {"detailed": settings.most_shown is not None, "context_frames": settings.offered_frames}
            read |= dict.fromkeys(group, read_footage(anchors=group, **told, **footage))
    return read


def _check_one_scene(tasks: list[Task], settings: SampleSettings) -> None:
    scenes = {task.scene for task in tasks}
    if len(scenes) > 1 and (settings.save_scene or settings.scene_cache):
        raise UserError(
            f"--save-scene and --scene-cache take one scene, but the anchors of these jobs need {len(scenes)} choices of context "
            "frames: leave them out, or start all jobs from one anchor"
        )
